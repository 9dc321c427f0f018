//! The ids of platform keys, and the serial numbers of certificates.

use crate::error::KeyError;

/// Returns the id of a platform key in the form that is sent, or an error that does not show it. Headers and errors
/// contain ids, so a key that was passed as an id by mistake must be refused.
pub(super) fn checked_id(id: &str) -> Result<String, KeyError> {
    const MAX_LEN: usize = 64;
    let is_key_id = id.len() <= MAX_LEN
        && id.strip_prefix("PUB_KEY_ID_").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
    match is_key_id {
        true => Ok(id.to_owned()),
        false => serial_number(id).map_err(|found| KeyError::InvalidId { found }),
    }
}

/// Returns the serial number of a certificate in the form that is sent: upper-case hexadecimal, two digits a byte,
/// without leading zero bytes. The error is a description of a text that is no serial number. It shows at most one
/// character of the text, which may be a secret passed by mistake.
pub(crate) fn serial_number(text: &str) -> Result<String, String> {
    if let Some(found) = mistaken(text) {
        return Err(found.to_owned());
    }
    if let Some(found) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("the character {found:?}"));
    }
    let digits = whole_bytes(text);
    match digits.len() {
        // The digits of 20 bytes, the longest serial number that RFC 5280 allows.
        ..=40 => Ok(digits),
        _ => Err(format!("{} digits", text.len())),
    }
}

/// Returns hexadecimal digits in upper case, two digits a byte, without leading zero bytes.
pub(super) fn whole_bytes(hex: &str) -> String {
    let digits = significant(hex).to_ascii_uppercase();
    let len = digits.len().next_multiple_of(2).max(2);
    format!("{digits:0>len$}")
}

/// Describes a value that is commonly passed instead of a serial number.
fn mistaken(text: &str) -> Option<&'static str> {
    let starts_with = |start: &str| {
        text.get(..start.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(start))
    };
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_alphanumeric = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match text.len() {
        0 => Some("nothing"),
        _ if text.trim() != text => Some("spaces or line breaks around a value"),
        _ if text.contains("-----") => Some("PEM text"),
        _ if starts_with("pub_key_id") => Some("a malformed or misplaced PUB_KEY_ID_"),
        _ if starts_with("serial") => Some("a label such as serial= in front of a value"),
        _ if starts_with("0x") => Some("0x in front of a value"),
        32 if is_alphanumeric => Some("32 letters and digits, as many as an APIv3 key has"),
        34 if is_decimal => Some("34 digits, as a public key's id has behind PUB_KEY_ID_"),
        _ => None,
    }
}

/// Checks whether two ids name the same key. Serial numbers match in either case and with leading zeros. Ids of public
/// keys must be equal.
pub(crate) fn is_same_id(one: &str, other: &str) -> bool {
    one == other
        || (significant(one).eq_ignore_ascii_case(significant(other))
            && is_serial_number(one)
            && is_serial_number(other))
}

/// Checks whether an id can be the serial number of a certificate.
pub(crate) fn is_serial_number(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn significant(serial_number: &str) -> &str {
    serial_number.trim_start_matches('0')
}
