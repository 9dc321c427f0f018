//! Keys that were passed in the place of another argument or setting.

use std::fmt::{Debug, Display};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use wechatpay_contract::order::PayParameters;
use wechatpay_contract::{
    ApiV3Key, Client, ClientBuilder, Method, PrivateKey, PublicKey, Request, Signer,
};

use crate::platform::{API_V3_KEY, MCHID, MERCHANT_KEY, PUBLIC_KEY_ID, Platform, SERIAL_NO};

/// Collects all that is shown of a value.
fn shown(value: &impl Debug) -> String {
    format!("{value:?}{value:#?}")
}

/// Collects all that is shown of an error, or of what was made in its place.
fn told<T: Debug, E: Debug + Display>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => shown(&value),
        Err(error) => format!("{error}{error:#}{}", shown(&error)),
    }
}

/// What each argument and setting of the public API shows with `secret` in its place.
fn all_shown(secret: &str) -> Vec<(&'static str, String)> {
    let platform = Platform::new();
    let key = || PrivateKey::from_pem(MERCHANT_KEY).unwrap();
    let signer = || platform.signer();
    let sign = |_: &[u8]| Ok(vec![0x80; 256]);
    let pem = platform.public_pem();
    let build = |set: &dyn Fn(ClientBuilder) -> ClientBuilder| {
        told(set(Client::builder(signer(), platform.verifier())).build())
    };
    let client = Client::new(signer(), platform.verifier()).unwrap();
    let merchant = client.merchant();
    let target = |request: &Request| {
        let told = told(request.target().map(drop));
        let signed = merchant.prepare(request, SystemTime::now(), "nonce");
        told + &shown(request) + request.template() + &shown(&signed)
    };
    let now = SystemTime::now();
    let owned = secret.to_owned();
    vec![
        (
            "Signer::new mchid",
            told(Signer::new(secret, SERIAL_NO, key())),
        ),
        (
            "Signer::new serial_no",
            told(Signer::new(MCHID, secret, key())),
        ),
        (
            "Signer::from_function mchid",
            told(Signer::from_function(secret, SERIAL_NO, sign)),
        ),
        (
            "Signer::from_function serial_no",
            told(Signer::from_function(MCHID, secret, sign)),
        ),
        ("Signer::from_function signature", {
            let bytes = owned.clone().into_bytes();
            let signer = Signer::from_function(MCHID, SERIAL_NO, move |_| Ok(bytes.clone()));
            told(signer.unwrap().sign(b"x"))
        }),
        ("PrivateKey::from_pem", told(PrivateKey::from_pem(secret))),
        ("PrivateKey::from_file", told(PrivateKey::from_file(secret))),
        (
            "PublicKey::from_pem id",
            told(PublicKey::from_pem(secret, &pem)),
        ),
        (
            "PublicKey::from_pem",
            told(PublicKey::from_pem(PUBLIC_KEY_ID, secret)),
        ),
        (
            "PublicKey::from_file id",
            told(PublicKey::from_file(secret, "Cargo.toml")),
        ),
        (
            "PublicKey::from_file",
            told(PublicKey::from_file(PUBLIC_KEY_ID, secret)),
        ),
        (
            "PublicKey::from_certificate_pem",
            told(PublicKey::from_certificate_pem(secret)),
        ),
        (
            "PublicKey::from_certificate_file",
            told(PublicKey::from_certificate_file(secret)),
        ),
        ("ApiV3Key::new", told(ApiV3Key::new(secret))),
        ("host", build(&|builder| builder.host(secret))),
        (
            "host with https",
            build(&|builder| builder.host(format!("https://{secret}/v3"))),
        ),
        (
            "backup_host",
            build(&|builder| builder.backup_host(Some(secret))),
        ),
        (
            "accept_language",
            build(&|builder| builder.accept_language(secret)),
        ),
        ("proxy", build(&|builder| builder.proxy(secret))),
        (
            "proxy host",
            build(&|builder| builder.proxy(format!("http://{secret}:0"))),
        ),
        (
            "proxy password",
            build(&|builder| builder.proxy(format!("http://u:{secret}@127.0.0.1:1"))),
        ),
        (
            "root_certificates",
            build(&|builder| builder.root_certificates(secret)),
        ),
        (
            "pay_parameters appid",
            told(client.pay_parameters(secret, "wx1")),
        ),
        (
            "pay_parameters prepay_id",
            told(client.pay_parameters("wx1", secret).map(drop)),
        ),
        (
            "PayParameters::sign nonce_str",
            told(PayParameters::sign(merchant.signer(), "wx1", "wx1", now, secret).map(drop)),
        ),
        (
            "Merchant::prepare nonce_str",
            told(
                merchant
                    .prepare(&Request::get("/v3/x"), now, secret)
                    .map(drop),
            ),
        ),
        (
            "template",
            target(&Request::new(Method::Get, owned.clone())),
        ),
        (
            "template with slash",
            target(&Request::get(format!("/v3/{secret}?"))),
        ),
        (
            "name of variable",
            target(&Request::get("/v3/{id}").path(owned.clone(), 1)),
        ),
        (
            "variable",
            target(&Request::get("/v3/x").path("id", secret)),
        ),
        (
            "variable twice",
            target(
                &Request::get("/v3/{id}")
                    .path("id", secret)
                    .path("id", secret),
            ),
        ),
        (
            "query name",
            target(&Request::get("/v3/x").query(owned.clone(), 1)),
        ),
        ("query", target(&Request::get("/v3/x").query("id", secret))),
        ("body", target(&Request::get("/v3/x").json(secret))),
        (
            "emoji body",
            target(&Request::post("/v3/x").json(&format!("{secret}\u{1F600}"))),
        ),
        (
            "execute",
            told(
                Client::builder(signer(), platform.verifier())
                    .host("http://127.0.0.1:1")
                    .timeout(Duration::from_secs(1))
                    .build()
                    .unwrap()
                    .execute::<Value>(Request::post("/v3/{id}").path("id", secret).json(secret)),
            ),
        ),
    ]
}

/// An APIv3 key is also a valid nonce, AppID and `prepay_id`. So the values that are made of it there are not examined.
#[test]
fn no_key_in_the_place_of_another_argument_is_shown() {
    let base64: String = MERCHANT_KEY
        .lines()
        .filter(|l| !l.starts_with('-'))
        .collect();
    let line = &base64[192..208];
    for (secret, mark) in [
        (MERCHANT_KEY, line),
        (&base64, line),
        (API_V3_KEY, &API_V3_KEY[..16]),
    ] {
        assert!(secret.contains(mark));
        for (place, said) in all_shown(secret) {
            assert!(!said.contains(mark), "{place}: {said}");
        }
    }
}
