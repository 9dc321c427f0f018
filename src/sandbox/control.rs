//! The paths under `/sandbox/`, through which a client in any language acts as the user and injects faults.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::credentials::new_id;
use super::error::{SandboxError, UserError};
use super::faults::{Fault, FaultInjection};
use super::gateway::Gateway;
use super::http::{HttpRequest, Server};
use super::notification::{Event, SentNotification};
use super::platform::SignsWith;
use super::pre_sign::SigningFlow;
use super::record::RecordedRequest;
use super::response::{Refusal, Response};
use super::signing::Signing;
use super::snapshot;
use super::sync::lock;
use crate::keys::Validity;

/// The page at `/sandbox/`. `NONCE` is replaced by the nonce of its content security policy.
const PAGE: &str = include_str!("page.html");

/// The maximum of `connections` in `hang-up`. A larger number would lock out every client for too long.
const MOST_HANG_UPS: usize = 1000;

/// The longest time for which connections can be refused, in milliseconds.
const LONGEST_REFUSAL: u64 = 60 * 60 * 1000;

type JsonResult = Result<Value, Refusal>;

impl From<SandboxError> for Refusal {
    fn from(error: SandboxError) -> Self {
        invalid(error)
    }
}

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        Self::by_sandbox(409, error)
    }
}

/// Handles a request under `/sandbox/`. Returns `None` for any other.
pub(super) fn handle(
    gateway: &Gateway,
    server: &Arc<Server>,
    request: &HttpRequest,
) -> Option<Response> {
    let action = request.path().strip_prefix("/sandbox/")?;
    let result = match request.method.as_str() {
        "GET" if action.is_empty() => return Some(page()),
        "GET" => show(gateway, server, action),
        "POST" => Body::parse(&request.body).and_then(|body| act(gateway, server, action, &body)),
        _ => Err(unknown_action()),
    };
    Some(result.map_or_else(|Refusal(refusal)| *refusal, Response::ok))
}

/// Returns the page on which a person acts as the user. It runs only its own script and calls only its own origin.
fn page() -> Response {
    let nonce = new_id();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Response::new(200, PAGE.replace("NONCE", &nonce))
        .header("Content-Type", "text/html; charset=utf-8")
        .header("Content-Security-Policy", policy)
        .header("X-Content-Type-Options", "nosniff")
        .header("Cache-Control", "no-store")
}

fn unknown_action() -> Refusal {
    Refusal::by_sandbox(404, "the sandbox has no such path and method")
}

fn invalid(message: impl ToString) -> Refusal {
    Refusal::by_sandbox(400, message)
}

fn show(gateway: &Gateway, server: &Server, what: &str) -> JsonResult {
    Ok(match what {
        "health" => json!({"status": "ok", "mchid": gateway.identity.mchid}),
        "contracts" => json!(lock(&gateway.store).contracts.list()),
        "orders" => json!(lock(&gateway.store).orders.list()),
        "refunds" => json!(lock(&gateway.store).refunds.list()),
        "requests" => gateway.requests().into_iter().map(show_request).collect(),
        "notifications" => {
            let sent = gateway.notifier.sent();
            sent.into_iter().map(show_notification).collect()
        }
        "connections" => json!({
            "accepted": server.connections_accepted(),
            "open": server.connections_open(),
        }),
        "snapshot" => snapshot::take(gateway),
        _ => return Err(unknown_action()),
    })
}

fn act(gateway: &Gateway, server: &Arc<Server>, action: &str, body: &Body) -> JsonResult {
    let code = || body.text("out_contract_code");
    let signs = |flow| Ok(json!({"contract_id": gateway.user_signs(&code()?, flow)?}));
    match action {
        "sign" => return signs(SigningFlow::MiniProgram),
        "pay-and-sign" => return signs(SigningFlow::PayRedirectSign),
        "pay" => {
            let number = body.text("out_trade_no")?;
            return Ok(json!({"transaction_id": gateway.user_pays(&number)?}));
        }
        "refund" => gateway.settle_refund(&body.text("out_refund_no")?, body.get("status")?)?,
        "give-up" => gateway.user_gives_up(&code()?)?,
        "terminate" => gateway.user_terminates(&code()?)?,
        "clock" => move_clock(gateway, body)?,
        "fault" => lock(&gateway.faults).push(body.fault()?),
        "clear-faults" => lock(&gateway.faults).clear(),
        "snapshot" => snapshot::load(gateway, body.0.clone())?,
        "reset" => {
            snapshot::reset(gateway);
            server.reset();
        }
        "hang-up" => server.hang_up(body.up_to("connections", MOST_HANG_UPS)?),
        "close-connections" => server.close_connections(),
        "refuse-connections" => {
            let time = body.up_to("milliseconds", LONGEST_REFUSAL)?;
            let refused = server.refuse_for(Duration::from_millis(time));
            refused.map_err(|error| Refusal::by_sandbox(409, error))?;
        }
        _ if action.starts_with("notify") => return act_on_notifications(gateway, action, body),
        _ => return act_on_keys(gateway, action, body),
    }
    Ok(json!({}))
}

fn act_on_notifications(gateway: &Gateway, action: &str, body: &Body) -> JsonResult {
    let notifier = &gateway.notifier;
    match action {
        "notify" => return notify(gateway, body),
        "notify-again" => return Ok(json!({"sent": notifier.send_again(&body.text("id")?)})),
        "notify-url" => notifier.deliver_to(&body.text("url")?)?,
        "notify-schedule" => {
            let seconds: Vec<u64> = body.get("seconds")?;
            notifier.set_schedule(seconds.into_iter().map(Duration::from_secs));
        }
        "notify-timeout" => {
            notifier.set_reply_timeout(Duration::from_millis(body.get("milliseconds")?))
        }
        "notify-signing" => notifier.set_signing(body.get("signing")?),
        _ => return Err(unknown_action()),
    }
    Ok(json!({}))
}

fn act_on_keys(gateway: &Gateway, action: &str, body: &Body) -> JsonResult {
    let platform = &gateway.platform;
    let serial_no = || body.text("serial_no");
    match action {
        "public-key" => platform.offer_public_key(body.get("offered")?),
        "issue-certificate" => {
            let validity = Validity {
                not_before: body.get("not_before")?,
                not_after: body.get("not_after")?,
            };
            let pem = platform.issue_certificate(&serial_no()?, validity)?;
            return Ok(json!({"pem": pem}));
        }
        "withdraw-certificate" => platform.withdraw_certificate(&serial_no()?),
        "sign-with" => platform.sign_with(body.signs_with()?),
        "sign-body" => {
            let (text, now) = (body.text("body")?, gateway.clock.now());
            let signing: Signing = body.get_or("signing", Signing::Right)?;
            return Ok(json!({"headers": signing.headers(platform, None, text.as_bytes(), now)}));
        }
        "forge-list" => platform.forge_list(body.get("forgery")?),
        "revoke-merchant-certificate" => gateway.revoke_first_certificate(),
        _ => return Err(unknown_action()),
    }
    Ok(json!({}))
}

fn notify(gateway: &Gateway, body: &Body) -> JsonResult {
    let (event_type, original_type) = (body.text("event_type")?, body.text("original_type")?);
    let summary = body.get_or("summary", event_type.clone())?;
    let event = Event::new(&event_type, &original_type, &summary);
    let content: Value = body.get("content")?;
    Ok(json!({"id": gateway.notify(event, &content, gateway.clock.times())}))
}

fn move_clock(gateway: &Gateway, body: &Body) -> Result<(), Refusal> {
    body.only(&["advance_seconds", "offset_seconds"])?;
    let offset = gateway.clock.offsets().offset_seconds;
    let offset = body.get_or("offset_seconds", offset)?;
    let advance = body.get_or("advance_seconds", 0)?;
    gateway.clock.offsets().offset_seconds = offset;
    gateway.clock.advance(advance);
    Ok(())
}

fn show_request(request: RecordedRequest) -> Value {
    json!({
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body": String::from_utf8_lossy(&request.body),
        "status": request.status,
        "took_effect": request.took_effect,
    })
}

fn show_notification(sent: SentNotification) -> Value {
    let statuses: Vec<_> = sent.attempts.iter().map(|attempt| attempt.status).collect();
    json!({
        "id": sent.id,
        "event_type": sent.event_type,
        "out_contract_code": sent.out_contract_code,
        "acknowledged": sent.is_acknowledged(),
        "statuses": statuses,
        "headers": sent.headers,
        "body": String::from_utf8_lossy(&sent.body),
    })
}

/// The JSON object that was posted.
struct Body(Value);

impl Body {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let body = if body.is_empty() { b"{}" } else { body };
        serde_json::from_slice(body)
            .map(|fields: Map<_, _>| Self(fields.into()))
            .map_err(|error| invalid(format!("the body is not a JSON object: {error}")))
    }

    /// Refuses all other fields. If every field is optional, a misspelt one would otherwise be ignored.
    fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        let mut fields = self.0.as_object().into_iter().flat_map(Map::keys);
        match fields.find(|field| !names.contains(&field.as_str())) {
            None => Ok(()),
            Some(other) => Err(invalid(format!(
                "{other}: unknown field, known: {}",
                names.join(", ")
            ))),
        }
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, Refusal> {
        let missing = || invalid(format!("{name} is missing"));
        let value = self.0.get(name).ok_or_else(missing)?;
        T::deserialize(value).map_err(|error| invalid(format!("{name}: {error}")))
    }

    fn get_or<T: DeserializeOwned>(&self, name: &str, default: T) -> Result<T, Refusal> {
        match self.0.get(name) {
            None => Ok(default),
            Some(_) => self.get(name),
        }
    }

    fn up_to<T>(&self, name: &str, most: T) -> Result<T, Refusal>
    where
        T: DeserializeOwned + Display + PartialOrd,
    {
        let found: T = self.get(name)?;
        if found > most {
            let problem = format!("{name}: found {found}, wanted 0 to {most}");
            return Err(invalid(problem));
        }
        Ok(found)
    }

    fn text(&self, name: &str) -> Result<String, Refusal> {
        self.get(name)
    }

    fn signs_with(&self) -> Result<SignsWith, Refusal> {
        self.only(&["key", "moving_permille"])?;
        Ok(match self.get_or("key", None)? {
            Some(key) => SignsWith::Key(key),
            None if self.0.get("moving_permille").is_none_or(Value::is_null) => {
                SignsWith::Requested
            }
            None => SignsWith::Moving {
                permille: self.up_to("moving_permille", 1000)?,
            },
        })
    }

    fn fault(&self) -> Result<FaultInjection, Refusal> {
        let fault = self.fault_alone()?.times(self.get_or("times", 1)?);
        Ok(match (self.0.get("method"), self.0.get("path")) {
            (None, None) => fault,
            _ => fault.on(self.text("method")?, self.text("path")?),
        })
    }

    fn fault_alone(&self) -> Result<Fault, Refusal> {
        let name = self.text("fault")?;
        // Either the single value of the fault, or an object with its fields.
        let value: Value = match name.as_str() {
            "late" => self.get("milliseconds")?,
            "informational" => self.get("status")?,
            "signature" => self.get("signing")?,
            "duplicate_header" => self.get("name")?,
            "body" | "raw" => self.get(&name)?,
            _ => self.0.clone(),
        };
        let with_value = Fault::deserialize(json!({name.as_str(): value}));
        // A fault without parameters.
        with_value.or_else(|error| {
            let problem = |_| invalid(format!("fault: {error}"));
            Fault::deserialize(Value::from(name.as_str())).map_err(problem)
        })
    }
}
