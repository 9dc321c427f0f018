//! HTTP requests as received, and HTTP responses with the way in which they are sent.

use std::time::Duration;

use ureq::http::StatusCode;

/// A request as it was received.
#[derive(Debug, Clone)]
pub(crate) struct HttpRequest {
    /// `GET`, `POST`, …
    pub(crate) method: String,
    /// Path and query as received: nothing is decoded.
    pub(crate) target: String,
    /// Whether it is of HTTP/1.0, after which the connection is closed.
    pub(crate) is_http_1_0: bool,
    /// Names and values in the order received, duplicates kept.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, without the chunks in which it may have been sent.
    pub(crate) body: Vec<u8>,
}

/// A response, and the way in which it is sent.
#[derive(Debug, Clone)]
pub(crate) struct HttpResponse {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Sent as they are. `content-length` is added unless given, or out of place.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// The body; left out of the response to `HEAD`.
    pub(crate) body: Vec<u8>,
    /// The way in which it is sent.
    pub(crate) delivery: Delivery,
}

/// The way in which a response is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// At once and whole; the connection is kept.
    Whole,
    /// Whole, but only after this time.
    After(Duration),
    /// The head at once, then the body byte by byte, with a pause before each.
    Drip {
        /// The pause before each byte.
        every: Duration,
    },
    /// The request is read, nothing is sent, the connection is closed.
    CloseBeforeResponse,
    /// The head with the full `content-length`, then the connection is closed.
    CloseAfterHead,
    /// The head and the first bytes of the body, then the connection is closed.
    CutBody {
        /// The number of body bytes that are sent.
        after: usize,
    },
    /// A response with this 1xx status and a header of its own goes ahead of the real one.
    Informational(u16),
    /// Whole, without a `Connection` header; then the connection is closed.
    WholeThenClose,
    /// The body with `transfer-encoding: chunked`, in three chunks (fewer when it is shorter than that).
    Chunked,
    /// These bytes in place of the whole response, then the connection is closed.
    Raw(Vec<u8>),
}

impl HttpRequest {
    /// Returns the first value of a header, the name in any case. An empty value counts as absent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).find(|value| !value.is_empty())
    }

    /// Returns the target without the query.
    pub(crate) fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _query)| path)
    }

    /// Returns the first value of a query parameter, not decoded.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_path, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|parameter| parameter.split_once('='))
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Returns every value of a header, in the order received.
    pub(crate) fn header_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl HttpResponse {
    /// Returns a response without headers, sent whole.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            delivery: Delivery::Whole,
        }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Changes the way in which it is sent.
    #[cfg(test)]
    pub(crate) fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Returns the status line and the headers, with the empty line after them.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = status_line(self.status);
        for (name, value) in &self.headers {
            push_header(&mut head, name, value);
        }
        if self.delivery == Delivery::Chunked {
            push_header(&mut head, "transfer-encoding", b"chunked");
        } else if self.needs_length() {
            let length = self.body.len().to_string();
            push_header(&mut head, "content-length", length.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    fn needs_length(&self) -> bool {
        let bodiless = matches!(self.status, 100..=199 | 204 | 304);
        let given = self.headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        });
        !bodiless && !given
    }
}

pub(super) fn status_line(status: u16) -> Vec<u8> {
    let known = StatusCode::from_u16(status).ok();
    let reason = known
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown");
    format!("HTTP/1.1 {status} {reason}\r\n").into_bytes()
}

pub(super) fn push_header(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}
