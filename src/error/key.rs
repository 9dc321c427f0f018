//! Keys and certificates that cannot be read, or that conflict with one another.

use std::error::Error as StdError;
use std::fmt;

/// The reason why a key could not be read or used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// No PEM block was found.
    NotPem {
        /// The kind of block wanted.
        wanted: &'static str,
        /// What the input looks like instead.
        found: &'static str,
    },
    /// The PEM block is of another kind.
    WrongKind {
        /// The label found after `BEGIN`.
        found: String,
        /// The kind of block wanted.
        wanted: &'static str,
    },
    /// More than one PEM block was found, so that it is not certain which one is meant.
    SeveralBlocks {
        /// How many were found.
        count: usize,
    },
    /// The private key is encrypted with a passphrase.
    Encrypted,
    /// The PEM block is damaged, or what is in it is not of its kind.
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The key is of another algorithm than RSA.
    NotRsa {
        /// The kind of key found.
        found: &'static str,
    },
    /// The RSA key is of a size that is not supported.
    UnsupportedSize {
        /// The size found, in bits.
        bits: usize,
        /// The sizes wanted, in bits.
        wanted: &'static str,
    },
    /// The RSA key has a public exponent that is not supported.
    UnsupportedExponent {
        /// The exponents wanted.
        wanted: &'static str,
    },
    /// What was given as the id of a public key cannot be one. It is not shown: it may be a key in the wrong place.
    InvalidId {
        /// Its length, in bytes.
        bytes: usize,
        /// The first character that no id has, if there is one.
        character: Option<char>,
    },
    /// The APIv3 key is not of 32 bytes.
    ApiV3KeyLength {
        /// The length found, in bytes.
        bytes: usize,
        /// Whether what was found ends with a line break, as the content of a file does.
        ends_with_line_break: bool,
    },
    /// There is no platform key, so that nothing could be verified.
    NoKeys,
    /// Two platform keys have the same id.
    DuplicateId {
        /// Their id.
        id: String,
    },
    /// The merchant's own certificate is among the platform keys. Responses are signed by WeChat Pay: configure its public
    /// key or platform certificates.
    OwnCertificate {
        /// Its serial number.
        serial_no: String,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPem { wanted, found } => write!(f, "no PEM block found in {found}: wanted {wanted}"),
            Self::WrongKind { found, wanted } => write!(f, "found BEGIN {found}: wanted {wanted}"),
            Self::SeveralBlocks { count } => write!(f, "found {count} PEM blocks: wanted exactly one"),
            Self::Encrypted => f.write_str(
                "the private key is encrypted with a passphrase: wanted an unencrypted PKCS#8 or PKCS#1 key",
            ),
            Self::Malformed { what } => write!(f, "the key cannot be read: {what}"),
            Self::NotRsa { found } => write!(f, "found {found}: wanted an RSA key"),
            Self::UnsupportedSize { bits, wanted } => write!(f, "found an RSA key of {bits} bits: wanted {wanted}"),
            Self::UnsupportedExponent { wanted } => {
                write!(f, "found an RSA key with an unsupported public exponent: wanted {wanted}")
            }
            Self::InvalidId { bytes, character } => {
                write!(f, "found a key id of {bytes} bytes")?;
                match character {
                    Some(character) => write!(f, " with the character {character:?}")?,
                    None if *bytes == 32 => f.write_str(", as many as an APIv3 key has")?,
                    None => {}
                }
                f.write_str(
                    ": wanted the one shown beside the key in the merchant platform, PUB_KEY_ID_ and digits, or a \
                     certificate's serial number in hexadecimal",
                )
            }
            Self::ApiV3KeyLength { bytes, ends_with_line_break } => {
                write!(f, "found an APIv3 key of {bytes} bytes: wanted exactly 32")?;
                match ends_with_line_break {
                    true => f.write_str("; it ends with a line break"),
                    false => Ok(()),
                }
            }
            Self::NoKeys => f.write_str(
                "found no platform key: wanted at least one, or nothing could be verified",
            ),
            Self::DuplicateId { id } => {
                write!(f, "found two platform keys with the id {id}: wanted each once")
            }
            Self::OwnCertificate { serial_no } => write!(
                f,
                "found the merchant's own certificate {serial_no} among the platform keys: wanted WeChat Pay's public \
                 key or platform certificate, since responses are signed by WeChat Pay"
            ),
        }
    }
}

impl StdError for KeyError {}
