//! One client's connection: reads its requests in turn, and sends each response as its [`Delivery`] says.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::message::{Delivery, HttpRequest, HttpResponse};
use super::request::{PATIENCE, Requests, Unread};
use super::socket::{POLL_INTERVAL, Socket};

/// The time for which the rest of a refused request is read and discarded.
const LINGER_TIME: Duration = Duration::from_secs(10);

type Handler<'a> = dyn Fn(HttpRequest) -> HttpResponse + 'a;

/// The connection of one client.
pub(super) struct Connection {
    socket: Socket,
    /// `true` if the connection is closed after the response under way.
    finishing: AtomicBool,
    /// `true` if the connection is closed at once.
    closed: AtomicBool,
    /// `true` if a request was received and its last write has not begun.
    in_call: AtomicBool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(stream)?,
            finishing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            in_call: AtomicBool::new(false),
        })
    }

    /// Closes the connection, even during a request or a response.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Closes the connection after the request under way. Returns `true` if none is under way.
    pub(super) fn finish(&self) -> bool {
        self.finishing.store(true, Ordering::SeqCst);
        !self.in_call.load(Ordering::SeqCst)
    }

    /// Serves the client until the connection is closed.
    pub(super) fn serve(&self, handler: &Handler<'_>) {
        let is_wanted = || self.is_open() && !self.finishing.load(Ordering::SeqCst);
        let mut requests = Requests::new(&self.socket, PATIENCE, is_wanted);
        loop {
            let go_on = || _ = self.write(b"HTTP/1.1 100 Continue\r\n\r\n");
            let request = match requests.next(go_on) {
                Ok(request) => request,
                Err(Unread::Refused(status)) => break self.refuse(status),
                Err(Unread::Ended) => break,
            };
            if !self.exchange(handler, request) {
                break;
            }
        }
        self.socket.shut_down(Shutdown::Both);
    }

    /// Handles a request and sends the response. Returns `true` if another request may follow.
    fn exchange(&self, handler: &Handler<'_>, request: HttpRequest) -> bool {
        self.in_call.store(true, Ordering::SeqCst);
        let head_only = request.method == "HEAD";
        let is_last = request.is_last();
        let response = catch_unwind(AssertUnwindSafe(|| handler(request)))
            .unwrap_or_else(|_| HttpResponse::new(500, ""));
        let is_sent = self.send(&response, head_only).is_ok();
        self.end_call();
        is_sent && !is_last && !response.delivery.close
    }

    /// Sends a response as its `delivery` says.
    fn send(&self, response: &HttpResponse, head_only: bool) -> io::Result<()> {
        let Delivery {
            delay,
            every,
            informational,
            ..
        } = response.delivery;
        self.pause(delay)?;
        if let Some(status) = informational {
            let early = HttpResponse::new(status, "").header("x-sandbox", "informational");
            self.write(&early.head())?;
        }
        let (head, body) = response.bytes(head_only);
        if every.is_zero() || body.is_empty() {
            self.end_call();
            return self.write(&[head, body].concat());
        }
        self.write(&head)?;
        for (place, byte) in (1..).zip(&body) {
            self.pause(every)?;
            if place == body.len() {
                self.end_call();
            }
            self.write(&[*byte])?;
        }
        Ok(())
    }

    /// Waits for this time. Fails as soon as the client or the server closes the connection.
    fn pause(&self, time: Duration) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            if !self.is_open() || self.socket.is_ended() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            thread::sleep(left.min(POLL_INTERVAL));
        }
    }

    /// Refuses a request, and discards what the client still sends. If bytes were left unread at the close, the system
    /// would drop the response.
    fn refuse(&self, status: u16) {
        let response = HttpResponse::new(status, "").header("Connection", "close");
        let _ = self.write(&response.head());
        self.socket.shut_down(Shutdown::Write);
        let begun = Instant::now();
        let is_wanted = || self.is_open() && begun.elapsed() < LINGER_TIME;
        let mut thrown_away = Vec::new();
        while let Ok(1..) = self.socket.read(&mut thrown_away, is_wanted) {
            thrown_away.clear();
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write(bytes, || self.is_open())
    }

    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::SeqCst)
    }

    /// Marks the call as ended. It is called before the last write, because after that write the client may already have
    /// the whole response.
    fn end_call(&self) {
        self.in_call.store(false, Ordering::SeqCst);
    }
}
