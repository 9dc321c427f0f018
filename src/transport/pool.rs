//! Idle connections, and who may use one again.

use std::fmt;
use std::io;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::http::uri::{Authority, Scheme};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

use super::connect::{Dialer, Stack};
use super::tcp::{EXCHANGE, Tcp, probe};

/// How long an exchange may wait for a connection to be quiet for long enough, before it uses another.
const PATIENCE: Duration = Duration::from_millis(2);

/// The connections that no exchange uses, the one used last at the end.
pub(super) struct Pool {
    idle: Mutex<Vec<Connection>>,
    /// How many connections are kept.
    pub(super) max_idle: usize,
    /// How long a connection is kept.
    pub(super) max_age: Duration,
}

/// A connection, and what is known of it.
#[derive(Debug)]
pub(super) struct Connection {
    stack: Stack,
    origin: Origin,
    /// The process that made it. After a fork both would write into the same TLS session.
    process: u32,
    idle_since: Instant,
    /// How long connecting, or the slowest of its responses, took.
    slowest: Duration,
}

type Origin = (Option<Scheme>, Option<Authority>);

fn origin(uri: &Uri) -> Origin {
    (uri.scheme().cloned(), uri.authority().cloned())
}

/// What arrived on a connection between two exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrived {
    Nothing,
    /// Content, such as a response that no request had asked for.
    Content,
    /// The connection's end, or anything else that ends its use.
    End,
}

impl Connection {
    /// How long it takes until a response that is still under way should have arrived.
    fn unquiet(&self, now: Instant) -> Duration {
        // On a shifted connection responses seem to come sooner than they do: twice makes up for it.
        let quiet = now.saturating_duration_since(self.idle_since);
        (self.slowest * 2).saturating_sub(quiet)
    }

    /// Reads what has arrived, also what TLS has decrypted and not handed out.
    fn arrived(&mut self) -> Arrived {
        match self.stack.await_input(probe()) {
            Ok(true) => Arrived::Content,
            Err(ureq::Error::Io(error))
                if error.kind() == io::ErrorKind::WouldBlock && self.stack.is_open() =>
            {
                Arrived::Nothing
            }
            _ => Arrived::End,
        }
    }
}

impl Pool {
    pub(super) fn new(max_idle: usize, max_age: Duration) -> Self {
        Self {
            idle: Mutex::default(),
            max_idle,
            max_age,
        }
    }

    /// Takes the connection to the same origin that was used last and is still silent.
    ///
    /// For an exchange that could mistake another's response for its own, it is one that was silent for so long that no
    /// response can be under way. What arrived meanwhile was not asked for, and ends the connection.
    fn take(&self, uri: &Uri, is_unrepeated: bool) -> Option<Connection> {
        let (origin, process) = (origin(uri), process::id());
        loop {
            let now = Instant::now();
            let mut idle = self.lock();
            // In the order in which they became idle: those of another process, made before a fork, come first.
            let is_stale = |connection: &&Connection| {
                connection.process != process
                    || now.saturating_duration_since(connection.idle_since) >= self.max_age
            };
            let stale = idle.iter().take_while(is_stale).count();
            let stale: Vec<_> = idle.drain(..stale).collect();
            let found = idle.iter().rposition(|connection| {
                connection.origin == origin
                    && !(is_unrepeated && connection.unquiet(now) > PATIENCE)
            });
            let found = found.map(|position| idle.remove(position));
            // Closing takes system calls, for which nobody has to wait.
            drop((idle, stale));
            let mut found = found?;
            if is_unrepeated && !found.unquiet(now).is_zero() {
                thread::sleep(found.unquiet(now));
            }
            if found.arrived() == Arrived::Nothing {
                return Some(found);
            }
        }
    }

    /// Keeps a connection, unless something has arrived on it. Returns whether that was content.
    pub(super) fn put(&self, mut connection: Connection) -> bool {
        let arrived = connection.arrived();
        if arrived == Arrived::Nothing && self.max_idle > 0 {
            connection.idle_since = Instant::now();
            let mut idle = self.lock();
            let surplus = (idle.len() + 1).saturating_sub(self.max_idle);
            let surplus: Vec<_> = idle.drain(..surplus).collect();
            idle.push(connection);
            drop((idle, surplus));
        }
        arrived == Arrived::Content
    }

    /// Closes all idle connections.
    pub(super) fn clear(&self) {
        let idle = std::mem::take(&mut *self.lock());
        drop(idle);
    }

    /// Nothing under the lock can leave the entries half-changed, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("idle", &self.lock().len())
            .finish_non_exhaustive()
    }
}

/// What an exchange did with its connection.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Whether the connection came out of the pool.
    pub(super) was_pooled: bool,
    /// Whether anything of the request may have been written.
    pub(super) has_sent: bool,
    /// Whether anything of a response was read.
    pub(super) has_received: bool,
    /// Whether more followed the response.
    pub(super) is_followed: bool,
    /// The connection, if the response was read to its last byte, ended as it should, and nothing followed.
    pub(super) connection: Option<Connection>,
}

/// Lends a connection to one exchange, as ureq's connector: a pooled one if there is any. ureq's own pool would share it
/// with the next exchange before the response was judged.
#[derive(Debug)]
pub(super) struct Lender {
    pub(super) pool: Arc<Pool>,
    pub(super) dialer: Arc<Dialer>,
    /// Whether the exchange could mistake another's response for its own.
    pub(super) is_unrepeated: bool,
    /// Where the connection is left afterwards.
    pub(super) usage: Arc<Mutex<Usage>>,
}

impl Lender {
    fn dial(&self, details: &ConnectionDetails<'_>) -> io::Result<Connection> {
        let started = Instant::now();
        Ok(Connection {
            stack: self.dialer.dial(details)?,
            origin: origin(details.uri),
            process: process::id(),
            idle_since: started,
            slowest: started.elapsed(),
        })
    }
}

impl Connector for Lender {
    type Out = Either<Lent, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if self.dialer.is_for_proxy(details) {
            return Ok(Some(Either::B(self.dialer.tcp(details)?)));
        }
        let pooled = self.pool.take(details.uri, self.is_unrepeated);
        let was_pooled = pooled.is_some();
        let connection = match pooled {
            Some(connection) => connection,
            None => self.dial(details)?,
        };
        Ok(Some(Either::A(Lent {
            usage: Usage {
                was_pooled,
                connection: Some(connection),
                ..Usage::default()
            },
            nothing: LazyBuffers::new(1, 1),
            lent_at: Instant::now(),
            is_complete: false,
            left_in: Arc::clone(&self.usage),
        })))
    }
}

/// A connection that is lent to one exchange, as ureq's transport.
#[derive(Debug)]
pub(super) struct Lent {
    usage: Usage,
    nothing: LazyBuffers,
    lent_at: Instant,
    /// Whether ureq found the response complete and the connection fit for another exchange.
    is_complete: bool,
    left_in: Arc<Mutex<Usage>>,
}

impl Lent {
    fn stack(&mut self) -> Result<&mut Stack, ureq::Error> {
        let connection = self.usage.connection.as_mut();
        let connection = connection.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(&mut connection.stack)
    }
}

impl Transport for Lent {
    fn buffers(&mut self) -> &mut dyn Buffers {
        match &mut self.usage.connection {
            Some(connection) => connection.stack.buffers(),
            None => &mut self.nothing,
        }
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.usage.has_sent = true;
        self.stack()?.transmit_output(amount, of_exchange(timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let has_received = self.stack()?.await_input(of_exchange(timeout))?;
        self.usage.has_received |= has_received;
        Ok(has_received)
    }

    /// ureq asks this when it would put the connection into its own pool.
    fn is_open(&mut self) -> bool {
        self.is_complete = true;
        false
    }

    fn is_tls(&self) -> bool {
        let connection = self.usage.connection.as_ref();
        connection.is_some_and(|connection| connection.stack.is_tls())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let is_followed = !self.buffers().input().is_empty();
        let mut usage = std::mem::take(&mut self.usage);
        usage.is_followed = is_followed;
        usage.connection = usage.connection.filter(|_| self.is_complete);
        if let Some(connection) = &mut usage.connection {
            connection.slowest = self.lent_at.elapsed().max(connection.slowest);
        }
        *self.left_in.lock().unwrap_or_else(PoisonError::into_inner) = usage;
    }
}

fn of_exchange(timeout: NextTimeout) -> NextTimeout {
    NextTimeout {
        reason: EXCHANGE,
        ..timeout
    }
}
