//! The TCP connection under TLS and proxy: writes in one piece, and keeps the limit at every read and write.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::unversioned::transport::time::Duration as UreqDuration;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::BUFFER;
use super::deadline::{Deadline, Step};

/// A TCP connection that holds back what is sent until an answer is awaited, so that head and body leave in one write,
/// and that keeps the limit on the whole call at every single read and write, however slowly bytes drip.
///
/// It sits below TLS, where every byte passes, also those of the handshake and of the proxy.
pub(super) struct Wire {
    stream: TcpStream,
    buffers: WireBuffers,
    deadline: Deadline,
    /// Why a write failed. How much of it has left is not known, so nothing more may follow.
    broken: Option<(io::ErrorKind, String)>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, deadline: Deadline) -> Self {
        Self {
            stream,
            buffers: WireBuffers::new(),
            deadline,
            broken: None,
        }
    }

    fn flush(&mut self, step: Step) -> io::Result<()> {
        if let Some((kind, reason)) = &self.broken {
            return Err(io::Error::new(*kind, reason.clone()));
        }
        let result = self.write_held(step);
        self.buffers.held = 0;
        if let Err(error) = &result {
            self.broken = Some((error.kind(), error.to_string()));
        }
        result
    }

    fn write_held(&self, step: Step) -> io::Result<()> {
        let mut rest = self.buffers.held();
        while !rest.is_empty() {
            let left = self.deadline.left(step, Instant::now())?;
            self.stream.set_write_timeout(Some(left))?;
            match (&self.stream).write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fill(&mut self, step: Step) -> io::Result<usize> {
        loop {
            let left = self.deadline.left(step, Instant::now())?;
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(read) => {
                    self.buffers.input_appended(read);
                    return Ok(read);
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A signal or the socket's own limit: whether time is really up is for the deadline to say.
fn is_passing(error: &io::Error) -> bool {
    is_timeout(error) || error.kind() == io::ErrorKind::Interrupted
}

/// ureq names the limit that holds; while it connects, that is the one on connecting.
fn step(timeout: &NextTimeout) -> Step {
    if timeout.reason == Timeout::Connect {
        Step::Connect
    } else {
        Step::Exchange
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        // What TLS has to say by itself begins no call.
        if !is_no_time(&timeout) {
            self.deadline.sending(Instant::now());
        }
        self.buffers.hold(amount);
        if self.buffers.is_crowded() {
            self.flush(step(&timeout))?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if is_no_time(&timeout) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
        }
        let step = step(&timeout);
        self.flush(step)?;
        Ok(self.fill(step)? > 0)
    }

    /// The pool asks this when a call is over, before it keeps the connection, and again before the next call.
    fn is_open(&mut self) -> bool {
        self.deadline.call_ended();
        // Whatever has come without being asked for, be it data or the end, ends the connection.
        self.broken.is_none()
            && self.buffers.input().is_empty()
            && is_silent(&self.stream).unwrap_or(false)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("peer", &self.stream.peer_addr().ok())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

fn is_silent(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    Ok(matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock))
}

/// Input and output of a [`Wire`].
struct WireBuffers {
    /// Allocated as zeros by the system, so that a part that is never used takes no memory.
    input: Vec<u8>,
    /// The part of `input` that is filled and not yet consumed.
    start: usize,
    end: usize,
    /// Whether the last consumer could use some of the input. If not it needs more of it.
    progress: bool,
    output: Vec<u8>,
    /// How much of `output` waits to be written.
    held: usize,
}

impl WireBuffers {
    pub(super) fn new() -> Self {
        Self {
            input: vec![0; BUFFER],
            start: 0,
            end: 0,
            progress: false,
            output: vec![0; BUFFER],
            held: 0,
        }
    }

    fn held(&self) -> &[u8] {
        self.output.get(..self.held).unwrap_or_default()
    }

    fn hold(&mut self, amount: usize) {
        self.held = self.output.len().min(self.held.saturating_add(amount));
    }

    /// Half of the room is always left, because ureq cannot split a header between two writes.
    fn is_crowded(&self) -> bool {
        self.held > self.output.len() / 2
    }
}

impl Buffers for WireBuffers {
    fn output(&mut self) -> &mut [u8] {
        self.output.get_mut(self.held..).unwrap_or_default()
    }

    fn input(&self) -> &[u8] {
        self.input.get(self.start..self.end).unwrap_or_default()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.input.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.input.get_mut(self.end..).unwrap_or_default()
    }

    fn input_appended(&mut self, amount: usize) {
        self.end = self.input.len().min(self.end.saturating_add(amount));
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.start = self.end.min(self.start.saturating_add(amount));
    }

    /// The scratch room, which only a chunked request needs, is the free part of the input.
    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        (
            self.input.get_mut(self.end..).unwrap_or_default(),
            self.output.get_mut(self.held..).unwrap_or_default(),
        )
    }

    fn can_use_input(&self) -> bool {
        self.progress && !self.input().is_empty()
    }
}

/// For asking whether there is input already. With the client's settings, no other time but that for connecting is
/// ever zero.
pub(super) fn no_time() -> NextTimeout {
    NextTimeout {
        after: UreqDuration::Exact(Duration::ZERO),
        reason: Timeout::RecvResponse,
        ..NextTimeout::default()
    }
}

fn is_no_time(timeout: &NextTimeout) -> bool {
    timeout.after.is_zero() && timeout.reason != Timeout::Connect
}

/// Sockets say one or the other, by operating system.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::deadline::Limits;
    use super::super::plain;
    use super::super::tests::LONG;
    use super::*;

    fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        let limits = Limits {
            connect: LONG,
            total: LONG,
        };
        let wire = Wire::new(stream, Deadline::new(limits, Instant::now()));
        (wire, peer)
    }

    fn transmit(wire: &mut Wire, bytes: &[u8]) {
        wire.buffers().output()[..bytes.len()].copy_from_slice(bytes);
        wire.transmit_output(bytes.len(), NextTimeout::default())
            .unwrap();
    }

    fn has_arrived(peer: &TcpStream) -> bool {
        !is_silent(peer).unwrap()
    }

    #[test]
    fn holds_everything_back_until_an_answer_is_awaited() {
        let (mut wire, mut peer) = pair();
        transmit(&mut wire, b"head ");
        transmit(&mut wire, b"body");
        assert!(!has_arrived(&peer));

        peer.write_all(b"answer").unwrap();
        assert!(wire.await_input(NextTimeout::default()).unwrap());
        assert_eq!(wire.buffers().input(), b"answer");

        let mut request = [0; 64];
        let read = peer.read(&mut request).unwrap();
        assert_eq!(&request[..read], b"head body");
    }

    #[test]
    fn always_has_room_for_a_header() {
        let (mut wire, peer) = pair();
        for _ in 0..20 {
            transmit(&mut wire, &[b'x'; BUFFER / 2]);
            assert!(wire.buffers().output().len() >= BUFFER / 2);
        }
        assert!(has_arrived(&peer));
    }

    #[test]
    fn that_is_silent_is_open() {
        let (mut wire, _peer) = pair();
        assert!(wire.is_open());
    }

    #[test]
    fn that_the_other_side_closed_is_not_open() {
        let (mut wire, peer) = pair();
        drop(peer);
        assert!(!wire.is_open());
    }

    #[test]
    fn that_the_other_side_reset_is_not_open() {
        let reset = || {
            let (mut wire, mut peer) = pair();
            transmit(&mut wire, b"request");
            peer.write_all(b"answer").unwrap();
            assert!(wire.await_input(NextTimeout::default()).unwrap());
            wire.buffers().input_consume(b"answer".len());
            assert!(wire.is_open());
            // Closing resets, since the request was not read.
            drop(peer);
            wire
        };
        let error = reset().stream.take_error().unwrap().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(!reset().is_open());
    }

    #[test]
    fn with_bytes_that_nobody_asked_for_is_not_open() {
        let (mut wire, mut peer) = pair();
        peer.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        assert!(!wire.is_open());

        let (mut wire, mut peer) = pair();
        peer.write_all(b"two").unwrap();
        wire.await_input(NextTimeout::default()).unwrap();
        wire.buffers().input_consume(2);
        assert!(!wire.is_open());
        wire.buffers().input_consume(1);
        assert!(wire.is_open());
    }

    #[test]
    fn sends_nothing_more_after_a_failed_write() {
        let (mut wire, peer) = pair();
        wire.deadline.limits.total = Duration::ZERO;
        transmit(&mut wire, b"late");
        let error = wire.await_input(NextTimeout::default()).unwrap_err();
        assert_eq!(plain(error).to_string(), "no complete answer within 0ns");

        wire.deadline.limits.total = LONG;
        transmit(&mut wire, b"more");
        let error = plain(wire.await_input(NextTimeout::default()).unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(!wire.is_open());
        assert!(!has_arrived(&peer));
    }

    #[test]
    fn has_the_whole_time_again_for_the_next_call() {
        let limit = Duration::from_secs(10);
        let (mut wire, mut peer) = pair();
        wire.deadline.limits.total = limit;
        wire.deadline.started = Instant::now().checked_sub(limit).unwrap();
        peer.write_all(b"answer").unwrap();
        let error = wire.await_input(NextTimeout::default()).unwrap_err();
        assert_eq!(plain(error).to_string(), "no complete answer within 10s");

        let (mut wire, mut peer) = pair();
        wire.deadline.limits.total = limit;
        wire.deadline.started = Instant::now().checked_sub(limit).unwrap();
        assert!(wire.is_open());
        transmit(&mut wire, b"request");
        peer.write_all(b"answer").unwrap();
        assert!(wire.await_input(NextTimeout::default()).unwrap());
    }

    #[test]
    fn shows_no_bytes() {
        let (mut wire, _peer) = pair();
        transmit(&mut wire, b"Authorization: secret");
        assert!(!format!("{wire:?}").contains("secret"));
    }

    #[test]
    fn buffers_keep_what_is_not_consumed() {
        let mut buffers = WireBuffers::new();
        for round in 0..5_u8 {
            buffers.input_append_buf()[..2].copy_from_slice(&[round, round]);
            buffers.input_appended(2);
            buffers.input_consume(1);
            assert!(buffers.can_use_input());
        }
        assert_eq!(buffers.input(), [2, 3, 3, 4, 4]);
        buffers.input_consume(0);
        assert!(!buffers.can_use_input());
        assert_eq!(buffers.input_append_buf().len(), BUFFER - 5);
    }
}
