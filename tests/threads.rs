//! No call starts a thread, time-outs on. A program of its own, so that no other test starts threads beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
// Where the system tells the numbers of threads, and gives them out in order.
#![cfg(target_os = "linux")]

use std::fs;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use platform::{PRE_SIGN, Platform, SESSION, server_and_client};
use tls_server::{Authority, Leaf, Then, TlsServer};

#[path = "support/platform.rs"]
mod platform;
#[path = "support/tls_server.rs"]
mod tls_server;

const CALLS: u32 = 100;

/// The number of a thread that is started now. Each process and thread gets a higher one than those before.
fn next_number() -> u32 {
    let link = thread::spawn(|| fs::read_link("/proc/thread-self").unwrap());
    let link = link.join().unwrap();
    link.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// How many threads and processes were started meanwhile, by whomever.
fn started_during(work: impl FnOnce()) -> u32 {
    let before = next_number();
    work();
    // After the highest number they begin again from low ones: then this is huge, and tried again.
    next_number().wrapping_sub(before + 1)
}

#[test]
fn no_call_starts_a_thread() {
    let (server, client) = server_and_client();
    client.send(&PRE_SIGN).unwrap();

    let counted = started_during(|| (0..CALLS).for_each(|_| thread::spawn(|| ()).join().unwrap()));
    assert!(counted >= CALLS, "threads are not counted: {counted}");
    // A thread for each call would be as many at the least, every time. Other programs start some too, so it is enough
    // that there were fewer once.
    let fewest = (0..20)
        .map(|_| started_during(|| (0..CALLS).for_each(|_| drop(client.send(&PRE_SIGN).unwrap()))))
        .inspect(|started| {
            println!("{started} threads started during {CALLS} calls, others' included")
        })
        .find(|started| *started < CALLS);
    assert!(fewest.is_some(), "a thread for each call");
    assert_eq!(server.connections(), 1);
}

#[test]
fn names_are_looked_up_on_the_callers_thread() {
    let authority = Authority::new();
    let platform = Platform::new();
    let answer = platform.answer(200, SESSION).then(Then::Close);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| answer.clone());
    let address = server.address();
    let seen: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
    let seeing = Arc::clone(&seen);
    let client = platform
        .client(&authority, address)
        .resolver(move |_, _| {
            seeing.lock().unwrap().push(thread::current().id());
            Ok(vec![address])
        })
        .build()
        .unwrap();
    client.send(&PRE_SIGN).unwrap();
    assert_eq!(*seen.lock().unwrap(), [thread::current().id()]);
}
