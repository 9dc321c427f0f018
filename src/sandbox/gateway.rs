//! The gateway: an HTTP request is authenticated, dispatched, answered and the answer signed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::answer::{Answer, Draft, Refusal};
use super::authorization::Identity;
use super::contracts::Contracts;
use super::faults::{Fault, Faults};
use super::http::{HttpReply, HttpRequest};
use super::platform::Platform;
use super::record::Record;
use crate::endpoint::CERTIFICATES;
use crate::verifier::unix_seconds;

const CONTRACTS: &str = "/v3/password-exempt-contract/contracts/";

/// The state of a sandbox and what it answers.
pub(super) struct Gateway {
    identity: Identity,
    platform: Platform,
    contracts: Mutex<Contracts>,
    faults: Faults,
    record: Record,
    clock: Mutex<Arc<Clock>>,
}

type Clock = dyn Fn() -> SystemTime + Send + Sync;

impl Gateway {
    pub(super) fn new(identity: Identity, platform: Platform) -> Self {
        Self {
            identity,
            platform,
            contracts: Mutex::default(),
            faults: Faults::default(),
            record: Record::default(),
            clock: Mutex::new(Arc::new(SystemTime::now)),
        }
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn platform(&self) -> &Platform {
        &self.platform
    }

    pub(super) fn set_clock(&self, clock: Arc<Clock>) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
    }

    fn now(&self) -> SystemTime {
        let clock = Arc::clone(&self.clock.lock().unwrap_or_else(PoisonError::into_inner));
        clock()
    }

    /// The whole way from a request to its reply.
    pub(super) fn handle(&self, request: HttpRequest) -> HttpReply {
        let now = unix_seconds(self.now());
        let asked = request.header("Wechatpay-Serial");
        let platform = self.platform.answering(&request.target, asked, now);
        let fault = self.faults.take(&request);
        let answer = fault
            .as_ref()
            .is_none_or(Fault::lets_pass)
            .then(|| self.answer(&request, now));
        let took_effect = matches!(answer, Some(Ok(_)));
        let truth = match answer {
            Some(answer) => Draft::new(answer.unwrap_or_else(Refusal::into_answer)),
            None => Draft::empty(0),
        };
        let draft = match &fault {
            Some(fault) => fault.spoil(truth),
            None => truth,
        };
        self.record.push(request, draft.status, took_effect);
        let mut reply = draft.seal(&platform, now);
        if let Some(fault) = &fault {
            fault.spoil_reply(&mut reply);
        }
        reply
    }

    fn answer(&self, request: &HttpRequest, now: u64) -> Result<Answer, Refusal> {
        check_headers(request)?;
        self.identity.check(request, now)?;
        self.check_platform_serial(request)?;
        self.dispatch(request, now)
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

    fn dispatch(&self, request: &HttpRequest, now: u64) -> Result<Answer, Refusal> {
        let (path, _query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        match (request.method.as_str(), path) {
            ("GET", CERTIFICATES) => return self.platform.certificates(now),
            ("POST", "/v3/security/echo") => return echo(request),
            _ => {}
        }
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

/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4014551946>.
fn echo(request: &HttpRequest) -> Result<Answer, Refusal> {
    if request.header("Wechatpay-Serial").is_none() {
        return Err(Refusal::new(
            400,
            "PARAM_ERROR",
            "the header Wechatpay-Serial is missing",
        ));
    }
    let body = json_body(request)?;
    let message = body.get("echo_message").unwrap_or(&Value::Null);
    match message.as_str() {
        None | Some("") => Err(Refusal::param_error(
            "echo_message",
            message,
            "is missing, empty or not a text",
        )),
        Some(_) => Ok(Answer::ok(json!({"echo_message": message}))),
    }
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
