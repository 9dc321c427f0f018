//! The connection pool, and the connection of one exchange as ureq's transport.

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

/// The longest time that an exchange waits for a pooled connection to be silent for long enough. If the wait would be
/// longer, the exchange uses another connection.
const PATIENCE: Duration = Duration::from_millis(2);

/// The idle connections, and the dialer for new ones.
pub(super) struct Pool {
    /// In the order in which they became idle.
    idle: Mutex<Vec<Connection>>,
    pub(super) max_idle: usize,
    pub(super) max_age: Duration,
    pub(super) dialer: Dialer,
}

/// A connection and its history.
#[derive(Debug)]
pub(super) struct Connection {
    stack: Stack,
    origin: Origin,
    /// The process that made the connection. No other uses it: after a fork both would write into the same TLS session.
    process: u32,
    idle_since: Instant,
    /// The duration of connecting or of the slowest exchange, whichever is longer.
    slowest: Duration,
}

type Origin = (Option<Scheme>, Option<Authority>);

fn origin(uri: &Uri) -> Origin {
    (uri.scheme().cloned(), uri.authority().cloned())
}

/// The bytes that arrived on a connection between two exchanges.
#[derive(PartialEq, Eq)]
enum Arrived {
    Nothing,
    /// Content, such as an unsolicited response.
    Content,
    /// The end of the connection, or an error.
    End,
}

impl Connection {
    /// Returns the time until any late response to an earlier request should have arrived.
    fn unquiet(&self, now: Instant) -> Duration {
        // Doubled, because an exchange that received an earlier request's response seems faster than it is.
        let quiet = now.saturating_duration_since(self.idle_since);
        (self.slowest * 2).saturating_sub(quiet)
    }

    /// Reads all that has arrived, including bytes that TLS has already decrypted.
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
    pub(super) fn new(max_idle: usize, max_age: Duration, dialer: Dialer) -> Self {
        Self {
            idle: Mutex::default(),
            max_idle,
            max_age,
            dialer,
        }
    }

    /// Takes the most recently used connection to the same origin on which nothing has arrived since. Closes each
    /// connection on which something has arrived.
    ///
    /// An unrepeated request gets a connection that has been silent for so long that no late response is expected.
    fn take(&self, uri: &Uri, is_unrepeated: bool) -> Option<Connection> {
        let (origin, process) = (origin(uri), process::id());
        loop {
            let now = Instant::now();
            let mut idle = self.lock();
            // The oldest come first, and those made before a fork before all others.
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
            // Closes connections after unlocking.
            drop((idle, stale));
            let mut found = found?;
            if is_unrepeated {
                thread::sleep(found.unquiet(now));
            }
            if found.arrived() == Arrived::Nothing {
                return Some(found);
            }
        }
    }

    /// Keeps a connection if nothing has arrived on it. Returns `true` if content has arrived.
    pub(super) fn put(&self, mut connection: Connection) -> bool {
        let arrived = connection.arrived();
        if arrived == Arrived::Nothing && self.max_idle > 0 {
            connection.idle_since = Instant::now();
            let mut idle = self.lock();
            let surplus = (idle.len() >= self.max_idle).then(|| idle.remove(0));
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

    /// Ignores poisoning: no panic under the lock can leave the list half-changed.
    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The record of how an exchange used its connection.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// True if the connection came out of the pool.
    pub(super) was_pooled: bool,
    /// True if a part of the request may have been written.
    pub(super) has_sent: bool,
    /// True if a part of a response was read.
    pub(super) has_received: bool,
    /// True if more bytes followed the response.
    pub(super) is_followed: bool,
    /// The connection, if the response was read to its end and the connection can be used again.
    pub(super) connection: Option<Connection>,
}

/// The connector of one exchange, which takes a connection out of the pool or makes one. ureq's own pool would reuse the
/// connection for the next exchange before the response was verified.
pub(super) struct PoolConnector {
    pub(super) pool: Arc<Pool>,
    /// True if the exchange could mistake another request's response for its own.
    pub(super) is_unrepeated: bool,
    /// Filled when the exchange ends.
    pub(super) usage: Arc<Mutex<Usage>>,
}

impl Connector for PoolConnector {
    type Out = Either<PooledTransport, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if self.pool.dialer.is_for_proxy(details) {
            return Ok(Some(Either::B(self.pool.dialer.tcp(details)?)));
        }
        let pooled = self.pool.take(details.uri, self.is_unrepeated);
        let was_pooled = pooled.is_some();
        let connection = pooled.map_or_else(|| self.pool.dial(details), Ok)?;
        Ok(Some(Either::A(PooledTransport {
            usage: Usage {
                was_pooled,
                connection: Some(connection),
                ..Usage::default()
            },
            no_buffers: LazyBuffers::new(1, 1),
            started: Instant::now(),
            is_complete: false,
            reported: Arc::clone(&self.usage),
        })))
    }
}

impl fmt::Debug for PoolConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolConnector")
    }
}

/// The connection of one exchange. Dropping it reports the usage.
#[derive(Debug)]
pub(super) struct PooledTransport {
    usage: Usage,
    no_buffers: LazyBuffers,
    started: Instant,
    /// True if ureq found the response complete and the connection fit for another exchange.
    is_complete: bool,
    reported: Arc<Mutex<Usage>>,
}

impl PooledTransport {
    fn stack(&mut self) -> Result<&mut Stack, ureq::Error> {
        let connection = self.usage.connection.as_mut();
        let connection = connection.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(&mut connection.stack)
    }
}

impl Transport for PooledTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        match &mut self.usage.connection {
            Some(connection) => connection.stack.buffers(),
            None => &mut self.no_buffers,
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

    /// Records that the response is complete. ureq calls this before it puts the connection into its own pool.
    fn is_open(&mut self) -> bool {
        self.is_complete = true;
        false
    }

    fn is_tls(&self) -> bool {
        let connection = self.usage.connection.as_ref();
        connection.is_some_and(|connection| connection.stack.is_tls())
    }
}

impl Drop for PooledTransport {
    fn drop(&mut self) {
        self.usage.is_followed = !self.buffers().input().is_empty();
        let mut usage = std::mem::take(&mut self.usage);
        usage.connection = usage.connection.filter(|_| self.is_complete);
        if let Some(connection) = &mut usage.connection {
            connection.slowest = self.started.elapsed().max(connection.slowest);
        }
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = usage;
    }
}

fn of_exchange(timeout: NextTimeout) -> NextTimeout {
    NextTimeout {
        reason: EXCHANGE,
        ..timeout
    }
}
