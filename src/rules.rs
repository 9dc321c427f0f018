//! Checks of fields against the documented rules, before anything is sent. Rules that are only inferred are not
//! checked. The comment of a check describes the valid value. The check returns an error for any other.

use crate::error::InvalidField;
use crate::time;

/// Describes the mistake in a value that must consist of allowed characters. The value is not shown, since it may be a
/// secret passed by mistake.
pub(crate) fn describe(value: &str, is_allowed: impl Fn(char) -> bool) -> String {
    match value.chars().find(|c| !is_allowed(*c)) {
        _ if value.is_empty() => "is empty".to_owned(),
        Some(unwanted) => format!("found the character {unwanted:?}"),
        None => format!("found {} characters", value.chars().count()),
    }
}

/// Returns `true` if a text consists of allowed ASCII characters.
pub(crate) fn consists_of(value: &str, is_allowed: impl Fn(char) -> bool) -> bool {
    // There is no early exit, so that the loop can be vectorized.
    let is_allowed = |byte| is_allowed(char::from(byte));
    value.bytes().fold(true, |all, byte| all & is_allowed(byte))
}

type Checked = Result<(), InvalidField>;

/// Returns an error with the problem unless the value fits.
pub(crate) fn ensure(fits: bool, field: &'static str, problem: impl FnOnce() -> String) -> Checked {
    match fits {
        true => Ok(()),
        false => Err(InvalidField::new(field, problem())),
    }
}

/// A text that is not empty.
pub(crate) fn required(field: &'static str, value: &str) -> Checked {
    ensure(!value.is_empty(), field, || {
        "is empty: wanted a value".to_owned()
    })
}

/// A required text of at most `max` characters.
pub(crate) fn required_up_to(field: &'static str, value: &str, max: usize) -> Checked {
    required(field, value)?;
    up_to(field, value, max)
}

/// An identifier that WeChat Pay assigned, such as an AppID, a merchant id or an openid: visible ASCII characters, at
/// most `max` of them. This excludes spaces, and also line breaks, which would start another line of the signed text.
pub(crate) fn id(field: &'static str, value: &str, max: usize) -> Checked {
    required_up_to(field, value, max)?;
    let is_allowed = |c: char| c.is_ascii_graphic();
    only(field, value, is_allowed, "visible ASCII characters only")
}

/// An optional identifier, see [`id`].
pub(crate) fn optional_id(field: &'static str, value: Option<&str>, max: usize) -> Checked {
    value.map_or(Ok(()), |value| id(field, value, max))
}

/// A list `field` of goods, each with a `merchant_goods_id` that is not empty.
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
    ensure(!value.starts_with("prepay_id="), "prepay_id", || {
        "starts with \"prepay_id=\": wanted the id alone, as the order returned it".to_owned()
    })?;
    id("prepay_id", value, max)
}

/// A text of at most `max` characters.
pub(crate) fn up_to(field: &'static str, value: &str, max: usize) -> Checked {
    // Every character has at least one byte, so a short text needs no count.
    let is_right = value.len() <= max || value.chars().count() <= max;
    ensure(is_right, field, || {
        let count = value.chars().count();
        format!("found {count} characters: wanted at most {max}")
    })
}

/// A text of at least `min` characters.
pub(crate) fn at_least(field: &'static str, value: &str, min: usize) -> Checked {
    let count = value.chars().count();
    ensure(count >= min, field, || {
        format!("found {count} characters: wanted at least {min}")
    })
}

/// A text of at most `max` bytes.
pub(crate) fn up_to_bytes(field: &'static str, value: &str, max: usize) -> Checked {
    let count = value.len();
    ensure(count <= max, field, || {
        format!("found {count} bytes: wanted at most {max}")
    })
}

/// A required text of ASCII digits and letters only, such as `out_contract_code`.
pub(crate) fn digits_and_letters(field: &'static str, value: &str) -> Checked {
    required(field, value)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric();
    only(field, value, is_allowed, "ASCII digits and letters only")
}

/// The `out_trade_no` of a new order: up to 32 ASCII digits, letters, `_`, `-` and `*`.
pub(crate) fn out_trade_no(value: &str) -> Checked {
    required_up_to("out_trade_no", value, 32)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-*".contains(c);
    let wanted = "ASCII digits, letters, '_', '-' and '*' only";
    only("out_trade_no", value, is_allowed, wanted)
}

/// An `out_refund_no`: up to 64 ASCII digits, letters, `_`, `-`, `|`, `*` and `@`.
pub(crate) fn out_refund_no(value: &str) -> Checked {
    required_up_to("out_refund_no", value, 64)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-|*@".contains(c);
    let wanted = "ASCII digits, letters, '_', '-', '|', '*' and '@' only";
    only("out_refund_no", value, is_allowed, wanted)
}

/// A text of allowed ASCII characters only.
fn only(
    field: &'static str,
    value: &str,
    is_allowed: impl Fn(char) -> bool,
    wanted: &str,
) -> Checked {
    ensure(consists_of(value, &is_allowed), field, || {
        let found = value.chars().find(|c| !is_allowed(*c)).unwrap_or_default();
        format!("found the character {found:?}: wanted {wanted}")
    })
}

/// A `time_expire`: a time in the form of RFC 3339, with or without a fraction of the second, of up to 64 characters.
/// WeChat Pay checks that the day and hour exist.
pub(crate) fn time_expire(value: &str) -> Checked {
    ensure(time::has_form_of_rfc_3339(value), "time_expire", || {
        let is_allowed = |c: char| c.is_ascii_digit() || "-T:.+Z".contains(c);
        let found = match value.is_empty() || !consists_of(value, is_allowed) {
            true => describe(value, is_allowed),
            false => format!("has no valid {}", wrong_part_of_time(value)),
        };
        format!("{found}: wanted a time like 2018-06-08T10:34:56+08:00")
    })?;
    up_to("time_expire", value, 64)
}

/// Returns the name of the first part of a time that does not have the form of RFC 3339.
fn wrong_part_of_time(value: &str) -> &'static str {
    let fits = |length, rest| {
        let start = value.get(..length).unwrap_or_default();
        time::has_form_of_rfc_3339(&format!("{start}{rest}"))
    };
    match (fits(10, "T00:00:00Z"), fits(19, "Z")) {
        (false, _) => "date",
        (true, false) => "time of day",
        (true, true) => "time zone after the seconds",
    }
}

/// A required text without characters of four UTF-8 bytes.
pub(crate) fn no_four_byte_characters(field: &'static str, value: &str) -> Checked {
    required(field, value)?;
    let found = value.chars().find(|c| c.len_utf8() > 3);
    ensure(found.is_none(), field, || {
        let (found, wanted) = (
            found.unwrap_or_default(),
            "characters of one to three bytes",
        );
        format!("found the character {found:?} of four UTF-8 bytes: wanted {wanted}")
    })
}

/// A contract's `notify_url`: HTTPS, with a host and a path, without a query, of at most `max` characters.
pub(crate) fn notify_url_with_path(value: &str, max: usize) -> Checked {
    let wanted = "an https:// URL with a host and a path, without a query";
    let path = path_of_notify_url(value, max, &["https"], wanted)?;
    ensure(!path.is_empty(), "notify_url", || {
        format!("found a URL without a path: wanted {wanted}")
    })
}

/// The `notify_url` of an order or a refund: HTTPS, with a host, without a query, of at most `max` characters.
pub(crate) fn notify_url(value: &str, max: usize) -> Checked {
    let wanted = "an https:// URL with a host, without a query";
    path_of_notify_url(value, max, &["https"], wanted).map(drop)
}

/// The `notify_url` of a partner's order: like [`notify_url`], or plain HTTP on a dedicated line.
pub(crate) fn partner_notify_url(value: &str, max: usize) -> Checked {
    let wanted = "an https:// URL with a host, without a query (http:// on a dedicated line)";
    path_of_notify_url(value, max, &["https", "http"], wanted).map(drop)
}

fn path_of_notify_url<'a>(
    value: &'a str,
    max: usize,
    schemes: &[&str],
    wanted: &str,
) -> Result<&'a str, InvalidField> {
    let path = path_of_url(value, schemes).map_err(|found| {
        InvalidField::new("notify_url", format!("found {found}: wanted {wanted}"))
    })?;
    up_to("notify_url", value, max)?;
    Ok(path)
}

/// Returns the path of a URL that has one of `schemes`, a host and no query. The error describes any other URL and
/// shows at most its wrong character, since a URL may hold a secret. User information and fragments are allowed, since
/// nothing is documented about them.
fn path_of_url<'a>(value: &'a str, schemes: &[&str]) -> Result<&'a str, String> {
    // Some parsers of URLs read a backslash as a slash.
    let is_allowed = |c: char| c.is_ascii_graphic() && c != '\\';
    if !consists_of(value, is_allowed) {
        let wrong = value.chars().find(|c| !is_allowed(*c)).unwrap_or_default();
        return Err(format!("a URL with the character {wrong:?}"));
    }
    let (scheme, rest) = value.split_once("://").ok_or("no URL")?;
    let is_scheme = |allowed: &&str| scheme.eq_ignore_ascii_case(allowed);
    if !schemes.iter().any(is_scheme) {
        return Err(format!("a URL that is not {}", schemes.join(" or ")));
    }
    let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
    if rest.contains('?') {
        return Err("a URL with a query".to_owned());
    }
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(slash).unwrap_or((rest, ""));
    let (_user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() || host.starts_with(':') {
        return Err("a URL without a host".to_owned());
    }
    Ok(path)
}
