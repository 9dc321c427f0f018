//! A small HTTPS server on loopback with a certificate authority of its own, for tests and benches.
// Each program that includes this file uses a part of it.
#![allow(dead_code)]

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The longest request that the server reads.
const MAX_REQUEST: usize = 1024 * 1024;

/// A certificate authority, created for each run.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("test authority")
    }

    pub(crate) fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = pem(params.self_signed(&key).unwrap().der());
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// The authority's certificate, for `ClientBuilder::root_certificates`.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// The settings of the server's certificate.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    /// The names and IP addresses in it.
    pub(crate) names: Vec<String>,
    /// Its first second of validity.
    pub(crate) not_before: SystemTime,
    /// Its last second of validity.
    pub(crate) not_after: SystemTime,
}

impl Default for Leaf {
    /// For `localhost` and `127.0.0.1`, valid now.
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            not_before: SystemTime::now() - day,
            not_after: SystemTime::now() + day,
        }
    }
}

impl Leaf {
    pub(crate) fn config(&self, authority: &Authority) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        params.not_before = self.not_before.into();
        params.not_after = self.not_after.into();
        let certificate = params.signed_by(&key, &authority.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }
}

/// The raw bytes of a response, and what the server does with the connection afterwards.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Wait for the next request.
    Keep,
    /// Close with a TLS alert.
    Close,
    /// Close without a TLS alert, as when a machine on the way fails.
    Cut,
}

impl Answer {
    /// Raw bytes, after which the connection is kept.
    pub(crate) fn keep(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            then: Then::Keep,
        }
    }

    /// A response with `Content-Length`, after which the connection is kept.
    pub(crate) fn http(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        use fmt::Write as _;
        let mut head = format!(
            "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        Self::keep(bytes)
    }

    /// Sets what the server does with the connection afterwards.
    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

/// Lets a number of threads continue together. Unlike a [`Barrier`](std::sync::Barrier), which blocks the others for
/// ever if one of them fails, it lets them continue after 10 seconds.
pub(crate) struct Meeting {
    size: usize,
    arrived: Mutex<usize>,
    complete: Condvar,
}

impl Meeting {
    pub(crate) fn of(size: usize) -> Self {
        Self {
            size,
            arrived: Mutex::new(0),
            complete: Condvar::new(),
        }
    }

    /// Waits for the other threads. Returns `true` if all of them came.
    pub(crate) fn wait(&self) -> bool {
        let mut arrived = self.arrived.lock().unwrap();
        *arrived += 1;
        // The same threads may meet again.
        let complete = arrived.next_multiple_of(self.size);
        self.complete.notify_all();
        let limit = Duration::from_secs(10);
        let is_early = |arrived: &mut usize| *arrived < complete;
        let waited = self.complete.wait_timeout_while(arrived, limit, is_early);
        let waited = waited.unwrap().1;
        !waited.timed_out()
    }
}

/// The server, which stops when it is dropped.
pub(crate) struct TlsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

type Handler = dyn Fn(&[u8]) -> Answer + Send + Sync;

struct Shared {
    config: Arc<ServerConfig>,
    handler: Box<Handler>,
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    requests: AtomicUsize,
    stopping: AtomicBool,
    /// The open connections by number.
    open: Mutex<HashMap<usize, TcpStream>>,
}

impl TlsServer {
    /// Starts a server on a port of the system's choice. `handler` gets each request whole, head and body, on the
    /// connection's own thread.
    pub(crate) fn start(
        authority: &Authority,
        leaf: &Leaf,
        handler: impl Fn(&[u8]) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            config: leaf.config(authority),
            handler: Box::new(handler),
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accepting.accept(&listener));
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `https://name:port`. The name must lead to loopback.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("https://{name}:{}", self.address.port())
    }

    /// Returns the number of TCP connections that were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of TLS handshakes that were completed.
    pub(crate) fn handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::SeqCst)
    }

    /// Returns the number of whole requests that were read.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Returns the number of open connections. A connection is counted until its peer can see that it is closed.
    pub(crate) fn open(&self) -> usize {
        self.shared.lock().len()
    }

    /// Closes all open connections. After it returns, their peers can see that they are closed.
    pub(crate) fn close_connections(&self) {
        self.shared.close_connections();
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            // A panic of a handler has been printed, and the client's side of the test has failed.
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut workers = Vec::new();
        for stream in listener.incoming() {
            if self.stopping.load(Ordering::SeqCst) {
                break;
            }
            let Ok(stream) = stream else { continue };
            let number = self.connections.fetch_add(1, Ordering::SeqCst);
            let shared = Arc::clone(self);
            self.lock().insert(number, stream.try_clone().unwrap());
            workers.push(thread::spawn(move || {
                // An error is ignored: the client may close at any moment.
                let _ = shared.serve(stream);
                shared.lock().remove(&number);
            }));
        }
        self.close_connections();
        for worker in workers {
            let _ = worker.join();
        }
    }

    fn serve(&self, mut tcp: TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let mut tls = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        self.handshakes.fetch_add(1, Ordering::SeqCst);
        let mut stream = StreamOwned::new(tls, tcp);
        let mut received = Vec::with_capacity(4096);
        while let Some(length) = read_request(&mut stream, &mut received)? {
            self.requests.fetch_add(1, Ordering::SeqCst);
            let answer = (self.handler)(&received[..length]);
            received.drain(..length);
            stream.write_all(&answer.bytes)?;
            stream.flush()?;
            match answer.then {
                Then::Keep => {}
                Then::Close => {
                    stream.conn.send_close_notify();
                    return stream.flush();
                }
                Then::Cut => return Ok(()),
            }
        }
        Ok(())
    }

    fn close_connections(&self) {
        for stream in self.lock().values() {
            // It may be closed already.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads until `received` starts with a complete request, and returns its length, or `None` if the client has closed
/// the connection.
fn read_request(stream: &mut impl Read, received: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(length) = request_length(received).filter(|length| *length <= received.len()) {
            return Ok(Some(length));
        }
        if received.len() > MAX_REQUEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            read => received.extend_from_slice(&chunk[..read]),
        }
    }
}

/// Returns the length of the request, head and body, after the head has arrived.
pub(crate) fn request_length(received: &[u8]) -> Option<usize> {
    let head = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")?
        + 4;
    let text = std::str::from_utf8(&received[..head]).unwrap_or_default();
    let body = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    Some(head + body)
}
