//! The sandbox's HTTP/1.1 server on loopback, and the client that posts notifications. The server uses one thread per
//! connection and controls every byte that it sends.

mod client;
mod connection;
mod message;
mod request;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::connection::Connection;
use self::request::Refused;
use super::sync::{lock, spawn, wait_until};

pub(crate) use self::client::{Target, post};
pub(crate) use self::message::{HttpRequest, Response};

/// The most connections at the same time. A further one is refused with status 503.
const CONNECTIONS_LIMIT: usize = 512;

/// The most connections that are being refused with status 503. A further one is closed at once.
const REFUSED_LIMIT: usize = 64;

/// The time that [`Server::close_connections`] allows a client to read the rest of its response.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Returns the response to a request. It runs for several connections at the same time. If it panics, the status is
/// 500.
type Handler = dyn Fn(HttpRequest, &Arc<Server>) -> Response + Send + Sync;

/// The owner of a running server. Dropping it closes every connection and ends its threads.
pub(crate) struct HttpServer(Arc<Server>);

/// A server that listens on a loopback address.
pub(crate) struct Server {
    address: SocketAddr,
    handler: Box<Handler>,
    /// The thread that accepts connections, or `None` while they are refused.
    acceptor: Mutex<Option<JoinHandle<()>>>,
    /// `true` if the accepting thread is to end.
    stopping: AtomicBool,
    ended: AtomicBool,
    /// The number of calls of [`Server::set_refusing`]. Each ends an earlier [`Server::refuse_for`].
    refusals: AtomicUsize,
    /// A connection to the server itself. It keeps the system from giving the port to another program while connections are
    /// refused.
    _reservation: (TcpStream, Option<TcpStream>),
    /// A connection is open until its thread drops it.
    connections: Mutex<Vec<Weak<Connection>>>,
    accepted: AtomicUsize,
    /// The number of connections that will be closed as soon as they are accepted.
    hang_ups: AtomicUsize,
}

impl HttpServer {
    /// Starts a server on this port of the loopback address. With port 0 the system picks the port.
    pub(crate) fn start(
        port: u16,
        handler: impl Fn(HttpRequest, &Arc<Server>) -> Response + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let own = TcpStream::connect(address)?;
        let is_own = |other: &TcpStream| other.peer_addr().ok() == own.local_addr().ok();
        let accepted = listener.incoming().flatten().find(is_own);
        let server = Arc::new(Server {
            address,
            handler: Box::new(handler),
            acceptor: Mutex::default(),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            refusals: AtomicUsize::new(0),
            _reservation: (own, accepted),
            connections: Mutex::default(),
            accepted: AtomicUsize::new(0),
            hang_ups: AtomicUsize::new(0),
        });
        *lock(&server.acceptor) = Some(server.listen(listener)?);
        Ok(Self(server))
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.ended.store(true, SeqCst);
        self.stop_listening(&mut lock(&self.acceptor));
        self.open().iter().for_each(|connection| connection.close());
        // A thread that still holds the server would otherwise drop the handler after this returns.
        wait_until(Duration::MAX, || Arc::strong_count(&self.0) == 1);
    }
}

impl Deref for HttpServer {
    type Target = Arc<Server>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Server {
    /// Returns the address that clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of connections accepted since the start.
    pub(crate) fn connections_accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// Returns the number of connections that are open now.
    pub(crate) fn connections_open(&self) -> usize {
        self.open().len()
    }

    /// Closes every connection, as a server closes idle ones. New connections are accepted.
    ///
    /// An idle connection is closed when this returns. A call under way gets its response first, and this method does not
    /// wait for it.
    pub(crate) fn close_connections(&self) {
        let finished = self.open().into_iter().filter(|one| one.finish());
        let idle: Vec<_> = finished.map(|one| Arc::downgrade(&one)).collect();
        let is_done = || idle.iter().all(|one| one.strong_count() == 0);
        if !wait_until(CLOSE_PATIENCE, is_done) {
            let left = idle.iter().filter_map(Weak::upgrade);
            left.for_each(|one| one.close());
            wait_until(CLOSE_PATIENCE, is_done);
        }
    }

    /// Closes the next connections as soon as they are accepted.
    pub(crate) fn hang_up(&self, connections: usize) {
        self.hang_ups.store(connections, SeqCst);
    }

    /// Ends the effect of `hang_up`, `set_refusing` and `refuse_for`, unless another process took the port meanwhile.
    pub(crate) fn reset(self: &Arc<Self>) {
        self.hang_up(0);
        let _ = self.set_refusing(false);
    }

    /// Stops listening if `on` is `true`, or listens again. While the server refuses connections, connecting fails as on a
    /// port without a listener.
    ///
    /// Open connections stay open. Fails if another process took the port meanwhile. The server then still refuses
    /// connections.
    pub(crate) fn set_refusing(self: &Arc<Self>, on: bool) -> io::Result<()> {
        let mut acceptor = lock(&self.acceptor);
        self.refusals.fetch_add(1, SeqCst);
        if on {
            self.stop_listening(&mut acceptor);
        } else if acceptor.is_none() && !self.ended.load(SeqCst) {
            *acceptor = Some(self.listen(TcpListener::bind(self.address)?)?);
        }
        Ok(())
    }

    /// Refuses connections for this time.
    pub(crate) fn refuse_for(self: &Arc<Self>, time: Duration) -> io::Result<()> {
        self.set_refusing(true)?;
        let refusals = self.refusals.load(SeqCst);
        let server = Arc::downgrade(self);
        spawn("sandbox-refuse", move || {
            wait_until(time, || server.strong_count() == 0);
            let is_last = |server: &Arc<Self>| server.refusals.load(SeqCst) == refusals;
            let server = server.upgrade().filter(is_last);
            let _ = server.map(|server| server.set_refusing(false));
        })
        .map(drop)
    }

    /// Starts the accepting thread.
    fn listen(self: &Arc<Self>, listener: TcpListener) -> io::Result<JoinHandle<()>> {
        self.stopping.store(false, SeqCst);
        let server = Arc::clone(self);
        spawn("sandbox-accept", move || server.accept(&listener))
    }

    /// Ends the accepting thread, which closes the listener.
    fn stop_listening(&self, acceptor: &mut Option<JoinHandle<()>>) {
        self.stopping.store(true, SeqCst);
        if let Some(thread) = acceptor.take() {
            // A connection wakes the thread.
            let wake = || TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
            while !thread.is_finished() && wake().is_err() {}
            let _ = thread.join();
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stopping.load(SeqCst) {
                return;
            }
            match stream {
                // If no thread can be started, the connection is closed.
                Ok(stream) => _ = self.admit(stream),
                // Most likely there are no file descriptors left. Wait until other threads close some.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Starts the thread of a connection, unless it is to be closed at once.
    fn admit(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        self.accepted.fetch_add(1, SeqCst);
        let hang_up = self
            .hang_ups
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        let open = self.connections_open();
        if hang_up.is_ok() || open >= CONNECTIONS_LIMIT + REFUSED_LIMIT {
            return Ok(());
        }
        let (server, connection) = (Arc::clone(self), Arc::new(Connection::new(stream)?));
        // Before the thread starts, so that a request's own connection is already counted.
        lock(&self.connections).push(Arc::downgrade(&connection));
        let is_admitted = open < CONNECTIONS_LIMIT;
        let admitted = is_admitted.then_some(()).ok_or(Refused(503));
        let handle = move |request| (server.handler)(request, &server);
        let serve = move || connection.serve(admitted, &handle);
        spawn("sandbox-connection", serve).map(drop)
    }

    fn open(&self) -> Vec<Arc<Connection>> {
        let mut connections = lock(&self.connections);
        connections.retain(|connection| connection.strong_count() > 0);
        connections.iter().filter_map(Weak::upgrade).collect()
    }
}
