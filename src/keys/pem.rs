//! Finds the only PEM block of an input, in the forms in which keys are commonly passed, or describes what was found
//! instead.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::der;
use crate::error::KeyError;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// Stands for the label of a malformed BEGIN line.
const MALFORMED: &str = "malformed";

/// A kind of key: its PEM labels, and what an error says is wanted.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
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
    pub(super) fn is_private(self) -> bool {
        self.name == PRIVATE_KEY.name
    }

    pub(super) fn malformed(self, what: impl Into<String>) -> KeyError {
        KeyError::Malformed {
            key: self.name,
            what: what.into(),
        }
    }
}

/// Decodes the only block of the input. Its label must be of this kind. The caller reads the format, such as PKCS#1 or
/// PKCS#8, from the content, not from the label.
///
/// Also accepts these variations, since they are unambiguous:
///
/// - Line breaks and slashes escaped with backslashes, as in JSON and environment variables.
/// - The base64 of a whole PEM file, as in a Kubernetes secret.
/// - The base64 of a block without its BEGIN and END lines.
pub(super) fn only_block(input: &[u8], kind: Kind) -> Result<Vec<u8>, KeyError> {
    let text = unescaped(input);
    if let Some(der) = labelled_block(&text, kind)? {
        return Ok(der);
    }
    let decoded = decode(bare(&text)).unwrap_or_default();
    if let Some(der) = labelled_block(&unescaped(&decoded), kind)? {
        return Ok(der);
    }
    match der::first(&decoded) {
        Some(((der::SEQUENCE, _), [])) => Ok(decoded),
        _ => Err(KeyError::NotPem {
            found: describe(input),
            wanted: kind.wanted,
        }),
    }
}

/// Decodes escapes, nested ones too. They are unambiguous, since a PEM block contains no backslash.
fn unescaped(input: &[u8]) -> String {
    let input = String::from_utf8_lossy(input);
    let mut parts = input.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.strip_prefix(['n', 'r']) {
            Some(rest) => (Some('\n'), rest),
            None if part.is_empty() || part.starts_with(['/', '\r', '\n']) => (None, part),
            None => json_escape(part).unwrap_or((Some('\\'), part)),
        };
        text.extend(escaped);
        text.push_str(rest);
    }
    text
}

/// Reads a JSON escape `u00XX`. Some JSON encoders write '+', '=' or line breaks this way.
fn json_escape(part: &str) -> Option<(Option<char>, &str)> {
    let (code, rest) = part.strip_prefix("u00")?.split_at_checked(2)?;
    let byte = u8::from_str_radix(code, 16).ok();
    // The number may not have a sign.
    let byte = byte.filter(|_| !code.starts_with('+'))?;
    Some((Some(byte.into()), rest))
}

/// Returns `None` if there is no BEGIN line.
fn labelled_block(text: &str, kind: Kind) -> Result<Option<Vec<u8>>, KeyError> {
    let (label, rest) = match blocks(text)[..] {
        [] => return Ok(None),
        [(MALFORMED, _)] => return Err(kind.malformed("its BEGIN line is malformed")),
        [block] => block,
        ref blocks => return Err(several(blocks, kind)),
    };
    if kind.is_private() && label == "ENCRYPTED PRIVATE KEY" {
        return Err(KeyError::Encrypted);
    }
    if !kind.labels.contains(&label) {
        return Err(KeyError::WrongKind {
            found: label.to_owned(),
            wanted: kind.wanted,
        });
    }
    let body = body(rest, label).map_err(|what| kind.malformed(what))?;
    if kind.is_private() && body.contains(",ENCRYPTED") {
        return Err(KeyError::Encrypted);
    }
    decode(body)
        .map(Some)
        .ok_or_else(|| kind.malformed(not_base64(body)))
}

/// Returns the label of each BEGIN line, and the text after it.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let starts = text.split(BEGIN).skip(1);
    let mut blocks: Vec<_> = starts
        .map(|start| match start.split_once(DASHES) {
            Some((label, rest)) if is_label(label) => (label, rest),
            _ => (MALFORMED, ""),
        })
        .collect();
    if blocks.len() > 1 {
        // `openssl ecparam -genkey` writes the curve before the key. The error should name the key.
        blocks.retain(|(label, _)| *label != "EC PARAMETERS");
    }
    blocks
}

/// Checks for the characters of a label, so that no part of a key is mistaken for one and shown in an error.
fn is_label(text: &str) -> bool {
    let known = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ';
    text.len() <= 32 && text.chars().all(known)
}

fn several(blocks: &[(&str, &str)], kind: Kind) -> KeyError {
    let labels = || blocks.iter().map(|(label, _)| *label);
    let mut of_kind = labels().filter(|label| kind.labels.contains(label));
    let keep = of_kind.next().filter(|_| of_kind.next().is_none());
    KeyError::SeveralBlocks {
        found: labels().map(str::to_owned).collect(),
        keep: keep.map(str::to_owned),
        wanted: kind.wanted,
    }
}

/// Returns the text before the END line. The BEGIN line was already removed.
fn body<'a>(rest: &'a str, label: &str) -> Result<&'a str, &'static str> {
    match rest.split_once(END) {
        Some((body, end)) => match end.split_once(DASHES) {
            Some((end, _)) if end == label => Ok(body),
            Some(_) => Err("its END line is of another kind than its BEGIN line"),
            None => Err("its END line is malformed"),
        },
        None if has_typographic_dashes(rest) => {
            Err("its END line has typographic dashes in place of -----")
        }
        None => Err("it has no END line"),
    }
}

/// Returns the text without a byte order mark, and without quotes and blanks around it.
fn bare(text: &str) -> &str {
    let text = text.trim_start_matches('\u{feff}');
    text.trim_matches(|c: char| c.is_ascii_whitespace() || "\"'".contains(c))
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    let base64: String = base64.split_ascii_whitespace().collect();
    STANDARD.decode(base64).ok()
}

/// Describes invalid base64. Shows no base64 character, which may be part of a key.
fn not_base64(body: &str) -> String {
    let is_foreign = |c: &char| !is_base64(*c);
    match body.chars().find(is_foreign) {
        Some(found) => format!("it is not valid base64, it has the character {found:?}"),
        None => "it is not valid base64, characters are missing or too many".to_owned(),
    }
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "+/=".contains(c)
}

/// Describes an input without a BEGIN line. Shows no part of it.
fn describe(input: &[u8]) -> &'static str {
    match std::str::from_utf8(input).map(bare) {
        _ if is_utf16(input) => "UTF-16 text (save the file as UTF-8)",
        Ok("") => "an empty input",
        Ok(text) if !text.contains('\0') => describe_text(text),
        _ => "binary data, such as DER or PKCS#12",
    }
}

fn describe_text(text: &str) -> &'static str {
    let has = |part: &str| text.contains(part);
    match text.len() {
        _ if has("BEGIN") && has_typographic_dashes(text) => {
            "text with typographic dashes in place of ----- before BEGIN"
        }
        _ if has("BEGIN%20") || has("BEGIN+") => "URL-encoded text",
        _ if has("-----END ") => "text that has an END line but no BEGIN line",
        _ if has("BEGIN ") => "text with a BEGIN line that does not start with five dashes",
        65.. if text.starts_with("MI") && text.chars().all(is_base64) => {
            "damaged base64 without its BEGIN and END lines"
        }
        _ if is_path(text) => {
            "a file's name instead of its content (from_file and from_certificate_file read files)"
        }
        _ if is_placeholder(text) => "a variable that was not replaced by its value",
        _ if text.starts_with('<') => "XML or HTML",
        32 if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            "32 letters and digits, as many as an APIv3 key has"
        }
        _ => "text without a PEM block",
    }
}

/// Checks for UTF-16 by its byte order mark, or by the zeros in its first two ASCII characters.
fn is_utf16(input: &[u8]) -> bool {
    matches!(
        input,
        [0xFF, 0xFE, ..]
            | [0xFE, 0xFF, ..]
            | [0, 1..=0x7F, 0, 1..=0x7F, ..]
            | [1..=0x7F, 0, 1..=0x7F, 0, ..]
    )
}

/// Recognizes the dashes that text processors put in place of hyphens.
fn has_typographic_dashes(text: &str) -> bool {
    text.contains(|c| {
        matches!(
            c,
            '\u{AD}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' | '\u{FF0D}'
        )
    })
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
