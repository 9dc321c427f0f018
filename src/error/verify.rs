//! Failed verification of a message.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::Shown;

/// The reason why a message was not accepted as WeChat Pay's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// A header is missing or empty. A message without the signature headers counts as forged.
    MissingHeader {
        /// The header's name.
        name: &'static str,
    },
    /// A header occurs more than once, so it is unclear which one was signed.
    DuplicateHeader {
        /// The header's name.
        name: &'static str,
    },
    /// A header's value is malformed.
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
    /// The message's timestamp is 300 seconds or more in the past or in the future. Check this machine's clock.
    Stale {
        /// The message's timestamp, in Unix seconds.
        timestamp: u64,
        /// The time of the check, in Unix seconds.
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
    /// A probe signature, which starts with `WECHATPAY/SIGNTEST/`. WeChat Pay sends it to test that it is refused. The
    /// message is refused like any forged one, but needs no alarm.
    Probe,
    /// The signature does not match the message and the key.
    WrongSignature {
        /// The id of the key with which the signature was checked.
        key_id: String,
        /// What to check first.
        check: &'static str,
    },
}

impl VerifyError {
    /// Returns `true` if this is a probe signature of WeChat Pay's, which needs no alarm.
    pub fn is_probe(&self) -> bool {
        matches!(self, Self::Probe)
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingHeader { name } => write!(f, "header {name} is missing or empty"),
            Self::DuplicateHeader { name } => write!(f, "header {name} came more than once"),
            Self::MalformedHeader { name, wanted } => {
                write!(f, "header {name} is malformed: wanted {wanted}")
            }
            Self::UnsupportedSignatureType { found } => write!(
                f,
                "signature type \"{}\" is not supported: wanted WECHATPAY2-SHA256-RSA2048",
                Shown::id(found)
            ),
            Self::Stale { timestamp, now } => write!(
                f,
                "the message's time {timestamp} and this clock's {now} differ by {:?}: wanted less than 300s",
                Duration::from_secs(timestamp.abs_diff(*now))
            ),
            Self::UnknownSerial { received, known } => {
                let known = match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                };
                write!(
                    f,
                    "signed with the unknown platform key \"{}\", known: {known}",
                    Shown::id(received)
                )
            }
            Self::OutsideValidity {
                serial,
                not_before,
                not_after,
                now,
            } => write!(
                f,
                "signed with platform certificate {}, valid from {not_before} to {not_after}, but now it is {now}",
                Shown::id(serial)
            ),
            Self::Probe => {
                f.write_str("a probe signature of WeChat Pay's, refused like any wrong signature")
            }
            Self::WrongSignature { key_id, check } => {
                write!(
                    f,
                    "the signature is wrong for platform key {key_id}: {check}"
                )
            }
        }
    }
}

impl StdError for VerifyError {}
