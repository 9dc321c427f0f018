//! The paths under `/sandbox/`, for clients in any language.

use std::io::ErrorKind;
use std::net::TcpStream;

use serde_json::{Value, json};
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{PublicKey, SignatureHeaders, VerifyError};

use crate::notification_server::{NotificationServer, PATIENCE, Reaction};
use crate::raw_client::{RawClient, wait_until};
use crate::sandbox_notifications::decrypted;

/// Posts to a path under `/sandbox/`, unsigned and without any header.
fn order(raw: &mut RawClient, action: &str, body: &Value) -> (u16, Value) {
    let target = format!("/sandbox/{action}");
    raw.send("POST", &target, &[], body.to_string().as_bytes());
    let response = raw.response();
    assert_eq!(response.header("wechatpay-signature"), None);
    (response.status, response.json())
}

fn look(raw: &mut RawClient, what: &str) -> Value {
    raw.send("GET", &format!("/sandbox/{what}"), &[], b"");
    let response = raw.response();
    assert_eq!(response.status, 200, "{what}");
    response.json()
}

fn pre_signed() -> (Sandbox, RawClient) {
    let sandbox = Sandbox::start().unwrap();
    let mut raw = RawClient::connect(&sandbox);
    raw.pre_sign("code1");
    assert_eq!(raw.response().status, 200);
    (sandbox, raw)
}

#[test]
fn each_action_of_the_user_has_a_path() {
    let (_sandbox, mut raw) = pre_signed();
    let code = json!({"out_contract_code": "code1"});
    assert_eq!(
        look(&mut raw, "contracts")[0]["contract_state"],
        "PRE_SIGNED"
    );
    let (status, problem) = order(&mut raw, "terminate", &code);
    assert_eq!(
        (status, &problem["message"]),
        (409, &json!("the contract is not signed yet"))
    );
    assert_eq!(order(&mut raw, "pay-and-sign", &code).0, 409);

    assert_eq!(order(&mut raw, "give-up", &code), (200, json!({})));
    assert_eq!(look(&mut raw, "contracts")[0]["contract_state"], "GIVEN_UP");
    raw.pre_sign("code1");
    raw.response();
    let (status, signed) = order(&mut raw, "sign", &code);
    assert_eq!(status, 200);
    let contract = look(&mut raw, "contracts")[0].clone();
    assert_eq!(contract["contract_state"], "SIGNED");
    assert_eq!(contract["contract_id"], signed["contract_id"]);
    assert_eq!(order(&mut raw, "terminate", &code), (200, json!({})));
    assert_eq!(
        look(&mut raw, "contracts")[0]["contract_state"],
        "TERMINATED"
    );

    let sent = look(&mut raw, "notifications");
    assert_eq!(sent[0]["event_type"], "ENTRUST.SIGN");
    assert_eq!(sent[1]["event_type"], "ENTRUST.TERMINATE");
    assert_eq!(sent[1]["acknowledged"], false);
}

#[test]
fn time_passes_and_notifications_go_where_they_are_told_to() {
    let (sandbox, mut raw) = pre_signed();
    let order = |raw: &mut RawClient, action, body| order(raw, action, &body).0;
    assert_eq!(
        order(&mut raw, "clock", json!({"advance_seconds": 7200})),
        200
    );
    assert_eq!(
        order(&mut raw, "sign", json!({"out_contract_code": "code1"})),
        409
    );
    let receiver = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/notify", receiver.local_addr().unwrap());
    assert_eq!(order(&mut raw, "notify-url", json!({"url": url})), 200);
    assert_eq!(
        order(&mut raw, "notify-url", json!({"url": "https://a.com/"})),
        400
    );
    raw.pre_sign("code1");
    raw.response();
    assert_eq!(
        order(&mut raw, "sign", json!({"out_contract_code": "code1"})),
        200
    );
    receiver.accept().unwrap();
    let id = sandbox.notifications()[0].id.clone();
    assert_eq!(order(&mut raw, "notify-again", json!({"id": id})), 200);
    receiver.accept().unwrap();
}

#[test]
fn each_fault_can_be_ordered() {
    let sandbox = Sandbox::start().unwrap();
    let mut raw = RawClient::connect(&sandbox);
    for fault in [
        json!({"fault": "close", "took_effect": true}),
        json!({"fault": "close_after_head"}),
        json!({"fault": "cut_body"}),
        json!({"fault": "slow_body", "milliseconds": 1}),
        json!({"fault": "late", "milliseconds": 1}),
        json!({"fault": "close_after_response"}),
        json!({"fault": "informational", "status": 103}),
        json!({"fault": "chunked"}),
        json!({"fault": "redirect", "status": 302, "location": "https://example.com/"}),
        json!({"fault": "error", "status": 500, "code": "SYSTEM_ERROR", "took_effect": true}),
        json!({"fault": "html_page", "status": 502}),
        json!({"fault": "empty_body", "status": 503}),
        json!({"fault": "accepted"}),
        json!({"fault": "duplicate_header", "name": "Wechatpay-Nonce"}),
        json!({"fault": "header", "name": "Content-Type", "value": "text/plain"}),
        json!({"fault": "large_body", "length": 5000}),
        json!({"fault": "gzip"}),
        json!({"fault": "invalid_utf8"}),
        json!({"fault": "deep_json", "depth": 10}),
        json!({"fault": "duplicate_keys"}),
        json!({"fault": "body", "body": "[]"}),
        json!({"fault": "raw", "raw": "nonsense"}),
    ] {
        assert_eq!(
            order(&mut raw, "fault", &fault),
            (200, json!({})),
            "{fault}"
        );
        assert_eq!(order(&mut raw, "clear-faults", &json!({})).0, 200);
    }
    for signing in [
        "right",
        "missing",
        "wrong",
        "probe",
        "foreign",
        "unknown_serial",
        "stale",
        "future",
    ] {
        let fault = json!({"fault": "signature", "signing": signing});
        assert_eq!(
            order(&mut raw, "fault", &fault),
            (200, json!({})),
            "{fault}"
        );
    }
    order(&mut raw, "clear-faults", &json!({}));
    let fault = json!({
        "fault": "error", "status": 500, "code": "SYSTEM_ERROR", "signing": "missing", "took_effect": true,
        "times": 2, "method": "POST", "path": "/v3/",
    });
    assert_eq!(order(&mut raw, "fault", &fault).0, 200);
    raw.request("GET", "/v3/", b"");
    assert_eq!(raw.response().status, 404);
    for status in [500, 500, 200] {
        raw.pre_sign("code1");
        assert_eq!(raw.response().status, status);
    }
    let requests = look(&mut raw, "requests");
    let requests: Vec<_> = requests
        .as_array()
        .unwrap()
        .iter()
        .map(|request| {
            (
                request["status"].as_u64().unwrap(),
                request["took_effect"] == true,
            )
        })
        .collect();
    assert_eq!(
        requests,
        [(404, false), (500, true), (500, true), (200, true)]
    );
}

const UNKNOWN_FAULT: &str = "fault: unknown variant `nonsense`, expected one of `close`, `close_after_head`, `cut_body`, \
    `slow_body`, `late`, `close_after_response`, `informational`, `chunked`, `redirect`, `error`, `html_page`, \
    `empty_body`, `accepted`, `signature`, `duplicate_header`, `header`, `large_body`, `gzip`, `invalid_utf8`, \
    `deep_json`, `duplicate_keys`, `body`, `raw`";

#[test]
fn a_control_request_that_cannot_be_carried_out_is_refused_with_a_reason() {
    let (_sandbox, mut raw) = pre_signed();
    for (action, body, status, message) in [
        (
            "sign",
            json!({"out_contract_code": "other"}),
            409,
            "no contract was pre-signed under this code",
        ),
        ("sign", json!({}), 400, "out_contract_code is missing"),
        (
            "clock",
            json!({"advance_seconds": -1}),
            400,
            "advance_seconds: invalid value: integer `-1`, expected u64",
        ),
        (
            "clock",
            json!({"advance_second": 1}),
            400,
            "advance_second: unknown field, known: advance_seconds, offset_seconds",
        ),
        (
            "sign-with",
            json!({"permille": 1}),
            400,
            "permille: unknown field, known: key, moving_permille",
        ),
        (
            "clock",
            json!(7200),
            400,
            "the body is not a JSON object: invalid type: integer `7200`, expected a map at line 1 column 4",
        ),
        (
            "clear-faults",
            json!(null),
            400,
            "the body is not a JSON object: invalid type: null, expected a map at line 1 column 4",
        ),
        ("fault", json!({"fault": "nonsense"}), 400, UNKNOWN_FAULT),
        (
            "fault",
            json!({"fault": "accepted", "path": "/"}),
            400,
            "method is missing",
        ),
        (
            "fault",
            json!({"fault": "accepted", "method": "GET"}),
            400,
            "path is missing",
        ),
        (
            "fault",
            json!({"fault": "html_page", "status": 99}),
            400,
            "fault: status 99 is not from 100 to 599",
        ),
        (
            "fault",
            json!({"fault": "signature", "signing": "x"}),
            400,
            "fault: unknown variant `x`, expected one of `right`, `missing`, `wrong`, `probe`, `foreign`, \
             `unknown_serial`, `stale`, `future`",
        ),
        (
            "nonsense",
            json!({}),
            404,
            "the sandbox has no such path and method",
        ),
        (
            "public-key",
            json!({"offered": 1}),
            400,
            "offered: invalid type: integer `1`, expected a boolean",
        ),
        (
            "issue-certificate",
            json!({"serial_no": "xyz", "not_before": 1, "not_after": 2}),
            400,
            "serial_no: found \"XYZ\", wanted up to 40 hexadecimal digits, not all 0",
        ),
        (
            "sign-with",
            json!({"moving_permille": 1001}),
            400,
            "moving_permille: found 1001, wanted 0 to 1000",
        ),
    ] {
        let (found, problem) = order(&mut raw, action, &body);
        assert_eq!(
            (found, problem["message"].as_str().unwrap()),
            (status, message)
        );
        assert_eq!(problem["code"], "SANDBOX_ERROR");
    }
    raw.send("POST", "/sandbox/sign", &[], b"{");
    assert_eq!(raw.response().status, 400);
    raw.send("GET", "/sandbox/sign", &[], b"");
    assert_eq!(raw.response().status, 404);
}

#[test]
fn platform_keys_are_changed() {
    let sandbox = Sandbox::start().unwrap();
    let mut raw = RawClient::connect(&sandbox);
    let serial_no = "1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
    let mut told = |action: &str, body: Value| {
        let (status, response) = order(&mut raw, action, &body);
        assert_eq!(status, 200, "{action}: {response}");
        response
    };
    let issued = told(
        "issue-certificate",
        json!({"serial_no": serial_no, "not_before": 1_500_000_000, "not_after": 4_000_000_000u64}),
    );
    let key = PublicKey::from_certificate_pem(issued["pem"].as_str().unwrap()).unwrap();
    assert_eq!(key.id(), serial_no);
    let builder = || sandbox.certificate_client_builder().unwrap();
    let verified_by = || builder().build().unwrap().self_test().verified_by;

    // It asks for the certificate, since it knows no other key.
    assert_eq!(verified_by().as_deref(), Some(serial_no));
    told("sign-with", json!({"key": Sandbox::PUBLIC_KEY_ID}));
    assert_eq!(verified_by(), None);
    told("sign-with", json!({"moving_permille": 0}));
    assert_eq!(verified_by().as_deref(), Some(serial_no));
    told("sign-with", json!({}));
    told("public-key", json!({"offered": false}));
    assert!(!sandbox.client().self_test().is_success());
    told("public-key", json!({"offered": true}));
    assert!(sandbox.client().self_test().is_success());
    told("withdraw-certificate", json!({"serial_no": serial_no}));
    assert_eq!(verified_by(), None);
}

/// Posts to a path under `/sandbox/`, and asserts success.
fn done(raw: &mut RawClient, action: &str, body: Value) -> Value {
    let (status, response) = order(raw, action, &body);
    assert_eq!(status, 200, "{action} {body}: {response}");
    response
}

#[test]
fn a_snapshot_is_loaded_into_another_sandbox() {
    let (first, mut raw) = pre_signed();
    let serial_no = "1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
    let certificate =
        json!({"serial_no": serial_no, "not_before": 1, "not_after": 4_000_000_000_u64});
    done(&mut raw, "sign", json!({"out_contract_code": "code1"}));
    for code in ["code2", "code3", "code4"] {
        raw.pre_sign(code);
        raw.response();
    }
    done(&mut raw, "give-up", json!({"out_contract_code": "code2"}));
    done(&mut raw, "sign", json!({"out_contract_code": "code3"}));
    done(&mut raw, "terminate", json!({"out_contract_code": "code3"}));
    done(&mut raw, "issue-certificate", certificate);
    done(&mut raw, "public-key", json!({"offered": false}));
    done(&mut raw, "sign-with", json!({"key": serial_no}));
    done(
        &mut raw,
        "clock",
        json!({"advance_seconds": 60, "offset_seconds": -5}),
    );
    done(&mut raw, "revoke-merchant-certificate", json!({}));
    let snapshot = look(&mut raw, "snapshot");
    assert_eq!(snapshot, first.snapshot());

    let second = Sandbox::start().unwrap();
    let mut other = RawClient::connect(&second);
    done(&mut other, "snapshot", snapshot.clone());
    assert_eq!(look(&mut other, "snapshot"), snapshot);
    assert_eq!(look(&mut other, "contracts"), look(&mut raw, "contracts"));
    let states: Vec<_> = look(&mut other, "contracts")
        .as_array()
        .unwrap()
        .iter()
        .map(|contract| contract["contract_state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states, ["SIGNED", "GIVEN_UP", "TERMINATED", "PRE_SIGNED"]);
    second.user_signs("code4").unwrap();
    let client = second
        .certificate_client_builder()
        .unwrap()
        .build()
        .unwrap();
    assert!(
        !client.self_test().is_success(),
        "the certificate is revoked"
    );
    done(&mut other, "reset", json!({}));
    assert_eq!(
        look(&mut other, "snapshot"),
        Sandbox::start().unwrap().snapshot()
    );
}

#[test]
fn a_value_that_is_no_snapshot_changes_nothing() {
    let (sandbox, mut raw) = pre_signed();
    let before = sandbox.snapshot();
    let with = |pointer: &str, value: Value| {
        let mut changed = before.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    let certificate =
        json!([{"serial_no": "x", "not_before": 1, "not_after": 2, "has_second_key": true}]);
    for (snapshot, problem) in [
        (json!({}), "snapshot: missing field `platform`"),
        (
            json!([]),
            "the body is not a JSON object: invalid type: sequence",
        ),
        (
            with("/contracts", json!(1)),
            "snapshot: invalid type: integer `1`, expected a map",
        ),
        (
            with("/contracts/code1/state", json!("LOST")),
            "snapshot: unknown variant `LOST`",
        ),
        (
            with("/clock/offset_seconds", json!("now")),
            "snapshot: invalid type: string \"now\"",
        ),
        (
            with("/platform/certificates", certificate),
            "serial_no: found \"x\", wanted",
        ),
    ] {
        let (status, response) = order(&mut raw, "snapshot", &snapshot);
        let message = response["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.starts_with(problem), "{message}");
        assert_eq!(sandbox.snapshot(), before);
    }
    sandbox.load(before.clone()).unwrap();
    assert_eq!(sandbox.snapshot(), before);
}

#[test]
fn a_reset_forgets_everything() {
    let (sandbox, mut raw) = pre_signed();
    assert_eq!(
        look(&mut raw, "health"),
        json!({"status": "ok", "mchid": Sandbox::MCHID})
    );
    let nobody = json!({"url": "http://127.0.0.1:9/"});
    done(&mut raw, "notify-url", nobody);
    done(&mut raw, "notify-schedule", json!({"seconds": [3600]}));
    done(&mut raw, "sign", json!({"out_contract_code": "code1"}));
    done(&mut raw, "fault", json!({"fault": "gzip", "times": 9}));
    done(&mut raw, "hang-up", json!({"connections": 9}));
    done(&mut raw, "reset", json!({}));
    for what in ["contracts", "requests", "notifications"] {
        assert_eq!(look(&mut raw, what), json!([]), "{what}");
    }
    // The delivery that waited for its second attempt has ended.
    assert!(sandbox.wait_for_deliveries(std::time::Duration::from_secs(30)));
    let mut raw = RawClient::connect(&sandbox);
    raw.pre_sign("code1");
    let response = raw.response();
    assert_eq!(
        (response.status, response.header("content-encoding")),
        (200, None)
    );
    sandbox.user_signs("code1").unwrap();
    assert_eq!(sandbox.notifications()[0].attempts, []);
}

#[test]
fn the_clock_of_signatures_is_moved() {
    let (sandbox, mut raw) = pre_signed();
    for (offset, status) in [(600, 401), (-600, 401), (200, 200), (0, 200)] {
        done(&mut raw, "clock", json!({"offset_seconds": offset}));
        raw.pre_sign("code1");
        assert_eq!(raw.response().status, status, "{offset}");
    }
    done(&mut raw, "clock", json!({"offset_seconds": i64::MIN}));
    done(
        &mut raw,
        "clock",
        json!({"offset_seconds": i64::MAX, "advance_seconds": u64::MAX}),
    );
    raw.pre_sign("code1");
    assert_eq!(raw.response().status, 401);
    sandbox.user_signs("code1").unwrap_err();
}

#[test]
fn a_notification_of_any_kind_is_sent() {
    let server = NotificationServer::open([
        Reaction::Status(200),
        Reaction::Status(500),
        Reaction::Status(204),
    ]);
    let (sandbox, mut raw) = pre_signed();
    done(&mut raw, "notify-url", json!({"url": server.url}));
    done(&mut raw, "notify-signing", json!({"signing": "probe"}));
    done(&mut raw, "notify-timeout", json!({"milliseconds": 60_000}));
    done(&mut raw, "notify-schedule", json!({"seconds": [0]}));
    let content = json!({"out_contract_code": "code9", "fee": [1, null]});
    let event =
        json!({"event_type": "CONTRACT.RENEWED", "original_type": "contract", "content": content});
    let id = done(&mut raw, "notify", event)["id"].clone();
    let body: Value = serde_json::from_slice(&server.next().body).unwrap();
    assert_eq!(body["id"], id);
    assert_eq!(body["event_type"], "CONTRACT.RENEWED");
    assert_eq!(body["resource"]["original_type"], "contract");
    assert_eq!(body["resource"]["associated_data"], "contract");
    let sent = &sandbox.notifications()[0];
    assert_eq!(decrypted(&sent.body), content);
    assert_eq!(sent.out_contract_code.as_deref(), Some("code9"));
    let signature = sent
        .headers
        .iter()
        .find(|(name, _)| name == "Wechatpay-Signature");
    assert!(signature.unwrap().1.starts_with("WECHATPAY/SIGNTEST/"));

    // The second is sent again at once, as the schedule says.
    sandbox.notify("A.B", "c", &json!("text"));
    assert!(sandbox.wait_for_deliveries(PATIENCE));
    let second = &sandbox.notifications()[1];
    let statuses: Vec<_> = second
        .attempts
        .iter()
        .map(|attempt| attempt.status)
        .collect();
    assert_eq!(statuses, [Some(500), Some(204)]);
    assert_eq!(decrypted(&second.body), json!("text"));
}

#[test]
fn a_body_of_ones_own_is_signed() {
    let sandbox = Sandbox::start().unwrap();
    let mut raw = RawClient::connect(&sandbox);
    let signed = done(&mut raw, "sign-body", json!({"body": "{\"a\":1}"}));
    let headers: Vec<(String, String)> = serde_json::from_value(signed["headers"].clone()).unwrap();
    let pairs = headers.iter().map(|(name, value)| (name, value));
    let headers = SignatureHeaders::from_pairs(pairs).unwrap();
    let now = std::time::SystemTime::now();
    let verifier = sandbox.verifier();
    assert_eq!(verifier.verify(&headers, b"{\"a\":1}", now), Ok(()));
    let error = verifier.verify(&headers, b"{}", now).unwrap_err();
    assert!(
        matches!(error, VerifyError::WrongSignature { .. }),
        "{error}"
    );
}

#[test]
fn connections_are_refused_hung_up_or_closed_by_control_paths() {
    let (sandbox, mut raw) = pre_signed();
    let address = sandbox.url().strip_prefix("http://").unwrap().to_owned();
    assert_eq!(
        look(&mut raw, "connections"),
        json!({"accepted": 1, "open": 1})
    );
    done(&mut raw, "hang-up", json!({"connections": 1}));
    assert_eq!(RawClient::connect(&sandbox).rest(), b"");

    done(&mut raw, "refuse-connections", json!({"milliseconds": 300}));
    let error = TcpStream::connect(&address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    wait_until("listening", || TcpStream::connect(&address).is_ok());
    wait_until("closed", || sandbox.connections_open() == 1);

    let mut other = RawClient::connect(&sandbox);
    look(&mut other, "health");
    done(&mut raw, "close-connections", json!({}));
    assert_eq!((raw.rest(), other.rest()), (vec![], vec![]));

    // Dropping the sandbox does not wait for the end of the refusal.
    let mut raw = RawClient::connect(&sandbox);
    done(
        &mut raw,
        "refuse-connections",
        json!({"milliseconds": 3_600_000}),
    );
    drop(sandbox);
    assert_eq!(raw.rest(), b"");
}

#[test]
fn a_control_request_that_locks_clients_out_for_too_long_is_refused() {
    let (sandbox, mut raw) = pre_signed();
    for (action, parameter, most) in [
        ("hang-up", "connections", 1000_u64),
        ("refuse-connections", "milliseconds", 3_600_000),
    ] {
        for found in [most + 1, u64::MAX] {
            let (status, problem) = order(&mut raw, action, &json!({parameter: found}));
            let message = format!("{parameter}: found {found}, wanted 0 to {most}");
            assert_eq!((status, &problem["message"]), (400, &json!(message)));
        }
        look(&mut RawClient::connect(&sandbox), "health");
    }
    done(&mut raw, "hang-up", json!({"connections": 1000}));
}

#[test]
fn a_control_path_forges_the_list_of_certificates() {
    let sandbox = Sandbox::start().unwrap();
    let mut raw = RawClient::connect(&sandbox);
    let certificate = json!({"serial_no": "1A", "not_before": 1, "not_after": 4_000_000_000_u64});
    done(&mut raw, "issue-certificate", certificate);
    let mut listed = |forgery: Value| {
        done(&mut raw, "forge-list", json!({"forgery": forgery}));
        raw.request("GET", "/v3/certificates", b"");
        raw.response().json()["data"][0]["serial_no"].clone()
    };
    assert_eq!(listed(json!("merchants_own")), Sandbox::MERCHANT_SERIAL_NO);
    assert_ne!(listed(json!("other_serial_no")), "1A");
    assert_eq!(listed(Value::Null), "1A");
    let (status, response) = order(&mut raw, "forge-list", &json!({"forgery": "x"}));
    let message = response["message"].as_str().unwrap();
    assert!(
        status == 400 && message.starts_with("forgery: unknown variant `x`"),
        "{message}"
    );
}
