//! The TCP connection under TLS and proxy: sends a request in one write, and keeps the deadline at every read and write.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::unversioned::transport::time::Duration as UreqDuration;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

/// Size of each buffer of a connection, in bytes. The longest target and its headers fit in, and the head of any
/// response of the API. ureq's default of 128 KiB each, filled with zeros, would be most of a small service's memory.
pub(super) const BUFFER: usize = 12 * 1024;

/// No timeout is longer than this: a clock cannot be moved forward by any number of seconds without overflowing.
pub(super) const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The reason by which a timeout of an exchange is told from one of connecting, within which ureq gives a proxy's response
/// the whole time again for each part of it.
pub(super) const EXCHANGE: Timeout = Timeout::PerCall;

/// A TCP connection as ureq's transport.
///
/// It holds back what is sent until a response is awaited, so that head and body leave in one write. It sits below TLS,
/// where every byte passes, those of the handshake and of the proxy included.
pub(super) struct Tcp {
    stream: TcpStream,
    buffers: TcpBuffers,
    /// When connecting must be over.
    connect_by: Instant,
    is_nonblocking: bool,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// Whether bytes or the end of the connection arrived that no request had asked for.
    was_surprised: bool,
    /// Why a write failed. How much of it was sent is not known, so nothing more may follow.
    broken: Option<(io::ErrorKind, String)>,
}

impl Tcp {
    pub(super) fn new(stream: TcpStream, connect_by: Instant) -> Self {
        Self {
            stream,
            buffers: TcpBuffers::new(),
            connect_by,
            is_nonblocking: false,
            read_timeout: None,
            write_timeout: None,
            was_surprised: false,
            broken: None,
        }
    }

    fn deadline(&self, timeout: &NextTimeout) -> Deadline {
        let until = Instant::now() + (*timeout.after).min(LONGEST_TIMEOUT);
        Deadline(if timeout.reason == EXCHANGE {
            until
        } else {
            until.min(self.connect_by)
        })
    }

    fn flush(&mut self, deadline: &Deadline) -> io::Result<()> {
        if let Some((kind, reason)) = &self.broken {
            return Err(io::Error::new(*kind, reason.clone()));
        }
        let result = self.write_held(deadline);
        self.buffers.held = 0;
        if let Err(error) = &result {
            self.broken = Some((error.kind(), error.to_string()));
        }
        result
    }

    fn write_held(&mut self, deadline: &Deadline) -> io::Result<()> {
        if self.buffers.held > 0 {
            self.set_nonblocking(false)?;
        }
        let mut written = 0;
        while let Some(rest) = self
            .buffers
            .held()
            .get(written..)
            .filter(|rest| !rest.is_empty())
        {
            let left = deadline.left()?;
            renew(&mut self.write_timeout, left, |left| {
                self.stream.set_write_timeout(left)
            })?;
            match (&self.stream).write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fill(&mut self, deadline: &Deadline) -> io::Result<usize> {
        self.set_nonblocking(false)?;
        loop {
            let left = deadline.left()?;
            renew(&mut self.read_timeout, left, |left| {
                self.stream.set_read_timeout(left)
            })?;
            match self.read() {
                Err(error) if is_passing(&error) => {}
                result => return result,
            }
        }
    }

    /// Reads what has arrived, without waiting for more.
    fn probe(&mut self) -> io::Result<usize> {
        self.set_nonblocking(true)?;
        let result = self.read();
        let is_silent = matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.was_surprised |= !is_silent;
        result
    }

    fn read(&mut self) -> io::Result<usize> {
        let read = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read)
    }

    /// Does without the system call if nothing changes. An idle connection stays non-blocking.
    fn set_nonblocking(&mut self, wanted: bool) -> io::Result<()> {
        if self.is_nonblocking != wanted {
            self.stream.set_nonblocking(wanted)?;
            self.is_nonblocking = wanted;
        }
        Ok(())
    }
}

/// When the current step must be over.
struct Deadline(Instant);

impl Deadline {
    fn left(&self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

/// Sets a timeout of the socket, unless the one that is set will do: a shorter one only means to look at the clock once
/// more, which saves a system call for each read and write.
fn renew(
    current: &mut Option<Duration>,
    left: Duration,
    set: impl FnOnce(Option<Duration>) -> io::Result<()>,
) -> io::Result<()> {
    if current.is_some_and(|current| left / 2 <= current && current <= left) {
        return Ok(());
    }
    set(Some(left))?;
    *current = Some(left);
    Ok(())
}

/// A signal or the socket's own timeout: the deadline says whether time is up.
fn is_passing(error: &io::Error) -> bool {
    is_timeout(error) || error.kind() == io::ErrorKind::Interrupted
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.buffers.hold(amount);
        if self.buffers.is_crowded() {
            self.flush(&self.deadline(&timeout))?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if is_probe(&timeout) {
            return Ok(self.probe()? > 0);
        }
        let deadline = self.deadline(&timeout);
        self.flush(&deadline)?;
        Ok(self.fill(&deadline)? > 0)
    }

    /// Reads nothing: see [`probe`].
    fn is_open(&mut self) -> bool {
        self.broken.is_none() && self.buffers.input().is_empty() && !self.was_surprised
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp")
            .field("peer", &self.stream.peer_addr().ok())
            .finish_non_exhaustive()
    }
}

/// Input and output of a [`Tcp`].
struct TcpBuffers {
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

impl TcpBuffers {
    fn new() -> Self {
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

impl Buffers for TcpBuffers {
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

/// For [`Transport::await_input`] between two exchanges: reads what has arrived without being asked for. ureq itself
/// never waits for this reason, since the client sets no timeout for it.
pub(super) fn probe() -> NextTimeout {
    NextTimeout {
        after: UreqDuration::Exact(Duration::ZERO),
        reason: Timeout::RecvResponse,
        ..NextTimeout::default()
    }
}

fn is_probe(timeout: &NextTimeout) -> bool {
    timeout.after.is_zero() && timeout.reason == Timeout::RecvResponse
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

    use super::super::tests::LONG;
    use super::*;

    fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        (Tcp::new(stream, Instant::now() + LONG), peer)
    }

    fn within(time: Duration) -> NextTimeout {
        NextTimeout {
            after: UreqDuration::Exact(time),
            reason: EXCHANGE,
            ..NextTimeout::default()
        }
    }

    fn transmit(tcp: &mut Tcp, bytes: &[u8]) {
        tcp.buffers().output()[..bytes.len()].copy_from_slice(bytes);
        tcp.transmit_output(bytes.len(), within(LONG)).unwrap();
    }

    fn receive(tcp: &mut Tcp) -> Vec<u8> {
        assert!(tcp.await_input(within(LONG)).unwrap());
        let received = tcp.buffers().input().to_vec();
        tcp.buffers().input_consume(received.len());
        received
    }

    fn has_arrived(peer: &TcpStream) -> bool {
        peer.set_nonblocking(true).unwrap();
        let peeked = peer.peek(&mut [0]);
        peer.set_nonblocking(false).unwrap();
        peeked.is_ok()
    }

    /// What [`probe`] finds, by the kind of the error if there is one.
    fn at_once(tcp: &mut Tcp) -> Result<bool, io::ErrorKind> {
        tcp.await_input(probe()).map_err(|error| match error {
            ureq::Error::Io(error) => error.kind(),
            error => panic!("{error:?}"),
        })
    }

    #[test]
    fn output_is_held_back_until_a_response_is_awaited() {
        let (mut tcp, mut peer) = pair();
        transmit(&mut tcp, b"head ");
        transmit(&mut tcp, b"body");
        assert!(!has_arrived(&peer));

        peer.write_all(b"response").unwrap();
        assert_eq!(receive(&mut tcp), b"response");
        let mut request = [0; 64];
        let read = peer.read(&mut request).unwrap();
        assert_eq!(&request[..read], b"head body");
    }

    #[test]
    fn the_output_buffer_always_has_room_for_a_header() {
        let (mut tcp, peer) = pair();
        for _ in 0..20 {
            transmit(&mut tcp, &[b'x'; BUFFER / 2]);
            assert!(tcp.buffers().output().len() >= BUFFER / 2);
        }
        assert!(has_arrived(&peer));
    }

    #[test]
    fn a_silent_connection_is_open_and_can_be_used() {
        let (mut tcp, mut peer) = pair();
        for _ in 0..2 {
            assert_eq!(at_once(&mut tcp), Err(io::ErrorKind::WouldBlock));
            assert!(tcp.is_open());
            transmit(&mut tcp, b"request");
            peer.write_all(b"response").unwrap();
            assert_eq!(receive(&mut tcp), b"response");
        }
    }

    #[test]
    fn a_connection_that_the_other_side_closed_is_not_open() {
        let (mut tcp, peer) = pair();
        drop(peer);
        assert_eq!(at_once(&mut tcp), Ok(false));
        assert!(!tcp.is_open());
    }

    #[test]
    fn a_connection_that_the_other_side_reset_is_not_open() {
        let (mut tcp, mut peer) = pair();
        transmit(&mut tcp, b"request");
        peer.write_all(b"response").unwrap();
        receive(&mut tcp);
        assert!(tcp.is_open());
        // Closing resets, since the request was not read.
        drop(peer);
        assert_eq!(at_once(&mut tcp), Err(io::ErrorKind::ConnectionReset));
        assert!(!tcp.is_open());
    }

    #[test]
    fn a_connection_with_unsolicited_bytes_is_not_open_even_after_they_were_read() {
        let (mut tcp, mut peer) = pair();
        peer.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        assert_eq!(at_once(&mut tcp), Ok(true));
        assert!(!tcp.is_open());
        tcp.buffers().input_consume(17);
        assert!(!tcp.is_open());
    }

    #[test]
    fn a_connection_whose_input_was_not_consumed_is_not_open() {
        let (mut tcp, mut peer) = pair();
        peer.write_all(b"two").unwrap();
        tcp.await_input(within(LONG)).unwrap();
        tcp.buffers().input_consume(2);
        assert!(!tcp.is_open());
        tcp.buffers().input_consume(1);
        assert!(tcp.is_open());
    }

    #[test]
    fn nothing_more_is_sent_after_a_failed_write() {
        let (mut tcp, peer) = pair();
        transmit(&mut tcp, b"late");
        for timeout in [Duration::ZERO, LONG] {
            let error = tcp.await_input(within(timeout)).unwrap_err();
            assert!(
                matches!(&error, ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut),
                "{error:?}"
            );
            transmit(&mut tcp, b"more");
        }
        assert!(!tcp.is_open());
        assert!(!has_arrived(&peer));
    }

    #[test]
    fn a_shorter_socket_timeout_does_not_shorten_the_deadline() {
        let (mut tcp, mut peer) = pair();
        // What an earlier exchange may have left.
        tcp.read_timeout = Some(Duration::from_millis(20));
        tcp.stream.set_read_timeout(tcp.read_timeout).unwrap();
        let timeout = Duration::from_millis(39);
        assert!(tcp.await_input(within(timeout)).is_err());
        assert!(tcp.read_timeout.unwrap() < Duration::from_millis(20));
        peer.write_all(b"response").unwrap();
        assert_eq!(receive(&mut tcp), b"response");
    }

    #[test]
    fn connecting_has_its_own_deadline() {
        let (mut tcp, _peer) = pair();
        tcp.connect_by = Instant::now();
        let timeout = NextTimeout {
            reason: Timeout::Global,
            ..within(LONG)
        };
        assert!(tcp.await_input(timeout).is_err());
    }

    #[test]
    fn debug_output_shows_no_bytes() {
        let (mut tcp, _peer) = pair();
        transmit(&mut tcp, b"Authorization: secret");
        assert!(!format!("{tcp:?}").contains("secret"));
    }

    #[test]
    fn buffers_keep_what_is_not_consumed() {
        let mut buffers = TcpBuffers::new();
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
