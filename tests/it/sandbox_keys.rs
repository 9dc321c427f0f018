//! The sandbox's keys: which of them signs, and how serial numbers are written.

use std::time::{Duration, SystemTime};

use serde_json::json;
use wechatpay_contract::sandbox::{Platform, Sandbox, Signing, SignsWith};
use wechatpay_contract::{
    ApiV3Key, Event, EventKind, NotificationReceiver, SignatureHeaders, Validity, VerifyError,
};

use crate::raw_client::{RawClient, authorization, now};
use crate::support::chain;

const OLD: &str = "1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
const NEW: &str = "7132D72A03E93CDDF8C03BBD1F37EEDF38F77E0A";
const CERTIFICATES: &str = "/v3/certificates";

fn until(not_after: u64) -> Validity {
    Validity {
        not_before: 1_500_000_000,
        not_after,
    }
}

/// A sandbox of a merchant that has the public key and two certificates.
fn moving() -> Sandbox {
    let sandbox = Sandbox::start().unwrap();
    let platform = sandbox.platform();
    platform
        .issue_certificate(NEW, until(4_100_000_000))
        .unwrap();
    platform
        .issue_certificate(OLD, until(4_000_000_000))
        .unwrap();
    sandbox
}

/// Sends a `GET` that names this key. Returns the status, and the serial of the response's signature.
fn signer_of(sandbox: &Sandbox, target: &str, serial: Option<&str>) -> (u16, Option<String>) {
    let authorization = authorization(&sandbox.signer(), "GET", target, now(), b"");
    let mut headers = vec![
        ("Authorization", authorization.as_str()),
        ("Accept", "application/json"),
        ("User-Agent", "raw"),
    ];
    headers.extend(serial.map(|serial| ("Wechatpay-Serial", serial)));
    let mut raw = RawClient::connect(sandbox);
    raw.send("GET", target, &headers, b"");
    let response = raw.response();
    let serial = response.header("wechatpay-serial").map(str::to_owned);
    (response.status, serial)
}

#[test]
fn a_response_is_signed_with_the_key_that_the_request_names() {
    let sandbox = moving();
    let query = "/v3/certificates?algorithm_type=RSA";
    for (serial, signer) in [
        (None, NEW),
        (Some(""), NEW),
        (Some(NEW), NEW),
        (Some(OLD), OLD),
        (Some(Sandbox::PUBLIC_KEY_ID), Sandbox::PUBLIC_KEY_ID),
    ] {
        for (target, status) in [(CERTIFICATES, 200), ("/v3/unknown", 404)] {
            let expected = (status, Some(signer.to_owned()));
            assert_eq!(
                signer_of(&sandbox, target, serial),
                expected,
                "{target} {serial:?}"
            );
        }
    }
    assert_eq!(
        signer_of(&sandbox, query, None),
        (200, Some(NEW.to_owned()))
    );
    assert_eq!(signer_of(&sandbox, CERTIFICATES, Some("1A")).0, 400);

    let only_public_key = Sandbox::start().unwrap();
    let public_key = Some(Sandbox::PUBLIC_KEY_ID.to_owned());
    assert_eq!(
        signer_of(&only_public_key, "/v3/unknown", None),
        (404, public_key)
    );
}

#[test]
fn a_notification_is_signed_with_the_selected_key() {
    let sandbox = moving();
    let signer = || {
        sandbox.notify("ENTRUST.SIGN", "entrust", &json!({}));
        let sent = sandbox.notifications().pop().unwrap();
        let found = sent
            .headers
            .into_iter()
            .find(|(name, _)| name == "Wechatpay-Serial");
        found.unwrap().1
    };
    assert_eq!(signer(), NEW);
    for id in [OLD, Sandbox::PUBLIC_KEY_ID] {
        sandbox.platform().sign_with(SignsWith::Key(id.to_owned()));
        assert_eq!(signer(), id);
    }
    sandbox
        .platform()
        .sign_with(SignsWith::Moving { permille: 1000 });
    assert_eq!(signer(), Sandbox::PUBLIC_KEY_ID);
}

fn issued_before(serial_no: &str) -> String {
    format!("serial_no: found {serial_no:?}, which was issued before and not withdrawn")
}

#[test]
fn an_expired_certificate_keeps_its_serial_number_until_it_is_withdrawn() {
    let sandbox = Sandbox::start().unwrap();
    let platform = sandbox.platform();
    platform
        .issue_certificate(OLD, until(1_500_000_001))
        .unwrap();
    let again = platform.issue_certificate(OLD, until(1_500_000_001));
    assert_eq!(again.unwrap_err().to_string(), issued_before(OLD));
    platform.withdraw_certificate(OLD);
    platform
        .issue_certificate(OLD, until(1_500_000_001))
        .unwrap();
}

#[test]
fn serial_numbers_are_compared_as_numbers() {
    for (issued, written) in [
        (
            "0F2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B",
            "0f2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b",
        ),
        ("00000A", "A"),
        ("abc", "0ABC"),
    ] {
        let sandbox = Sandbox::start().unwrap();
        let platform = sandbox.platform();
        platform.offer_public_key(false);
        platform
            .issue_certificate(issued, until(4_000_000_000))
            .unwrap();
        let again = platform.issue_certificate(written, until(4_000_000_000));
        assert_eq!(again.unwrap_err().to_string(), issued_before(written));

        let client = sandbox
            .certificate_client_builder()
            .unwrap()
            .build()
            .unwrap();
        client.refresh_certificates().unwrap();
        assert!(client.self_test().is_success(), "{issued}");
        assert_eq!(signer_of(&sandbox, CERTIFICATES, Some(written)).0, 200);
        platform.offer_public_key(true);
        platform.sign_with(SignsWith::Key(written.to_owned()));
        let signer = Some(issued.to_ascii_uppercase());
        assert_eq!(signer_of(&sandbox, CERTIFICATES, None), (200, signer));
        platform.withdraw_certificate(written);
        assert_eq!(signer_of(&sandbox, CERTIFICATES, Some(issued)).0, 400);
    }
}

#[test]
fn the_merchants_serial_number_is_compared_as_a_number() {
    let sandbox = Sandbox::start().unwrap();
    let right = authorization(&sandbox.signer(), "GET", "/v3/unknown", now(), b"");
    for (written, status) in [
        (Sandbox::MERCHANT_SERIAL_NO.to_ascii_lowercase(), 404),
        (format!("00{}", Sandbox::MERCHANT_SERIAL_NO), 404),
        (format!("{}0", Sandbox::MERCHANT_SERIAL_NO), 401),
    ] {
        let authorization = right.replace(Sandbox::MERCHANT_SERIAL_NO, &written);
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Accept", "application/json"),
            ("User-Agent", "raw"),
        ];
        let mut raw = RawClient::connect(&sandbox);
        raw.send("GET", "/v3/unknown", &headers, b"");
        assert_eq!(raw.response().status, status, "{written}");
    }
}

#[test]
fn a_platform_without_a_server_signs_and_encrypts() {
    let platform = Platform::new().unwrap();
    let time = SystemTime::now() - Duration::from_secs(1_000_000);
    let content = json!({"out_contract_code": "code1", "contract_id": "id1"});
    let body = platform.notification("ENTRUST.SIGN", "entrust", &content, time);
    let verifier = platform.verifier().unwrap();
    let key = ApiV3Key::new(Sandbox::API_V3_KEY).unwrap();
    let receiver = NotificationReceiver::new(verifier, key);
    let open = |signing| {
        let headers = platform.sign(&body, time, signing);
        let pairs = headers.iter().map(|(name, value)| (name, value));
        receiver.open(&SignatureHeaders::from_pairs(pairs).unwrap(), &body, time)
    };
    let event = open(Signing::Right).unwrap();
    let Event::Contract(contract) = event.content else {
        panic!("{event:?}")
    };
    assert_eq!(event.kind, EventKind::Signed);
    assert_eq!(contract.contract_id.as_deref(), Some("id1"));
    let error = open(Signing::Probe).unwrap_err();
    assert_eq!(chain(&error)[1], VerifyError::Probe.to_string());
}
