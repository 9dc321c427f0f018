//! Instructions, counted by callgrind where a timer is too coarse: `cargo bench --bench instructions`. Needs valgrind.
//!
//! Each operation runs a few times and then more often in a process of its own; the difference is what one run costs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::env;
use std::hint::black_box;
use std::process::Command;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use wechatpay_contract::{
    ApiV3Key, Endpoint, Merchant, MiniProgramSession, NotificationReceiver, SignatureHeaders,
};

use measure::verdict;
use platform::{API_V3_KEY, CONTRACT_SIGNED, MERCHANT_KEY, PRE_SIGN, Platform, SESSION};

#[path = "support/measure.rs"]
mod measure;
#[path = "../tests/support/platform.rs"]
mod platform;
#[path = "../tests/support/tls_server.rs"]
mod tls_server;

const NONCE: &str = "593BEC0C930BF1AFEB40B4A08C8FB242";

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [what, times] => run(what, times.parse().unwrap()),
        // What `cargo bench` gives.
        _ => count(),
    }
}

fn count() {
    let [sign, prepare] = ["sign", "prepare"].map(instructions);
    let [verify, accept, open] = ["verify", "accept", "open"].map(instructions);
    let beyond = prepare - sign;
    let kept = beyond <= 10_000;
    println!(
        "prepare: {prepare} instructions, {beyond} beyond ring's signature, at most 10000{}",
        verdict(kept)
    );
    println!(
        "accept: {accept} instructions, {} beyond ring's verification",
        accept - verify
    );
    println!(
        "open a notification: {open} instructions, {} beyond ring's verification",
        open - verify
    );
    if !kept {
        std::process::exit(1);
    }
}

/// The instructions of one run.
fn instructions(what: &str) -> i64 {
    (total(what, 12) - total(what, 2)) / 10
}

/// The instructions of a process that does `what` so often.
fn total(what: &str, times: u32) -> i64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().unwrap())
        .args([what, &times.to_string()])
        .output()
        .expect("valgrind is needed");
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, number)| number.trim().parse().ok())
        .unwrap_or_else(|| panic!("callgrind said: {said}"))
}

fn run(what: &str, times: u32) {
    let platform = Platform::new();
    match what {
        "sign" => sign(times),
        "prepare" => prepare(&platform, times),
        "verify" => verify(&platform, times),
        "accept" => accept(&platform, times),
        "open" => open(&platform, times),
        _ => panic!("{what}"),
    }
}

/// Signs the message that `prepare` signs.
fn sign(times: u32) {
    let request = PRE_SIGN.request().unwrap();
    let message = format!(
        "POST\n{}\n1600000000\n{NONCE}\n{}\n",
        request.target().unwrap(),
        std::str::from_utf8(request.body().unwrap()).unwrap(),
    );
    let key = RsaKeyPair::from_pkcs8(&platform::der(MERCHANT_KEY)).unwrap();
    let mut signature = [0; 256];
    let random = SystemRandom::new();
    for _ in 0..times {
        key.sign(
            &RSA_PKCS1_SHA256,
            &random,
            message.as_bytes(),
            &mut signature,
        )
        .unwrap();
        black_box(&signature);
    }
}

fn prepare(platform: &Platform, times: u32) {
    let merchant = Merchant::new(platform.signer(), platform.verifier()).unwrap();
    let now = SystemTime::now();
    for _ in 0..times {
        let request = PRE_SIGN.request().unwrap();
        let signed = merchant.prepare(&request, now, NONCE).unwrap();
        signed.headers().for_each(|header| {
            black_box(header);
        });
    }
}

/// Verifies a message as long as the one that `accept` verifies.
fn verify(platform: &Platform, times: u32) {
    let message = format!("1600000000\n{NONCE}\n{SESSION}\n");
    let signature = STANDARD.decode(platform.sign(message.as_bytes())).unwrap();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, platform.public_der());
    for _ in 0..times {
        key.verify(message.as_bytes(), &signature).unwrap();
    }
}

fn accept(platform: &Platform, times: u32) {
    let merchant = Merchant::new(platform.signer(), platform.verifier()).unwrap();
    let now = SystemTime::now();
    let headers = platform.headers(SESSION);
    for _ in 0..times {
        let pairs = headers.iter().map(|(name, value)| (*name, value));
        let session: MiniProgramSession = merchant
            .accept(200, pairs, SESSION.as_bytes(), now)
            .unwrap();
        black_box(session);
    }
}

fn open(platform: &Platform, times: u32) {
    let receiver =
        NotificationReceiver::new(platform.verifier(), ApiV3Key::new(API_V3_KEY).unwrap());
    let now = SystemTime::now();
    let body = Platform::notification(CONTRACT_SIGNED);
    let headers = platform.headers(&body);
    for _ in 0..times {
        let pairs = headers.iter().map(|(name, value)| (*name, value));
        let headers = SignatureHeaders::from_pairs(pairs).unwrap();
        black_box(receiver.open(&headers, body.as_bytes(), now).unwrap());
    }
}
