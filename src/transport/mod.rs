//! Connections for ureq. This file contains every HTTP setting that matters.
//!
//! The transport uses ureq's `unversioned` modules, which may change in any minor version of ureq. Therefore
//! `Cargo.toml` limits the range of versions. The modules are needed because ureq by itself makes a DNS lookup for every
//! call, starts a thread for it if the whole call has a timeout, sends head and body in two writes, and pools a
//! connection before the response is verified.
//!
//! From top to bottom a connection consists of [`PooledTransport`](pool::PooledTransport), rustls (for `https`), a tunnel
//! (if there is a proxy) and [`Tcp`](tcp::Tcp).

mod addresses;
mod connect;
mod failure;
mod pool;
mod proxy;
mod roots;
mod tcp;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::{self, response};
use ureq::tls::TlsConfig;

use self::connect::{Dialer, NoLookup};
use self::failure::plain;
use self::pool::{Connection, Pool, PoolConnector, Usage};
use self::tcp::{BUFFER, LONGEST_TIMEOUT};

pub(crate) use self::addresses::{Addresses, Lookup};
pub(crate) use self::failure::Failure;
pub(crate) use self::proxy::Proxy;
pub(crate) use self::roots::Roots;

/// The longest body of a response, in bytes. WeChat Pay's responses are much shorter.
const MAX_BODY: u64 = 1024 * 1024;

/// The settings of the transport.
pub(crate) struct TransportOptions {
    /// The timeout for making a connection: DNS lookup, TCP, proxy and TLS together. A DNS lookup cannot be interrupted
    /// without a thread. If it takes longer, the attempt fails when the lookup returns.
    pub(crate) connect_timeout: Duration,
    /// The longest time from the start of connecting, or of sending on a pooled connection, to the last byte of the
    /// response.
    pub(crate) timeout: Duration,
    /// The same for the second attempt of a call.
    pub(crate) second_timeout: Duration,
    /// The longest time for which an idle connection is kept.
    pub(crate) idle: Duration,
    /// The number of idle connections that are kept.
    pub(crate) max_idle: usize,
    /// The HTTP proxy to tunnel through.
    pub(crate) proxy: Option<Proxy>,
    /// The certificate authorities to trust.
    pub(crate) roots: Roots,
    /// The DNS lookup, instead of the operating system's.
    pub(crate) lookup: Option<Lookup>,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            second_timeout: Duration::from_secs(9),
            // WeChat Pay's server is reported to close idle connections after 8 s.
            idle: Duration::from_secs(5),
            // Should exceed the number of threads that share the pool. Each connection beyond the limit is closed after
            // its exchange, and the next one costs a TLS handshake.
            max_idle: 64,
            proxy: None,
            roots: Roots::default(),
            lookup: None,
        }
    }
}

/// Connections for any number of hosts, clients and threads. Clones share them.
#[derive(Clone)]
pub(crate) struct Transport {
    pool: Arc<Pool>,
    /// The configurations of first and second attempts.
    configs: Arc<[Config; 2]>,
}

impl Transport {
    pub(crate) fn new(options: &TransportOptions) -> Self {
        let addresses = options.lookup.clone().map(Addresses::new);
        let dialer = Dialer::new(addresses.unwrap_or_default(), options.proxy.is_some());
        let timeouts = [options.timeout, options.second_timeout];
        Self {
            pool: Arc::new(Pool::new(options.max_idle, options.idle, dialer)),
            configs: Arc::new(timeouts.map(|timeout| config(options, timeout))),
        }
    }

    /// Sends a request and reads the whole response. A second attempt has a shorter timeout. `is_unrepeated` is `true` if the response repeats nothing of
    /// the request, so that another request's response could be mistaken for it.
    pub(crate) fn exchange(
        &self,
        request: http::Request<()>,
        body: Option<&[u8]>,
        is_second: bool,
        is_unrepeated: bool,
    ) -> Result<Response, Failure> {
        let [first, second] = &*self.configs;
        let config = if is_second { second } else { first };
        let usage = Arc::new(Mutex::new(Usage::default()));
        let connector = PoolConnector {
            pool: Arc::clone(&self.pool),
            is_unrepeated,
            usage: Arc::clone(&usage),
        };
        // Each exchange has its own agent, so that exchanges share nothing but the pool.
        let agent = Agent::with_parts(config.clone(), connector, NoLookup);
        // An absent body has a Content-Length only if the method usually has a body (RFC 9110, 8.6).
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

/// A complete response. Dropping it closes its connection, unless the connection was kept.
pub(crate) struct Response {
    pub(crate) head: response::Parts,
    pub(crate) body: Vec<u8>,
    is_followed: bool,
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl Response {
    /// Puts the connection back into the pool. Must be called only if the response belongs to the request. Otherwise all
    /// later responses on the connection would belong to other requests too.
    pub(crate) fn keep_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.is_followed |= self.pool.put(connection);
        }
    }

    /// Returns `true` if more bytes followed the response before the connection was kept. Then one of the two
    /// responses belongs to another request.
    pub(crate) fn is_followed(&self) -> bool {
        self.is_followed
    }
}

/// Returns ureq's configuration, with every HTTP setting that matters.
fn config(options: &TransportOptions, timeout: Duration) -> Config {
    let timeout = timeout.min(LONGEST_TIMEOUT);
    Agent::config_builder()
        // An error status has a body and a signature like any other response.
        .http_status_as_error(false)
        // A signed request is meant for one host, and a 3xx is a response like any other.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .save_redirect_history(false)
        // The proxy never comes from the environment.
        .proxy(options.proxy.as_ref().map(|proxy| proxy.0.clone()))
        // The client sets its headers itself. Without compression, the bytes received are the bytes that were signed.
        .user_agent("")
        .accept("")
        .accept_encoding("")
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER)
        // One byte less than the buffer, so that a longer head is refused as too long, and not as truncated.
        .max_response_header_size(BUFFER - 1)
        // With these timeouts ureq's own resolver would start a thread for each exchange. It is not used here.
        .timeout_connect(Some(options.connect_timeout.min(timeout)))
        .timeout_global(Some(timeout))
        .tls_config(
            TlsConfig::builder()
                .root_certs(options.roots.0.clone())
                .build(),
        )
        .build()
}

/// Reads the body to its end, so that the connection can be used again. Fails if it is longer than [`MAX_BODY`] bytes.
fn read(response: http::Response<ureq::Body>) -> io::Result<(response::Parts, Vec<u8>)> {
    let (head, mut body) = response.into_parts();
    let announced = body.content_length().unwrap_or(0);
    let mut bytes = Vec::new();
    // Reads one byte more than the limit, to detect a longer body.
    let mut reader = body.as_reader().take(MAX_BODY + 1);
    if announced <= MAX_BODY {
        bytes.reserve_exact(usize::try_from(announced).unwrap_or(0));
        let read = reader.read_to_end(&mut bytes);
        read.map_err(|error| plain(error.into()))?;
    }
    if announced > MAX_BODY || reader.limit() == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the response's body is longer than {MAX_BODY} bytes"),
        ));
    }
    Ok((head, bytes))
}

/// Rewords the messages of the standard library and ureq for a timeout and a closed connection.
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

/// Returns `true` if the other side closed the connection.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}
