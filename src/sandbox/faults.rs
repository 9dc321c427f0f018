//! The faults that can be injected, and the requests that they apply to.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::http::HttpRequest;
use super::signing::Signing;
use super::sync::lock;

/// A fault that is injected into a request with [`Sandbox::fault`](super::Sandbox::fault).
///
/// The documentation of each fault says whether the request is carried out. If it is, the request is checked and handled
/// as usual, and the fault changes only the response, even if that is an error. If it is not, the request is not examined.
/// [`RecordedRequest::took_effect`](super::RecordedRequest::took_effect) records whether a request took effect.
///
/// A fault of the body does not change a response of status 204, which has no body.
///
/// Three further methods inject faults into connections: [`Sandbox::refuse_connections`](super::Sandbox::refuse_connections),
/// [`Sandbox::hang_up`](super::Sandbox::hang_up) and
/// [`Sandbox::close_connections`](super::Sandbox::close_connections).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The request is read, and the connection is closed without a response.
    Close {
        /// `true` if the request is carried out.
        #[serde(default)]
        took_effect: bool,
    },
    /// Only the response's head is sent, then the connection is closed. The request is carried out.
    CloseAfterHead,
    /// The head and half of the body are sent, then the connection is closed. The request is carried out.
    CutBody,
    /// The body is sent byte by byte. The request is carried out.
    SlowBody {
        /// The pause before each byte.
        #[serde(rename = "milliseconds", deserialize_with = "milliseconds")]
        every: Duration,
    },
    /// The response is sent after this time, which may be longer than the client's timeout. The request is carried out.
    Late(#[serde(deserialize_with = "milliseconds")] Duration),
    /// The response is sent as usual, then the connection is closed without a `Connection: close` header. The request is
    /// carried out. The client may send its next request on the closed connection.
    CloseAfterResponse,
    /// A response with this 1xx status is sent before the real one. The request is carried out.
    Informational(#[serde(deserialize_with = "status")] u16),
    /// The body is sent with `transfer-encoding: chunked`, which is unusual but correct. The request is carried out.
    Chunked,
    /// An unsigned redirect. The request is not carried out.
    Redirect {
        /// The status, such as 302 or 307.
        #[serde(deserialize_with = "status")]
        status: u16,
        /// The value of `Location`.
        location: String,
    },
    /// An error in WeChat Pay's form.
    Error {
        /// The status.
        #[serde(deserialize_with = "status")]
        status: u16,
        /// The `code`, such as `SYSTEM_ERROR`.
        code: String,
        /// The way in which the response is signed.
        #[serde(default)]
        signing: Signing,
        /// `true` if the request is carried out. With a status below 500 it never is.
        #[serde(default)]
        took_effect: bool,
    },
    /// An unsigned HTML page instead of the response, as proxies send it.
    HtmlPage {
        /// The status.
        #[serde(deserialize_with = "status")]
        status: u16,
        /// `true` if the request is carried out. It never is with a status of 1xx, 3xx or 4xx.
        #[serde(default)]
        took_effect: bool,
    },
    /// An unsigned response with an empty body.
    EmptyBody {
        /// The status.
        #[serde(deserialize_with = "status")]
        status: u16,
        /// `true` if the request is carried out. It never is with a status of 1xx, 3xx or 4xx.
        #[serde(default)]
        took_effect: bool,
    },
    /// A signed response with status 202 Accepted. The request is carried out.
    Accepted,
    /// The response is signed in another way. The request is carried out.
    Signature(Signing),
    /// A header of the response is sent twice, with the same value. The request is carried out.
    DuplicateHeader(String),
    /// A header of the response is set to this value, or added if it is absent. The value may be any bytes.
    /// Name and value are not checked. The request is carried out.
    Header {
        /// The name.
        name: String,
        /// The value.
        #[serde(deserialize_with = "bytes")]
        value: Vec<u8>,
    },
    /// The body is padded with spaces and correctly signed. The request is carried out.
    LargeBody {
        /// The body's length in bytes. A number above 128 MiB is reduced to 128 MiB.
        length: usize,
    },
    /// The body is compressed with gzip after it was signed, as proxies do it. The request is carried out.
    Gzip,
    /// The first string of the body contains a byte that is not UTF-8. The body is correctly signed. The request is
    /// carried out.
    InvalidUtf8,
    /// A member with this many nested arrays is added to the body. The body is correctly signed. The request is carried
    /// out.
    DeepJson {
        /// The number of arrays. A number above 1,000,000 is reduced to 1,000,000.
        depth: usize,
    },
    /// Each member of the body occurs twice. The body is correctly signed. The request is carried out.
    DuplicateKeys,
    /// The body is replaced by this one and correctly signed. The request is carried out.
    Body(#[serde(deserialize_with = "bytes")] Vec<u8>),
    /// These bytes are sent instead of the whole response, including its head, then the connection is closed. The request
    /// is carried out.
    Raw(#[serde(deserialize_with = "bytes")] Vec<u8>),
}

impl Fault {
    /// Returns a [`Fault::Error`] whose request is not carried out. The response is signed unless the status is 401, which
    /// WeChat Pay never signs.
    pub fn error(status: u16, code: impl Into<String>) -> Self {
        Self::Error {
            status,
            code: code.into(),
            signing: match status {
                401 => Signing::Missing,
                _ => Signing::Right,
            },
            took_effect: false,
        }
    }

    /// Applies this fault to `times` requests instead of one.
    pub fn times(self, times: usize) -> FaultOrder {
        FaultOrder::from(self).times(times)
    }

    /// Applies this fault to the next request with this method and a path that starts with `path`.
    pub fn on(self, method: impl Into<String>, path: impl Into<String>) -> FaultOrder {
        FaultOrder::from(self).on(method, path)
    }

    /// Returns `true` if a request is carried out under this fault.
    pub(super) fn lets_pass(&self) -> bool {
        match *self {
            Self::Redirect { .. } => false,
            Self::Close { took_effect } => took_effect,
            Self::Error {
                status,
                took_effect,
                ..
            } => took_effect && status >= 500,
            Self::HtmlPage {
                status,
                took_effect,
            }
            | Self::EmptyBody {
                status,
                took_effect,
            } => took_effect && matches!(status, 200..=299 | 500..),
            _ => true,
        }
    }
}

fn milliseconds<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    u64::deserialize(input).map(Duration::from_millis)
}

fn bytes<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u8>, D::Error> {
    String::deserialize(input).map(String::into_bytes)
}

fn status<'de, D: Deserializer<'de>>(input: D) -> Result<u16, D::Error> {
    match u16::deserialize(input)? {
        status @ 100..=599 => Ok(status),
        other => Err(D::Error::custom(format!(
            "status {other} is not from 100 to 599"
        ))),
    }
}

/// A fault and the requests that it applies to.
#[derive(Debug, Clone)]
pub struct FaultOrder {
    fault: Fault,
    times: usize,
    only: Option<(String, String)>,
}

impl FaultOrder {
    /// Sets the number of requests. With 0 the fault applies to none.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Limits the fault to requests with this method and a path that starts with `path`.
    #[must_use]
    pub fn on(mut self, method: impl Into<String>, path: impl Into<String>) -> Self {
        self.only = Some((method.into(), path.into()));
        self
    }

    fn is_for(&self, request: &HttpRequest) -> bool {
        self.only.as_ref().is_none_or(|(method, path)| {
            request.method == *method && request.target.starts_with(path.as_str())
        })
    }
}

impl From<Fault> for FaultOrder {
    /// Applies the fault to the next request.
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            times: 1,
            only: None,
        }
    }
}

/// The faults that are not used up, oldest first.
#[derive(Default)]
pub(super) struct Faults(Mutex<VecDeque<FaultOrder>>);

impl Faults {
    pub(super) fn add(&self, order: FaultOrder) {
        lock(&self.0).push_back(order);
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Returns the oldest fault that applies to this request, if any, and counts it as used.
    pub(super) fn take(&self, request: &HttpRequest) -> Option<Fault> {
        let mut orders = lock(&self.0);
        orders.retain(|order| order.times > 0);
        let order = orders.iter_mut().find(|order| order.is_for(request))?;
        order.times -= 1;
        Some(order.fault.clone())
    }
}
