//! Why downloaded platform certificates were not taken over.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

#[cfg(feature = "client")]
use super::Outcome;
use super::{ApiError, Error, InvalidField, KeyError, VerifyError};

/// Why the platform certificates could not be downloaded or taken over. The keys held until then are kept, and nothing
/// is taken over from a list of which a part is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateError {
    /// There was no answer, or another error than [`NoCertificates`](Self::NoCertificates). See the source; the next
    /// attempt is made by itself, a minute later at the earliest.
    Download(Box<Error>),
    /// WeChat Pay has no platform certificates for this merchant (HTTP 404 `RESOURCE_NOT_EXISTS`, or an empty list): it
    /// has the WeChat Pay public key 微信支付公钥. Configure that key with
    /// [`PublicKey::from_pem`](crate::PublicKey::from_pem): its id `PUB_KEY_ID_…` and the file `pub_key.pem` are in the
    /// merchant platform under account center, API security (账户中心 › API安全 › 微信支付公钥).
    NoCertificates {
        /// What WeChat Pay answered. With an empty list the status is 200, and there is no code.
        answer: Box<ApiError>,
        /// The key that the answer says it is signed with, if that is a WeChat Pay public key: probably the one to
        /// configure. Not verified when the key is not held.
        public_key_id: Option<String>,
    },
    /// The list's own signature could not be verified, neither with a certificate in it nor with a key held.
    Unverified {
        /// `Request-ID` of the answer, if it had one.
        request_id: Option<String>,
        /// Why the answer was not accepted.
        source: VerifyError,
    },
    /// The answer is not a list of encrypted certificates.
    Malformed {
        /// What was found where, and what is wanted.
        problem: String,
    },
    /// A certificate of the list does not decrypt: the APIv3 key is not the one set in the merchant platform, or the
    /// list was altered.
    Undecryptable {
        /// The serial number that the list gives it.
        serial_no: String,
    },
    /// What decrypts is not a platform certificate.
    Unreadable {
        /// The serial number that the list gives it.
        serial_no: String,
        /// Why it could not be read.
        source: KeyError,
    },
    /// The list's serial number is not the certificate's.
    SerialMismatch {
        /// The serial number in the list.
        listed: String,
        /// The serial number in the certificate.
        certificate: String,
    },
    /// A time in the list is not the certificate's: `effective_time` is another one, or `expire_time` a later one. An
    /// earlier `expire_time` is documented for a certificate that is being replaced.
    ValidityMismatch {
        /// The certificate's serial number.
        serial_no: String,
        /// `effective_time` or `expire_time`.
        field: &'static str,
        /// The time in the list, in Unix seconds.
        listed: u64,
        /// The time in the certificate, in Unix seconds.
        certificate: u64,
    },
    /// Two certificates of the list have the same serial number.
    DuplicateSerial {
        /// The serial number.
        serial_no: String,
    },
    /// None of the certificates that the list has is valid now. Check this machine's clock.
    NoneValid {
        /// How many certificates the list has.
        listed: usize,
        /// The time of the check, in Unix seconds.
        now: u64,
    },
    /// The merchant's own certificate is in the list. Answers are signed by WeChat Pay.
    OwnCertificate(InvalidField),
    /// Another thread's download was waited for, and has not ended in the time that a call may take. Find out what
    /// holds it up, such as the look-up of the host's name; it may still succeed.
    StillRunning {
        /// How long it was waited for.
        waited: Duration,
    },
}

impl CertificateError {
    /// What became of the download itself, as opposed to the call that needs it.
    #[cfg(feature = "client")]
    pub(crate) fn outcome_of_download(&self) -> Outcome {
        match self {
            Self::Download(error) => error.outcome(),
            Self::NoCertificates { answer, .. } => answer.outcome(),
            // Never the end of an exchange: this thread sent nothing.
            Self::StillRunning { .. } => Outcome::NotSent,
            // It was answered, but not with a list to be taken over.
            _ => Outcome::Unknown,
        }
    }

    /// `Request-ID` of the answer, which WeChat Pay's support asks for; absent when there was none.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Download(error) => error.request_id(),
            Self::NoCertificates { answer, .. } => answer.request_id.as_deref(),
            Self::Unverified { request_id, .. } => request_id.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Download(_) => f.write_str("the download of the platform certificates failed"),
            Self::NoCertificates {
                answer,
                public_key_id,
            } => {
                let status = answer.status;
                let id = public_key_id.as_deref().unwrap_or("PUB_KEY_ID_…");
                write!(
                    f,
                    "this merchant has no platform certificates (HTTP {status}): configure the WeChat Pay public key, \
                     id {id} and file pub_key.pem, from the merchant platform (账户中心 › API安全 › 微信支付公钥)"
                )
            }
            Self::Unverified { .. } => {
                f.write_str("the list of platform certificates could not be verified")
            }
            Self::Malformed { problem } => {
                write!(
                    f,
                    "the list of platform certificates is malformed: {problem}"
                )
            }
            Self::Undecryptable { serial_no } => write!(
                f,
                "platform certificate {serial_no:?} of the list does not decrypt: the APIv3 key is not the one set in \
                 the merchant platform, or the list was altered"
            ),
            Self::Unreadable { serial_no, .. } => write!(
                f,
                "what the list gives as platform certificate {serial_no:?} is not one"
            ),
            Self::SerialMismatch {
                listed,
                certificate,
            } => write!(
                f,
                "the list gives the platform certificate {certificate} the serial_no {listed:?}"
            ),
            Self::ValidityMismatch {
                serial_no,
                field,
                listed,
                certificate,
            } => write!(
                f,
                "the list gives platform certificate {serial_no} the {field} {listed}, but in the certificate it is \
                 {certificate}"
            ),
            Self::DuplicateSerial { serial_no } => {
                write!(f, "the list has platform certificate {serial_no} twice")
            }
            Self::NoneValid { listed, now } => write!(
                f,
                "none of the {listed} platform certificates of the list is valid at {now}: check this machine's clock"
            ),
            Self::OwnCertificate(error) => error.fmt(f),
            Self::StillRunning { waited } => write!(
                f,
                "a download of the platform certificates by another thread has not ended within {waited:?}"
            ),
        }
    }
}

impl StdError for CertificateError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Download(source) => Some(&**source),
            Self::NoCertificates { answer, .. } => Some(&**answer),
            Self::Unverified { source, .. } => Some(source),
            Self::Unreadable { source, .. } => Some(source),
            Self::OwnCertificate(error) => error.source(),
            _ => None,
        }
    }
}
