//! A client's connection to the sandbox, and the passing of bytes between the client and tiny_http.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tiny_http::Request;

use super::exchange::release;
use super::{lock, wait};

/// How much of a refused body is read and thrown away, in bytes, so that the client gets to read the refusal.
const LINGER_LIMIT: usize = 64 * 1024 * 1024;

/// A request in our own name on each new inner connection, and the byte that answers it.
///
/// tiny_http's thread pool can leave a connection without a thread when two arrive at once: the second then waits until
/// the first one ends. Asking, and waiting for the reply before the next connection is opened, rules that out.
const GREETING: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const GREETING_REPLY: &[u8] = b"+";

/// One client, and the inner connection on which tiny_http hears what it says.
pub(super) struct Connection {
    client: TcpStream,
    inner: TcpStream,
    pub(super) key: SocketAddr,
    greeted: AtomicBool,
    pub(super) requests: Mutex<Option<Sender<Request>>>,
    pub(super) state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    /// Both directions are shut.
    closed: bool,
    /// The client has sent all that it will ever send.
    pub(super) client_ended: bool,
    /// A request is handled, and its answer is not on its way yet.
    pub(super) in_call: bool,
    /// The last answer was given: nothing more goes to the client, neither from us nor from tiny_http.
    pub(super) over: bool,
    /// The client may go on sending for a while after it was told goodbye.
    pub(super) lingers: bool,
    /// How many bytes of tiny_http's own were passed to the client.
    pub(super) passed_back: u64,
}

impl Connection {
    pub(super) fn open(
        client: TcpStream,
        inner_address: SocketAddr,
    ) -> io::Result<(Self, Receiver<Request>)> {
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
    pub(super) fn greet(&self) -> io::Result<()> {
        (&self.inner).write_all(GREETING)?;
        (&self.inner).read_exact(&mut [0])
    }

    /// Takes a request from tiny_http. The first one is our own.
    pub(super) fn take(&self, request: Request) {
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
    pub(super) fn close(&self) {
        self.change(|state| state.closed = true);
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.inner.shutdown(Shutdown::Both);
    }

    /// Lets tiny_http hear no more: what was asked is answered, then the connection is closed.
    pub(super) fn finish(&self) {
        let _ = self.inner.shutdown(Shutdown::Write);
    }

    /// Finishes, and says whether that takes no longer than the client needs to take what is written.
    pub(super) fn finish_idle(&self) -> bool {
        self.finish();
        !lock(&self.state).in_call
    }

    pub(super) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.closed || state.over
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }

    /// Waits; `false` as soon as there is nobody to wait for.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(lock(&self.state), time, |state| {
                !state.closed && !state.client_ended
            });
        let (_state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        result.timed_out()
    }

    /// Waits until more than `before` bytes of tiny_http's own have been passed to the client.
    pub(super) fn wait_passed_back(&self, before: u64) {
        let mut state = lock(&self.state);
        while !state.closed && state.passed_back <= before {
            state = wait(&self.changed, state);
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.client).write_all(bytes)
    }

    /// Counts the call as over. To be said before the last write: after it the client may have the whole answer.
    pub(super) fn end_call(&self) {
        self.change(|state| state.in_call = false);
    }
}

/// Passes what the client sends to tiny_http, until the client ends.
pub(super) fn pass_on(connection: &Connection) {
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
pub(super) fn pass_back(connection: &Connection) {
    let mut buffer = [0; 1024];
    loop {
        let read = match (&connection.inner).read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let piece = buffer.get(..read).unwrap_or_default();
        if connection.is_over() {
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
