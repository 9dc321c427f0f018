//! The sandbox's HTTP server on loopback: reads requests, and answers them well or as badly as it is told to.
//!
//! tiny_http reads the requests, but it can neither close a connection nor leave an answer half said. So a front line
//! of our own accepts the clients and passes what they send on to tiny_http, over one inner connection for each client.
//! The answers are written to the client's socket directly; only what tiny_http says by itself (`100 Continue`, 400 for
//! a request that is no HTTP) is passed back. Each client connection has three threads: one passes bytes on, one
//! passes bytes back, and one handles its requests in turn.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tiny_http::{Request, Server, StatusCode};

/// The largest request body that is read, in bytes; a larger one is answered with 413.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// How much of a refused body is read and thrown away, in bytes, so that the client gets to read the refusal.
const LINGER_LIMIT: usize = 64 * 1024 * 1024;

/// From this declared length on, in bytes, a request is never dropped: tiny_http would allocate what was not read of
/// the body in one piece, and a failed allocation ends the process.
const DROP_LIMIT: usize = 1024 * 1024 * 1024;

/// Up to this size, in bytes, head and body leave in one write.
const JOIN_LIMIT: usize = 64 * 1024;

/// How long [`HttpServer::close_connections`] waits for a client to take the rest of its answer.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A request in our own name on each new inner connection, and the byte that answers it.
///
/// tiny_http's thread pool can leave a connection without a thread when two arrive at once: the second then waits until
/// the first one ends. Asking, and waiting for the reply before the next connection is opened, rules that out.
const GREETING: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const GREETING_REPLY: &[u8] = b"+";

/// A running server on a loopback port. Dropping it closes every connection and ends its threads.
///
/// Up to five idle threads of tiny_http's own pool, without any socket, end within five seconds after that.
pub(crate) struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    dispatcher: Option<JoinHandle<()>>,
}

/// A request as it was received.
#[derive(Debug, Clone)]
pub(crate) struct HttpRequest {
    /// `GET`, `POST`, …
    pub(crate) method: String,
    /// Path and query as received: nothing is decoded.
    pub(crate) target: String,
    /// Names and values in the order received, duplicates kept.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, a chunked one put together.
    pub(crate) body: Vec<u8>,
}

/// What to answer, and how.
#[derive(Debug, Clone)]
pub(crate) struct HttpReply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Sent as they are. `content-length` is added unless given, or out of place.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// The body; left out in answer to `HEAD`.
    pub(crate) body: Vec<u8>,
    /// How well the answer gets across.
    pub(crate) delivery: Delivery,
}

/// How well an answer gets across.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// At once and whole; the connection is kept.
    Whole,
    /// Whole, but only after this time.
    After(Duration),
    /// The head at once, then the body byte by byte, with a pause before each.
    Drip {
        /// The pause before each byte.
        every: Duration,
    },
    /// The request is read, nothing is answered, the connection is closed.
    CloseBeforeAnswer,
    /// The head with the full `content-length`, then the connection is closed.
    CloseAfterHead,
    /// The head and the first bytes of the body, then the connection is closed.
    CutBody {
        /// The number of body bytes that are sent.
        after: usize,
    },
    /// An answer with this 1xx status and a header of its own goes ahead of the real one.
    Informational(u16),
    /// Whole, without a word about closing; then the connection is closed.
    WholeThenClose,
    /// The body with `transfer-encoding: chunked`, in three chunks (fewer when it is shorter than that).
    Chunked,
    /// These bytes in place of the whole answer, then the connection is closed.
    Raw(Vec<u8>),
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

    /// Stops or starts listening: while it refuses, a client's connect fails, as on a port where nobody listens.
    ///
    /// Connections that are open stay open. Done when it returns. Starting again fails if another process took the port
    /// meanwhile; the server then still refuses.
    pub(crate) fn set_refusing(&self, on: bool) -> io::Result<()> {
        let mut gate = lock(&self.shared.gate);
        gate.refusing = on;
        self.shared.gate_changed.notify_all();
        if on && !gate.shut {
            drop(gate);
            wake(self.address);
            gate = lock(&self.shared.gate);
        }
        while gate.shut != on && gate.failure.is_none() {
            gate = wait(&self.shared.gate_changed, gate);
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

impl HttpRequest {
    /// The first value of a header; the name in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).next()
    }

    /// Every value of a header, in the order received.
    pub(crate) fn header_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl HttpReply {
    /// An answer without headers, delivered whole.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            delivery: Delivery::Whole,
        }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Changes how well the answer gets across.
    pub(crate) fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// The status line and the headers, with the empty line after them.
    fn head(&self) -> Vec<u8> {
        let mut head = status_line(self.status);
        for (name, value) in &self.headers {
            push_header(&mut head, name, value);
        }
        if self.delivery == Delivery::Chunked {
            push_header(&mut head, "transfer-encoding", b"chunked");
        } else if self.needs_length() {
            let length = self.body.len().to_string();
            push_header(&mut head, "content-length", length.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    fn needs_length(&self) -> bool {
        let bodiless = matches!(self.status, 100..=199 | 204 | 304);
        let given = self.headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        });
        !bodiless && !given
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

/// One client, and the inner connection on which tiny_http hears what it says.
struct Connection {
    client: TcpStream,
    inner: TcpStream,
    key: SocketAddr,
    greeted: AtomicBool,
    requests: Mutex<Option<Sender<Request>>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Both directions are shut.
    closed: bool,
    /// The client has sent all that it will ever send.
    client_ended: bool,
    /// A request is handled, and its answer is not on its way yet.
    in_call: bool,
    /// What tiny_http says is not passed to the client any more.
    muted: bool,
    /// The client may go on sending for a while after it was told goodbye.
    lingers: bool,
    /// How many bytes of tiny_http's own were passed to the client.
    passed_back: u64,
}

impl Connection {
    fn open(client: TcpStream, inner_address: SocketAddr) -> io::Result<(Self, Receiver<Request>)> {
        let inner = TcpStream::connect(inner_address)?;
        inner.set_nodelay(true)?;
        client.set_nodelay(true)?;
        let (sender, receiver) = channel();
        let connection = Self {
            key: inner.local_addr()?,
            client,
            inner,
            greeted: AtomicBool::new(false),
            requests: Mutex::new(Some(sender)),
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        Ok((connection, receiver))
    }

    /// Returns when tiny_http has a thread for this connection. See [`GREETING`].
    fn greet(&self) -> io::Result<()> {
        (&self.inner).write_all(GREETING)?;
        (&self.inner).read_exact(&mut [0])
    }

    /// Takes a request from tiny_http. The first one is our own.
    fn take(&self, request: Request) {
        if !self.greeted.swap(true, Ordering::SeqCst) {
            let mut writer = request.into_writer();
            let written = writer.write_all(GREETING_REPLY);
            if written.and_then(|()| writer.flush()).is_err() {
                self.close();
            }
            return;
        }
        let unsent = match &*lock(&self.requests) {
            Some(sender) => sender.send(request).err().map(|unsent| unsent.0),
            None => Some(request),
        };
        if let Some(request) = unsent {
            release(request);
        }
    }

    /// Closes both directions at once. Whoever waits on this connection stops waiting.
    fn close(&self) {
        self.change(|state| state.closed = true);
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.inner.shutdown(Shutdown::Both);
    }

    /// Lets tiny_http hear no more: what was asked is answered, then the connection is closed.
    fn finish(&self) {
        let _ = self.inner.shutdown(Shutdown::Write);
    }

    /// Finishes, and says whether that takes no longer than the client needs to take what is written.
    fn finish_idle(&self) -> bool {
        self.finish();
        !lock(&self.state).in_call
    }

    fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }

    /// Waits; `false` as soon as there is nobody to wait for.
    fn pause(&self, time: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(lock(&self.state), time, |state| {
                !state.closed && !state.client_ended
            });
        let (_state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        result.timed_out()
    }

    /// Waits until more than `before` bytes of tiny_http's own have been passed to the client.
    fn wait_passed_back(&self, before: u64) {
        let mut state = lock(&self.state);
        while !state.closed && state.passed_back <= before {
            state = wait(&self.changed, state);
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.client).write_all(bytes)
    }

    /// Counts the call as over. To be said before the last write: after it the client may have the whole answer.
    fn end_call(&self) {
        self.change(|state| state.in_call = false);
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

/// Passes what the client sends to tiny_http, until the client ends.
fn pass_on(connection: &Connection) {
    let mut buffer = [0; 16 * 1024];
    let mut unheard = 0;
    loop {
        let read = match (&connection.client).read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return connection.close(),
        };
        let piece = buffer.get(..read).unwrap_or_default();
        if (&connection.inner).write_all(piece).is_err() {
            unheard += read;
        }
        if unheard > LINGER_LIMIT {
            return connection.close();
        }
    }
    connection.change(|state| state.client_ended = true);
    connection.finish();
}

/// Passes what tiny_http says by itself to the client. When tiny_http ends, the connection is closed.
fn pass_back(connection: &Connection) {
    let mut buffer = [0; 1024];
    loop {
        let read = match (&connection.inner).read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let piece = buffer.get(..read).unwrap_or_default();
        if lock(&connection.state).muted {
            continue;
        }
        if connection.write(piece).is_err() {
            break;
        }
        let passed = u64::try_from(read).unwrap_or(u64::MAX);
        connection.change(|state| state.passed_back = state.passed_back.saturating_add(passed));
    }
    if lock(&connection.state).lingers {
        let _ = connection.client.shutdown(Shutdown::Write);
    } else {
        connection.close();
    }
}

/// Handles the requests of one connection in turn.
fn work(shared: &Shared, connection: &Connection, requests: Receiver<Request>) {
    for mut request in requests {
        if !connection.is_closed() {
            answer(shared, connection, &mut request);
        }
        release(request);
    }
}

fn answer(shared: &Shared, connection: &Connection, request: &mut Request) {
    connection.change(|state| state.in_call = true);
    let head_only = *request.method() == tiny_http::Method::Head;
    let reply = match read_request(connection, request) {
        Ok(request) => catch_unwind(AssertUnwindSafe(|| (shared.handler)(request)))
            .unwrap_or_else(|_| HttpReply::new(500, "")),
        Err(status) => {
            connection.change(|state| state.lingers = true);
            HttpReply::new(status, "").delivery(Delivery::WholeThenClose)
        }
    };
    let sent = deliver(connection, &reply, head_only);
    connection.end_call();
    match sent {
        Ok(Then::Keep) => {}
        Ok(Then::Close) if !is_undroppable(request) => {
            connection.change(|state| state.muted = true);
            connection.finish();
        }
        Ok(Then::Close) | Err(_) => connection.close(),
    }
}

/// Reads a request to its end, or says with which status it is refused.
fn read_request(connection: &Connection, request: &mut Request) -> Result<HttpRequest, u16> {
    let mut read = HttpRequest {
        method: request.method().to_string(),
        target: request.url().to_owned(),
        headers: request
            .headers()
            .iter()
            .map(|header| (header.field.to_string(), header.value.to_string()))
            .collect(),
        body: Vec::new(),
    };
    let declared = request.body_length();
    let wanted = match declared {
        Some(length) if length > BODY_LIMIT => return Err(413),
        Some(length) => length,
        None if read.header("transfer-encoding").is_some() => BODY_LIMIT + 1,
        None => return Ok(read),
    };
    if read.header("expect").is_some() {
        let before = lock(&connection.state).passed_back;
        let _ = request.as_reader(); // asks for the body
        connection.wait_passed_back(before);
    }
    let most = u64::try_from(wanted).unwrap_or(u64::MAX);
    let mut body = request.as_reader().take(most);
    body.read_to_end(&mut read.body).map_err(|_| 400_u16)?;
    if read.body.len() > BODY_LIMIT {
        return Err(413);
    }
    let complete = match declared {
        Some(declared) => declared == read.body.len(),
        // tiny_http does not say whether the last chunk came. After a client's early end it is doubtful.
        None => !lock(&connection.state).client_ended,
    };
    if complete { Ok(read) } else { Err(400) }
}

/// What becomes of the connection after an answer.
enum Then {
    Keep,
    Close,
}

/// Sends an answer as it is to be sent. After an error the connection is of no use.
fn deliver(connection: &Connection, reply: &HttpReply, head_only: bool) -> io::Result<Then> {
    let head = reply.head();
    let body = if head_only { &[] } else { &*reply.body };
    match &reply.delivery {
        Delivery::Whole => whole(connection, head, body)?,
        Delivery::After(time) => {
            pause(connection, *time)?;
            whole(connection, head, body)?;
        }
        Delivery::Drip { every } => drip(connection, head, body, *every)?,
        Delivery::Informational(status) => {
            let mut early = status_line(*status);
            push_header(&mut early, "x-sandbox", b"informational");
            early.extend_from_slice(b"\r\n");
            connection.write(&early)?;
            whole(connection, head, body)?;
        }
        Delivery::Chunked => {
            let chunked = if head_only { Vec::new() } else { chunks(body) };
            whole(connection, head, &chunked)?;
        }
        Delivery::CloseBeforeAnswer => return Ok(Then::Close),
        Delivery::CloseAfterHead => return close_after(connection, head, &[]),
        Delivery::CutBody { after } => {
            let part = body.get(..*after).unwrap_or(body);
            return close_after(connection, head, part);
        }
        Delivery::WholeThenClose => return close_after(connection, head, body),
        Delivery::Raw(bytes) => return close_after(connection, Vec::new(), bytes),
    }
    Ok(Then::Keep)
}

fn close_after(connection: &Connection, head: Vec<u8>, body: &[u8]) -> io::Result<Then> {
    whole(connection, head, body)?;
    Ok(Then::Close)
}

fn whole(connection: &Connection, mut head: Vec<u8>, body: &[u8]) -> io::Result<()> {
    connection.end_call();
    if body.len() > JOIN_LIMIT {
        connection.write(&head)?;
        return connection.write(body);
    }
    head.extend_from_slice(body);
    connection.write(&head)
}

fn drip(connection: &Connection, head: Vec<u8>, body: &[u8], every: Duration) -> io::Result<()> {
    let Some((last, others)) = body.split_last() else {
        return whole(connection, head, body);
    };
    connection.write(&head)?;
    for byte in others {
        pause(connection, every)?;
        connection.write(&[*byte])?;
    }
    pause(connection, every)?;
    connection.end_call();
    connection.write(&[*last])
}

fn pause(connection: &Connection, time: Duration) -> io::Result<()> {
    if connection.pause(time) {
        Ok(())
    } else {
        Err(ErrorKind::ConnectionAborted.into())
    }
}

fn chunks(body: &[u8]) -> Vec<u8> {
    let mut chunked = Vec::with_capacity(body.len() + 64);
    for chunk in body.chunks(body.len().div_ceil(3).max(1)) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    chunked
}

fn status_line(status: u16) -> Vec<u8> {
    let reason = StatusCode(status).default_reason_phrase();
    format!("HTTP/1.1 {status} {reason}\r\n").into_bytes()
}

fn push_header(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// Gives a request back to tiny_http, without the answer 500 that dropping it would send.
fn release(request: Request) {
    if is_undroppable(&request) {
        // Costs a parked thread of tiny_http's; see DROP_LIMIT.
        std::mem::forget(request);
    } else {
        drop(request.into_writer());
    }
}

fn is_undroppable(request: &Request) -> bool {
    request
        .body_length()
        .is_some_and(|length| length > DROP_LIMIT)
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

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::sync::Barrier;

    use super::*;

    /// A delay that no test waits for: whoever waited for it would fail the test by its length.
    const AGES: Duration = Duration::from_secs(3600);

    /// A client that says exactly what it is told to.
    struct Client(BufReader<TcpStream>);

    impl Client {
        fn connect(server: &HttpServer) -> Self {
            let stream = TcpStream::connect(server.address()).unwrap();
            stream.set_nodelay(true).unwrap();
            // Only so that a broken server fails a test and does not stop it.
            let patience = Some(Duration::from_secs(30));
            stream.set_read_timeout(patience).unwrap();
            Self(BufReader::new(stream))
        }

        fn send(&mut self, bytes: impl AsRef<[u8]>) {
            self.0.get_mut().write_all(bytes.as_ref()).unwrap();
        }

        fn get(&mut self, target: &str) {
            self.send(format!("GET {target} HTTP/1.1\r\nHost: sandbox\r\n\r\n"));
        }

        /// Reads up to the end of a head.
        fn head(&mut self) -> String {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                let read = self.0.read_line(&mut head).unwrap();
                assert_ne!(read, 0, "connection closed after {head:?}");
            }
            head
        }

        fn bytes(&mut self, length: usize) -> Vec<u8> {
            let mut bytes = vec![0; length];
            self.0.read_exact(&mut bytes).unwrap();
            bytes
        }

        /// Reads a head and as much body as it announces.
        fn answer(&mut self) -> (String, Vec<u8>) {
            let head = self.head();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .expect("a content-length");
            let body = self.bytes(length.parse().unwrap());
            (head, body)
        }

        /// Reads until the server closes the connection.
        fn rest(&mut self) -> Vec<u8> {
            let mut rest = Vec::new();
            self.0.read_to_end(&mut rest).unwrap();
            rest
        }
    }

    /// A server whose answers have the body `hello` and are delivered as told.
    fn hello(delivery: Delivery) -> HttpServer {
        HttpServer::start(move |_| {
            HttpReply::new(200, "hello")
                .header("X-Case", "kept")
                .delivery(delivery.clone())
        })
        .unwrap()
    }

    const HELLO_HEAD: &str = "HTTP/1.1 200 OK\r\nX-Case: kept\r\ncontent-length: 5\r\n\r\n";

    /// A server that hands each request to the test and answers with an empty 200.
    fn recorder() -> (HttpServer, Receiver<HttpRequest>) {
        let (sender, receiver) = channel();
        let server = HttpServer::start(move |request| {
            sender.send(request).unwrap();
            HttpReply::new(200, "")
        });
        (server.unwrap(), receiver)
    }

    fn wait_until(what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < deadline, "not within 30 s: {what}");
            thread::yield_now();
        }
    }

    #[test]
    fn a_connection_is_kept_from_call_to_call() {
        let server = hello(Delivery::Whole);
        let mut client = Client::connect(&server);
        for _ in 0..20 {
            client.get("/");
            let (head, body) = client.answer();
            assert_eq!(
                (head.as_str(), body.as_slice()),
                (HELLO_HEAD, &b"hello"[..])
            );
        }
        assert_eq!(server.connections_accepted(), 1);
        assert_eq!(server.connections_open(), 1);
    }

    #[test]
    fn a_request_is_handed_over_as_received() {
        let (server, requests) = recorder();
        let mut client = Client::connect(&server);
        client.send(
            "POST /v3/a%2Fb/%E4%B8%AD?x=%20+1&x=2&&y HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\n\
             Content-Length: 5\r\nx-two: 2\r\n\r\n\x00\r\n\x01{",
        );
        client.answer();
        let request = requests.recv().unwrap();
        assert_eq!(request.method, "POST");
        assert_eq!(request.target, "/v3/a%2Fb/%E4%B8%AD?x=%20+1&x=2&&y");
        assert_eq!(request.body, b"\x00\r\n\x01{");
        let headers: Vec<_> = request.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        let sent = [
            ("Host", "h"),
            ("X-Two", "1"),
            ("Content-Length", "5"),
            ("x-two", "2"),
        ];
        assert_eq!(headers, sent);
        assert_eq!(request.header("X-TWO"), Some("1"));
        assert_eq!(request.header_all("X-TWO").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(request.header("X-Three"), None);
    }

    #[test]
    fn a_request_may_come_in_many_pieces() {
        let (server, requests) = recorder();
        let mut client = Client::connect(&server);
        let body = vec![b'x'; 3000];
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        for byte in head.as_bytes() {
            client.send([*byte]);
        }
        for piece in body.chunks(700) {
            client.send(piece);
        }
        client.answer();
        assert_eq!(requests.recv().unwrap().body, body);
    }

    #[test]
    fn two_requests_may_come_in_one_piece() {
        let server =
            HttpServer::start(|request| HttpReply::new(200, request.target.into_bytes())).unwrap();
        let mut client = Client::connect(&server);
        client.send("GET /first HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\n\r\n");
        assert_eq!(client.answer().1, b"/first");
        assert_eq!(client.answer().1, b"/second");
    }

    #[test]
    fn a_chunked_body_is_put_together() {
        let (server, requests) = recorder();
        let mut client = Client::connect(&server);
        client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        client.answer();
        assert_eq!(requests.recv().unwrap().body, b"abcde");
        client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n");
        assert!(client.head().starts_with("HTTP/1.1 400 "));
        assert_eq!(client.rest(), b"");
    }

    #[test]
    fn a_client_that_asks_first_is_told_to_go_on() {
        let (server, requests) = recorder();
        let mut client = Client::connect(&server);
        for _ in 0..2 {
            client.send("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
            assert!(client.head().starts_with("HTTP/1.1 100 "));
            client.send("ok");
            assert!(client.head().starts_with("HTTP/1.1 200 "));
            assert_eq!(requests.recv().unwrap().body, b"ok");
        }
    }

    #[test]
    fn what_is_no_http_is_answered_with_400() {
        let (server, requests) = recorder();
        for nonsense in [
            "\r\n\r\n",
            "GET\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            let mut client = Client::connect(&server);
            client.send(nonsense);
            assert!(client.head().starts_with("HTTP/1.1 400 "), "{nonsense:?}");
        }
        Client::connect(&server).get("/");
        assert_eq!(requests.recv().unwrap().target, "/");
    }

    #[test]
    fn the_largest_body_is_read_and_a_larger_one_refused() {
        let (server, requests) = recorder();
        let mut client = Client::connect(&server);
        let post = |client: &mut Client, length: usize| {
            client.send(format!(
                "POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
            ));
            client.send(vec![b'x'; length]);
            client.answer().0
        };
        assert!(post(&mut client, BODY_LIMIT).starts_with("HTTP/1.1 200 "));
        assert_eq!(requests.recv().unwrap().body.len(), BODY_LIMIT);
        assert!(post(&mut client, BODY_LIMIT + 1).starts_with("HTTP/1.1 413 "));
        assert_eq!(client.rest(), b"");
        assert!(requests.try_recv().is_err());
    }

    #[test]
    fn an_endless_chunked_body_is_refused() {
        let (server, _requests) = recorder();
        let mut client = Client::connect(&server);
        client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..=8 {
            client.send("100000\r\n");
            client.send(vec![b'x'; 0x10_0000]);
            client.send("\r\n");
        }
        assert!(client.head().starts_with("HTTP/1.1 413 "));
        assert_eq!(client.rest(), b"");
    }

    #[test]
    fn an_absurd_length_is_refused_without_allocating_it() {
        let (server, requests) = recorder();
        for length in [
            "4611686018427387904",
            "9223372036854775808",
            "18446744073709551615",
        ] {
            let mut client = Client::connect(&server);
            client.send(format!(
                "POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
            ));
            assert!(client.head().starts_with("HTTP/1.1 413 "), "{length}");
            assert_eq!(client.rest(), b"");
        }
        wait_until("closed", || server.connections_open() == 0);
        assert!(requests.try_recv().is_err());
    }

    #[test]
    fn a_late_answer_is_whole() {
        let server = hello(Delivery::After(Duration::from_millis(1)));
        let mut client = Client::connect(&server);
        for _ in 0..2 {
            client.get("/");
            assert_eq!(client.head(), HELLO_HEAD);
            assert_eq!(client.bytes(5), b"hello");
        }
    }

    #[test]
    fn a_dripped_answer_comes_whole_in_the_end() {
        let server = hello(Delivery::Drip {
            every: Duration::from_millis(1),
        });
        let mut client = Client::connect(&server);
        for _ in 0..2 {
            client.get("/");
            assert_eq!(client.head(), HELLO_HEAD);
            assert_eq!(client.bytes(5), b"hello");
        }
    }

    #[test]
    fn a_dripped_answer_begins_with_its_head() {
        let server = hello(Delivery::Drip { every: AGES });
        let mut client = Client::connect(&server);
        client.get("/");
        assert_eq!(client.head(), HELLO_HEAD);
        drop(server);
        assert_eq!(client.rest(), b"");
    }

    #[test]
    fn an_answer_ends_where_it_is_told_to() {
        let cases = [
            (Delivery::CloseBeforeAnswer, String::new()),
            (Delivery::CloseAfterHead, HELLO_HEAD.to_owned()),
            (Delivery::CutBody { after: 0 }, HELLO_HEAD.to_owned()),
            (Delivery::CutBody { after: 3 }, format!("{HELLO_HEAD}hel")),
            (
                Delivery::CutBody { after: 99 },
                format!("{HELLO_HEAD}hello"),
            ),
            (Delivery::WholeThenClose, format!("{HELLO_HEAD}hello")),
            (Delivery::Raw(b"SMTP 1\n".to_vec()), "SMTP 1\n".to_owned()),
        ];
        for (delivery, received) in cases {
            let server = hello(delivery.clone());
            let mut client = Client::connect(&server);
            client.get("/");
            assert_eq!(client.rest(), received.as_bytes(), "{delivery:?}");
            wait_until("closed", || server.connections_open() == 0);
        }
    }

    #[test]
    fn an_early_answer_goes_ahead() {
        for status in [100, 103] {
            let server = hello(Delivery::Informational(status));
            let mut client = Client::connect(&server);
            for _ in 0..2 {
                client.get("/");
                let early = client.head();
                assert!(early.starts_with(&format!("HTTP/1.1 {status} ")), "{early}");
                assert!(early.contains("\r\nx-sandbox: "), "{early}");
                assert_eq!(client.head(), HELLO_HEAD);
                assert_eq!(client.bytes(5), b"hello");
            }
        }
    }

    #[test]
    fn a_chunked_answer_has_no_length() {
        let server = hello(Delivery::Chunked);
        let mut client = Client::connect(&server);
        for _ in 0..2 {
            client.get("/");
            let head = "HTTP/1.1 200 OK\r\nX-Case: kept\r\ntransfer-encoding: chunked\r\n\r\n";
            assert_eq!(client.head(), head);
            let body = b"2\r\nhe\r\n2\r\nll\r\n1\r\no\r\n0\r\n\r\n";
            assert_eq!(client.bytes(body.len()), body);
        }
    }

    #[test]
    fn a_length_is_added_only_where_it_belongs() {
        let head = |reply: HttpReply| String::from_utf8(reply.head()).unwrap();
        let plain = head(HttpReply::new(404, "x"));
        assert_eq!(plain, "HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\n");
        for status in [204, 304] {
            assert!(!head(HttpReply::new(status, "")).contains("length"));
        }
        let given = head(HttpReply::new(200, "x").header("Content-Length", "7"));
        assert_eq!(given, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    }

    #[test]
    fn header_values_are_sent_byte_for_byte() {
        let server =
            HttpServer::start(|_| HttpReply::new(200, "").header("X", *b"a\xff\x01 b")).unwrap();
        let mut client = Client::connect(&server);
        client.get("/");
        let sent = b"HTTP/1.1 200 OK\r\nX: a\xff\x01 b\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(client.bytes(sent.len()), sent);
    }

    #[test]
    fn head_is_answered_without_a_body() {
        for delivery in [Delivery::Whole, Delivery::Informational(103)] {
            let early = delivery != Delivery::Whole;
            let server = hello(delivery);
            let mut client = Client::connect(&server);
            for _ in 0..2 {
                client.send("HEAD / HTTP/1.1\r\n\r\n");
                if early {
                    client.head();
                }
                assert_eq!(client.head(), HELLO_HEAD);
            }
        }
    }

    #[test]
    fn handlers_of_many_clients_run_at_the_same_time() {
        const CLIENTS: usize = 32;
        let meeting = Arc::new(Barrier::new(CLIENTS));
        let server = HttpServer::start({
            let meeting = Arc::clone(&meeting);
            move |_| {
                meeting.wait();
                HttpReply::new(200, "met")
            }
        })
        .unwrap();
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut client = Client::connect(&server);
                    for _ in 0..3 {
                        client.get("/");
                        assert_eq!(client.answer().1, b"met");
                    }
                });
            }
        });
        assert_eq!(server.connections_accepted(), CLIENTS);
    }

    #[test]
    fn a_panic_of_the_handler_is_answered_with_500() {
        let server = HttpServer::start(|request| {
            assert_ne!(request.target, "/panic", "as ordered by the test");
            HttpReply::new(200, "")
        })
        .unwrap();
        let mut client = Client::connect(&server);
        client.get("/panic");
        assert!(client.answer().0.starts_with("HTTP/1.1 500 "));
        client.get("/");
        assert!(client.answer().0.starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn kept_connections_can_be_closed() {
        let server = hello(Delivery::Whole);
        for round in 1..=20 {
            let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&server)).collect();
            for client in &mut clients {
                client.get("/");
                client.answer();
            }
            server.close_connections();
            assert_eq!(server.connections_open(), 0);
            for client in &mut clients {
                assert_eq!(client.rest(), b"");
            }
            assert_eq!(server.connections_accepted(), 3 * round);
        }
    }

    #[test]
    fn closing_lets_a_call_under_way_end() {
        let (entered, entries) = channel();
        let (leave, leaving) = channel();
        let leaving = Mutex::new(leaving);
        let server = HttpServer::start(move |_| {
            entered.send(()).unwrap();
            lock(&leaving).recv().unwrap();
            HttpReply::new(200, "done")
        })
        .unwrap();
        let mut client = Client::connect(&server);
        client.get("/");
        entries.recv().unwrap();
        server.close_connections();
        assert_eq!(server.connections_open(), 1);
        leave.send(()).unwrap();
        assert_eq!(client.answer().1, b"done");
        assert_eq!(client.rest(), b"");
    }

    #[test]
    fn closing_cuts_off_who_does_not_take_the_answer() {
        let server = HttpServer::start(|_| HttpReply::new(200, vec![0; 100_000_000])).unwrap();
        let mut client = Client::connect(&server);
        client.get("/");
        client.head();
        server.close_connections();
        assert_eq!(server.connections_open(), 0);
    }

    #[test]
    fn a_port_can_refuse_and_listen_again() {
        let server = hello(Delivery::Whole);
        let mut kept = Client::connect(&server);
        kept.get("/");
        kept.answer();
        for _ in 0..10 {
            server.set_refusing(true).unwrap();
            server.set_refusing(true).unwrap();
            let error = TcpStream::connect(server.address()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            kept.get("/");
            kept.answer();
            server.set_refusing(false).unwrap();
            server.set_refusing(false).unwrap();
            let mut client = Client::connect(&server);
            client.get("/");
            client.answer();
        }
        assert_eq!(server.connections_accepted(), 11);
        server.set_refusing(true).unwrap();
        let address = server.address();
        drop(server);
        HttpServer::start_on(address, |_| HttpReply::new(200, "")).unwrap();
    }

    #[test]
    fn dropping_ends_delays_and_connections() {
        for delivery in [Delivery::After(AGES), Delivery::Drip { every: AGES }] {
            let (entered, entries) = channel();
            let server = HttpServer::start(move |_| {
                entered.send(()).unwrap();
                HttpReply::new(200, "hello").delivery(delivery.clone())
            })
            .unwrap();
            let mut idle = Client::connect(&server);
            let mut busy = Client::connect(&server);
            busy.get("/");
            entries.recv().unwrap();
            let address = server.address();
            drop(server);
            assert_eq!(idle.rest(), b"");
            busy.rest();
            // The handler, and with it every thread that could call it, is gone.
            assert!(entries.recv().is_err());
            let error = TcpStream::connect(address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    }

    #[test]
    fn dropping_ends_while_a_client_does_not_read() {
        let server = HttpServer::start(|_| HttpReply::new(200, vec![b'x'; 100_000_000])).unwrap();
        let mut client = Client::connect(&server);
        client.get("/");
        client.head();
        drop(server);
    }

    #[test]
    fn dropping_ends_while_a_client_does_not_finish_its_request() {
        let (server, _requests) = recorder();
        let mut half_head = Client::connect(&server);
        half_head.send("POST / HTT");
        let mut half_body = Client::connect(&server);
        half_body.send("POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\nx");
        wait_until("accepted", || server.connections_accepted() == 2);
        drop(server);
        assert_eq!(half_head.rest(), b"");
    }

    #[test]
    fn a_large_answer_arrives_whole() {
        let body = (0..=255).collect::<Vec<u8>>().repeat(390_625);
        let expected = body.clone();
        let server = HttpServer::start(move |_| HttpReply::new(200, body.clone())).unwrap();
        let mut client = Client::connect(&server);
        client.get("/");
        assert!(client.answer().1 == expected);
        client.get("/");
        client.head();
    }

    #[test]
    fn a_client_that_leaves_leaves_nothing_behind() {
        let (server, requests) = recorder();
        let half_requests = [
            "",
            "POST / HT",
            "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf",
            "POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\nhalf",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
            "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        ];
        for half in half_requests {
            Client::connect(&server).send(half);
        }
        wait_until("all accepted", || {
            server.connections_accepted() == half_requests.len()
        });
        wait_until("all gone", || server.connections_open() == 0);
        assert!(requests.try_recv().is_err());
    }

    #[test]
    fn a_client_that_leaves_ends_its_delay() {
        let server = hello(Delivery::After(AGES));
        Client::connect(&server).get("/");
        wait_until("accepted", || server.connections_accepted() == 1);
        wait_until("gone", || server.connections_open() == 0);
    }

    #[test]
    fn a_client_may_end_its_side_first() {
        let server = hello(Delivery::Whole);
        let mut client = Client::connect(&server);
        client.get("/");
        client.0.get_ref().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest(), format!("{HELLO_HEAD}hello").as_bytes());
    }

    #[test]
    fn two_hundred_connections_come_and_go() {
        let server = hello(Delivery::Whole);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let mut client = Client::connect(&server);
                        client.get("/");
                        assert_eq!(client.answer().1, b"hello");
                    }
                });
            }
        });
        assert_eq!(server.connections_accepted(), 200);
        wait_until("all gone", || server.connections_open() == 0);
    }

    #[test]
    fn only_loopback_is_listened_on() {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let error = HttpServer::start_on(address, |_| HttpReply::new(200, "")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("0.0.0.0:0"), "{error}");
    }
}
