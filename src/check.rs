//! The documented rules for fields, checked before anything is sent. A rule that is only inferred is not here.

use crate::error::InvalidField;
use crate::time;

type Checked = Result<(), InvalidField>;

/// A required text must not be empty.
pub(crate) fn required(field: &'static str, value: &str) -> Checked {
    if !value.is_empty() {
        return Ok(());
    }
    Err(InvalidField::new(field, "is empty: wanted a value"))
}

/// A required text of at most `max` characters.
pub(crate) fn required_up_to(field: &'static str, value: &str, max: usize) -> Checked {
    required(field, value)?;
    up_to(field, value, max)
}

/// A text of at most `max` characters.
pub(crate) fn up_to(field: &'static str, value: &str, max: usize) -> Checked {
    let count = value.chars().count();
    if count <= max {
        return Ok(());
    }
    Err(InvalidField::new(
        field,
        format!("found {count} characters: wanted at most {max}"),
    ))
}

/// A text of at least `min` characters.
pub(crate) fn at_least(field: &'static str, value: &str, min: usize) -> Checked {
    let count = value.chars().count();
    if count >= min {
        return Ok(());
    }
    Err(InvalidField::new(
        field,
        format!("found {count} characters: wanted at least {min}"),
    ))
}

/// A required text of ASCII digits and letters only, such as `out_contract_code`.
pub(crate) fn digits_and_letters(field: &'static str, value: &str) -> Checked {
    required(field, value)?;
    match value.chars().find(|c| !c.is_ascii_alphanumeric()) {
        None => Ok(()),
        Some(found) => Err(InvalidField::new(
            field,
            format!("found the character {found:?}: wanted ASCII digits and letters only"),
        )),
    }
}

/// A required text of ASCII digits, letters, `_`, `-` and `*` only, such as `out_trade_no`.
pub(crate) fn trade_no(field: &'static str, value: &str) -> Checked {
    required(field, value)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-*".contains(c);
    match value.chars().find(|c| !is_allowed(*c)) {
        None => Ok(()),
        Some(found) => Err(InvalidField::new(
            field,
            format!(
                "found the character {found:?}: wanted ASCII digits, letters, '_', '-' and '*' only"
            ),
        )),
    }
}

/// A time in the form of RFC 3339, with a fraction of the second or without. Whether there is such a day and hour is
/// left to WeChat Pay.
pub(crate) fn rfc_3339(field: &'static str, value: &str) -> Checked {
    if time::has_form_of_rfc_3339(value) {
        return Ok(());
    }
    Err(InvalidField::new(
        field,
        format!("found {value:?}: wanted a time like 2018-06-08T10:34:56+08:00"),
    ))
}

/// A required text without characters of four UTF-8 bytes.
pub(crate) fn no_four_byte_characters(field: &'static str, value: &str) -> Checked {
    required(field, value)?;
    match value.chars().find(|c| c.len_utf8() > 3) {
        None => Ok(()),
        Some(found) => Err(InvalidField::new(
            field,
            format!(
                "found the character {found:?} of four UTF-8 bytes: wanted characters of one to three bytes"
            ),
        )),
    }
}

/// A `notify_url`: HTTPS, with a host and a path, without a query.
pub(crate) fn notify_url(field: &'static str, value: &str) -> Checked {
    let wanted = "an https:// URL with a host and a path, without a query";
    let refuse = |found: &str| {
        Err(InvalidField::new(
            field,
            format!("found {value:?}, {found}: wanted {wanted}"),
        ))
    };
    if value.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return refuse("with a character that is not allowed in a URL");
    }
    let after_scheme = value.split_once(':');
    let Some((scheme, rest)) =
        after_scheme.and_then(|(scheme, rest)| Some((scheme, rest.strip_prefix("//")?)))
    else {
        return refuse("which is not a URL");
    };
    if !scheme.eq_ignore_ascii_case("https") {
        return refuse("which is not https");
    }
    if rest.contains(['?', '#']) {
        return refuse("with a query or fragment");
    }
    match rest.split_once('/') {
        None => refuse("without a path"),
        Some(("", _)) => refuse("without a host"),
        Some(_) => Ok(()),
    }
}
