//! A whole call over TLS on loopback beside the same call written by hand, and one client under many threads:
//! `cargo bench --bench call`.
// A bench may panic.
#![allow(clippy::restriction)]

use std::thread;
use std::time::{Duration, Instant};

use measure::{Report, in_turns, processor_time};
use platform::{PRE_SIGN, Platform, SESSION};
use reference::Reference;
use tls_server::{Authority, Leaf, TlsServer};
use wechatpay_contract::Client;

#[path = "support/measure.rs"]
mod measure;
#[path = "../tests/support/platform.rs"]
mod platform;
#[path = "support/reference.rs"]
mod reference;
#[path = "../tests/support/tls_server.rs"]
mod tls_server;

const THREADS: usize = 16;

fn main() {
    let mut report = Report::default();
    let world = World::new(Duration::ZERO);
    let turns = in_turns(
        2000,
        || processor_time(1, || world.by_crate()),
        || processor_time(1, || world.by_hand()),
    );
    report.ratio(
        "call over TLS / by hand, processor time",
        "µs",
        &turns,
        Some(1.03),
    );
    let by_hand = allocations(|| world.by_hand());
    report.value("heap allocations of a call by hand", "", by_hand, None);
    let by_crate = allocations(|| world.by_crate());
    report.value("heap allocations of a call", "", by_crate, Some(95.0));

    // With the limit of 1.032, 16 threads make at least 15.5 times as many calls as one in the same time.
    let distant = World::new(Duration::from_millis(30));
    let wall = |threads| wall_time(threads, || distant.by_crate());
    wall(THREADS); // Opens the connections.
    let turns = in_turns(9, || wall(THREADS), || wall(1));
    report.ratio(
        "16 threads / one, as many calls each, 30 ms away",
        "ms",
        &turns,
        Some(1.032),
    );
    report.finish();
}

/// A server, and the two ways to call it.
struct World {
    client: Client,
    reference: Reference,
    _server: TlsServer,
}

impl World {
    /// The server needs `latency` to respond.
    fn new(latency: Duration) -> Self {
        let (authority, platform) = (Authority::new(), Platform::new());
        let response = platform.answer(200, SESSION);
        let server = TlsServer::start(&authority, &Leaf::default(), move |_| {
            thread::sleep(latency);
            response.clone()
        });
        // A literal address, so that neither side looks up a name.
        let host = server.url("127.0.0.1");
        let agent = reference::config(Some(authority.pem()))
            .unwrap()
            .new_agent();
        let public_pem = platform.public_pem();
        let client = platform.client(&authority, server.address());
        Self {
            client: client.host(&host).build().unwrap(),
            reference: Reference::new(agent, &host, platform::MERCHANT_KEY, &public_pem).unwrap(),
            _server: server,
        }
    }

    fn by_crate(&self) {
        self.client.send(&PRE_SIGN).unwrap();
    }

    fn by_hand(&self) {
        self.reference.call(&reference::PRE_SIGN).unwrap();
    }
}

/// Counts the allocations of a call on its thread, once the connection is there.
fn allocations(call: impl Fn()) -> f64 {
    (0..3).for_each(|_| call());
    let counted = allocation_counter::measure(call).count_total;
    f64::from(u32::try_from(counted).unwrap())
}

/// The wall time in which each thread makes its calls, in milliseconds.
fn wall_time(threads: usize, call: impl Fn() + Sync) -> f64 {
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..30).for_each(|_| call()));
        }
    });
    begun.elapsed().as_secs_f64() * 1e3
}
