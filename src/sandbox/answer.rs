//! What the gateway answers: the content, as success or refusal, and its way to signed bytes.

use serde_json::{Value, json};

use super::http::{Delivery, HttpResponse};
use super::platform::Platform;
use super::signing::Signing;
use crate::keys;
use crate::time::format_http_date;

/// What the gateway answers when all is well.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
}

impl Answer {
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
}

/// What the gateway answers when it refuses a request.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
    detail: Option<Value>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            detail: None,
        }
    }

    /// 401, which is never signed.
    pub(super) fn sign_error(message: &str) -> Self {
        Self::new(401, "SIGN_ERROR", message)
    }

    /// 400 for a request that does not fit the state of things.
    pub(super) fn invalid_request(message: &str) -> Self {
        Self::new(400, "INVALID_REQUEST", message)
    }

    /// 400 for a field of the body.
    pub(super) fn param_error(field: &str, value: &Value, issue: &str) -> Self {
        Self {
            detail: Some(json!({
                "location": "body",
                "field": format!("/body/{field}"),
                "value": value,
                "issue": issue,
            })),
            ..Self::new(
                400,
                "PARAM_ERROR",
                format!("parameter error: {field} {issue}"),
            )
        }
    }

    pub(super) fn into_answer(self) -> Answer {
        let mut body = error_body(self.code, &self.message);
        if let (Some(detail), Some(body)) = (self.detail, body.as_object_mut()) {
            body.insert("detail".to_owned(), detail);
        }
        Answer {
            status: self.status,
            body: Some(body),
        }
    }
}

/// The JSON of an error.
pub(super) fn error_body(code: &str, message: &str) -> Value {
    json!({"code": code, "message": message})
}

/// An answer before it is signed; faults change it here.
pub(super) struct Draft {
    pub(super) status: u16,
    /// Beside `Request-ID` and the signature.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) signing: Signing,
    pub(super) delivery: Delivery,
}

impl Draft {
    /// A draft without body and signature.
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            signing: Signing::Missing,
            delivery: Delivery::Whole,
        }
    }

    /// A JSON answer; signed, unless it is a 401: the gateway does not know to whom it speaks then.
    pub(super) fn new(answer: Answer) -> Self {
        let mut draft = Self::empty(answer.status);
        if answer.status != 401 {
            draft.signing = Signing::Right;
        }
        if let Some(body) = answer.body {
            draft.set_body("application/json; charset=utf-8", body.to_string());
        }
        draft
    }

    pub(super) fn set_body(&mut self, content_type: &str, body: impl Into<Vec<u8>>) {
        self.headers = vec![("Content-Type".to_owned(), content_type.into())];
        self.body = body.into();
    }

    /// The reply without a signature.
    pub(super) fn unsigned(self) -> HttpResponse {
        HttpResponse {
            status: self.status,
            headers: self.headers,
            body: self.body,
            delivery: self.delivery,
        }
    }

    /// The reply with its signature.
    pub(super) fn seal(self, platform: &Platform, now: u64) -> HttpResponse {
        let mut headers = vec![
            ("Date".to_owned(), format_http_date(now).into_bytes()),
            ("Request-ID".to_owned(), new_id().into_bytes()),
        ];
        headers.extend(self.headers);
        headers.extend(self.signing.headers(platform, &self.body, now));
        HttpResponse {
            status: self.status,
            headers,
            body: self.body,
            delivery: self.delivery,
        }
    }
}

/// A new nonce or id of 32 characters.
pub(super) fn new_id() -> String {
    keys::random_nonce().unwrap_or_else(|_| "0".repeat(32))
}
