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
use super::faults::{self, Fault, FaultInjection};
use super::fields::{self, Field, Rule, pick};
use super::http::HttpRequest;
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

/// The state of a sandbox. Its methods handle requests and act as the user.
pub(super) struct Gateway {
    pub(super) identity: Identity,
    pub(super) platform: Platform,
    pub(super) clock: Clock,
    pub(super) store: Mutex<Store>,
    /// The faults that are not used up, oldest first.
    pub(super) faults: Mutex<Vec<FaultInjection>>,
    pub(super) notifier: Notifier,
    pub(super) requests: Mutex<Newest<RecordedRequest>>,
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
        let clock = Clock::default();
        Self {
            identity,
            notifier: Notifier::new(platform.clone(), clock.clone()),
            platform,
            clock,
            store: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::new(Newest::new()),
        }
    }

    /// Carries a request out and returns the signed response.
    pub(super) fn handle(&self, request: HttpRequest) -> Response {
        let now = self.clock.now();
        let fault = faults::take(&mut lock(&self.faults), &request);
        let is_let_through = fault.as_ref().is_none_or(Fault::lets_pass);
        let result = is_let_through.then(|| self.respond(&request, now));
        let took_effect = matches!(result, Some(Ok(_)));
        let mut response = match result {
            Some(Ok(response)) => response,
            Some(Err(Refusal(response))) => *response,
            None => Response::new(0, ""),
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
        lock(&self.requests).to_vec()
    }

    fn record(&self, request: HttpRequest, status: u16, took_effect: bool) {
        let size = request.target.len() + size_of(&request.headers) + request.body.len();
        let recorded = RecordedRequest {
            method: request.method,
            target: request.target,
            headers: request.headers,
            body: request.body,
            status,
            took_effect,
        };
        lock(&self.requests).push(recorded, size);
    }

    fn respond(&self, request: &HttpRequest, now: u64) -> Result<Response, Refusal> {
        check_headers(request)?;
        let is_first_revoked = lock(&self.store).is_first_merchant_certificate_revoked;
        self.identity.check(request, now, is_first_revoked.into())?;
        let serial = request.header("Wechatpay-Serial");
        if serial.is_some_and(|serial| !self.platform.knows(serial)) {
            let problem = "Wechatpay-Serial names no platform key of this merchant";
            return Err(Refusal::malformed(problem));
        }
        let segments = request.path().split('/').map(percent_decoded);
        let segments: Vec<String> = segments.map(Option::unwrap_or_default).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["", "v3", "certificates"]) => self.platform.certificates(now),
            ("POST", ["", "v3", "security", "echo"]) => self.echo(request),
            (_, ["", "v3", "password-exempt-contract", "contracts", path @ ..]) => {
                self.contract_api(request, path)
            }
            (_, ["", "v3", "pay", path @ ..]) => self.order_api(request, path),
            (_, ["", "v3", path @ ..]) => self.refund_api(request, path),
            _ => Err(unknown_path()),
        }
    }

    fn contract_api(&self, request: &HttpRequest, path: &[&str]) -> Result<Response, Refusal> {
        let times @ (_, now) = self.clock.times();
        let contracts = &mut lock(&self.store).contracts;
        match (request.method.as_str(), path) {
            ("POST", [mode, "pre-entrust-sign", flow]) => {
                let (mode, flow): (Mode, SigningFlow) =
                    serde_json::from_value(json!([mode, flow])).map_err(|_| unknown_path())?;
                contracts.pre_sign(mode, flow, &self.identity.mchid, &json_body(request)?, now)
            }
            ("GET", ["service-id", id, "out-contract-code", code]) => contracts.query(id, code),
            ("POST", ["service-id", id, "out-contract-code", code, end]) if *end == "terminate" => {
                let contract = contracts.terminate(id, code, &json_body(request)?, now)?;
                let content = contract.notified();
                self.notify(Event::TERMINATED, &content, times);
                let names = "mchid service_id out_contract_code";
                Ok(Response::ok(pick(&content, names)))
            }
            _ => Err(unknown_path()),
        }
    }

    fn order_api(&self, request: &HttpRequest, path: &[&str]) -> Result<Response, Refusal> {
        let (role, path) = match path {
            ["transactions", path @ ..] => (Role::Direct, path),
            ["partner", "transactions", path @ ..] => (Role::Partner, path),
            _ => return Err(unknown_path()),
        };
        let times = self.clock.times();
        let (store, mchid) = (&mut *lock(&self.store), &self.identity.mchid);
        let mut query = |name, number| {
            let ids = ["mchid", "sp_mchid", "sub_mchid"].map(|name| (name, request.query(name)));
            let ids = json!(BTreeMap::from(ids));
            let order = store.orders.find(role, mchid, &ids, name, number)?;
            Ok(Response::ok(order.shown.clone()))
        };
        match (request.method.as_str(), path) {
            ("POST", ["jsapi-with-contract"]) => {
                let (body, contracts) = (json_body(request)?, &store.contracts);
                store.orders.place(role, mchid, body, contracts, times)
            }
            ("GET", ["id", number]) => query("transaction_id", number),
            ("GET", ["out-trade-no", number]) => query("out_trade_no", number),
            ("POST", ["out-trade-no", number, "close"]) => {
                let (ids, name) = (json_body(request)?, "out_trade_no");
                let order = store.orders.find(role, mchid, &ids, name, number)?;
                order.close()
            }
            _ => Err(unknown_path()),
        }
    }

    fn refund_api(&self, request: &HttpRequest, path: &[&str]) -> Result<Response, Refusal> {
        let (_, now) = self.clock.times();
        let store = &mut *lock(&self.store);
        let query = |name, number| {
            let sub_mchid = request.query("sub_mchid");
            store.refunds.query(sub_mchid, name, number)
        };
        let family = match (request.method.as_str(), path) {
            ("POST", ["refund", "domestic", "refunds"]) => Family::Domestic,
            ("POST", ["ecommerce", "refunds", "apply"]) => Family::Platform,
            ("GET", ["refund", "domestic", "refunds", number])
            | ("GET", ["ecommerce", "refunds", "out-refund-no", number]) => {
                return query("out_refund_no", number);
            }
            ("GET", ["ecommerce", "refunds", "id", number]) => return query("refund_id", number),
            _ => return Err(unknown_path()),
        };
        let (body, orders) = (json_body(request)?, &mut store.orders);
        store.refunds.create(orders, family, body, now)
    }

    pub(super) fn revoke_first_certificate(&self) {
        lock(&self.store).is_first_merchant_certificate_revoked = true;
    }

    pub(super) fn user_signs(&self, code: &str, flow: SigningFlow) -> Result<String, UserError> {
        let times @ (_, now) = self.clock.times();
        let contracts = &mut lock(&self.store).contracts;
        let contract = contracts.find(code)?;
        contract.sign(flow, now)?;
        self.notify(Event::SIGNED, &contract.notified(), times);
        Ok(contract.contract_id().unwrap_or_default().to_owned())
    }

    pub(super) fn user_gives_up(&self, code: &str) -> Result<(), UserError> {
        let (_, now) = self.clock.times();
        lock(&self.store).contracts.find(code)?.give_up(now)
    }

    pub(super) fn user_terminates(&self, code: &str) -> Result<(), UserError> {
        let times @ (_, now) = self.clock.times();
        let contracts = &mut lock(&self.store).contracts;
        let contract = contracts.find(code)?;
        contract.terminate("USER_TERMINATE", json!({}), now)?;
        self.notify(Event::TERMINATED, &contract.notified(), times);
        Ok(())
    }

    /// Pays an order as the user. Returns the `transaction_id`.
    pub(super) fn user_pays(&self, out_trade_no: &str) -> Result<String, UserError> {
        let times @ (_, now) = self.clock.times();
        let orders = &mut lock(&self.store).orders;
        let order = orders.of_user(out_trade_no)?;
        let transaction_id = order.pay(now)?;
        self.notify(Event::PAID, &order.shown, times);
        Ok(transaction_id)
    }

    pub(super) fn settle_refund(
        &self,
        number: &str,
        status: RefundStatus,
    ) -> Result<(), UserError> {
        let times @ (_, now) = self.clock.times();
        let event_type = format!("REFUND.{status}");
        let refunds = &mut lock(&self.store).refunds;
        let content = refunds.settle(number, &status, now)?;
        let event = Event::new(&event_type, "refund", "退款结果");
        self.notify(event, &content, times);
        Ok(())
    }

    /// Sends a notification and returns its id. A caller that has changed the store still holds its lock, so that
    /// notifications are in the order of the changes.
    ///
    /// `times` are those of [`Clock::times`], read before any lock is taken.
    pub(super) fn notify(
        &self,
        event: Event<'_>,
        content: &Value,
        (now, created): (u64, u64),
    ) -> String {
        let notification = SentNotification::new(event, content, &self.platform, created);
        self.notifier.send(notification, now)
    }

    /// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4014551946>.
    fn echo(&self, request: &HttpRequest) -> Result<Response, Refusal> {
        if request.header("Wechatpay-Serial").is_none() {
            return Err(Refusal::malformed("the header Wechatpay-Serial is missing"));
        }
        let body = json_body(request)?;
        fields::check(&body, &[ECHO])?;
        let content = json!({"echo_message": body.get("echo_message")});
        if body.get("notify_url").is_some() {
            self.notify(Event::ECHO, &content, self.clock.times());
        }
        Ok(Response::ok(content))
    }
}

fn unknown_path() -> Refusal {
    Refusal::not_found("the sandbox does not know this path and method")
}

/// Refuses a request without `User-Agent` or with an unsuitable `Accept`, as WeChat Pay does.
fn check_headers(request: &HttpRequest) -> Result<(), Refusal> {
    let accept = request.header("Accept").unwrap_or_default();
    let accepts_json = accept.contains("application/json") || accept.contains("*/*");
    let problem = "the header Accept or User-Agent is missing or unsuitable";
    match request.header("User-Agent") {
        Some(_) if accepts_json => Ok(()),
        _ => Err(Refusal::malformed(problem)),
    }
}

fn json_body(request: &HttpRequest) -> Result<Value, Refusal> {
    let content_type = request.header("Content-Type").unwrap_or_default();
    if !content_type.starts_with("application/json") {
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
        // `from_str_radix` accepts a sign.
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn two_hexadecimal_digits_follow_each_percent_sign() {
        assert_eq!(percent_decoded("a%2Fb%e4%b8%ad").as_deref(), Some("a/b中"));
        for malformed in ["%", "%2", "%zz", "%+1", "%-1", "% 1", "%E4%B8", "%2中"] {
            assert_eq!(percent_decoded(malformed), None, "{malformed}");
        }
    }
}
