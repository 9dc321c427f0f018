//! No call starts a thread, even with timeouts. This test is a program of its own, so that no other test starts threads
//! at the same time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use platform::{PRE_SIGN, Platform, SESSION};
use tls_server::{Authority, Leaf, TlsServer};
use wechatpay_contract::{Client, Error, Request};

#[path = "support/platform.rs"]
mod platform;
#[path = "support/tls_server.rs"]
mod tls_server;

const CALLS: u64 = 100;

/// Returns the number of a thread that is started now. The standard library counts the threads of a process.
fn next_number() -> u64 {
    let thread = thread::spawn(|| ());
    let id = format!("{:?}", thread.thread().id());
    thread.join().unwrap();
    let number = id.strip_prefix("ThreadId(").unwrap();
    number.strip_suffix(')').unwrap().parse().unwrap()
}

/// Returns the number of threads that this process started meanwhile, including those that ended.
fn started_during(work: impl FnOnce()) -> u64 {
    let before = next_number();
    work();
    next_number() - before - 1
}

// The only test here, since the threads of others would count too.
#[test]
fn no_call_starts_a_thread() {
    let (authority, platform) = (Authority::new(), Platform::new());
    let answer = platform.answer(200, SESSION);
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let server = TlsServer::start(&authority, &Leaf::default(), move |request| {
        if request.starts_with(b"GET") {
            // Waits until the sender is dropped.
            let _ = released.lock().unwrap().recv();
        }
        answer.clone()
    });
    // Moved here, so that it is dropped before the server even if the test panics. The server waits for its threads, of
    // which one waits for this.
    let release = release;
    // The name is looked up by the operating system, as by default.
    let client = |timeout| {
        Client::builder(platform.signer(), platform.verifier())
            .host(server.url("localhost"))
            .root_certificates(authority.pem())
            .timeout(timeout)
            .build()
            .unwrap()
    };
    let (patient, hasty) = (
        client(Duration::from_secs(15)),
        client(Duration::from_secs(1)),
    );

    let counted = started_during(|| (0..CALLS).for_each(|_| thread::spawn(|| ()).join().unwrap()));
    assert_eq!(counted, CALLS, "threads are not counted");
    let started = started_during(|| drop(patient.send(&PRE_SIGN).unwrap()));
    assert_eq!(
        started, 1,
        "wanted the server's thread for the connection only"
    );
    let started =
        started_during(|| (0..CALLS).for_each(|_| drop(patient.send(&PRE_SIGN).unwrap())));
    assert_eq!(started, 0);
    assert_eq!(server.connections(), 1);
    let started = started_during(|| {
        let error = hasty.execute::<()>(Request::get("/v3/late")).unwrap_err();
        let Error::Transport { source, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(source.to_string(), "no complete response within 1s");
    });
    assert_eq!(
        started, 1,
        "wanted the server's thread for the connection only"
    );
    drop(release);
}
