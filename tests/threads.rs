//! No call starts a thread, time-outs on. A program of its own, so that no other test starts threads beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::thread;

use platform::{PRE_SIGN, server_and_client};

#[path = "support/platform.rs"]
mod platform;
#[path = "support/tls_server.rs"]
mod tls_server;

const CALLS: u64 = 100;

/// The number of a thread that is started now. The standard library counts those of a process.
fn next_number() -> u64 {
    let thread = thread::spawn(|| ());
    let id = format!("{:?}", thread.thread().id());
    thread.join().unwrap();
    let number = id.strip_prefix("ThreadId(").unwrap();
    number.strip_suffix(')').unwrap().parse().unwrap()
}

/// How many threads this process started meanwhile, ended ones too.
fn started_during(work: impl FnOnce()) -> u64 {
    let before = next_number();
    work();
    next_number() - before - 1
}

// The only test here: the others' threads would be counted too.
#[test]
fn no_call_starts_a_thread() {
    let (server, client) = server_and_client();

    let counted = started_during(|| (0..CALLS).for_each(|_| thread::spawn(|| ()).join().unwrap()));
    assert_eq!(counted, CALLS, "threads are not counted");
    let started = started_during(|| drop(client.send(&PRE_SIGN).unwrap()));
    assert_eq!(started, 1, "more than the server's, for the connection");
    let started = started_during(|| (0..CALLS).for_each(|_| drop(client.send(&PRE_SIGN).unwrap())));
    assert_eq!(started, 0);
    assert_eq!(server.connections(), 1);
}
