//! The paths under `/sandbox/`, through which a client in any language plays the user's part and orders faults.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{Answer, Draft, error_body};
use super::contracts::UserError;
use super::faults::{Fault, FaultOrder};
use super::gateway::Gateway;
use super::http::{HttpRequest, HttpResponse};
use super::notifier::SentNotification;
use super::platform::SignsWith;
use super::pre_sign::Way;
use super::record::RecordedRequest;
use super::signing::Signing;
use crate::keys::Validity;

type Controlled = Result<Value, Problem>;

/// Why something cannot be done, with the status that says so.
struct Problem {
    status: u16,
    message: String,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            message: message.into(),
        }
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        Self {
            status: 409,
            message: error.to_string(),
        }
    }
}

/// Answers a request under `/sandbox/`; `None` for any other.
pub(super) fn handle(gateway: &Gateway, request: &HttpRequest) -> Option<HttpResponse> {
    let action = request.path().strip_prefix("/sandbox/")?;
    let result = perform(gateway, &request.method, action, &request.body);
    Some(match result {
        Ok(body) => Draft::new(Answer::ok(body)).unsigned(),
        Err(problem) => refuse(problem.status, &problem.message),
    })
}

/// The response to what the sandbox itself refuses.
pub(super) fn refuse(status: u16, message: &str) -> HttpResponse {
    let body = Some(error_body("SANDBOX_ERROR", message));
    Draft::new(Answer { status, body }).unsigned()
}

fn perform(gateway: &Gateway, method: &str, action: &str, body: &[u8]) -> Controlled {
    match (method, action) {
        ("GET", "contracts") => Ok(gateway.list_contracts().into()),
        ("GET", "requests") => Ok(list(gateway.record().requests(), show_request)),
        ("GET", "notifications") => Ok(list(gateway.notifier().sent(), show_notification)),
        ("POST", _) => act(gateway, action, &Order::parse(body)?),
        _ => Err(unknown_action()),
    }
}

fn act(gateway: &Gateway, action: &str, order: &Order) -> Controlled {
    match action {
        "sign" => signed(gateway, order, Way::MiniProgram),
        "pay-and-sign" => signed(gateway, order, Way::PayRedirect),
        "notify-again" => Ok(json!({"sent": gateway.notifier().send_again(order.text("id")?)})),
        "issue-certificate" => issue_certificate(gateway, order),
        _ => set(gateway, action, order).map(|()| json!({})),
    }
}

/// The actions that answer nothing.
fn set(gateway: &Gateway, action: &str, order: &Order) -> Result<(), Problem> {
    let platform = gateway.platform();
    match action {
        "give-up" => gateway.user_gives_up(order.text("out_contract_code")?)?,
        "terminate" => gateway.user_terminates(order.text("out_contract_code")?)?,
        "clock" => {
            gateway.advance_clock(Duration::from_secs(order.number("advance_seconds")?));
        }
        "notify-url" => gateway
            .notifier()
            .deliver_to(order.text("url")?)
            .map_err(|error| Problem::new(error.to_string()))?,
        "public-key" => platform.offer_public_key(order.flag("offered")?),
        "withdraw-certificate" => platform.withdraw_certificate(order.text("serial_no")?),
        "sign-with" => platform.sign_with(order.signs_with()?),
        "fault" => gateway.faults().add(order.fault()?),
        "clear-faults" => gateway.faults().clear(),
        _ => return Err(unknown_action()),
    }
    Ok(())
}

fn signed(gateway: &Gateway, order: &Order, way: Way) -> Controlled {
    let contract_id = gateway.user_signs(order.text("out_contract_code")?, way)?;
    Ok(json!({"contract_id": contract_id}))
}

fn issue_certificate(gateway: &Gateway, order: &Order) -> Controlled {
    let validity = Validity {
        not_before: order.number("not_before")?,
        not_after: order.number("not_after")?,
    };
    let pem = gateway
        .platform()
        .issue_certificate(order.text("serial_no")?, validity)
        .map_err(|error| Problem::new(error.to_string()))?;
    Ok(json!({"pem": pem}))
}

fn unknown_action() -> Problem {
    Problem {
        status: 404,
        message: "the sandbox has no such path and method".to_owned(),
    }
}

fn list<T>(items: Vec<T>, show: impl Fn(T) -> Value) -> Value {
    items.into_iter().map(show).collect::<Vec<_>>().into()
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
            .map(Self)
            .map_err(|error| Problem::new(format!("the body is not JSON: {error}")))
    }

    fn text(&self, name: &str) -> Result<&str, Problem> {
        let value = self.0.get(name).and_then(Value::as_str);
        value.ok_or_else(|| Problem::new(format!("{name}: wanted a text")))
    }

    fn text_or<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, Problem> {
        match self.0.get(name) {
            None => Ok(default),
            Some(_) => self.text(name),
        }
    }

    fn number(&self, name: &str) -> Result<u64, Problem> {
        let value = self.0.get(name).and_then(Value::as_u64);
        value.ok_or_else(|| Problem::new(format!("{name}: wanted a whole number")))
    }

    fn flag(&self, name: &str) -> Result<bool, Problem> {
        let value = self.0.get(name).and_then(Value::as_bool);
        value.ok_or_else(|| Problem::new(format!("{name}: wanted true or false")))
    }

    fn size(&self, name: &str) -> Result<usize, Problem> {
        let too_large = |_| Problem::new(format!("{name}: too large"));
        usize::try_from(self.number(name)?).map_err(too_large)
    }

    fn status(&self) -> Result<u16, Problem> {
        let problem = || Problem::new("status: wanted an HTTP status");
        let status = u16::try_from(self.number("status")?).map_err(|_| problem())?;
        match status {
            100..=599 => Ok(status),
            _ => Err(problem()),
        }
    }

    fn milliseconds(&self) -> Result<Duration, Problem> {
        Ok(Duration::from_millis(self.number("milliseconds")?))
    }

    fn took_effect(&self) -> bool {
        let value = self.0.get("took_effect");
        value.and_then(Value::as_bool).unwrap_or_default()
    }

    fn signing(&self) -> Result<Signing, Problem> {
        Ok(match self.text_or("signing", "right")? {
            "right" => Signing::Right,
            "missing" => Signing::Missing,
            "wrong" => Signing::Wrong,
            "probe" => Signing::Probe,
            "foreign" => Signing::Foreign,
            "unknown_serial" => Signing::UnknownSerial,
            "stale" => Signing::Stale,
            "future" => Signing::Future,
            other => return Err(Problem::new(format!("signing: found {other:?}"))),
        })
    }

    fn signs_with(&self) -> Result<SignsWith, Problem> {
        if self.0.get("key").is_some() {
            return Ok(SignsWith::Key(self.text("key")?.to_owned()));
        }
        if self.0.get("moving_permille").is_none() {
            return Ok(SignsWith::Asked);
        }
        match u16::try_from(self.number("moving_permille")?) {
            Ok(permille @ ..=1000) => Ok(SignsWith::Moving { permille }),
            _ => Err(Problem::new("moving_permille: wanted 0 to 1000")),
        }
    }

    fn fault(&self) -> Result<FaultOrder, Problem> {
        let mut order = FaultOrder::from(self.fault_alone()?);
        if self.0.get("times").is_some() {
            order = order.times(self.size("times")?);
        }
        if self.0.get("path").is_some() {
            order = order.on(self.text("method")?, self.text("path")?);
        }
        Ok(order)
    }

    fn fault_alone(&self) -> Result<Fault, Problem> {
        let took_effect = self.took_effect();
        Ok(match self.text("fault")? {
            "close" => Fault::Close { took_effect },
            "close_after_head" => Fault::CloseAfterHead,
            "cut_body" => Fault::CutBody,
            "slow_body" => Fault::SlowBody {
                every: self.milliseconds()?,
            },
            "late" => Fault::Late(self.milliseconds()?),
            "close_after_answer" => Fault::CloseAfterAnswer,
            "informational" => Fault::Informational(self.status()?),
            "chunked" => Fault::Chunked,
            "redirect" => Fault::Redirect {
                status: self.status()?,
                location: self.text("location")?.to_owned(),
            },
            "error" => Fault::Error {
                status: self.status()?,
                code: self.text("code")?.to_owned(),
                signing: self.signing()?,
                took_effect,
            },
            "html_page" => Fault::HtmlPage {
                status: self.status()?,
                took_effect,
            },
            "empty_body" => Fault::EmptyBody {
                status: self.status()?,
                took_effect,
            },
            "accepted" => Fault::Accepted,
            "signature" => Fault::Signature(self.signing()?),
            name => self.fault_of_the_message(name)?,
        })
    }

    /// A fault of the answer's headers or body.
    fn fault_of_the_message(&self, name: &str) -> Result<Fault, Problem> {
        let text = |name| self.text(name).map(str::to_owned);
        Ok(match name {
            "duplicate_header" => Fault::DuplicateHeader(text("name")?),
            "header" => Fault::Header {
                name: text("name")?,
                value: text("value")?.into_bytes(),
            },
            "large_body" => Fault::LargeBody {
                length: self.size("length")?,
            },
            "gzip" => Fault::Gzip,
            "invalid_utf8" => Fault::InvalidUtf8,
            "deep_json" => Fault::DeepJson {
                depth: self.size("depth")?,
            },
            "duplicate_keys" => Fault::DuplicateKeys,
            "body" => Fault::Body(text("body")?.into_bytes()),
            "raw" => Fault::Raw(text("raw")?.into_bytes()),
            other => return Err(Problem::new(format!("fault: found {other:?}"))),
        })
    }
}
