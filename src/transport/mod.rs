//! How bytes travel: every HTTP default that matters, in one place; the parts of a connection are in the modules.
//!
//! This module is the one that uses ureq's `unversioned` modules, which may change in any minor version of ureq: hence
//! the `~` in `Cargo.toml`. They are worth it, because ureq by itself looks the name up for every call, on a thread of
//! its own when the whole call has a limit, and sends head and body in two writes.
//!
//! From top to bottom a connection is: ureq's pool, [`Pooled`](connecting::Pooled), rustls (for `https`), a tunnel (if
//! there is a proxy), [`Wire`](wire::Wire).

mod addresses;
mod connecting;
mod deadline;
mod proxy;
mod roots;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::tls::TlsConfig;

use self::connecting::{ConnectFailed, Connecting, NoLookup};
use self::deadline::Limits;
use crate::error::Cause;

pub(crate) use self::addresses::{Addresses, Lookup};
pub(crate) use self::proxy::Proxy;
pub(crate) use self::roots::Roots;

/// Size of each buffer of a connection, in bytes: the longest target and its headers, and the head of any answer of the
/// API, fit in; ureq's default of 128 KiB each, filled with zeros, would cost most of the memory of a small service.
const BUFFER: usize = 12 * 1024;

/// No limit is longer than this: a clock cannot be moved forward by any number of seconds without overflowing.
const LONGEST_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What can be chosen about the transport.
#[derive(Clone)]
pub(crate) struct TransportOptions {
    /// For one connection: look-up, TCP, proxy and TLS together. A look-up cannot be interrupted without a thread, so
    /// one that takes longer ends the attempt when it returns.
    pub(crate) connect_timeout: Duration,
    /// From the start of connecting, or of sending on a kept connection, to the last byte of the answer.
    pub(crate) total_timeout: Duration,
    /// How long a connection without a call is kept.
    pub(crate) idle: Duration,
    /// How many connections without a call are kept.
    pub(crate) max_idle: usize,
    /// The HTTP proxy to tunnel through.
    pub(crate) proxy: Option<Proxy>,
    /// The certificate authorities to trust.
    pub(crate) roots: Roots,
    /// How names are looked up, and what was found. Agents made with clones of these options share it.
    pub(crate) addresses: Arc<Addresses>,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(15),
            // The server is reported to close after 8 s.
            idle: Duration::from_secs(5),
            // More than the threads that share a client: each connection beyond the limit is closed after its call,
            // and the next call pays for a TLS handshake.
            max_idle: 64,
            proxy: None,
            roots: Roots::default(),
            addresses: Arc::default(),
        }
    }
}

impl fmt::Debug for TransportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportOptions")
            .field("connect_timeout", &self.connect_timeout)
            .field("total_timeout", &self.total_timeout)
            .field("idle", &self.idle)
            .field("max_idle", &self.max_idle)
            .field("proxy", &self.proxy)
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

/// An agent for any number of hosts and threads.
pub(crate) fn agent(options: &TransportOptions) -> Agent {
    let limits = Limits {
        connect: options.connect_timeout.min(LONGEST_LIMIT),
        total: options.total_timeout.min(LONGEST_LIMIT),
    };
    let connector = Connecting::new(
        limits,
        Arc::clone(&options.addresses),
        options.proxy.is_some(),
    );
    Agent::with_parts(config(options, limits.connect), connector, NoLookup)
}

/// Every HTTP default that matters.
fn config(options: &TransportOptions, connect_timeout: Duration) -> Config {
    Agent::config_builder()
        // An error status has a body and a signature like any other answer.
        .http_status_as_error(false)
        // A signed request is meant for one host; a 3xx comes back as an answer.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .save_redirect_history(false)
        // Never from the environment.
        .proxy(options.proxy.as_ref().map(Proxy::to_ureq))
        // The client sets its headers itself. No compression: the bytes received are the bytes that were signed.
        .user_agent("")
        .accept("")
        .accept_encoding("")
        // Equal, because nearly all calls go to one host.
        .max_idle_connections(options.max_idle)
        .max_idle_connections_per_host(options.max_idle)
        .max_idle_age(options.idle.min(LONGEST_LIMIT))
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER)
        // The head must fit into the buffer. One byte less, so that a longer one is called too long, not cut off.
        .max_response_header_size(BUFFER - 1)
        // Head and body leave in one write, which must not wait for more.
        .no_delay(true)
        // The only limit that ureq keeps: with `timeout_global`, `_per_call` or `_resolve` its own resolver, which is
        // not used here, starts a thread for each call. The limit on the whole call is kept by `Wire`.
        .timeout_connect(Some(connect_timeout))
        .tls_config(
            TlsConfig::builder()
                .root_certs(options.roots.to_ureq())
                .build(),
        )
        .build()
}

/// Why an exchange failed, by what is certain about the request.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection was made, so nothing of the request was sent.
    Connect(Cause),
    /// A connection was made: the request may have arrived.
    Exchange(Cause),
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Other(other) => match other.downcast::<ConnectFailed>() {
                Ok(failed) => Self::Connect(Box::new(failed.0)),
                Err(other) => Self::Exchange(other),
            },
            // ureq finds these before it writes anything.
            ureq::Error::Http(_)
            | ureq::Error::BadUri(_)
            | ureq::Error::RequireHttpsOnly(_)
            | ureq::Error::TlsRequired
            | ureq::Error::ConnectionFailed => Self::Connect(error.to_string().into()),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Exchange(Box::new(closed_early()))
            }
            error => Self::Exchange(Box::new(plain(error))),
        }
    }
}

/// For what reading a body gives.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        ureq::Error::from(error).into()
    }
}

/// Reads a body to its end, so that the connection can be used again, but not more than `limit` bytes.
pub(crate) fn read_body(body: &mut ureq::Body, limit: usize) -> Result<Vec<u8>, Failure> {
    let limit_u64 = u64::try_from(limit).unwrap_or(u64::MAX);
    let announced = body.content_length().unwrap_or(0);
    if announced > limit_u64 {
        return Err(too_long(limit));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    // One byte more, to tell a body of just the limit from a longer one.
    body.as_reader()
        .take(limit_u64.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(too_long(limit));
    }
    Ok(bytes)
}

fn too_long(limit: usize) -> Failure {
    Failure::Exchange(Box::new(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the answer's body is longer than {limit} bytes"),
    )))
}

fn closed_early() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the connection was closed before the answer was complete",
    )
}

/// The error of ureq as one of the standard library, without a prefix before the reason.
fn plain(error: ureq::Error) -> io::Error {
    match error {
        ureq::Error::Io(error) => error,
        ureq::Error::Other(other) => match other.downcast::<ConnectFailed>() {
            Ok(failed) => failed.0,
            Err(other) => io::Error::other(other),
        },
        ureq::Error::Rustls(error) => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        ureq::Error::ConnectProxyFailed(reason) => io::Error::other(reason),
        error => io::Error::other(error.to_string()),
    }
}
