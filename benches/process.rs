//! What a process costs: from its start to the first verified answer over TLS, and its memory after many calls and with
//! many connections, each beside the call by hand: `cargo bench --bench process`.
//!
//! Server and clients are processes of their own, started by this one from its own executable.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use wechatpay_contract::{Client, PrivateKey, PublicKey, Signer, Verifier};

use measure::{median, micros, process_time, report};
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

const CALLS: usize = 10_000;
const THREADS: usize = 16;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["server"] => serve(),
        ["start", by] => start(by),
        ["calls", by] => calls(by),
        ["threads", by] => threads(by),
        // What `cargo bench` gives.
        _ => compare(),
    }
}

fn compare() {
    let server = Server::start();
    let kept = [server.start_to_answer(), server.memory()];
    if kept.contains(&false) {
        std::process::exit(1);
    }
}

/// A server in a process of its own, and what clients need to know of it.
struct Server {
    child: Child,
    host: String,
    roots: String,
    public_pem: String,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .arg("server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().unwrap().unwrap().replace('|', "\n");
        Self {
            host: line(),
            roots: line(),
            public_pem: line(),
            child,
        }
    }

    /// What a client says that is run in a process of its own.
    fn client(&self, what: &str, by: &str) -> Vec<f64> {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([what, by])
            .env("HOST", &self.host)
            .env("ROOTS", &self.roots)
            .env("PLATFORM_KEY", &self.public_pem)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(child.wait().unwrap().success(), "{what} {by}");
        line.split_whitespace()
            .map(|number| number.parse().unwrap())
            .collect()
    }

    /// From before the process is made to after it has gone.
    fn start_to_answer(&self) -> bool {
        let wall = |by: &str| {
            let begun = Instant::now();
            let processor = self.client("start", by)[0];
            (micros(begun.elapsed()), processor)
        };
        let rounds: Vec<_> = (0..101).map(|_| (wall("crate"), wall("hand"))).collect();
        let line = |what: &str, pick: fn(&(f64, f64)) -> f64| {
            let candidate = median(rounds.iter().map(|(candidate, _)| pick(candidate)));
            let by_hand = median(rounds.iter().map(|(_, by_hand)| pick(by_hand)));
            report(
                &format!("start to first verified answer, {what}"),
                &format!("{candidate:8.0} µs, reference {by_hand:8.0} µs"),
                candidate / by_hand,
                1.2,
            )
        };
        let wall = line("wall time", |times| times.0);
        let processor = line("processor", |times| times.1);
        wall && processor
    }

    fn memory(&self) -> bool {
        let line = |what: &str, subcommand: &str, limit: f64| {
            let candidate = self.client(subcommand, "crate")[0];
            let by_hand = self.client(subcommand, "hand")[0];
            let verdict = if candidate > limit {
                "  ABOVE THE LIMIT"
            } else {
                ""
            };
            println!(
                "{what:<42} {candidate:8.2} MiB, reference {by_hand:8.2} MiB, ratio {:.3}, at most {limit} MiB{verdict}",
                candidate / by_hand
            );
            candidate <= limit
        };
        let calls = line(&format!("resident after {CALLS} calls"), "calls", 7.0);
        let threads = line(
            &format!("resident with {THREADS} TLS connections"),
            "threads",
            7.0,
        );
        calls && threads
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Serves until the other end of standard input is gone.
fn serve() {
    let authority = Authority::new();
    let platform = Platform::new();
    let answer = platform.answer(200, SESSION);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| answer.clone());
    println!("{}", server.url("127.0.0.1"));
    println!("{}", authority.pem().replace('\n', "|"));
    println!("{}", platform.public_pem().replace('\n', "|"));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
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
    fn new(by: &str) -> Self {
        let [host, roots, public_pem] =
            ["HOST", "ROOTS", "PLATFORM_KEY"].map(|name| env::var(name).unwrap());
        if by == "crate" {
            let key = PrivateKey::from_pem(MERCHANT_KEY).unwrap();
            let signer = Signer::new(MCHID, SERIAL_NO, key).unwrap();
            let key = PublicKey::from_pem(PUBLIC_KEY_ID, public_pem).unwrap();
            let client = Client::builder(signer, Verifier::new([key]).unwrap())
                .host(host)
                .root_certificates(roots)
                .build()
                .unwrap();
            return Self::Crate(client);
        }
        let settings = Settings {
            host: &host,
            mchid: MCHID,
            serial_no: SERIAL_NO,
            merchant_key: MERCHANT_KEY,
            platform_id: PUBLIC_KEY_ID,
            platform_key: &public_pem,
        };
        let agent = reference::config(Some(&roots)).unwrap().new_agent();
        Self::Hand(Reference::new(agent, settings).unwrap())
    }

    fn call(&self) {
        match self {
            Self::Crate(client) => drop(client.send(&PRE_SIGN).unwrap()),
            Self::Hand(reference) => drop(reference.call(&reference::PRE_SIGN).unwrap()),
        }
    }
}

/// One call; says the processor time of the process in microseconds.
fn start(by: &str) {
    Caller::new(by).call();
    println!("{}", micros(process_time()));
}

/// Many calls in a row; says the resident memory in MiB.
fn calls(by: &str) {
    let caller = Caller::new(by);
    (0..CALLS).for_each(|_| caller.call());
    println!("{}", resident());
}

/// Calls by many threads; says the resident memory in MiB while all of them are there, each with a connection.
fn threads(by: &str) {
    let caller = Caller::new(by);
    let barrier = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                (0..20).for_each(|_| caller.call());
                barrier.wait();
                barrier.wait();
            });
        }
        barrier.wait();
        println!("{}", resident());
        barrier.wait();
    });
}

/// Resident memory of this process, in MiB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap()
        .parse()
        .unwrap();
    kib / 1024.0
}
