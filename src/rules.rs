//! The documented rules for fields, checked before anything is sent. A rule that is only inferred is not here. Each function
//! returns an error unless the value is as its comment says.

use crate::error::InvalidField;
use crate::time;

/// Says what is wrong with a value that must be made of some characters only, without showing it: it may be a secret in
/// the wrong place.
pub(crate) fn describe(value: &str, is_allowed: impl Fn(char) -> bool) -> String {
    match value.chars().find(|c| !is_allowed(*c)) {
        _ if value.is_empty() => "is empty".to_owned(),
        Some(unwanted) => format!("found the character {unwanted:?}"),
        None => format!("found {} characters", value.chars().count()),
    }
}

/// Checks whether a text consists of some ASCII characters only.
pub(crate) fn consists_of(value: &str, is_allowed: impl Fn(char) -> bool) -> bool {
    // To the end, so that many bytes are looked at at a time.
    let is_allowed = |byte| is_allowed(char::from(byte));
    value.bytes().fold(true, |all, byte| all & is_allowed(byte))
}

type Checked = Result<(), InvalidField>;

/// A text that is not empty.
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

/// An identifier that WeChat Pay gave out, such as an AppID, a merchant id or an openid: visible ASCII characters, at most
/// `max` of them. So a blank around it is found, and a line break, which would move the border of a signed line.
pub(crate) fn id(field: &'static str, value: &str, max: usize) -> Checked {
    required_up_to(field, value, max)?;
    let is_allowed = |c: char| c.is_ascii_graphic();
    only(field, value, is_allowed, "visible ASCII characters only")
}

/// An identifier as for [`id`], if there is one.
pub(crate) fn optional_id(field: &'static str, value: Option<&str>, max: usize) -> Checked {
    value.map_or(Ok(()), |value| id(field, value, max))
}

/// Goods in a list `field` whose `merchant_goods_id` is never empty.
pub(crate) fn goods_ids<'a>(field: &str, mut ids: impl Iterator<Item = &'a str>) -> Checked {
    match ids.position(str::is_empty) {
        None => Ok(()),
        Some(position) => Err(InvalidField::new(
            format!("{field}[{position}].merchant_goods_id"),
            "is empty: wanted a value",
        )),
    }
}

/// A `prepay_id`, without the `prepay_id=` of the pay parameters.
pub(crate) fn prepay_id(value: &str, max: usize) -> Checked {
    match value.starts_with("prepay_id=") {
        false => id("prepay_id", value, max),
        true => Err(InvalidField::new(
            "prepay_id",
            "starts with \"prepay_id=\": wanted the id alone, as the order returned it",
        )),
    }
}

/// A text of at most `max` characters.
pub(crate) fn up_to(field: &'static str, value: &str, max: usize) -> Checked {
    // A character has one byte at least.
    if value.len() <= max || value.chars().count() <= max {
        return Ok(());
    }
    let count = value.chars().count();
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
    let is_allowed = |c: char| c.is_ascii_alphanumeric();
    only(field, value, is_allowed, "ASCII digits and letters only")
}

/// A required text of ASCII digits, letters, `_`, `-` and `*` only, such as `out_trade_no`.
pub(crate) fn trade_no(field: &'static str, value: &str) -> Checked {
    required(field, value)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-*".contains(c);
    let wanted = "ASCII digits, letters, '_', '-' and '*' only";
    only(field, value, is_allowed, wanted)
}

/// A required text of up to 64 ASCII digits, letters, `_`, `-`, `|`, `*` and `@`, such as `out_refund_no`.
pub(crate) fn refund_no(field: &'static str, value: &str) -> Checked {
    required_up_to(field, value, 64)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-|*@".contains(c);
    let wanted = "ASCII digits, letters, '_', '-', '|', '*' and '@' only";
    only(field, value, is_allowed, wanted)
}

/// A text of some ASCII characters only.
fn only(
    field: &'static str,
    value: &str,
    is_allowed: impl Fn(char) -> bool,
    wanted: &str,
) -> Checked {
    if consists_of(value, &is_allowed) {
        return Ok(());
    }
    let found = value.chars().find(|c| !is_allowed(*c)).unwrap_or_default();
    let problem = format!("found the character {found:?}: wanted {wanted}");
    Err(InvalidField::new(field, problem))
}

/// A text of at most `max` bytes.
pub(crate) fn up_to_bytes(field: &'static str, value: &str, max: usize) -> Checked {
    match value.len() {
        length if length <= max => Ok(()),
        length => Err(InvalidField::new(
            field,
            format!("found {length} bytes: wanted at most {max}"),
        )),
    }
}

/// A time in the form of RFC 3339, with a fraction of the second or without. WeChat Pay
/// checks that there is such a day and hour.
pub(crate) fn rfc_3339(field: &'static str, value: &str) -> Checked {
    if time::has_form_of_rfc_3339(value) {
        return Ok(());
    }
    Err(InvalidField::new(
        field,
        format!(
            "{}: wanted a time like 2018-06-08T10:34:56+08:00",
            describe(value, |c| c.is_ascii_digit() || "-T:.+Zz".contains(c))
        ),
    ))
}

/// A required text without characters of four UTF-8 bytes.
pub(crate) fn no_four_byte_characters(field: &'static str, value: &str) -> Checked {
    required(field, value)?;
    // Only characters of four bytes have such a byte.
    if value.bytes().all(|byte| byte < 0xF0) {
        return Ok(());
    }
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

/// A contract's `notify_url`: HTTPS, with a host and a path, without a query.
pub(crate) fn notify_url_with_path(field: &'static str, value: &str) -> Checked {
    let wanted = "an https:// URL with a host and a path, without a query";
    match path_of_url(value, &["https"]) {
        Ok("") => wrong_url(field, "a URL without a path", wanted),
        Ok(_) => Ok(()),
        Err(found) => wrong_url(field, &found, wanted),
    }
}

/// The `notify_url` of an order or a refund: HTTPS, with a host, without a query.
pub(crate) fn notify_url(field: &'static str, value: &str) -> Checked {
    match path_of_url(value, &["https"]) {
        Ok(_) => Ok(()),
        Err(found) => wrong_url(
            field,
            &found,
            "an https:// URL with a host, without a query",
        ),
    }
}

/// The `notify_url` of a partner's order: the same, or plain HTTP for a dedicated line.
pub(crate) fn partner_notify_url(field: &'static str, value: &str) -> Checked {
    match path_of_url(value, &["https", "http"]) {
        Ok(_) => Ok(()),
        Err(found) => wrong_url(
            field,
            &found,
            "an https:// URL with a host, without a query (http:// on a dedicated line)",
        ),
    }
}

fn wrong_url(field: &'static str, found: &str, wanted: &str) -> Checked {
    let problem = format!("found {found}: wanted {wanted}");
    Err(InvalidField::new(field, problem))
}

/// Returns the path of a URL with one of these schemes, with a host and without a query, or says what the URL is instead.
/// It may hold a secret of the merchant's, so no more of it is shown than the wrong character. Nothing is documented about
/// user information and fragments.
fn path_of_url<'a>(value: &'a str, schemes: &[&str]) -> Result<&'a str, String> {
    let refuse = |found: &str| Err(found.to_owned());
    // A backslash is a slash to some readers of URLs.
    let is_allowed = |c: char| c.is_ascii_graphic() && c != '\\';
    if !consists_of(value, is_allowed) {
        let wrong = value.chars().find(|c| !is_allowed(*c)).unwrap_or_default();
        return Err(format!("a URL with the character {wrong:?}"));
    }
    let Some((scheme, rest)) = value
        .split_once(':')
        .and_then(|(scheme, rest)| Some((scheme, rest.strip_prefix("//")?)))
    else {
        return refuse("no URL");
    };
    if !schemes
        .iter()
        .any(|allowed| scheme.eq_ignore_ascii_case(allowed))
    {
        return Err(format!("a URL that is not {}", schemes.join(" or ")));
    }
    let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
    if rest.contains('?') {
        return refuse("a URL with a query");
    }
    let (authority, path) = rest
        .split_at_checked(rest.find('/').unwrap_or(rest.len()))
        .unwrap_or((rest, ""));
    let (_user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() || host.starts_with(':') {
        return refuse("a URL without a host");
    }
    Ok(path)
}
