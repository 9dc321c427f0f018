//! A TCP stream whose reads and writes can be cancelled.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The interval at which a blocked read or write checks whether it is still wanted.
///
/// Polling is necessary because shutting down a socket from another thread does not wake a blocked call on every operating
/// system.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Sets the options of a stream that [`Socket`] needs.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(POLL_INTERVAL))?;
    stream.set_write_timeout(Some(POLL_INTERVAL))
}

/// A TCP stream. Reading and writing fail with [`ErrorKind::TimedOut`] as soon as the closure returns `false`.
pub(super) struct Socket<'a, W>(pub(super) &'a TcpStream, pub(super) W);

impl<W: Fn() -> bool> Socket<'_, W> {
    fn poll(&self, mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        use ErrorKind::{Interrupted, TimedOut, WouldBlock};
        while (self.1)() {
            match operation() {
                Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => {}
                done => return done,
            }
        }
        Err(TimedOut.into())
    }
}

impl<W: Fn() -> bool> Read for Socket<'_, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.0;
        self.poll(|| stream.read(buffer))
    }
}

impl<W: Fn() -> bool> Write for Socket<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self.0;
        self.poll(|| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
