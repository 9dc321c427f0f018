//! The gateway: an HTTP request is authenticated, dispatched, answered and the answer signed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::answer::{Answer, Draft, Refusal};
use super::authorization::Identity;
use super::clock::Clock;
use super::contracts::{Contract, Contracts, UserError};
use super::control;
use super::faults::{Fault, Faults};
use super::fields::{self, Field, Rule};
use super::http::{HttpRequest, HttpResponse};
use super::notification::{Kind, Notification};
use super::notifier::Notifier;
use super::orders::{self, Orderer, Orders};
use super::platform::Platform;
use super::pre_sign::{Mode, Way};
use super::record::Record;
use crate::request::CERTIFICATES;
use crate::time::unix_seconds;

const CONTRACTS: &str = "/v3/password-exempt-contract/contracts/";
const ORDERS: &str = "/v3/pay/transactions/out-trade-no/";

const ECHO: &[Field] = &[
    Field::required("echo_message", Rule::AnyText),
    Field::optional("notify_url", Rule::AnyText),
];

/// The state of a sandbox and what it answers.
pub(super) struct Gateway {
    identity: Identity,
    platform: Arc<Platform>,
    clock: Clock,
    contracts: Mutex<Contracts>,
    orders: Mutex<Orders>,
    /// How far the clock is ahead that sessions go by.
    ahead: Mutex<Duration>,
    faults: Faults,
    notifier: Notifier,
    record: Record,
}

impl Gateway {
    pub(super) fn new(identity: Identity, platform: Platform) -> Self {
        let platform = Arc::new(platform);
        let clock = Clock::new();
        Self {
            identity,
            notifier: Notifier::new(Arc::clone(&platform), clock.clone()),
            platform,
            clock,
            contracts: Mutex::default(),
            orders: Mutex::default(),
            ahead: Mutex::default(),
            faults: Faults::default(),
            record: Record::default(),
        }
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(super) fn notifier(&self) -> &Notifier {
        &self.notifier
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

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The whole way from a request to its reply.
    pub(super) fn handle(&self, request: HttpRequest) -> HttpResponse {
        if let Some(reply) = control::handle(self, &request) {
            return reply;
        }
        let now = unix_seconds(self.clock.now());
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
        let method = request.method.as_str();
        match (method, request.path()) {
            ("GET", CERTIFICATES) => self.platform.certificates(now),
            ("POST", "/v3/security/echo") => self.echo(request),
            ("POST", "/v3/pay/transactions/jsapi-with-contract") => {
                self.order(Orderer::Direct, request)
            }
            ("POST", "/v3/pay/partner/transactions/jsapi-with-contract") => {
                self.order(Orderer::Partner, request)
            }
            (_, path) => match (path.strip_prefix(CONTRACTS), path.strip_prefix(ORDERS)) {
                (Some(rest), _) => self.dispatch_contract(request, rest),
                (_, Some(rest)) => self.dispatch_order(request, rest),
                _ => Err(unknown_path()),
            },
        }
    }

    fn dispatch_order(&self, request: &HttpRequest, path: &str) -> Result<Answer, Refusal> {
        let mchid = self.identity.mchid();
        match (request.method.as_str(), path.strip_suffix("/close")) {
            ("GET", None) => {
                orders::check_mchid(mchid, request.query("mchid"))?;
                lock(&self.orders).query(mchid, path)
            }
            ("POST", Some(number)) => {
                let body = json_body(request)?;
                orders::check_mchid(mchid, body.get("mchid").and_then(Value::as_str))?;
                lock(&self.orders).close(number)
            }
            _ => Err(unknown_path()),
        }
    }

    fn dispatch_contract(&self, request: &HttpRequest, path: &str) -> Result<Answer, Refusal> {
        let segments: Vec<&str> = path.split('/').collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("POST", [mode, "pre-entrust-sign", way]) => {
                let (mode, way) = Mode::parse(mode)
                    .zip(Way::parse(way))
                    .ok_or_else(unknown_path)?;
                let (body, now) = (json_body(request)?, self.now());
                self.contracts()
                    .pre_sign(mode, way, self.identity.mchid(), body, now)
            }
            ("GET", ["service-id", service_id, "out-contract-code", code]) => {
                self.contracts().query(service_id, code)
            }
            (
                "POST",
                [
                    "service-id",
                    service_id,
                    "out-contract-code",
                    code,
                    "terminate",
                ],
            ) => {
                let (body, now) = (json_body(request)?, self.now());
                let mut contracts = self.contracts();
                let (answer, contract) = contracts.terminate(service_id, code, &body, now)?;
                self.notify(Kind::Terminated, contract, now);
                Ok(answer)
            }
            _ => Err(unknown_path()),
        }
    }

    fn order(&self, orderer: Orderer, request: &HttpRequest) -> Result<Answer, Refusal> {
        let body = json_body(request)?;
        let mchid = self.identity.mchid();
        // Orders go by the true clock: their `time_expire` comes from the caller's.
        let answer = orders::order(orderer, mchid, &body, &self.contracts(), self.clock.now())?;
        if orderer == Orderer::Direct {
            lock(&self.orders).keep(&body);
        }
        Ok(answer)
    }

    pub(super) fn user_signs(&self, code: &str, way: Way) -> Result<String, UserError> {
        let now = self.now();
        let mut contracts = self.contracts();
        let contract = contracts.sign(code, way, now)?;
        self.notify(Kind::Signed, contract, now);
        Ok(contract.contract_id().unwrap_or_default().to_owned())
    }

    pub(super) fn user_gives_up(&self, code: &str) -> Result<(), UserError> {
        let now = self.now();
        self.contracts().give_up(code, now)
    }

    pub(super) fn user_terminates(&self, code: &str) -> Result<(), UserError> {
        let now = self.now();
        let mut contracts = self.contracts();
        let contract = contracts.end_by_user(code, now)?;
        self.notify(Kind::Terminated, contract, now);
        Ok(())
    }

    pub(super) fn list_contracts(&self) -> Vec<Value> {
        self.contracts().list()
    }

    pub(super) fn advance_clock(&self, by: Duration) {
        let mut ahead = lock(&self.ahead);
        *ahead = ahead.saturating_add(by);
    }

    fn now(&self) -> SystemTime {
        let now = self.clock.now();
        now.checked_add(*lock(&self.ahead)).unwrap_or(now)
    }

    fn contracts(&self) -> MutexGuard<'_, Contracts> {
        lock(&self.contracts)
    }

    /// Called with the contracts locked, so that notifications are in the order of the changes.
    fn notify(&self, kind: Kind, contract: &Contract, now: SystemTime) {
        self.send(kind, &contract.notified(), now);
    }

    fn send(&self, kind: Kind, content: &Value, now: SystemTime) {
        let key = self.platform.api_v3_key();
        self.notifier
            .send(Notification::new(kind, content, key, now));
    }

    /// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4014551946>.
    fn echo(&self, request: &HttpRequest) -> Result<Answer, Refusal> {
        if request.header("Wechatpay-Serial").is_none() {
            return Err(Refusal::new(
                400,
                "PARAM_ERROR",
                "the header Wechatpay-Serial is missing",
            ));
        }
        let body = json_body(request)?;
        fields::check(&body, ECHO)?;
        let content = json!({"echo_message": body.get("echo_message")});
        if body.get("notify_url").is_some() {
            self.send(Kind::Echo, &content, self.clock.now());
        }
        Ok(Answer::ok(content))
    }
}

fn unknown_path() -> Refusal {
    Refusal::new(
        404,
        "RESOURCE_NOT_EXISTS",
        "the sandbox does not know this path and method",
    )
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
