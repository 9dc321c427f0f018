//! An error response, from WeChat Pay or from a proxy or gateway in front of it.

use std::error::Error as StdError;
use std::fmt;

use serde_json::Value;

use super::text::write_request_id;
use super::{Advice, Outcome, Shown};

/// An error response, with any status except 2xx. The response in
/// [`CertificateError::NoCertificates`](crate::CertificateError::NoCertificates) may have status 200.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012081714>.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// `code`, such as `PARAM_ERROR`. Empty if the body has no `code`, or if `code` is not a string, as in responses of
    /// other gateways.
    pub code: String,
    /// `message`, meant for people. Empty if the body has no `message`. If `code` is not a string, the message starts
    /// with it: `code 404: not found`.
    pub message: String,
    /// `detail` as received: usually `field`, `value`, `issue` and `location`.
    pub detail: Option<Value>,
    /// `Request-ID`, which WeChat Pay's support asks for.
    pub request_id: Option<String>,
    /// The proof that the response is WeChat Pay's. An unsigned response is only as trustworthy as the TLS connection.
    pub authenticity: Authenticity,
    /// The id of the platform key that the response names, if the verifier does not hold that key. The signature could not
    /// be verified, so [`authenticity`](Self::authenticity) is [`Authenticity::Unsigned`].
    pub unknown_key: Option<String>,
    /// The header `Server`, if the body is not a JSON object. WeChat Pay's error body is one.
    pub server: Option<String>,
    /// The start of a body that is not a JSON object, such as the page of a proxy or firewall. It is plain text without
    /// invisible characters.
    pub excerpt: Option<String>,
    /// True if the call may have taken effect, although this error means a refusal in other calls.
    pub(crate) is_inconclusive: bool,
}

impl ApiError {
    /// Reads the response. Never fails.
    pub(crate) fn from_response(
        status: u16,
        body: &[u8],
        request_id: Option<String>,
        server: Option<&str>,
        authenticity: Authenticity,
    ) -> Self {
        // The body may be anything, such as the error page of a proxy.
        let json = std::str::from_utf8(body).unwrap_or_default();
        let mut failure: Value = serde_json::from_str(json).unwrap_or_default();
        let is_foreign = !failure.is_object();
        let mut member = |name| failure.get_mut(name).map(Value::take);
        let (code, message) = code_and_message(member("code"), text(member("message")));
        Self {
            status,
            code,
            message,
            detail: member("detail").filter(|detail| !detail.is_null()),
            request_id,
            authenticity,
            unknown_key: None,
            server: server
                .filter(|_| is_foreign)
                .map(|server| Shown::id(server).to_string()),
            excerpt: Some(excerpt(body)).filter(|text| is_foreign && !text.is_empty()),
            is_inconclusive: false,
        }
    }

    /// Returns `true` if this is the error `code`. Underscores are ignored, since WeChat Pay's older pages write
    /// `ORDERNOTEXIST` and `SYSTEMERROR` for `ORDER_NOT_EXIST` and `SYSTEM_ERROR`.
    pub fn has_code(&self, code: &str) -> bool {
        let letters = |text: &str| text.replace('_', "");
        letters(&self.code) == letters(code)
    }

    /// Returns `true` if there were too many requests: status 429, or the code `FREQUENCY_LIMITED` or `RATELIMIT_EXCEEDED`.
    pub fn is_rate_limited(&self) -> bool {
        let codes = ["FREQUENCY_LIMITED", "RATELIMIT_EXCEEDED"];
        self.status == 429 || codes.iter().any(|code| self.has_code(code))
    }

    pub(super) fn advice(&self) -> Advice {
        match self.outcome() {
            Outcome::Unknown => Advice::Query,
            _ if self.is_rate_limited() => Advice::Wait,
            _ => Advice::Mend,
        }
    }

    /// Returns [`Outcome::Refused`] for the statuses with which WeChat Pay refuses a request (400, 401, 403, 404, 429),
    /// and for those with which any HTTP server refuses a request for its form (405, 406, 411, 413, 414, 415, 417,
    /// 431). Returns [`Outcome::Unknown`] for all others, such as 5xx.
    ///
    /// WeChat Pay's `code` consists of upper-case letters, digits and `_`. Without such a code, the outcome is
    /// [`Outcome::Unknown`] with any status, since a proxy may have written the response after it forwarded the
    /// request. It is also `Unknown` if [`Endpoint::is_inconclusive`](crate::Endpoint::is_inconclusive) returns `true`.
    pub fn outcome(&self) -> Outcome {
        if self.is_inconclusive || !is_code(&self.code) {
            return Outcome::Unknown;
        }
        match self.status {
            // Documented by WeChat Pay.
            400 | 401 | 403 | 404 | 429 => Outcome::Refused,
            // RFC 9110 and RFC 6585: refused for the form of the request, before it is acted upon.
            405 | 406 | 411 | 413 | 414 | 415 | 417 | 431 => Outcome::Refused,
            _ => Outcome::Unknown,
        }
    }
}

/// `{}` shows a short description. `{:#}` adds the outcome and the `Request-ID`.
impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_short(f)?;
        if let Some(key) = &self.unknown_key {
            let key = Shown::id(key);
            write!(f, ", signed with the unknown platform key \"{key}\"")?;
        }
        if !f.alternate() {
            return Ok(());
        }
        write!(f, "; {}", self.outcome())?;
        write_request_id(f, self.request_id.as_deref())
    }
}

impl ApiError {
    fn write_short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_unsigned = self.authenticity == Authenticity::Unsigned && self.unknown_key.is_none();
        if is_unsigned && self.is_foreign() {
            return self.write_foreign(f);
        }
        write!(f, "WeChat Pay responded with HTTP {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", Shown::sentence(&self.code))?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", Shown::sentence(&self.message))?;
        }
        // After SIGN_ERROR, the issue is one level deeper.
        let issue = self
            .detail_text("/issue")
            .or_else(|| self.detail_text("/detail/issue"));
        match (self.detail_text("/field"), issue) {
            (Some(field), Some(issue)) => write!(f, " (field {field}: {issue})"),
            (Some(field), None) => write!(f, " (field {field})"),
            (None, Some(issue)) => write!(f, " ({issue})"),
            (None, None) => Ok(()),
        }
    }

    fn detail_text(&self, path: &str) -> Option<Shown<'_>> {
        let value = self.detail.as_ref()?.pointer(path)?;
        value.as_str().map(Shown::sentence)
    }

    /// Returns `true` if the body has no field of WeChat Pay's error body.
    fn is_foreign(&self) -> bool {
        self.code.is_empty() && self.message.is_empty() && self.detail.is_none()
    }

    fn write_foreign(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status;
        write!(
            f,
            "HTTP {status} without WeChat Pay's error body, unsigned, perhaps of a proxy or firewall"
        )?;
        if let Some(server) = &self.server {
            write!(f, " (Server: {server})")?;
        }
        match &self.excerpt {
            Some(excerpt) => write!(f, ": {excerpt}"),
            None => Ok(()),
        }
    }
}

/// Returns the start of a page as plain text, without tags and with one space between its words.
fn excerpt(body: &[u8]) -> String {
    let start = String::from_utf8_lossy(body.get(..4096).unwrap_or(body));
    // A part without `>` has no tag, so all of it is text. A plain-text page is one such part.
    let words: Vec<_> = (start.split('<'))
        .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
        .flat_map(str::split_whitespace)
        .collect();
    Shown::excerpt(&words.join(" ")).to_string()
}

impl StdError for ApiError {}

fn is_code(text: &str) -> bool {
    let is_of_codes = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|c: char| c.is_ascii_uppercase()) && text.bytes().all(is_of_codes)
}

/// Returns `code` if it is a string, as WeChat Pay's codes are. Otherwise puts it in front of the message, so that it
/// is shown but not mistaken for a refusal by WeChat Pay.
fn code_and_message(code: Option<Value>, message: String) -> (String, String) {
    match code {
        Some(Value::String(code)) => (code, message),
        None | Some(Value::Null) => (String::new(), message),
        other => {
            let colon = if message.is_empty() { "" } else { ": " };
            let code = text(other);
            (String::new(), format!("code {code}{colon}{message}"))
        }
    }
}

/// Returns a string unchanged and any other value as JSON, so that nothing about the error is lost.
fn text(value: Option<Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        // `Value::to_string` would link the pretty printer into the program.
        Some(other) => serde_json::to_string(&other).unwrap_or_default(),
    }
}

/// The proof that an error response is WeChat Pay's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Authenticity {
    /// The signature of the body was verified. The HTTP status is not signed: the status, and the
    /// [`outcome`](ApiError::outcome) read from it, are only as trustworthy as the TLS connection.
    Signed,
    /// The response has no signature, like every 401 and some other errors, or is signed with a key that the verifier
    /// does not hold (see [`ApiError::unknown_key`]). A proxy could have written it.
    Unsigned,
}
