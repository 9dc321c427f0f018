//! The gateway's responses before they are signed: a success, or an error in WeChat Pay's form.

use serde_json::{Value, json};

pub(super) use super::http::Response;

impl Response {
    pub(super) fn ok(body: Value) -> Self {
        Self::json(200, &body)
    }

    pub(super) fn no_content() -> Self {
        Self::new(204, "")
    }

    /// Returns an error with `code` and `message`.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &json!({"code": code, "message": message}))
    }

    fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string())
            .header("Content-Type", "application/json; charset=utf-8")
    }
}

/// The response to a request that is refused.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Box<Response>);

impl Refusal {
    pub(super) fn new(status: u16, code: &str, message: &str) -> Self {
        Self(Box::new(Response::error(status, code, message)))
    }

    /// Returns a refusal by the sandbox itself, which WeChat Pay does not have.
    pub(super) fn by_sandbox(status: u16, message: impl ToString) -> Self {
        Self::new(status, "SANDBOX_ERROR", &message.to_string())
    }

    /// Returns an error with `code`, `message` and `detail`.
    pub(super) fn with_detail(status: u16, code: &str, message: &str, detail: &Value) -> Self {
        let body = json!({"code": code, "message": message, "detail": detail});
        Self(Box::new(Response::json(status, &body)))
    }

    /// Returns 400 for a request that the current state does not allow.
    pub(super) fn invalid_request(message: &str) -> Self {
        Self::new(400, "INVALID_REQUEST", message)
    }

    /// Returns 404 for a resource that does not exist.
    pub(super) fn not_found(message: &str) -> Self {
        Self::new(404, "RESOURCE_NOT_EXISTS", message)
    }

    /// Returns 400 for a wrong header, or for a body that is not JSON.
    pub(super) fn malformed(message: &str) -> Self {
        Self::new(400, "PARAM_ERROR", message)
    }

    /// Returns 400 for a wrong field of the body.
    pub(super) fn param_error(field: &str, value: &Value, issue: &str) -> Self {
        let message = format!("parameter error: {field} {issue}");
        let detail = json!({
            "location": "body",
            "field": format!("/body/{field}"),
            "value": value,
            "issue": issue,
        });
        Self::with_detail(400, "PARAM_ERROR", &message, &detail)
    }
}
