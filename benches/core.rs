//! Preparing a request, accepting a response and opening a notification, each beside the raw operations on the same
//! bytes: `cargo bench --bench core` compares processor times, `cargo bench --bench core -- instructions` counts
//! instructions with valgrind.
// A bench may panic.
#![allow(clippy::restriction)]

use std::env;
use std::hint::black_box;
use std::process::Command;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use serde::Deserialize;
use wechatpay_contract::{
    ApiV3Key, Endpoint, Merchant, MiniProgramSession, Notification, NotificationReceiver,
    SignatureHeaders,
};

use measure::{Report, in_turns, processor_time};
use platform::{API_V3_KEY, CONTRACT_SIGNED, MERCHANT_KEY, PRE_SIGN, Platform, SESSION};

#[path = "support/measure.rs"]
mod measure;
#[path = "../tests/support/platform.rs"]
mod platform;
#[path = "../tests/support/tls_server.rs"]
mod tls_server;

const NONCE: &str = "593BEC0C930BF1AFEB40B4A08C8FB242";

/// An operation of the crate, and the raw operations in it.
struct Operation {
    what: &'static str,
    candidate: Box<dyn FnMut()>,
    reference: Box<dyn FnMut()>,
    /// The most that the candidate's processor time may be, divided by the reference's.
    at_most: f64,
    /// The most instructions beyond the reference's.
    instructions: Option<f64>,
    /// The runs of each side in one turn.
    runs: u32,
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let operations = [prepare(), accept(), open()];
    match arguments.as_slice() {
        [operation, side, times] => run(operations, operation, side, times),
        ["instructions", ..] => count(operations),
        _ => time(operations),
    }
}

fn time(operations: [Operation; 3]) {
    let mut report = Report::default();
    for Operation {
        what,
        mut candidate,
        mut reference,
        at_most,
        runs,
        ..
    } in operations
    {
        let turns = in_turns(
            4000,
            || processor_time(runs, &mut candidate),
            || processor_time(runs, &mut reference),
        );
        report.ratio(what, "µs", &turns, Some(at_most));
    }
    report.finish();
}

/// The instructions of one run are the difference between few runs and more, each in a process of its own.
fn count(operations: [Operation; 3]) {
    let mut report = Report::default();
    for Operation {
        what, instructions, ..
    } in operations
    {
        let one = |side| (callgrind(what, side, 12) - callgrind(what, side, 2)) / 10.0;
        let (candidate, reference) = (one("candidate"), one("reference"));
        report.value(what, "instructions", candidate, None);
        report.value(
            "  beyond",
            "instructions",
            candidate - reference,
            instructions,
        );
    }
    report.finish();
}

fn callgrind(what: &str, side: &str, times: u32) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().unwrap())
        .args([what, side, &times.to_string()])
        .output()
        .expect("valgrind is needed");
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, number)| number.trim().parse().ok())
        .unwrap_or_else(|| panic!("callgrind said: {said}"))
}

fn run(operations: [Operation; 3], wanted: &str, side: &str, times: &str) {
    let mut operations = operations.into_iter();
    let operation = operations.find(|one| one.what == wanted).unwrap();
    let mut run = match side {
        "candidate" => operation.candidate,
        _ => operation.reference,
    };
    (0..times.parse::<u32>().unwrap()).for_each(|_| run());
}

fn prepare() -> Operation {
    let platform = Platform::new();
    let merchant = Merchant::new(platform.signer(), platform.verifier()).unwrap();
    let now = SystemTime::now();
    let request = PRE_SIGN.request().unwrap();
    let message = format!(
        "POST\n{}\n{}\n{NONCE}\n{}\n",
        request.target().unwrap(),
        platform::unix_seconds(now),
        std::str::from_utf8(request.body().unwrap()).unwrap(),
    );
    let key = RsaKeyPair::from_pkcs8(&platform::der(MERCHANT_KEY)).unwrap();
    let mut signature = [0; 256];
    Operation {
        what: "prepare / ring's signature",
        candidate: Box::new(move || {
            let request = PRE_SIGN.request().unwrap();
            let signed = merchant.prepare(&request, now, NONCE).unwrap();
            black_box(signed.headers().count());
        }),
        reference: Box::new(move || {
            let random = SystemRandom::new();
            let signed = key.sign(
                &RSA_PKCS1_SHA256,
                &random,
                message.as_bytes(),
                &mut signature,
            );
            signed.unwrap();
        }),
        at_most: 1.01,
        instructions: Some(12_000.0),
        runs: 1,
    }
}

fn accept() -> Operation {
    let platform = Platform::new();
    let merchant = Merchant::new(platform.signer(), platform.verifier()).unwrap();
    let now = SystemTime::now();
    let headers = platform.headers(SESSION);
    let verify = verification(&platform, &headers, SESSION);
    Operation {
        what: "accept / ring's verification",
        candidate: Box::new(move || {
            let pairs = headers.iter().map(|(name, value)| (*name, value));
            let accepted = merchant.accept(200, pairs, SESSION.as_bytes(), now);
            black_box::<MiniProgramSession>(accepted.unwrap());
        }),
        reference: Box::new(verify),
        at_most: 1.05,
        instructions: None,
        runs: 10,
    }
}

fn open() -> Operation {
    let platform = Platform::new();
    let key = ApiV3Key::new(API_V3_KEY).unwrap();
    let receiver = NotificationReceiver::new(platform.verifier(), key);
    let now = SystemTime::now();
    let body = Platform::notification(CONTRACT_SIGNED);
    let headers = platform.headers(&body);
    let verify = verification(&platform, &headers, &body);
    let secret = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, API_V3_KEY.as_bytes()).unwrap());
    let raw = body.clone();
    Operation {
        what: "open a notification / raw operations",
        candidate: Box::new(move || {
            let pairs = headers.iter().map(|(name, value)| (*name, value));
            let headers = SignatureHeaders::from_pairs(pairs).unwrap();
            black_box::<Notification>(receiver.open(&headers, body.as_bytes(), now).unwrap());
        }),
        reference: Box::new(move || {
            verify();
            let RawEnvelope { resource } = serde_json::from_str(&raw).unwrap();
            let mut sealed = STANDARD.decode(resource.ciphertext).unwrap();
            let nonce = Nonce::try_assume_unique_for_key(resource.nonce.as_bytes()).unwrap();
            let aad = Aad::from(resource.associated_data.as_bytes());
            let content = secret.open_in_place(nonce, aad, &mut sealed).unwrap();
            black_box::<RawContent>(serde_json::from_slice(content).unwrap());
        }),
        at_most: 1.10,
        instructions: None,
        runs: 10,
    }
}

#[derive(Deserialize)]
struct RawEnvelope<'a> {
    #[serde(borrow)]
    resource: RawResource<'a>,
}

#[derive(Deserialize)]
struct RawResource<'a> {
    ciphertext: &'a str,
    associated_data: &'a str,
    nonce: &'a str,
}

/// The fields of the content, and nothing else.
#[allow(dead_code)] // Never read, but deserialized.
#[derive(Deserialize)]
struct RawContent {
    mchid: String,
    contract_id: String,
    appid: String,
    openid: String,
    service_id: u64,
    out_contract_code: String,
    contract_display_account: String,
    contract_state: String,
    contract_signed_time: String,
}

/// The raw verification of a message.
fn verification(platform: &Platform, headers: &[(&str, String)], body: &str) -> impl Fn() + use<> {
    let header = |wanted| {
        let found = headers.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value).unwrap()
    };
    let (timestamp, nonce) = (header("Wechatpay-Timestamp"), header("Wechatpay-Nonce"));
    let message = format!("{timestamp}\n{nonce}\n{body}\n");
    let signature = STANDARD.decode(header("Wechatpay-Signature")).unwrap();
    let public = platform.public_der().to_vec();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
    move || key.verify(message.as_bytes(), &signature).unwrap()
}
