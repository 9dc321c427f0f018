//! Preparing a request, accepting an answer and opening a notification, each beside the raw operations on the same
//! bytes: `cargo bench --bench core`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

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

use measure::Comparison;
use platform::{API_V3_KEY, CONTRACT_SIGNED, MERCHANT_KEY, PRE_SIGN, Platform, SESSION};

#[path = "support/measure.rs"]
mod measure;
#[path = "../tests/support/platform.rs"]
mod platform;
#[path = "../tests/support/tls_server.rs"]
mod tls_server;

const NONCE: &str = "593BEC0C930BF1AFEB40B4A08C8FB242";

fn main() {
    let platform = Platform::new();
    let kept = [
        prepare(&platform),
        accept(&platform),
        notification(&platform),
    ];
    if kept.contains(&false) {
        std::process::exit(1);
    }
}

/// Beside one raw signature over the same message.
fn prepare(platform: &Platform) -> bool {
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
    let comparison = Comparison {
        what: "prepare / ring's signature",
        limit: 1.01,
        turns: 4000,
        runs: 1,
    };
    comparison.run(
        || {
            let request = PRE_SIGN.request().unwrap();
            merchant
                .prepare(&request, now, NONCE)
                .unwrap()
                .headers()
                .count()
        },
        || {
            let random = SystemRandom::new();
            key.sign(
                &RSA_PKCS1_SHA256,
                &random,
                message.as_bytes(),
                &mut signature,
            )
            .unwrap();
        },
    )
}

/// Beside one raw verification of the same signature.
fn accept(platform: &Platform) -> bool {
    let merchant = Merchant::new(platform.signer(), platform.verifier()).unwrap();
    let now = SystemTime::now();
    let headers = platform.headers(SESSION);
    let (message, signature) = signed(&headers, SESSION);
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, platform.public_der());
    let comparison = Comparison {
        what: "accept / ring's verification",
        limit: 1.05,
        turns: 4000,
        runs: 10,
    };
    comparison.run(
        || {
            let pairs = headers.iter().map(|(name, value)| (*name, value));
            merchant
                .accept::<MiniProgramSession, _, _>(200, pairs, SESSION.as_bytes(), now)
                .unwrap()
        },
        || key.verify(&message, &signature).unwrap(),
    )
}

/// Beside raw verification, base64, AES-256-GCM and serde_json of the same bytes.
fn notification(platform: &Platform) -> bool {
    let receiver =
        NotificationReceiver::new(platform.verifier(), ApiV3Key::new(API_V3_KEY).unwrap());
    let now = SystemTime::now();
    let body = Platform::notification(CONTRACT_SIGNED);
    let headers = platform.headers(&body);
    let (message, signature) = signed(&headers, &body);
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, platform.public_der());
    let secret = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, API_V3_KEY.as_bytes()).unwrap());
    let comparison = Comparison {
        what: "open a notification / raw operations",
        limit: 1.10,
        turns: 4000,
        runs: 10,
    };
    comparison.run(
        || -> Notification {
            let pairs = headers.iter().map(|(name, value)| (*name, value));
            let headers = SignatureHeaders::from_pairs(pairs).unwrap();
            receiver.open(&headers, body.as_bytes(), now).unwrap()
        },
        || -> RawContent {
            key.verify(&message, &signature).unwrap();
            let envelope: RawEnvelope<'_> = serde_json::from_str(&body).unwrap();
            let resource = envelope.resource;
            let mut sealed = STANDARD.decode(resource.ciphertext).unwrap();
            let nonce = Nonce::try_assume_unique_for_key(resource.nonce.as_bytes()).unwrap();
            let aad = Aad::from(resource.associated_data.as_bytes());
            let content = secret.open_in_place(nonce, aad, &mut sealed).unwrap();
            serde_json::from_slice(content).unwrap()
        },
    )
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

/// What is in the content, and nothing else.
#[allow(dead_code)] // Read by nobody, but deserialized.
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

/// The message that the headers' signature is over, and the raw signature.
fn signed(headers: &[(&'static str, String)], body: &str) -> (Vec<u8>, Vec<u8>) {
    let header = |wanted: &str| {
        let (_, value) = headers.iter().find(|(name, _)| *name == wanted).unwrap();
        value
    };
    let (timestamp, nonce) = (header("Wechatpay-Timestamp"), header("Wechatpay-Nonce"));
    let message = format!("{timestamp}\n{nonce}\n{body}\n").into_bytes();
    let signature = STANDARD.decode(header("Wechatpay-Signature")).unwrap();
    (message, signature)
}
