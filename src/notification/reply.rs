//! The reply to a notification, as HTTP status, headers and body.

use serde_json::Value;

/// The reply to a notification. Send [`status`](Self::status), [`headers`](Self::headers) and [`body`](Self::body) within
/// five seconds.
///
/// With the types of the `http` crate, which most frameworks use:
///
/// ```
/// # use wechatpay_contract::NotificationReply;
/// fn response(reply: &NotificationReply) -> http::Result<http::Response<String>> {
///     let mut response = http::Response::builder().status(reply.status());
///     for (name, value) in reply.headers() {
///         response = response.header(name, value);
///     }
///     response.body(reply.body().to_owned())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "WeChat Pay sends the notification again unless it receives the reply"]
pub struct NotificationReply {
    status: u16,
    body: String,
}

impl NotificationReply {
    /// Acknowledges the notification, which is then not sent again: status 204 without a body.
    ///
    /// Send it only if the event is safely stored, by this delivery or an earlier one.
    pub fn success() -> Self {
        Self {
            status: 204,
            body: String::new(),
        }
    }

    /// Asks WeChat Pay to send the notification again: status 500. Use it if the notification was opened but could not
    /// be processed.
    ///
    /// `message` is for people at WeChat Pay. Keep it short (up to 64 characters are documented) and free of secrets. If
    /// opening failed, reply with [`NotificationError::reply`](crate::NotificationError::reply) instead.
    pub fn failure(message: &str) -> Self {
        Self::fail(500, message)
    }

    pub(super) fn fail(status: u16, message: &str) -> Self {
        // A JSON value escapes itself when it is formatted.
        let message = Value::from(message);
        Self {
            status,
            body: format!(r#"{{"code":"FAIL","message":{message}}}"#),
        }
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the body, empty if the reply has none.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Returns the headers as name and value: `Content-Type` if there is a body.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let content_type = ("Content-Type", "application/json");
        (!self.body.is_empty()).then_some(content_type).into_iter()
    }
}
