//! A whole call over TLS on loopback beside the same call written by hand, one client under many threads, latency, and
//! a slow name look-up: `cargo bench --bench call`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use wechatpay_contract::Client;

use measure::{Comparison, in_turns, median, micros, report, report_times, thread_time, verdict};
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

    /// One client, and one agent of the call by hand, under as many threads. The wall time shows waiting for one another.
    /// Only connections have a limit: with more threads than processors, times are the scheduler's as well.
    fn many_threads(&self) -> bool {
        const CALLS: usize = 320;
        let (server, other_server) = (self.server(Duration::ZERO), self.server(Duration::ZERO));
        let (client, reference) = (self.client(&server), self.reference(&other_server));
        let mut kept = true;
        for threads in [1, 2, 4, 8, 16] {
            let calls = CALLS / threads;
            let (candidate, by_hand) = in_turns(
                21,
                || each_thread(threads, calls, || drop(client.send(&PRE_SIGN).unwrap())),
                || {
                    each_thread(threads, calls, || {
                        drop(reference.call(&reference::PRE_SIGN).unwrap());
                    })
                },
            );
            let per_call = |times: &[Used], pick: fn(&Used) -> Duration| -> Vec<f64> {
                let per_call = |used| micros(pick(used)) / f64::from(u32::try_from(CALLS).unwrap());
                times.iter().map(per_call).collect()
            };
            let line = |what: &str, pick| {
                let what = format!("{threads} threads, {what} a call");
                let (candidate, by_hand) = (per_call(&candidate, pick), per_call(&by_hand, pick));
                report_times(&what, &candidate, &by_hand, None);
            };
            line("processor time", |used| used.processor);
            line("wall time", |used| used.wall);
            let connections = server.connections();
            let is_kept = connections <= threads;
            println!(
                "  {connections} connections, at most {threads}{}",
                verdict(is_kept)
            );
            kept &= is_kept;
        }
        kept
    }

    /// How many times the calls of one thread sixteen threads make.
    fn latency(&self) -> bool {
        let server = self.server(LATENCY);
        let (client, reference) = (self.client(&server), self.reference(&server));
        let (candidate, by_hand) = in_turns(
            9,
            || gain(|| drop(client.send(&PRE_SIGN).unwrap())),
            || gain(|| drop(reference.call(&reference::PRE_SIGN).unwrap())),
        );
        let (candidate, by_hand) = (median(candidate), median(by_hand));
        let kept = candidate >= 15.5;
        println!(
            "{:<46} {candidate:8.2} ×, reference {by_hand:8.2} ×, at least 15.5 ×{}",
            format!("throughput of 16 threads at {LATENCY:?} latency"),
            verdict(kept)
        );
        kept
    }

    /// What a look-up of 5 ms, as by DNS, costs the calls on a kept connection: beside the same calls with a look-up that
    /// takes no time, and beside the calls by hand, whose name is looked up each time.
    fn slow_look_up(&self) -> bool {
        const CALLS: u32 = 100;
        let server = self.server(Duration::ZERO);
        let wall = |call: &dyn Fn()| {
            let begun = Instant::now();
            (0..CALLS).for_each(|_| call());
            micros(begun.elapsed()) / f64::from(CALLS)
        };
        let calls_of_a_client = |look_up: Duration| {
            let (client, look_ups) = self.client_with_look_up(&server, look_up);
            let time = wall(&|| drop(client.send(&PRE_SIGN).unwrap()));
            (time, look_ups.load(Ordering::SeqCst))
        };
        let calls_by_hand = || {
            let (reference, look_ups) = self.reference_with_look_up(&server, LOOK_UP);
            let time = wall(&|| drop(reference.call(&reference::PRE_SIGN).unwrap()));
            (time, look_ups.load(Ordering::SeqCst))
        };
        let (slow, quick) = in_turns(
            9,
            || calls_of_a_client(LOOK_UP),
            || calls_of_a_client(Duration::ZERO),
        );
        let (by_hand, by_hand_look_ups) = calls_by_hand();
        let look_ups = slow.iter().map(|(_, look_ups)| *look_ups).max().unwrap();
        let times = |turns: Vec<(f64, usize)>| median(turns.into_iter().map(|(time, _)| time));
        let (slow, quick) = (times(slow), times(quick));
        println!(
            "{:<46} {slow:8.1} µs a call with {look_ups} look-ups, at most 1{}",
            format!("{CALLS} calls, look-up of {LOOK_UP:?}, wall time"),
            verdict(look_ups == 1)
        );
        let beside = |what: &str, reference: f64| {
            let what = format!("  beside {what}");
            let measured = format!("{slow:8.1} µs, reference {reference:8.1} µs");
            report(&what, &measured, slow / reference, None);
        };
        beside("the same without a wait", quick);
        beside(&format!("by hand, {by_hand_look_ups} look-ups"), by_hand);
        look_ups == 1
    }

    fn client_with_look_up(
        &self,
        server: &TlsServer,
        look_up: Duration,
    ) -> (Client, Arc<AtomicUsize>) {
        let address = server.address();
        let look_ups = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&look_ups);
        let client = self
            .platform
            .client(&self.authority, address)
            .resolver(move |_, _| {
                counter.fetch_add(1, Ordering::SeqCst);
                thread::sleep(look_up);
                Ok(vec![address])
            })
            .build()
            .unwrap();
        (client, look_ups)
    }

    fn reference_with_look_up(
        &self,
        server: &TlsServer,
        look_up: Duration,
    ) -> (Reference, Arc<AtomicUsize>) {
        let look_ups = Arc::new(AtomicUsize::new(0));
        let resolver = SlowResolver {
            address: server.address(),
            look_up,
            look_ups: Arc::clone(&look_ups),
        };
        let agent = Agent::with_parts(
            reference::config(Some(self.authority.pem())).unwrap(),
            DefaultConnector::default(),
            resolver,
        );
        let reference = Reference::new(agent, self.settings(&server.url("localhost"))).unwrap();
        (reference, look_ups)
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

/// What a number of calls took.
struct Used {
    /// Of all the threads together.
    processor: Duration,
    wall: Duration,
}

/// As many threads, for `calls` calls each.
fn each_thread(threads: usize, calls: usize, call: impl Fn() + Sync) -> Used {
    let total = AtomicU64::new(0);
    let begun = Instant::now();
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
    Used {
        processor: Duration::from_nanos(total.into_inner()),
        wall: begun.elapsed(),
    }
}

/// A resolver for the call by hand, which takes its time.
#[derive(Debug)]
struct SlowResolver {
    address: SocketAddr,
    look_up: Duration,
    look_ups: Arc<AtomicUsize>,
}

impl Resolver for SlowResolver {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.look_ups.fetch_add(1, Ordering::SeqCst);
        thread::sleep(self.look_up);
        let mut addresses = self.empty();
        addresses.push(self.address);
        Ok(addresses)
    }
}
