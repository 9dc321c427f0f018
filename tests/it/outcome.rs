//! The table of failures and outcomes in the documentation of `Outcome`, row by row.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::sandbox::{Fault, Sandbox, Signing};
use wechatpay_contract::{
    Advice, ApiError, ApiV3Key, Cause, CertificateError, Client, ClientBuilder, Endpoint, Error,
    InvalidField, KeyError, Mismatch, NotificationError, Outcome, PrivateKey, Request, Signer,
    Verifier, VerifyError, certificates,
};

use crate::failover::{CLOSED_PORT, plain_server};
use crate::pre_sign::PRE_SIGN;
use crate::support::{EXPIRED, Headers, NOW, at, certificate, merchant, verifier};

/// The rows of the table, as failure, error and outcome.
fn rows() -> Vec<[String; 3]> {
    let source = include_str!("../../src/error/mod.rs");
    let lines = source
        .lines()
        .skip_while(|line| *line != "/// |---|---|---|");
    let rows = lines.skip(1).map_while(|line| line.strip_prefix("/// | "));
    let name = |cell: &str| {
        let text = cell.trim_start_matches("[`").split_once('`').unwrap().0;
        text.trim_start_matches("Error::").to_owned()
    };
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        [cells[0].to_owned(), name(cells[1]), name(cells[2])]
    })
    .collect()
}

/// The statuses of refusals: those of WeChat Pay, then those of any HTTP server.
const REFUSALS: [u16; 13] = [
    400, 401, 403, 404, 429, 405, 406, 411, 413, 414, 415, 417, 431,
];

/// What a failure of each row looks like, in the order of the rows.
fn failures(row: usize) -> Vec<Error> {
    match row {
        0 => invalid_fields(),
        1 => vec![invalid_setting()],
        2 => vec![
            PrivateKey::from_pem("no key").unwrap_err().into(),
            Verifier::new([]).unwrap_err().into(),
        ],
        3 => vec![no_platform_key()],
        4 => vec![no_certificates()],
        5 => vec![signing_function()],
        6 => no_connection(),
        7 => under([
            Fault::Close { took_effect: true },
            Fault::CloseAfterHead,
            Fault::CutBody,
        ]),
        8 => vec![too_late()],
        9 => under([
            Fault::Raw(b"220 mail.example ESMTP\r\n".to_vec()),
            Fault::LargeBody {
                length: 1024 * 1024 + 1,
            },
        ]),
        10 => under([two_refusals()]),
        11 => under([
            Fault::Signature(Signing::Missing),
            Fault::EmptyBody {
                status: 204,
                took_effect: true,
            },
            Fault::Signature(Signing::UnknownSerial),
        ]),
        12 => wrong_signatures(),
        13 => under([Fault::Accepted]),
        14 => under([Fault::Body(another_session())]),
        15 => vec![list_of(404, br#"{"code":"RESOURCE_NOT_EXISTS"}"#)],
        16 => vec![list_of(200, br#"{"data":1}"#)],
        17 => under([Fault::Body(b"{}".to_vec())]),
        18 => responses(&REFUSALS[..5]),
        19 => responses(&REFUSALS[5..]),
        20 => under(REFUSALS.into_iter().flat_map(without_code)),
        21 => REFUSALS.map(inconclusive).into(),
        22 => {
            // A 304 cannot bring the body that the sandbox signs.
            let others = (300..500).filter(|s| !REFUSALS.contains(s) && *s != 304);
            responses(&others.collect::<Vec<_>>())
        }
        23 => responses(&(500..600).collect::<Vec<_>>()),
        row => panic!("no failure for row {row}"),
    }
}

#[test]
fn each_failure_has_the_error_and_outcome_of_its_row() {
    let rows = rows();
    assert_eq!(rows.len(), 24);
    for (number, [failure, variant, outcome]) in rows.iter().enumerate() {
        for error in failures(number) {
            let debug = format!("{error:?}");
            assert!(debug.starts_with(variant.as_str()), "{failure}: {debug}");
            assert_eq!(
                format!("{:?}", error.outcome()),
                *outcome,
                "{failure}: {debug}"
            );
        }
    }
}

fn invalid_fields() -> Vec<Error> {
    let sandbox = Sandbox::start().unwrap();
    let field = MiniProgramPreSign {
        out_contract_code: "not-allowed",
        ..PRE_SIGN
    };
    vec![
        sandbox.client().send(&field).unwrap_err(),
        sandbox
            .client()
            .execute::<Value>(Request::get("/v3/{id}"))
            .unwrap_err(),
    ]
}

fn no_platform_key() -> Error {
    let sandbox = Sandbox::start().unwrap();
    let verifier = Verifier::new([certificate(EXPIRED)]).unwrap();
    failure(Client::builder(sandbox.signer(), verifier).host(sandbox.url()))
}

fn invalid_setting() -> Error {
    let sandbox = Sandbox::start().unwrap();
    sandbox.client_builder().host("no URL").build().unwrap_err()
}

/// Returns the error of the download itself, as an observer gets it.
fn list_of(status: u16, body: &[u8]) -> Error {
    let headers = Headers::signed(body);
    let key = ApiV3Key::new(Sandbox::API_V3_KEY).unwrap();
    certificates::accept(status, headers.pairs(), body, at(NOW), &key, &verifier()).unwrap_err()
}

/// A refusal that a second response follows.
fn two_refusals() -> Fault {
    let refusal =
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 22\r\n\r\n{\"code\":\"PARAM_ERROR\"}";
    Fault::Raw(refusal.repeat(2).into_bytes())
}

/// Returns the error of a call that may have taken effect although the response is a refusal.
fn inconclusive(status: u16) -> Error {
    struct Inconclusive;

    impl Endpoint for Inconclusive {
        type Response = Value;

        fn request(&self) -> Result<Request, InvalidField> {
            Ok(Request::post("/v3"))
        }

        fn is_inconclusive(&self, _: &ApiError) -> bool {
            true
        }
    }

    let body = br#"{"code":"CODE"}"#;
    let headers = Headers::signed(body);
    let result = merchant().accept_for(&Inconclusive, status, headers.pairs(), body, at(NOW));
    result.unwrap_err()
}

fn no_certificates() -> Error {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(Fault::error(404, "RESOURCE_NOT_EXISTS").on("GET", "/v3/certificates"));
    let builder = Client::builder(sandbox.signer(), Verifier::without_keys());
    let key = ApiV3Key::new(Sandbox::API_V3_KEY).unwrap();
    failure(builder.platform_certificates(key).host(sandbox.url()))
}

fn signing_function() -> Error {
    let sandbox = Sandbox::start().unwrap();
    let signer = Signer::from_function(Sandbox::MCHID, Sandbox::MERCHANT_SERIAL_NO, |_| {
        Err("the key service is down".into())
    });
    failure(Client::builder(signer.unwrap(), sandbox.verifier()).host(sandbox.url()))
}

fn no_connection() -> Vec<Error> {
    let sandbox = Sandbox::start().unwrap();
    let closed = format!("http://127.0.0.1:{CLOSED_PORT}");
    let builder = || sandbox.client_builder().host(&closed);
    let (plain, server) = plain_server(1);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("https://{}", silent.local_addr().unwrap());
    let errors = vec![
        failure(builder()),
        failure(
            builder()
                .host("https://gateway.invalid")
                .resolver(|_, _| Err(io::ErrorKind::NotFound.into())),
        ),
        failure(builder().backup_host(Some(&closed))),
        failure(
            builder()
                .host("https://gateway.example")
                .proxy(closed.as_str()),
        ),
        failure(builder().host(plain)),
        failure(
            builder()
                .host(silent_url)
                .connect_timeout(Duration::from_millis(50)),
        ),
    ];
    server.join().unwrap();
    errors
}

fn too_late() -> Error {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(Fault::Late(Duration::from_secs(3_600)));
    let builder = sandbox.client_builder();
    failure(
        builder
            .connect_timeout(Duration::from_millis(900))
            .timeout(Duration::from_secs(1)),
    )
}

fn wrong_signatures() -> Vec<Error> {
    let signings = [
        Signing::Wrong,
        Signing::Foreign,
        Signing::Probe,
        Signing::Stale,
        Signing::Future,
    ];
    let errors = [400, 429, 500].map(|status| {
        signings.map(|signing| Fault::Error {
            status,
            code: "CODE".to_owned(),
            signing,
            took_effect: false,
        })
    });
    under(
        signings
            .into_iter()
            .map(Fault::Signature)
            .chain(errors.into_iter().flatten()),
    )
}

/// The response to the pre-sign of another contract.
fn another_session() -> Vec<u8> {
    let session = json!({
        "pre_entrustweb_id": "5778aadY9nltAsZzXixCkFIGYnV2V",
        "mchid": Sandbox::MCHID,
        "service_id": PRE_SIGN.service_id,
        "out_contract_code": "another",
        "sign_mp_appid": "wxbd687630cd02ce1d",
        "sign_mp_path": "pages/PwdExemptContract/index",
    });
    session.to_string().into_bytes()
}

fn without_code(status: u16) -> [Fault; 2] {
    [
        Fault::HtmlPage {
            status,
            took_effect: true,
        },
        Fault::EmptyBody {
            status,
            took_effect: true,
        },
    ]
}

/// The errors for responses with these statuses, signed, unsigned and with the signature of an unknown key.
fn responses(statuses: &[u16]) -> Vec<Error> {
    under(statuses.iter().flat_map(|&status| {
        [Signing::Right, Signing::Missing, Signing::UnknownSerial].map(|signing| Fault::Error {
            status,
            code: "CODE".to_owned(),
            signing,
            took_effect: false,
        })
    }))
}

fn under(faults: impl IntoIterator<Item = Fault>) -> Vec<Error> {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox.client();
    let ask = |fault: Fault| {
        sandbox.fault(fault);
        let error = client.send(&PRE_SIGN).unwrap_err();
        sandbox.close_connections();
        error
    };
    faults.into_iter().map(ask).collect()
}

fn failure(builder: ClientBuilder) -> Error {
    builder.build().unwrap().send(&PRE_SIGN).unwrap_err()
}

/// A response with this status, `Server` header and body, signed or not.
fn responded(status: u16, headers: Headers, body: &str) -> Error {
    let result =
        merchant().accept::<Value, _, _>(status, headers.pairs(), body.as_bytes(), at(NOW));
    result.unwrap_err()
}

fn refused(status: u16, code: &str) -> Error {
    let body = json!({"code": code, "message": "m"}).to_string();
    responded(status, Headers::signed(body.as_bytes()), &body)
}

fn timed_out() -> Cause {
    Box::new(io::Error::new(
        io::ErrorKind::TimedOut,
        "no response within 15s",
    ))
}

fn download(error: Error) -> Error {
    Error::Download(Arc::new(error))
}

fn list(source: CertificateError) -> Error {
    Error::Certificates {
        request_id: Some("08F7".to_owned()),
        source: Box::new(source),
    }
}

#[test]
fn each_error_is_told_in_one_line_with_causes_outcome_and_request_id() {
    let host = || "api.mch.weixin.qq.com".to_owned();
    let request_id = || Some("08F7".to_owned());
    let stale = VerifyError::Stale {
        timestamp: 1,
        now: 400,
    };
    for (error, short, whole) in [
        (
            InvalidField::new("appid", "is empty").into(),
            "appid: is empty",
            "appid: is empty; nothing was sent",
        ),
        (
            Error::Connect {
                host: host(),
                source: timed_out(),
            },
            "no connection to api.mch.weixin.qq.com; nothing was sent",
            "no connection to api.mch.weixin.qq.com: no response within 15s; nothing was sent",
        ),
        (
            Error::Transport {
                host: host(),
                source: timed_out(),
            },
            "the exchange with api.mch.weixin.qq.com broke off; the request may have taken effect",
            "the exchange with api.mch.weixin.qq.com broke off: no response within 15s; the request may have taken \
             effect",
        ),
        (
            Error::Unverified {
                status: 200,
                request_id: request_id(),
                source: stale,
            },
            "the response (HTTP 200) could not be verified; the request may have taken effect",
            "the response (HTTP 200) could not be verified: the message's time 1 and this clock's 400 differ by 399s: \
             wanted less than 300s; the request may have taken effect; Request-ID 08F7",
        ),
        (
            Error::Mismatch {
                request_id: None,
                source: Mismatch::check("mchid", "1", "2").unwrap_err(),
            },
            "a verified response belongs to another request; the request may have taken effect",
            "a verified response belongs to another request: mchid: sent \"1\", received \"2\"; the request may have \
             taken effect",
        ),
        (
            refused(403, "NO_AUTH"),
            "WeChat Pay responded with HTTP 403 NO_AUTH: m",
            "WeChat Pay responded with HTTP 403 NO_AUTH: m; WeChat Pay refused the request; Request-ID 08F78BB5AF0610D3",
        ),
        (
            download(Error::Connect {
                host: host(),
                source: timed_out(),
            }),
            "the platform certificates could not be downloaded; nothing was sent",
            "the platform certificates could not be downloaded: no connection to api.mch.weixin.qq.com: no response \
             within 15s; nothing was sent",
        ),
        (
            list(CertificateError::Unusable {
                problem: "it has a wrong key".to_owned(),
                source: Some(KeyError::NoKeys),
            }),
            "the list of platform certificates is unusable: it has a wrong key",
            "the list of platform certificates is unusable: it has a wrong key: found no platform key: wanted at least \
             one; the request may have taken effect; Request-ID 08F7",
        ),
    ] {
        assert_eq!(error.to_string(), short);
        assert_eq!(format!("{error:#}"), whole);
        assert!(!whole.contains('\n'));
    }
    let error = NotificationError::Verify(VerifyError::MissingHeader {
        name: "Wechatpay-Nonce",
    });
    assert_eq!(
        format!("{error:#}"),
        "the notification could not be verified: header Wechatpay-Nonce is missing or empty"
    );
}

#[test]
fn each_error_has_its_advice_status_code_and_rate_limit() {
    let connect = || Error::Connect {
        host: String::new(),
        source: timed_out(),
    };
    let transport = || Error::Transport {
        host: String::new(),
        source: timed_out(),
    };
    let undecryptable = || {
        list(CertificateError::Undecryptable {
            serial_no: "1".to_owned(),
        })
    };
    let still_running = list(CertificateError::StillRunning {
        waited: Duration::ZERO,
    });
    let no_key = Error::NoPlatformKey { held: Vec::new() };
    let code = Some;
    for (error, advice, status, code, is_rate_limited) in [
        (
            InvalidField::new("a", "b").into(),
            Advice::Mend,
            None,
            None,
            false,
        ),
        (KeyError::NoKeys.into(), Advice::Mend, None, None, false),
        (no_key, Advice::Mend, None, None, false),
        (Error::Sign("a".into()), Advice::Retry, None, None, false),
        (connect(), Advice::Retry, None, None, false),
        (transport(), Advice::Query, None, None, false),
        (download(connect()), Advice::Wait, None, None, false),
        (download(undecryptable()), Advice::Mend, None, None, false),
        (
            download(refused(401, "SIGN_ERROR")),
            Advice::Mend,
            Some(401),
            code("SIGN_ERROR"),
            false,
        ),
        (
            download(refused(500, "SYSTEM_ERROR")),
            Advice::Wait,
            Some(500),
            code("SYSTEM_ERROR"),
            false,
        ),
        (still_running, Advice::Wait, None, None, false),
        (
            refused(400, "PARAM_ERROR"),
            Advice::Mend,
            Some(400),
            code("PARAM_ERROR"),
            false,
        ),
        (
            refused(404, "RESOURCE_NOT_EXISTS"),
            Advice::Mend,
            Some(404),
            code("RESOURCE_NOT_EXISTS"),
            false,
        ),
        (
            refused(429, "FREQUENCY_LIMITED"),
            Advice::Wait,
            Some(429),
            code("FREQUENCY_LIMITED"),
            true,
        ),
        (
            refused(429, "RATELIMIT_EXCEEDED"),
            Advice::Wait,
            Some(429),
            code("RATELIMIT_EXCEEDED"),
            true,
        ),
        (
            refused(403, "FREQUENCY_LIMITED"),
            Advice::Wait,
            Some(403),
            code("FREQUENCY_LIMITED"),
            true,
        ),
        (
            refused(500, "SYSTEM_ERROR"),
            Advice::Query,
            Some(500),
            code("SYSTEM_ERROR"),
            false,
        ),
        (
            responded(429, Headers::unsigned(), "<html>"),
            Advice::Query,
            Some(429),
            None,
            true,
        ),
        (
            responded(202, Headers::signed(b"{}"), "{}"),
            Advice::Query,
            Some(202),
            None,
            false,
        ),
        (
            responded(200, Headers::unsigned(), "{}"),
            Advice::Query,
            Some(200),
            None,
            false,
        ),
        (
            responded(200, Headers::signed(b"{"), "{"),
            Advice::Query,
            Some(200),
            None,
            false,
        ),
    ] {
        assert_eq!(error.advice(), advice, "{error:?}");
        assert_eq!((error.status(), error.code()), (status, code), "{error:?}");
        assert_eq!(error.is_rate_limited(), is_rate_limited, "{error:?}");
        if error.outcome() == Outcome::Unknown && !matches!(error, Error::Certificates { .. }) {
            assert_eq!(advice, Advice::Query, "{error:?}");
        } else {
            assert_ne!(advice, Advice::Query, "{error:?}");
        }
    }
}

#[test]
fn a_response_of_a_proxy_or_firewall_is_described_as_one() {
    let from = |server: Option<&str>| {
        let mut headers = Headers::unsigned();
        headers
            .0
            .extend(server.map(|server| ("Server".to_owned(), server.into())));
        headers
    };
    let start = "without WeChat Pay's error body, unsigned, perhaps of a proxy or firewall";
    for (status, server, body, rest) in [
        (502, None, "", ""),
        (
            403,
            Some("nginx/1.24"),
            "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body><h1>403 Forbidden</h1></body></html>",
            " (Server: nginx/1.24): 403 Forbidden 403 Forbidden",
        ),
        (
            502,
            Some("squid\u{202E}"),
            "Bad\n\nGateway",
            " (Server: squid\\u{202e}): Bad Gateway",
        ),
        (503, None, "[1]", ": [1]"),
        (
            400,
            None,
            "upstream \u{9b}31m\u{200b}down\0",
            ": upstream \\u{9b}31m\\u{200b}down\\0",
        ),
    ] {
        let error = responded(status, from(server), body);
        assert_eq!(error.to_string(), format!("HTTP {status} {start}{rest}"));
        assert_eq!(
            (error.outcome(), error.advice()),
            (Outcome::Unknown, Advice::Query)
        );
    }
    let long = responded(502, from(Some("a")), &"x".repeat(1 << 20));
    assert!(
        long.to_string()
            .ends_with(&format!("{}...", "x".repeat(160)))
    );
    // A response with WeChat Pay's error body, or with its signature, is described as WeChat Pay's.
    for (headers, body, wanted) in [
        (
            from(Some("nginx")),
            r#"{"code":"SIGN_ERROR","message":"m"}"#,
            "SIGN_ERROR: m",
        ),
        (from(Some("nginx")), r#"{"message":"m"}"#, "m"),
    ] {
        let said = responded(401, headers, body).to_string();
        assert!(
            said.starts_with("WeChat Pay responded with HTTP 401"),
            "{said}"
        );
        assert!(said.ends_with(wanted), "{said}");
    }
    let signed = responded(502, Headers::signed(b"<html>"), "<html>");
    assert_eq!(signed.to_string(), "WeChat Pay responded with HTTP 502");
}

/// As users of the real gateway report it.
#[test]
fn a_wrong_request_signature_is_told_with_its_issue_and_the_signed_text_can_be_compared() {
    let body = json!({
        "code": "SIGN_ERROR",
        "message": "错误的签名，验签失败",
        "detail": {
            "detail": {"issue": "sign not match"},
            "field": "signature",
            "location": "authorization",
            "sign_information": {
                "method": "POST",
                "url": "/v3/a",
                "sign_message_length": 103,
                "truncated_sign_message": "POST\n/v3/a\n1700000000\nopenid",
            },
        },
    });
    let error = responded(401, Headers::unsigned(), &body.to_string());
    assert_eq!(
        error.to_string(),
        "WeChat Pay responded with HTTP 401 SIGN_ERROR: 错误的签名，验签失败 (field signature: sign not match)"
    );
    let request = Request::post("/v3/a").json(&json!({"openid": "o"}));
    let merchant = merchant();
    let signed = merchant.prepare(&request, at(NOW), "N").unwrap();
    let text = format!("POST\n/v3/a\n{NOW}\nN\n{{\"openid\":\"o\"}}\n");
    assert_eq!(signed.signed_text(), text.as_bytes());
    assert!(!format!("{signed:?}").contains("openid"));
}
