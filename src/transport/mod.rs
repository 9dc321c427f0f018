//! How bytes travel: every HTTP default that matters, in one place. The parts of a connection are in the modules.
//!
//! These modules use ureq's `unversioned` modules, which may change in any minor version of ureq: hence the range in
//! `Cargo.toml`. They are worth it. ureq by itself looks the name up for every call, on a thread of its own when the
//! whole call has a timeout, sends head and body in two writes, and pools a connection before anybody has judged the
//! response that came through it.
//!
//! From top to bottom a connection is: [`Lender`]'s, rustls (for `https`), a tunnel (if there is a proxy),
//! [`Tcp`](tcp::Tcp).

mod addresses;
mod connect;
mod failure;
mod pool;
mod proxy;
mod roots;
mod tcp;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::{self, response};
use ureq::tls::TlsConfig;

use self::connect::{Dialer, NoLookup};
use self::failure::plain;
use self::pool::{Connection, Lender, Pool, Usage};
use self::tcp::{BUFFER, LONGEST_TIMEOUT};

pub(crate) use self::addresses::{Addresses, Lookup};
pub(crate) use self::failure::Failure;
pub(crate) use self::proxy::Proxy;
pub(crate) use self::roots::Roots;

/// Responses are small. A larger one is not WeChat Pay's.
const MAX_BODY: usize = 1024 * 1024;

/// What can be chosen about the transport.
pub(crate) struct TransportOptions {
    /// For one connection: DNS lookup, TCP, proxy and TLS together. A DNS lookup cannot be interrupted without a thread,
    /// so one that takes longer ends the attempt when it returns.
    pub(crate) connect_timeout: Duration,
    /// From the start of connecting, or of sending on a pooled connection, to the last byte of the response.
    pub(crate) timeout: Duration,
    /// The same for the second attempt of a call.
    pub(crate) second_timeout: Duration,
    /// How long an idle connection is kept.
    pub(crate) idle: Duration,
    /// How many idle connections are kept.
    pub(crate) max_idle: usize,
    /// The HTTP proxy to tunnel through.
    pub(crate) proxy: Option<Proxy>,
    /// The certificate authorities to trust.
    pub(crate) roots: Roots,
    /// How names are looked up, instead of by the operating system.
    pub(crate) lookup: Option<Lookup>,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            second_timeout: Duration::from_secs(9),
            // The server is reported to close after 8 s.
            idle: Duration::from_secs(5),
            // More than the threads that share it: each connection beyond the limit is closed after its exchange, and
            // the next one pays for a TLS handshake.
            max_idle: 64,
            proxy: None,
            roots: Roots::default(),
            lookup: None,
        }
    }
}

impl fmt::Debug for TransportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportOptions")
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("idle", &self.idle)
            .field("max_idle", &self.max_idle)
            .field("proxy", &self.proxy)
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

/// Connections for any number of hosts, clients and threads. Clones share them.
#[derive(Clone)]
pub(crate) struct Transport {
    pool: Arc<Pool>,
    dialer: Arc<Dialer>,
    /// For first and second attempts.
    configs: Arc<[Config; 2]>,
}

/// Which attempt of a call an exchange is. A second one has less time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    Second,
}

impl Transport {
    pub(crate) fn new(options: &TransportOptions) -> Self {
        let addresses = options.lookup.clone().map(Addresses::new);
        Self {
            pool: Arc::new(Pool::new(options.max_idle, options.idle)),
            dialer: Arc::new(Dialer::new(
                addresses.unwrap_or_default(),
                options.proxy.is_some(),
            )),
            configs: Arc::new(
                [options.timeout, options.second_timeout].map(|timeout| config(options, timeout)),
            ),
        }
    }

    /// Sends a request and reads the whole response. It `is_unrepeated` if another's response could be mistaken for it.
    pub(crate) fn exchange(
        &self,
        request: http::Request<()>,
        body: Option<&[u8]>,
        attempt: Attempt,
        is_unrepeated: bool,
    ) -> Result<Response, Failure> {
        let [first, second] = &*self.configs;
        let config = match attempt {
            Attempt::First => first,
            Attempt::Second => second,
        };
        let usage = Arc::new(Mutex::new(Usage::default()));
        let lender = Lender {
            pool: Arc::clone(&self.pool),
            dialer: Arc::clone(&self.dialer),
            is_unrepeated,
            usage: Arc::clone(&usage),
        };
        // One for each exchange, so that none shares anything with another but what the pool lends.
        let agent = Agent::with_parts(config.clone(), lender, NoLookup);
        // The length of a body that is not there is said only where one would be expected (RFC 9110, 8.6).
        let is_expected = !matches!(*request.method(), http::Method::GET | http::Method::DELETE);
        let response = match body.or_else(|| is_expected.then_some(&[])) {
            Some(body) => agent.run(request.map(|()| body)),
            None => agent.run(request),
        };
        let result = response.map_err(plain).and_then(read);
        let usage = std::mem::take(&mut *usage.lock().unwrap_or_else(PoisonError::into_inner));
        match result {
            Ok((head, body)) => Ok(Response {
                head,
                body,
                is_followed: usage.is_followed,
                connection: usage.connection,
                pool: Arc::clone(&self.pool),
            }),
            Err(error) if usage.has_sent => Err(Failure::Exchange(Box::new(described(
                error, config, &usage,
            )))),
            Err(error) => Err(Failure::Connect(Box::new(error))),
        }
    }

    /// Closes all idle connections.
    pub(crate) fn close_idle(&self) {
        self.pool.clear();
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// A complete response. Its connection is closed with it, unless it is kept.
pub(crate) struct Response {
    pub(crate) head: response::Parts,
    pub(crate) body: Vec<u8>,
    is_followed: bool,
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl Response {
    /// Puts the connection back into the pool. To be called when the response was found to be the request's: a connection
    /// that delivered another's response would go on to do so.
    pub(crate) fn keep_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.is_followed |= self.pool.put(connection);
        }
    }

    /// Whether more has followed on the connection until it was kept. Then one of the two is another request's response.
    pub(crate) fn is_followed(&self) -> bool {
        self.is_followed
    }
}

/// Every HTTP default that matters.
fn config(options: &TransportOptions, timeout: Duration) -> Config {
    let timeout = timeout.min(LONGEST_TIMEOUT);
    Agent::config_builder()
        // An error status has a body and a signature like any other response.
        .http_status_as_error(false)
        // A signed request is meant for one host; a 3xx is a response like any other.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .save_redirect_history(false)
        // Never from the environment.
        .proxy(options.proxy.as_ref().map(Proxy::to_ureq))
        // The client sets its headers itself. No compression: the bytes received are the bytes that were signed.
        .user_agent("")
        .accept("")
        .accept_encoding("")
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER)
        // The head must fit into the buffer. One byte less, so that a longer one is called too long, not cut off.
        .max_response_header_size(BUFFER - 1)
        // Head and body leave in one write, which must not wait for more.
        .no_delay(true)
        // For these ureq's own resolver, which is not used here, would start a thread for each exchange.
        .timeout_connect(Some(options.connect_timeout.min(timeout)))
        .timeout_global(Some(timeout))
        .tls_config(
            TlsConfig::builder()
                .root_certs(options.roots.to_ureq())
                .build(),
        )
        .build()
}

/// Reads the body to its end, so that the connection can be used again, but not more than [`MAX_BODY`] bytes.
fn read(response: http::Response<ureq::Body>) -> io::Result<(response::Parts, Vec<u8>)> {
    let (head, mut body) = response.into_parts();
    let limit = u64::try_from(MAX_BODY).unwrap_or(u64::MAX);
    let announced = body.content_length().unwrap_or(0);
    let mut bytes = Vec::new();
    if announced <= limit {
        bytes.reserve_exact(usize::try_from(announced).unwrap_or(0));
        // One byte more, to tell a body of just the limit from a longer one.
        body.as_reader()
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| plain(error.into()))?;
    }
    if announced > limit || bytes.len() > MAX_BODY {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the response's body is longer than {MAX_BODY} bytes"),
        ));
    }
    Ok((head, bytes))
}

/// Words for what the standard library and ureq say of a timeout and of a connection that was closed.
fn described(error: io::Error, config: &Config, usage: &Usage) -> io::Error {
    let message = match error.kind() {
        io::ErrorKind::TimedOut => {
            let limit = config.timeouts().global.unwrap_or(LONGEST_TIMEOUT);
            format!("no complete response within {limit:?}")
        }
        _ if usage.was_pooled && !usage.has_received && is_closed(&error) => {
            "the pooled connection was closed before any byte of a response".to_owned()
        }
        io::ErrorKind::UnexpectedEof => {
            "the connection was closed before the response was complete".to_owned()
        }
        _ => return error,
    };
    io::Error::new(error.kind(), message)
}

/// Whether the other side closed the connection.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}
