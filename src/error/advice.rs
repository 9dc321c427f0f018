//! What to do after an error.

use std::fmt;

/// What to do after an error, as [`Error::advice`](crate::Error::advice) returns it.
///
/// | advice | errors |
/// |---|---|
/// | [`Mend`](Self::Mend) | a wrong field, setting or key, no platform key, a refusal by WeChat Pay, or a download of certificates that would fail again |
/// | [`Retry`](Self::Retry) | no connection, or a request that could not be signed |
/// | [`Wait`](Self::Wait) | too many requests, or a download of certificates that failed and may succeed later |
/// | [`Query`](Self::Query) | every other error, after which the request may have taken effect |
///
/// A download of certificates changes nothing at WeChat Pay. So [`Error::Certificates`](crate::Error::Certificates) has
/// the advice `Mend` or `Wait`, even if its outcome is [`Unknown`](crate::Outcome::Unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Nothing has taken effect, and the same request would fail again: fix what the error names.
    Mend,
    /// Nothing has taken effect: send the same request again.
    Retry,
    /// Nothing has taken effect: wait with an increasing backoff, then send the same request again.
    Wait,
    /// The request may have taken effect: query before sending anything again. A request that changes nothing can simply
    /// be sent again, after a backoff.
    Query,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mend => "mend it",
            Self::Retry => "try again",
            Self::Wait => "wait, then try again",
            Self::Query => "query first",
        })
    }
}
