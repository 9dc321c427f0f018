//! The error of a call under each fault of the sandbox, compared with the sandbox's record.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;
use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::sandbox::{Fault, Sandbox, Signing};
use wechatpay_contract::{Authenticity, Client, Error, Outcome, Request};

use crate::pre_sign::PRE_SIGN;
use crate::raw_client::wait_until;

/// A fault and its expected result.
pub(crate) struct Case {
    pub(crate) fault: Fault,
    /// True if the sandbox carries the request out.
    pub(crate) took_effect: bool,
    /// The result as [`told`] abbreviates it.
    pub(crate) told: &'static str,
    pub(crate) outcome: Option<Outcome>,
    /// True if the response has a `Request-ID`.
    pub(crate) request_id: bool,
}

/// The call returns the value, since the request was carried out.
fn success(fault: Fault) -> Case {
    Case {
        fault,
        took_effect: true,
        told: "success",
        outcome: None,
        request_id: false,
    }
}

/// No response can be read.
fn transport(fault: Fault, took_effect: bool, told: &'static str) -> Case {
    Case {
        fault,
        took_effect,
        told,
        outcome: Some(Outcome::Unknown),
        request_id: false,
    }
}

/// The request was carried out, and the response has a `Request-ID` and fails verification.
fn unknown(fault: Fault, told: &'static str) -> Case {
    Case {
        request_id: true,
        ..transport(fault, true, told)
    }
}

/// An error that says for certain that nothing was carried out.
fn refused(fault: Fault, told: &'static str) -> Case {
    Case {
        fault,
        took_effect: false,
        told,
        outcome: Some(Outcome::Refused),
        request_id: true,
    }
}

fn error(status: u16, signing: Signing, took_effect: bool) -> Fault {
    Fault::Error {
        status,
        code: "SOME_CODE".to_owned(),
        signing,
        took_effect,
    }
}

fn header(name: &str, value: impl Into<Vec<u8>>) -> Fault {
    Fault::Header {
        name: name.to_owned(),
        value: value.into(),
    }
}

/// Returns all faults under which a call ends before its timeout, some with several values.
pub(crate) fn cases() -> Vec<Case> {
    [
        connection_cases(),
        status_cases(),
        signature_cases(),
        header_cases(),
        body_cases(),
        raw_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const POOLED_CLOSED: &str =
    "transport: the pooled connection was closed before any byte of a response";
pub(crate) const CLOSED: &str =
    "transport: the connection was closed before the response was complete";

fn connection_cases() -> Vec<Case> {
    let close = |took_effect| transport(Fault::Close { took_effect }, took_effect, CLOSED);
    vec![
        close(true),
        close(false),
        transport(Fault::CloseAfterHead, true, CLOSED),
        transport(Fault::CutBody, true, CLOSED),
        success(Fault::SlowBody {
            every: Duration::from_micros(10),
        }),
        success(Fault::Late(Duration::from_millis(1))),
        success(Fault::CloseAfterResponse),
        success(Fault::Informational(102)),
        success(Fault::Informational(103)),
        success(Fault::Chunked),
    ]
}

fn status_cases() -> Vec<Case> {
    let mut cases = vec![
        Case {
            outcome: Some(Outcome::Unknown),
            ..refused(
                Fault::Redirect {
                    status: 307,
                    location: "https://evil.example/v3/x".to_owned(),
                },
                "api: 307 unsigned",
            )
        },
        refused(
            error(400, Signing::Right, false),
            "api: 400 SOME_CODE signed",
        ),
        refused(
            error(400, Signing::Missing, false),
            "api: 400 SOME_CODE unsigned",
        ),
        refused(
            error(401, Signing::Missing, false),
            "api: 401 SOME_CODE unsigned",
        ),
        refused(
            error(403, Signing::Right, false),
            "api: 403 SOME_CODE signed",
        ),
        refused(
            error(404, Signing::Right, false),
            "api: 404 SOME_CODE signed",
        ),
        refused(
            error(429, Signing::Right, false),
            "api: 429 SOME_CODE signed",
        ),
        refused(
            error(429, Signing::Missing, false),
            "api: 429 SOME_CODE unsigned",
        ),
        Case {
            outcome: Some(Outcome::Unknown),
            ..refused(
                error(429, Signing::Wrong, false),
                "unverified: 429 WrongSignature",
            )
        },
        Case {
            outcome: Some(Outcome::Unknown),
            ..refused(
                error(409, Signing::Right, false),
                "api: 409 SOME_CODE signed",
            )
        },
        unknown(Fault::Accepted, "accepted"),
    ];
    for took_effect in [true, false] {
        for (status, signing, told) in [
            (500, Signing::Right, "api: 500 SOME_CODE signed"),
            (500, Signing::Missing, "api: 500 SOME_CODE unsigned"),
            (500, Signing::Wrong, "unverified: 500 WrongSignature"),
            (500, Signing::Probe, "unverified: 500 Probe"),
            (502, Signing::Right, "api: 502 SOME_CODE signed"),
            (502, Signing::Missing, "api: 502 SOME_CODE unsigned"),
            (502, Signing::Wrong, "unverified: 502 WrongSignature"),
            (503, Signing::Right, "api: 503 SOME_CODE signed"),
            (503, Signing::Missing, "api: 503 SOME_CODE unsigned"),
            (503, Signing::Wrong, "unverified: 503 WrongSignature"),
        ] {
            cases.push(Case {
                took_effect,
                ..unknown(error(status, signing, took_effect), told)
            });
        }
        for (status, page, empty) in [
            (
                200,
                "unverified: 200 MissingHeader Wechatpay-Serial",
                "unverified: 200 MissingHeader Wechatpay-Serial",
            ),
            (
                204,
                "unverified: 204 MissingHeader Wechatpay-Serial",
                "unverified: 204 MissingHeader Wechatpay-Serial",
            ),
            (502, "api: 502 unsigned", "api: 502 unsigned"),
        ] {
            for (fault, told) in [
                (
                    Fault::HtmlPage {
                        status,
                        took_effect,
                    },
                    page,
                ),
                (
                    Fault::EmptyBody {
                        status,
                        took_effect,
                    },
                    empty,
                ),
            ] {
                cases.push(Case {
                    took_effect,
                    ..unknown(fault, told)
                });
            }
        }
    }
    for (status, told) in [(403, "api: 403 unsigned"), (413, "api: 413 unsigned")] {
        for fault in [
            Fault::HtmlPage {
                status,
                took_effect: false,
            },
            Fault::EmptyBody {
                status,
                took_effect: false,
            },
        ] {
            // Without a code it may be a proxy's response, after the proxy had passed the request on.
            cases.push(Case {
                took_effect: false,
                ..unknown(fault, told)
            });
        }
    }
    cases
}

fn signature_cases() -> Vec<Case> {
    vec![
        success(Fault::Signature(Signing::Right)),
        unknown(
            Fault::Signature(Signing::Missing),
            "unverified: 200 MissingHeader Wechatpay-Serial",
        ),
        unknown(
            Fault::Signature(Signing::Wrong),
            "unverified: 200 WrongSignature",
        ),
        unknown(Fault::Signature(Signing::Probe), "unverified: 200 Probe"),
        unknown(
            Fault::Signature(Signing::Foreign),
            "unverified: 200 WrongSignature",
        ),
        unknown(
            Fault::Signature(Signing::UnknownSerial),
            "unverified: 200 UnknownSerial",
        ),
        unknown(Fault::Signature(Signing::Stale), "unverified: 200 Stale"),
        unknown(Fault::Signature(Signing::Future), "unverified: 200 Stale"),
    ]
}

fn header_cases() -> Vec<Case> {
    let mut cases = vec![
        success(Fault::DuplicateHeader("Request-ID".to_owned())),
        success(header("Content-Type", "text/html; charset=gb2312")),
        success(header("Request-ID", "x".repeat(8_000))),
        success(header("Request-ID", b"\xFF\xFE".to_vec())),
        success(header("X-Absurd", b"\x80\xFF;=\",".to_vec())),
    ];
    for (name, told) in [
        (
            "Wechatpay-Serial",
            "unverified: 200 DuplicateHeader Wechatpay-Serial",
        ),
        (
            "Wechatpay-Timestamp",
            "unverified: 200 DuplicateHeader Wechatpay-Timestamp",
        ),
        (
            "Wechatpay-Nonce",
            "unverified: 200 DuplicateHeader Wechatpay-Nonce",
        ),
        (
            "Wechatpay-Signature",
            "unverified: 200 DuplicateHeader Wechatpay-Signature",
        ),
    ] {
        cases.push(unknown(Fault::DuplicateHeader(name.to_owned()), told));
    }
    for (name, value, told) in [
        (
            "Wechatpay-Timestamp",
            "",
            "MissingHeader Wechatpay-Timestamp",
        ),
        (
            "Wechatpay-Timestamp",
            "-1",
            "MalformedHeader Wechatpay-Timestamp",
        ),
        (
            "Wechatpay-Timestamp",
            "1e9",
            "MalformedHeader Wechatpay-Timestamp",
        ),
        (
            "Wechatpay-Timestamp",
            "99999999999999999999999",
            "MalformedHeader Wechatpay-Timestamp",
        ),
        ("Wechatpay-Timestamp", "18446744073709551615", "Stale"),
        ("Wechatpay-Timestamp", "0", "Stale"),
        (
            "Wechatpay-Timestamp",
            "\u{0661}",
            "MalformedHeader Wechatpay-Timestamp",
        ),
        ("Wechatpay-Nonce", "", "MissingHeader Wechatpay-Nonce"),
        ("Wechatpay-Nonce", "a b", "MalformedHeader Wechatpay-Nonce"),
        ("Wechatpay-Nonce", "another", "WrongSignature"),
        (
            "Wechatpay-Signature",
            "",
            "MissingHeader Wechatpay-Signature",
        ),
        ("Wechatpay-Signature", "AAAA", "WrongSignature"),
        ("Wechatpay-Signature", "not base64!", "WrongSignature"),
        ("Wechatpay-Serial", "", "MissingHeader Wechatpay-Serial"),
        ("Wechatpay-Serial", "PUB_KEY_ID_0", "UnknownSerial"),
        (
            "Wechatpay-Signature-Type",
            "WECHATPAY2-SM2-WITH-SM3",
            "UnsupportedSignatureType",
        ),
    ] {
        let told = format!("unverified: 200 {told}").leak();
        cases.push(unknown(header(name, value), told));
    }
    for name in [
        "Wechatpay-Serial",
        "Wechatpay-Timestamp",
        "Wechatpay-Nonce",
        "Wechatpay-Signature",
    ] {
        let told = format!("unverified: 200 MalformedHeader {name}").leak();
        cases.push(unknown(header(name, b"\xC3\x28".to_vec()), told));
    }
    cases.push(unknown(
        header("Wechatpay-Signature", "A".repeat(8_000)),
        "unverified: 200 WrongSignature",
    ));
    cases
}

fn body_cases() -> Vec<Case> {
    let body = |text: &str| Fault::Body(text.as_bytes().to_vec());
    vec![
        success(Fault::LargeBody {
            length: 1024 * 1024,
        }),
        transport(
            Fault::LargeBody {
                length: 1024 * 1024 + 1,
            },
            true,
            "transport: the response's body is longer than 1048576 bytes",
        ),
        unknown(Fault::Gzip, "unverified: 200 WrongSignature"),
        unknown(Fault::InvalidUtf8, "decode: 200"),
        success(Fault::DeepJson { depth: 100 }),
        // A member that is not read is skipped at any depth.
        success(Fault::DeepJson { depth: 100_000 }),
        unknown(Fault::DuplicateKeys, "decode: 200"),
        unknown(body(""), "decode: 200"),
        unknown(body("null"), "decode: 200"),
        unknown(body("[]"), "decode: 200"),
        unknown(body("{}"), "decode: 200"),
        unknown(body("{\"mchid\":"), "decode: 200"),
        unknown(body("<html></html>"), "decode: 200"),
    ]
}

/// Returns responses that are malformed or no HTTP at all. None of them is signed.
fn raw_cases() -> Vec<Case> {
    let raw = |text: &str| Fault::Raw(text.as_bytes().to_vec());
    let unreadable = |text: &str, told| transport(raw(text), true, told);
    let unsigned = |text: &str, told| transport(raw(text), true, told);
    let many_headers: String = (0..1_000).map(|n| format!("X-{n}: y\r\n")).collect();
    vec![
        unreadable("", CLOSED),
        unreadable("\r\n\r\n", CLOSED),
        unreadable("220 mail.example ESMTP\r\n", "transport"),
        unreadable("HTTP/1.1", CLOSED),
        unreadable("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n", CLOSED),
        unreadable("HTTP/9.9 200 OK\r\n\r\n", "transport"),
        unreadable("HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", "transport"),
        unreadable("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "transport"),
        unreadable(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "transport",
        ),
        unreadable(
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "transport",
        ),
        unreadable(
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
            "transport: the response's body is longer than 1048576 bytes",
        ),
        unreadable(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
            "transport",
        ),
        unreadable(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "transport",
        ),
        unreadable(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            CLOSED,
        ),
        unreadable(
            &format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(40_000)),
            "transport",
        ),
        unreadable(
            &format!("HTTP/1.1 200 OK\r\n{many_headers}\r\n"),
            "transport",
        ),
        unreadable(&"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10), CLOSED),
        unreadable(
            &"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10_000),
            "transport",
        ),
        unsigned(
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "api: 101 unsigned",
        ),
        unsigned(
            "HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n",
            "api: 999 unsigned",
        ),
        unsigned(
            "HTTP/1.0 502 Bad Gateway\r\n\r\nclosed by the end",
            "api: 502 unsigned",
        ),
        unsigned(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "unverified: 200 MissingHeader Wechatpay-Serial",
        ),
        // Two responses, of which the second must not be taken for the next request's.
        unsigned(
            &"HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\n{}".repeat(2),
            "api: 502 unsigned",
        ),
    ]
}

/// Returns the result of a call in short.
pub(crate) fn told<T>(result: &Result<T, Error>) -> String {
    let Err(error) = result else {
        return "success".to_owned();
    };
    match error {
        Error::Transport { source, .. } => format!("transport: {source}"),
        Error::Connect { source, .. } => format!("connect: {source}"),
        Error::Unverified { status, source, .. } => {
            let debug = format!("{source:?}");
            let mut words = debug.split([' ', '"']);
            let kind = words.next().unwrap();
            let header = debug.split('"').nth(1).filter(|_| kind.ends_with("Header"));
            let header = header.map(|name| format!(" {name}")).unwrap_or_default();
            format!("unverified: {status} {kind}{header}")
        }
        Error::Api(api) => {
            let signed = match api.authenticity {
                Authenticity::Signed => "signed",
                Authenticity::Unsigned => "unsigned",
            };
            let code = &api.code;
            let space = if code.is_empty() { "" } else { " " };
            format!("api: {}{space}{code} {signed}", api.status)
        }
        Error::Accepted { .. } => "accepted".to_owned(),
        Error::Decode { status, .. } => format!("decode: {status}"),
        Error::InvalidField(error) => format!("field: {error}"),
        Error::InvalidSetting(error) => format!("setting: {error}"),
        error => format!("{error:?}"),
    }
}

/// "transport" alone stands for any reason, since the messages of ureq may change.
fn agrees(told: &str, wanted: &str) -> bool {
    told == wanted || (wanted == "transport" && told.starts_with("transport: "))
}

/// Asserts that the error of a call agrees with the sandbox's record.
pub(crate) fn assert_honest(label: &str, outcome: Option<Outcome>, took_effect: bool) {
    match outcome {
        None => assert!(took_effect, "{label}: success, but it had no effect"),
        Some(Outcome::Unknown) => {}
        Some(outcome) => assert!(!took_effect, "{label}: {outcome}, but it took effect"),
    }
}

fn pre_sign(client: &Client, code: &str) -> Result<(), Error> {
    let request = MiniProgramPreSign {
        out_contract_code: code,
        ..PRE_SIGN
    };
    let session = client.send(&request)?;
    assert_eq!(session.out_contract_code, code);
    Ok(())
}

#[test]
fn each_fault_has_its_error() {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox.client();
    for (number, case) in cases().into_iter().enumerate() {
        let label = shortened(&format!("{:?}", case.fault));
        sandbox.fault(case.fault.clone());
        let before = sandbox.requests().len();
        let result = pre_sign(&client, &format!("code{number}"));

        let requests = sandbox.requests();
        let [request] = &requests[before..] else {
            panic!("{label}: {} requests", requests.len() - before);
        };
        assert_eq!(request.took_effect, case.took_effect, "{label}");
        let outcome = result.as_ref().err().map(Error::outcome);
        assert_honest(&label, outcome, request.took_effect);
        // The first case has a new connection, the others mostly have a pooled one.
        let told = told(&result).replace(POOLED_CLOSED, CLOSED);
        assert!(
            agrees(&told, case.told),
            "{label}: {told}, wanted {}",
            case.told
        );
        assert_eq!(outcome, case.outcome, "{label}");
        let request_id = result.as_ref().err().and_then(Error::request_id);
        assert_eq!(
            request_id.is_some(),
            case.request_id,
            "{label}: {request_id:?}"
        );

        if matches!(case.fault, Fault::CloseAfterResponse | Fault::Raw(_)) {
            // Before that, the next request may be sent on a connection that is closing.
            wait_until("closed", || sandbox.connections_open() == 0);
        }
        // The fault is over, so the next call of the same client gets its response.
        pre_sign(&client, &format!("after{number}")).unwrap_or_else(|e| panic!("{label}: {e:?}"));
        assert_eq!(sandbox.requests().len(), before + 2, "{label}");
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[test]
fn a_call_ends_at_its_timeout() {
    let late = Fault::Late(Duration::from_secs(3_600));
    let slow = Fault::SlowBody {
        every: Duration::from_millis(100),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| ends_in_time(&late));
        scope.spawn(|| ends_in_time(&slow));
    });
}

fn ends_in_time(fault: &Fault) {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox
        .client_builder()
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_millis(2_100))
        .build()
        .unwrap();
    pre_sign(&client, "code1").unwrap();
    sandbox.fault(fault.clone());
    let result = pre_sign(&client, "code2");
    assert_eq!(
        told(&result),
        "transport: no complete response within 2.1s",
        "{fault:?}"
    );
    assert_eq!(result.unwrap_err().outcome(), Outcome::Unknown);
    let requests = sandbox.requests();
    assert_eq!(requests.len(), 2, "{fault:?}");
    assert!(requests[1].took_effect, "{fault:?}");
    // The late response belongs to the connection that was closed, not to the next call.
    pre_sign(&client, "code3").unwrap();
}

#[test]
fn an_idle_connection_that_the_server_closed_fails_no_call() {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox.client();
    pre_sign(&client, "code1").unwrap();
    sandbox.close_connections();
    pre_sign(&client, "code2").unwrap();
    let requests = sandbox.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.took_effect));
    assert_eq!(sandbox.connections_accepted(), 2);
}

#[test]
fn the_outcome_is_unknown_if_the_connection_ends_before_any_byte_of_a_response() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.hang_up(1);
    let error = pre_sign(&sandbox.client(), "code1").unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(sandbox.requests().len(), 0);
    assert_eq!(sandbox.connections_accepted(), 1);
    pre_sign(&sandbox.client(), "code2").unwrap();
}

#[test]
fn a_redirect_is_never_followed() {
    let sandbox = Sandbox::start().unwrap();
    let other = Sandbox::start().unwrap();
    let client = sandbox.client();
    for status in [301, 302, 303, 307, 308] {
        for location in [format!("{}/v3/x", other.url()), "/v3/elsewhere".to_owned()] {
            let before = sandbox.requests().len();
            sandbox.fault(Fault::Redirect { status, location });
            let result = pre_sign(&client, "code1");
            assert_eq!(told(&result), format!("api: {status} unsigned"));
            assert_eq!(result.unwrap_err().outcome(), Outcome::Unknown, "{status}");
            assert_eq!(sandbox.requests().len(), before + 1, "{status}");
        }
    }
    let location = format!("{}/v3/x", other.url());
    sandbox.fault(Fault::Redirect {
        status: 302,
        location,
    });
    let got: Result<Value, _> = client.execute(Request::get("/v3/x"));
    assert_eq!(told(&got), "api: 302 unsigned");
    assert_eq!(other.connections_accepted(), 0);
}

#[test]
fn a_body_of_100_mb_takes_no_memory() {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox.client();
    pre_sign(&client, "code1").unwrap();
    sandbox.fault(Fault::LargeBody {
        length: 100 * 1024 * 1024,
    });
    let mut result = Ok(());
    // Only of this thread, so the sandbox's own 100 MB do not count.
    let memory = allocation_counter::measure(|| result = pre_sign(&client, "code2"));
    assert_eq!(
        told(&result),
        "transport: the response's body is longer than 1048576 bytes"
    );
    assert!(memory.bytes_max < 64 * 1024, "{memory:?}");
    pre_sign(&client, "code3").unwrap();
}

/// Responds to the first request on the next connection, and returns how much of the response was read.
fn serve(listener: &TcpListener, head: &[u8], mut piece: impl FnMut() -> Vec<u8>) -> usize {
    let (mut stream, _) = listener.accept().unwrap();
    read_head(&mut stream);
    stream.write_all(head).unwrap();
    let mut taken = 0;
    loop {
        let piece = piece();
        if stream.write_all(&piece).is_err() {
            return taken;
        }
        taken += piece.len();
    }
}

fn read_head(stream: &mut TcpStream) {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
}

#[test]
fn a_response_without_end_is_not_read_beyond_the_limit() {
    // More than the sockets of both sides can hold.
    const MOST: usize = 32 * 1024 * 1024;
    let sandbox = Sandbox::start().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = sandbox.client_builder().host(url).build().unwrap();
    let blanks = vec![b' '; 64 * 1024];
    let chunk = [b"10000\r\n", blanks.as_slice(), b"\r\n"].concat();
    let early = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000);
    for (head, piece, told_as) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n",
            &blanks,
            "the response's body is longer than 1048576 bytes",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            &blanks,
            "the response's body is longer than 1048576 bytes",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            &chunk,
            "the response's body is longer than 1048576 bytes",
        ),
        ("HTTP/1.1 200 OK\r\nX: ", &blanks, ""),
        ("", &early, "response header is too big"),
    ] {
        std::thread::scope(|scope| {
            let server = scope.spawn(|| serve(&listener, head.as_bytes(), || piece.clone()));
            let mut result = Ok(Value::Null);
            let memory = allocation_counter::measure(|| {
                result = client.execute(Request::delete("/v3/x"));
            });
            assert!(memory.bytes_max < 4 * 1024 * 1024, "{head}: {memory:?}");
            let told = told(&result);
            assert!(
                told.starts_with(&format!("transport: {told_as}")),
                "{head}: {told}"
            );
            assert_eq!(result.unwrap_err().outcome(), Outcome::Unknown, "{head}");
            let taken = server.join().unwrap();
            assert!(taken < MOST, "{head}: {taken} bytes were taken");
        });
    }
}
