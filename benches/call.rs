//! A whole call over TLS on loopback beside the same call written by hand, one client under many threads, latency, and
//! a slow name look-up: `cargo bench --bench call`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use wechatpay_contract::Client;

use measure::{Comparison, median, micros, report, thread_time};
use platform::{MCHID, MERCHANT_KEY, PRE_SIGN, PUBLIC_KEY_ID, Platform, SERIAL_NO, SESSION};
use reference::{Reference, Settings};
use tls_server::{Authority, Leaf, TlsServer};

#[path = "support/measure.rs"]
mod measure;
#[path = "../tests/support/platform.rs"]
mod platform;
#[path = "support/reference.rs"]
mod reference;
#[path = "../tests/support/tls_server.rs"]
mod tls_server;

/// How long a slow name look-up takes.
const LOOK_UP: Duration = Duration::from_millis(5);
/// How long a distant server takes to answer.
const LATENCY: Duration = Duration::from_millis(30);

fn main() {
    let world = World::new();
    let kept = [
        world.one_thread(),
        world.many_threads(),
        world.latency(),
        world.slow_look_up(),
    ];
    if kept.contains(&false) {
        std::process::exit(1);
    }
}

struct World {
    authority: Authority,
    platform: Platform,
    public_pem: String,
}

impl World {
    fn new() -> Self {
        let platform = Platform::new();
        Self {
            authority: Authority::new(),
            public_pem: platform.public_pem(),
            platform,
        }
    }

    /// A server that needs `latency` to answer.
    fn server(&self, latency: Duration) -> TlsServer {
        let answer = self.platform.answer(200, SESSION);
        TlsServer::start(&self.authority, &Leaf::default(), move |_| {
            thread::sleep(latency);
            answer.clone()
        })
    }

    /// By a literal address, so that neither side looks a name up.
    fn client(&self, server: &TlsServer) -> Client {
        self.platform
            .client(&self.authority, server.address())
            .host(server.url("127.0.0.1"))
            .build()
            .unwrap()
    }

    fn reference(&self, server: &TlsServer) -> Reference {
        let agent = reference::config(Some(self.authority.pem()))
            .unwrap()
            .new_agent();
        Reference::new(agent, self.settings(&server.url("127.0.0.1"))).unwrap()
    }

    fn settings<'w>(&'w self, host: &'w str) -> Settings<'w> {
        Settings {
            host,
            mchid: MCHID,
            serial_no: SERIAL_NO,
            merchant_key: MERCHANT_KEY,
            platform_id: PUBLIC_KEY_ID,
            platform_key: &self.public_pem,
        }
    }

    fn one_thread(&self) -> bool {
        let server = self.server(Duration::ZERO);
        let (client, reference) = (self.client(&server), self.reference(&server));
        let comparison = Comparison {
            what: "call over TLS / by hand, processor time",
            limit: 1.03,
            turns: 2000,
            runs: 1,
        };
        comparison.run(
            || client.send(&PRE_SIGN).unwrap(),
            || reference.call(&reference::PRE_SIGN).unwrap(),
        )
    }

    /// One client, and one agent of the call by hand, under as many threads.
    fn many_threads(&self) -> bool {
        const CALLS: usize = 320;
        let (server, other_server) = (self.server(Duration::ZERO), self.server(Duration::ZERO));
        let (client, reference) = (self.client(&server), self.reference(&other_server));
        let per_call = |time: Duration| micros(time) / f64::from(u32::try_from(CALLS).unwrap());
        let mut kept = true;
        for threads in [1, 2, 4, 8, 16] {
            let rounds: Vec<_> = (0..9)
                .map(|_| {
                    let candidate = each_thread(threads, CALLS / threads, || {
                        drop(client.send(&PRE_SIGN).unwrap());
                    });
                    let by_hand = each_thread(threads, CALLS / threads, || {
                        drop(reference.call(&reference::PRE_SIGN).unwrap());
                    });
                    (per_call(candidate), per_call(by_hand))
                })
                .collect();
            let candidate = median(rounds.iter().map(|round| round.0));
            let by_hand = median(rounds.iter().map(|round| round.1));
            kept &= report(
                &format!(
                    "{threads} threads, {} connections until now",
                    server.connections()
                ),
                &format!("{candidate:8.1} µs, reference {by_hand:8.1} µs"),
                median(rounds.iter().map(|round| round.0 / round.1)),
                1.03,
            );
            kept &= server.connections() <= threads;
        }
        kept
    }

    /// How many times the calls of one thread sixteen threads make.
    fn latency(&self) -> bool {
        let server = self.server(LATENCY);
        let (client, reference) = (self.client(&server), self.reference(&server));
        let rounds: Vec<_> = (0..5)
            .map(|_| {
                let candidate = gain(|| drop(client.send(&PRE_SIGN).unwrap()));
                let by_hand = gain(|| drop(reference.call(&reference::PRE_SIGN).unwrap()));
                (candidate, by_hand)
            })
            .collect();
        let candidate = median(rounds.iter().map(|round| round.0));
        let by_hand = median(rounds.iter().map(|round| round.1));
        let verdict = if candidate < 15.5 {
            "  BELOW THE LIMIT"
        } else {
            ""
        };
        println!(
            "{:<42} {candidate:8.2} ×, reference {by_hand:8.2} ×, at least 15.5 ×{verdict}",
            format!("throughput of 16 threads at {LATENCY:?} latency"),
        );
        candidate >= 15.5
    }

    /// What a look-up of 5 ms, as by DNS, costs the calls on a kept connection.
    fn slow_look_up(&self) -> bool {
        const CALLS: u32 = 100;
        let server = self.server(Duration::ZERO);
        let address = server.address();
        let look_ups = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&look_ups);
        let client = self
            .platform
            .client(&self.authority, address)
            .resolver(move |_, _| {
                counter.fetch_add(1, Ordering::SeqCst);
                thread::sleep(LOOK_UP);
                Ok(vec![address])
            })
            .build()
            .unwrap();
        let slow = SlowResolver::default();
        let reference_look_ups = Arc::clone(&slow.look_ups);
        let agent = Agent::with_parts(
            reference::config(Some(self.authority.pem())).unwrap(),
            DefaultConnector::default(),
            slow,
        );
        let reference = Reference::new(agent, self.settings(&server.url("localhost"))).unwrap();

        let wall = |call: &dyn Fn()| {
            let begun = Instant::now();
            (0..CALLS).for_each(|_| call());
            micros(begun.elapsed()) / f64::from(CALLS)
        };
        let candidate = wall(&|| drop(client.send(&PRE_SIGN).unwrap()));
        let by_hand = wall(&|| drop(reference.call(&reference::PRE_SIGN).unwrap()));
        report(
            &format!("{CALLS} calls, look-up of {LOOK_UP:?}, wall time"),
            &format!(
                "{candidate:8.1} µs with {} look-ups, reference {by_hand:8.1} µs with {}",
                look_ups.load(Ordering::SeqCst),
                reference_look_ups.load(Ordering::SeqCst),
            ),
            candidate / by_hand,
            1.0,
        )
    }
}

/// How many times the calls of one thread sixteen threads make in the same time.
fn gain(call: impl Fn() + Sync) -> f64 {
    const THREADS: usize = 16;
    const CALLS: usize = 30;
    let time = |threads: usize| {
        let begun = Instant::now();
        each_thread(threads, CALLS, &call);
        begun.elapsed().as_secs_f64()
    };
    // Opens the connections.
    each_thread(THREADS, 1, &call);
    let (one, all) = (time(1), time(THREADS));
    one / all * 16.0
}

/// The processor time of as many threads, all of them together, for `calls` calls each.
fn each_thread(threads: usize, calls: usize, call: impl Fn() + Sync) -> Duration {
    let total = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let before = thread_time();
                (0..calls).for_each(|_| call());
                let used = u64::try_from((thread_time() - before).as_nanos()).unwrap();
                total.fetch_add(used, Ordering::SeqCst);
            });
        }
    });
    Duration::from_nanos(total.into_inner())
}

/// ureq's own resolver, made slow.
#[derive(Debug, Default)]
struct SlowResolver {
    inner: DefaultResolver,
    look_ups: Arc<AtomicUsize>,
}

impl Resolver for SlowResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.look_ups.fetch_add(1, Ordering::SeqCst);
        thread::sleep(LOOK_UP);
        self.inner.resolve(uri, config, timeout)
    }
}
