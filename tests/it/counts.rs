//! What calls cost in connections, look-ups and handshakes, counted: no noise can hide it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use wechatpay_contract::{Error, Request};

use crate::platform::{PRE_SIGN, Platform, SESSION, server_and_client};
use crate::tls_server::{Authority, Leaf, TlsServer};

const PARAM_ERROR: &str = r#"{"code":"PARAM_ERROR","message":"parameter error"}"#;

#[test]
fn a_thousand_calls_in_a_row_use_one_connection_and_one_look_up() {
    let authority = Authority::new();
    let platform = Platform::new();
    let (good, bad) = (
        platform.answer(200, SESSION),
        platform.answer(400, PARAM_ERROR),
    );
    let server = TlsServer::start(&authority, &Leaf::default(), move |request| {
        if request.starts_with(b"GET") {
            bad.clone()
        } else {
            good.clone()
        }
    });
    let address = server.address();
    let look_ups = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&look_ups);
    let client = platform
        .client(&authority, address)
        .resolver(move |_, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(vec![address])
        })
        .build()
        .unwrap();

    for call in 0..1000 {
        if call % 10 == 3 {
            let error = client
                .execute::<()>(Request::get("/v3/unknown"))
                .unwrap_err();
            assert!(
                matches!(&error, Error::Api(api) if api.status == 400),
                "{error:?}"
            );
        } else {
            client.send(&PRE_SIGN).unwrap();
        }
    }
    assert_eq!(server.requests(), 1000);
    assert_eq!(server.connections(), 1);
    assert_eq!(server.handshakes(), 1);
    assert_eq!(look_ups.load(Ordering::SeqCst), 1);
}

#[test]
fn sixteen_threads_open_sixteen_connections_and_keep_them() {
    const THREADS: usize = 16;
    let authority = Authority::new();
    let platform = Platform::new();
    let answer = platform.answer(200, SESSION);
    // Answers only when all threads have asked, so that each needs a connection of its own.
    let all_have_asked = Barrier::new(THREADS);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| {
        all_have_asked.wait();
        answer.clone()
    });
    let client = platform
        .client(&authority, server.address())
        .build()
        .unwrap();

    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..10 {
                    client.send(&PRE_SIGN).unwrap();
                }
            });
        }
    });
    assert_eq!(server.requests(), THREADS * 10);
    assert_eq!(server.connections(), THREADS);
    assert_eq!(server.handshakes(), THREADS);
}

#[test]
fn a_connection_that_the_server_has_closed_costs_no_call() {
    let (server, client) = server_and_client();

    client.send(&PRE_SIGN).unwrap();
    assert_eq!(server.connections(), 1);
    server.close_connections();
    client.send(&PRE_SIGN).unwrap();
    assert_eq!((server.requests(), server.connections()), (2, 2));
}
