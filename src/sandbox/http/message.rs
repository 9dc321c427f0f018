//! HTTP requests as received, and HTTP responses with instructions for sending them.

use std::time::Duration;

use ureq::http::StatusCode;

/// A request as received.
#[derive(Debug, Clone)]
pub(crate) struct HttpRequest {
    /// `GET`, `POST`, …
    pub(crate) method: String,
    /// Path and query as received, not decoded.
    pub(crate) target: String,
    /// `true` if the version is HTTP/1.0. The connection is then closed after the response.
    pub(crate) is_http_1_0: bool,
    /// Names and values in the order received, duplicates kept.
    pub(crate) headers: Vec<(String, String)>,
    /// The body. The chunks of a chunked body are joined.
    pub(crate) body: Vec<u8>,
}

/// A response, and instructions for sending it.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The headers, sent unchanged. `content-length` is added unless it is given or not allowed.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// The body. It is not sent in a response to `HEAD`.
    pub(crate) body: Vec<u8>,
    /// The instructions for sending it.
    pub(crate) delivery: Delivery,
}

/// Instructions for sending a response. By default it is sent at once and completely, and the connection is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The pause before anything is sent.
    pub(crate) delay: Duration,
    /// The pause before each byte of the body.
    pub(crate) every: Duration,
    /// The status of a 1xx response that is sent before this one.
    pub(crate) informational: Option<u16>,
    /// The number of bytes of the body that are sent. `content-length` announces the whole body.
    pub(crate) cut: Option<usize>,
    /// Bytes that are sent instead of the whole response.
    pub(crate) raw: Option<Vec<u8>>,
    /// `true` if the connection is closed afterwards, without a `Connection: close` header.
    pub(crate) close: bool,
}

impl HttpRequest {
    /// Returns the first value of a header, without regard to the name's case. An empty value counts as absent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).find(|value| !value.is_empty())
    }

    /// Returns every value of a header, in the order received.
    pub(crate) fn header_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the target without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns the first value of a query parameter, not decoded.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_path, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|parameter| parameter.split_once('='))
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Checks whether the client asks for the connection to be closed after the response.
    pub(super) fn is_last(&self) -> bool {
        let mut options = self
            .header_all("connection")
            .flat_map(|value| value.split(','));
        self.is_http_1_0 || options.any(|option| option.trim().eq_ignore_ascii_case("close"))
    }
}

impl Response {
    /// Returns a response without headers and with the default delivery.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            delivery: Delivery::default(),
        }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Returns the head and the body as they are sent.
    pub(super) fn bytes(&self, head_only: bool) -> (Vec<u8>, &[u8]) {
        let Delivery { raw, cut, .. } = &self.delivery;
        let body = match cut {
            _ if head_only || raw.is_some() => &[],
            Some(cut) => self.body.get(..*cut).unwrap_or(&self.body),
            None => self.body.as_slice(),
        };
        (raw.clone().unwrap_or_else(|| self.head()), body)
    }

    /// Returns the status line and the headers, with the empty line after them.
    pub(super) fn head(&self) -> Vec<u8> {
        let known = StatusCode::from_u16(self.status).ok();
        let reason = known.and_then(|status| status.canonical_reason());
        let reason = reason.unwrap_or("Unknown");
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let is_given = |name| {
            self.headers
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        let is_bodiless = matches!(self.status, 100..=199 | 204 | 304);
        if !is_bodiless && !is_given("content-length") && !is_given("transfer-encoding") {
            head.extend(format!("content-length: {}\r\n", self.body.len()).bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}
