//! Fault injection: the faults, the requests that they apply to, and what they change in a response.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::http::HttpRequest;
use super::response::Response;
use super::signing::Signing;

const HTML: &str = "<html>\r\n<head><title>Error</title></head>\r\n<body>not what you wanted</body>\r\n</html>\r\n";

/// The limits of [`Fault::LargeBody`] in bytes, and of [`Fault::DeepJson`] in arrays. A larger number is reduced.
const LARGEST: usize = 128 * 1024 * 1024;
const DEEPEST: usize = 1_000_000;

/// A fault that is injected into a request with [`Sandbox::fault`](super::Sandbox::fault).
///
/// The documentation of each fault says whether the request is carried out. If it is, the request is checked and
/// handled as usual, and the fault changes only the response, which may itself be an error. If it is not, the request
/// is not examined. [`RecordedRequest::took_effect`](super::RecordedRequest::took_effect) records whether a request
/// took effect.
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
    pub fn times(self, times: usize) -> FaultInjection {
        FaultInjection::from(self).times(times)
    }

    /// Applies this fault to the next request with this method and a path that starts with `path`.
    pub fn on(self, method: impl Into<String>, path: impl Into<String>) -> FaultInjection {
        FaultInjection::from(self).on(method, path)
    }

    /// Returns `true` if a request is carried out under this fault.
    pub(super) fn lets_pass(&self) -> bool {
        let took_effect = match self {
            Self::Close { took_effect } | Self::Error { took_effect, .. } => *took_effect,
            Self::HtmlPage { took_effect, .. } | Self::EmptyBody { took_effect, .. } => {
                *took_effect
            }
            _ => true,
        };
        took_effect
            && match self {
                Self::Redirect { .. } => false,
                Self::Error { status, .. } => *status >= 500,
                Self::HtmlPage { status, .. } | Self::EmptyBody { status, .. } => {
                    matches!(status, 200..=299 | 500..)
                }
                _ => true,
            }
    }

    /// Changes a response before it is signed. A response without a body, such as a 204, does not get a body, because
    /// the client would read that body as the start of the next response.
    pub(super) fn apply(&self, response: &mut Response, signing: &mut Signing) {
        self.apply_to_delivery(response);
        if let Some(replaced) = self.replacement() {
            (*response, *signing) = replaced;
        }
        match self {
            Self::Accepted => response.status = 202,
            Self::Signature(other) => *signing = *other,
            _ if response.body.is_empty() => {}
            _ => self.apply_to_body(&mut response.body),
        }
    }

    /// Changes a response after it was signed.
    pub(super) fn apply_after_signing(&self, response: &mut Response) {
        let headers = &mut response.headers;
        match self {
            Self::DuplicateHeader(name) => {
                let is_same = |(known, _): &&(String, Vec<u8>)| known.eq_ignore_ascii_case(name);
                let again = headers.iter().find(is_same).cloned();
                headers.extend(again);
            }
            Self::Header { name, value } => {
                headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                headers.push((name.clone(), value.clone()));
            }
            Self::Gzip if !response.body.is_empty() => {
                response.body = gzip(&response.body);
                headers.push(("Content-Encoding".to_owned(), b"gzip".to_vec()));
            }
            Self::Chunked if !response.body.is_empty() => {
                response.body = chunks(&response.body);
                headers.push(("transfer-encoding".to_owned(), b"chunked".to_vec()));
            }
            _ => {}
        }
    }

    fn apply_to_delivery(&self, response: &mut Response) {
        let (delivery, body) = (&mut response.delivery, &response.body);
        match self {
            Self::SlowBody { every } => delivery.every = *every,
            Self::Late(time) => delivery.delay = *time,
            Self::Informational(status) => delivery.informational = Some(*status),
            Self::Close { .. } => delivery.raw = Some(Vec::new()),
            Self::Raw(bytes) => delivery.raw = Some(bytes.clone()),
            Self::CloseAfterHead => delivery.cut = Some(0),
            Self::CutBody => delivery.cut = Some(body.len() / 2),
            Self::CloseAfterResponse => delivery.close = true,
            _ => {}
        }
        delivery.close |= delivery.raw.is_some() || delivery.cut.is_some();
    }

    /// Returns the response that replaces the real one, and how it is signed.
    fn replacement(&self) -> Option<(Response, Signing)> {
        let unsigned = |response| Some((response, Signing::Missing));
        match self {
            Self::Redirect { status, location } => {
                unsigned(Response::new(*status, "").header("Location", location.as_str()))
            }
            Self::Error {
                status,
                code,
                signing,
                ..
            } => {
                let message = "injected as a fault by the sandbox";
                Some((Response::error(*status, code, message), *signing))
            }
            Self::HtmlPage { status, .. } => {
                unsigned(Response::new(*status, HTML).header("Content-Type", "text/html"))
            }
            Self::EmptyBody { status, .. } => unsigned(Response::new(*status, "")),
            _ => None,
        }
    }

    fn apply_to_body(&self, body: &mut Vec<u8>) {
        match self {
            Self::LargeBody { length } => {
                body.resize(body.len().max((*length).min(LARGEST)), b' ');
            }
            Self::InvalidUtf8 => {
                // The byte 0xFF never occurs in UTF-8. It is inserted into the first string that is a value.
                let found = body.windows(2).position(|here| here == b":\"");
                body.insert(found.map_or(0, |position| position + 2), 0xFF);
            }
            Self::DeepJson { depth } => {
                let depth = (*depth).min(DEEPEST);
                let (open, close) = ("[".repeat(depth), "]".repeat(depth));
                let start = format!("{{\"sandbox\":{open}{close},").into_bytes();
                *body = [&start, after_brace(body)].concat();
            }
            Self::DuplicateKeys => {
                let members = body.strip_suffix(b"}").unwrap_or(body);
                *body = [members, b",", after_brace(body)].concat();
            }
            Self::Body(other) => body.clone_from(other),
            _ => {}
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
pub struct FaultInjection {
    fault: Fault,
    times: usize,
    only: Option<(String, String)>,
}

impl FaultInjection {
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

impl From<Fault> for FaultInjection {
    /// Applies the fault to the next request.
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            times: 1,
            only: None,
        }
    }
}

/// Returns the oldest fault that applies to this request, if any, and counts it as used.
pub(super) fn take(injections: &mut Vec<FaultInjection>, request: &HttpRequest) -> Option<Fault> {
    injections.retain(|injection| injection.times > 0);
    let injection = injections.iter_mut().find(|one| one.is_for(request))?;
    injection.times -= 1;
    Some(injection.fault.clone())
}

fn after_brace(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"{").unwrap_or(body)
}

/// Returns the body in three chunks, or fewer if it is too short.
fn chunks(body: &[u8]) -> Vec<u8> {
    let mut chunked = Vec::new();
    for chunk in body.chunks(body.len().div_ceil(3)) {
        let size = format!("{:x}\r\n", chunk.len());
        chunked.extend([size.as_bytes(), chunk, b"\r\n"].concat());
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    chunked
}

/// Returns the content as gzip (RFC 1952), in uncompressed blocks (RFC 1951).
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255];
    for block in content.chunks(usize::from(u16::MAX)) {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        packed.push(0);
        packed.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        packed.extend(block);
    }
    packed.extend([1, 0, 0, 0xFF, 0xFF]);
    packed.extend(crc32(content).to_le_bytes());
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    packed.extend(length.to_le_bytes());
    packed
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        // The check value that is published for CRC-32.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn each_fault_changes_the_body_as_documented() {
        let changed = |fault: &Fault| {
            let mut body = br#"{"a":1,"b":"c"}"#.to_vec();
            fault.apply_to_body(&mut body);
            String::from_utf8_lossy(&body).into_owned()
        };
        for (fault, body) in [
            (Fault::InvalidUtf8, "{\"a\":1,\"b\":\"\u{FFFD}c\"}"),
            (
                Fault::DeepJson { depth: 3 },
                r#"{"sandbox":[[[]]],"a":1,"b":"c"}"#,
            ),
            (Fault::DuplicateKeys, r#"{"a":1,"b":"c","a":1,"b":"c"}"#),
            (Fault::LargeBody { length: 18 }, r#"{"a":1,"b":"c"}   "#),
            (Fault::Body(b"x".to_vec()), "x"),
        ] {
            assert_eq!(changed(&fault), body, "{fault:?}");
        }
    }

    #[test]
    fn a_body_is_as_large_and_deep_as_requested_up_to_a_limit() {
        let length = |fault: Fault| {
            let mut body = b"{}".to_vec();
            fault.apply_to_body(&mut body);
            body.len()
        };
        for (wanted, requested) in [
            (LARGEST - 1, LARGEST - 1),
            (LARGEST, LARGEST),
            (LARGEST, LARGEST + 1),
            (LARGEST, usize::MAX),
        ] {
            assert_eq!(length(Fault::LargeBody { length: requested }), wanted);
        }
        let around = length(Fault::DeepJson { depth: 0 });
        for (wanted, requested) in [
            (DEEPEST - 1, DEEPEST - 1),
            (DEEPEST, DEEPEST),
            (DEEPEST, DEEPEST + 1),
            (DEEPEST, usize::MAX),
        ] {
            let deep = length(Fault::DeepJson { depth: requested });
            assert_eq!(deep, around + 2 * wanted);
        }
    }
}
