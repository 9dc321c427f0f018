//! The sandbox's HTTP/1.1 server on loopback, and the client that posts notifications. The server uses one thread per
//! connection and controls every byte that it sends.

mod client;
mod connection;
mod message;
mod request;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::connection::Connection;
use super::sync::{lock, wait_until};

pub(crate) use self::client::{Target, post};
pub(crate) use self::message::{HttpRequest, HttpResponse};

/// The most connections at the same time. A further one is refused with status 503.
const CONNECTIONS_LIMIT: usize = 512;

/// The number of refused connections that are kept open, so that their clients can read the status 503.
const TURNED_AWAY_LIMIT: usize = 64;

/// The time that [`Server::close_connections`] allows a client to read the rest of its response.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Returns the response to a request. It runs for several connections at the same time. If it panics, the status is
/// 500.
type Handler = dyn Fn(HttpRequest, &Arc<Server>) -> HttpResponse + Send + Sync;

/// The owner of a running server. Dropping it closes every connection and ends its threads.
pub(crate) struct HttpServer(Arc<Server>);

/// A server that listens on a loopback address.
pub(crate) struct Server {
    address: SocketAddr,
    handler: Box<Handler>,
    listening: Mutex<Listening>,
    /// The client address of the connection that tells the accepting thread to stop.
    stopper: Mutex<Option<SocketAddr>>,
    /// The connections with their threads. A connection is open until its thread drops it.
    connections: Mutex<Vec<(Weak<Connection>, JoinHandle<()>)>>,
    accepted: AtomicUsize,
    /// The number of connections that will be closed as soon as they are accepted.
    hang_ups: AtomicUsize,
}

/// The state of the thread that accepts connections.
enum Listening {
    /// The accepting thread. It returns the connection that told it to stop.
    On(JoinHandle<Option<TcpStream>>),
    /// A connection to the server itself. As long as it is open, the system does not give the port to a connection of
    /// another program.
    Off(Option<(TcpStream, TcpStream)>),
    /// The server has ended.
    Ended,
}

impl HttpServer {
    /// Starts a server on this port of the loopback address. With port 0 the system picks the port.
    pub(crate) fn start(
        port: u16,
        handler: impl Fn(HttpRequest, &Arc<Server>) -> HttpResponse + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let server = Arc::new(Server {
            address: listener.local_addr()?,
            handler: Box::new(handler),
            listening: Mutex::new(Listening::Off(None)),
            stopper: Mutex::default(),
            connections: Mutex::default(),
            accepted: AtomicUsize::new(0),
            hang_ups: AtomicUsize::new(0),
        });
        *lock(&server.listening) = server.listen(listener)?;
        Ok(Self(server))
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop_listening(&mut lock(&self.listening), Listening::Ended);
        self.open().iter().for_each(|connection| connection.close());
        let connections = std::mem::take(&mut *lock(&self.connections));
        for (_, thread) in connections {
            let _ = thread.join();
        }
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
        let is_gone = || idle.iter().all(|one| one.strong_count() == 0);
        if !wait_until(CLOSE_PATIENCE, is_gone) {
            let open = idle.iter().filter_map(Weak::upgrade);
            open.for_each(|connection| connection.close());
            wait_until(CLOSE_PATIENCE, is_gone);
        }
    }

    /// Closes the next connections as soon as they are accepted.
    pub(crate) fn hang_up(&self, connections: usize) {
        self.hang_ups.store(connections, SeqCst);
    }

    /// Stops listening if `on` is `true`, or listens again. While the server refuses connections, connecting fails as on a
    /// port without a listener.
    ///
    /// Open connections stay open. Fails if another process took the port meanwhile. The server then still refuses
    /// connections.
    pub(crate) fn set_refusing(self: &Arc<Self>, on: bool) -> io::Result<()> {
        let mut listening = lock(&self.listening);
        match &mut *listening {
            Listening::On(_) if on => self.stop_listening(&mut listening, Listening::Off(None)),
            Listening::Off(_) if !on => {
                *listening = self.listen(TcpListener::bind(self.address)?)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Refuses connections for this time.
    pub(crate) fn refuse_for(self: &Arc<Self>, time: Duration) -> io::Result<()> {
        self.set_refusing(true)?;
        let server = Arc::downgrade(self);
        thread::Builder::new()
            .name("sandbox-refuse".into())
            .spawn(move || {
                wait_until(time, || server.strong_count() == 0);
                server.upgrade().map(|server| server.set_refusing(false))
            })?;
        Ok(())
    }

    /// Starts the accepting thread.
    fn listen(self: &Arc<Self>, listener: TcpListener) -> io::Result<Listening> {
        let (thread, server) = (thread::Builder::new(), Arc::clone(self));
        let thread = thread.name("sandbox-accept".into());
        Ok(Listening::On(
            thread.spawn(move || server.accept(&listener))?,
        ))
    }

    fn stop_listening(&self, listening: &mut Listening, then: Listening) {
        let Listening::On(acceptor) = std::mem::replace(listening, then) else {
            return;
        };
        let mut own = None;
        while own.is_none() && !acceptor.is_finished() {
            // The lock is held until the stopper's address is stored, so that its connection is not mistaken for a client's.
            let mut stopper = lock(&self.stopper);
            own = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok();
            *stopper = own.as_ref().and_then(|own| own.local_addr().ok());
        }
        let accepted = acceptor.join().ok().flatten();
        if let Listening::Off(held) = listening {
            *held = own.zip(accepted);
        }
        *lock(&self.stopper) = None;
    }

    /// Accepts connections until the stopper connects.
    fn accept(self: &Arc<Self>, listener: &TcpListener) -> Option<TcpStream> {
        let mut turned_away = VecDeque::new();
        loop {
            let Ok((stream, peer)) = listener.accept() else {
                // Most likely there are no file descriptors left. Wait until other threads close some.
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            if *lock(&self.stopper) == Some(peer) {
                return Some(stream);
            }
            self.accepted.fetch_add(1, SeqCst);
            let one_less = |left: usize| left.checked_sub(1);
            let hung_up = self.hang_ups.fetch_update(SeqCst, SeqCst, one_less);
            if hung_up.is_ok() {
                continue;
            }
            if self.connections_open() < CONNECTIONS_LIMIT {
                // On failure the connection is closed.
                let _ = self.admit(stream);
            } else {
                turn_away(&stream);
                turned_away.push_back(stream);
                turned_away.drain(..turned_away.len().saturating_sub(TURNED_AWAY_LIMIT));
            }
        }
    }

    /// Starts the thread of a connection.
    fn admit(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let connection = Arc::new(Connection::new(stream)?);
        let (server, weak) = (Arc::clone(self), Arc::downgrade(&connection));
        // The list is locked before the thread starts, so that a request's own connection is already counted.
        let mut connections = lock(&self.connections);
        connections.retain(|(_, thread)| !thread.is_finished());
        let thread = thread::Builder::new().name("sandbox-connection".into());
        let serve = move || connection.serve(&|request| (server.handler)(request, &server));
        connections.push((weak, thread.spawn(serve)?));
        Ok(())
    }

    fn open(&self) -> Vec<Arc<Connection>> {
        let connections = lock(&self.connections);
        let open = connections.iter().filter_map(|(open, _)| open.upgrade());
        open.collect()
    }
}

fn turn_away(mut stream: &TcpStream) {
    let response = HttpResponse::new(503, "").header("Connection", "close");
    // The response fits into the buffer of a new connection, so this write does not block.
    let _ = stream.write_all(&response.head());
    let _ = stream.shutdown(Shutdown::Write);
}
