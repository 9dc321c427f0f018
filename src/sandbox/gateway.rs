//! The gateway: a request is authenticated and dispatched, and the response signed, with faults injected on its way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::authorization::Identity;
use super::clock::Clock;
use super::contracts::{Contract, Contracts, UserError};
use super::credentials::new_id;
use super::faults::{Fault, Faults};
use super::fields::{self, Field, Rule};
use super::http::{HttpRequest, HttpResponse};
use super::notification::{Event, Notification};
use super::notifier::Notifier;
use super::orders::{self, Orders, Role};
use super::platform::Platform;
use super::pre_sign::{Mode, SigningFlow};
use super::record::{Newest, RecordedRequest, size_of};
use super::response::{Refusal, Response};
use super::signing::Signing;
use crate::time::format_http_date;

const CONTRACTS: &str = "/v3/password-exempt-contract/contracts/";
const ORDERS: &str = "/v3/pay/transactions/out-trade-no/";

const ECHO: &[Field] = &[
    Field::required("echo_message", Rule::AnyText),
    Field::optional("notify_url", Rule::AnyText),
];

/// The state of a sandbox, and its responses.
pub(super) struct Gateway {
    pub(super) identity: Identity,
    pub(super) platform: Platform,
    pub(super) clock: Clock,
    pub(super) contracts: Mutex<Contracts>,
    pub(super) orders: Mutex<Orders>,
    pub(super) faults: Faults,
    pub(super) notifier: Notifier,
    record: Mutex<Newest<RecordedRequest>>,
}

impl Gateway {
    pub(super) fn new(identity: Identity, platform: Platform) -> Self {
        let clock = Clock::new();
        Self {
            identity,
            notifier: Notifier::new(platform.clone(), clock.clone()),
            platform,
            clock,
            contracts: Mutex::default(),
            orders: Mutex::default(),
            faults: Faults::default(),
            record: Mutex::new(Newest::new()),
        }
    }

    /// Carries a request out and returns the signed response.
    pub(super) fn handle(&self, request: HttpRequest) -> HttpResponse {
        let now = self.clock.now();
        let fault = self.faults.take(&request);
        let is_let_through = fault.as_ref().is_none_or(Fault::lets_pass);
        let result = is_let_through.then(|| self.respond(&request, now));
        let took_effect = matches!(result, Some(Ok(_)));
        let mut response = match result {
            Some(result) => result
                .unwrap_or_else(|Refusal(refusal)| refusal)
                .into_http(),
            None => HttpResponse::new(0, ""),
        };
        // Of a 401 the gateway does not know to whom it speaks.
        let mut signing = match response.status {
            401 => Signing::Missing,
            _ => Signing::Right,
        };
        if let Some(fault) = &fault {
            fault.apply(&mut response, &mut signing);
        }
        let requested = request.header("Wechatpay-Serial");
        let signature = signing.headers(&self.platform, requested, &response.body, now);
        response = response
            .header("Date", format_http_date(now))
            .header("Request-ID", new_id());
        for (name, value) in signature {
            response = response.header(&name, value);
        }
        self.record(request, response.status, took_effect);
        if let Some(fault) = &fault {
            fault.apply_after_signing(&mut response);
        }
        response
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.record).to_vec()
    }

    pub(super) fn clear_requests(&self) {
        *lock(&self.record) = Newest::new();
    }

    fn record(&self, request: HttpRequest, status: u16, took_effect: bool) {
        let recorded = RecordedRequest {
            method: request.method,
            target: request.target,
            headers: request.headers,
            body: request.body,
            status,
            took_effect,
        };
        let headers = size_of(&recorded.headers);
        let size = recorded.target.len() + headers + recorded.body.len();
        lock(&self.record).push(recorded, size);
    }

    fn respond(&self, request: &HttpRequest, now: u64) -> Result<Response, Refusal> {
        check_headers(request)?;
        self.identity.check(request, now)?;
        let serial = request.header("Wechatpay-Serial");
        if serial.is_some_and(|serial| !self.platform.knows(serial)) {
            return Err(Refusal::malformed(
                "Wechatpay-Serial names no platform key of this merchant",
            ));
        }
        self.dispatch(request, now)
    }

    fn dispatch(&self, request: &HttpRequest, now: u64) -> Result<Response, Refusal> {
        match (request.method.as_str(), request.path()) {
            ("GET", "/v3/certificates") => self.platform.certificates(now),
            ("POST", "/v3/security/echo") => self.echo(request),
            ("POST", "/v3/pay/transactions/jsapi-with-contract") => {
                self.order(Role::Direct, request)
            }
            ("POST", "/v3/pay/partner/transactions/jsapi-with-contract") => {
                self.order(Role::Partner, request)
            }
            (_, path) => match (path.strip_prefix(CONTRACTS), path.strip_prefix(ORDERS)) {
                (Some(rest), _) => self.dispatch_contract(request, rest),
                (_, Some(rest)) => self.dispatch_order(request, rest),
                _ => Err(unknown_path()),
            },
        }
    }

    fn dispatch_order(&self, request: &HttpRequest, path: &str) -> Result<Response, Refusal> {
        let mchid = &self.identity.mchid;
        match (request.method.as_str(), path.strip_suffix("/close")) {
            ("GET", None) => {
                orders::check_mchid(mchid, request.query("mchid"))?;
                lock(&self.orders).query(mchid, path)
            }
            ("POST", Some(number)) => {
                let body = json_body(request)?;
                orders::check_mchid(mchid, fields::text(&body, "mchid"))?;
                lock(&self.orders).close(number)
            }
            _ => Err(unknown_path()),
        }
    }

    fn dispatch_contract(&self, request: &HttpRequest, path: &str) -> Result<Response, Refusal> {
        let segments: Vec<&str> = path.split('/').collect();
        let now = self.clock.contract_time();
        match (request.method.as_str(), segments.as_slice()) {
            ("POST", [mode, "pre-entrust-sign", flow]) => {
                let (mode, flow) = Mode::parse(mode)
                    .zip(SigningFlow::parse(flow))
                    .ok_or_else(unknown_path)?;
                let (body, mchid) = (json_body(request)?, &self.identity.mchid);
                lock(&self.contracts).pre_sign(mode, flow, mchid, body, now)
            }
            ("GET", ["service-id", service_id, "out-contract-code", code]) => {
                lock(&self.contracts).query(service_id, code)
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
                let body = json_body(request)?;
                let mut contracts = lock(&self.contracts);
                let (response, contract) = contracts.terminate(service_id, code, &body, now)?;
                self.notify_of(Event::TERMINATED, contract, now);
                Ok(response)
            }
            _ => Err(unknown_path()),
        }
    }

    fn order(&self, role: Role, request: &HttpRequest) -> Result<Response, Refusal> {
        let body = json_body(request)?;
        let mchid = &self.identity.mchid;
        // Orders go by the true clock: their `time_expire` comes from the caller's.
        let now = self.clock.now();
        let response = orders::order(role, mchid, &body, &lock(&self.contracts), now)?;
        if role == Role::Direct {
            lock(&self.orders).keep(&body);
        }
        Ok(response)
    }

    pub(super) fn user_signs(&self, code: &str, flow: SigningFlow) -> Result<String, UserError> {
        let now = self.clock.contract_time();
        let mut contracts = lock(&self.contracts);
        let contract = contracts.sign(code, flow, now)?;
        self.notify_of(Event::SIGNED, contract, now);
        Ok(contract.contract_id().unwrap_or_default().to_owned())
    }

    pub(super) fn user_gives_up(&self, code: &str) -> Result<(), UserError> {
        lock(&self.contracts).give_up(code, self.clock.contract_time())
    }

    pub(super) fn user_terminates(&self, code: &str) -> Result<(), UserError> {
        let now = self.clock.contract_time();
        let mut contracts = lock(&self.contracts);
        let contract = contracts.terminate_by_user(code, now)?;
        self.notify_of(Event::TERMINATED, contract, now);
        Ok(())
    }

    /// Called with the contracts locked, so that notifications are in the order of the changes.
    fn notify_of(&self, event: Event<'_>, contract: &Contract, now: u64) {
        self.notify(event, &contract.notified(), now);
    }

    /// Sends a notification and returns its id.
    pub(super) fn notify(&self, event: Event<'_>, content: &Value, now: u64) -> String {
        let notification = Notification::new(event, content, &self.platform, now);
        let id = notification.id.clone();
        self.notifier.send(notification);
        id
    }

    /// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4014551946>.
    fn echo(&self, request: &HttpRequest) -> Result<Response, Refusal> {
        if request.header("Wechatpay-Serial").is_none() {
            return Err(Refusal::malformed("the header Wechatpay-Serial is missing"));
        }
        let body = json_body(request)?;
        fields::check(&body, ECHO)?;
        let content = json!({"echo_message": body.get("echo_message")});
        if body.get("notify_url").is_some() {
            self.notify(Event::ECHO, &content, self.clock.now());
        }
        Ok(Response::ok(content))
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
    if accepts_json && request.header("User-Agent").is_some() {
        return Ok(());
    }
    Err(Refusal::malformed(
        "the header Accept or User-Agent is missing or unsuitable",
    ))
}

fn json_body(request: &HttpRequest) -> Result<Value, Refusal> {
    let is_json = request
        .header("Content-Type")
        .is_some_and(|content_type| content_type.starts_with("application/json"));
    if !is_json {
        return Err(Refusal::malformed("Content-Type is not application/json"));
    }
    serde_json::from_slice(&request.body).map_err(|_| Refusal::malformed("the body is not JSON"))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
