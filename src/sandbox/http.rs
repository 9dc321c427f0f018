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

/// Accepts clients until the server ends.
fn accept(shared: &Arc<Shared>, mut listener: TcpListener) {
    let mut threads = Vec::new();
    loop {
        let accepted = listener.accept();
        if shared.is_closing() {
            break;
        }
        if lock(&shared.gate).refusing {
            drop(accepted);
            let Some(reopened) = stay_shut(shared, listener) else {
                break;
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
    for thread in threads {
        let _ = thread.join();
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
    /// A request is handled and its answer's last write has not begun.
    in_call: bool,
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

    /// Writes the end of an answer. The client may have all of it before this returns, so the call counts as over.
    fn write_last(&self, bytes: &[u8]) -> io::Result<()> {
        self.change(|state| state.in_call = false);
        self.write(bytes)
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
    connection.change(|state| state.in_call = false);
    match sent {
        Ok(Then::Keep) => {}
        Ok(Then::Close) if !is_undroppable(request) => connection.finish(),
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
    if declared.is_some_and(|declared| declared != read.body.len()) {
        return Err(400);
    }
    Ok(read)
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
        Delivery::Drip { every } => drip(connection, &head, body, *every)?,
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
    if body.len() > JOIN_LIMIT {
        connection.write(&head)?;
        return connection.write_last(body);
    }
    head.extend_from_slice(body);
    connection.write_last(&head)
}

fn drip(connection: &Connection, head: &[u8], body: &[u8], every: Duration) -> io::Result<()> {
    connection.write(head)?;
    for byte in body {
        pause(connection, every)?;
        connection.write(&[*byte])?;
    }
    Ok(())
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
