//! The failure of an exchange, and errors of ureq as errors of the standard library.

use std::io;

use crate::error::Cause;

/// The failure of an exchange, by whether the request may have arrived.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection was made, or nothing of the request was written to it.
    Connect(Cause),
    /// A connection was made: the request may have arrived.
    Exchange(Cause),
}

/// Converts an error of ureq, without the prefix that ureq puts before the reason.
pub(super) fn plain(error: ureq::Error) -> io::Error {
    match error {
        ureq::Error::Io(error) => error,
        ureq::Error::Rustls(error) => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        ureq::Error::ConnectProxyFailed(reason) => io::Error::other(reason),
        error => io::Error::other(error.to_string()),
    }
}

/// Returns the same kind of error with a label before the reason.
pub(super) fn labelled(label: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{label}: {error}"))
}
