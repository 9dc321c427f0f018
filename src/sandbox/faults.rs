//! The faults that can be injected, and the requests that they are for.

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
/// Each fault says whether the request is carried out all the same. If it is, the request is checked and handled as
/// without the fault, and only the response, an error too, is changed on its way. If it is not, the request is not even
/// looked at. [`RecordedRequest::took_effect`](super::RecordedRequest::took_effect) tells the truth about each request.
///
/// A fault of the body changes nothing in a response of status 204, which has none.
///
/// Three more can be ordered for connections: [`Sandbox::refuse_connections`](super::Sandbox::refuse_connections),
/// [`Sandbox::hang_up`](super::Sandbox::hang_up) and
/// [`Sandbox::close_connections`](super::Sandbox::close_connections).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The request is read and the connection closed without a response.
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
    /// The response is sent only after this time, so that the client's timeout may have passed. The request is carried out.
    Late(#[serde(deserialize_with = "milliseconds")] Duration),
    /// The response is sent as usual, then the connection is closed, though nothing in the response said so. The request is
    /// carried out. The next request may go out on a connection that is already gone.
    CloseAfterResponse,
    /// A response with this 1xx status goes ahead of the real one. The request is carried out.
    Informational(#[serde(deserialize_with = "status")] u16),
    /// The body comes in chunks, without a length: unusual, not wrong. The request is carried out.
    Chunked,
    /// An unsigned redirect. The request is not carried out.
    Redirect {
        /// The status, such as 302 or 307.
        #[serde(deserialize_with = "status")]
        status: u16,
        /// The URL to go to.
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
        /// `true` if the request is carried out. Below status 500 it never is.
        #[serde(default)]
        took_effect: bool,
    },
    /// An unsigned HTML page in place of the response, as proxies send it.
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
    /// A signed 202: accepted, not done yet. The request is carried out.
    Accepted,
    /// The response is signed in another way. The request is carried out.
    Signature(Signing),
    /// A header of the response comes twice, with the same value. The request is carried out.
    DuplicateHeader(String),
    /// A header of the response has another value, or is added if there was none: any bytes, and none of them is checked.
    /// The request is carried out.
    Header {
        /// The name.
        name: String,
        /// The value.
        #[serde(deserialize_with = "bytes")]
        value: Vec<u8>,
    },
    /// The body is filled up with blanks, rightly signed. The request is carried out.
    LargeBody {
        /// The body's length in bytes, 128 MiB at most. A larger number counts as that.
        length: usize,
    },
    /// The body is compressed with gzip after it was signed, as proxies do it. The request is carried out.
    Gzip,
    /// A byte that is not UTF-8 in the first text of the body, rightly signed. The request is carried out.
    InvalidUtf8,
    /// A member with this many arrays inside each other is added to the body, rightly signed. The request is carried
    /// out.
    DeepJson {
        /// The number of arrays, 1,000,000 at most. A larger number counts as that.
        depth: usize,
    },
    /// Each member of the body comes twice, rightly signed. The request is carried out.
    DuplicateKeys,
    /// Another body, rightly signed. The request is carried out.
    Body(#[serde(deserialize_with = "bytes")] Vec<u8>),
    /// These bytes in place of the whole response, head and all, then the connection is closed. The request is carried
    /// out.
    Raw(#[serde(deserialize_with = "bytes")] Vec<u8>),
}

impl Fault {
    /// Returns a [`Fault::Error`] without effect, signed unless it is a 401, which WeChat Pay never signs.
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

    /// Orders this fault for so many requests, instead of one.
    pub fn times(self, times: usize) -> FaultOrder {
        FaultOrder::from(self).times(times)
    }

    /// Orders this fault for the next request that has this method and a path that starts so.
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

/// A fault and the requests that it is for.
#[derive(Debug, Clone)]
pub struct FaultOrder {
    fault: Fault,
    times: usize,
    only: Option<(String, String)>,
}

impl FaultOrder {
    /// Sets the number of requests. None is affected if it is 0.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Limits it to requests with this method and a path that starts so.
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
    /// Orders the fault for the next request.
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            times: 1,
            only: None,
        }
    }
}

/// The orders that wait for their requests, oldest first.
#[derive(Default)]
pub(super) struct Faults(Mutex<VecDeque<FaultOrder>>);

impl Faults {
    pub(super) fn add(&self, order: FaultOrder) {
        lock(&self.0).push_back(order);
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Returns the fault for this request, if one is ordered, and uses it up.
    pub(super) fn take(&self, request: &HttpRequest) -> Option<Fault> {
        let mut orders = lock(&self.0);
        orders.retain(|order| order.times > 0);
        let order = orders.iter_mut().find(|order| order.is_for(request))?;
        order.times -= 1;
        Some(order.fault.clone())
    }
}
