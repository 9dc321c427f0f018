//! Why a message was not taken for WeChat Pay's.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// Why a message's signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// A header is missing. A message without these headers counts as forged.
    MissingHeader {
        /// The header's name.
        name: &'static str,
    },
    /// A header came more than once, so that it is not certain which one was signed.
    DuplicateHeader {
        /// The header's name.
        name: &'static str,
    },
    /// A header's value is not of its form.
    MalformedHeader {
        /// The header's name.
        name: &'static str,
        /// What is wanted.
        wanted: &'static str,
    },
    /// `Wechatpay-Signature-Type` names a scheme other than `WECHATPAY2-SHA256-RSA2048`.
    UnsupportedSignatureType {
        /// The scheme named.
        found: String,
    },
    /// The message is too old, or from the future, by 300 seconds or more. Check this machine's clock.
    Stale {
        /// The message's own time, in Unix seconds.
        timestamp: u64,
        /// The time it was compared with, in Unix seconds.
        now: u64,
    },
    /// The message is signed with a key that the verifier does not hold.
    UnknownSerial {
        /// `Wechatpay-Serial` of the message.
        received: String,
        /// The ids of the keys that the verifier holds.
        known: Vec<String>,
    },
    /// The message is signed with a certificate that is not valid now.
    OutsideValidity {
        /// The certificate's serial number.
        serial: String,
        /// First second of validity, in Unix seconds.
        not_before: u64,
        /// Last second of validity, in Unix seconds.
        not_after: u64,
        /// The time of the check, in Unix seconds.
        now: u64,
    },
    /// WeChat Pay's own probe, a signature that starts with `WECHATPAY/SIGNTEST/`, which must be refused. The message
    /// is refused like any forged one, but there is no need for an alarm.
    Probe,
    /// The signature does not belong to the message and the key.
    WrongSignature,
}

impl VerifyError {
    /// Whether this is WeChat Pay's own probe, so that alarms can stay quiet.
    pub fn is_probe(&self) -> bool {
        matches!(self, Self::Probe)
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingHeader { name } => write!(f, "header {name} is missing"),
            Self::DuplicateHeader { name } => write!(f, "header {name} came more than once"),
            Self::MalformedHeader { name, wanted } => {
                write!(f, "header {name} is malformed: wanted {wanted}")
            }
            Self::UnsupportedSignatureType { found } => write!(
                f,
                "signature type {found:?} is not supported: wanted WECHATPAY2-SHA256-RSA2048"
            ),
            Self::Stale { timestamp, now } => write!(
                f,
                "the message's time {timestamp} and this clock's {now} differ by {:?}, the limit is under 300s",
                Duration::from_secs(timestamp.abs_diff(*now))
            ),
            Self::UnknownSerial { received, known } => {
                write!(
                    f,
                    "signed with the unknown platform key {received:?}; known: {}",
                    known.join(", ")
                )
            }
            Self::OutsideValidity {
                serial,
                not_before,
                not_after,
                now,
            } => write!(
                f,
                "signed with platform certificate {serial}, valid from {not_before} to {not_after}, but now it is {now}"
            ),
            Self::Probe => {
                f.write_str("a signature probe by WeChat Pay, to be refused like a wrong signature")
            }
            Self::WrongSignature => f.write_str("the signature is wrong"),
        }
    }
}

impl StdError for VerifyError {}
