//! The reports to the observer of `ClientBuilder::on_exchange`, and the values that they never contain.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use wechatpay_contract::sandbox::{Fault, Sandbox, Signing};
use wechatpay_contract::{ClientBuilder, Endpoint, Error, Method, Outcome, Request};

use crate::failover::CLOSED_PORT;
use crate::pre_sign::PRE_SIGN;

/// A reported exchange, with its `Debug` text.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    template: String,
    host: String,
    attempt: u8,
    status: Option<u16>,
    request_id: Option<String>,
    serial: Option<String>,
    date: Option<SystemTime>,
    elapsed: Duration,
    outcome: Option<Outcome>,
    error: Option<String>,
    debug: String,
}

type Log = Arc<Mutex<Vec<Seen>>>;

fn logged(builder: ClientBuilder) -> (ClientBuilder, Log) {
    let log = Log::default();
    let writer = Arc::clone(&log);
    let builder = builder.on_exchange(move |exchange| {
        writer.lock().unwrap().push(Seen {
            method: exchange.method,
            template: exchange.template.to_owned(),
            host: exchange.host.to_owned(),
            attempt: exchange.attempt,
            status: exchange.status,
            request_id: exchange.request_id.map(str::to_owned),
            serial: exchange.serial.map(str::to_owned),
            date: exchange.date,
            elapsed: exchange.elapsed,
            outcome: exchange.outcome(),
            error: exchange.error.map(ToString::to_string),
            debug: format!("{exchange:?}"),
        });
    });
    (builder, log)
}

fn request_id(value: &str) -> Fault {
    Fault::Header {
        name: "Request-ID".to_owned(),
        value: value.into(),
    }
}

#[test]
fn a_success_is_reported_with_its_request_id() {
    let sandbox = Sandbox::start().unwrap();
    let (builder, log) = logged(sandbox.client_builder());
    let client = builder.build().unwrap();
    sandbox.fault(request_id("08F78BB5AF0610D302189D9CC9"));
    let (before, sent) = (Instant::now(), SystemTime::now());
    let (_, request_id) = client.send_with_request_id(&PRE_SIGN).unwrap();
    let most = before.elapsed();
    assert_eq!(request_id.as_deref(), Some("08F78BB5AF0610D302189D9CC9"));

    let log = log.lock().unwrap();
    let [seen] = log.as_slice() else {
        panic!("{log:?}");
    };
    assert_eq!(seen.method, Method::Post);
    assert_eq!(
        seen.template,
        "/v3/password-exempt-contract/contracts/ecommerce/pre-entrust-sign/mini-program"
    );
    assert_eq!(seen.host, sandbox.url().strip_prefix("http://").unwrap());
    assert_eq!((seen.attempt, seen.status), (1, Some(200)));
    assert_eq!(
        seen.request_id.as_deref(),
        Some("08F78BB5AF0610D302189D9CC9")
    );
    assert_eq!((seen.outcome, seen.error.as_deref()), (None, None));
    assert_eq!(seen.serial, sandbox.verifier().key_ids().pop());
    let (date, second) = (seen.date.unwrap(), Duration::from_secs(1));
    assert!(date + second >= sent && date <= SystemTime::now());
    assert!(seen.elapsed <= most);
}

#[test]
fn a_failure_is_reported_with_the_error_of_the_call() {
    let sandbox = Sandbox::start().unwrap();
    let (builder, log) = logged(sandbox.client_builder());
    let client = builder.build().unwrap();
    for (fault, status) in [
        (Fault::error(429, "FREQUENCY_LIMITED"), Some(429)),
        (Fault::error(500, "SYSTEM_ERROR"), Some(500)),
        (Fault::Signature(Signing::Probe), Some(200)),
        (Fault::Accepted, Some(202)),
        (Fault::Body(b"{}".to_vec()), Some(200)),
        (Fault::CutBody, None),
    ] {
        sandbox.fault(fault);
        let error = client.send(&PRE_SIGN).unwrap_err();
        let log = log.lock().unwrap();
        let seen = log.last().unwrap();
        assert_eq!(seen.status, status, "{error:?}");
        assert_eq!(seen.request_id.as_deref(), error.request_id(), "{error:?}");
        assert_eq!(seen.request_id.is_some(), status.is_some(), "{error:?}");
        assert_eq!(seen.outcome, Some(error.outcome()), "{error:?}");
        assert_eq!(seen.error, Some(error.to_string()));
        assert_eq!(seen.attempt, 1);
    }
    assert_eq!(log.lock().unwrap().len(), 6);
}

#[test]
fn a_refused_download_is_not_reported_as_not_sent() {
    let sandbox = Sandbox::start().unwrap();
    let (builder, log) = logged(sandbox.certificate_client_builder().unwrap());
    let client = builder.build().unwrap();
    let told = |result: Result<(), Error>| {
        assert_eq!(result.unwrap_err().outcome(), Outcome::NotSent);
        let seen = log.lock().unwrap().pop().unwrap();
        assert_eq!(seen.template, "/v3/certificates");
        (seen.status, seen.outcome.unwrap())
    };
    sandbox.refuse_connections(true).unwrap();
    let refused = told(client.refresh_certificates());
    assert_eq!(refused, (None, Outcome::NotSent));
    sandbox.refuse_connections(false).unwrap();
    let absent = told(client.refresh_certificates());
    assert_eq!(absent, (Some(404), Outcome::Refused));
    sandbox.fault(Fault::error(200, "SYSTEM_ERROR"));
    let malformed = told(client.refresh_certificates());
    assert_eq!(malformed, (Some(200), Outcome::Unknown));
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn a_call_with_two_attempts_is_reported_as_two_exchanges() {
    let sandbox = Sandbox::start().unwrap();
    let closed = format!("http://127.0.0.1:{CLOSED_PORT}");
    let builder = sandbox.client_builder().host(&closed);
    let (builder, log) = logged(builder.backup_host(Some(sandbox.url())));
    builder.build().unwrap().send(&PRE_SIGN).unwrap();

    let log = log.lock().unwrap();
    let [first, second] = log.as_slice() else {
        panic!("{log:?}");
    };
    assert_eq!(first.host, format!("127.0.0.1:{CLOSED_PORT}"));
    assert_eq!((first.attempt, first.status), (1, None));
    assert_eq!(first.outcome, Some(Outcome::NotSent));
    assert_eq!(second.host, sandbox.url().strip_prefix("http://").unwrap());
    assert_eq!((second.attempt, second.status), (2, Some(200)));
    assert_eq!(second.outcome, None);
    assert!(second.request_id.is_some() && first.request_id.is_none());
}

#[test]
fn the_reported_time_is_that_of_the_whole_exchange() {
    let delay = Duration::from_millis(50);
    let sandbox = Sandbox::start().unwrap();
    let (_, port) = sandbox.url().rsplit_once(':').unwrap();
    let builder = sandbox.client_builder();
    let builder = builder.host(format!("http://localhost:{port}"));
    let (builder, log) = logged(builder.resolver(move |_, port| {
        thread::sleep(delay);
        Ok(vec![([127, 0, 0, 1], port).into()])
    }));
    let client = builder.build().unwrap();
    // The name is looked up for the first alone.
    client.send(&PRE_SIGN).unwrap();
    sandbox.fault(Fault::Late(delay));
    client.send(&PRE_SIGN).unwrap();
    let log = log.lock().unwrap();
    assert_eq!(log.len(), 2);
    assert!(log.iter().all(|seen| seen.elapsed >= delay), "{log:?}");
}

#[test]
fn no_report_contains_a_body_a_path_value_or_a_secret() {
    let sandbox = Sandbox::start().unwrap();
    let (builder, log) = logged(sandbox.client_builder());
    let client = builder.build().unwrap();
    client.send(&PRE_SIGN).unwrap();
    let body = json!({"contract_termination_remark": "SECRET-BODY"});
    let request = Request::post("/v3/contracts/{code}/terminate")
        .path("code", "SECRET-PATH")
        .query("mchid", "SECRET-QUERY")
        .json(&body);
    client.execute::<Value>(request).unwrap_err();
    sandbox.fault(Fault::Body(b"\"SECRET-ANSWER\"".to_vec()));
    let answer: Value = client.execute(PRE_SIGN.request().unwrap()).unwrap();
    assert_eq!(answer, "SECRET-ANSWER");

    let requests = sandbox.requests();
    let log = log.lock().unwrap();
    assert_eq!(log.len(), 3);
    assert_eq!(log[1].template, "/v3/contracts/{code}/terminate");
    for (seen, request) in log.iter().zip(&requests) {
        let authorization = request.header("Authorization").unwrap();
        for secret in [
            "SECRET",
            PRE_SIGN.openid,
            PRE_SIGN.out_contract_code,
            PRE_SIGN.contract_display_account,
            authorization.split('"').nth(5).unwrap(),
            "WECHATPAY2",
        ] {
            assert!(!format!("{seen:?}").contains(secret), "{secret}: {seen:?}");
        }
        assert!(seen.debug.starts_with("Exchange { "), "{seen:?}");
    }
}

#[test]
fn a_panic_of_the_observer_leaves_through_the_call_and_the_client_can_be_used_afterwards() {
    let sandbox = Sandbox::start().unwrap();
    let armed = Arc::new(AtomicBool::new(true));
    let trigger = Arc::clone(&armed);
    let client = sandbox
        .client_builder()
        .on_exchange(move |_| {
            assert!(!trigger.load(Ordering::SeqCst), "the observer's own fault");
        })
        .build()
        .unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| client.send(&PRE_SIGN))).unwrap_err();
    assert_eq!(
        panicked.downcast_ref::<&str>(),
        Some(&"the observer's own fault")
    );
    armed.store(false, Ordering::SeqCst);
    client.send(&PRE_SIGN).unwrap();
    assert_eq!(sandbox.requests().len(), 2);
    // The exchange was complete, so its connection was kept.
    assert_eq!(sandbox.connections_accepted(), 1);
}
