//! The smallest correct receiver of notifications: a blocking HTTP server that knows duplicates when it sees them.
//!
//! Without any configuration it sends itself a notification, the same once more, and a forged one, shows what became of
//! them, and ends. With the environment variables below it serves until it is interrupted:
//!
//! | variable | meaning |
//! |---|---|
//! | `WECHATPAY_PUBLIC_KEY_ID` | id of the WeChat Pay public key, `PUB_KEY_ID_…` |
//! | `WECHATPAY_PUBLIC_KEY` | path of the WeChat Pay public key, `pub_key.pem` |
//! | `WECHATPAY_APIV3_KEY` | path of a file with the 32 bytes of the APIv3 key and nothing else |
//! | `WECHATPAY_LISTEN` | address to listen at, such as `127.0.0.1:8080` |
//!
//! WeChat Pay only calls HTTPS. Put a reverse proxy in front that does TLS, sets time limits for slow senders, and hands
//! the body on unchanged.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use tiny_http::{Header, Method, Request, Response, Server};
use wechatpay_contract::{
    ApiV3Key, Event, EventKind, NotificationError, NotificationReceiver, NotificationReply,
    PublicKey, SignatureHeaders, Verifier,
};

/// One slow request must not keep the others from their answer within five seconds.
const THREADS: usize = 4;

/// Stands in for a table with a unique index: what happened to which contract.
#[derive(Default)]
struct Ledger(Mutex<HashSet<(String, EventKind)>>);

impl Ledger {
    /// Stores the event unless it is there already, in one atomic step, since duplicates come at the same moment too.
    /// In a database: `INSERT … ON CONFLICT DO NOTHING`, in one transaction with whatever follows from the event.
    fn insert(&self, event: &Event) -> bool {
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A code is never used again, so that each thing happens to it once.
        ledger.insert((event.content.out_contract_code.clone(), event.kind.clone()))
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
) -> Result<Event, NotificationError> {
    let headers = request.headers().iter();
    let pairs = headers.map(|header| (header.field.as_str(), &header.value));
    receiver.open(
        &SignatureHeaders::from_pairs(pairs)?,
        body,
        SystemTime::now(),
    )
}

/// Here a real service compares `mchid`, `service_id` and `openid` with what it pre-signed, and queries when in doubt.
fn record(event: &Event, ledger: &Ledger) {
    let code = &event.content.out_contract_code;
    if !ledger.insert(event) {
        println!("{code}: known already");
        return;
    }
    match &event.kind {
        EventKind::Signed => println!("{code}: signed"),
        EventKind::Terminated => {
            println!("{code}: terminated, {:?}", event.content.termination_mode())
        }
        other => println!("{code}: {other:?}, {}", event.json()),
    }
}

fn response(reply: &NotificationReply) -> Response<io::Cursor<Vec<u8>>> {
    let response = Response::from_data(reply.body()).with_status_code(reply.status());
    match reply
        .content_type()
        .map(|value| Header::from_bytes("Content-Type", value))
    {
        Some(Ok(header)) => response.with_header(header),
        _ => response,
    }
}

fn report(error: &dyn Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
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

const VARIABLES: [&str; 4] = [
    "WECHATPAY_PUBLIC_KEY_ID",
    "WECHATPAY_PUBLIC_KEY",
    "WECHATPAY_APIV3_KEY",
    "WECHATPAY_LISTEN",
];

fn run() -> Result<(), Box<dyn Error>> {
    let missing: Vec<_> = VARIABLES
        .into_iter()
        .filter(|name| env::var_os(name).is_none_or(|value| value.is_empty()))
        .collect();
    if missing.len() == VARIABLES.len() {
        return demonstration::run();
    }
    if !missing.is_empty() {
        return Err(format!(
            "some variables are set, but these are missing: {}; set all of them to serve, or none for a demonstration",
            missing.join(", ")
        )
        .into());
    }
    let receiver = NotificationReceiver::new(
        Verifier::new([PublicKey::from_pem(
            variable("WECHATPAY_PUBLIC_KEY_ID")?,
            file("WECHATPAY_PUBLIC_KEY")?,
        )?])?,
        ApiV3Key::new(file("WECHATPAY_APIV3_KEY")?)?,
    );
    let (server, address) = listen(&variable("WECHATPAY_LISTEN")?)?;
    println!("notifications are received at http://{address}/notify");
    serve(&server, &receiver, &Ledger::default());
    Ok(())
}

fn listen(address: &str) -> Result<(Server, SocketAddr), Box<dyn Error>> {
    let server =
        Server::http(address).map_err(|error| format!("cannot listen at {address}: {error}"))?;
    let address = server.server_addr().to_ip().ok_or("not an IP address")?;
    Ok((server, address))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

fn file(name: &str) -> Result<Vec<u8>, String> {
    let path = variable(name)?;
    fs::read(&path).map_err(|error| format!("{name}: cannot read {path}: {error}"))
}

/// Plays WeChat Pay with the keys of this crate's tests, which protect nothing.
mod demonstration {
    use std::error::Error;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::thread;
    use std::time::{SystemTime, UNIX_EPOCH};

    use wechatpay_contract::{
        ApiV3Key, NotificationReceiver, PrivateKey, PublicKey, Signer, Verifier,
    };

    use super::{Ledger, THREADS, listen, serve};

    const KEY_ID: &str = "PUB_KEY_ID_0000000000000024101100397200000006";
    const BODY: &str = include_str!("../tests/notification/signed.json");

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        let public = PublicKey::from_pem(KEY_ID, include_str!("../tests/platform/public.pem"))?;
        let receiver = NotificationReceiver::new(
            Verifier::new([public])?,
            ApiV3Key::new("a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb")?,
        );
        let (server, address) = listen("127.0.0.1:0")?;
        println!("notifications are received at http://{address}/notify");
        thread::scope(|scope| {
            scope.spawn(|| serve(&server, &receiver, &Ledger::default()));
            let result = send_three(address);
            for _ in 0..THREADS {
                server.unblock();
            }
            result
        })
    }

    fn send_three(address: SocketAddr) -> Result<(), Box<dyn Error>> {
        let notification = notification(BODY)?;
        let forged = notification.replace("EV-2018", "EV-2019");
        for (what, request) in [
            ("a notification", &notification),
            ("the same once more", &notification),
            ("a forged one", &forged),
        ] {
            println!("\nsending {what}");
            let mut connection = TcpStream::connect(address)?;
            connection.write_all(request.as_bytes())?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            println!("answered {}", answer.lines().next().unwrap_or_default());
        }
        Ok(())
    }

    /// The HTTP request with which WeChat Pay would send `body` now.
    fn notification(body: &str) -> Result<String, Box<dyn Error>> {
        let key = PrivateKey::from_pem(include_str!("../tests/platform/private.pem"))?;
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let nonce = "593BEC0C930BF1AFEB40B4A08C8FB242";
        // A signer is a merchant's, but an RSA signature is the same whoever makes it.
        let signature = Signer::new("1", "1", key)?
            .sign(format!("{timestamp}\n{nonce}\n{body}\n").as_bytes())?;
        Ok(format!(
            "POST /notify HTTP/1.1\r\n\
             Host: localhost\r\n\
             Connection: close\r\n\
             Content-Type: application/json\r\n\
             Content-Length: {}\r\n\
             Wechatpay-Serial: {KEY_ID}\r\n\
             Wechatpay-Timestamp: {timestamp}\r\n\
             Wechatpay-Nonce: {nonce}\r\n\
             Wechatpay-Signature: {signature}\r\n\
             Wechatpay-Signature-Type: WECHATPAY2-SHA256-RSA2048\r\n\
             \r\n\
             {body}",
            body.len()
        ))
    }
}
