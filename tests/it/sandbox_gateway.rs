//! The sandbox's checks of signature, clock, headers and paths, which come before those of the fields, and its record
//! of requests.

use serde_json::json;
use wechatpay_contract::sandbox::Sandbox;

use crate::raw_client::{PRE_SIGN_PATH, RawClient, authorization, now, pre_sign_body};

/// Sends a pre-signing with this `Authorization`. Returns status and code of the response.
fn authorized_by(sandbox: &Sandbox, authorization: &str) -> (u16, String) {
    let body = pre_sign_body("code1").to_string().into_bytes();
    let mut raw = RawClient::connect(sandbox);
    let headers = [
        ("Authorization", authorization),
        ("Accept", "application/json"),
        ("User-Agent", "raw"),
        ("Content-Type", "application/json"),
    ];
    raw.send("POST", PRE_SIGN_PATH, &headers, &body);
    let response = raw.response();
    let is_signed = response.header("wechatpay-signature").is_some();
    assert_eq!(is_signed, response.status != 401, "{authorization}");
    assert!(response.header("request-id").is_some());
    response.refusal()
}

fn right(sandbox: &Sandbox) -> String {
    let body = pre_sign_body("code1").to_string();
    let signer = sandbox.signer();
    authorization(&signer, "POST", PRE_SIGN_PATH, now(), body.as_bytes())
}

fn sign_error() -> (u16, String) {
    (401, "SIGN_ERROR".to_owned())
}

#[test]
fn an_authorization_has_each_part_once_in_any_order() {
    let sandbox = Sandbox::start().unwrap();
    let right = right(&sandbox);
    let ok = (200, String::new());
    assert_eq!(authorized_by(&sandbox, &right), ok);

    let (scheme, parts) = right.split_once(' ').unwrap();
    let parts: Vec<&str> = parts.split(',').collect();
    assert_eq!(parts.len(), 5);
    let with = |parts: &[&str]| format!("{scheme} {}", parts.join(","));
    let reversed: Vec<_> = parts.iter().rev().copied().collect();
    assert_eq!(authorized_by(&sandbox, &with(&reversed)), ok);

    for position in 0..5 {
        let mut missing = parts.clone();
        let part = missing.remove(position);
        assert_eq!(
            authorized_by(&sandbox, &with(&missing)),
            sign_error(),
            "without {part}"
        );

        let mut twice = parts.clone();
        twice.push(part);
        assert_eq!(
            authorized_by(&sandbox, &with(&twice)),
            sign_error(),
            "{part} twice"
        );

        let (name, value) = part.split_once('=').unwrap();
        let bare = format!("{name}={}", value.trim_matches('"'));
        let empty = format!("{name}=\"\"");
        let renamed = format!("x{part}");
        for changed in [bare.as_str(), &empty, name, &renamed] {
            let mut parts = parts.clone();
            parts[position] = changed;
            assert_eq!(
                authorized_by(&sandbox, &with(&parts)),
                sign_error(),
                "{changed}"
            );
        }
    }
}

#[test]
fn an_authorization_of_another_scheme_is_refused() {
    let sandbox = Sandbox::start().unwrap();
    let right = right(&sandbox);
    for wrong in [
        String::new(),
        "Basic Zm9vOmJhcg==".to_owned(),
        right.replace("WECHATPAY2-SHA256-RSA2048 ", ""),
        right.replace("RSA2048", "RSA4096"),
        right.replace("WECHATPAY2", "wechatpay2"),
        right.replacen("RSA2048 ", "RSA2048,", 1),
        format!("{right},"),
        format!("{right},extra=\"1\""),
    ] {
        assert_eq!(authorized_by(&sandbox, &wrong), sign_error(), "{wrong}");
    }
}

#[test]
fn an_authorization_of_another_merchant_or_certificate_is_refused() {
    let sandbox = Sandbox::start().unwrap();
    let right = right(&sandbox);
    for wrong in [
        right.replace(Sandbox::MCHID, "1900000110"),
        right.replace(Sandbox::MERCHANT_SERIAL_NO, &"0".repeat(40)),
        right.replace(Sandbox::MERCHANT_SERIAL_NO, Sandbox::PUBLIC_KEY_ID),
    ] {
        assert_ne!(wrong, right);
        assert_eq!(authorized_by(&sandbox, &wrong), sign_error(), "{wrong}");
    }
}

#[test]
fn a_timestamp_that_is_off_by_five_minutes_is_refused() {
    let sandbox = Sandbox::start().unwrap();
    let signer = sandbox.signer();
    let body = pre_sign_body("code1").to_string();
    // A margin of a minute, in case the test machine is slow.
    for (time, status) in [
        (now() - 240, 200),
        (now() + 240, 200),
        (now() - 301, 401),
        (now() + 360, 401),
        (0, 401),
        (u64::MAX, 401),
    ] {
        let authorization = authorization(&signer, "POST", PRE_SIGN_PATH, time, body.as_bytes());
        assert_eq!(authorized_by(&sandbox, &authorization).0, status, "{time}");
    }
}

#[test]
fn the_signature_covers_method_path_query_time_nonce_and_body() {
    let sandbox = Sandbox::start().unwrap();
    let signer = sandbox.signer();
    let body = pre_sign_body("code1").to_string();
    let by =
        |method, target, body: &str| authorization(&signer, method, target, now(), body.as_bytes());
    let query = format!("{PRE_SIGN_PATH}?x=1");
    for (other, authorization) in [
        ("method", by("PUT", PRE_SIGN_PATH, &body)),
        ("path", by("POST", "/v3/pay/transactions/jsapi", &body)),
        ("query", by("POST", &query, &body)),
        (
            "body",
            by("POST", PRE_SIGN_PATH, &body.replace("code1", "code2")),
        ),
        ("no body", by("POST", PRE_SIGN_PATH, "")),
        ("blank", by("POST", PRE_SIGN_PATH, &format!("{body} "))),
    ] {
        assert_eq!(
            authorized_by(&sandbox, &authorization),
            sign_error(),
            "{other}"
        );
    }
    let right = right(&sandbox);
    let (_, after) = right.split_once("timestamp=\"").unwrap();
    let (time, _) = after.split_once('"').unwrap();
    let earlier = (time.parse::<u64>().unwrap() - 1).to_string();
    for wrong in [
        right.replace("593BEC0C", "593BEC0D"),
        right.replace(time, &earlier),
        right.replace("signature=\"", "signature=\"AAAA"),
        right.replace("==\"", "\""),
    ] {
        assert_ne!(wrong, right);
        assert_eq!(authorized_by(&sandbox, &wrong), sign_error(), "{wrong}");
    }
}

#[test]
fn an_empty_nonce_is_refused_though_it_is_signed() {
    let sandbox = Sandbox::start().unwrap();
    let signer = sandbox.signer();
    let body = pre_sign_body("code1");
    let time = now();
    let by = |nonce: &str| {
        let message = format!("POST\n{PRE_SIGN_PATH}\n{time}\n{nonce}\n{body}\n");
        let signature = signer.sign(message.as_bytes()).unwrap();
        let (mchid, serial_no) = (signer.mchid(), signer.serial_no());
        format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{mchid}\",nonce_str=\"{nonce}\",signature=\"{signature}\",\
             timestamp=\"{time}\",serial_no=\"{serial_no}\""
        )
    };
    assert_eq!(authorized_by(&sandbox, &by("a")).0, 200);
    assert_eq!(authorized_by(&sandbox, &by("")), sign_error());
}

#[test]
fn nothing_that_is_refused_takes_effect() {
    let sandbox = Sandbox::start().unwrap();
    let wrong = right(&sandbox).replace("593BEC0C", "593BEC0D");
    assert_eq!(authorized_by(&sandbox, &wrong), sign_error());
    let requests = sandbox.requests();
    assert_eq!((requests[0].status, requests[0].took_effect), (401, false));
    assert!(sandbox.user_signs("code1").is_err());
}

#[test]
fn a_request_without_user_agent_accept_or_content_type_is_refused() {
    let sandbox = Sandbox::start().unwrap();
    let right_authorization = right(&sandbox);
    let body = pre_sign_body("code1").to_string();
    let response = |change: (&str, Option<&str>)| {
        let headers = [
            ("Authorization", right_authorization.as_str()),
            ("Accept", "application/json"),
            ("User-Agent", "raw"),
            ("Content-Type", "application/json"),
        ]
        .map(|(name, value)| {
            (
                name,
                if name == change.0 {
                    change.1
                } else {
                    Some(value)
                },
            )
        });
        let headers: Vec<_> = headers
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let mut raw = RawClient::connect(&sandbox);
        raw.send("POST", PRE_SIGN_PATH, &headers, body.as_bytes());
        raw.response()
    };
    for ok in [
        ("Accept", Some("*/*")),
        ("Accept", Some("text/html, application/json;q=0.9")),
        ("Content-Type", Some("application/json; charset=utf-8")),
    ] {
        assert_eq!(response(ok).status, 200, "{ok:?}");
    }
    for wrong in [
        ("Accept", None),
        ("Accept", Some("text/html")),
        ("User-Agent", None),
        ("User-Agent", Some("")),
        ("Content-Type", None),
        ("Content-Type", Some("text/plain")),
    ] {
        let response = response(wrong);
        let refusal = (400, "PARAM_ERROR".to_owned());
        assert_eq!(response.refusal(), refusal, "{wrong:?}");
        assert!(response.header("wechatpay-signature").is_some());
    }
    assert_eq!(response(("Authorization", None)).refusal(), sign_error());
}

#[test]
fn other_paths_and_methods_are_unknown() {
    let sandbox = Sandbox::start().unwrap();
    let contracts = "/v3/password-exempt-contract/contracts";
    let mut raw = RawClient::connect(&sandbox);
    for (method, target) in [
        ("GET", "/".to_owned()),
        ("GET", "/v3/certificatesx".to_owned()),
        ("GET", PRE_SIGN_PATH.to_owned()),
        ("PUT", PRE_SIGN_PATH.to_owned()),
        ("POST", format!("{PRE_SIGN_PATH}/")),
        (
            "POST",
            format!("{contracts}/other/pre-entrust-sign/mini-program"),
        ),
        ("POST", format!("{contracts}/normal/pre-entrust-sign/h5")),
        (
            "POST",
            format!("{contracts}/service-id/1/out-contract-code/a"),
        ),
        (
            "GET",
            format!("{contracts}/service-id/1/out-contract-code/a/terminate"),
        ),
        (
            "GET",
            format!("{contracts}/service-id/1/out-contract-code/a/b"),
        ),
        ("GET", "/v3/pay/transactions/jsapi-with-contract".to_owned()),
    ] {
        raw.request(method, &target, b"");
        let refusal = (404, "RESOURCE_NOT_EXISTS".to_owned());
        assert_eq!(raw.response().refusal(), refusal, "{method} {target}");
    }
}

#[test]
fn a_request_that_a_foreign_web_page_could_send_is_refused() {
    let sandbox = Sandbox::start().unwrap();
    let own = sandbox.url().strip_prefix("http://").unwrap();
    let localhost = own.replace("127.0.0.1", "LocalHost");
    let (own_origin, named_origin) = (format!("http://{own}"), format!("http://{localhost}"));
    let secure_origin = format!("https://{own}");
    for (status, headers) in [
        (200, vec![]),
        (200, vec![("Host", localhost.as_str())]),
        (
            200,
            vec![
                ("Origin", own_origin.as_str()),
                ("Sec-Fetch-Site", "same-origin"),
            ],
        ),
        (200, vec![("Origin", named_origin.as_str())]),
        (200, vec![("Sec-Fetch-Site", "none")]),
        (421, vec![("Host", "evil.example")]),
        (421, vec![("Host", "")]),
        (421, vec![("Host", "127.0.0.1")]),
        (421, vec![("Host", "localhost:1")]),
        (421, vec![("Host", "localhost.evil.example:80")]),
        (421, vec![("Host", own), ("Host", "evil.example")]),
        (403, vec![("Origin", "https://evil.example")]),
        (403, vec![("Origin", "null")]),
        (403, vec![("Origin", "http://localhost:1")]),
        (403, vec![("Origin", secure_origin.as_str())]),
        (
            403,
            vec![("Origin", own_origin.as_str()), ("Origin", "null")],
        ),
        (403, vec![("Sec-Fetch-Site", "cross-site")]),
        (403, vec![("Sec-Fetch-Site", "same-site")]),
    ] {
        let mut raw = RawClient::connect(&sandbox);
        raw.send("GET", "/sandbox/requests", &headers, b"");
        let response = raw.response();
        assert_eq!(response.status, status, "{headers:?}");
        assert!(status == 200 || response.refusal().1 == "SANDBOX_ERROR");
        raw.send("POST", "/sandbox/fault", &headers, br#"{"fault": "gzip"}"#);
        assert_eq!(raw.response().status, status, "{headers:?}");
        raw.send("GET", "/v3/certificates", &headers, b"");
        let is_let_through = raw.response().status == 400;
        assert_eq!(is_let_through, status == 200, "{headers:?}");
        sandbox.clear_faults();
    }
    assert!(
        sandbox
            .requests()
            .iter()
            .all(|request| request.status == 400)
    );
}

#[test]
fn the_record_keeps_the_newest_requests_up_to_64_mib() {
    let sandbox = Sandbox::start().unwrap();
    let body = vec![b'x'; 8 * 1024 * 1024];
    let mut raw = RawClient::connect(&sandbox);
    for number in 1..=9 {
        raw.send("POST", &format!("/{number}"), &[], &body);
        assert_eq!(raw.response().status, 400);
    }
    let targets: Vec<_> = sandbox
        .requests()
        .into_iter()
        .map(|one| one.target)
        .collect();
    assert_eq!(targets, ["/3", "/4", "/5", "/6", "/7", "/8", "/9"]);
}

#[test]
fn a_wrong_signature_is_refused_with_what_was_signed() {
    let sandbox = Sandbox::start().unwrap();
    let signer = sandbox.signer();
    let time = now();
    let refused = |body: &str| {
        let authorization = authorization(&signer, "POST", PRE_SIGN_PATH, time, b"another");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Accept", "application/json"),
            ("User-Agent", "raw"),
        ];
        let mut raw = RawClient::connect(&sandbox);
        raw.send("POST", PRE_SIGN_PATH, &headers, body.as_bytes());
        raw.response().json()["detail"].clone()
    };
    let message = |body: &str| {
        format!("POST\n{PRE_SIGN_PATH}\n{time}\n593BEC0C930BF1AFEB40B4A08C8FB242\n{body}\n")
    };
    let detail = refused("{}");
    let expected = json!({
        "detail": {"issue": "sign not match"},
        "field": "signature",
        "location": "authorization",
        "sign_information": {
            "method": "POST",
            "url": PRE_SIGN_PATH,
            "sign_message_length": message("{}").len(),
            "truncated_sign_message": message("{}"),
        },
    });
    assert_eq!(detail, expected);
    let long = "用".repeat(1000);
    let information = refused(&long)["sign_information"].clone();
    assert_eq!(information["sign_message_length"], message(&long).len());
    let shown = information["truncated_sign_message"].as_str().unwrap();
    assert!(message(&long).starts_with(shown) && shown.chars().count() == 256);
}
