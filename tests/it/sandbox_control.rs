//! The paths under `/sandbox/`, for clients in any language.

use serde_json::{Value, json};
use wechatpay_contract::PublicKey;
use wechatpay_contract::sandbox::Sandbox;

use crate::raw::Raw;

/// Posts an order, unsigned and without any header.
fn order(raw: &mut Raw, action: &str, body: &Value) -> (u16, Value) {
    let target = format!("/sandbox/{action}");
    raw.send("POST", &target, &[], body.to_string().as_bytes());
    let answer = raw.answer();
    assert_eq!(answer.header("wechatpay-signature"), None);
    (answer.status, answer.json())
}

fn look(raw: &mut Raw, what: &str) -> Value {
    raw.send("GET", &format!("/sandbox/{what}"), &[], b"");
    let answer = raw.answer();
    assert_eq!(answer.status, 200, "{what}");
    answer.json()
}

fn pre_signed() -> (Sandbox, Raw) {
    let sandbox = Sandbox::start().unwrap();
    let mut raw = Raw::connect(&sandbox);
    raw.pre_sign("code1");
    assert_eq!(raw.answer().status, 200);
    (sandbox, raw)
}

#[test]
fn the_users_part_is_played() {
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
    raw.answer();
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
    let order = |raw: &mut Raw, action, body| order(raw, action, &body).0;
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
    raw.answer();
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
    let mut raw = Raw::connect(&sandbox);
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
    assert_eq!(raw.answer().status, 404);
    for status in [500, 500, 200] {
        raw.pre_sign("code1");
        assert_eq!(raw.answer().status, status);
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

const UNKNOWN_FAULT: &str = "fault: found \"nonsense\", wanted one of close, close_after_head, cut_body, slow_body, late, \
    close_after_response, informational, chunked, redirect, error, html_page, empty_body, accepted, signature, \
    duplicate_header, header, large_body, gzip, invalid_utf8, deep_json, duplicate_keys, body, raw";

#[test]
fn what_cannot_be_done_is_refused_with_a_reason() {
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
        ("fault", json!({"fault": "nonsense"}), 400, UNKNOWN_FAULT),
        (
            "fault",
            json!({"fault": "accepted", "path": "/"}),
            400,
            "method is missing",
        ),
        (
            "fault",
            json!({"fault": "html_page", "status": 99}),
            400,
            "status: found 99, wanted 100 to 599",
        ),
        (
            "fault",
            json!({"fault": "signature", "signing": "x"}),
            400,
            "signing: unknown variant `x`, expected one of `right`, `missing`, `wrong`, `probe`, `foreign`, \
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
    assert_eq!(raw.answer().status, 400);
    raw.send("GET", "/sandbox/sign", &[], b"");
    assert_eq!(raw.answer().status, 404);
}

#[test]
fn platform_keys_are_changed() {
    let sandbox = Sandbox::start().unwrap();
    let mut raw = Raw::connect(&sandbox);
    let serial_no = "1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
    let mut told = |action: &str, body: Value| {
        let (status, answer) = order(&mut raw, action, &body);
        assert_eq!(status, 200, "{action}: {answer}");
        answer
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
