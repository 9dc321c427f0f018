//! The sandbox's faults, seen by a client that reads bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use serde_json::json;
use wechatpay_contract::sandbox::{Fault, Sandbox, Signing};
use wechatpay_contract::{SignatureHeaders, VerifyError};

use crate::fixture::Fixture;
use crate::raw_client::{RawClient, RawResponse, wait_until};
use crate::sandbox_orders::direct_order;
use crate::support::{installed, wrong_signature};

/// Sends a pre-signing under a fault. Returns the connection on which the response comes.
fn under(fault: Fault) -> (Sandbox, RawClient) {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(fault);
    let mut raw = RawClient::connect(&sandbox);
    raw.pre_sign("code1");
    (sandbox, raw)
}

fn took_effect(sandbox: &Sandbox) -> bool {
    sandbox.requests().first().unwrap().took_effect
}

fn verified(sandbox: &Sandbox, response: &RawResponse) -> Result<(), VerifyError> {
    let pairs = response.headers.iter().map(|(name, value)| (name, value));
    let headers = SignatureHeaders::from_pairs(pairs)?;
    let now = SystemTime::now();
    sandbox.verifier().verify(&headers, &response.body, now)
}

#[test]
fn a_response_without_a_fault_is_signed_and_keeps_the_connection() {
    let sandbox = Sandbox::start().unwrap();
    let mut raw = RawClient::connect(&sandbox);
    for code in ["code1", "code2"] {
        raw.pre_sign(code);
        let response = raw.response();
        assert_eq!(response.status, 200);
        assert_eq!(verified(&sandbox, &response), Ok(()));
        assert_eq!(response.json()["out_contract_code"], code);
    }
    let requests = sandbox.requests();
    assert!(requests.iter().all(|request| request.took_effect));
    assert_eq!(sandbox.connections_accepted(), 1);
}

#[test]
fn a_fault_is_for_the_next_requests_that_match_it() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(Fault::error(429, "FREQUENCY_LIMITED").on("GET", "/v3/"));
    sandbox.fault(Fault::error(429, "FREQUENCY_LIMITED").on("POST", "/v3/other"));
    sandbox.fault(Fault::error(503, "SERVICE_UNAVAILABLE").times(2));
    sandbox.fault(Fault::error(500, "SYSTEM_ERROR").times(0));
    sandbox.fault(Fault::error(502, "SERVICE_UNAVAILABLE"));
    let mut raw = RawClient::connect(&sandbox);
    let mut status = || {
        raw.pre_sign("code1");
        raw.response().status
    };
    assert_eq!(
        [status(), status(), status(), status()],
        [503, 503, 502, 200]
    );
    sandbox.clear_faults();
    raw.request("GET", "/v3/x", b"");
    assert_eq!(raw.response().status, 404);
}

#[test]
fn a_connection_is_closed_where_the_fault_says() {
    for effect in [true, false] {
        let (sandbox, mut raw) = under(Fault::Close {
            took_effect: effect,
        });
        assert_eq!(raw.rest(), b"");
        assert_eq!(took_effect(&sandbox), effect);
        let status = if effect { 200 } else { 0 };
        assert_eq!(sandbox.requests()[0].status, status);
    }
    let (sandbox, mut raw) = under(Fault::CloseAfterHead);
    let head = raw.head();
    assert!(head.contains("content-length: "), "{head}");
    assert_eq!(raw.rest(), b"");
    assert!(took_effect(&sandbox));

    let (sandbox, mut raw) = under(Fault::CutBody);
    let length = crate::raw_client::content_length(&raw.head());
    let rest = raw.rest();
    assert_eq!(rest.len(), length / 2);
    assert!(rest.starts_with(b"{"));
    assert!(took_effect(&sandbox));

    let (sandbox, mut raw) = under(Fault::CloseAfterResponse);
    let response = raw.response();
    assert_eq!(verified(&sandbox, &response), Ok(()));
    assert_eq!(response.header("connection"), None);
    assert_eq!(raw.rest(), b"");
    assert!(took_effect(&sandbox));

    let (sandbox, mut raw) = under(Fault::Raw(b"HTTP/1.1 200".to_vec()));
    assert_eq!(raw.rest(), b"HTTP/1.1 200");
    assert!(took_effect(&sandbox));
}

#[test]
fn faults_of_time_and_framing_keep_the_response_complete() {
    let moment = Duration::from_millis(1);
    for fault in [
        Fault::SlowBody { every: moment },
        Fault::Late(moment),
        Fault::CloseAfterResponse,
    ] {
        let (sandbox, mut raw) = under(fault.clone());
        let response = raw.response();
        assert_eq!(verified(&sandbox, &response), Ok(()), "{fault:?}");
        assert!(took_effect(&sandbox), "{fault:?}");
    }
    let (sandbox, mut raw) = under(Fault::Informational(103));
    assert!(raw.head().starts_with("HTTP/1.1 103 "));
    assert_eq!(verified(&sandbox, &raw.response()), Ok(()));
    let (_sandbox, mut raw) = under(Fault::Chunked);
    let head = raw.head();
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert!(!head.contains("content-length"), "{head}");
}

#[test]
fn a_late_response_comes_after_the_clients_timeout() {
    let (sandbox, mut raw) = under(Fault::Late(Duration::from_secs(3600)));
    wait_until("recorded", || !sandbox.requests().is_empty());
    raw.set_patience(Duration::from_millis(50));
    let error = raw.try_byte().unwrap_err();
    let timed_out = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
    assert!(timed_out.contains(&error.kind()), "{error:?}");
    assert!(took_effect(&sandbox));
}

#[test]
fn redirects_and_errors_are_sent_as_ordered() {
    let (sandbox, mut raw) = under(Fault::Redirect {
        status: 307,
        location: "https://example.com/".into(),
    });
    let response = raw.response();
    assert_eq!(response.status, 307);
    assert_eq!(response.header("location"), Some("https://example.com/"));
    assert_eq!(response.header("wechatpay-signature"), None);
    assert!(!took_effect(&sandbox));

    for status in [400, 401, 403, 404, 429, 500, 502, 503] {
        for effect in [true, false] {
            let (sandbox, mut raw) = under(Fault::Error {
                status,
                code: "SOME_CODE".into(),
                signing: Signing::Right,
                took_effect: effect,
            });
            let response = raw.response();
            assert_eq!(response.status, status);
            assert_eq!(response.json()["code"], "SOME_CODE");
            assert_eq!(verified(&sandbox, &response), Ok(()));
            assert_eq!(took_effect(&sandbox), effect && status >= 500);
            assert_eq!(sandbox.requests()[0].status, status);
        }
    }
}

#[test]
fn a_401_is_not_signed_unless_ordered() {
    let (_sandbox, mut raw) = under(Fault::error(401, "SIGN_ERROR"));
    assert_eq!(raw.response().header("wechatpay-signature"), None);
    let (_sandbox, mut raw) = under(Fault::error(403, "NO_AUTH"));
    assert!(raw.response().header("wechatpay-signature").is_some());
}

#[test]
fn pages_and_empty_bodies_are_unsigned() {
    for (status, effect, truth) in [
        (502, true, true),
        (502, false, false),
        (200, true, true),
        (200, false, false),
        (404, true, false),
    ] {
        let (sandbox, mut raw) = under(Fault::HtmlPage {
            status,
            took_effect: effect,
        });
        let response = raw.response();
        assert_eq!(response.status, status);
        assert_eq!(response.header("content-type"), Some("text/html"));
        assert!(response.body.starts_with(b"<html>"));
        assert_eq!(response.header("wechatpay-signature"), None);
        assert_eq!(took_effect(&sandbox), truth);

        let (sandbox, mut raw) = under(Fault::EmptyBody {
            status,
            took_effect: effect,
        });
        let response = raw.response();
        assert_eq!((response.status, response.body.len()), (status, 0));
        assert_eq!(response.header("content-type"), None);
        assert_eq!(response.header("wechatpay-signature"), None);
        assert_eq!(took_effect(&sandbox), truth);
    }
    let (sandbox, mut raw) = under(Fault::Accepted);
    let response = raw.response();
    assert_eq!(response.status, 202);
    assert_eq!(verified(&sandbox, &response), Ok(()));
    assert!(took_effect(&sandbox));
}

#[test]
fn signatures_are_wrong_in_the_way_ordered() {
    let response = |signing| {
        let (sandbox, mut raw) = under(Fault::Signature(signing));
        let response = raw.response();
        assert_eq!(response.status, 200);
        assert!(took_effect(&sandbox));
        let verified = verified(&sandbox, &response);
        (response, verified.err())
    };
    assert_eq!(response(Signing::Right).1, None);
    for signing in [Signing::Wrong, Signing::Foreign] {
        let (response, error) = response(signing);
        assert_eq!(
            error,
            Some(wrong_signature(Sandbox::PUBLIC_KEY_ID)),
            "{signing:?}"
        );
        assert_eq!(
            response.header("wechatpay-serial"),
            Some(Sandbox::PUBLIC_KEY_ID)
        );
        assert_eq!(response.header("wechatpay-signature").unwrap().len(), 344);
    }
    let (probed, error) = response(Signing::Probe);
    assert_eq!(error, Some(VerifyError::Probe));
    let signature = probed.header("wechatpay-signature").unwrap();
    assert!(signature.starts_with("WECHATPAY/SIGNTEST/"));
    let (unsigned, error) = response(Signing::Missing);
    assert!(matches!(error, Some(VerifyError::MissingHeader { .. })));
    let is_signature = |name: &str| name.to_ascii_lowercase().starts_with("wechatpay-");
    assert!(!unsigned.headers.iter().any(|(name, _)| is_signature(name)));
    let (_, error) = response(Signing::UnknownSerial);
    let Some(VerifyError::UnknownSerial { received, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(received, Signing::UNKNOWN_SERIAL);
    for (signing, future) in [(Signing::Stale, false), (Signing::Future, true)] {
        let (_, error) = response(signing);
        let Some(VerifyError::Stale { timestamp, now }) = error else {
            panic!("{signing:?}: {error:?}");
        };
        assert_eq!(timestamp > now, future);
    }
}

#[test]
fn headers_are_absurd_as_ordered() {
    let (sandbox, mut raw) = under(Fault::DuplicateHeader("wechatpay-nonce".into()));
    let response = raw.response();
    let duplicate = VerifyError::DuplicateHeader {
        name: "Wechatpay-Nonce",
    };
    assert_eq!(verified(&sandbox, &response), Err(duplicate));
    for value in [&[b'x'; 8192][..], b"\xff\x80", b"a\tb", b""] {
        let (sandbox, mut raw) = under(Fault::Header {
            name: "Request-ID".into(),
            value: value.to_vec(),
        });
        let response = raw.response();
        let found: Vec<_> = response
            .headers
            .iter()
            .filter(|(name, _)| name == "Request-ID")
            .map(|(_, value)| value.as_slice())
            .collect();
        assert_eq!(found, [value]);
        assert_eq!(verified(&sandbox, &response), Ok(()));
        assert!(took_effect(&sandbox));
    }
}

#[test]
fn bodies_are_absurd_as_ordered_and_rightly_signed() {
    let body = |fault: Fault| {
        let (sandbox, mut raw) = under(fault.clone());
        let response = raw.response();
        assert_eq!(verified(&sandbox, &response), Ok(()), "{fault:?}");
        assert!(took_effect(&sandbox), "{fault:?}");
        response.body
    };
    let large = body(Fault::LargeBody {
        length: 100_000_000,
    });
    assert_eq!(large.len(), 100_000_000);
    assert!(std::str::from_utf8(&body(Fault::InvalidUtf8)).is_err());
    let deep = body(Fault::DeepJson { depth: 10_000 });
    assert_eq!(deep.iter().filter(|byte| **byte == b'[').count(), 10_000);
    let twice = String::from_utf8(body(Fault::DuplicateKeys)).unwrap();
    assert_eq!(twice.matches("\"out_contract_code\"").count(), 2);
    assert_eq!(body(Fault::Body(b"null".to_vec())), b"null");
}

#[test]
fn a_compressed_body_is_real_gzip_of_what_was_signed() {
    if !installed("gzip") {
        return;
    }
    let (sandbox, mut raw) = under(Fault::Gzip);
    let mut response = raw.response();
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    assert_eq!(
        verified(&sandbox, &response),
        Err(wrong_signature(Sandbox::PUBLIC_KEY_ID))
    );
    response.body = crate::support::command("gzip", &["-dc"], &response.body);
    assert_eq!(verified(&sandbox, &response), Ok(()));
    assert_eq!(response.json()["out_contract_code"], "code1");
    assert!(took_effect(&sandbox));
}

#[test]
fn a_fault_of_the_body_does_not_change_a_response_that_has_none() {
    let mut fixture = Fixture::open();
    let contract_id = fixture.signed("code1");
    let order = direct_order(&contract_id);
    let placed = fixture.post("/v3/pay/transactions/jsapi-with-contract", &order);
    assert_eq!(placed.status, 200);
    let number = order["out_trade_no"].as_str().unwrap();
    let target = format!("/v3/pay/transactions/out-trade-no/{number}/close");
    for fault in [
        Fault::Chunked,
        Fault::LargeBody { length: 100 },
        Fault::Gzip,
        Fault::InvalidUtf8,
        Fault::DeepJson { depth: 100 },
        Fault::DuplicateKeys,
        Fault::Body(b"{}".to_vec()),
    ] {
        fixture.sandbox.fault(fault.clone());
        // What does not belong to this response would be read as the start of the next.
        let body = json!({"mchid": Sandbox::MCHID});
        let response = fixture.post(&target, &body);
        assert_eq!(
            (response.status, response.body.len()),
            (204, 0),
            "{fault:?}"
        );
        assert_eq!(verified(&fixture.sandbox, &response), Ok(()), "{fault:?}");
    }
    assert_eq!(fixture.query("code1").status, 200);
}

#[test]
fn a_fault_changes_a_refusal_too_and_the_request_has_no_effect() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(Fault::Signature(Signing::Probe));
    let mut raw = RawClient::connect(&sandbox);
    raw.pre_sign("not allowed");
    let response = raw.response();
    assert_eq!(response.status, 400);
    assert_eq!(verified(&sandbox, &response), Err(VerifyError::Probe));
    assert!(!took_effect(&sandbox));
}

#[test]
fn connections_are_accepted_again_after_a_reset() {
    let sandbox = Sandbox::start().unwrap();
    let address = sandbox.url().strip_prefix("http://").unwrap().to_owned();
    sandbox.refuse_connections(true).unwrap();
    assert!(TcpStream::connect(&address).is_err());
    sandbox.hang_up(1);
    sandbox.reset();
    let mut raw = RawClient::connect(&sandbox);
    raw.pre_sign("code1");
    assert_eq!(raw.response().status, 200);
}

#[test]
fn connections_are_refused_hung_up_or_closed() {
    let sandbox = Sandbox::start().unwrap();
    let address = sandbox.url().strip_prefix("http://").unwrap().to_owned();
    let mut kept = RawClient::connect(&sandbox);
    kept.pre_sign("code1");
    kept.response();

    sandbox.refuse_connections(true).unwrap();
    let error = TcpStream::connect(&address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    kept.pre_sign("code2");
    assert_eq!(kept.response().status, 200);
    sandbox.refuse_connections(false).unwrap();

    sandbox.hang_up(1);
    let mut hung_up = TcpStream::connect(&address).unwrap();
    assert_eq!(hung_up.read(&mut [0]).unwrap(), 0);
    let mut raw = RawClient::connect(&sandbox);
    raw.pre_sign("code3");
    assert_eq!(raw.response().status, 200);

    assert_eq!(sandbox.connections_open(), 2);
    sandbox.close_connections();
    assert_eq!(sandbox.connections_open(), 0);
    assert_eq!(raw.rest(), b"");
    let _ = hung_up.write(b"x");
    assert_eq!(sandbox.requests().len(), 3);
}
