//! Heap allocations of a request, a response, a notification and a call, counted on the test's thread only. A program
//! of its own, because it counts with an allocator of its own. `cargo test --test allocations -- --nocapture` prints
//! the counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::hint::black_box;
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

use platform::{
    API_V3_KEY, CONTRACT_SIGNED, MERCHANT_KEY, PRE_SIGN, Platform, SESSION, server_and_client,
};

#[path = "support/platform.rs"]
mod platform;
#[path = "support/tls_server.rs"]
mod tls_server;

const NONCE: &str = "593BEC0C930BF1AFEB40B4A08C8FB242";

/// Returns the number of allocations of `call` after three runs of it, so that what is kept for later calls is not
/// counted.
fn allocations<T>(mut call: impl FnMut() -> T) -> u64 {
    for _ in 0..3 {
        drop(black_box(call()));
    }
    let mut result = None;
    let counted = allocation_counter::measure(|| result = Some(black_box(call())));
    drop(result);
    counted.count_total
}

fn assert_at_most(what: &str, found: u64, limit: u64) {
    println!("{what}: {found} allocations, at most {limit}");
    assert!(
        found <= limit,
        "{what}: {found} allocations, at most {limit}"
    );
}

/// Returns the number of allocations of one signature by ring.
fn raw_signature() -> u64 {
    let key = RsaKeyPair::from_pkcs8(&platform::der(MERCHANT_KEY)).unwrap();
    let mut signature = [0; 256];
    allocations(|| {
        key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            SESSION.as_bytes(),
            &mut signature,
        )
        .unwrap();
    })
}

/// Returns the number of allocations of one verification by ring.
fn raw_verification(platform: &Platform) -> u64 {
    let signature = STANDARD.decode(platform.sign(SESSION.as_bytes())).unwrap();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, platform.public_der());
    allocations(|| key.verify(SESSION.as_bytes(), &signature).unwrap())
}

#[test]
fn preparing_a_request_takes_few_allocations() {
    let platform = Platform::new();
    let merchant = Merchant::new(platform.signer(), platform.verifier()).unwrap();
    let now = SystemTime::now();
    let found = allocations(|| {
        let request = PRE_SIGN.request().unwrap();
        let signed = merchant.prepare(&request, now, NONCE).unwrap();
        signed.headers().for_each(|header| {
            black_box(header);
        });
    });
    assert_at_most("prepare, beyond ring's", found - raw_signature(), 4);
}

#[test]
fn accepting_a_response_takes_few_allocations() {
    let platform = Platform::new();
    let merchant = Merchant::new(platform.signer(), platform.verifier()).unwrap();
    let now = SystemTime::now();
    let headers = platform.headers(SESSION);
    let found = allocations(|| {
        let pairs = headers.iter().map(|(name, value)| (*name, value));
        let session: MiniProgramSession = merchant
            .accept(200, pairs, SESSION.as_bytes(), now)
            .unwrap();
        session
    });
    assert_at_most(
        "accept, beyond ring's",
        found - raw_verification(&platform),
        8,
    );
}

#[test]
fn opening_a_notification_takes_few_allocations() {
    let platform = Platform::new();
    let receiver =
        NotificationReceiver::new(platform.verifier(), ApiV3Key::new(API_V3_KEY).unwrap());
    let body = Platform::notification(CONTRACT_SIGNED);
    let headers = platform.headers(&body);
    let now = SystemTime::now();
    let found = allocations(|| {
        let pairs = headers.iter().map(|(name, value)| (*name, value));
        let headers = SignatureHeaders::from_pairs(pairs).unwrap();
        receiver.open(&headers, body.as_bytes(), now).unwrap()
    });
    assert_at_most("open a notification, ring's included", found, 34);
}

#[test]
fn a_call_over_tls_takes_few_allocations() {
    let (server, client) = server_and_client();
    let found = allocations(|| client.send(&PRE_SIGN).unwrap());
    assert_eq!(server.connections(), 1);
    // With the 16 headers of a real response.
    assert_at_most("a call over TLS", found, 95);
}

/// The connection pool, which merchants share, is not included.
#[test]
fn the_keys_of_a_merchant_take_little_memory() {
    let platform = Platform::new();
    let mut merchant = None;
    let held = allocation_counter::measure(|| {
        merchant = Some(Merchant::new(platform.signer(), platform.verifier()).unwrap());
    });
    println!("a merchant: {} bytes", held.bytes_current);
    assert!(held.bytes_current <= 2560, "{} bytes", held.bytes_current);
}
