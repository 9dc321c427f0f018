//! Keys and certificates that cannot be read, or that conflict with one another.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

/// The reason why a key could not be read or used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// No PEM block was found.
    NotPem {
        /// The kind of block wanted.
        wanted: &'static str,
        /// A description of the input.
        found: &'static str,
    },
    /// The PEM block is of another kind.
    WrongKind {
        /// The label found after `BEGIN`.
        found: String,
        /// The kind of block wanted.
        wanted: &'static str,
    },
    /// More than one PEM block was found, so it is unclear which one is meant.
    SeveralBlocks {
        /// The labels found after `BEGIN`.
        found: Vec<String>,
        /// The label of the block to keep, if only one is of the kind wanted.
        keep: Option<String>,
        /// The kind of block wanted.
        wanted: &'static str,
    },
    /// The private key is encrypted with a passphrase.
    Encrypted,
    /// The PEM block is damaged, or its content is not what its label says.
    Malformed {
        /// The kind of key.
        key: &'static str,
        /// The defect.
        what: String,
    },
    /// The key is not an RSA key.
    NotRsa {
        /// The kind of key found.
        found: &'static str,
    },
    /// The size of the RSA key is not supported.
    UnsupportedSize {
        /// The size found, in bits.
        bits: usize,
        /// The sizes wanted, in bits.
        wanted: &'static str,
    },
    /// The public exponent of the RSA key is not supported.
    UnsupportedExponent {
        /// The exponents wanted.
        wanted: &'static str,
    },
    /// The id is not a valid id of a platform key. It is not shown, since it may be a key passed by mistake.
    InvalidId {
        /// A description of the id, without the id itself.
        found: String,
    },
    /// The APIv3 key is not 32 bytes long.
    ApiV3KeyLength {
        /// The length found, in bytes.
        bytes: usize,
        /// `true` if it ends with a line break, as the content of a file does.
        ends_with_line_break: bool,
    },
    /// The file of a key could not be read.
    UnreadableFile {
        /// The file's name.
        path: PathBuf,
        /// The operating system's error, or that the file is longer than 1 MiB.
        reason: String,
    },
    /// The content of a file is not the key wanted.
    InFile {
        /// The file's name.
        path: PathBuf,
        /// The error of the content.
        error: Box<Self>,
    },
    /// The path is not a file's name, and may be a key passed by mistake. It is not shown.
    NotAPath,
    /// The merchant's certificate and private key do not belong together.
    CertificateOfAnotherKey {
        /// The certificate's serial number.
        serial_no: String,
    },
    /// There is no platform key, so nothing could be verified.
    NoKeys,
    /// Two platform keys have the same id.
    DuplicateId {
        /// Their id.
        id: String,
    },
    /// One of the platform keys is the merchant's own: its id is the serial number of the merchant's certificate, or it
    /// is the merchant's public key. WeChat Pay signs the responses, so configure its public key or platform
    /// certificates.
    OwnKey {
        /// The id of the key.
        id: String,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPem { wanted, found } => write!(f, "found {found}: wanted {wanted}"),
            Self::WrongKind { found, wanted } => write!(f, "found BEGIN {found}: wanted {wanted}"),
            Self::SeveralBlocks { found, keep, wanted } => {
                // A bundle of certificates has hundreds.
                let (shown, rest) = found.split_at(found.len().min(10));
                let more = if rest.is_empty() { "" } else { ", …" };
                write!(f, "found {} PEM blocks ({}{more}): ", found.len(), shown.join(", "))?;
                match keep {
                    Some(label) => write!(f, "keep only BEGIN {label}"),
                    None => write!(f, "keep only one block (of a certificate chain, the first): wanted {wanted}"),
                }
            }
            Self::Encrypted => f.write_str(
                "the private key is encrypted with a passphrase: wanted an unencrypted PKCS#8 or PKCS#1 key",
            ),
            Self::Malformed { key, what } => write!(f, "the {key} cannot be read: {what}"),
            Self::NotRsa { found } => write!(f, "found {found}: wanted an RSA key"),
            Self::UnsupportedSize { bits, wanted } => write!(f, "found an RSA key of {bits} bits: wanted {wanted}"),
            Self::UnsupportedExponent { wanted } => {
                write!(f, "found an RSA key with an unsupported public exponent: wanted {wanted}")
            }
            Self::InvalidId { found } => write!(
                f,
                "found {found} in place of a key's id: wanted PUB_KEY_ID_ and digits, as shown beside the key in the \
                 merchant platform, or a certificate's serial number in hexadecimal"
            ),
            Self::ApiV3KeyLength { bytes, ends_with_line_break } => {
                write!(f, "found an APIv3 key of {bytes} bytes: wanted exactly 32")?;
                match ends_with_line_break {
                    true => f.write_str("; it ends with a line break"),
                    false => Ok(()),
                }
            }
            Self::UnreadableFile { path, reason } => write!(f, "{path:?}: {reason}"),
            Self::InFile { path, error } => write!(f, "{path:?}: {error}"),
            Self::NotAPath => f.write_str(
                "found a key in place of a file's name: wanted a name (from_pem and from_certificate_pem take the content)",
            ),
            Self::CertificateOfAnotherKey { serial_no } => write!(
                f,
                "the certificate {serial_no} belongs to another private key: wanted apiclient_cert.pem and \
                 apiclient_key.pem of the same merchant, issued together"
            ),
            Self::NoKeys => f.write_str("found no platform key: wanted at least one"),
            Self::DuplicateId { id } => {
                write!(f, "found two platform keys with the id {id}: wanted each once")
            }
            Self::OwnKey { id } => write!(
                f,
                "the platform key {id} is the merchant's own: wanted WeChat Pay's public key or certificate as \
                 platform key, and the serial number of the merchant's certificate in the signer"
            ),
        }
    }
}

impl StdError for KeyError {}
