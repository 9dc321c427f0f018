//! The one PEM block of an input, or an error that says what was found in its place.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::KeyError;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// The labels that are wanted, and how an error says so.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    labels: &'static [&'static str],
    wanted: &'static str,
    is_private: bool,
}

pub(super) const PRIVATE_KEY: Kind = Kind {
    labels: &["PRIVATE KEY", "RSA PRIVATE KEY"],
    wanted: "the merchant's private key (apiclient_key.pem), BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY",
    is_private: true,
};

pub(super) const PUBLIC_KEY: Kind = Kind {
    labels: &["PUBLIC KEY", "RSA PUBLIC KEY"],
    wanted: "WeChat Pay's public key (pub_key.pem), BEGIN PUBLIC KEY or BEGIN RSA PUBLIC KEY (for a certificate, \
             PublicKey::from_certificate_pem)",
    is_private: false,
};

pub(super) const CERTIFICATE: Kind = Kind {
    labels: &["CERTIFICATE"],
    wanted: "BEGIN CERTIFICATE (for a public key, PublicKey::from_pem)",
    is_private: false,
};

pub(super) struct Block {
    /// One of the kind's labels.
    pub(super) label: &'static str,
    pub(super) der: Vec<u8>,
}

/// Decodes the block of this kind, which must be the only one of the input.
pub(super) fn only_block(input: &[u8], kind: Kind) -> Result<Block, KeyError> {
    let (label, rest) = only_begin(input, kind)?;
    if kind.is_private && label == "ENCRYPTED PRIVATE KEY" {
        return Err(KeyError::Encrypted);
    }
    let Some(&label) = kind.labels.iter().find(|known| **known == label) else {
        return Err(KeyError::WrongKind {
            found: label.to_owned(),
            wanted: kind.wanted,
        });
    };
    let body = body(rest, label)?;
    if kind.is_private && find(body, b",ENCRYPTED").is_some() {
        return Err(KeyError::Encrypted);
    }
    let der = decode(body)?;
    Ok(Block { label, der })
}

/// The label of the only BEGIN line, and what follows it.
fn only_begin(input: &[u8], kind: Kind) -> Result<(&str, &[u8]), KeyError> {
    let mut begins: Vec<_> = begins(input).collect();
    if begins.len() > 1 {
        // `openssl ecparam -genkey` puts the curve before the key; the key is the better thing to name.
        begins.retain(|(label, _)| *label != Some("EC PARAMETERS"));
    }
    match *begins.as_slice() {
        [(Some(label), rest)] => Ok((label, rest)),
        [(None, _)] => Err(KeyError::Malformed {
            what: "the PEM block has a malformed BEGIN line",
        }),
        [] => Err(KeyError::NotPem {
            wanted: kind.wanted,
            found: describe(input),
        }),
        [..] => Err(KeyError::SeveralBlocks {
            count: begins.len(),
        }),
    }
}

/// For each BEGIN line its label, if that is well-formed, and what follows.
fn begins(mut input: &[u8]) -> impl Iterator<Item = (Option<&str>, &[u8])> {
    std::iter::from_fn(move || {
        (_, input) = split_once(input, BEGIN)?;
        match split_once(input, DASHES) {
            Some((label, rest)) => Some((as_label(label), rest)),
            None => Some((None, input)),
        }
    })
}

/// Restricted to what labels are made of, so that no part of a key is taken for one and shown in an error.
fn as_label(bytes: &[u8]) -> Option<&str> {
    let known = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    let label = std::str::from_utf8(bytes).ok()?;
    (label.len() <= 32 && bytes.iter().all(known)).then_some(label)
}

/// What is between the BEGIN line, which is already gone, and the END line.
fn body<'a>(rest: &'a [u8], label: &str) -> Result<&'a [u8], KeyError> {
    let malformed = |what| KeyError::Malformed { what };
    let (body, end) =
        split_once(rest, END).ok_or_else(|| malformed("the PEM block has no END line"))?;
    let (end, _) = split_once(end, DASHES)
        .ok_or_else(|| malformed("the PEM block has a malformed END line"))?;
    match end == label.as_bytes() {
        true => Ok(body),
        false => Err(malformed(
            "the PEM block has an END line of another kind than its BEGIN line",
        )),
    }
}

fn decode(body: &[u8]) -> Result<Vec<u8>, KeyError> {
    let malformed = |what| KeyError::Malformed { what };
    if body.contains(&b'\\') {
        return Err(malformed(
            "the PEM block has backslashes in place of line breaks",
        ));
    }
    let mut text = body.to_vec();
    text.retain(|byte| !byte.is_ascii_whitespace());
    STANDARD
        .decode(text)
        .map_err(|_| malformed("the PEM block is not valid base64"))
}

/// What an input without a BEGIN line looks like.
fn describe(input: &[u8]) -> &'static str {
    let text = input.trim_ascii();
    let is_base64 = |byte: &u8| {
        byte.is_ascii_alphanumeric() || b"+/=".contains(byte) || byte.is_ascii_whitespace()
    };
    if text.is_empty() {
        "an empty input"
    } else if input.starts_with(&[0xFF, 0xFE]) || input.starts_with(&[0xFE, 0xFF]) {
        "UTF-16 text"
    } else if find(text, END).is_some() {
        "text that has an END line but no BEGIN line"
    } else if text.starts_with(b"MI") && text.iter().all(is_base64) {
        "base64 without its BEGIN and END lines"
    } else if text.ends_with(b".pem") && !text.contains(&b'\n') {
        "a file's name instead of its content"
    } else if std::str::from_utf8(text).is_ok_and(|text| !text.contains('\0')) {
        "text"
    } else {
        "binary data, such as DER or PKCS#12"
    }
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
