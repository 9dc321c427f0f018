//! The gateway: authenticates and dispatches a request, injects faults, and signs the response.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::authorization::Identity;
use super::clock::Clock;
use super::contracts::Contracts;
use super::credentials::new_id;
use super::error::UserError;
use super::faults::{Fault, Faults};
use super::fields::{self, Field, Rule, pick};
use super::http::{HttpRequest, HttpResponse};
use super::notification::{Event, SentNotification};
use super::notifier::Notifier;
use super::orders::{Orders, Role};
use super::platform::Platform;
use super::pre_sign::{Mode, SigningFlow};
use super::record::{Newest, RecordedRequest, size_of};
use super::refunds::{Family, Refunds};
use super::response::{Refusal, Response};
use super::signing::Signing;
use super::sync::lock;
use crate::order::RefundStatus;
use crate::time::format_http_date;

const ECHO: &[Field] = &[
    Field::required("echo_message", Rule::AnyText),
    Field::optional("notify_url", Rule::AnyText),
];

/// The state of a sandbox, and its responses.
pub(super) struct Gateway {
    pub(super) identity: Identity,
    pub(super) platform: Platform,
    pub(super) clock: Clock,
    pub(super) store: Mutex<Store>,
    pub(super) faults: Faults,
    pub(super) notifier: Notifier,
    record: Mutex<Newest<RecordedRequest>>,
}

/// The merchant's contracts, orders and refunds.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Store {
    pub(super) contracts: Contracts,
    pub(super) orders: Orders,
    pub(super) refunds: Refunds,
    pub(super) is_first_merchant_certificate_revoked: bool,
}

impl Gateway {
    pub(super) fn new(identity: Identity, platform: Platform) -> Self {
        let clock = Clock::new();
        Self {
            identity,
            notifier: Notifier::new(platform.clone(), clock.clone()),
            platform,
            clock,
            store: Mutex::default(),
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
        // A 401 is not signed, since the gateway does not know the caller.
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
        let is_first_revoked = lock(&self.store).is_first_merchant_certificate_revoked;
        self.identity.check(request, now, is_first_revoked.into())?;
        let serial = request.header("Wechatpay-Serial");
        if serial.is_some_and(|serial| !self.platform.knows(serial)) {
            return Err(Refusal::malformed(
                "Wechatpay-Serial names no platform key of this merchant",
            ));
        }
        let decoded =
            |segment: &str| percent_decoded(segment).unwrap_or_else(|| segment.to_owned());
        let segments: Vec<String> = request.path().split('/').map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["", "v3", "certificates"]) => self.platform.certificates(now),
            ("POST", ["", "v3", "security", "echo"]) => self.echo(request),
            (_, ["", "v3", "password-exempt-contract", "contracts", rest @ ..]) => {
                self.respond_about_contract(request, rest)
            }
            (_, ["", "v3", "pay", "transactions", rest @ ..]) => {
                self.respond_about_order(request, Role::Direct, rest)
            }
            (_, ["", "v3", "pay", "partner", "transactions", rest @ ..]) => {
                self.respond_about_order(request, Role::Partner, rest)
            }
            (_, ["", "v3", rest @ ..]) => self.respond_about_refund(request, rest),
            _ => Err(unknown_path()),
        }
    }

    fn respond_about_contract(
        &self,
        request: &HttpRequest,
        segments: &[&str],
    ) -> Result<Response, Refusal> {
        let now = self.clock.contract_time();
        let contracts = &mut lock(&self.store).contracts;
        match (request.method.as_str(), segments) {
            ("POST", [mode, "pre-entrust-sign", flow]) => {
                let (mode, flow): (Mode, SigningFlow) =
                    serde_json::from_value(json!([mode, flow])).map_err(|_| unknown_path())?;
                contracts.pre_sign(mode, flow, &self.identity.mchid, &json_body(request)?, now)
            }
            ("GET", ["service-id", id, "out-contract-code", code]) => contracts.query(id, code),
            ("POST", ["service-id", id, "out-contract-code", code, end]) if *end == "terminate" => {
                let contract = contracts
                    .terminate(id, code, &json_body(request)?, now)?
                    .notified();
                self.notify(Event::TERMINATED, &contract, now);
                Ok(Response::ok(pick(
                    &contract,
                    "mchid service_id out_contract_code",
                )))
            }
            _ => Err(unknown_path()),
        }
    }

    fn respond_about_order(
        &self,
        request: &HttpRequest,
        role: Role,
        segments: &[&str],
    ) -> Result<Response, Refusal> {
        // `time_expire` is compared with the clock of signatures, because it comes from the caller's clock.
        let times = (self.clock.now(), self.clock.contract_time());
        let Store {
            contracts, orders, ..
        } = &mut *lock(&self.store);
        let mchid = &self.identity.mchid;
        let mut query = |name, number| {
            let ids = ["mchid", "sp_mchid", "sub_mchid"].map(|name| (name, request.query(name)));
            let order = orders.find(role, mchid, &json!(BTreeMap::from(ids)), name, number)?;
            Ok(Response::ok(order.shown.clone()))
        };
        match (request.method.as_str(), segments) {
            ("POST", ["jsapi-with-contract"]) => {
                orders.place(role, mchid, json_body(request)?, contracts, times)
            }
            ("GET", ["id", number]) => query("transaction_id", number),
            ("GET", ["out-trade-no", number]) => query("out_trade_no", number),
            ("POST", ["out-trade-no", number, "close"]) => {
                let ids = json_body(request)?;
                orders
                    .find(role, mchid, &ids, "out_trade_no", number)?
                    .close()
            }
            _ => Err(unknown_path()),
        }
    }

    fn respond_about_refund(
        &self,
        request: &HttpRequest,
        segments: &[&str],
    ) -> Result<Response, Refusal> {
        let now = self.clock.contract_time();
        let Store {
            orders, refunds, ..
        } = &mut *lock(&self.store);
        let sub_mchid = request.query("sub_mchid");
        match (request.method.as_str(), segments) {
            ("POST", ["refund", "domestic", "refunds"]) => {
                refunds.create(orders, Family::Domestic, json_body(request)?, now)
            }
            ("POST", ["ecommerce", "refunds", "apply"]) => {
                refunds.create(orders, Family::Platform, json_body(request)?, now)
            }
            ("GET", ["refund", "domestic", "refunds", number])
            | ("GET", ["ecommerce", "refunds", "out-refund-no", number]) => {
                refunds.query(sub_mchid, "out_refund_no", number)
            }
            ("GET", ["ecommerce", "refunds", "id", number]) => {
                refunds.query(sub_mchid, "refund_id", number)
            }
            _ => Err(unknown_path()),
        }
    }

    pub(super) fn revoke_first_certificate(&self) {
        lock(&self.store).is_first_merchant_certificate_revoked = true;
    }

    pub(super) fn user_signs(&self, code: &str, flow: SigningFlow) -> Result<String, UserError> {
        let now = self.clock.contract_time();
        let contracts = &mut lock(&self.store).contracts;
        let contract = contracts.sign(code, flow, now)?;
        self.notify(Event::SIGNED, &contract.notified(), now);
        Ok(contract.contract_id().unwrap_or_default().to_owned())
    }

    pub(super) fn user_gives_up(&self, code: &str) -> Result<(), UserError> {
        let now = self.clock.contract_time();
        lock(&self.store).contracts.give_up(code, now)
    }

    pub(super) fn user_terminates(&self, code: &str) -> Result<(), UserError> {
        let now = self.clock.contract_time();
        let contracts = &mut lock(&self.store).contracts;
        let contract = contracts.terminate_by_user(code, now)?;
        self.notify(Event::TERMINATED, &contract.notified(), now);
        Ok(())
    }

    /// Pays an order as the user. Returns the `transaction_id`.
    pub(super) fn user_pays(&self, out_trade_no: &str) -> Result<String, UserError> {
        let now = self.clock.contract_time();
        let orders = &mut lock(&self.store).orders;
        let paid = orders.pay(out_trade_no, now)?;
        self.notify(Event::PAID, paid, now);
        let id = fields::text(paid, "transaction_id").unwrap_or_default();
        Ok(id.to_owned())
    }

    pub(super) fn settle_refund(
        &self,
        number: &str,
        status: RefundStatus,
    ) -> Result<(), UserError> {
        let now = self.clock.contract_time();
        let event_type = format!("REFUND.{status}");
        let refunds = &mut lock(&self.store).refunds;
        let content = refunds.settle(number, &status, now)?;
        let event = Event::new(&event_type, "refund", "退款结果");
        self.notify(event, &content, now);
        Ok(())
    }

    /// Sends a notification and returns its id. The caller holds the lock of the store, so that notifications are in the
    /// order of the changes.
    pub(super) fn notify(&self, event: Event<'_>, content: &Value, now: u64) -> String {
        self.notifier
            .send(SentNotification::new(event, content, &self.platform, now))
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
    Refusal::not_found("the sandbox does not know this path and method")
}

/// Refuses a request without `User-Agent` or with an unsuitable `Accept`, as WeChat Pay does.
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

/// Returns a text with each `%XX` decoded, or `None` if it is malformed or the result is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}
