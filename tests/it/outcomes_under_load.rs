//! Many threads on one client under faults of the server: each outcome agrees with the server's record.
//!
//! 800 calls, or as many as the environment variable `LOAD_CALLS` says:
//! `LOAD_CALLS=200000 cargo test --release --test it outcomes_under_load::`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::sandbox::{Fault, RecordedRequest, Sandbox};
use wechatpay_contract::{Client, Error, Outcome};

use crate::client_faults::{assert_honest, cases, told};
use crate::failover::CLOSED_PORT;
use crate::pre_sign::PRE_SIGN;
use crate::raw_client::wait_until;

const THREADS: usize = 16;
/// The most memory that one call may take, in bytes: a body of 1 MiB, read into a buffer that grows.
const MOST_PER_CALL: u64 = 4 * 1024 * 1024;
/// The most memory that may be kept after all calls, in bytes: connections, of less than 128 KiB each.
const MOST_KEPT: i64 = 128 * 1024 * 2 * 16;

fn calls() -> usize {
    std::env::var("LOAD_CALLS").map_or(800, |calls| calls.parse().unwrap())
}

/// A small generator of pseudo-random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        // Xorshift, by Marsaglia.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// Clients that reach different hosts. All threads share each of them.
struct Clients {
    direct: Client,
    by_backup: Client,
    nowhere: Client,
}

impl Clients {
    fn new(sandbox: &Sandbox) -> Self {
        let closed = format!("http://127.0.0.1:{CLOSED_PORT}");
        let builder = || sandbox.client_builder();
        let build = |host: &str, backup: &str| {
            let builder = builder().host(host).backup_host(Some(backup));
            builder.build().unwrap()
        };
        Self {
            direct: build(sandbox.url(), &closed),
            by_backup: build(&closed, sandbox.url()),
            nowhere: build(&closed, &closed),
        }
    }

    fn pick(&self, numbers: &mut Numbers) -> &Client {
        match numbers.below(20) {
            0 => &self.nowhere,
            1..=3 => &self.by_backup,
            _ => &self.direct,
        }
    }
}

/// The result of a call, by its contract code.
struct Told {
    code: String,
    outcome: Option<Outcome>,
    text: String,
}

/// The memory that all calls together took, in bytes.
#[derive(Default)]
struct Memory {
    kept: i64,
    most: u64,
}

fn call(client: &Client, code: String) -> (Told, allocation_counter::AllocationInfo) {
    let mut result = None;
    let request = MiniProgramPreSign {
        out_contract_code: &code,
        ..PRE_SIGN
    };
    let memory = allocation_counter::measure(|| {
        result = Some(client.send(&request).map(|session| {
            assert_eq!(session.out_contract_code, request.out_contract_code);
        }));
    });
    let result: Result<(), Error> = result.unwrap();
    let outcome = result.as_ref().err().map(Error::outcome);
    let text = told(&result);
    let told = Told {
        outcome,
        text,
        code,
    };
    (told, memory)
}

/// Makes one thread's calls, and now and then sets a fault for the next request of any thread.
fn work(
    sandbox: &Sandbox,
    clients: &Clients,
    thread: usize,
    next: &AtomicUsize,
) -> (Vec<Told>, Memory) {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15 ^ u64::try_from(thread).unwrap());
    let faults: Vec<Fault> = cases().into_iter().map(|case| case.fault).collect();
    let (mut all, mut memory) = (Vec::new(), Memory::default());
    while next.fetch_add(1, Ordering::SeqCst) < calls() {
        match numbers.below(100) {
            0..40 => sandbox.fault(faults[numbers.below(faults.len())].clone()),
            40 => sandbox.hang_up(1),
            41 if thread == 0 => sandbox.close_connections(),
            _ => {}
        }
        let code = format!("t{thread}c{}", all.len());
        let (told, used) = call(clients.pick(&mut numbers), code);
        memory.kept += used.bytes_current;
        memory.most = memory.most.max(used.bytes_max);
        all.push(told);
    }
    (all, memory)
}

/// Returns for each code the number of requests that the server received, and of those that took effect.
fn truth(requests: &[RecordedRequest]) -> HashMap<String, (usize, usize)> {
    let mut truth = HashMap::new();
    for request in requests {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let code = body["out_contract_code"].as_str().unwrap().to_owned();
        let (received, effects) = truth.entry(code).or_default();
        *received += 1;
        *effects += usize::from(request.took_effect);
    }
    truth
}

#[test]
fn the_outcome_of_each_call_agrees_with_the_record_of_the_server() {
    let sandbox = Sandbox::start().unwrap();
    let clients = Clients::new(&sandbox);
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (sandbox, clients, next, results) = (&sandbox, &clients, &next, &results);
            scope.spawn(move || {
                let result = work(sandbox, clients, thread, next);
                results.lock().unwrap().push(result);
            });
        }
    });
    let results = results.into_inner().unwrap();
    assert_eq!(results.len(), THREADS);

    let truth = truth(&sandbox.requests());
    let mut outcomes: HashMap<Option<Outcome>, usize> = HashMap::new();
    for told in results.iter().flat_map(|(told, _)| told) {
        let label = format!("{}: {}", told.code, told.text);
        let (received, effects) = truth.get(&told.code).copied().unwrap_or_default();
        assert!(received <= 1, "{label}: received {received} times");
        assert!(effects <= 1, "{label}: took effect {effects} times");
        assert_honest(&label, told.outcome, effects == 1);
        if told.outcome == Some(Outcome::NotSent) {
            assert_eq!(received, 0, "{label}");
            assert!(told.text.starts_with("connect: "), "{label}");
        }
        *outcomes.entry(told.outcome).or_default() += 1;
    }
    assert_eq!(outcomes.values().sum::<usize>(), calls());
    // Each fault occurred.
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");

    let kept: i64 = results.iter().map(|(_, memory)| memory.kept).sum();
    let most = results.iter().map(|(_, memory)| memory.most).max().unwrap();
    assert!(most <= MOST_PER_CALL, "{most} bytes for one call");
    assert!(kept <= MOST_KEPT, "{kept} bytes are kept");
    // One connection for each thread and client, and one for each connection that a fault ended.
    wait_until("the server has seen what was closed", || {
        sandbox.connections_open() <= 2 * THREADS
    });
    println!("{outcomes:?}, {most} bytes for one call, {kept} bytes kept");
}
