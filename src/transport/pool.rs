//! The connection pool, and the connection of one exchange as ureq's transport.

use std::fmt;
use std::io;
use std::mem;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::{Authority, Scheme};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport,
};

use super::connect::{Dialer, NoLookup, Stack};
use super::options::TransportOptions;
use super::tcp::{Limits, Tcp, probe};

/// The longest time that an uncorrelated request waits until no late response is expected on a pooled connection. If the
/// wait would be longer, the request uses another connection.
const PATIENCE: Duration = Duration::from_millis(2);

/// The idle connections, and all that is needed for new ones.
pub(super) struct Pool {
    /// In the order in which they became idle.
    idle: Mutex<Vec<Connection>>,
    options: TransportOptions,
    config: Config,
    dialer: Arc<Dialer>,
}

/// A connection, its history, and the agent of ureq that uses it. Connections share no agent, so that exchanges share
/// nothing but the pool.
pub(super) struct Connection {
    pub(super) agent: Agent,
    pub(super) usage: Arc<Mutex<Usage>>,
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
    /// Ends an exchange, and returns how it used the connection.
    pub(super) fn end(&mut self) -> MutexGuard<'_, Usage> {
        let usage = lock(&self.usage);
        let connecting = usage.connected - usage.limits.started;
        let exchange = usage.connected.elapsed();
        self.slowest = self.slowest.max(connecting).max(exchange);
        usage
    }

    /// Returns the time until any late response to an earlier request should have arrived.
    fn unquiet(&self, now: Instant) -> Duration {
        // Doubled, because a measured duration can be too short: an exchange that receives the late response to an earlier
        // request ends before its own response arrives.
        let quiet = now.saturating_duration_since(self.idle_since);
        (self.slowest * 2).saturating_sub(quiet)
    }

    /// Reads without waiting, and returns what has arrived. Bytes that TLS has already decrypted count as well.
    fn arrived(&self) -> Arrived {
        let Some(stack) = &mut lock(&self.usage).stack else {
            return Arrived::End;
        };
        match stack.await_input(probe()) {
            Ok(true) => Arrived::Content,
            Err(ureq::Error::Io(error))
                if error.kind() == io::ErrorKind::WouldBlock && stack.is_open() =>
            {
                Arrived::Nothing
            }
            _ => Arrived::End,
        }
    }
}

impl Pool {
    pub(super) fn new(options: TransportOptions) -> Self {
        let dialer = Dialer::new(options.lookup.clone(), options.proxy.is_some());
        Self {
            idle: Mutex::default(),
            config: options.config(),
            options,
            dialer: Arc::new(dialer),
        }
    }

    /// Returns a connection for one exchange: a pooled one, or one that is made when ureq needs it.
    pub(super) fn connection(
        &self,
        uri: &Uri,
        is_second: bool,
        is_uncorrelated: bool,
    ) -> Connection {
        let pooled = self.take(uri, is_uncorrelated);
        let options = &self.options;
        let timeout = if is_second {
            options.second_timeout
        } else {
            options.timeout
        };
        let limits = Limits::new(options.connect_timeout, timeout);
        if let Some(pooled) = pooled {
            let mut usage = lock(&pooled.usage);
            *usage = Usage::new(limits, usage.stack.take());
            drop(usage);
            return pooled;
        }
        let usage = Arc::new(Mutex::new(Usage::new(limits, None)));
        Connection {
            agent: self.agent(&usage),
            usage,
            origin: origin(uri),
            process: process::id(),
            idle_since: limits.started,
            slowest: Duration::ZERO,
        }
    }

    /// Returns an agent that uses the connection with this usage.
    pub(super) fn agent(&self, usage: &Arc<Mutex<Usage>>) -> Agent {
        let connector = PoolConnector {
            dialer: Arc::clone(&self.dialer),
            usage: Arc::clone(usage),
        };
        Agent::with_parts(self.config.clone(), connector, NoLookup)
    }

    /// Takes the most recently used connection to the origin. If anything has arrived on it since, closes it and takes
    /// the next. Also closes all connections that were idle for too long or were made before a fork.
    ///
    /// An uncorrelated request gets a connection that has been silent for so long that no late response is expected.
    fn take(&self, uri: &Uri, is_uncorrelated: bool) -> Option<Connection> {
        let (origin, process) = (origin(uri), process::id());
        loop {
            let now = Instant::now();
            let mut idle = lock(&self.idle);
            // The oldest come first, and those made before a fork before all others.
            let is_stale = |connection: &&Connection| {
                connection.process != process
                    || now.saturating_duration_since(connection.idle_since) >= self.options.idle
            };
            let stale = idle.iter().take_while(is_stale).count();
            let stale: Vec<_> = idle.drain(..stale).collect();
            let found = idle.iter().rposition(|connection| {
                connection.origin == origin
                    && !(is_uncorrelated && connection.unquiet(now) > PATIENCE)
            });
            let found = found.map(|position| idle.remove(position));
            // Closes connections after unlocking.
            drop((idle, stale));
            let found = found?;
            if is_uncorrelated {
                thread::sleep(found.unquiet(now));
            }
            if found.arrived() == Arrived::Nothing {
                return Some(found);
            }
        }
    }

    /// Keeps a reusable connection if nothing has arrived on it. Returns `true` if content has arrived.
    pub(super) fn put(&self, mut connection: Connection, is_reusable: bool) -> bool {
        let arrived = connection.arrived();
        if is_reusable && arrived == Arrived::Nothing && self.options.max_idle > 0 {
            connection.idle_since = Instant::now();
            let mut idle = lock(&self.idle);
            let surplus = (idle.len() >= self.options.max_idle).then(|| idle.remove(0));
            idle.push(connection);
            drop((idle, surplus));
        }
        arrived == Arrived::Content
    }

    /// Closes all idle connections.
    pub(super) fn clear(&self) {
        let idle = mem::take(&mut *lock(&self.idle));
        drop(idle);
    }
}

/// Ignores poisoning: no panic under a lock can leave its content half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's stack while no exchange uses it, and the record of how the last exchange used it.
#[derive(Debug)]
pub(super) struct Usage {
    stack: Option<Stack>,
    pub(super) limits: Limits,
    /// The end of connecting.
    connected: Instant,
    /// True if the connection came out of the pool.
    pub(super) was_pooled: bool,
    pub(super) progress: Progress,
    /// True if more bytes followed the response.
    pub(super) is_followed: bool,
}

/// The progress of an exchange on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    Connecting,
    /// A part of the request may have been written.
    Sent,
    /// A part of a response was read.
    Received,
    /// ureq found the response complete and the connection fit for another exchange.
    Complete,
}

impl Usage {
    fn new(limits: Limits, stack: Option<Stack>) -> Self {
        Self {
            was_pooled: stack.is_some(),
            stack,
            limits,
            connected: limits.started,
            progress: Progress::Connecting,
            is_followed: false,
        }
    }

    fn reach(&mut self, progress: Progress) {
        self.progress = self.progress.max(progress);
    }
}

/// The connector of one connection's agent. ureq calls it for each exchange, because `PooledTransport::is_open` keeps
/// the connection out of ureq's own pool, where `Connection::arrived` could not read from it.
struct PoolConnector {
    dialer: Arc<Dialer>,
    usage: Arc<Mutex<Usage>>,
}

impl Connector for PoolConnector {
    type Out = Either<PooledTransport, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let limits = lock(&self.usage).limits;
        if self.dialer.is_for_proxy(details) {
            return Ok(Some(Either::B(self.dialer.tcp(details, limits)?)));
        }
        let pooled = lock(&self.usage).stack.take();
        let stack = pooled.map_or_else(|| self.dialer.dial(details, limits), Ok)?;
        lock(&self.usage).connected = Instant::now();
        Ok(Some(Either::A(PooledTransport {
            stack,
            limits,
            usage: Arc::clone(&self.usage),
        })))
    }
}

impl fmt::Debug for PoolConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolConnector")
    }
}

/// A connection during one exchange. It ignores ureq's timeouts, of which none is set, and observes the exchange's limits.
#[derive(Debug)]
struct PooledTransport {
    stack: Stack,
    limits: Limits,
    usage: Arc<Mutex<Usage>>,
}

impl Transport for PooledTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.stack.buffers()
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = self.limits.left()?;
        lock(&self.usage).reach(Progress::Sent);
        self.stack.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let has_received = self.stack.await_input(self.limits.left()?)?;
        if has_received {
            lock(&self.usage).reach(Progress::Received);
        }
        Ok(has_received)
    }

    /// Records that the response is complete, since ureq calls this only then. Returns `false`, which keeps the
    /// connection out of ureq's own pool.
    fn is_open(&mut self) -> bool {
        lock(&self.usage).reach(Progress::Complete);
        false
    }

    fn is_tls(&self) -> bool {
        self.stack.is_tls()
    }
}

/// Ends the exchange, and leaves the stack for the next one.
impl Drop for PooledTransport {
    fn drop(&mut self) {
        let mut usage = lock(&self.usage);
        usage.is_followed = !self.stack.buffers().input().is_empty();
        usage.stack = Some(mem::replace(&mut self.stack, Box::new(())));
    }
}
