//! The gateway's responses before they are signed: a success, or an error in WeChat Pay's form.

use serde_json::{Value, json};

use super::http::HttpResponse;

/// A response with or without a JSON body.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
}

impl Response {
    pub(super) fn ok(body: Value) -> Self {
        Self {
            status: 200,
            body: Some(body),
        }
    }

    pub(super) fn no_content() -> Self {
        Self {
            status: 204,
            body: None,
        }
    }

    /// Returns an error with `code` and `message`.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self {
            status,
            body: Some(json!({"code": code, "message": message})),
        }
    }

    /// Returns the HTTP response, without a signature.
    pub(super) fn into_http(self) -> HttpResponse {
        match self.body {
            Some(body) => HttpResponse::new(self.status, body.to_string())
                .header("Content-Type", "application/json; charset=utf-8"),
            None => HttpResponse::new(self.status, ""),
        }
    }
}

/// The response to a request that is refused.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Response);

impl Refusal {
    pub(super) fn new(status: u16, code: &str, message: &str) -> Self {
        Self(Response::error(status, code, message))
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
        Self::malformed(&message).with_detail(json!({
            "location": "body",
            "field": format!("/body/{field}"),
            "value": value,
            "issue": issue,
        }))
    }

    pub(super) fn with_detail(mut self, detail: Value) -> Self {
        if let Some(body) = self.0.body.as_mut().and_then(Value::as_object_mut) {
            body.insert("detail".to_owned(), detail);
        }
        self
    }
}
