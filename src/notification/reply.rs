//! What to answer WeChat Pay, as HTTP status and body.

use serde_json::Value;

/// The answer to a notification: send [`status`](Self::status), [`body`](Self::body) and, when there is a body,
/// [`content_type`](Self::content_type), within five seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "WeChat Pay sends the notification again unless it is answered"]
pub struct NotificationReply {
    status: u16,
    body: String,
}

impl NotificationReply {
    /// The notification is received and need not be sent again: status 204 without a body.
    ///
    /// Answer so only when the event is safely stored, also when it had been stored before.
    pub fn success() -> Self {
        Self {
            status: 204,
            body: String::new(),
        }
    }

    /// The notification was opened but could not be processed, and is to be sent again: status 500.
    ///
    /// `message` is for people at WeChat Pay; keep it short, documented are up to 64 characters, and free of secrets. When
    /// opening failed, answer with
    /// [`NotificationError::reply`](crate::NotificationError::reply) instead.
    pub fn failure(message: &str) -> Self {
        Self::fail(500, message)
    }

    pub(super) fn fail(status: u16, message: &str) -> Self {
        // A JSON value writes itself with all that is needed escaped.
        let message = Value::from(message);
        Self {
            status,
            body: format!(r#"{{"code":"FAIL","message":{message}}}"#),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body; empty when the answer has none.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The value of `Content-Type`; `None` when the answer has no body.
    pub fn content_type(&self) -> Option<&'static str> {
        (!self.body.is_empty()).then_some("application/json")
    }
}
