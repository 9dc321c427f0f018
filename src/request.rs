//! A request with its method, path template, query and JSON body. Also the trait for typed calls.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, InvalidField, Mismatch, Shown};
use crate::rules::{consists_of, describe};

/// A typed call: its request, the type of its response, and the fields in which both must agree.
///
/// Implement it for calls that this crate has no type for. A one-off call needs only
/// [`Client::execute`](crate::Client::execute).
pub trait Endpoint {
    /// The success response.
    type Response: DeserializeOwned;

    /// Checks the fields against the documented rules and creates the request.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] for the first field that breaks a rule.
    fn request(&self) -> Result<Request, InvalidField>;

    /// Compares the fields that a verified response repeats with those of the request. The default accepts every
    /// response.
    ///
    /// WeChat Pay signs a response but does not bind it to a request. The response to another request, signed within
    /// the last 5 minutes, would be accepted if it arrived on the connection. Only the fields that the response repeats
    /// reveal this. A difference becomes [`Error::Mismatch`](crate::Error::Mismatch).
    ///
    /// `mchid` is the id of the merchant that signed the request. [`Client::send`](crate::Client::send) and
    /// [`Merchant::accept_for`](crate::Merchant::accept_for) call this after each success. `Client::execute` and
    /// `Merchant::accept` know no endpoint, so their callers must compare.
    ///
    /// The contract calls of this crate compare `mchid`, `sub_mchid`, `service_id` and `out_contract_code` where the
    /// response repeats them. The query of an order compares the merchant ids and the order's number, and the refund
    /// calls compare the refund's number. The responses to placing and closing an order repeat nothing of the order.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] for the first difference, as [`Mismatch::check`] returns it.
    fn check(&self, response: &Self::Response, mchid: &str) -> Result<(), Mismatch> {
        let _ = (response, mchid);
        Ok(())
    }

    /// Returns `true` if this call may have taken effect despite `error`. For other calls the same error is a refusal.
    /// [`ApiError::outcome`] is then [`Outcome::Unknown`](crate::Outcome::Unknown). The default returns `false`.
    ///
    /// For example, a refund may be in progress although the response is 429.
    fn is_inconclusive(&self, error: &ApiError) -> bool {
        let _ = error;
        false
    }
}

/// The path of the platform certificates.
pub(crate) const CERTIFICATES: &str = "/v3/certificates";

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Method {
    /// Returns the method's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Any APIv3 request.
///
/// ```
/// use wechatpay_contract::Request;
///
/// let request = Request::get("/v3/pay/transactions/id/{transaction_id}")
///     .path("transaction_id", "1217752501201407033233368018")
///     .query("mchid", "1900000109");
/// assert_eq!(
///     request.target()?,
///     "/v3/pay/transactions/id/1217752501201407033233368018?mchid=1900000109",
/// );
/// # Ok::<(), wechatpay_contract::InvalidField>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is sent by itself: give it to `Client::execute` or `Merchant::prepare`"]
pub struct Request {
    method: Method,
    template: Cow<'static, str>,
    variables: Vec<(Cow<'static, str>, String)>,
    query: Vec<(Cow<'static, str>, String)>,
    body: Option<Vec<u8>>,
    is_uncorrelated: bool,
    /// A problem with a value or the body, reported before anything is sent.
    problem: Option<InvalidField>,
}

impl Request {
    /// Creates a `GET` request. See [`Request::new`].
    pub fn get(template: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::Get, template)
    }

    /// Creates a `POST` request. See [`Request::new`].
    pub fn post(template: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::Post, template)
    }

    /// Creates a `PUT` request. See [`Request::new`].
    pub fn put(template: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::Put, template)
    }

    /// Creates a `PATCH` request. See [`Request::new`].
    pub fn patch(template: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::Patch, template)
    }

    /// Creates a `DELETE` request. See [`Request::new`].
    pub fn delete(template: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Method::Delete, template)
    }

    /// Creates a request for the path `template`. The template starts with `/`, has no query, and may hold variables as
    /// whole segments or parts of them: `/v3/pay/transactions/id/{transaction_id}`.
    ///
    /// If the template, a variable or the body has a problem, [`target`](Self::target) and every method that sends the
    /// request return an error before anything is sent.
    pub fn new(method: Method, template: impl Into<Cow<'static, str>>) -> Self {
        Self {
            method,
            template: template.into(),
            variables: Vec::new(),
            query: Vec::new(),
            body: None,
            is_uncorrelated: false,
            problem: None,
        }
    }

    /// Fills the variable `{name}` of the path. The value is percent-encoded and otherwise unchanged. A value that is
    /// empty, `.` or `..` is refused, since it would name another path. A variable that occurs in the path twice gets
    /// the value in both places.
    pub fn path(mut self, name: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        let value = self.displayed("path", value);
        self.variables.push((name.into(), value));
        self
    }

    /// Adds a query parameter. Name and value are percent-encoded. Order and repetitions are kept.
    pub fn query(mut self, name: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        let value = self.displayed("query", value);
        self.query.push((name.into(), value));
        self
    }

    /// Sets the JSON body. WeChat Pay expects absent keys rather than `null`. A body with a character of four UTF-8
    /// bytes, such as an emoji, is an error before anything is sent, since WeChat Pay refuses it.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match json_body(body) {
            Ok(body) => self.body = Some(body),
            Err(problem) => self.problem = Some(problem),
        }
        self
    }

    /// Returns the HTTP method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns the path template. It holds no values, so it can be logged. Returns an empty string if the template is
    /// invalid, since it may be a secret passed by mistake.
    pub fn template(&self) -> &str {
        check_template(&self.template).map_or("", |()| &self.template)
    }

    /// Returns the JSON body's bytes, if there is a body.
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// Returns `true` if this downloads the platform certificates, the one request that may be sent without a platform
    /// key.
    pub(crate) fn is_certificate_download(&self) -> bool {
        self.method == Method::Get && self.template == CERTIFICATES
    }

    /// Marks a request as uncorrelated: its response, such as that to an order, repeats none of its fields. The response
    /// to another request could therefore be mistaken for its success.
    ///
    /// [`Client`](crate::Client) then sends it on a new connection, or on one that was idle for so long that any late
    /// response should have arrived. This time is twice the duration of connecting or of the slowest exchange on the
    /// connection, whichever is longer. The call fails if a second response follows. Calls in quick succession alternate
    /// between a few connections. One risk remains: another response may arrive between the request and its own
    /// response. Only a later query reveals this. [`Client::execute`](crate::Client::execute) sends every request this
    /// way, since it compares nothing. An [`Endpoint`] without [`check`](Endpoint::check) should call this method.
    pub fn uncorrelated(mut self) -> Self {
        self.is_uncorrelated = true;
        self
    }

    /// Returns `true` if another request's response could be mistaken for the success of this one.
    #[cfg(feature = "client")]
    pub(crate) fn is_uncorrelated(&self) -> bool {
        self.is_uncorrelated
    }

    /// Returns path and query exactly as they are signed and sent.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if the template is not a path, if a variable is unfilled, unknown or filled twice, if a value
    /// cannot be displayed or would name another path, if the body cannot be serialized, or if a GET request has a
    /// body.
    pub fn target(&self) -> Result<Cow<'_, str>, InvalidField> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        if self.method == Method::Get && self.body.is_some() {
            let problem = "found a body in a GET request: wanted none, values go to query()";
            return Err(InvalidField::new("body", problem));
        }
        check_template(&self.template)?;
        self.check_variables()?;
        if !self.template.contains('{') && self.query.is_empty() {
            return Ok(Cow::Borrowed(&self.template));
        }
        let mut target = String::with_capacity(256);
        self.push_path(&mut target)?;
        self.push_query(&mut target);
        Ok(Cow::Owned(target))
    }

    /// Formats a value like `to_string`, but without its panic. Some date formatters fail on an invalid pattern.
    fn displayed(&mut self, field: &str, value: impl fmt::Display) -> String {
        let mut text = String::new();
        if write!(text, "{value}").is_err() {
            let problem = "found a value that cannot be displayed: wanted one that can";
            self.problem = Some(InvalidField::new(field, problem));
        }
        text
    }

    fn push_path(&self, target: &mut String) -> Result<(), InvalidField> {
        // Every second part is the name of a variable, since the braces match.
        for (position, part) in self.template.split(['{', '}']).enumerate() {
            match position % 2 {
                0 => target.push_str(part),
                _ => percent_encode(self.variable(part)?, target),
            }
        }
        Ok(())
    }

    fn variable(&self, name: &str) -> Result<&str, InvalidField> {
        let Some((_, value)) = self.variables.iter().find(|(known, _)| known == name) else {
            let template = &self.template;
            let problem = format!("found no value for this variable of the path {template}");
            return Err(InvalidField::new(name, problem));
        };
        if matches!(value.as_str(), "" | "." | "..") {
            let problem =
                format!("found {value:?}: as a part of the path it would name another path");
            return Err(InvalidField::new(name, problem));
        }
        Ok(value)
    }

    /// Returns an error if a value has no variable in the path, or a variable has two values.
    fn check_variables(&self) -> Result<(), InvalidField> {
        let template = &self.template;
        for (position, (name, _)) in self.variables.iter().enumerate() {
            let mut names = template.split(['{', '}']).skip(1).step_by(2);
            if !names.any(|known| known == name) {
                // The name is not shown, since it may be a secret passed by mistake.
                let found = describe(name, |c| c.is_ascii_alphanumeric() || c == '_');
                let problem = format!(
                    "name of a variable: {found}, wanted a variable of the path {template}"
                );
                return Err(InvalidField::new("path", problem));
            }
            let mut earlier = self.variables.iter().take(position);
            if earlier.any(|(earlier, _)| earlier == name) {
                let problem = format!("found two values for this variable of the path {template}");
                return Err(InvalidField::new(name.as_ref(), problem));
            }
        }
        Ok(())
    }

    fn push_query(&self, target: &mut String) {
        for (position, (name, value)) in self.query.iter().enumerate() {
            target.push(if position == 0 { '?' } else { '&' });
            percent_encode(name, target);
            target.push('=');
            percent_encode(value, target);
        }
    }
}

/// The body may hold personal data and is not shown.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("template", &self.template())
            .finish_non_exhaustive()
    }
}

fn json_body<T: Serialize + ?Sized>(body: &T) -> Result<Vec<u8>, InvalidField> {
    // Large enough for every typed request, so that there is one allocation.
    let mut bytes = Vec::with_capacity(512);
    serde_json::to_writer(&mut bytes, body).map_err(|error| {
        let error = error.to_string();
        let problem = format!("cannot be written as JSON: {}", Shown::sentence(&error));
        InvalidField::new("body", problem)
    })?;
    // Only characters of four UTF-8 bytes have a byte of 0xF0 or more. The loop for the maximum can be vectorized.
    let largest = bytes.iter().fold(0, |largest: u8, byte| largest.max(*byte));
    if largest >= 0xF0 {
        return Err(InvalidField::new(
            "body",
            "found a character of four UTF-8 bytes, such as an emoji: wanted characters of one to three bytes",
        ));
    }
    Ok(bytes)
}

/// Returns an error if the template is invalid. The error does not show it, since it may be a secret passed by mistake.
fn check_template(template: &str) -> Result<(), InvalidField> {
    let wanted = if !template.starts_with('/') {
        "wanted a path that starts with '/'"
    } else if template.starts_with("//") {
        "wanted a path, found the start of an authority"
    } else if consists_of(template, is_plain) {
        return Ok(());
    } else if !consists_of(template, is_of_templates) {
        "wanted only characters of a percent-encoded path and {variables}; queries go to query()"
    } else if !braces_match(template) {
        "wanted each variable as {name}"
    } else if !template.contains(['.', '%']) {
        return Ok(());
    } else {
        match decoded(template) {
            None => "wanted two hexadecimal digits after each '%'",
            Some(path) if path.contains(|c: char| c.is_ascii_control()) => {
                "wanted no escape of a control character"
            }
            Some(path) if has_dot_segment(&path) => {
                "wanted a path without the segments '.' and '..'"
            }
            Some(_) => return Ok(()),
        }
    };
    let found = describe(template, is_of_templates);
    Err(InvalidField::new("path", format!("{found}: {wanted}")))
}

/// Returns `true` for the characters of most templates, which have no variable, no escape and no dot.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_')
}

/// Returns `true` for RFC 3986 `pchar`, `/`, and the braces of variables. The `matches!` lists the other visible ASCII
/// characters.
fn is_of_templates(c: char) -> bool {
    c.is_ascii_graphic()
        && !matches!(
            c,
            '"' | '#' | '<' | '>' | '?' | '[' | '\\' | ']' | '^' | '`' | '|'
        )
}

/// Decodes the escapes, as an HTTP stack may do before it resolves the segments. Returns `None` if an escape is not two
/// hexadecimal digits.
fn decoded(template: &str) -> Option<String> {
    let mut parts = template.split('%');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        // The number may not have a sign.
        let byte = u8::from_str_radix(digits, 16).ok();
        decoded.push(char::from(byte.filter(|_| !digits.starts_with('+'))?));
        decoded.push_str(rest);
    }
    Some(decoded.replace('\\', "/"))
}

fn braces_match(template: &str) -> bool {
    let mut parts = template.split('{');
    let is_literal = |text: &str| !text.contains('}');
    parts.next().is_none_or(is_literal)
        && parts.all(|part| {
            part.split_once('}').is_some_and(|(name, rest)| {
                !name.is_empty() && !name.contains('/') && is_literal(rest)
            })
        })
}

/// Returns `true` if a segment is `.` or `..`, with or without parameters. Many HTTP stacks resolve such segments (RFC
/// 3986, 5.2.4), and then send a path other than the signed one.
fn has_dot_segment(template: &str) -> bool {
    let mut segments = template.split('/');
    segments.any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// Escapes all but the unreserved characters of RFC 3986, 2.3.
fn percent_encode(text: &str, target: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            target.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
}
