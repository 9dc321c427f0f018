//! The reasons why no platform certificates were accepted from a response.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::{Advice, ApiError, KeyError, Outcome, Shown, write_causes};

/// The reason why no platform certificates were accepted. The keys held until then are kept. If one part of a list is
/// wrong, none of its certificates is accepted.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateError {
    /// WeChat Pay has no platform certificates for this merchant: it responds with HTTP 404 and the code
    /// `RESOURCE_NOT_EXISTS` or `NOT_FOUND`, or with an empty list. The merchant has the WeChat Pay public key 微信支付公钥
    /// instead. Configure that key with [`PublicKey::from_pem`](crate::PublicKey::from_pem): its id `PUB_KEY_ID_…` and
    /// the file `pub_key.pem` are in the merchant platform under account center, API security (账户中心 › API安全 › 微信支付公钥).
    NoCertificates {
        /// WeChat Pay's response. With an empty list the status is 200, and there is no code.
        response: Box<ApiError>,
        /// The id of the key that the response names as its signing key, if that is a WeChat Pay public key. It is
        /// probably the key to configure. The signature is not verified if the verifier does not hold that key.
        public_key_id: Option<String>,
    },
    /// A certificate of the list cannot be decrypted: the APIv3 key is not the one set in the merchant platform, or the
    /// list was altered.
    Undecryptable {
        /// The certificate's serial number in the list.
        serial_no: String,
    },
    /// The response is not a consistent list of platform certificates. Ask WeChat Pay's support if the error persists.
    Unusable {
        /// The place, what was found there, and what is wanted.
        problem: String,
        /// The key error, if a key of the list is the problem.
        source: Option<KeyError>,
    },
    /// None of the certificates of the list is valid now. Check this machine's clock.
    NoneValid {
        /// The number of certificates in the list.
        listed: usize,
        /// The time of the check, in Unix seconds.
        now: u64,
    },
    /// A panic in a signing function, a resolver or an observer ended the download. The next call tries again.
    Interrupted,
    /// The download by another thread has not ended within the timeout of a call. Find out what delays it, such as the
    /// DNS lookup of the host. It may still succeed.
    StillRunning {
        /// The time that this thread waited for the download.
        waited: Duration,
    },
}

impl CertificateError {
    pub(crate) fn unusable(problem: impl Into<String>, source: Option<KeyError>) -> Self {
        Self::Unusable {
            problem: problem.into(),
            source,
        }
    }

    pub(super) fn api_error(&self) -> Option<&ApiError> {
        match self {
            Self::NoCertificates { response, .. } => Some(response),
            _ => None,
        }
    }

    pub(super) fn advice(&self) -> Advice {
        match self {
            Self::NoCertificates { .. } | Self::Undecryptable { .. } | Self::NoneValid { .. } => {
                Advice::Mend
            }
            _ => Advice::Wait,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::NoCertificates { response, .. } => response.outcome(),
            // This thread sent nothing.
            Self::StillRunning { .. } => Outcome::NotSent,
            // The request may have been sent, but no list was accepted.
            _ => Outcome::Unknown,
        }
    }
}

/// `{:#}` adds the cause.
impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificates {
                response,
                public_key_id,
            } => {
                let status = response.status;
                let id = Shown::id(public_key_id.as_deref().unwrap_or("PUB_KEY_ID_…"));
                write!(
                    f,
                    "this merchant has no platform certificates (HTTP {status}): configure the WeChat Pay public key, \
                     id {id} and file pub_key.pem, from the merchant platform (账户中心 › API安全 › 微信支付公钥)"
                )
            }
            Self::Undecryptable { serial_no } => write!(
                f,
                "platform certificate \"{}\" of the list does not decrypt: the APIv3 key is not the one set in the \
                 merchant platform, or the list was altered",
                Shown::id(serial_no)
            ),
            Self::Unusable { problem, .. } => write!(f, "the list of platform certificates is unusable: {problem}"),
            Self::NoneValid { listed, now } => write!(
                f,
                "none of the {listed} platform certificates of the list is valid at {now}: check this machine's clock"
            ),
            Self::Interrupted => f.write_str(
                "a panic ended the download of the platform certificates; the next call tries again",
            ),
            Self::StillRunning { waited } => write!(
                f,
                "a download of the platform certificates by another thread has not ended within {waited:?}"
            ),
        }?;
        write_causes(f, self)
    }
}

impl StdError for CertificateError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::NoCertificates { response, .. } => Some(&**response),
            Self::Unusable {
                source: Some(source),
                ..
            } => Some(source),
            _ => None,
        }
    }
}
