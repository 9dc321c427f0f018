//! A synchronous service: a page starts the signing, WeChat Pay notifies, and anyone can ask what became of a contract.
//!
//! ```sh
//! cargo run --example service            # serves until it is interrupted
//! cargo run --example service -- --demo  # plays one user through itself, and ends
//! ```
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the page |
//! | `POST /contracts` with `{"openid", "contract_display_account"}` | `{"out_contract_code", "launch"}`, `launch` for `wx.navigateToMiniProgram` |
//! | `GET /contracts/{code}` | `{"out_contract_code", "state", "contract_id", "signed_time"}` |
//! | `POST /notify` | for WeChat Pay |
//!
//! Without any configuration the sandbox plays WeChat Pay. With all of these environment variables it is WeChat Pay:
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
//! WeChat Pay only calls HTTPS. Put a reverse proxy in front that does TLS, sets time limits for slow senders, and hands
//! the body on unchanged.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::iter;
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};
use tiny_http::{Header, Method, Request, Response, Server};
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    ApiV3Key, Client, ContractEvent, ContractState, EventKind, KeyError, Notification,
    NotificationError, NotificationReceiver, NotificationReply, Outcome, PrivateKey, PublicKey,
    QueryContract, SignatureHeaders, Signer, Verifier, ecommerce,
};

/// A notification about a contract.
type ContractNotification = Notification<ContractEvent>;

/// Each serves one request at a time. There must be more than there are calls to WeChat Pay at once, so that a
/// notification is answered within five seconds.
const THREADS: usize = 8;
/// The longest body of a request by the page, in bytes.
const MAX_BODY: usize = 4096;

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>Sign a contract</title>
<form>
  <input name="openid" value="oUpF8uMuAJO_M2pxb1Q9zNjWeS6o" size="40">
  <input name="contract_display_account" value="微信代扣用户A">
  <button>Sign</button>
</form>
<pre></pre>
<a></a>
<script>
  document.querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    const user = Object.fromEntries(new FormData(event.target));
    const answer = await fetch("/contracts", { method: "POST", body: JSON.stringify(user) });
    const contract = await answer.json();
    document.querySelector("pre").textContent = JSON.stringify(contract, null, 2);
    const link = document.querySelector("a");
    link.textContent = contract.out_contract_code ? "What became of it?" : "";
    link.href = "/contracts/" + contract.out_contract_code;
  };
</script>
"#;

struct Service {
    client: Client,
    receiver: NotificationReceiver,
    appid: String,
    service_id: u64,
    notify_url: String,
    contracts: Contracts,
}

type Answer = Response<Cursor<Vec<u8>>>;

/// What the page is told when something went wrong.
struct Failure {
    status: u16,
    message: String,
}

/// Whom the contract is for. A real service takes this from the user's session, never from the page.
#[derive(Deserialize)]
struct User {
    openid: String,
    contract_display_account: String,
}

impl Service {
    fn serve(&self, server: &Server) {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Ok(request) = server.recv() {
                        self.serve_one(request);
                    }
                });
            }
        });
    }

    fn serve_one(&self, mut request: Request) {
        let answer = self.route(&mut request).unwrap_or_else(|failure| {
            json_answer(failure.status, &json!({"message": failure.message}))
        });
        println!(
            "{} {}: {}",
            request.method(),
            request.url().escape_default(),
            answer.status_code().0
        );
        if let Err(error) = request.respond(answer) {
            eprintln!("the answer did not get through: {error}");
        }
    }

    fn route(&self, request: &mut Request) -> Result<Answer, Failure> {
        let path = request.url().to_owned();
        match (request.method(), path.as_str()) {
            (Method::Get, "/") => Ok(answer(200, Some("text/html"), PAGE)),
            (Method::Post, "/contracts") => self.pre_sign(request),
            (Method::Post, "/notify") => self.take_notification(request),
            (Method::Get, path) => match path.strip_prefix("/contracts/") {
                Some(code) => self.query(code),
                None => Err(Failure::not_found()),
            },
            _ => Err(Failure::not_found()),
        }
    }

    fn pre_sign(&self, request: &mut Request) -> Result<Answer, Failure> {
        let user: User = serde_json::from_slice(&raw_body(request, MAX_BODY)?)
            .map_err(|error| Failure::new(400, error.to_string()))?;
        let code = new_code();
        // Stored before it is sent: the notification must find it.
        self.contracts.add(&code, &user.openid);
        // Whatever the outcome of an error, the user tries again under another code: without their signing, no contract
        // comes of this one (inferred).
        let session = self.client.send(&ecommerce::MiniProgramPreSign {
            appid: &self.appid,
            service_id: self.service_id,
            out_contract_code: &code,
            notify_url: &self.notify_url,
            contract_display_account: &user.contract_display_account,
            openid: &user.openid,
        })?;
        Ok(json_answer(
            200,
            &json!({"out_contract_code": code, "launch": session.launch()}),
        ))
    }

    /// What WeChat Pay knows is the truth, also when a notification was lost. A real service shows a contract to its
    /// user only.
    fn query(&self, code: &str) -> Result<Answer, Failure> {
        if self.contracts.openid(code).is_none() {
            return Err(Failure::not_found());
        }
        let contract = match self.client.send(&QueryContract {
            service_id: self.service_id,
            out_contract_code: code,
        }) {
            // That WeChat Pay answers so before the user has signed is inferred.
            Err(wechatpay_contract::Error::Api(error)) if error.status == 404 => {
                return Ok(json_answer(
                    200,
                    &json!({"out_contract_code": code, "state": "NOT_SIGNED"}),
                ));
            }
            result => result?,
        };
        match contract.contract_state {
            ContractState::Signed => self.contracts.advance(code, State::Signed),
            ContractState::Terminated => self.contracts.advance(code, State::Terminated),
            _ => false,
        };
        Ok(json_answer(
            200,
            &json!({
                "out_contract_code": code,
                "state": contract.contract_state.as_str(),
                "contract_id": contract.contract_id,
                "signed_time": contract.contract_signed_time,
            }),
        ))
    }

    fn take_notification(&self, request: &mut Request) -> Result<Answer, Failure> {
        let body = raw_body(request, NotificationReceiver::MAX_BODY)?;
        let reply = match self.open(request, &body) {
            Ok(event) => self.record(&event),
            Err(error) => {
                // WeChat Pay tests now and then that a wrong signature is refused: no reason for an alarm.
                if !error.is_probe() {
                    report(&error);
                }
                error.reply()
            }
        };
        Ok(answer(reply.status(), reply.content_type(), reply.body()))
    }

    fn open(
        &self,
        request: &Request,
        body: &[u8],
    ) -> Result<ContractNotification, NotificationError> {
        let headers = request.headers().iter();
        let headers = headers.map(|header| (header.field.as_str(), &header.value));
        let headers = SignatureHeaders::from_pairs(headers)?;
        self.receiver.open_as(&headers, body, SystemTime::now())
    }

    fn record(&self, event: &ContractNotification) -> NotificationReply {
        let code = &event.content.out_contract_code;
        if !self.is_ours(event) {
            eprintln!(
                "alarm: {code} is not as it was pre-signed: {}",
                event.json()
            );
            return NotificationReply::failure("the contract is not as it was pre-signed");
        }
        let is_news = match event.kind {
            EventKind::Signed => self.contracts.advance(code, State::Signed),
            EventKind::Terminated => self.contracts.advance(code, State::Terminated),
            // The query tells what it was about. To act on such an event, tell duplicates by its id: it may happen again
            // to the same contract.
            _ => false,
        };
        println!(
            "{code}: {}, {}",
            event.event_type,
            if is_news { "news" } else { "nothing new" }
        );
        NotificationReply::success()
    }

    /// Whether the event says nothing else than what was pre-signed. A field that is absent says nothing.
    fn is_ours(&self, event: &ContractNotification) -> bool {
        let event = &event.content;
        let mchid = self.client.merchant().signer().mchid();
        let openid = self.contracts.openid(&event.out_contract_code);
        openid.is_some_and(|openid| event.openid.as_ref().is_none_or(|found| *found == openid))
            && event.mchid.as_deref().is_none_or(|found| found == mchid)
            && event
                .appid
                .as_ref()
                .is_none_or(|found| *found == self.appid)
            && event
                .service_id
                .is_none_or(|found| found == self.service_id)
    }
}

/// Stands in for a table whose key is the code: this service is one merchant's. One that serves several has the merchant
/// in the key too, since a code is unique for one merchant only.
#[derive(Default)]
struct Contracts(Mutex<HashMap<String, Contract>>);

struct Contract {
    openid: String,
    state: State,
}

/// In the order in which a contract goes through them, never back.
#[derive(PartialEq, PartialOrd)]
enum State {
    PreSigned,
    Signed,
    Terminated,
}

impl Contracts {
    fn add(&self, code: &str, openid: &str) {
        let contract = Contract {
            openid: openid.to_owned(),
            state: State::PreSigned,
        };
        self.table().insert(code.to_owned(), contract);
    }

    fn openid(&self, code: &str) -> Option<String> {
        self.table()
            .get(code)
            .map(|contract| contract.openid.clone())
    }

    /// Whether this was news: `false` for a duplicate, and for a signing that is told after the termination. Compared
    /// and stored in one step, since duplicates come at the same moment too. In a database:
    /// `UPDATE contracts SET state = ? WHERE code = ? AND state < ?`, in one transaction with what follows from it.
    fn advance(&self, code: &str, state: State) -> bool {
        let mut table = self.table();
        let contract = table
            .get_mut(code)
            .filter(|contract| contract.state < state);
        contract.map(|contract| contract.state = state).is_some()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Contract>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    fn not_found() -> Self {
        Self::new(404, "there is nothing here")
    }
}

impl From<wechatpay_contract::Error> for Failure {
    /// The log gets the whole story, the page what its user can do.
    fn from(error: wechatpay_contract::Error) -> Self {
        report(&error);
        if let Some(request_id) = error.request_id() {
            eprintln!("  Request-ID: {request_id}");
        }
        match error.outcome() {
            Outcome::NotSent => match error {
                wechatpay_contract::Error::InvalidField(error) => Self::new(400, error.to_string()),
                _ => Self::new(503, "WeChat Pay cannot be asked now: try again later"),
            },
            Outcome::Refused => Self::new(502, "WeChat Pay has refused this"),
            Outcome::Unknown => Self::new(502, "no answer from WeChat Pay: try again"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(400, format!("the body did not arrive: {error}"))
    }
}

/// The body exactly as it was received, and at most one byte more than `limit`, so that nobody can fill the memory.
fn raw_body(request: &mut Request, limit: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(limit + 1).unwrap_or(u64::MAX);
    let mut body = Vec::new();
    request.as_reader().take(limit).read_to_end(&mut body)?;
    Ok(body)
}

fn json_answer(status: u16, body: &Value) -> Answer {
    answer(status, Some("application/json"), &body.to_string())
}

fn answer(status: u16, content_type: Option<&str>, body: &str) -> Answer {
    let header = content_type.and_then(|value| Header::from_bytes("Content-Type", value).ok());
    let response = Response::from_data(body).with_status_code(status);
    header.into_iter().fold(response, Response::with_header)
}

/// A code that was never used before: digits and letters, up to 32. A number from the database does as well.
fn new_code() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("C{}N{count}", now.as_micros())
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let demo = match arguments.as_slice() {
        [] => false,
        [argument] if argument == "--demo" => true,
        _ => {
            eprintln!("usage: service [--demo]");
            return ExitCode::from(2);
        }
    };
    match run(demo) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

fn report(error: &(dyn Error + 'static)) {
    eprintln!("error: {error}");
    for cause in iter::successors(error.source(), |&error| error.source()) {
        eprintln!("  because: {cause}");
    }
}

const VARIABLES: [&str; 10] = [
    "WECHATPAY_MCHID",
    "WECHATPAY_SERIAL_NO",
    "WECHATPAY_PRIVATE_KEY",
    "WECHATPAY_PUBLIC_KEY_ID",
    "WECHATPAY_PUBLIC_KEY",
    "WECHATPAY_API_V3_KEY",
    "WECHATPAY_APPID",
    "WECHATPAY_SERVICE_ID",
    "WECHATPAY_NOTIFY_URL",
    "WECHATPAY_LISTEN",
];

fn run(demo: bool) -> Result<(), Box<dyn Error>> {
    let mut missing = VARIABLES.to_vec();
    missing.retain(|name| variable(name).is_empty());
    if missing.len() == VARIABLES.len() {
        return with_sandbox(demo);
    }
    if demo {
        return Err("the demonstration is for the sandbox: unset the WECHATPAY_ variables".into());
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(format!(
            "missing: {missing}; set all variables for WeChat Pay, or none for the sandbox"
        )
        .into());
    }
    with_wechat_pay()
}

fn with_wechat_pay() -> Result<(), Box<dyn Error>> {
    let signer = Signer::new(
        variable("WECHATPAY_MCHID"),
        variable("WECHATPAY_SERIAL_NO"),
        key("WECHATPAY_PRIVATE_KEY", PrivateKey::from_pem)?,
    )?;
    let verifier = Verifier::new([key("WECHATPAY_PUBLIC_KEY", |pem| {
        PublicKey::from_pem(variable("WECHATPAY_PUBLIC_KEY_ID"), pem)
    })?])?;
    let api_v3_key = ApiV3Key::new(variable("WECHATPAY_API_V3_KEY"))?;
    let service_id = variable("WECHATPAY_SERVICE_ID");
    let service = Service {
        client: Client::new(signer, verifier.clone())?,
        receiver: NotificationReceiver::new(verifier, api_v3_key),
        appid: variable("WECHATPAY_APPID"),
        service_id: service_id.parse().map_err(|_| {
            format!("WECHATPAY_SERVICE_ID: found {service_id:?}: wanted a whole number")
        })?,
        notify_url: variable("WECHATPAY_NOTIFY_URL"),
        contracts: Contracts::default(),
    };
    service.serve(&listen_at(&variable("WECHATPAY_LISTEN"))?);
    Ok(())
}

/// Reads a key from the file that the variable `name` names.
fn key<K>(name: &str, parse: impl FnOnce(Vec<u8>) -> Result<K, KeyError>) -> Result<K, String> {
    let path = variable(name);
    let bytes = fs::read(&path).map_err(|error| format!("{name}: cannot read {path}: {error}"))?;
    parse(bytes).map_err(|error| format!("{name}: {path}: {error}"))
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn listen_at(address: &str) -> Result<Server, String> {
    let server =
        Server::http(address).map_err(|error| format!("cannot listen at {address}: {error}"))?;
    println!("listening at http://{}", server.server_addr());
    Ok(server)
}

fn with_sandbox(demo: bool) -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start()?;
    let service = Service {
        client: sandbox.client(),
        receiver: NotificationReceiver::new(
            sandbox.verifier(),
            ApiV3Key::new(Sandbox::API_V3_KEY)?,
        ),
        appid: "wxd678efh567hg6787".to_owned(),
        service_id: 12535,
        notify_url: "https://yourapp.com/notify".to_owned(),
        contracts: Contracts::default(),
    };
    let server = listen_at("127.0.0.1:0")?;
    let address = server.server_addr().to_string();
    sandbox.deliver_notifications_to(&format!("http://{address}/notify"))?;
    if !demo {
        println!(
            "let the user sign with: curl {}/sandbox/sign -d '{{\"out_contract_code\":\"...\"}}'",
            sandbox.url()
        );
        service.serve(&server);
        return Ok(());
    }
    thread::scope(|scope| {
        scope.spawn(|| service.serve(&server));
        let result = play_one_user(&sandbox, &address);
        for _ in 0..THREADS {
            server.unblock();
        }
        result
    })
}

/// Plays the page, the user and the user's next look at the page.
fn play_one_user(sandbox: &Sandbox, address: &str) -> Result<(), Box<dyn Error>> {
    call(address, "GET", "/", "")?;
    let user = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "contract_display_account": "微信代扣用户A"}).to_string();
    let started = json(&call(address, "POST", "/contracts", &user)?)?;
    let code = started
        .get("out_contract_code")
        .and_then(Value::as_str)
        .ok_or("no code")?;
    sandbox.user_signs(code)?;
    sandbox.wait_for_deliveries(PATIENCE);
    for sent in sandbox.notifications() {
        sandbox.notify_again(&sent.id);
    }
    let acknowledged = sandbox.wait_for_deliveries(PATIENCE);
    let contract = json(&call(address, "GET", &format!("/contracts/{code}"), "")?)?;
    if acknowledged && contract.get("state") == Some(&"SIGNED".into()) {
        return Ok(());
    }
    Err("wanted a signed contract and two notifications acknowledged".into())
}

fn json(text: &str) -> Result<Value, Box<dyn Error>> {
    println!("  {text}");
    Ok(serde_json::from_str(text)?)
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Gives the body of an answer of success.
fn call(address: &str, method: &str, path: &str, body: &str) -> Result<String, Box<dyn Error>> {
    let mut connection = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        connection,
        "{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.0 200") => Ok(body.to_owned()),
        _ => Err(format!("{method} {path}: {answer}").into()),
    }
}
