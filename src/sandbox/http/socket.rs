//! A TCP stream whose reads and writes can be cancelled.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// The interval at which a blocked read or write checks whether it is still wanted.
///
/// Polling is necessary because shutting down a socket from another thread does not wake a blocked call on every operating
/// system.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A TCP stream that polls. An operation that is no longer wanted fails with [`ErrorKind::TimedOut`].
pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(POLL_INTERVAL))?;
        stream.set_write_timeout(Some(POLL_INTERVAL))?;
        Ok(Self(stream))
    }

    /// Reads some bytes and appends them to `buffer`. Returns their number, or 0 at the end of the stream.
    pub(crate) fn read(
        &self,
        buffer: &mut Vec<u8>,
        is_wanted: impl Fn() -> bool,
    ) -> io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let read = poll(is_wanted, || (&self.0).read(&mut piece))?;
        buffer.extend_from_slice(piece.get(..read).unwrap_or_default());
        Ok(read)
    }

    pub(crate) fn write(&self, mut bytes: &[u8], is_wanted: impl Fn() -> bool) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll(&is_wanted, || (&self.0).write(bytes))?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Checks, without blocking, whether the peer has ended its side of the connection.
    pub(super) fn is_ended(&self) -> bool {
        let peek = || {
            self.0.set_nonblocking(true)?;
            let peeked = self.0.peek(&mut [0]);
            self.0.set_nonblocking(false)?;
            peeked
        };
        peek().map_or_else(
            |error| error.kind() != ErrorKind::WouldBlock,
            |read| read == 0,
        )
    }

    pub(super) fn shut_down(&self, how: Shutdown) {
        let _ = self.0.shutdown(how);
    }
}

fn poll<T>(
    is_wanted: impl Fn() -> bool,
    mut operation: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    loop {
        if !is_wanted() {
            return Err(TimedOut.into());
        }
        match operation() {
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => {}
            done => return done,
        }
    }
}
