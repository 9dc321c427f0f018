//! The smallest correct receiver of notifications: a blocking HTTP server that knows duplicates when it sees them.
//!
//! ```sh
//! cargo run --example notify_server
//! ```
//!
//! Without any configuration the sandbox sends it a notification, the same once more, and a forged one; it shows what
//! became of them, and ends. With the environment variables below it serves until it is interrupted:
//!
//! | variable | meaning |
//! |---|---|
//! | `WECHATPAY_PUBLIC_KEY_ID` | id of the WeChat Pay public key, `PUB_KEY_ID_…` |
//! | `WECHATPAY_PUBLIC_KEY` | path of the WeChat Pay public key, `pub_key.pem` |
//! | `WECHATPAY_API_V3_KEY` | the APIv3 key, 32 characters |
//! | `WECHATPAY_LISTEN` | address to listen at, such as `127.0.0.1:8080` |
//!
//! WeChat Pay only calls HTTPS. Put a reverse proxy in front that does TLS, sets time limits for slow senders, and hands
//! the body on unchanged.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Read};
use std::iter;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use tiny_http::{Header, Method, Request, Response, Server};
use wechatpay_contract::{
    ApiV3Key, ContractEvent, EventKind, KeyError, Notification, NotificationError,
    NotificationReceiver, NotificationReply, PublicKey, SignatureHeaders, TerminationMode,
    Verifier,
};

/// A notification about a contract.
type ContractNotification = Notification<ContractEvent>;

/// One slow request must not keep the others from their answer within five seconds.
const THREADS: usize = 4;

/// Stands in for a table with a unique index: what happened to which contract.
///
/// A code is unique for one merchant only. This server is one merchant's; one that serves several has a column for the
/// merchant in the index too.
#[derive(Default)]
struct Ledger(Mutex<HashSet<Key>>);

/// What tells an event from all others, and is the same when it is sent again.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    /// A code is never used again, so that a contract is signed once and terminated once.
    Contract { code: String, kind: EventKind },
    /// Whatever else there may be can happen more than once: only the notification's id tells.
    Notification { id: String },
}

impl Ledger {
    /// Stores the event unless it is there already, in one atomic step, since duplicates come at the same moment too.
    /// In a database: `INSERT … ON CONFLICT DO NOTHING`, in one transaction with whatever follows from the event.
    fn insert(&self, event: &ContractNotification) -> bool {
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.insert(Key::of(event))
    }
}

impl Key {
    fn of(event: &ContractNotification) -> Self {
        match &event.kind {
            EventKind::Signed | EventKind::Terminated => Self::Contract {
                code: event.content.out_contract_code.clone(),
                kind: event.kind.clone(),
            },
            _ => Self::Notification {
                id: event.id.clone(),
            },
        }
    }
}

fn serve(server: &Server, receiver: &NotificationReceiver, ledger: &Ledger) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Ok(request) = server.recv() {
                    answer(request, receiver, ledger);
                }
            });
        }
    });
}

fn answer(mut request: Request, receiver: &NotificationReceiver, ledger: &Ledger) {
    let result = if (request.method(), request.url()) == (&Method::Post, "/notify") {
        let reply = receive(&mut request, receiver, ledger);
        request.respond(response(&reply))
    } else {
        request.respond(Response::empty(404))
    };
    if let Err(error) = result {
        // WeChat Pay will send it again, and it is a duplicate then.
        eprintln!("the answer did not get through: {error}");
    }
}

fn receive(
    request: &mut Request,
    receiver: &NotificationReceiver,
    ledger: &Ledger,
) -> NotificationReply {
    let body = match raw_body(request) {
        Ok(body) => body,
        Err(error) => {
            eprintln!("the body did not arrive: {error}");
            return NotificationReply::failure("the body did not arrive");
        }
    };
    match open(request, &body, receiver) {
        Ok(event) => {
            record(&event, ledger);
            NotificationReply::success()
        }
        Err(error) => {
            // WeChat Pay tests now and then that a wrong signature is refused: no reason for an alarm.
            if !error.is_probe() {
                report(&error);
            }
            error.reply()
        }
    }
}

/// At most one byte more than is accepted, so that nobody can fill the memory.
fn raw_body(request: &mut Request) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(NotificationReceiver::MAX_BODY + 1).unwrap_or(u64::MAX);
    let mut body = Vec::new();
    request.as_reader().take(limit).read_to_end(&mut body)?;
    Ok(body)
}

fn open(
    request: &Request,
    body: &[u8],
    receiver: &NotificationReceiver,
) -> Result<ContractNotification, NotificationError> {
    let headers = request.headers().iter();
    let pairs = headers.map(|header| (header.field.as_str(), &header.value));
    receiver.open_as(
        &SignatureHeaders::from_pairs(pairs)?,
        body,
        SystemTime::now(),
    )
}

/// Here a real service compares `mchid`, `service_id` and `openid` with what it pre-signed, and queries when in doubt.
fn record(event: &ContractNotification, ledger: &Ledger) {
    let code = &event.content.out_contract_code;
    if !ledger.insert(event) {
        println!("{code}: known already");
        return;
    }
    match &event.kind {
        EventKind::Signed => println!("{code}: signed"),
        EventKind::Terminated => {
            let mode = event.content.termination_mode();
            println!(
                "{code}: terminated, {}",
                mode.map_or("no mode", TerminationMode::as_str)
            );
        }
        other => println!("{code}: {other:?}, {}", event.json()),
    }
}

fn response(reply: &NotificationReply) -> Response<io::Cursor<Vec<u8>>> {
    let content_type = reply.content_type();
    let header = content_type.and_then(|value| Header::from_bytes("Content-Type", value).ok());
    let response = Response::from_data(reply.body()).with_status_code(reply.status());
    header.into_iter().fold(response, Response::with_header)
}

fn main() -> ExitCode {
    match run() {
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

const VARIABLES: [&str; 4] = [
    "WECHATPAY_PUBLIC_KEY_ID",
    "WECHATPAY_PUBLIC_KEY",
    "WECHATPAY_API_V3_KEY",
    "WECHATPAY_LISTEN",
];

fn run() -> Result<(), Box<dyn Error>> {
    let mut missing = VARIABLES.to_vec();
    missing.retain(|name| variable(name).is_empty());
    if missing.len() == VARIABLES.len() {
        return demonstration::run();
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(format!(
            "missing: {missing}; set all variables to serve, or none for a demonstration"
        )
        .into());
    }
    let public_key = key("WECHATPAY_PUBLIC_KEY", |pem| {
        PublicKey::from_pem(variable("WECHATPAY_PUBLIC_KEY_ID"), pem)
    })?;
    let api_v3_key = ApiV3Key::new(variable("WECHATPAY_API_V3_KEY"))?;
    let receiver = NotificationReceiver::new(Verifier::new([public_key])?, api_v3_key);
    let server = listen_at(&variable("WECHATPAY_LISTEN"))?;
    serve(&server, &receiver, &Ledger::default());
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
    println!(
        "notifications are received at http://{}/notify",
        server.server_addr()
    );
    Ok(server)
}

/// The sandbox plays WeChat Pay and the user; a receiver of one's own does not need this.
mod demonstration {
    use std::error::Error;
    use std::thread;
    use std::time::Duration;

    use wechatpay_contract::sandbox::{Sandbox, SentNotification, Signing};
    use wechatpay_contract::{ApiV3Key, NotificationReceiver, ecommerce};

    use super::{Ledger, THREADS, listen_at, serve};

    const CODE: &str = "wxwtdk20200910100000";
    const PATIENCE: Duration = Duration::from_secs(10);

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        let sandbox = Sandbox::start()?;
        let key = ApiV3Key::new(Sandbox::API_V3_KEY)?;
        let receiver = NotificationReceiver::new(sandbox.verifier(), key);
        let server = listen_at("127.0.0.1:0")?;
        sandbox.deliver_notifications_to(&format!("http://{}/notify", server.server_addr()))?;
        thread::scope(|scope| {
            scope.spawn(|| serve(&server, &receiver, &Ledger::default()));
            let result = send_three(&sandbox);
            for _ in 0..THREADS {
                server.unblock();
            }
            result
        })
    }

    fn send_three(sandbox: &Sandbox) -> Result<(), Box<dyn Error>> {
        // Otherwise the forged one would come again after 15 seconds.
        sandbox.retry_schedule([]);
        sandbox.client().send(&ecommerce::MiniProgramPreSign {
            appid: "wxd678efh567hg6787",
            service_id: 12535,
            out_contract_code: CODE,
            notify_url: "https://yourapp.com/notify",
            contract_display_account: "微信代扣用户A",
            openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        })?;
        println!("\nsending a notification");
        sandbox.user_signs(CODE)?;
        sandbox.wait_for_deliveries(PATIENCE);
        println!("\nsending the same once more");
        send_again(sandbox);
        println!("\nsending a forged one");
        sandbox.sign_notifications(Signing::Wrong);
        send_again(sandbox);
        check_answers(&sandbox.notifications())
    }

    fn send_again(sandbox: &Sandbox) {
        for sent in sandbox.notifications() {
            sandbox.notify_again(&sent.id);
        }
        sandbox.wait_for_deliveries(PATIENCE);
    }

    fn check_answers(notifications: &[SentNotification]) -> Result<(), Box<dyn Error>> {
        let attempts = notifications.iter().flat_map(|sent| &sent.attempts);
        let answers: Vec<_> = attempts.map(|attempt| attempt.status).collect();
        println!("\nanswered {answers:?}");
        if answers == [Some(204), Some(204), Some(401)] {
            return Ok(());
        }
        Err("wanted two to be accepted and one to be refused".into())
    }
}
