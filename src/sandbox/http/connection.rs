//! One client's connection: reads its requests in turn, and sends each response as its [`Delivery`] says.

use std::cell::Cell;
use std::io::{self, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::super::sync::wait_until;
use super::message::{HttpRequest, Response};
use super::request::{Refused, read_request};
use super::socket::{Socket, prepare};

/// The time within which a request must arrive, counted from the previous response. After it an idle connection is
/// closed, and an incomplete request is refused with 408.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time for which the rest of a refused request is read and discarded.
const LINGER_TIME: Duration = Duration::from_secs(10);

type Handler<'a> = dyn Fn(HttpRequest) -> Response + 'a;

/// The connection of one client.
pub(super) struct Connection {
    stream: TcpStream,
    /// `true` if the connection is closed after the response under way.
    closing: AtomicBool,
    /// `true` from the arrival of a request until the last write of its response begins. From then on, the client may have
    /// the whole response.
    in_call: AtomicBool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        prepare(&stream)?;
        Ok(Self {
            stream,
            closing: AtomicBool::new(false),
            in_call: AtomicBool::new(false),
        })
    }

    /// Closes the connection, even during a request or a response.
    pub(super) fn close(&self) {
        self.closing.store(true, SeqCst);
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Closes the connection after the request under way. Returns `true` if none is under way.
    pub(super) fn finish(&self) -> bool {
        self.closing.store(true, SeqCst);
        !self.in_call.load(SeqCst)
    }

    /// Serves the client until the connection is closed. Refuses its first request unless it is `admitted`.
    pub(super) fn serve(&self, admitted: Result<(), Refused>, handler: &Handler<'_>) {
        let deadline = Cell::new(Instant::now() + PATIENCE);
        let is_wanted = || !self.closing.load(SeqCst) && Instant::now() < deadline.get();
        let mut reader = BufReader::new(Socket(&self.stream, is_wanted));
        let go_on = || _ = self.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        let serve = || {
            admitted?;
            while let Some(request) = read_request(&mut reader, go_on)? {
                if !self.exchange(handler, request) {
                    break;
                }
                deadline.set(Instant::now() + PATIENCE);
            }
            Ok(())
        };
        if let (Err(Refused(status)), false) = (serve(), self.closing.load(SeqCst)) {
            let response = Response::new(status, "").header("Connection", "close");
            let _ = self.write(&response.head());
            let _ = self.stream.shutdown(Shutdown::Write);
            // If bytes were left unread at the close, the system would drop the response.
            deadline.set(Instant::now() + LINGER_TIME);
            let _ = io::copy(&mut reader, &mut io::sink());
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Handles a request and sends the response. Returns `true` if another request may follow.
    fn exchange(&self, handler: &Handler<'_>, request: HttpRequest) -> bool {
        self.in_call.store(true, SeqCst);
        let (head_only, is_last) = (request.method == "HEAD", request.is_last());
        let response = catch_unwind(AssertUnwindSafe(|| handler(request)))
            .unwrap_or_else(|_| Response::new(500, ""));
        let is_sent = self.send(&response, head_only).is_ok();
        self.in_call.store(false, SeqCst);
        is_sent && !is_last && !response.delivery.close
    }

    /// Sends a response as its `delivery` says.
    fn send(&self, response: &Response, head_only: bool) -> io::Result<()> {
        let delivery = &response.delivery;
        self.pause(delivery.delay)?;
        if let Some(status) = delivery.informational {
            let early = Response::new(status, "").header("x-sandbox", "informational");
            self.write(&early.head())?;
        }
        let (mut bytes, body) = response.bytes(head_only);
        let at_once = if delivery.every.is_zero() {
            body.len()
        } else {
            0
        };
        let (at_once, slow) = body.split_at(at_once);
        bytes.extend_from_slice(at_once);
        for byte in slow {
            self.write(&bytes)?;
            self.pause(delivery.every)?;
            bytes = vec![*byte];
        }
        self.in_call.store(false, SeqCst);
        self.write(&bytes)
    }

    /// Waits for this time. Fails as soon as the client or the server closes the connection.
    fn pause(&self, time: Duration) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let is_ended = || match self.stream.peek(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        let is_cut_short = !time.is_zero() && wait_until(time, is_ended);
        self.stream.set_nonblocking(false)?;
        match is_cut_short {
            true => Err(ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        Socket(&self.stream, || true).write_all(bytes)
    }
}
