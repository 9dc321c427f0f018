//! The gateway: an HTTP request is authenticated, dispatched, answered and the answer signed.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::authorization::Identity;
use super::contracts::Contracts;
use super::http::{Delivery, HttpReply, HttpRequest};
use super::platform::Platform;
use crate::keys;
use crate::verifier::unix_seconds;

const CONTRACTS: &str = "/v3/password-exempt-contract/contracts/";

/// The state of a sandbox and what it answers.
pub(super) struct Gateway {
    identity: Identity,
    platform: Platform,
    contracts: Mutex<Contracts>,
    requests: Mutex<Vec<RecordedRequest>>,
}

/// A request that the sandbox received.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The HTTP method.
    pub method: String,
    /// Path and query, exactly as received.
    pub target: String,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// The status that was answered, whether or not the answer arrived.
    pub status: u16,
}

impl RecordedRequest {
    /// The first header of that name, without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// What the gateway answers when all is well.
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

    fn into_answer(self) -> Answer {
        let mut body = json!({"code": self.code, "message": self.message});
        if let (Some(detail), Some(body)) = (self.detail, body.as_object_mut()) {
            body.insert("detail".to_owned(), detail);
        }
        Answer {
            status: self.status,
            body: Some(body),
        }
    }
}

impl Gateway {
    pub(super) fn new(identity: Identity, platform: Platform) -> Self {
        Self {
            identity,
            platform,
            contracts: Mutex::default(),
            requests: Mutex::default(),
        }
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The whole way from a request to its reply.
    pub(super) fn handle(&self, request: HttpRequest) -> HttpReply {
        let now = unix_seconds(SystemTime::now());
        let answer = self
            .answer(&request, now)
            .unwrap_or_else(Refusal::into_answer);
        self.record(request, answer.status);
        self.sign(answer, now)
    }

    fn answer(&self, request: &HttpRequest, now: u64) -> Result<Answer, Refusal> {
        check_headers(request)?;
        self.identity.check(request, now)?;
        self.check_platform_serial(request)?;
        self.dispatch(request)
    }

    fn check_platform_serial(&self, request: &HttpRequest) -> Result<(), Refusal> {
        match request.header("Wechatpay-Serial") {
            Some(serial) if !self.platform.knows(serial) => Err(Refusal::new(
                400,
                "PARAM_ERROR",
                "Wechatpay-Serial names no platform key of this merchant",
            )),
            _ => Ok(()),
        }
    }

    fn dispatch(&self, request: &HttpRequest) -> Result<Answer, Refusal> {
        let (path, _query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        match (request.method.as_str(), path.strip_prefix(CONTRACTS)) {
            ("POST", Some("ecommerce/pre-entrust-sign/mini-program")) => self
                .contracts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pre_sign_mini_program(self.identity.mchid(), &json_body(request)?),
            _ => Err(Refusal::new(
                404,
                "RESOURCE_NOT_EXISTS",
                "the sandbox does not know this path",
            )),
        }
    }

    fn record(&self, request: HttpRequest, status: u16) {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(RecordedRequest {
                method: request.method,
                target: request.target,
                headers: request.headers,
                body: request.body,
                status,
            });
    }

    fn sign(&self, answer: Answer, now: u64) -> HttpReply {
        let body = answer
            .body
            .map(|body| body.to_string().into_bytes())
            .unwrap_or_default();
        let mut headers = vec![("Request-ID".to_owned(), nonce().into_bytes())];
        if !body.is_empty() {
            headers.push((
                "Content-Type".to_owned(),
                b"application/json; charset=utf-8".to_vec(),
            ));
        }
        // A 401 is never signed: the gateway does not know to whom it speaks.
        if answer.status != 401 {
            headers.extend(self.platform.signature_headers(&body, now, &nonce()));
        }
        HttpReply {
            status: answer.status,
            headers,
            body,
            delivery: Delivery::Whole,
        }
    }
}

/// The gateway refuses requests without `User-Agent` or with an unsuitable `Accept`.
fn check_headers(request: &HttpRequest) -> Result<(), Refusal> {
    let accepts_json = request
        .header("Accept")
        .is_some_and(|accept| accept.contains("application/json") || accept.contains("*/*"));
    let has_user_agent = request
        .header("User-Agent")
        .is_some_and(|user_agent| !user_agent.is_empty());
    if accepts_json && has_user_agent {
        return Ok(());
    }
    Err(Refusal::new(
        400,
        "PARAM_ERROR",
        "the header Accept or User-Agent is missing or unsuitable",
    ))
}

fn json_body(request: &HttpRequest) -> Result<Value, Refusal> {
    let is_json = request
        .header("Content-Type")
        .is_some_and(|content_type| content_type.starts_with("application/json"));
    if !is_json {
        return Err(Refusal::new(
            400,
            "PARAM_ERROR",
            "Content-Type is not application/json",
        ));
    }
    serde_json::from_slice(&request.body)
        .map_err(|_| Refusal::new(400, "PARAM_ERROR", "the body is not JSON"))
}

/// A new nonce or id of 32 characters.
fn nonce() -> String {
    keys::random_nonce().unwrap_or_else(|_| "0".repeat(32))
}
