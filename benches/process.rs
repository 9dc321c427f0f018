//! Compares a process that calls by the crate with one that calls by hand: the time from its start to the first
//! verified response over TLS, and its memory after many calls and with many connections.
//! Run it by `cargo bench --bench process`.
// A bench may panic.
#![allow(clippy::restriction)]

use std::env;
use std::thread;
use std::time::Instant;

use wechatpay_contract::{Client, PrivateKey, PublicKey, Signer, Verifier};

use measure::{Report, Turns, child, in_turns, memory, micros, process_time};
use platform::{MCHID, MERCHANT_KEY, PRE_SIGN, PUBLIC_KEY_ID, Platform, SERIAL_NO, SESSION};
use reference::Reference;
use tls_server::{Authority, Leaf, Meeting, TlsServer};

#[path = "support/measure.rs"]
mod measure;
#[path = "../tests/support/platform.rs"]
mod platform;
#[path = "support/reference.rs"]
mod reference;
#[path = "../tests/support/tls_server.rs"]
mod tls_server;

const THREADS: usize = 16;
/// The number of processes that tell their memory. The median counts.
const PROCESSES: usize = 5;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [job, by, host, roots, public_pem] => work(job, &Caller::new(by, host, roots, public_pem)),
        _ => compare(),
    }
}

fn compare() {
    let mut report = Report::default();
    let alone = Host::new(1);
    let wall = |by| {
        let begun = Instant::now();
        alone.run("start", by);
        micros(begun.elapsed())
    };
    let turns = in_turns(101, || wall("crate"), || wall("hand"));
    report.ratio(
        "start to first verified response, wall time",
        "µs",
        &turns,
        Some(1.2),
    );
    let turns = in_turns(
        101,
        || alone.run("start", "crate")[0],
        || alone.run("start", "hand")[0],
    );
    report.ratio(
        "start to first verified response, processor time",
        "µs",
        &turns,
        Some(1.2),
    );

    let [early, late] = alone.memory("calls");
    report.ratio("resident after 10000 calls", "KiB", &late, None);
    report.value(
        "  more than after 100 calls",
        "KiB",
        late.0[0] - early.0[0],
        Some(256.0),
    );

    let [resident, own] = Host::new(THREADS).memory("threads");
    report.ratio("resident with 16 TLS connections", "KiB", &resident, None);
    report.value("  of the crate", "KiB", resident.0[0], Some(7.0 * 1024.0));
    report.ratio("  without the pages of files", "KiB", &own, None);
    report.finish();
}

/// A server in this process, for clients in processes of their own.
struct Host {
    server: TlsServer,
    roots: String,
    public_pem: String,
}

impl Host {
    /// The server responds only when `at_once` requests wait, so that each of them has a connection of its own.
    fn new(at_once: usize) -> Self {
        let (authority, platform) = (Authority::new(), Platform::new());
        let response = platform.answer(200, SESSION);
        let all_are_there = Meeting::of(at_once);
        let server = TlsServer::start(&authority, &Leaf::default(), move |_| {
            all_are_there.wait();
            response.clone()
        });
        Self {
            server,
            roots: authority.pem().to_owned(),
            public_pem: platform.public_pem(),
        }
    }

    fn run(&self, job: &str, by: &str) -> Vec<f64> {
        child(&[
            job,
            by,
            &self.server.url("127.0.0.1"),
            &self.roots,
            &self.public_pem,
        ])
    }

    /// The medians of the two figures that such a process prints.
    fn memory(&self, job: &str) -> [Turns; 2] {
        let medians = |by| {
            let runs: Vec<_> = (0..PROCESSES).map(|_| self.run(job, by)).collect();
            [0, 1].map(|at| measure::median(runs.iter().map(|figures| figures[at])))
        };
        let (by_crate, by_hand) = (medians("crate"), medians("hand"));
        [0, 1].map(|at| Turns(vec![by_crate[at]], vec![by_hand[at]]))
    }
}

/// The two ways to make a call.
// One for each process: the larger variant costs nothing.
#[allow(clippy::large_enum_variant)]
enum Caller {
    Crate(Client),
    Hand(Reference),
}

impl Caller {
    /// From the texts that a service has in its files and settings.
    fn new(by: &str, host: &str, roots: &str, public_pem: &str) -> Self {
        if by == "hand" {
            let agent = reference::config(Some(roots)).unwrap().new_agent();
            return Self::Hand(Reference::new(agent, host, MERCHANT_KEY, public_pem).unwrap());
        }
        let key = PrivateKey::from_pem(MERCHANT_KEY).unwrap();
        let signer = Signer::new(MCHID, SERIAL_NO, key).unwrap();
        let key = PublicKey::from_pem(PUBLIC_KEY_ID, public_pem).unwrap();
        let client = Client::builder(signer, Verifier::new([key]).unwrap());
        Self::Crate(client.host(host).root_certificates(roots).build().unwrap())
    }

    fn call(&self) {
        match self {
            Self::Crate(client) => drop(client.send(&PRE_SIGN).unwrap()),
            Self::Hand(reference) => drop(reference.call(&reference::PRE_SIGN).unwrap()),
        }
    }
}

fn work(job: &str, caller: &Caller) {
    let calls = |number| (0..number).for_each(|_| caller.call());
    match job {
        "start" => {
            calls(1);
            println!("{}", micros(process_time()));
        }
        "calls" => {
            calls(100);
            let early = memory("VmRSS");
            calls(9_900);
            println!("{early} {}", memory("VmRSS"));
        }
        _ => threads(caller),
    }
}

/// Prints the memory while all threads are there, each with a connection: the whole, and without the pages of files.
fn threads(caller: &Caller) {
    let meeting = Meeting::of(THREADS + 1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                (0..20).for_each(|_| caller.call());
                meeting.wait();
                meeting.wait();
            });
        }
        assert!(meeting.wait(), "the calls took too long");
        println!("{} {}", memory("VmRSS"), memory("RssAnon"));
        meeting.wait();
    });
}
