//! Checks the fields of a request's JSON body as WeChat Pay's pages describe them. It shares no code with the
//! client's own checks, so that each reveals a mistake of the other.

use serde_json::Value;

use super::response::Refusal;
use crate::time::parse_rfc_3339;

type Checked = Result<(), Refusal>;

/// A field of a body, or of an object in it: its name, whether it is required, and the rule for its value.
pub(super) struct Field(&'static str, bool, Rule);

/// The rule for a field's value.
pub(super) enum Rule {
    /// Text of at most this many characters.
    Text(usize),
    /// Text of a length that is not documented.
    AnyText,
    /// A whole number from 0.
    Number,
    /// A whole number from 1.
    Positive,
    /// `true` or `false`.
    Boolean,
    /// ASCII digits and letters, at most this many.
    Code(usize),
    /// An order's number: at least `from` and at most 32 digits, letters, `_`, `-` and `*`.
    OrderNumber {
        /// The minimum number of characters.
        from: usize,
    },
    /// An `https://` URL without a query, of at most this many characters.
    NotifyUrl(usize),
    /// An `https://` or `http://` URL without a query, of at most this many characters. `http://` is for a dedicated
    /// line 专线.
    PartnerNotifyUrl(usize),
    /// An `https://` URL with a path and without a query, of at most this many characters.
    NotifyUrlWithPath(usize),
    /// Text of at most this many bytes.
    Bytes(usize),
    /// A refund's number: at most 64 digits, letters, `_`, `-`, `|`, `*` and `@`.
    RefundNumber,
    /// A time in the form of RFC 3339, of at most 64 characters.
    Time,
    /// An object with these fields.
    Object(&'static [Field]),
    /// A list of objects with these fields.
    List(&'static [Field]),
}

impl Field {
    pub(super) const fn required(name: &'static str, rule: Rule) -> Self {
        Self(name, true, rule)
    }

    pub(super) const fn optional(name: &'static str, rule: Rule) -> Self {
        Self(name, false, rule)
    }

    fn check(&self, parent: &str, object: &Value) -> Checked {
        let Self(name, is_required, rule) = self;
        let path = join(parent, name);
        match object.get(name) {
            None if *is_required => Err(Refusal::param_error(&path, &Value::Null, "is required")),
            None => Ok(()),
            Some(value) => rule.check(&path, value),
        }
    }
}

/// Checks a whole body: it is an object, it contains no `null` and no character of four UTF-8 bytes, and each field of
/// the `tables` obeys its rule. Other fields are allowed.
pub(super) fn check(body: &Value, tables: &[&[Field]]) -> Checked {
    check_everywhere("", body)?;
    let mut tables = tables.iter();
    tables.try_for_each(|fields| check_object("", body, fields))
}

/// Returns the text in the field `name`.
pub(super) fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

/// Returns the members of `object` with these names. `names` is separated by spaces.
pub(super) fn pick(object: &Value, names: &str) -> Value {
    let member = |name: &str| Some((name.to_owned(), object.get(name)?.clone()));
    Value::Object(names.split(' ').filter_map(member).collect())
}

/// Adds the members of `more` to `object`.
pub(super) fn put(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}

fn check_object(path: &str, value: &Value, fields: &[Field]) -> Checked {
    if !value.is_object() {
        return Err(Refusal::param_error(path, value, "is not an object"));
    }
    fields.iter().try_for_each(|field| field.check(path, value))
}

/// Refuses `null` and characters of four UTF-8 bytes at any depth.
fn check_everywhere(path: &str, value: &Value) -> Checked {
    let issue = match value {
        Value::Null => "is null",
        Value::String(text) if text.chars().any(|c| c.len_utf8() > 3) => {
            "has a character of four UTF-8 bytes"
        }
        Value::Array(values) => {
            let check = |(index, value)| check_everywhere(&join(path, index), value);
            return values.iter().enumerate().try_for_each(check);
        }
        Value::Object(members) => {
            let check = |(name, value)| check_everywhere(&join(path, name), value);
            return members.iter().try_for_each(check);
        }
        _ => return Ok(()),
    };
    Err(Refusal::param_error(path, value, issue))
}

impl Rule {
    fn check(&self, path: &str, value: &Value) -> Checked {
        let issue = match (self, value) {
            (Self::Object(fields), _) => return check_object(path, value, fields),
            (Self::List(_), Value::Array(entries)) if entries.is_empty() => Some("is empty"),
            (Self::List(fields), Value::Array(entries)) => {
                let check = |(index, entry)| check_object(&join(path, index), entry, fields);
                return entries.iter().enumerate().try_for_each(check);
            }
            (Self::List(_), _) => Some("is not a list"),
            (Self::Boolean, _) => (!value.is_boolean()).then_some("is not a boolean"),
            (Self::Number | Self::Positive, _) if !value.is_u64() => Some("is not a whole number"),
            (Self::Positive, _) => (*value == 0_u64).then_some("is 0"),
            (Self::Number, _) => None,
            (_, Value::String(text)) => self.issue_with(text),
            _ => Some("is not a string"),
        };
        issue.map_or(Ok(()), |issue| {
            Err(Refusal::param_error(path, value, issue))
        })
    }

    fn issue_with(&self, text: &str) -> Option<&'static str> {
        let length = text.chars().count();
        let is_too_long = match *self {
            Self::Text(max) | Self::Code(max) => length > max,
            Self::NotifyUrl(max) | Self::PartnerNotifyUrl(max) | Self::NotifyUrlWithPath(max) => {
                length > max
            }
            Self::RefundNumber | Self::Time => length > 64,
            Self::Bytes(max) => text.len() > max,
            _ => false,
        };
        let has_only = |others: &str| {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
            text.chars().all(is_allowed)
        };
        let https_path = path_of_url(text, &["https"]);
        Some(match *self {
            _ if text.is_empty() => "is empty",
            _ if is_too_long => "is too long",
            Self::Code(_) if !has_only("") => "has characters other than digits and letters",
            Self::OrderNumber { from } if !(from..=32).contains(&length) => {
                "is too short or too long"
            }
            Self::OrderNumber { .. } if !has_only("_-*") => {
                "has characters other than digits, letters, _, - and *"
            }
            Self::RefundNumber if !has_only("_-|*@") => {
                "has characters other than digits, letters, _, -, |, * and @"
            }
            Self::NotifyUrl(_) if https_path.is_none() => "is not an https URL without a query",
            Self::PartnerNotifyUrl(_) if path_of_url(text, &["https", "http"]).is_none() => {
                "is not an https or http URL without a query"
            }
            Self::NotifyUrlWithPath(_) if https_path.is_none_or(str::is_empty) => {
                "is not an https URL with a path and without a query"
            }
            Self::Time if parse_rfc_3339(text).is_none() => "is not a time in the form of RFC 3339",
            _ => return None,
        })
    }
}

fn join(parent: &str, name: impl std::fmt::Display) -> String {
    let separator = if parent.is_empty() { "" } else { "/" };
    format!("{parent}{separator}{name}")
}

fn path_of_url<'a>(url: &'a str, schemes: &[&str]) -> Option<&'a str> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.split('#').next()?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next()?.split(':').next()?;
    let is_allowed = schemes.contains(&scheme.to_ascii_lowercase().as_str());
    (is_allowed && !host.is_empty() && !rest.contains('?')).then_some(path)
}
