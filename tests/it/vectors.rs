//! The vectors in `tests/vectors` for libraries of other languages: this crate makes them and behaves as they say, and
//! OpenSSL makes the same signatures. `UPDATE_VECTORS=1 cargo test --test it vectors::` writes the files anew.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wechatpay_contract::{
    ApiV3Key, Endpoint, Error, Merchant, NotificationError, NotificationReceiver, Outcome,
    PrivateKey, QueryContract, Request, SignatureHeaders, Signer, TerminateContract, Verifier,
    VerifyError, certificates,
};

use crate::pre_sign::PRE_SIGN;
use crate::support::{
    CURRENT, EXPIRED, FUTURE, Headers, KEY_ID, NEXT, NONCE, NOW, OTHER_PRIVATE, PRIVATE, PUBLIC,
    at, certificate, command, installed, message, platform_public_key, signature_by, text,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
const MCHID: &str = "1900000109";
const SERIAL_NO: &str = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1";
const MERCHANT_KEY: &str = include_str!("../keys/rsa2048_pkcs8.pem");
const API_V3_KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";
const SESSION: &str = include_str!("../platform/answer.json");
const CONTENT: &str = include_str!("../notification/content.json");

fn merchant() -> Merchant {
    let key = PrivateKey::from_pem(MERCHANT_KEY).unwrap();
    let signer = Signer::new(MCHID, SERIAL_NO, key).unwrap();
    Merchant::new(signer, verifier()).unwrap()
}

/// Knows all the platform's keys but [`NEXT`].
fn verifier() -> Verifier {
    let certificates = [CURRENT, EXPIRED, FUTURE].map(certificate);
    Verifier::new([platform_public_key()].into_iter().chain(certificates)).unwrap()
}

fn keys() -> Value {
    let certificate = |pem: &str, serial_no: &str| json!({"serial_no": serial_no, "pem": pem});
    json!({
        "now": NOW,
        "merchant": {
            "mchid": MCHID,
            "serial_no": SERIAL_NO,
            "private_key_pem": MERCHANT_KEY,
            "public_key_pem": include_str!("../keys/rsa2048_public.pem"),
            "api_v3_key": API_V3_KEY,
        },
        "platform": {
            "private_key_pem": PRIVATE,
            "public_key_id": KEY_ID,
            "public_key_pem": PUBLIC,
            "certificates": [
                certificate(include_str!("../platform/certificate_current.pem"), CURRENT),
                certificate(include_str!("../platform/certificate_expired.pem"), EXPIRED),
                certificate(include_str!("../platform/certificate_future.pem"), FUTURE),
            ],
        },
    })
}

fn requests() -> Value {
    let query = QueryContract {
        service_id: 12535,
        out_contract_code: "wxwtdk20200910100000",
    };
    let terminate = TerminateContract {
        service_id: 12535,
        out_contract_code: "wxwtdk20200910100000",
        contract_termination_remark: "用户解约",
    };
    let encoded = Request::get("/v3/bill/{name}")
        .path("name", "a b/ü")
        .query("bill_date", "2019-06-11")
        .query("memo", "a&b=c +%");
    json!([
        request("a body with Chinese text", PRE_SIGN.request().unwrap()),
        request("no body", query.request().unwrap()),
        request(
            "a body on a path with variables",
            terminate.request().unwrap()
        ),
        request("no query, no variable", certificates::request()),
        request("percent-encoded path and query are signed as sent", encoded),
    ])
}

fn request(name: &str, request: Request) -> Value {
    let merchant = merchant();
    let signed = merchant.prepare(&request, at(NOW), NONCE).unwrap();
    let body = std::str::from_utf8(signed.body().unwrap_or_default()).unwrap();
    let (method, target) = (signed.method().as_str(), signed.target());
    let mut headers = signed.headers();
    let (_, authorization) = headers.find(|(name, _)| *name == "Authorization").unwrap();
    let (_, signature) = authorization.split_once("signature=\"").unwrap();
    json!({
        "name": name,
        "method": method,
        "target": target,
        "body": body,
        "timestamp": NOW,
        "nonce": NONCE,
        "message": format!("{method}\n{target}\n{NOW}\n{NONCE}\n{body}\n"),
        "signature": signature.split_once('"').unwrap().0,
        "authorization": authorization,
    })
}

/// Messages that are accepted or refused for their headers, and the reason: the same for responses and notifications.
fn signatures(body: &str) -> Vec<(&'static str, Headers, Option<&'static str>)> {
    let signed = || Headers::signed(body.as_bytes());
    let at_time = |time: &str| Headers::signed_as(time, NONCE, body.as_bytes());
    let seconds = |time: u64| at_time(&time.to_string());
    let named = |serial| signed().set("Wechatpay-Serial", serial);
    let by = |signature: &str| signed().set("Wechatpay-Signature", signature);
    let forged = signature_by(
        OTHER_PRIVATE,
        &message(&NOW.to_string(), NONCE, body.as_bytes()),
    );
    let truncated = &signed().get("Wechatpay-Signature")[4..].to_owned();
    let missing = |name| (name, signed().without(name), Some("missing_header"));
    vec![
        ("signed with the public key", signed(), None),
        ("signed with a certificate", named(CURRENT), None),
        (
            "a serial number in lower case",
            named("11111111111111111111111111111111111111aa"),
            None,
        ),
        ("299 seconds old", seconds(NOW - 299), None),
        ("299 seconds ahead", seconds(NOW + 299), None),
        (
            "without a signature type",
            signed().without("Wechatpay-Signature-Type"),
            None,
        ),
        missing("Wechatpay-Serial"),
        missing("Wechatpay-Timestamp"),
        missing("Wechatpay-Nonce"),
        missing("Wechatpay-Signature"),
        (
            "two nonces",
            signed().with("wechatpay-nonce", "1"),
            Some("duplicate_header"),
        ),
        (
            "a time with a sign",
            at_time("+1700000000"),
            Some("malformed_header"),
        ),
        (
            "a time that is no number",
            at_time("yesterday"),
            Some("malformed_header"),
        ),
        (
            "another signature type",
            signed().set("Wechatpay-Signature-Type", "WECHATPAY2-SM2-WITH-SM3"),
            Some("unsupported_signature_type"),
        ),
        ("300 seconds old", seconds(NOW - 300), Some("stale")),
        ("300 seconds ahead", seconds(NOW + 300), Some("stale")),
        (
            "signed with an unknown certificate",
            named(NEXT),
            Some("unknown_serial"),
        ),
        (
            "signed with an expired certificate",
            named(EXPIRED),
            Some("outside_validity"),
        ),
        (
            "signed with a future certificate",
            named(FUTURE),
            Some("outside_validity"),
        ),
        ("a probe", by("WECHATPAY/SIGNTEST/5e2c8a"), Some("probe")),
        (
            "signed by another key",
            by(&forged),
            Some("wrong_signature"),
        ),
        (
            "a truncated signature",
            by(truncated),
            Some("wrong_signature"),
        ),
        (
            "a signature that is not base64",
            by("%%%"),
            Some("wrong_signature"),
        ),
        (
            "another nonce",
            signed().set("Wechatpay-Nonce", "1"),
            Some("wrong_signature"),
        ),
        (
            "another time",
            signed().set("Wechatpay-Timestamp", "1700000001"),
            Some("wrong_signature"),
        ),
        (
            "another body",
            Headers::signed(b"{}"),
            Some("wrong_signature"),
        ),
    ]
}

fn responses() -> Value {
    let mut all = Vec::new();
    for (name, headers, refused) in signatures(SESSION) {
        let expected = match refused {
            None => json!({"result": "success"}),
            Some(reason) => json!({"result": "unverified", "reason": reason, "outcome": "unknown"}),
        };
        all.push(response(name, 200, &headers, SESSION, expected));
    }
    let error = |code: &str| json!({"code": code, "message": "a message"}).to_string();
    let api_error = |code: &str, outcome: &str, is_signed: bool| json!({"result": "api_error", "code": code, "outcome": outcome, "is_signed": is_signed});
    let mut signed = |name, status, body: &str, expected| {
        let headers = Headers::signed(body.as_bytes());
        all.push(response(name, status, &headers, body, expected));
    };
    let accepted = json!({"result": "accepted", "outcome": "unknown"});
    let not_json = json!({"result": "not_json", "outcome": "unknown"});
    signed("no content", 204, "", json!({"result": "success"}));
    signed("accepted, but not carried out", 202, "{}", accepted);
    signed("success that is not JSON", 200, "<html>", not_json);
    for (status, code, outcome) in [
        (400, "PARAM_ERROR", "refused"),
        (403, "NO_AUTH", "refused"),
        (404, "RESOURCE_NOT_EXISTS", "refused"),
        (429, "FREQUENCY_LIMITED", "refused"),
        (500, "SYSTEM_ERROR", "unknown"),
    ] {
        signed(
            "an error",
            status,
            &error(code),
            api_error(code, outcome, true),
        );
    }
    let mut unsigned = |name, status, body: &str, expected| {
        all.push(response(name, status, &Headers::unsigned(), body, expected));
    };
    let sign_error = api_error("SIGN_ERROR", "refused", false);
    unsigned("an unsigned error", 401, &error("SIGN_ERROR"), sign_error);
    unsigned(
        "a page of a proxy",
        502,
        "<html>",
        api_error("", "unknown", false),
    );
    unsigned(
        "a page of a proxy",
        403,
        "<html>",
        api_error("", "unknown", false),
    );
    let missing = json!({"result": "unverified", "reason": "missing_header", "outcome": "unknown"});
    unsigned("unsigned success", 200, "{}", missing);
    let body = error("PARAM_ERROR");
    let forged = Headers::signed(b"{}");
    let expected =
        json!({"result": "unverified", "reason": "wrong_signature", "outcome": "unknown"});
    all.push(response(
        "an error with a wrong signature",
        400,
        &forged,
        &body,
        expected,
    ));
    Value::from(all)
}

fn response(name: &str, status: u16, headers: &Headers, body: &str, expected: Value) -> Value {
    json!({
        "name": name,
        "status": status,
        "headers": pairs(headers),
        "body": body,
        "expected": expected,
    })
}

fn notifications() -> Value {
    let mut all = Vec::new();
    let right = envelope(CONTENT.as_bytes());
    let body = right.to_string();
    for (name, headers, refused) in signatures(&body) {
        let expected = match refused {
            None => json!({"result": "success", "content": CONTENT}),
            Some(reason) => json!({"result": "unverified", "reason": reason}),
        };
        all.push(notification(name, &headers, &body, expected));
    }
    let mut signed = |name, body: String, expected| {
        let headers = Headers::signed(body.as_bytes());
        all.push(notification(name, &headers, &body, expected));
    };
    let refused = |result: &str| json!({"result": result});
    let changed = |pointer: &str, value: Value| {
        let mut envelope = right.clone();
        *envelope.pointer_mut(pointer).unwrap() = value;
        envelope.to_string()
    };
    let mut no_nonce = right.clone();
    no_nonce["resource"]
        .as_object_mut()
        .unwrap()
        .remove("nonce");
    let damaged = text(&right["resource"]["ciphertext"]).replacen(['A', 'B', 'C', 'D'], "x", 1);
    let other = "AEAD_SM4_GCM".into();
    signed("not JSON", "<html>".to_owned(), refused("envelope"));
    signed("without a nonce", no_nonce.to_string(), refused("envelope"));
    let algorithm = changed("/resource/algorithm", other);
    signed(
        "another algorithm",
        algorithm,
        refused("unsupported_algorithm"),
    );
    let nonce = changed("/resource/nonce", "uluk4a9R25R".into());
    signed("a nonce of 11 bytes", nonce, refused("malformed_field"));
    let ciphertext = changed("/resource/ciphertext", "%%%".into());
    signed(
        "a ciphertext that is not base64",
        ciphertext,
        refused("malformed_field"),
    );
    let nonce = changed("/resource/nonce", "uluk4a9R25RX".into());
    signed("another nonce", nonce, refused("decrypt"));
    let data = changed("/resource/associated_data", "other".into());
    signed("other associated data", data, refused("decrypt"));
    let ciphertext = changed("/resource/ciphertext", damaged.into());
    signed("a damaged ciphertext", ciphertext, refused("decrypt"));
    signed(
        "content that is not JSON",
        envelope(b"<html>").to_string(),
        refused("content"),
    );
    Value::from(all)
}

fn notification(name: &str, headers: &Headers, body: &str, expected: Value) -> Value {
    json!({"name": name, "headers": pairs(headers), "body": body, "expected": expected})
}

/// Encrypts by RustCrypto, independently of the crate.
fn envelope(content: &[u8]) -> Value {
    let payload = Payload {
        msg: content,
        aad: b"entrust",
    };
    let cipher = Aes256Gcm::new_from_slice(API_V3_KEY.as_bytes()).unwrap();
    let nonce = "uluk4a9R25RW";
    let sealed = cipher.encrypt(&Nonce::try_from(nonce.as_bytes()).unwrap(), payload);
    json!({
        "id": "EV-2018022511223320873",
        "create_time": "2020-09-10T13:29:36+08:00",
        "resource_type": "encrypt-resource",
        "event_type": "ENTRUST.SIGN",
        "summary": "签约结果通知",
        "resource": {
            "original_type": "entrust",
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": STANDARD.encode(sealed.unwrap()),
            "associated_data": "entrust",
            "nonce": nonce,
        },
    })
}

fn pairs(headers: &Headers) -> Value {
    let pairs = headers.pairs();
    let pairs = pairs.map(|(name, value)| json!([name, std::str::from_utf8(value).unwrap()]));
    pairs.collect()
}

/// The headers of a vector.
fn headers(vector: &Value) -> Vec<(&str, &str)> {
    let pairs = vector["headers"].as_array().unwrap().iter();
    pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn read(file: &str) -> Value {
    let path = format!("{FOLDER}/{file}");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Checks each vector of a file. The name that was printed last is that of the vector that failed.
fn each(file: &str, check: impl Fn(&Value)) {
    let vectors = read(file);
    let vectors = vectors.as_array().unwrap();
    assert!(vectors.len() >= 5);
    for vector in vectors {
        println!("{file}: {}", vector["name"]);
        check(vector);
    }
}

#[test]
fn the_files_are_what_this_crate_makes() {
    for (file, made) in [
        ("keys.json", keys()),
        ("requests.json", requests()),
        ("responses.json", responses()),
        ("notifications.json", notifications()),
    ] {
        if std::env::var_os("UPDATE_VECTORS").is_some() {
            let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
            std::fs::write(format!("{FOLDER}/{file}"), text).unwrap();
        }
        assert_eq!(
            read(file),
            made,
            "{file}: run with UPDATE_VECTORS=1 if that is meant"
        );
    }
}

#[test]
fn openssl_agrees_with_every_signature_of_the_files() {
    if !installed("openssl") {
        return;
    }
    let sign = |key: &str, message: &[u8]| {
        let key = format!("{FOLDER}/../{key}");
        STANDARD.encode(command(
            "openssl",
            &["dgst", "-sha256", "-sign", &key],
            message,
        ))
    };
    each("requests.json", |vector| {
        let signature = sign(
            "keys/rsa2048_pkcs8.pem",
            text(&vector["message"]).as_bytes(),
        );
        assert_eq!(text(&vector["signature"]), signature);
    });
    let signed = |vector: &Value| {
        let headers = headers(vector);
        let header = |wanted| {
            headers
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|it| it.1)
        };
        let names = [
            "Wechatpay-Timestamp",
            "Wechatpay-Nonce",
            "Wechatpay-Signature",
        ];
        let [Some(timestamp), Some(nonce), Some(signature)] = names.map(header) else {
            return;
        };
        let message = message(timestamp, nonce, text(&vector["body"]).as_bytes());
        let is_right = sign("platform/private.pem", &message) == signature;
        // Whatever else is refused has a right signature, so that there is one reason only.
        let reason = vector["expected"]["reason"].as_str();
        let is_wrong = matches!(reason, Some("wrong_signature" | "probe"));
        assert_ne!(is_right, is_wrong, "{vector}");
    };
    each("responses.json", signed);
    each("notifications.json", signed);
}

#[test]
fn responses_are_accepted_and_refused_as_the_file_says() {
    let merchant = merchant();
    each("responses.json", |vector| {
        let status = vector["status"].as_u64().unwrap().try_into().unwrap();
        let body = text(&vector["body"]).as_bytes();
        let accepted = merchant.accept::<Value, _, _>(status, headers(vector), body, at(NOW));
        let found = match accepted {
            Ok(_) => json!({"result": "success"}),
            Err(error) => refusal(&error),
        };
        assert_eq!(found, vector["expected"]);
    });
}

fn refusal(error: &Error) -> Value {
    let outcome = match error.outcome() {
        Outcome::Refused => "refused",
        Outcome::Unknown => "unknown",
        other => panic!("{other:?}"),
    };
    match error {
        Error::Unverified { source, .. } => {
            json!({"result": "unverified", "reason": reason(source), "outcome": outcome})
        }
        Error::Api(api) => json!({
            "result": "api_error",
            "code": api.code,
            "outcome": outcome,
            "is_signed": api.authenticity == wechatpay_contract::Authenticity::Signed,
        }),
        Error::Accepted { .. } => json!({"result": "accepted", "outcome": outcome}),
        Error::Decode { .. } => json!({"result": "not_json", "outcome": outcome}),
        other => panic!("{other:?}"),
    }
}

fn reason(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::MissingHeader { .. } => "missing_header",
        VerifyError::DuplicateHeader { .. } => "duplicate_header",
        VerifyError::MalformedHeader { .. } => "malformed_header",
        VerifyError::UnsupportedSignatureType { .. } => "unsupported_signature_type",
        VerifyError::Stale { .. } => "stale",
        VerifyError::UnknownSerial { .. } => "unknown_serial",
        VerifyError::OutsideValidity { .. } => "outside_validity",
        VerifyError::Probe => "probe",
        VerifyError::WrongSignature { .. } => "wrong_signature",
        other => panic!("{other:?}"),
    }
}

#[test]
fn notifications_are_opened_and_refused_as_the_file_says() {
    let receiver = NotificationReceiver::new(verifier(), ApiV3Key::new(API_V3_KEY).unwrap());
    each("notifications.json", |vector| {
        let headers = headers(vector);
        let opened = SignatureHeaders::from_pairs(headers)
            .map_err(NotificationError::from)
            .and_then(|headers| {
                let body = text(&vector["body"]).as_bytes();
                receiver.open_as::<Value>(&headers, body, at(NOW))
            });
        let found = match opened {
            Ok(event) => json!({"result": "success", "content": event.json()}),
            Err(NotificationError::Verify(error)) => {
                json!({"result": "unverified", "reason": reason(&error)})
            }
            Err(NotificationError::Envelope(_)) => json!({"result": "envelope"}),
            Err(NotificationError::MalformedField { .. }) => json!({"result": "malformed_field"}),
            Err(NotificationError::UnsupportedAlgorithm { .. }) => {
                json!({"result": "unsupported_algorithm"})
            }
            Err(NotificationError::Decrypt) => json!({"result": "decrypt"}),
            Err(NotificationError::Content { .. }) => json!({"result": "content"}),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(found, vector["expected"]);
    });
}
