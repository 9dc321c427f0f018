//! Connections for ureq, and one exchange over a connection.
//!
//! The transport uses ureq's `unversioned` modules, which may change in any minor version of ureq. Therefore
//! `Cargo.toml` limits the range of versions. The modules are needed because ureq by itself makes a DNS lookup for every
//! call, starts a thread for it if the whole call has a timeout, sends head and body in two writes, and pools a
//! connection before the response is verified.
//!
//! From top to bottom a connection consists of `PooledTransport`, rustls (for `https`), a tunnel
//! (if there is a proxy) and [`Tcp`](tcp::Tcp).

mod addresses;
mod connect;
mod failure;
mod options;
mod pool;
mod proxy;
mod roots;
mod tcp;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::sync::Arc;

use ureq::http::{self, HeaderMap, header, response};

use self::failure::plain;
use self::pool::{Connection, Pool, Progress, Usage};

pub(crate) use self::failure::Failure;
pub(crate) use self::options::TransportOptions;
pub(crate) use self::proxy::Proxy;
pub(crate) use self::roots::Roots;

/// The longest body of a response, in bytes. WeChat Pay's responses are much shorter.
const MAX_BODY: u64 = 1024 * 1024;

/// Connections for any number of hosts, clients and threads. Clones share them.
#[derive(Clone)]
pub(crate) struct Transport {
    pool: Arc<Pool>,
}

impl Transport {
    pub(crate) fn new(options: TransportOptions) -> Self {
        Self {
            pool: Arc::new(Pool::new(options)),
        }
    }

    /// Sends a request and reads the whole response. A second attempt has a shorter timeout. `is_uncorrelated` is `true`
    /// if the response repeats nothing of the request, so that another request's response could be mistaken for it.
    pub(crate) fn exchange(
        &self,
        request: http::Request<()>,
        body: Option<&[u8]>,
        is_second: bool,
        is_uncorrelated: bool,
    ) -> Result<Response, Failure> {
        let mut connection = self
            .pool
            .connection(request.uri(), is_second, is_uncorrelated);
        // A request without a body has a `Content-Length` only if its method usually has a body (RFC 9110, 8.6).
        let is_expected = !matches!(*request.method(), http::Method::GET | http::Method::DELETE);
        let response = match body.or_else(|| is_expected.then_some(&[])) {
            Some(body) => connection.agent.run(request.map(|()| body)),
            None => connection.agent.run(request),
        };
        let result = response.map_err(plain).and_then(read);
        let usage = connection.end();
        let (head, body) = result.map_err(|error| failure(error, &usage))?;
        let is_followed = usage.is_followed;
        let is_reusable = usage.progress == Progress::Complete && !is_ambiguous(&head.headers);
        drop(usage);
        if head.headers.contains_key(header::SET_COOKIE) {
            // The agent may hold a cookie now: another crate of the application may switch on ureq's feature `cookies`.
            connection.agent = self.pool.agent(&connection.usage);
        }
        Ok(Response {
            head,
            body,
            is_followed,
            is_reusable,
            connection: Some(connection),
            pool: Arc::clone(&self.pool),
        })
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
    /// True if more bytes followed the response before the connection was kept. The response may then belong to another
    /// request, and the bytes after it may be the response to this one.
    pub(crate) is_followed: bool,
    is_reusable: bool,
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl Response {
    /// Puts the connection back into the pool, or closes it if it cannot be used again. Must be called only if the response
    /// belongs to the request. Otherwise all later responses on the connection would belong to other requests too.
    pub(crate) fn keep_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.is_followed |= self.pool.put(connection, self.is_reusable);
        }
    }
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

/// Returns `true` if a response may be a sign of response splitting (RFC 9112, 6.3). The bytes after it cannot be trusted.
fn is_ambiguous(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH)
}

/// Returns the failure of an exchange. Rewords the messages of ureq and the standard library for timeouts and closed
/// connections.
fn failure(error: io::Error, usage: &Usage) -> Failure {
    let message = match error.kind() {
        _ if usage.progress == Progress::Connecting => return Failure::Connect(Box::new(error)),
        io::ErrorKind::TimedOut => {
            format!("no complete response within {:?}", usage.limits.exchange)
        }
        _ if usage.was_pooled && usage.progress == Progress::Sent && is_closed(&error) => {
            "the pooled connection was closed before any byte of a response".to_owned()
        }
        io::ErrorKind::UnexpectedEof => {
            "the connection was closed before the response was complete".to_owned()
        }
        _ => return Failure::Exchange(Box::new(error)),
    };
    Failure::Exchange(Box::new(io::Error::new(error.kind(), message)))
}

/// Returns `true` if the other side closed the connection.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}
