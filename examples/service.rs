//! A synchronous service: a page starts the signing, WeChat Pay notifies, and the page asks for the contract's state.
//!
//! | request | response |
//! |---|---|
//! | `GET /` | the page |
//! | `POST /contracts` with `{"openid", "contract_display_account"}` | `{"out_contract_code", "launch"}`, `launch` for `wx.navigateToMiniProgram` |
//! | `GET /contracts/{code}` | `{"out_contract_code", "state", "contract_id", "signed_time"}` |
//! | `POST /notify` | for WeChat Pay |
//!
//! `cargo run --example service` serves until it is interrupted. Without any of these environment variables the sandbox
//! simulates WeChat Pay. With them it talks to WeChat Pay. The public key may be left out in platform-certificate mode:
//!
//! | variable | meaning |
//! |---|---|
//! | `WECHATPAY_MCHID` | the caller's merchant id |
//! | `WECHATPAY_SERIAL_NO` | serial number of the merchant's API certificate |
//! | `WECHATPAY_PRIVATE_KEY` | path of the merchant's `apiclient_key.pem` |
//! | `WECHATPAY_PUBLIC_KEY_ID` | id of the WeChat Pay public key, `PUB_KEY_ID_…` |
//! | `WECHATPAY_PUBLIC_KEY` | path of the WeChat Pay public key, `pub_key.pem` |
//! | `WECHATPAY_API_V3_KEY` | the APIv3 key, 32 characters |
//! | `WECHATPAY_APPID` | the mini program's AppID |
//! | `WECHATPAY_SERVICE_ID` | the password-exempt service's id |
//! | `WECHATPAY_NOTIFY_URL` | the URL under which the internet reaches `/notify` |
//! | `WECHATPAY_LISTEN` | address to listen at, such as `127.0.0.1:8080` |
//!
//! WeChat Pay only calls HTTPS. Put a reverse proxy in front that terminates TLS and passes the body on unchanged.

#[macro_use]
mod common;
#[path = "common/credentials.rs"]
mod credentials;
#[path = "common/http.rs"]
mod http;

use std::collections::HashMap;
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use common::{number, report, variable};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq_proto::http::{Method, Request, Response};
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    ApiV3Key, Client, ContractEvent, ContractState, Event, EventKind, Notification,
    NotificationReceiver, NotificationReply, Outcome, QueryContract, ecommerce,
};

const PAGE: &str = include_str!("common/service.html");

struct Service {
    client: Client,
    receiver: NotificationReceiver,
    appid: String,
    service_id: u64,
    notify_url: String,
    contracts: Contracts,
}

/// The user that the contract is for. A real service takes this from the user's session, never from the page.
#[derive(Deserialize)]
struct User {
    openid: String,
    contract_display_account: String,
}

/// Status and message of a failure, for the page.
struct Failure(u16, String);
impl Service {
    fn respond(&self, request: &Request<Vec<u8>>) -> Response<String> {
        let path = request.uri().path();
        let result = match (request.method(), path, path.strip_prefix("/contracts/")) {
            (&Method::GET, "/", _) => return page(),
            (&Method::POST, "/notify", _) => return http::response(&self.reply(request)),
            (&Method::POST, "/contracts", _) => self.pre_sign(request.body()),
            (&Method::GET, _, Some(code)) => self.query(code),
            _ => Err(Failure(404, "there is nothing here".to_owned())),
        };
        let (status, json) = match result {
            Ok(json) => (200, json),
            Err(Failure(status, message)) => (status, json!({"message": message})),
        };
        let response = Response::builder().header("Content-Type", "application/json");
        let response = response.status(status).body(json.to_string());
        response.unwrap_or_default()
    }

    fn pre_sign(&self, body: &[u8]) -> Result<Value, Failure> {
        let user = serde_json::from_slice(body);
        let user: User = user.map_err(|error| Failure(400, error.to_string()))?;
        let code = new_code();
        // Stored before it is sent, so that the notification finds it.
        self.contracts.add(&code, &user.openid);
        // After any error the user tries again with another code. Inferred: the abandoned code has no effect.
        let session = self.client.send(&ecommerce::MiniProgramPreSign {
            appid: &self.appid,
            service_id: self.service_id,
            out_contract_code: &code,
            notify_url: &self.notify_url,
            contract_display_account: &user.contract_display_account,
            openid: &user.openid,
        })?;
        Ok(json!({"out_contract_code": code, "launch": session.launch()}))
    }

    /// Asks WeChat Pay, which knows the state even if a notification was lost. A real service asks only for the user's
    /// own.
    fn query(&self, code: &str) -> Result<Value, Failure> {
        let known = self.contracts.openid(code);
        known.ok_or_else(|| Failure(404, "there is no such contract".to_owned()))?;
        let contract = match self.client.send(&QueryContract {
            service_id: self.service_id,
            out_contract_code: code,
        }) {
            // Inferred: WeChat Pay responds so before the user has signed.
            Err(wechatpay_contract::Error::Api(error)) if error.status == 404 => {
                return Ok(json!({"out_contract_code": code, "state": "NOT_SIGNED"}));
            }
            result => result?,
        };
        if contract.contract_state == ContractState::Signed {
            self.contracts.advance(code, State::Signed);
        }
        Ok(json!({
            "out_contract_code": code,
            "state": contract.contract_state.as_str(),
            "contract_id": contract.contract_id,
            "signed_time": contract.contract_signed_time,
        }))
    }

    fn reply(&self, request: &Request<Vec<u8>>) -> NotificationReply {
        match http::open(&self.receiver, request) {
            Ok(event) => match &event.content {
                Event::Contract(contract) => self.record(&event, contract),
                _ => NotificationReply::success(), // This service places no orders.
            },
            Err(error) => {
                // A probe needs no alarm: WeChat Pay tests with it that a wrong signature is refused.
                if !error.is_probe() {
                    report(&error);
                }
                error.reply()
            }
        }
    }

    fn record(&self, event: &Notification, contract: &ContractEvent) -> NotificationReply {
        let code = &contract.out_contract_code;
        if !self.is_ours(contract) {
            warn!("alarm: {code} is not what was pre-signed: {}", event.json());
            return NotificationReply::failure("the contract is not what was pre-signed");
        }
        let is_new = match event.kind {
            EventKind::Signed => self.contracts.advance(code, State::Signed),
            EventKind::Terminated => self.contracts.advance(code, State::Terminated),
            // Query to learn more. Such events have only their id to detect duplicates by.
            _ => false,
        };
        let what = if is_new { "new" } else { "nothing new" };
        say!("{code}: {}, {what}", event.event_type);
        NotificationReply::success()
    }

    /// Returns `true` if every field that the event has is as it was pre-signed.
    fn is_ours(&self, content: &ContractEvent) -> bool {
        let openid = self.contracts.openid(&content.out_contract_code);
        let mchid = self.client.merchant().signer().mchid();
        let service_id = content.service_id.unwrap_or(self.service_id);
        openid.is_some()
            && [
                (&content.openid, openid.as_deref()),
                (&content.mchid, Some(mchid)),
                (&content.appid, Some(&self.appid)),
            ]
            .into_iter()
            .all(|(found, wanted)| found.is_none() || found.as_deref() == wanted)
            && service_id == self.service_id
    }
}

/// In place of a table whose key is the code, together with the merchant if there are several.
#[derive(Default)]
struct Contracts(Mutex<HashMap<String, (String, State)>>);

/// The states of a contract, in their order. A contract never goes back.
#[derive(PartialEq, PartialOrd)]
enum State {
    PreSigned,
    Signed,
    Terminated,
}

impl Contracts {
    fn add(&self, code: &str, openid: &str) {
        let contract = (openid.to_owned(), State::PreSigned);
        self.table().insert(code.to_owned(), contract);
    }

    fn openid(&self, code: &str) -> Option<String> {
        self.table().get(code).map(|(openid, _)| openid.clone())
    }

    /// Returns `false` for a duplicate, and for a signing that is notified after the termination. In a database:
    /// `UPDATE contracts SET state = ? WHERE code = ? AND state < ?`, in one transaction with what follows from it.
    fn advance(&self, code: &str, new: State) -> bool {
        let mut table = self.table();
        let contract = table.get_mut(code).filter(|(_, state)| *state < new);
        contract.map(|(_, state)| *state = new).is_some()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, (String, State)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<wechatpay_contract::Error> for Failure {
    /// Logs the whole error. The page only gets what its user can act on.
    fn from(error: wechatpay_contract::Error) -> Self {
        report(&error);
        warn!("  Request-ID: {}", error.request_id().unwrap_or("none"));
        let (status, message) = match (&error, error.outcome()) {
            (wechatpay_contract::Error::InvalidField(field), _) => (400, field.to_string()),
            (_, Outcome::NotSent) => (503, "WeChat Pay cannot be reached now".to_owned()),
            (_, Outcome::Refused) => (502, "WeChat Pay refused this".to_owned()),
            (_, Outcome::Unknown) => (502, "no response from WeChat Pay: try again".to_owned()),
        };
        Self(status, message)
    }
}

fn page() -> Response<String> {
    let response = Response::builder().header("Content-Type", "text/html");
    response.body(PAGE.to_owned()).unwrap_or_default()
}

/// Returns a code that was never used before: up to 32 digits and letters. A number from the database works as well.
fn new_code() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = UNIX_EPOCH.elapsed().unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("C{}N{count}", now.as_micros())
}

fn main() -> ExitCode {
    common::main(include_str!("service.rs"), || {
        if common::is_configured() {
            with_wechat_pay()
        } else {
            with_sandbox()
        }
    })
}

fn with_wechat_pay() -> Result<(), Box<dyn Error>> {
    let client = credentials::client()?;
    let service = Service {
        receiver: receiver(&client, &variable("WECHATPAY_API_V3_KEY")?)?,
        client,
        appid: variable("WECHATPAY_APPID")?,
        service_id: number("WECHATPAY_SERVICE_ID")?,
        notify_url: variable("WECHATPAY_NOTIFY_URL")?,
        contracts: Contracts::default(),
    };
    serve(service, variable("WECHATPAY_LISTEN")?.parse()?)
}

fn with_sandbox() -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start()?;
    let client = sandbox.client();
    // Picks a free port first, since the server does not report its own port.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    sandbox.deliver_notifications_to(&format!("http://{address}/notify"))?;
    say!("sandbox at {}", sandbox.url());
    let service = Service {
        receiver: receiver(&client, Sandbox::API_V3_KEY)?,
        client,
        appid: "wxd678efh567hg6787".to_owned(),
        service_id: 12535,
        notify_url: "https://yourapp.com/notify".to_owned(),
        contracts: Contracts::default(),
    };
    serve(service, address)
}

/// Returns a receiver that shares the platform keys with the client.
fn receiver(client: &Client, api_v3_key: &str) -> Result<NotificationReceiver, Box<dyn Error>> {
    let (verifier, key) = (client.merchant().verifier(), ApiV3Key::new(api_v3_key)?);
    Ok(NotificationReceiver::new(verifier.clone(), key))
}

fn serve(service: Service, address: SocketAddr) -> Result<(), Box<dyn Error>> {
    say!("listening at http://{address}/");
    let respond = move |request: &_| service.respond(request);
    Ok(http::serve(address, respond)?)
}
