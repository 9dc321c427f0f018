//! Checks the fields of a request's JSON body as WeChat Pay's pages describe them; written apart from the client's own
//! checks, so that each shows the other's mistakes.

use serde_json::Value;

use super::response::Refusal;
use crate::time::parse_rfc_3339;

type Checked = Result<(), Refusal>;

/// A field of a body, or of an object in it.
pub(super) struct Field {
    name: &'static str,
    required: bool,
    rule: Rule,
}

/// The rule for a field's value.
pub(super) enum Rule {
    /// Text of at most so many characters.
    Text(usize),
    /// Text of a length that is not documented.
    AnyText,
    /// A whole number, not negative.
    Number,
    /// A whole number from 1.
    Positive,
    /// `true` or `false`.
    Boolean,
    /// ASCII digits and letters, up to so many.
    Code(usize),
    /// An order's number: digits, letters, `_`, `-` and `*`, from so many characters to 32.
    OrderNumber {
        /// The least number of characters.
        from: usize,
    },
    /// `https://`, without a query; up to so many characters.
    NotifyUrl(usize),
    /// The same, or `http://`, as on a dedicated line.
    PartnerNotifyUrl(usize),
    /// `https://`, with a path.
    NotifyUrlWithPath(usize),
    /// Text of at most so many bytes.
    Bytes(usize),
    /// A refund's number: digits, letters, `_`, `-`, `|`, `*` and `@`, up to 64.
    RefundNumber,
    /// RFC 3339, up to 64 characters.
    Time,
    /// An object with these fields.
    Object(&'static [Field]),
    /// A list of objects with these fields.
    List(&'static [Field]),
}

impl Field {
    pub(super) const fn required(name: &'static str, rule: Rule) -> Self {
        Self {
            name,
            required: true,
            rule,
        }
    }

    pub(super) const fn optional(name: &'static str, rule: Rule) -> Self {
        Self {
            name,
            required: false,
            rule,
        }
    }

    fn check(&self, parent: &str, object: &Value) -> Checked {
        let path = join(parent, self.name);
        match object.get(self.name) {
            None if self.required => Err(Refusal::param_error(&path, &Value::Null, "is required")),
            None => Ok(()),
            Some(value) => self.rule.check(&path, value),
        }
    }
}

/// Checks a whole body: it is an object, nothing in it breaks the rules for all bodies, and the fields are as they
/// should be. Fields that are not known do no harm.
pub(super) fn check(body: &Value, fields: &[Field]) -> Checked {
    check_everywhere("", body)?;
    check_object("", body, fields)
}

/// The text `name`, or nothing.
pub(super) fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

/// Returns the members of `object` with these names, which blanks separate.
pub(super) fn pick(object: &Value, names: &str) -> Value {
    let member = |name: &str| Some((name.to_owned(), object.get(name)?.clone()));
    Value::Object(names.split(' ').filter_map(member).collect())
}

/// Puts the members of `more` into `object`.
pub(super) fn put(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}

/// Leaves out the members that are `null`.
pub(super) fn present(fields: Value) -> Value {
    match fields {
        Value::Object(members) => {
            let present = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(present.collect::<serde_json::Map<_, _>>())
        }
        other => other,
    }
}

fn check_object(path: &str, value: &Value, fields: &[Field]) -> Checked {
    if !value.is_object() {
        return Err(Refusal::param_error(path, value, "is not an object"));
    }
    fields.iter().try_for_each(|field| field.check(path, value))
}

/// No `null` and no characters of four UTF-8 bytes anywhere.
fn check_everywhere(path: &str, value: &Value) -> Checked {
    match value {
        Value::Null => Err(Refusal::param_error(path, value, "is null")),
        Value::String(text) if text.chars().any(|c| c.len_utf8() > 3) => Err(Refusal::param_error(
            path,
            value,
            "has a character of four UTF-8 bytes",
        )),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| check_everywhere(&join(path, index), value)),
        Value::Object(members) => members
            .iter()
            .try_for_each(|(name, value)| check_everywhere(&join(path, name), value)),
        _ => Ok(()),
    }
}

impl Rule {
    fn check(&self, path: &str, value: &Value) -> Checked {
        match self {
            Self::Positive if value.as_u64() == Some(0) => {
                return Err(Refusal::param_error(path, value, "is 0"));
            }
            Self::Number | Self::Positive if value.is_u64() => return Ok(()),
            Self::Number | Self::Positive => {
                return Err(Refusal::param_error(path, value, "is not a whole number"));
            }
            Self::Boolean if value.is_boolean() => return Ok(()),
            Self::Boolean => return Err(Refusal::param_error(path, value, "is not a boolean")),
            Self::Object(fields) => return check_object(path, value, fields),
            Self::List(fields) => return check_list(path, value, fields),
            _ => {}
        }
        let issue = match value.as_str() {
            None => Some("is not a string"),
            Some("") => Some("is empty"),
            Some(text) => self.issue_with(text),
        };
        issue.map_or(Ok(()), |issue| {
            Err(Refusal::param_error(path, value, issue))
        })
    }

    fn issue_with(&self, text: &str) -> Option<&'static str> {
        let length = text.chars().count();
        match *self {
            Self::Text(max)
            | Self::Code(max)
            | Self::NotifyUrl(max)
            | Self::PartnerNotifyUrl(max)
            | Self::NotifyUrlWithPath(max)
                if length > max =>
            {
                Some("is too long")
            }
            Self::Code(_) if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Some("has characters other than digits and letters")
            }
            Self::OrderNumber { from } if !(from..=32).contains(&length) => {
                Some("is too short or too long")
            }
            Self::OrderNumber { .. } if !text.bytes().all(is_of_order_number) => {
                Some("has characters other than digits, letters, _, - and *")
            }
            Self::Bytes(max) if text.len() > max => Some("is too long"),
            Self::RefundNumber if length > 64 => Some("is too long"),
            Self::RefundNumber if !text.bytes().all(is_of_refund_number) => {
                Some("has characters other than digits, letters, _, -, |, * and @")
            }
            Self::PartnerNotifyUrl(_)
                if path_of_notify_url(&text.replacen("http://", "https://", 1)).is_none() =>
            {
                Some("is not an https or http URL without a query")
            }
            Self::NotifyUrl(_) if path_of_notify_url(text).is_none() => {
                Some("is not an https URL without a query")
            }
            Self::NotifyUrlWithPath(_) if path_of_notify_url(text).is_none_or(str::is_empty) => {
                Some("is not an https URL with a path and without a query")
            }
            Self::Time if length > 64 => Some("is too long"),
            Self::Time if parse_rfc_3339(text).is_none() => {
                Some("is not a time in the form of RFC 3339")
            }
            _ => None,
        }
    }
}

fn check_list(path: &str, value: &Value, fields: &[Field]) -> Checked {
    let entries = value
        .as_array()
        .ok_or_else(|| Refusal::param_error(path, value, "is not a list"))?;
    if entries.is_empty() {
        return Err(Refusal::param_error(path, value, "is empty"));
    }
    entries
        .iter()
        .enumerate()
        .try_for_each(|(index, entry)| check_object(&join(path, index), entry, fields))
}

fn join(parent: &str, name: impl std::fmt::Display) -> String {
    match parent {
        "" => name.to_string(),
        _ => format!("{parent}/{name}"),
    }
}

fn is_of_order_number(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'*')
}

fn is_of_refund_number(byte: u8) -> bool {
    is_of_order_number(byte) || matches!(byte, b'|' | b'@')
}

fn path_of_notify_url(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.split('#').next()?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next()?.split(':').next()?;
    let is_right = scheme.eq_ignore_ascii_case("https") && !host.is_empty() && !rest.contains('?');
    is_right.then_some(path)
}
