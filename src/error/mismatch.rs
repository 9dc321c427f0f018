//! A difference between a request and its response.

use std::error::Error as StdError;
use std::fmt;

use super::Shown;

/// A field whose value in a verified response differs from the value in the request, so the response belongs to another
/// request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The field's name, as on the wire.
    pub field: &'static str,
    /// The value in the request. It is shown in logs, so do not compare personal data.
    pub sent: String,
    /// The value in the response.
    pub received: String,
}

impl Mismatch {
    /// Returns an error if `received` is not `sent`.
    ///
    /// ```
    /// use wechatpay_contract::Mismatch;
    ///
    /// Mismatch::check("out_refund_no", "1217752501201407033233368018", "1217752501201407033233368018")?;
    /// let error = Mismatch::check("amount.total", &100, &101).unwrap_err();
    /// assert_eq!(error.to_string(), r#"amount.total: sent "100", received "101""#);
    /// # Ok::<(), Mismatch>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A `Mismatch` with both values as text.
    pub fn check<T>(field: &'static str, sent: &T, received: &T) -> Result<(), Self>
    where
        T: PartialEq + ToString + ?Sized,
    {
        if received == sent {
            return Ok(());
        }
        Err(Self {
            field,
            sent: sent.to_string(),
            received: received.to_string(),
        })
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            sent,
            received,
        } = self;
        let (sent, received) = (Shown::id(sent), Shown::id(received));
        write!(f, "{field}: sent \"{sent}\", received \"{received}\"")
    }
}

impl StdError for Mismatch {}
