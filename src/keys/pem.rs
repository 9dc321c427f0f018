//! Finds the only PEM block of an input, in the forms in which keys are commonly passed, or describes what was found
//! instead.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::der::{self, Reader};
use crate::error::KeyError;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// The accepted labels, and their description in an error.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    name: &'static str,
    labels: &'static [&'static str],
    wanted: &'static str,
}

pub(super) const PRIVATE_KEY: Kind = Kind {
    name: "private key",
    labels: &["PRIVATE KEY", "RSA PRIVATE KEY"],
    wanted: "the merchant's private key (apiclient_key.pem), BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY",
};

pub(super) const PUBLIC_KEY: Kind = Kind {
    name: "public key",
    labels: &["PUBLIC KEY", "RSA PUBLIC KEY"],
    wanted: "WeChat Pay's public key (pub_key.pem), BEGIN PUBLIC KEY or BEGIN RSA PUBLIC KEY (for a certificate, \
             PublicKey::from_certificate_pem)",
};

pub(super) const CERTIFICATE: Kind = Kind {
    name: "certificate",
    labels: &["CERTIFICATE"],
    wanted: "BEGIN CERTIFICATE (for a public key, PublicKey::from_pem)",
};

impl Kind {
    fn malformed(self, what: impl Into<String>) -> KeyError {
        KeyError::Malformed {
            key: self.name,
            what: what.into(),
        }
    }
}

/// Decodes the only block of the input. Its label must be of this kind. The content decides the format.
///
/// Also accepts unambiguous variations: line breaks and slashes escaped with backslashes, as in JSON and environment
/// variables, the base64 of a whole PEM file, as in a Kubernetes secret, and the base64 of a block without its BEGIN
/// and END lines.
pub(super) fn only_block(input: &[u8], kind: Kind) -> Result<Vec<u8>, KeyError> {
    let text = unescaped(input);
    if let Some(der) = labelled_block(&text, kind)? {
        return Ok(der);
    }
    let decoded = decode(bare(&text)).unwrap_or_default();
    if let Some(der) = labelled_block(&unescaped(&decoded), kind)? {
        return Ok(der);
    }
    if Reader::whole(der::SEQUENCE, &decoded).is_some() {
        return Ok(decoded);
    }
    Err(KeyError::NotPem {
        found: describe(input),
        wanted: kind.wanted,
    })
}

/// Removes escapes, nested ones too. A PEM block contains no backslash.
fn unescaped(input: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(input.len());
    let mut parts = input.split(|byte| *byte == b'\\');
    text.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        match *part {
            [b'n' | b'r', ref rest @ ..] => {
                text.push(b'\n');
                text.extend_from_slice(rest);
            }
            [] | [b'/' | b'\r' | b'\n', ..] => text.extend_from_slice(part),
            // The JSON escapes of '+', '=' and line breaks. No other character of base64 is usually escaped this way.
            [b'u', b'0', b'0', high, low, ref rest @ ..] => {
                let digits = [high, low];
                let hex = std::str::from_utf8(&digits).unwrap_or_default();
                text.push(u8::from_str_radix(hex, 16).unwrap_or(b'\\'));
                text.extend_from_slice(rest);
            }
            _ => {
                text.push(b'\\');
                text.extend_from_slice(part);
            }
        }
    }
    text
}

/// Returns `None` if there is no BEGIN line.
fn labelled_block(text: &[u8], kind: Kind) -> Result<Option<Vec<u8>>, KeyError> {
    let Some((label, rest)) = only_begin(text, kind)? else {
        return Ok(None);
    };
    let is_private = kind.name == PRIVATE_KEY.name;
    if is_private && label == "ENCRYPTED PRIVATE KEY" {
        return Err(KeyError::Encrypted);
    }
    if !kind.labels.contains(&label) {
        return Err(KeyError::WrongKind {
            found: label.to_owned(),
            wanted: kind.wanted,
        });
    }
    let body = body(rest, label).map_err(|what| kind.malformed(what))?;
    if is_private && find(body, b",ENCRYPTED").is_some() {
        return Err(KeyError::Encrypted);
    }
    decode(body)
        .map(Some)
        .ok_or_else(|| kind.malformed(not_base64(body)))
}

/// Returns the label of the only BEGIN line, and the text after it.
fn only_begin(text: &[u8], kind: Kind) -> Result<Option<(&str, &[u8])>, KeyError> {
    let mut begins: Vec<_> = begins(text).collect();
    if begins.len() > 1 {
        // `openssl ecparam -genkey` writes the curve before the key. The error should name the key.
        begins.retain(|(label, _)| *label != Some("EC PARAMETERS"));
    }
    match *begins.as_slice() {
        [] => Ok(None),
        [(Some(label), rest)] => Ok(Some((label, rest))),
        [(None, _)] => Err(kind.malformed("its BEGIN line is malformed")),
        [..] => {
            let labels = || begins.iter().map(|(label, _)| label.unwrap_or("malformed"));
            let mut of_kind = labels().filter(|label| kind.labels.contains(label));
            let keep = of_kind.next().filter(|_| of_kind.next().is_none());
            Err(KeyError::SeveralBlocks {
                found: labels().map(str::to_owned).collect(),
                keep: keep.map(str::to_owned),
                wanted: kind.wanted,
            })
        }
    }
}

/// Returns each BEGIN line's label, if it is well-formed, and the text after it.
fn begins(mut input: &[u8]) -> impl Iterator<Item = (Option<&str>, &[u8])> {
    std::iter::from_fn(move || {
        (_, input) = split_once(input, BEGIN)?;
        match split_once(input, DASHES) {
            Some((label, rest)) => Some((as_label(label), rest)),
            None => Some((None, input)),
        }
    })
}

/// Returns the text if it has only the characters of a label, so that no part of a key is mistaken for one and shown in
/// an error.
fn as_label(bytes: &[u8]) -> Option<&str> {
    let known = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    let label = std::str::from_utf8(bytes).ok()?;
    (label.len() <= 32 && bytes.iter().all(known)).then_some(label)
}

/// Returns the text before the END line. The BEGIN line was already removed.
fn body<'a>(rest: &'a [u8], label: &str) -> Result<&'a [u8], &'static str> {
    let (body, end) = split_once(rest, END).ok_or_else(|| match has_typographic_dashes(rest) {
        true => "its END line has typographic dashes in place of -----",
        false => "it has no END line",
    })?;
    let (end, _) = split_once(end, DASHES).ok_or("its END line is malformed")?;
    match end == label.as_bytes() {
        true => Ok(body),
        false => Err("its END line is of another kind than its BEGIN line"),
    }
}

/// Returns the text without a byte order mark, and without quotes and blanks around it.
fn bare(text: &[u8]) -> &[u8] {
    let is_around = |byte: &u8| byte.is_ascii_whitespace() || b"\"'".contains(byte);
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let start = text.iter().take_while(|byte| is_around(byte)).count();
    let text = text.get(start..).unwrap_or_default();
    let end = text.iter().rev().take_while(|byte| is_around(byte)).count();
    text.get(..text.len() - end).unwrap_or_default()
}

fn decode(base64: &[u8]) -> Option<Vec<u8>> {
    let mut base64 = base64.to_vec();
    base64.retain(|byte| !byte.is_ascii_whitespace());
    STANDARD.decode(base64).ok()
}

/// Describes invalid base64. Shows no base64 character, which may be part of a key.
fn not_base64(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let foreign =
        |c: &char| !c.is_ascii_alphanumeric() && !c.is_ascii_whitespace() && !"+/=".contains(*c);
    match text.chars().find(foreign) {
        Some(found) => format!("it is not valid base64, it has the character {found:?}"),
        None => "it is not valid base64, characters are missing or too many".to_owned(),
    }
}

/// Describes an input without a BEGIN line. Shows no part of it.
fn describe(input: &[u8]) -> &'static str {
    match std::str::from_utf8(bare(input)) {
        _ if is_utf16(input) => "UTF-16 text (save the file as UTF-8)",
        Ok("") => "an empty input",
        Ok(text) if !text.contains('\0') => describe_text(text),
        _ => "binary data, such as DER or PKCS#12",
    }
}

fn describe_text(text: &str) -> &'static str {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c) || c.is_whitespace();
    if has_typographic_dashes(text.as_bytes()) && text.contains("BEGIN") {
        "text with typographic dashes in place of -----BEGIN"
    } else if ["BEGIN%20", "BEGIN+"]
        .iter()
        .any(|start| text.contains(start))
    {
        "URL-encoded text"
    } else if text.contains("-----END ") {
        "text that has an END line but no BEGIN line"
    } else if text.contains("BEGIN ") {
        "text with a BEGIN line that does not start with five dashes"
    } else if text.starts_with("MI") && text.len() > 64 && text.chars().all(is_base64) {
        "damaged base64 without its BEGIN and END lines"
    } else if is_path(text) {
        "a file's name instead of its content (from_file and from_certificate_file read files)"
    } else if is_placeholder(text) {
        "a variable that was not replaced by its value"
    } else if text.starts_with('<') {
        "XML or HTML"
    } else if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        "32 letters and digits, as many as an APIv3 key has"
    } else {
        "text without a PEM block"
    }
}

/// Checks for UTF-16, in which every second byte of ASCII text is zero.
fn is_utf16(input: &[u8]) -> bool {
    let has_zeros_at = |odd: usize| {
        let every_second = input.iter().skip(odd).step_by(2);
        input.len() > 3 && every_second.take(32).all(|byte| *byte == 0)
    };
    let has_mark = input.starts_with(&[0xFF, 0xFE]) || input.starts_with(&[0xFE, 0xFF]);
    has_mark || has_zeros_at(0) != has_zeros_at(1)
}

/// Recognizes the dashes that text processors put in place of hyphens.
fn has_typographic_dashes(text: &[u8]) -> bool {
    let is_dash = |c: char| {
        matches!(
            c,
            '\u{AD}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' | '\u{FF0D}'
        )
    };
    String::from_utf8_lossy(text).contains(is_dash)
}

/// Recognizes `${NAME}`, `$NAME`, `{{ name }}`, `%NAME%`, `<name>`, `#{name}`, `@@NAME@@` and `YOUR_NAME`.
fn is_placeholder(text: &str) -> bool {
    let name = text.trim_matches(|c: char| "${}()<>%#@_ ".contains(c));
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || "_.:- ".contains(c);
    let is_marked = ["$", "{", "<", "%", "#{", "@@"]
        .iter()
        .any(|mark| text.starts_with(mark));
    let is_capital = text.contains('_') && text.to_ascii_uppercase() == text;
    text.len() <= 64
        && !name.is_empty()
        && name.chars().all(is_of_names)
        && (is_marked || is_capital)
}

/// Recognizes a short line with a slash, a backslash or a file extension.
fn is_path(text: &str) -> bool {
    let has_ending = || {
        let ending = text.rsplit_once('.').map_or("", |(_, ending)| ending);
        (2..=4).contains(&ending.len()) && ending.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let is_line = text.len() < 256 && !text.contains('\n') && !text.starts_with('<');
    is_line && (text.contains(['/', '\\']) || has_ending())
}

fn split_once<'a>(haystack: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (before, rest) = haystack.split_at_checked(find(haystack, needle)?)?;
    Some((before, rest.get(needle.len()..)?))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
