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

/// The effect that a request which ended in an error may have had at WeChat Pay, as [`Error::outcome`] returns it. It is
/// the first question after any failure of a payment call:
///
/// | failure | error | outcome |
/// |---|---|---|
/// | a field breaks a documented rule, or a variable of the path is unfilled | [`Error::InvalidField`] | [`NotSent`](Self::NotSent) |
/// | a setting of a client cannot be used | [`Error::InvalidSetting`] | [`NotSent`](Self::NotSent) |
/// | a key cannot be read, or conflicts with another | [`Error::Key`] | [`NotSent`](Self::NotSent) |
/// | no platform key is there, or none is valid now | [`Error::NoPlatformKey`] | [`NotSent`](Self::NotSent) |
/// | no platform key is valid, and the download of certificates fails | [`Error::Download`] | [`NotSent`](Self::NotSent) |
/// | a signing function fails | [`Error::Sign`] | [`NotSent`](Self::NotSent) |
/// | no connection to any host: name unknown, port or proxy closed, TLS refused, or not in time | [`Error::Connect`] | [`NotSent`](Self::NotSent) |
/// | the connection breaks before the whole response has arrived | [`Error::Transport`] | [`Unknown`](Self::Unknown) |
/// | the time runs out after connecting | [`Error::Transport`] | [`Unknown`](Self::Unknown) |
/// | the response is not HTTP, or longer than 1 MiB | [`Error::Transport`] | [`Unknown`](Self::Unknown) |
/// | 2xx without a signature | [`Error::Unverified`] | [`Unknown`](Self::Unknown) |
/// | any status with a signature that is wrong, a probe or too old, 2xx with one of an unknown key | [`Error::Unverified`] | [`Unknown`](Self::Unknown) |
/// | 202 | [`Error::Accepted`] | [`Unknown`](Self::Unknown) |
/// | another 2xx that names another contract than the request | [`Error::Mismatch`] | [`Unknown`](Self::Unknown) |
/// | a download of certificates that ends with no usable list | [`Error::Certificates`] | [`Unknown`](Self::Unknown) |
/// | another 2xx whose body is not of the expected shape | [`Error::Decode`] | [`Unknown`](Self::Unknown) |
/// | 400, 401, 403, 404 or 429 with a `code` of upper-case letters, digits and `_`, signed, unsigned or of an unknown key | [`Error::Api`] | [`Refused`](Self::Refused) |
/// | 405, 406, 411, 413, 414, 415, 417 or 431 with such a `code`, signed, unsigned or of an unknown key | [`Error::Api`] | [`Refused`](Self::Refused) |
/// | 3xx, another 4xx, or any of these without such a `code`, or in a call that says so | [`Error::Api`] | [`Unknown`](Self::Unknown) |
/// | 5xx, signed, unsigned or of an unknown key | [`Error::Api`] | [`Unknown`](Self::Unknown) |
///
/// The client itself sends again only what cannot be carried out twice by that: to the backup host when no connection
/// could be made to the main one, and a `GET` whose connection broke, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was sent: the request certainly had no effect. It can be sent again as it is once the cause is mended.
    NotSent,
    /// WeChat Pay refused the request and did not carry it out. Mend the request, or wait, before sending it again.
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
/// [`outcome`](Self::outcome) says whether the request may have taken effect, [`advice`](Self::advice) what to do next,
/// [`request_id`](Self::request_id) names the exchange for WeChat Pay's support, and [`source`](StdError::source) returns
/// the cause. `{:#}` shows all but the advice in one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A value breaks a documented rule. Nothing was sent; mend the named field.
    InvalidField(InvalidField),
    /// A setting of a client cannot be used. Nothing was sent; mend the named setting.
    InvalidSetting(InvalidSetting),
    /// A key could not be read, or conflicts with another. Nothing was sent; the message says what was found and what is
    /// wanted.
    Key(KeyError),
    /// There is no platform key, or none that is valid now, so that no response could be verified. Nothing was sent; give
    /// the verifier a key that is valid, or check this machine's clock.
    NoPlatformKey {
        /// The ids of the keys that the verifier holds, none of them valid.
        held: Vec<String>,
    },
    /// No platform key is valid, and the download of the platform certificates failed; or the download was asked for by
    /// itself. Nothing of the call was sent; see the source for what to do. All threads that waited for the same download
    /// share it.
    Download(Arc<Self>),
    /// A download of the platform certificates brought none that could be taken over; see the source for what to do. A
    /// call that needed them returns this inside of [`Download`](Self::Download).
    Certificates {
        /// `Request-ID` of the response, if it had one.
        request_id: Option<String>,
        /// The reason why nothing was taken over.
        source: Box<CertificateError>,
    },
    /// The function that signs in place of a private key failed. Nothing was sent; see the source.
    Sign(Cause),
    /// No connection could be made: DNS lookup, TCP or TLS. Nothing was sent; try again later, or see the source for
    /// what is wrong with the network, the proxy or the certificate.
    Connect {
        /// The host that could not be reached; the last one tried.
        host: String,
        /// The error of the network or TLS, with that of the host tried before.
        source: Cause,
    },
    /// The connection broke, or the time ran out, after the request may have arrived. The outcome is unknown: query
    /// before sending again.
    Transport {
        /// The host to which the request was sent.
        host: String,
        /// The error of the network.
        source: Cause,
    },
    /// The signature of a response could not be verified, so nothing in it is to be believed. The outcome is
    /// unknown: query before sending again.
    Unverified {
        /// The HTTP status of the response, which is not to be believed either.
        status: u16,
        /// `Request-ID` of the response, if it had one.
        request_id: Option<String>,
        /// The reason why the response was not accepted.
        source: VerifyError,
    },
    /// The response is an error, of WeChat Pay or of something before it. See [`ApiError::outcome`].
    Api(Box<ApiError>),
    /// A verified response with status 202: accepted, but not carried out yet. The outcome is unknown: query later.
    Accepted {
        /// `Request-ID` of the response, if it had one.
        request_id: Option<String>,
    },
    /// A verified response of success that belongs to another request, by what it repeats of it; see
    /// [`Endpoint::check`](crate::Endpoint::check). The outcome is unknown: query before sending again, and look for
    /// what mixes up or repeats responses between this machine and WeChat Pay.
    Mismatch {
        /// `Request-ID` of the response, if it had one.
        request_id: Option<String>,
        /// The first difference.
        source: Mismatch,
    },
    /// A verified response of success whose body is not of the expected shape. The request has been carried out, or may
    /// have been: query, and do not send it again.
    Decode {
        /// The HTTP status of the response.
        status: u16,
        /// `Request-ID` of the response, if it had one.
        request_id: Option<String>,
        /// The field that did not fit, and its place.
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

    /// Returns the HTTP status of the response, if there was one. The status is not signed.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Unverified { status, .. } | Self::Decode { status, .. } => Some(*status),
            Self::Accepted { .. } => Some(202),
            Self::Download(error) => error.status(),
            error => error.api_error().map(|error| error.status),
        }
    }

    /// Returns whether WeChat Pay refused the request because there were too many; see
    /// [`ApiError::is_rate_limited`].
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

/// `{}` says in short what failed. `{:#}` adds the causes, the outcome and the `Request-ID`, all in one line for a log.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_short(f)?;
        if f.alternate() {
            let mut innermost = self;
            // Its own outcome is not that of the call.
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
            // These say it themselves.
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
            Self::Download(_) => {
                "the platform certificates could not be downloaded, so no response could be verified"
            }
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
