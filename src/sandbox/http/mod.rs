//! The sandbox's HTTP server on loopback: reads requests, and answers them well or as badly as it is told to.
//!
//! tiny_http reads the requests, but it can neither close a connection nor leave an answer half said. So a front line
//! of our own accepts the clients and passes what they send on to tiny_http, over one inner connection for each client.
//! The answers are written to the client's socket directly; only what tiny_http says by itself (`100 Continue`, 400 for
//! a request that is no HTTP) is passed back. Each client connection has three threads: one passes bytes on, one
//! passes bytes back, and one handles its requests in turn.

mod connection;
mod exchange;
mod message;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tiny_http::{Request, Server};

use self::connection::{Connection, pass_back, pass_on};
use self::exchange::{release, work};

pub(crate) use self::message::{Delivery, HttpReply, HttpRequest};

/// How long [`HttpServer::close_connections`] waits for a client to take the rest of its answer.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait for the thread that accepts before it is woken again, should the first time have failed.
const WAKE_AGAIN: Duration = Duration::from_millis(50);

/// A running server on a loopback port. Dropping it closes every connection and ends its threads.
///
/// Only the idle threads of tiny_http's own pool, which hold no socket, take up to five seconds more.
pub(crate) struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    dispatcher: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Starts a server on a loopback port that the system picks.
    ///
    /// The handler runs for requests of different connections at the same time. If it panics, 500 is answered.
    pub(crate) fn start(
        handler: impl Fn(HttpRequest) -> HttpReply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), handler)
    }

    /// Like [`start`](Self::start), on a given loopback address.
    pub(crate) fn start_on(
        address: SocketAddr,
        handler: impl Fn(HttpRequest) -> HttpReply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            let message = format!("the sandbox listens on loopback only, not on {address}");
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(Box::new(handler))?);
        // From here on, an early return drops the server, which ends the threads that run already.
        let mut server = Self {
            address,
            shared: Arc::clone(&shared),
            acceptor: None,
            dispatcher: None,
        };
        server.dispatcher = Some(spawn("sandbox-dispatch", {
            let shared = Arc::clone(&shared);
            move || dispatch(&shared)
        })?);
        server.acceptor = Some(spawn("sandbox-accept", move || accept(&shared, listener))?);
        Ok(server)
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted since the start.
    pub(crate) fn connections_accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many client connections are open now.
    pub(crate) fn connections_open(&self) -> usize {
        lock(&self.shared.connections).len()
    }

    /// Closes every connection, as a server does that has kept it long enough; new ones are accepted.
    ///
    /// Where no call is under way, the connection is closed when this returns. A call under way is answered first, and
    /// not waited for.
    pub(crate) fn close_connections(&self) {
        let open: Vec<_> = lock(&self.shared.connections).values().cloned().collect();
        let idle: Vec<_> = open.into_iter().filter(|c| c.finish_idle()).collect();
        if !self.shared.wait_gone(&idle, CLOSE_PATIENCE) {
            idle.iter().for_each(|connection| connection.close());
            self.shared.wait_gone(&idle, CLOSE_PATIENCE);
        }
    }

    /// Closes the next connections as soon as they are accepted.
    pub(crate) fn hang_up(&self, connections: usize) {
        self.shared.hang_ups.store(connections, Ordering::SeqCst);
    }

    /// Stops or starts listening: while it refuses, a client's connect fails, as on a port where nobody listens.
    ///
    /// Connections that are open stay open. Done when it returns. Starting again fails if another process took the port
    /// meanwhile; the server then still refuses.
    pub(crate) fn set_refusing(&self, on: bool) -> io::Result<()> {
        let mut gate = lock(&self.shared.gate);
        gate.refusing = on;
        self.shared.gate_changed.notify_all();
        while gate.shut != on && gate.failure.is_none() {
            if on {
                drop(gate);
                wake(self.address);
                gate = lock(&self.shared.gate);
            }
            let changed = &self.shared.gate_changed;
            let unsettled = |gate: &mut Gate| gate.shut != on && gate.failure.is_none();
            let waited = changed.wait_timeout_while(gate, WAKE_AGAIN, unsettled);
            gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        gate.failure.take().map_or(Ok(()), Err)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.close_for_good();
        if let Some(acceptor) = self.acceptor.take() {
            while !acceptor.is_finished() {
                wake(self.address);
                thread::sleep(Duration::from_millis(1));
            }
            let _ = acceptor.join();
        }
        if let Some(dispatcher) = self.dispatcher.take() {
            self.shared.inner.unblock();
            let _ = dispatcher.join();
        }
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("address", &self.address)
            .field("connections_open", &self.connections_open())
            .finish_non_exhaustive()
    }
}

type Handler = Box<dyn Fn(HttpRequest) -> HttpReply + Send + Sync>;

/// What the threads of a server share.
struct Shared {
    handler: Handler,
    inner: Server,
    inner_address: SocketAddr,
    /// The open connections, by the address that tiny_http sees them come from.
    connections: Mutex<HashMap<SocketAddr, Arc<Connection>>>,
    connection_gone: Condvar,
    accepted: AtomicUsize,
    /// How many connections are still to be closed as soon as they are accepted.
    hang_ups: AtomicUsize,
    closing: AtomicBool,
    gate: Mutex<Gate>,
    gate_changed: Condvar,
}

/// Whether the front line listens.
#[derive(Default)]
struct Gate {
    /// What is wanted.
    refusing: bool,
    /// What is.
    shut: bool,
    /// Why it could not be opened again.
    failure: Option<io::Error>,
}

impl Shared {
    fn new(handler: Handler) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let inner_address = listener.local_addr()?;
        Ok(Self {
            handler,
            inner: Server::from_listener(listener, None).map_err(io::Error::other)?,
            inner_address,
            connections: Mutex::default(),
            connection_gone: Condvar::new(),
            accepted: AtomicUsize::new(0),
            hang_ups: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            gate: Mutex::default(),
            gate_changed: Condvar::new(),
        })
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn close_for_good(&self) {
        let gate = lock(&self.gate);
        self.closing.store(true, Ordering::SeqCst);
        self.gate_changed.notify_all();
        drop(gate);
        let connections = lock(&self.connections);
        connections.values().for_each(|c| c.close());
    }

    /// Whether the connection that was just accepted is to be closed at once; it is counted all the same.
    fn hangs_up(&self) -> bool {
        let ordered = |hang_ups: usize| hang_ups.checked_sub(1);
        let hangs_up = self
            .hang_ups
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, ordered);
        if hangs_up.is_ok() {
            self.accepted.fetch_add(1, Ordering::SeqCst);
        }
        hangs_up.is_ok()
    }

    /// Enters a connection, unless the server is about to end.
    fn register(&self, connection: &Arc<Connection>) -> bool {
        let mut connections = lock(&self.connections);
        if self.is_closing() {
            return false;
        }
        connections.insert(connection.key, Arc::clone(connection));
        self.accepted.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn unregister(&self, connection: &Connection) {
        lock(&self.connections).remove(&connection.key);
        self.connection_gone.notify_all();
    }

    fn find(&self, key: Option<&SocketAddr>) -> Option<Arc<Connection>> {
        lock(&self.connections).get(key?).cloned()
    }

    /// Waits until none of these connections is open; `false` if some still is when the time is up.
    fn wait_gone(&self, waited_for: &[Arc<Connection>], patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut connections = lock(&self.connections);
        while waited_for.iter().any(|connection| {
            let found = connections.get(&connection.key);
            found.is_some_and(|found| Arc::ptr_eq(found, connection))
        }) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.connection_gone.wait_timeout(connections, left);
            connections = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Accepts clients until the server ends, then waits for the threads that serve them.
fn accept(shared: &Arc<Shared>, listener: TcpListener) {
    for thread in accept_clients(shared, listener) {
        let _ = thread.join();
    }
}

fn accept_clients(shared: &Arc<Shared>, mut listener: TcpListener) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    loop {
        let accepted = listener.accept();
        if shared.is_closing() {
            return threads;
        }
        if lock(&shared.gate).refusing {
            drop(accepted);
            let Some(reopened) = stay_shut(shared, listener) else {
                return threads;
            };
            listener = reopened;
            continue;
        }
        match accepted {
            Ok((client, _)) if shared.hangs_up() => drop(client),
            Ok((client, _)) => threads.extend(admit(shared, client).ok()),
            // Most likely out of file descriptors: give others the time to return some.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
        threads.retain(|thread: &JoinHandle<()>| !thread.is_finished());
    }
}

/// Stops listening until told otherwise; `None` when the server ends.
fn stay_shut(shared: &Shared, listener: TcpListener) -> Option<TcpListener> {
    let address = listener.local_addr().ok()?;
    let _held = hold_port(&listener, address);
    drop(listener);
    let mut gate = lock(&shared.gate);
    gate.shut = true;
    shared.gate_changed.notify_all();
    loop {
        if shared.is_closing() {
            return None;
        }
        if gate.refusing {
            gate = wait(&shared.gate_changed, gate);
            continue;
        }
        match TcpListener::bind(address) {
            Ok(listener) => {
                gate.shut = false;
                shared.gate_changed.notify_all();
                return Some(listener);
            }
            Err(error) => {
                gate.refusing = true;
                gate.failure = Some(error);
                shared.gate_changed.notify_all();
            }
        }
    }
}

/// A connection to ourselves. As long as it lives, the system gives its port to no other program's connection.
fn hold_port(listener: &TcpListener, address: SocketAddr) -> Option<(TcpStream, TcpStream)> {
    let ours = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    let own_address = ours.local_addr().ok()?;
    loop {
        let (theirs, peer) = listener.accept().ok()?;
        if peer == own_address {
            return Some((ours, theirs));
        }
    }
}

/// Connects a client to tiny_http and starts the threads that serve it.
fn admit(shared: &Arc<Shared>, client: TcpStream) -> io::Result<JoinHandle<()>> {
    let (connection, requests) = Connection::open(client, shared.inner_address)?;
    let connection = Arc::new(connection);
    if !shared.register(&connection) {
        return Err(ErrorKind::ConnectionAborted.into());
    }
    let started = connection.greet().and_then(|()| {
        let shared = Arc::clone(shared);
        let connection = Arc::clone(&connection);
        spawn("sandbox-connection", move || {
            serve_connection(&shared, &connection, requests);
        })
    });
    if started.is_err() {
        connection.close();
        shared.unregister(&connection);
    }
    started
}

/// Takes requests from tiny_http and gives each to the thread of its connection.
fn dispatch(shared: &Shared) {
    while let Ok(request) = shared.inner.recv() {
        match shared.find(request.remote_addr()) {
            Some(connection) => connection.take(request),
            None => release(request),
        }
        if shared.is_closing() {
            break;
        }
    }
}

/// Serves one client until its connection is closed.
fn serve_connection(shared: &Shared, connection: &Connection, requests: Receiver<Request>) {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("sandbox-worker".into())
            .spawn_scoped(scope, move || work(shared, connection, requests));
        let back = thread::Builder::new()
            .name("sandbox-back".into())
            .spawn_scoped(scope, || pass_back(connection));
        if worker.is_err() || back.is_err() {
            connection.close();
        }
        pass_on(connection);
        if let Ok(back) = back {
            let _ = back.join();
        }
        shared.unregister(connection);
        // Without a sender the worker comes to its end.
        lock(&connection.requests).take();
    });
}

/// Makes the thread that accepts look up.
fn wake(address: SocketAddr) {
    let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(run)
}

/// Locks; a panic elsewhere leaves nothing half done behind any of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}
