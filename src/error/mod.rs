//! The errors of a call, whether the request may have taken effect, and what to do next.

mod advice;
mod api;
mod certificate;
mod field;
mod key;
mod mismatch;
mod setting;
mod text;
mod verify;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::json::DecodeError;

pub use self::advice::Advice;
pub use self::api::{ApiError, Authenticity};
pub use self::certificate::CertificateError;
pub use self::field::InvalidField;
pub use self::key::KeyError;
pub use self::mismatch::Mismatch;
pub use self::setting::InvalidSetting;
use self::text::write_request_id;
pub(crate) use self::text::{Shown, write_causes};
pub use self::verify::VerifyError;

/// The cause of an error that comes from outside this crate, such as a broken connection.
pub type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// The possible effect of a failed request at WeChat Pay, as [`Error::outcome`] returns it. Check it first after any
/// failed call.
///
/// | failure | error | outcome |
/// |---|---|---|
/// | a field breaks a documented rule, or a variable of the path is unfilled | [`Error::InvalidField`] | [`NotSent`](Self::NotSent) |
/// | a setting of a client or signer cannot be used | [`Error::InvalidSetting`] | [`NotSent`](Self::NotSent) |
/// | a key cannot be read, or conflicts with another | [`Error::Key`] | [`NotSent`](Self::NotSent) |
/// | there is no platform key, or none is valid now | [`Error::NoPlatformKey`] | [`NotSent`](Self::NotSent) |
/// | the download of certificates fails in a call without a valid platform key, or in [`Client::refresh_certificates`](crate::Client::refresh_certificates) | [`Error::Download`] | [`NotSent`](Self::NotSent) |
/// | the nonce or the signature cannot be made | [`Error::Sign`] | [`NotSent`](Self::NotSent) |
/// | no connection to any host: DNS lookup, TCP, proxy or TLS failed or timed out | [`Error::Connect`] | [`NotSent`](Self::NotSent) |
/// | the connection breaks before the whole response has arrived | [`Error::Transport`] | [`Unknown`](Self::Unknown) |
/// | the request times out after the connection was made | [`Error::Transport`] | [`Unknown`](Self::Unknown) |
/// | the response is not HTTP, or longer than 1 MiB | [`Error::Transport`] | [`Unknown`](Self::Unknown) |
/// | a second response arrives after a refusal, or after a success of an [uncorrelated](crate::Request::uncorrelated) request | [`Error::Transport`] | [`Unknown`](Self::Unknown) |
/// | 2xx without a signature, or signed with an unknown key | [`Error::Unverified`] | [`Unknown`](Self::Unknown) |
/// | any status with an invalid signature, such as a wrong, probe or stale one | [`Error::Unverified`] | [`Unknown`](Self::Unknown) |
/// | 202 | [`Error::Accepted`] | [`Unknown`](Self::Unknown) |
/// | 2xx other than 202 with a field that differs from the request | [`Error::Mismatch`] | [`Unknown`](Self::Unknown) |
/// | the download itself returns 404, since the merchant has no certificates (a call returns this inside [`Error::Download`]) | [`Error::Certificates`] | [`Refused`](Self::Refused) |
/// | the download itself returns a list that cannot be used, or a panic ends it (a call returns this inside [`Error::Download`]) | [`Error::Certificates`] | [`Unknown`](Self::Unknown) |
/// | 2xx other than 202 whose body cannot be read as the expected type | [`Error::Decode`] | [`Unknown`](Self::Unknown) |
/// | 400, 401, 403, 404 or 429 with a `code` of upper-case letters, digits and `_`, signed, unsigned or signed with an unknown key | [`Error::Api`] | [`Refused`](Self::Refused) |
/// | 405, 406, 411, 413, 414, 415, 417 or 431 with such a `code`, signed, unsigned or signed with an unknown key | [`Error::Api`] | [`Refused`](Self::Refused) |
/// | one of these statuses without such a `code` | [`Error::Api`] | [`Unknown`](Self::Unknown) |
/// | one of these statuses in a call whose [`Endpoint::is_inconclusive`](crate::Endpoint::is_inconclusive) returns `true` | [`Error::Api`] | [`Unknown`](Self::Unknown) |
/// | 3xx, or any other 4xx | [`Error::Api`] | [`Unknown`](Self::Unknown) |
/// | 5xx, signed, unsigned or signed with an unknown key | [`Error::Api`] | [`Unknown`](Self::Unknown) |
///
/// The client itself retries only where a retry cannot make a request take effect twice. It tries the other of its two
/// hosts if no connection to one could be made, and it retries a `GET` once if its connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was sent, so the request certainly had no effect. Fix the cause, then send the same request again.
    NotSent,
    /// WeChat Pay refused the request and did not carry it out. Fix the request, or wait, before sending it again.
    Refused,
    /// The request may have taken effect. Query before sending it again.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "nothing was sent",
            Self::Refused => "WeChat Pay refused the request",
            Self::Unknown => "the request may have taken effect",
        })
    }
}

/// Any failure of a call.
///
/// [`outcome`](Self::outcome) returns whether the request may have taken effect, [`advice`](Self::advice) returns what
/// to do next, [`request_id`](Self::request_id) returns the id that WeChat Pay's support asks for, and
/// [`source`](StdError::source) returns the cause. `{:#}` shows everything but the advice in one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A value breaks a documented rule. Nothing was sent. Fix the named field.
    InvalidField(InvalidField),
    /// A setting of a client or signer cannot be used. Nothing was sent. Fix the named setting.
    InvalidSetting(InvalidSetting),
    /// A key could not be read, or conflicts with another. Nothing was sent. The message says what was found and what
    /// is wanted.
    Key(KeyError),
    /// There is no platform key, or none that is valid now, so no response could be verified. Nothing was sent. Give
    /// the verifier a valid key, or check this machine's clock.
    NoPlatformKey {
        /// The ids of the keys that the verifier holds, none of them valid.
        held: Vec<String>,
    },
    /// The platform certificates could not be downloaded. A call returns this error if no platform key is valid, and
    /// its own request was not sent. [`Client::refresh_certificates`](crate::Client::refresh_certificates) returns it
    /// for any failed download. The source says what to do. All threads that waited for the same download share the
    /// error.
    Download(Arc<Self>),
    /// A download of the platform certificates returned none that could be accepted, was ended by a panic, or took too
    /// long. The message says what to do. A call returns this error inside [`Download`](Self::Download).
    /// [`certificates::accept`](crate::certificates::accept) and
    /// [`Client::last_certificate_error`](crate::Client::last_certificate_error) return it directly.
    Certificates {
        /// `Request-ID` of the response, if it had one.
        request_id: Option<String>,
        /// The reason why no certificate was accepted.
        source: Box<CertificateError>,
    },
    /// The request could not be signed, for example because the function that signs in place of a private key failed.
    /// Nothing was sent. The source is the cause.
    Sign(Cause),
    /// No connection could be made: DNS lookup, TCP or TLS failed. Nothing was sent. Try again later. The source says
    /// what is wrong with the network, the proxy or the certificate.
    Connect {
        /// The last host that was tried.
        host: String,
        /// The network or TLS error. It includes the error of the host tried before, if there is one.
        source: Cause,
    },
    /// The connection broke, the request timed out, or the response is not HTTP, is longer than 1 MiB or is followed by
    /// a second one. The request may have arrived. The outcome is unknown: query before sending again.
    Transport {
        /// The host to which the request was sent.
        host: String,
        /// The network error, or the defect of the response.
        source: Cause,
    },
    /// The signature of a response could not be verified, so nothing in it can be trusted. The outcome is unknown:
    /// query before sending again.
    Unverified {
        /// The HTTP status of the response, which cannot be trusted either.
        status: u16,
        /// `Request-ID` of the response, if it had one.
        request_id: Option<String>,
        /// The reason why the response was not accepted.
        source: VerifyError,
    },
    /// The response is an error from WeChat Pay, or from a proxy or gateway in front of it. See [`ApiError::outcome`].
    Api(Box<ApiError>),
    /// A verified response with status 202: accepted, but not carried out yet. The outcome is unknown: query later.
    Accepted {
        /// `Request-ID` of the response, if it had one.
        request_id: Option<String>,
    },
    /// A verified success response that belongs to another request: a field that is in both has different values. See
    /// [`Endpoint::check`](crate::Endpoint::check). The outcome is unknown: query before sending again, and find out
    /// what mixes up or duplicates responses between this machine and WeChat Pay.
    Mismatch {
        /// `Request-ID` of the response, if it had one.
        request_id: Option<String>,
        /// The first field that differs.
        source: Mismatch,
    },
    /// A verified success response whose body cannot be read as the expected type. The outcome is unknown, but the
    /// request has probably been carried out: query, and do not send it again.
    Decode {
        /// The HTTP status of the response.
        status: u16,
        /// `Request-ID` of the response, if it had one.
        request_id: Option<String>,
        /// The field that could not be read, and its position.
        source: DecodeError,
    },
}

impl Error {
    /// Returns whether the request may have taken effect.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::InvalidField(_) | Self::InvalidSetting(_) | Self::Key(_) | Self::Sign(_) => {
                Outcome::NotSent
            }
            Self::NoPlatformKey { .. } | Self::Download(_) | Self::Connect { .. } => {
                Outcome::NotSent
            }
            Self::Api(error) => error.outcome(),
            Self::Certificates { source, .. } => source.outcome(),
            Self::Transport { .. } | Self::Unverified { .. } | Self::Accepted { .. } => {
                Outcome::Unknown
            }
            Self::Mismatch { .. } | Self::Decode { .. } => Outcome::Unknown,
        }
    }

    /// Returns what to do next.
    ///
    /// ```
    /// use wechatpay_contract::{Advice, Error};
    ///
    /// /// Returns whether the same request can simply be sent again.
    /// fn may_be_sent_again(error: &Error) -> bool {
    ///     matches!(error.advice(), Advice::Retry | Advice::Wait)
    /// }
    /// ```
    pub fn advice(&self) -> Advice {
        match self {
            Self::Sign(_) | Self::Connect { .. } => Advice::Retry,
            Self::Download(error) => match error.advice() {
                Advice::Mend => Advice::Mend,
                _ => Advice::Wait,
            },
            Self::Certificates { source, .. } => source.advice(),
            Self::Api(error) => error.advice(),
            error => match error.outcome() {
                Outcome::Unknown => Advice::Query,
                Outcome::NotSent | Outcome::Refused => Advice::Mend,
            },
        }
    }

    /// Returns WeChat Pay's error code, such as `NO_AUTH`, if it responded with one.
    pub fn code(&self) -> Option<&str> {
        let code = self.api_error()?.code.as_str();
        Some(code).filter(|code| !code.is_empty())
    }

    /// Returns the HTTP status of the response, if the error holds it. Some errors of a response do not, such as
    /// [`Mismatch`](Self::Mismatch). The status is not signed.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Unverified { status, .. } | Self::Decode { status, .. } => Some(*status),
            Self::Accepted { .. } => Some(202),
            Self::Download(error) => error.status(),
            error => error.api_error().map(|error| error.status),
        }
    }

    /// Returns `true` if the response says that there were too many requests. See [`ApiError::is_rate_limited`].
    pub fn is_rate_limited(&self) -> bool {
        self.api_error().is_some_and(ApiError::is_rate_limited)
    }

    fn api_error(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            Self::Download(error) => error.api_error(),
            Self::Certificates { source, .. } => source.api_error(),
            _ => None,
        }
    }

    /// Returns `Request-ID` of the response, which WeChat Pay's support asks for, if there was one.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Unverified { request_id, .. }
            | Self::Accepted { request_id }
            | Self::Mismatch { request_id, .. }
            | Self::Certificates { request_id, .. }
            | Self::Decode { request_id, .. } => request_id.as_deref(),
            Self::Api(error) => error.request_id.as_deref(),
            Self::Download(error) => error.request_id(),
            _ => None,
        }
    }
}

/// `{}` shows a short description. `{:#}` adds the causes, the outcome and the `Request-ID`, all in one line for a log.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_short(f)?;
        if f.alternate() {
            let mut innermost = self;
            // `{:#}` of the inner error would add the outcome of the download, which is not that of the call.
            while let Self::Download(error) = innermost {
                f.write_str(": ")?;
                error.write_short(f)?;
                innermost = error;
            }
            write_causes(f, innermost)?;
            write!(f, "; {}", self.outcome())?;
            return write_request_id(f, self.request_id());
        }
        match self {
            // These texts are shown without the outcome.
            Self::InvalidField(_)
            | Self::InvalidSetting(_)
            | Self::Key(_)
            | Self::Accepted { .. } => Ok(()),
            Self::Api(_) | Self::Certificates { .. } => Ok(()),
            _ => write!(f, "; {}", self.outcome()),
        }
    }
}

impl Error {
    /// Writes what failed, without the outcome.
    fn write_short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidField(error) => return write!(f, "{error}"),
            Self::InvalidSetting(error) => return write!(f, "{error}"),
            Self::Key(error) => return write!(f, "{error}"),
            Self::Api(error) => return write!(f, "{error}"),
            Self::Certificates { source, .. } => return write!(f, "{source}"),
            Self::NoPlatformKey { held } if !held.is_empty() => {
                let held = held.join(", ");
                return write!(
                    f,
                    "none of the platform keys ({held}) is valid at this clock's time, so no response could be verified"
                );
            }
            Self::NoPlatformKey { .. } => "there is no platform key, so no response could be verified",
            Self::Download(_) => "the platform certificates could not be downloaded",
            Self::Sign(_) => "the request could not be signed",
            Self::Connect { host, .. } => return write!(f, "no connection to {host}"),
            Self::Transport { host, .. } => return write!(f, "the exchange with {host} broke off"),
            Self::Unverified { status, .. } => {
                return write!(f, "the response (HTTP {status}) could not be verified");
            }
            Self::Accepted { .. } => "accepted but not carried out yet (HTTP 202); query later",
            Self::Mismatch { .. } => "a verified response belongs to another request",
            Self::Decode { status, .. } => {
                return write!(f, "a verified response (HTTP {status}) has an unexpected body");
            }
        })
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Sign(source) | Self::Connect { source, .. } | Self::Transport { source, .. } => {
                Some(&**source)
            }
            Self::Unverified { source, .. } => Some(source),
            Self::Mismatch { source, .. } => Some(source),
            Self::Decode { source, .. } => Some(source),
            Self::Download(source) => Some(&**source),
            Self::Certificates { source, .. } => source.source(),
            _ => None,
        }
    }
}

impl From<InvalidField> for Error {
    fn from(error: InvalidField) -> Self {
        Self::InvalidField(error)
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<InvalidSetting> for Error {
    fn from(error: InvalidSetting) -> Self {
        Self::InvalidSetting(error)
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Api(Box::new(error))
    }
}
