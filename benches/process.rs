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
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

use wechatpay_contract::{Client, PrivateKey, PublicKey, Signer, Verifier};

use measure::{in_turns, median, micros, process_time, report, report_times, verdict};
use platform::{MCHID, MERCHANT_KEY, PRE_SIGN, PUBLIC_KEY_ID, Platform, SERIAL_NO, SESSION};
use reference::{Reference, Settings};
use tls_server::{Authority, Leaf, Meeting, TlsServer};

#[path = "support/measure.rs"]
mod measure;
#[path = "../tests/support/platform.rs"]
mod platform;
#[path = "support/reference.rs"]
mod reference;
#[path = "../tests/support/tls_server.rs"]
mod tls_server;

/// How many calls a long life is, and after how many of them the memory is looked at first.
const CALLS: [usize; 2] = [100, 10_000];
const THREADS: usize = 16;
/// How many processes are asked for their memory; what counts is the median.
const PROCESSES: usize = 5;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["server", at_once] => serve(at_once.parse().unwrap()),
        ["start", by] => start(by),
        ["calls", by] => calls(by),
        ["threads", by] => threads(by),
        // What `cargo bench` gives.
        _ => compare(),
    }
}

fn compare() {
    let kept = [start_to_answer(), memory_of_calls(), memory_of_threads()];
    if kept.contains(&false) {
        std::process::exit(1);
    }
}

/// From before the process is made until its answer is verified.
fn start_to_answer() -> bool {
    let mut server = Server::start(1);
    let host = server.settings();
    let wall = |by: &str| {
        let begun = Instant::now();
        let mut client = host.client("start", by);
        let processor = client.numbers()[0];
        let wall = micros(begun.elapsed());
        client.finish();
        (wall, processor)
    };
    let (candidate, by_hand) = in_turns(101, || wall("crate"), || wall("hand"));
    let line = |what: &str, pick: fn(&(f64, f64)) -> f64| {
        let times = |turns: &[(f64, f64)]| turns.iter().map(pick).collect::<Vec<_>>();
        report_times(
            &format!("start to first verified answer, {what}"),
            &times(&candidate),
            &times(&by_hand),
            Some(1.2),
        )
    };
    let wall = line("wall time", |times| times.0);
    let processor = line("processor time", |times| times.1);
    wall && processor
}

/// Of a process that makes many calls in a row on one connection: it must not grow.
fn memory_of_calls() -> bool {
    const MOST_GROWTH: f64 = 0.25;
    let mut server = Server::start(1);
    let host = server.settings();
    let medians = |by: &str| {
        let runs: Vec<_> = (0..PROCESSES).map(|_| host.run("calls", by)).collect();
        [0, 1].map(|at| median(runs.iter().map(|numbers| numbers[at])))
    };
    let ([early, late], [_, by_hand]) = (medians("crate"), medians("hand"));
    report(
        &format!("resident after {} calls", CALLS[1]),
        &format!("{late:8.2} MiB, reference {by_hand:8.2} MiB"),
        late / by_hand,
        None,
    );
    let growth = late - early;
    let kept = growth <= MOST_GROWTH;
    println!(
        "{:<46} {growth:8.2} MiB, at most {MOST_GROWTH} MiB{}",
        format!("  more than after {}", CALLS[0]),
        verdict(kept)
    );
    kept
}

/// Of a process with many connections at the same time.
fn memory_of_threads() -> bool {
    const MOST: f64 = 7.0;
    let mut server = Server::start(THREADS);
    let host = server.settings();
    let medians = |by: &str| {
        let runs: Vec<_> = (0..PROCESSES).map(|_| host.run("threads", by)).collect();
        [0, 1].map(|at| median(runs.iter().map(|numbers| numbers[at])))
    };
    let ([whole, own], [by_hand, by_hand_own]) = (medians("crate"), medians("hand"));
    assert_eq!(
        server.connections(),
        2 * PROCESSES * THREADS,
        "connections of all processes"
    );
    let kept = whole <= MOST;
    println!(
        "{:<46} {whole:8.2} MiB, reference {by_hand:8.2} MiB, ratio {:.3}, at most {MOST} MiB{}",
        format!("resident with {THREADS} TLS connections"),
        whole / by_hand,
        verdict(kept)
    );
    report(
        "  without the pages of files",
        &format!("{own:8.2} MiB, reference {by_hand_own:8.2} MiB"),
        own / by_hand_own,
        None,
    );
    kept
}

/// A server in a process of its own; it ends when it is dropped.
struct Server {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Answers when so many requests have come `at_once`, so that each has a connection of its own.
    fn start(at_once: usize) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["server", &at_once.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap().replace('|', "\n")
    }

    /// Said once, at its start.
    fn settings(&mut self) -> Host {
        Host {
            url: self.line(),
            roots: self.line(),
            public_pem: self.line(),
        }
    }

    /// How many it has accepted.
    fn connections(&mut self) -> usize {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What clients need to know of the server.
struct Host {
    url: String,
    roots: String,
    public_pem: String,
}

impl Host {
    /// A client in a process of its own.
    fn client(&self, what: &str, by: &str) -> ClientProcess {
        let child = Command::new(env::current_exe().unwrap())
            .args([what, by])
            .env("HOST", &self.url)
            .env("ROOTS", &self.roots)
            .env("PLATFORM_KEY", &self.public_pem)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        ClientProcess { child }
    }

    /// What such a client says.
    fn run(&self, what: &str, by: &str) -> Vec<f64> {
        let mut client = self.client(what, by);
        let numbers = client.numbers();
        client.finish();
        numbers
    }
}

struct ClientProcess {
    child: Child,
}

impl ClientProcess {
    /// The one line that it says.
    fn numbers(&mut self) -> Vec<f64> {
        let mut line = String::new();
        let stdout = self.child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        line.split_whitespace()
            .map(|number| number.parse().unwrap())
            .collect()
    }

    fn finish(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

/// Serves until the other end of standard input is gone; for each line of it, says how many connections there were.
fn serve(at_once: usize) {
    let authority = Authority::new();
    let platform = Platform::new();
    let answer = platform.answer(200, SESSION);
    let all_have_asked = Meeting::of(at_once);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| {
        all_have_asked.wait();
        answer.clone()
    });
    println!("{}", server.url("127.0.0.1"));
    println!("{}", authority.pem().replace('\n', "|"));
    println!("{}", platform.public_pem().replace('\n', "|"));
    for _ in io::stdin().lines() {
        println!("{}", server.connections());
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

/// Many calls in a row; says the resident memory in MiB after some and after all of them.
fn calls(by: &str) {
    let caller = Caller::new(by);
    let mut made = 0;
    let resident = CALLS.map(|calls| {
        (made..calls).for_each(|_| caller.call());
        made = calls;
        memory("VmRSS:")
    });
    println!("{} {}", resident[0], resident[1]);
}

/// Calls by many threads; says the resident memory in MiB while all of them are there, each with a connection: the
/// whole, and without the pages of files.
fn threads(by: &str) {
    let caller = Caller::new(by);
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
        println!("{} {}", memory("VmRSS:"), memory("RssAnon:"));
        meeting.wait();
    });
}

/// Memory of this process by its name in proc(5), in MiB.
fn memory(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap()
        .parse()
        .unwrap();
    kib / 1024.0
}
