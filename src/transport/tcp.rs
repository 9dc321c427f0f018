//! The TCP connection under TLS and proxy, which sends a request in one write and checks the deadline at each read and write.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::unversioned::transport::time::Duration as UreqDuration;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

/// The size of each buffer of a connection, in bytes. It holds the longest target with its headers, and the head of any
/// response of the API. With ureq's default of 128 KiB each, buffers would take most of the memory of a small service.
pub(super) const BUFFER: usize = 12 * 1024;

/// The size of each buffer below TLS, which puts messages together in buffers of its own.
pub(super) const BUFFER_BELOW_TLS: usize = 4 * 1024;

/// The longest timeout. The limit keeps the computation of a deadline from overflowing.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The reason that marks a timeout of an exchange. ureq itself uses other reasons, for connecting.
const EXCHANGE: Timeout = Timeout::PerCall;

/// The reason that makes [`Transport::await_input`] read what has arrived between two exchanges.
const PROBE: Timeout = Timeout::RecvResponse;

/// The time limits of one exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) started: Instant,
    /// The timeout for connecting.
    pub(super) connect: Duration,
    /// The timeout for the whole exchange.
    pub(super) exchange: Duration,
}

impl Limits {
    /// Starts now.
    pub(super) fn new(connect: Duration, exchange: Duration) -> Self {
        let exchange = exchange.min(LONGEST_TIMEOUT);
        Self {
            started: Instant::now(),
            connect: connect.min(exchange),
            exchange,
        }
    }

    pub(super) fn connect_by(&self) -> Instant {
        self.started + self.connect
    }

    /// Returns the rest of the exchange's time. Fails if there is none.
    pub(super) fn left(&self) -> io::Result<NextTimeout> {
        Ok(timeout(EXCHANGE, left(self.started + self.exchange)?))
    }
}

/// Returns the timeout that makes [`Transport::await_input`] read what has arrived, without waiting for more.
pub(super) fn probe() -> NextTimeout {
    timeout(PROBE, Duration::ZERO)
}

fn timeout(reason: Timeout, after: Duration) -> NextTimeout {
    NextTimeout {
        after: UreqDuration::Exact(after),
        reason,
        ..NextTimeout::default()
    }
}

/// A TCP connection as ureq's transport. It is below TLS, so it also carries the handshake and the proxy's bytes.
///
/// It buffers output until a response is awaited, so that head and body are sent in one write.
pub(super) struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
    /// The output that is not sent yet.
    held: Vec<u8>,
    /// The deadline of connecting.
    connect_by: Instant,
    /// True from a [`probe`] until a write has to wait or a response is awaited.
    is_nonblocking: bool,
    /// The timeout that is set for reading.
    read_timeout: Duration,
    /// True if bytes or the end of the connection arrived between two exchanges.
    was_surprised: bool,
    /// The error of a failed write. Nothing is sent after it, because the part of the output that was sent is unknown.
    broken: Option<io::ErrorKind>,
}

impl Tcp {
    /// Makes input and output buffers of `buffer` bytes each.
    pub(super) fn new(stream: TcpStream, connect_by: Instant, buffer: usize) -> Self {
        Self {
            stream,
            buffers: LazyBuffers::new(buffer, buffer),
            held: Vec::new(),
            connect_by,
            is_nonblocking: false,
            read_timeout: Duration::MAX,
            was_surprised: false,
            broken: None,
        }
    }

    /// Returns the deadline of a read or write. While connecting, ureq's timeout is ignored, which would start again
    /// for each part of a proxy's response.
    fn deadline(&self, timeout: &NextTimeout) -> Instant {
        match timeout.reason {
            EXCHANGE => Instant::now() + *timeout.after,
            _ => self.connect_by,
        }
    }

    fn flush(&mut self, deadline: Instant) -> io::Result<()> {
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        let result = self.write_held(deadline);
        self.held.clear();
        self.broken = result.as_ref().err().map(io::Error::kind);
        result
    }

    fn write_held(&mut self, deadline: Instant) -> io::Result<()> {
        let mut written = 0;
        while let Some(rest @ [_, ..]) = self.held.get(written..) {
            let left = left(deadline)?;
            if !self.is_nonblocking {
                self.stream.set_write_timeout(Some(left))?;
            }
            match (&self.stream).write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if is_passing(&error) => self.set_nonblocking(false)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        self.set_nonblocking(false)?;
        loop {
            let left = left(deadline)?;
            // Keeps the timeout that is set if it is at least half of the time left, which saves a system call for each
            // exchange. If it expires, the loop checks the deadline and reads again.
            if !(left / 2..=left).contains(&self.read_timeout) {
                self.stream.set_read_timeout(Some(left))?;
                self.read_timeout = left;
            }
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

    /// Makes no system call if nothing changes.
    fn set_nonblocking(&mut self, wanted: bool) -> io::Result<()> {
        if self.is_nonblocking != wanted {
            self.stream.set_nonblocking(wanted)?;
            self.is_nonblocking = wanted;
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<usize> {
        let read = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read)
    }
}

/// Returns the time until a deadline. Fails if the deadline has passed.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Returns `true` for the timeout of a socket, for a nonblocking socket that is not ready, and for an interruption by a
/// signal. The caller then checks the deadline.
fn is_passing(error: &io::Error) -> bool {
    is_timeout(error) || error.kind() == io::ErrorKind::Interrupted
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.held.extend_from_slice(output);
        if self.held.len() > BUFFER {
            self.flush(self.deadline(&timeout))?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if timeout.reason == PROBE {
            return Ok(self.probe()? > 0);
        }
        let deadline = self.deadline(&timeout);
        self.flush(deadline)?;
        Ok(self.fill(deadline)? > 0)
    }

    /// Does not read from the socket, unlike a [`probe`].
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

/// Returns `true` for the timeout of a socket, whose error kind depends on the operating system.
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
        (Tcp::new(stream, Instant::now() + LONG, BUFFER), peer)
    }

    fn within(time: Duration) -> NextTimeout {
        timeout(EXCHANGE, time)
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

    /// Returns the result of a [`probe`], with the kind of its error.
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
    fn output_is_sent_at_once_when_the_buffer_is_full() {
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
        // Closing resets the connection, since the request was not read.
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
    fn connecting_has_its_own_deadline() {
        let (mut tcp, _peer) = pair();
        tcp.connect_by = Instant::now();
        assert!(tcp.await_input(timeout(Timeout::Global, LONG)).is_err());
    }

    #[test]
    fn debug_output_shows_no_bytes() {
        let (mut tcp, _peer) = pair();
        transmit(&mut tcp, b"Authorization: secret");
        assert!(!format!("{tcp:?}").contains("secret"));
    }
}
