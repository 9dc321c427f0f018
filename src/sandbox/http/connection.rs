//! One client's connection: its requests in turn, and responses that are sent well or as badly as they are told to.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::message::{Delivery, HttpRequest, HttpResponse, push_header, status_line};
use super::request::{Requests, Unread};
use super::socket::{POLL_INTERVAL, Socket};

/// How much of a refused request is read and thrown away, in bytes, and for how long, so that the client gets to read
/// the response.
const LINGER_LIMIT: usize = 64 * 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(10);

/// Up to this size, in bytes, head and body leave in one write.
const JOIN_LIMIT: usize = 64 * 1024;

type Handler<'a> = dyn Fn(HttpRequest) -> HttpResponse + 'a;

/// One client.
pub(super) struct Connection {
    socket: Socket,
    /// No request follows: the one under way gets its response, then the connection is closed.
    finishing: AtomicBool,
    /// Everything on this connection is given up.
    closed: AtomicBool,
    /// A request was received, and its response is not on its way yet.
    in_call: AtomicBool,
}

/// What becomes of the connection after a response.
#[derive(PartialEq)]
enum Then {
    Keep,
    Close,
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

    /// Gives up whatever is under way.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Lets no request follow. Returns whether none is under way.
    pub(super) fn finish(&self) -> bool {
        self.finishing.store(true, Ordering::SeqCst);
        !self.in_call.load(Ordering::SeqCst)
    }

    /// Serves the client until the connection is closed.
    pub(super) fn serve(&self, handler: &Handler<'_>) {
        let is_wanted = || self.is_open() && !self.finishing.load(Ordering::SeqCst);
        let mut requests = Requests::new(&self.socket, is_wanted);
        let mut then = Then::Keep;
        while then == Then::Keep {
            let go_on = || _ = self.write(b"HTTP/1.1 100 Continue\r\n\r\n");
            match requests.next(go_on) {
                Ok(request) => then = self.exchange(handler, request).unwrap_or(Then::Close),
                Err(Unread::Refused(status)) => {
                    let response = HttpResponse::new(status, "").header("Connection", "close");
                    if self.send(&response, false).is_ok() {
                        self.linger();
                    }
                    break;
                }
                Err(Unread::Ended) => break,
            }
        }
        self.socket.shut_down(Shutdown::Both);
    }

    fn exchange(&self, handler: &Handler<'_>, request: HttpRequest) -> io::Result<Then> {
        self.in_call.store(true, Ordering::SeqCst);
        let head_only = request.method == "HEAD";
        let is_last = request.is_http_1_0
            || request
                .header_all("connection")
                .flat_map(|value| value.split(','))
                .any(|option| option.trim().eq_ignore_ascii_case("close"));
        let response = catch_unwind(AssertUnwindSafe(|| handler(request)))
            .unwrap_or_else(|_| HttpResponse::new(500, ""));
        let then = self.send(&response, head_only);
        self.end_call();
        if is_last { Ok(Then::Close) } else { then }
    }

    /// Sends a response in the way that it says.
    fn send(&self, response: &HttpResponse, head_only: bool) -> io::Result<Then> {
        let head = response.head();
        let body = if head_only { &[] } else { &*response.body };
        match &response.delivery {
            Delivery::Whole => self.whole(head, body)?,
            Delivery::After(time) => {
                self.pause(*time)?;
                self.whole(head, body)?;
            }
            Delivery::Drip { every } => self.drip(head, body, *every)?,
            Delivery::Informational(status) => {
                let mut early = status_line(*status);
                push_header(&mut early, "x-sandbox", b"informational");
                early.extend_from_slice(b"\r\n");
                self.write(&early)?;
                self.whole(head, body)?;
            }
            Delivery::Chunked => {
                let chunked = if head_only { Vec::new() } else { chunks(body) };
                self.whole(head, &chunked)?;
            }
            Delivery::CloseBeforeResponse => return Ok(Then::Close),
            Delivery::CloseAfterHead => return self.close_after(head, &[]),
            Delivery::CutBody { after } => {
                return self.close_after(head, body.get(..*after).unwrap_or(body));
            }
            Delivery::WholeThenClose => return self.close_after(head, body),
            Delivery::Raw(bytes) => return self.close_after(Vec::new(), bytes),
        }
        Ok(Then::Keep)
    }

    fn close_after(&self, head: Vec<u8>, body: &[u8]) -> io::Result<Then> {
        self.whole(head, body)?;
        Ok(Then::Close)
    }

    fn whole(&self, mut head: Vec<u8>, body: &[u8]) -> io::Result<()> {
        self.end_call();
        if body.len() > JOIN_LIMIT {
            self.write(&head)?;
            return self.write(body);
        }
        head.extend_from_slice(body);
        self.write(&head)
    }

    fn drip(&self, head: Vec<u8>, body: &[u8], every: Duration) -> io::Result<()> {
        let Some((last, others)) = body.split_last() else {
            return self.whole(head, body);
        };
        self.write(&head)?;
        for byte in others {
            self.pause(every)?;
            self.write(&[*byte])?;
        }
        self.pause(every)?;
        self.whole(Vec::new(), &[*last])
    }

    /// Waits. Fails as soon as the client has left or the connection is closed.
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

    /// Throws away what the client still sends: closed with bytes unread, the system would drop the response.
    fn linger(&self) {
        self.socket.shut_down(Shutdown::Write);
        let begun = Instant::now();
        let (mut thrown_away, mut buffer) = (0, Vec::new());
        while thrown_away < LINGER_LIMIT {
            let is_wanted = || self.is_open() && begun.elapsed() < LINGER_TIME;
            match self.socket.read(&mut buffer, is_wanted) {
                Ok(read @ 1..) => thrown_away += read,
                _ => return,
            }
            buffer.clear();
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write(bytes, || self.is_open())
    }

    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::SeqCst)
    }

    /// Counts the call as over, before the last write: after it the client may have the whole response.
    fn end_call(&self) {
        self.in_call.store(false, Ordering::SeqCst);
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
