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

use connection::{Connection, pass_back, pass_on};
use exchange::{release, work};
pub(crate) use message::{Delivery, HttpReply, HttpRequest};

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

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::Shutdown;
    use std::sync::Barrier;
    use std::sync::mpsc::channel;

    use super::exchange::BODY_LIMIT;
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
    fn nothing_follows_the_last_answer() {
        let server = hello(Delivery::CutBody { after: 3 });
        let mut client = Client::connect(&server);
        client.send("GET /first HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\n\r\nnonsense\r\n\r\n");
        assert_eq!(client.rest(), format!("{HELLO_HEAD}hel").as_bytes());
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
