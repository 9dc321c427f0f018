//! The paths under `/sandbox/`, through which a client in any language acts as the user and injects faults.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::credentials::new_id;
use super::error::{SandboxError, UserError};
use super::faults::{Fault, FaultInjection};
use super::gateway::Gateway;
use super::http::{HttpRequest, HttpResponse, Server};
use super::notification::{Event, SentNotification};
use super::platform::SignsWith;
use super::pre_sign::SigningFlow;
use super::record::RecordedRequest;
use super::response::Response;
use super::signing::Signing;
use super::snapshot;
use super::sync::lock;
use crate::keys::Validity;

/// The page at `/sandbox/`. `NONCE` is replaced by the nonce of its content security policy.
const PAGE: &str = include_str!("page.html");

type Controlled = Result<Value, Problem>;

/// The status and the message of a refused request.
struct Problem(u16, String);

impl From<SandboxError> for Problem {
    fn from(error: SandboxError) -> Self {
        Self(400, error.to_string())
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        Self(409, error.to_string())
    }
}

/// Handles a request under `/sandbox/`. Returns `None` for any other.
pub(super) fn handle(
    gateway: &Gateway,
    server: &Arc<Server>,
    request: &HttpRequest,
) -> Option<HttpResponse> {
    let action = request.path().strip_prefix("/sandbox/")?;
    let result = match request.method.as_str() {
        "GET" if action.is_empty() => return Some(page()),
        "GET" => show(gateway, server, action),
        "POST" => {
            Order::parse(&request.body).and_then(|order| act(gateway, server, action, &order))
        }
        _ => Err(unknown_action()),
    };
    Some(match result {
        Ok(body) => Response::ok(body).into_http(),
        Err(Problem(status, message)) => refuse(status, &message),
    })
}

/// Returns the page on which a person plays the user. It runs only its own script and calls only its own origin.
fn page() -> HttpResponse {
    let nonce = new_id();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HttpResponse::new(200, PAGE.replace("NONCE", &nonce))
        .header("Content-Type", "text/html; charset=utf-8")
        .header("Content-Security-Policy", policy)
        .header("X-Content-Type-Options", "nosniff")
        .header("Cache-Control", "no-store")
}

/// Returns the response to a request that the sandbox itself refuses.
pub(super) fn refuse(status: u16, message: &str) -> HttpResponse {
    Response::error(status, "SANDBOX_ERROR", message).into_http()
}

fn unknown_action() -> Problem {
    Problem(404, "the sandbox has no such path and method".to_owned())
}

fn show(gateway: &Gateway, server: &Server, what: &str) -> Controlled {
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

fn act(gateway: &Gateway, server: &Arc<Server>, action: &str, order: &Order) -> Controlled {
    let code = || order.text("out_contract_code");
    let signs = |flow| Ok(json!({"contract_id": gateway.user_signs(&code()?, flow)?}));
    match action {
        "sign" => return signs(SigningFlow::MiniProgram),
        "pay-and-sign" => return signs(SigningFlow::PayRedirectSign),
        "pay" => {
            let number = order.text("out_trade_no")?;
            return Ok(json!({"transaction_id": gateway.user_pays(&number)?}));
        }
        "refund" => gateway.settle_refund(&order.text("out_refund_no")?, order.get("status")?)?,
        "give-up" => gateway.user_gives_up(&code()?)?,
        "terminate" => gateway.user_terminates(&code()?)?,
        "clock" => move_clock(gateway, order)?,
        "fault" => lock(&gateway.faults).push(order.fault()?),
        "clear-faults" => lock(&gateway.faults).clear(),
        "snapshot" => snapshot::load(gateway, order.0.clone())?,
        "reset" => {
            snapshot::reset(gateway);
            server.hang_up(0);
        }
        "hang-up" => server.hang_up(order.get("connections")?),
        "close-connections" => server.close_connections(),
        "refuse-connections" => server
            .refuse_for(order.milliseconds()?)
            .map_err(|error| Problem(409, error.to_string()))?,
        _ if action.starts_with("notify") => return act_on_notifications(gateway, action, order),
        _ => return act_on_keys(gateway, action, order),
    }
    Ok(json!({}))
}

fn act_on_notifications(gateway: &Gateway, action: &str, order: &Order) -> Controlled {
    let notifier = &gateway.notifier;
    match action {
        "notify" => return notify(gateway, order),
        "notify-again" => return Ok(json!({"sent": notifier.send_again(&order.text("id")?)})),
        "notify-url" => notifier.deliver_to(&order.text("url")?)?,
        "notify-schedule" => {
            let seconds: Vec<u64> = order.get("seconds")?;
            notifier.set_schedule(seconds.into_iter().map(Duration::from_secs));
        }
        "notify-timeout" => notifier.set_reply_timeout(order.milliseconds()?),
        "notify-signing" => notifier.set_signing(order.get("signing")?),
        _ => return Err(unknown_action()),
    }
    Ok(json!({}))
}

fn act_on_keys(gateway: &Gateway, action: &str, order: &Order) -> Controlled {
    let platform = &gateway.platform;
    let serial_no = || order.text("serial_no");
    match action {
        "public-key" => platform.offer_public_key(order.get("offered")?),
        "issue-certificate" => {
            let validity = Validity {
                not_before: order.get("not_before")?,
                not_after: order.get("not_after")?,
            };
            let pem = platform.issue_certificate(&serial_no()?, validity)?;
            return Ok(json!({"pem": pem}));
        }
        "withdraw-certificate" => platform.withdraw_certificate(&serial_no()?),
        "sign-with" => platform.sign_with(order.signs_with()?),
        "sign-body" => {
            let (body, now) = (order.text("body")?, gateway.clock.now());
            let signing = order.get_or("signing", Signing::Right)?;
            return Ok(json!({"headers": signing.headers(platform, None, body.as_bytes(), now)}));
        }
        "forge-list" => platform.forge_list(order.get("forgery")?),
        "revoke-merchant-certificate" => gateway.revoke_first_certificate(),
        _ => return Err(unknown_action()),
    }
    Ok(json!({}))
}

fn notify(gateway: &Gateway, order: &Order) -> Controlled {
    let (event_type, original_type) = (order.text("event_type")?, order.text("original_type")?);
    let summary = order.get_or("summary", event_type.clone())?;
    let event = Event::new(&event_type, &original_type, &summary);
    let content: Value = order.get("content")?;
    Ok(json!({"id": gateway.notify(event, &content, gateway.clock.now())}))
}

fn move_clock(gateway: &Gateway, order: &Order) -> Result<(), Problem> {
    order.only(&["advance_seconds", "offset_seconds"])?;
    let offset = gateway.clock.offsets().offset_seconds;
    let offset = order.get_or("offset_seconds", offset)?;
    let advance = order.get_or("advance_seconds", 0)?;
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

/// The JSON that was posted.
struct Order(Value);

impl Order {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let body = if body.is_empty() { b"{}" } else { body };
        serde_json::from_slice(body)
            .map(|fields: Map<_, _>| Self(fields.into()))
            .map_err(|error| Problem(400, format!("the body is not a JSON object: {error}")))
    }

    /// Refuses all other fields. If every field is optional, a misspelt one would otherwise be ignored.
    fn only(&self, names: &[&str]) -> Result<(), Problem> {
        let mut fields = self.0.as_object().into_iter().flat_map(Map::keys);
        match fields.find(|field| !names.contains(&field.as_str())) {
            None => Ok(()),
            Some(other) => Err(Problem(
                400,
                format!("{other}: unknown field, known: {}", names.join(", ")),
            )),
        }
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, Problem> {
        let missing = || Problem(400, format!("{name} is missing"));
        let value = self.0.get(name).ok_or_else(missing)?;
        T::deserialize(value).map_err(|error| Problem(400, format!("{name}: {error}")))
    }

    fn get_or<T: DeserializeOwned>(&self, name: &str, default: T) -> Result<T, Problem> {
        match self.0.get(name) {
            None => Ok(default),
            Some(_) => self.get(name),
        }
    }

    fn milliseconds(&self) -> Result<Duration, Problem> {
        Ok(Duration::from_millis(self.get("milliseconds")?))
    }

    fn text(&self, name: &str) -> Result<String, Problem> {
        self.get(name)
    }

    fn signs_with(&self) -> Result<SignsWith, Problem> {
        self.only(&["key", "moving_permille"])?;
        let permille = self.get_or("moving_permille", None)?;
        match (self.get_or("key", None)?, permille) {
            (Some(key), _) => Ok(SignsWith::Key(key)),
            (None, Some(permille @ ..=1000)) => Ok(SignsWith::Moving { permille }),
            (None, None) => Ok(SignsWith::Requested),
            (None, Some(other)) => {
                let problem = format!("moving_permille: found {other}, wanted 0 to 1000");
                Err(Problem(400, problem))
            }
        }
    }

    fn fault(&self) -> Result<FaultInjection, Problem> {
        let order = FaultInjection::from(self.fault_alone()?).times(self.get_or("times", 1)?);
        Ok(match self.0.get("path") {
            None => order,
            Some(_) => order.on(self.text("method")?, self.text("path")?),
        })
    }

    fn fault_alone(&self) -> Result<Fault, Problem> {
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
            let problem = |_| Problem(400, format!("fault: {error}"));
            Fault::deserialize(Value::from(name.as_str())).map_err(problem)
        })
    }
}
