//! The number of connections, DNS lookups and handshakes of calls.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::{Client, Error, QueryContract};

use crate::failover::black_hole;
use crate::platform::{PRE_SIGN, Platform, SESSION};
use crate::raw_client::wait_until;
use crate::tls_server::{Answer, Authority, Leaf, Meeting, Then, TlsServer};

const PARAM_ERROR: &str = r#"{"code":"PARAM_ERROR","message":"parameter error"}"#;
const SIGN_ERROR: &str = r#"{"code":"SIGN_ERROR","message":"wrong signature"}"#;

/// Returns a client of `server`, and the number of its DNS lookups.
fn counted(
    platform: &Platform,
    authority: &Authority,
    server: &TlsServer,
) -> (Client, Arc<AtomicUsize>) {
    let lookups = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&lookups);
    let address = server.address();
    let client = platform
        .client(authority, address)
        .resolver(move |_, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(vec![address])
        })
        .build()
        .unwrap();
    (client, lookups)
}

fn refused<T: Debug>(result: Result<T, Error>, status: u16) {
    let error = result.unwrap_err();
    assert!(
        matches!(&error, Error::Api(api) if api.status == status),
        "{error:?}"
    );
}

#[test]
fn a_thousand_calls_in_a_row_use_one_connection_and_one_dns_lookup() {
    let authority = Authority::new();
    let platform = Platform::new();
    let good = platform.answer(200, SESSION);
    let signed = platform.answer(400, PARAM_ERROR);
    let unsigned = Answer::http(401, &[], SIGN_ERROR.as_bytes());
    let server = TlsServer::start(&authority, &Leaf::default(), move |request| {
        if request.starts_with(b"GET") {
            signed.clone()
        } else if request.windows(9).any(|part| part == b"forbidden") {
            unsigned.clone()
        } else {
            good.clone()
        }
    });
    let (client, lookups) = counted(&platform, &authority, &server);
    let query = QueryContract {
        service_id: PRE_SIGN.service_id,
        out_contract_code: PRE_SIGN.out_contract_code,
    };
    let forbidden = MiniProgramPreSign {
        openid: "forbidden",
        ..PRE_SIGN
    };

    for call in 0..1000 {
        match call % 10 {
            3 => refused(client.send(&query), 400),
            7 => refused(client.send(&forbidden), 401),
            _ => drop(client.send(&PRE_SIGN).unwrap()),
        }
    }
    assert_eq!(server.requests(), 1000);
    assert_eq!(server.connections(), 1);
    assert_eq!(server.handshakes(), 1);
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
}

#[test]
fn sixteen_threads_open_sixteen_connections_and_keep_them_until_they_are_closed() {
    const THREADS: usize = 16;
    let authority = Authority::new();
    let platform = Platform::new();
    let answer = platform.answer(200, SESSION);
    // Responds only after all threads have sent a request, so that each needs a connection of its own.
    let all_have_asked = Meeting::of(THREADS);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| {
        all_have_asked.wait();
        answer.clone()
    });
    let client = platform
        .client(&authority, server.address())
        .build()
        .unwrap();

    for round in 1..=2 {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..10 {
                        client.send(&PRE_SIGN).unwrap();
                    }
                });
            }
        });
        assert_eq!(server.requests(), THREADS * 10 * round);
        assert_eq!(server.connections(), THREADS * round);
        assert_eq!(server.handshakes(), THREADS * round);
        // The server closes all of them at once, and no call fails.
        server.close_connections();
    }
}

#[test]
fn a_connection_that_the_server_has_closed_fails_no_call_and_needs_no_dns_lookup() {
    let (authority, platform) = (Authority::new(), Platform::new());
    let answer = platform.answer(200, SESSION);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| answer.clone());
    let (client, lookups) = counted(&platform, &authority, &server);

    for connections in 1..=3 {
        client.send(&PRE_SIGN).unwrap();
        assert_eq!(server.connections(), connections);
        server.close_connections();
    }
    assert_eq!(server.requests(), 3);
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
}

/// Servers end connections with or without a TLS alert, and announce it in the response or do not.
#[test]
fn a_connection_that_ends_with_its_response_fails_no_call() {
    let (authority, platform) = (Authority::new(), Platform::new());
    let announced = || {
        let headers = platform.headers(SESSION);
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = headers.chain([("Connection", "close")]).collect();
        Answer::http(200, &headers, SESSION.as_bytes())
    };
    for (what, answer) in [
        ("closed", platform.answer(200, SESSION).then(Then::Close)),
        ("cut", platform.answer(200, SESSION).then(Then::Cut)),
        ("announced, closed", announced().then(Then::Close)),
        ("announced, left open", announced()),
    ] {
        let server = TlsServer::start(&authority, &Leaf::default(), move |_| answer.clone());
        let client = platform
            .client(&authority, server.address())
            .build()
            .unwrap();
        for call in 1..=3 {
            client.send(&PRE_SIGN).unwrap();
            assert_eq!(
                (server.requests(), server.connections()),
                (call, call),
                "{what}"
            );
            wait_until("the connection is closed", || server.open() == 0);
        }
    }
}

#[test]
fn a_client_that_keeps_no_connection_makes_one_for_each_call() {
    let (authority, platform) = (Authority::new(), Platform::new());
    let answer = platform.answer(200, SESSION);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| answer.clone());
    let builder = platform.client(&authority, server.address());
    let client = builder.keep_connections(false).build().unwrap();
    for connections in 1..=3 {
        client.send(&PRE_SIGN).unwrap();
        assert_eq!(server.connections(), connections);
        wait_until("the connection is closed", || server.open() == 0);
    }
}

#[test]
fn dead_addresses_before_a_living_one_delay_the_first_connection_only() {
    let (authority, platform) = (Authority::new(), Platform::new());
    let answer = platform.answer(200, SESSION);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| answer.clone());
    let (hole, _held) = black_hole();
    let mut addresses = vec![hole; 4];
    addresses.push(server.address());
    let client = platform
        .client(&authority, server.address())
        .resolver(move |_, _| Ok(addresses.clone()))
        .build()
        .unwrap();
    let call = || {
        let began = Instant::now();
        client.send(&PRE_SIGN).unwrap();
        client.close_idle_connections();
        began.elapsed()
    };
    let first = call();
    let second = call();
    println!("after four dead addresses: {first:?}, then {second:?}");
    assert!(first < Duration::from_secs(4), "{first:?}");
    assert!(second < Duration::from_millis(300), "{second:?}");
    assert_eq!(server.connections(), 2);
}

/// Servers close idle connections, sometimes while the next request is on its way.
#[test]
fn a_server_that_closes_behind_each_response_costs_few_calls() {
    let (authority, platform) = (Authority::new(), Platform::new());
    let answer = platform.answer(200, SESSION).then(Then::Close);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| answer.clone());
    let client = platform.client(&authority, server.address());
    let client = client.build().unwrap();
    for pause in [0, 1, 10, 100] {
        let failed = (0..30).filter(|_| {
            thread::sleep(Duration::from_millis(pause));
            let Err(error) = client.send(&PRE_SIGN) else {
                return false;
            };
            let Error::Transport { source, .. } = &error else {
                panic!("{error:?}");
            };
            let wanted = "the pooled connection was closed before any byte of a response";
            assert_eq!(source.to_string(), wanted);
            true
        });
        let failed = failed.count();
        println!("{pause} ms between calls: {failed} of 30 failed");
        assert!(
            failed <= if pause < 10 { 15 } else { 1 },
            "{pause} ms: {failed}"
        );
    }
}
