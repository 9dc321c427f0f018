//! What can be ordered to go wrong, and for which requests.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::http::HttpRequest;
use super::signing::Signing;

/// Something that goes wrong with a request, ordered with [`Sandbox::fault`](super::Sandbox::fault).
///
/// Each fault says whether the request is carried out all the same. Where it is, the request is checked and handled as
/// without the fault, and only the answer, an error too, is spoiled on its way. Where it is not, the request is not even
/// looked at. [`RecordedRequest::took_effect`](super::RecordedRequest::took_effect) tells the truth about each request.
///
/// A fault of the body changes nothing in an answer of status 204, which has none.
///
/// Three more can be ordered for connections: [`Sandbox::refuse_connections`](super::Sandbox::refuse_connections),
/// [`Sandbox::hang_up`](super::Sandbox::hang_up) and
/// [`Sandbox::close_connections`](super::Sandbox::close_connections).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The request is read and the connection closed without an answer.
    Close {
        /// Whether the request is carried out.
        took_effect: bool,
    },
    /// Only the answer's head is sent, then the connection is closed. The request is carried out.
    CloseAfterHead,
    /// The head and half of the body are sent, then the connection is closed. The request is carried out.
    CutBody,
    /// The body is sent byte by byte. The request is carried out.
    SlowBody {
        /// The pause before each byte.
        every: Duration,
    },
    /// The answer is sent only after this time, so that the client's may have run out. The request is carried out.
    Late(Duration),
    /// The answer is sent as usual; then the connection is closed, though nothing in the answer said so. The request is
    /// carried out. The next request may go out on a connection that is already gone.
    CloseAfterResponse,
    /// An answer with this 1xx status goes ahead of the real one. The request is carried out.
    Informational(u16),
    /// The body comes in chunks, without a length: unusual, not wrong. The request is carried out.
    Chunked,
    /// An unsigned redirect. The request is not carried out.
    Redirect {
        /// The status, such as 302 or 307.
        status: u16,
        /// Where to.
        location: String,
    },
    /// An error in WeChat Pay's form.
    Error {
        /// The status.
        status: u16,
        /// The `code`, such as `SYSTEM_ERROR`.
        code: String,
        /// How the answer is signed.
        signing: Signing,
        /// Whether the request is carried out; only from status 500 on, below that it never is.
        took_effect: bool,
    },
    /// An unsigned HTML page in place of the answer, as proxies send it.
    HtmlPage {
        /// The status.
        status: u16,
        /// Whether the request is carried out; only for statuses 2xx and from 500 on, else it never is.
        took_effect: bool,
    },
    /// An unsigned answer with an empty body.
    EmptyBody {
        /// The status.
        status: u16,
        /// Whether the request is carried out; only for statuses 2xx and from 500 on, else it never is.
        took_effect: bool,
    },
    /// A signed 202: accepted, not done yet. The request is carried out.
    Accepted,
    /// The answer is signed in another way. The request is carried out.
    Signature(Signing),
    /// A header of the answer comes twice, with the same value. The request is carried out.
    DuplicateHeader(String),
    /// A header of the answer has another value, or is added if there was none: any bytes, and none of them is checked.
    /// The request is carried out.
    Header {
        /// The name.
        name: String,
        /// The value.
        value: Vec<u8>,
    },
    /// The body is filled up with blanks, rightly signed. The request is carried out.
    LargeBody {
        /// The body's length in bytes; more than 128 MiB count as 128 MiB.
        length: usize,
    },
    /// The body is compressed with gzip after it was signed, as proxies do it. The request is carried out.
    Gzip,
    /// A byte that is not UTF-8 in the first text of the body, rightly signed. The request is carried out.
    InvalidUtf8,
    /// A member with this many arrays inside each other is added to the body, rightly signed. The request is carried
    /// out.
    DeepJson {
        /// The number of arrays; more than 1,000,000 count as 1,000,000.
        depth: usize,
    },
    /// Each member of the body comes twice, rightly signed. The request is carried out.
    DuplicateKeys,
    /// Another body, rightly signed. The request is carried out.
    Body(Vec<u8>),
    /// These bytes in place of the whole answer, head and all, then the connection is closed. The request is carried
    /// out.
    Raw(Vec<u8>),
}

impl Fault {
    /// A [`Fault::Error`] without effect, signed unless it is a 401, which WeChat Pay never signs.
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

    /// This fault for so many requests, instead of one.
    pub fn times(self, times: usize) -> FaultOrder {
        FaultOrder::from(self).times(times)
    }

    /// This fault for the next request with this method and a path that starts so, instead of the next of all.
    pub fn on(self, method: impl Into<String>, path: impl Into<String>) -> FaultOrder {
        FaultOrder::from(self).on(method, path)
    }

    /// Whether a request is carried out under this fault.
    pub(super) fn lets_pass(&self) -> bool {
        match self {
            Self::Close { took_effect } => *took_effect,
            Self::Redirect { .. } => false,
            Self::Error {
                status,
                took_effect,
                ..
            } => *took_effect && *status >= 500,
            Self::HtmlPage {
                status,
                took_effect,
            }
            | Self::EmptyBody {
                status,
                took_effect,
            } => *took_effect && (*status >= 500 || (200..300).contains(status)),
            _ => true,
        }
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
    /// For so many requests; none when it is 0.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Only for requests with this method and a path that starts so.
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
    /// The fault for the next request.
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
pub(super) struct Faults {
    orders: Mutex<VecDeque<FaultOrder>>,
}

impl Faults {
    pub(super) fn add(&self, order: FaultOrder) {
        self.orders().push_back(order);
    }

    pub(super) fn clear(&self) {
        self.orders().clear();
    }

    /// The fault for this request, if one is ordered; it is used up.
    pub(super) fn take(&self, request: &HttpRequest) -> Option<Fault> {
        let mut orders = self.orders();
        orders.retain(|order| order.times > 0);
        let order = orders.iter_mut().find(|order| order.is_for(request))?;
        order.times -= 1;
        Some(order.fault.clone())
    }

    fn orders(&self) -> MutexGuard<'_, VecDeque<FaultOrder>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
