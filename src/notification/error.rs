//! The errors of opening a notification, and what to do next.

use std::error::Error as StdError;
use std::fmt;

use super::{NotificationReceiver, NotificationReply};
use crate::error::{Shown, VerifyError, write_causes};
use crate::json::DecodeError;

/// The reason why a notification was not opened.
///
/// Reply with [`reply`](Self::reply). WeChat Pay then sends the notification again. A query returns the state of
/// the contract, order or refund at any time.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotificationError {
    /// The verification failed, so do not trust anything in the notification.
    ///
    /// After [`VerifyError::UnknownSerial`] the platform keys may be out of date: refresh them, then open the same
    /// notification once more. Anyone can send such a message, so refresh at most once a minute, as
    /// [`Client::refresh_for`](crate::Client::refresh_for) does. After [`VerifyError::Stale`], check this machine's clock.
    /// After [`VerifyError::WrongSignature`], check what its field `check` says, such as whether the raw body was
    /// passed. [`is_probe`](Self::is_probe) tells a probe signature from a forged one.
    Verify(VerifyError),
    /// The body is longer than [`NotificationReceiver::MAX_BODY`]. It was not verified.
    TooLarge {
        /// The body's length, in bytes.
        bytes: usize,
    },
    /// The notification is signed by WeChat Pay, but its body is not the JSON of a notification: not UTF-8, not JSON,
    /// or a field is missing, duplicated or of the wrong type. The source says which. Query the state, and report the
    /// error: the format may have changed.
    Envelope(DecodeError),
    /// The notification is signed by WeChat Pay, but a field does not have the form that decryption requires. Query the
    /// state, and report the error: the format may have changed.
    MalformedField {
        /// The field's name, as on the wire.
        name: &'static str,
        /// The expected form.
        wanted: &'static str,
    },
    /// The notification is signed by WeChat Pay, but encrypted with another algorithm than `AEAD_AES_256_GCM`. Query the
    /// state, and report the error.
    UnsupportedAlgorithm {
        /// The algorithm that the notification names.
        found: String,
    },
    /// The notification is signed by WeChat Pay, but does not decrypt. Almost certainly, the APIv3 key is not the one
    /// set in the merchant platform, or it belongs to another merchant. Otherwise the ciphertext is damaged. With the
    /// right key, the next delivery can be opened.
    Decrypt,
    /// The notification is signed by WeChat Pay and decrypted, but the content is not of the type asked for: not UTF-8,
    /// not JSON, or a field is missing or of another type. The source says which.
    ///
    /// It may belong to another product: check `event_type`. To inspect any content, use
    /// [`NotificationReceiver::open_as`] with [`serde_json::Value`].
    Content {
        /// The notification's id.
        id: String,
        /// The event's type, such as `TRANSACTION.SUCCESS`.
        event_type: String,
        /// The field that does not fit the type, and its position.
        source: DecodeError,
    },
}

impl NotificationError {
    /// Checks whether the signature is a probe signature, which needs no alarm. It is refused like any invalid
    /// signature.
    pub fn is_probe(&self) -> bool {
        matches!(self, Self::Verify(error) if error.is_probe())
    }

    /// Returns the reply to WeChat Pay.
    ///
    /// | error | status |
    /// |---|---|
    /// | [`Verify`](Self::Verify) | 401 |
    /// | [`TooLarge`](Self::TooLarge) | 413 |
    /// | [`Envelope`](Self::Envelope), [`MalformedField`](Self::MalformedField), [`UnsupportedAlgorithm`](Self::UnsupportedAlgorithm) | 400 |
    /// | [`Decrypt`](Self::Decrypt), [`Content`](Self::Content) | 500 |
    ///
    /// The message names only the kind of error, so that a forger learns nothing about keys or clock. A genuine
    /// notification that cannot be read gets a failure reply too. WeChat Pay then sends it again, which leaves time to
    /// fix the cause or query the state. To stop the retries of unwanted events, reply with
    /// [`NotificationReply::success`].
    pub fn reply(&self) -> NotificationReply {
        let (status, message) = match self {
            Self::Verify(_) => (401, "the signature was not accepted"),
            Self::TooLarge { .. } => (413, "the body is too long"),
            Self::Envelope(_) | Self::MalformedField { .. } => {
                (400, "the body is not a notification")
            }
            Self::UnsupportedAlgorithm { .. } => (400, "the algorithm is not supported"),
            Self::Decrypt => (500, "the content could not be decrypted"),
            Self::Content { .. } => (500, "the content could not be read"),
        };
        NotificationReply::fail(status, message)
    }

    pub(super) fn content(id: &str, event_type: &str, source: DecodeError) -> Self {
        Self::Content {
            id: id.to_owned(),
            event_type: event_type.to_owned(),
            source,
        }
    }
}

/// `{}` is a short message. `{:#}` adds the causes, in one line for a log.
impl fmt::Display for NotificationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_short(f)?;
        write_causes(f, self)
    }
}

impl NotificationError {
    fn write_short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verify(_) => f.write_str("the notification could not be verified"),
            Self::TooLarge { bytes } => write!(
                f,
                "the notification's body has {bytes} bytes: wanted at most {}",
                NotificationReceiver::MAX_BODY
            ),
            Self::Envelope(_) => {
                f.write_str("the notification is verified, but its body is not a notification")
            }
            Self::MalformedField { name, wanted } => {
                write!(f, "the notification's {name} is malformed: wanted {wanted}")
            }
            Self::UnsupportedAlgorithm { found } => write!(
                f,
                "the notification's resource.algorithm is \"{}\": wanted AEAD_AES_256_GCM",
                Shown::id(found)
            ),
            Self::Decrypt => f.write_str(
                "the notification does not decrypt: the APIv3 key is wrong or the ciphertext damaged",
            ),
            Self::Content { id, event_type, .. } => write!(
                f,
                "the content of notification \"{}\" of type \"{}\" is not of the type asked for",
                Shown::id(id),
                Shown::id(event_type)
            ),
        }
    }
}

impl StdError for NotificationError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Verify(source) => Some(source),
            Self::Envelope(source) | Self::Content { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<VerifyError> for NotificationError {
    fn from(error: VerifyError) -> Self {
        Self::Verify(error)
    }
}
