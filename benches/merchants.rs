//! Many merchants in one process, each with keys of its own: memory and time to build one, memory and sockets after its
//! first call, and the processor time of that call: `cargo bench --bench merchants`, with limits.
//!
//! Client and server are processes of their own, so that only the client's memory and sockets count.

// A bench may panic.
#![allow(clippy::restriction)]

use std::env;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use wechatpay_contract::{Client, PrivateKey, PublicKey, Signer, Verifier};

use measure::{Report, Turns, child, median, memory, processor_time};
use platform::{MCHID, MERCHANT_KEY, PRE_SIGN, PUBLIC_KEY_ID, Platform, SERIAL_NO, SESSION};
use tls_server::{Authority, Leaf, TlsServer};

#[path = "support/measure.rs"]
mod measure;
#[path = "../tests/support/platform.rs"]
mod platform;
#[path = "../tests/support/tls_server.rs"]
mod tls_server;

const SIZES: [u32; 3] = [1, 100, 10_000];
/// The number of calls at the same moment.
const THREADS: usize = 4;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [merchants, host, roots, public_pem] => {
            let platform = (*host, *roots, *public_pem);
            figures(merchants.parse().unwrap(), platform);
        }
        _ => compare(),
    }
}

fn compare() {
    let (authority, platform) = (Authority::new(), Platform::new());
    let response = platform.answer(200, SESSION);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| response.clone());
    let (host, public_pem) = (server.url("127.0.0.1"), platform.public_pem());
    let mut report = Report::default();
    for merchants in SIZES {
        println!("{merchants} merchants");
        let figures = child(&[&merchants.to_string(), &host, authority.pem(), &public_pem]);
        let [built, time, key, called, one, four, first, kept] = figures.try_into().unwrap();
        // One merchant's memory is lost in the granularity of pages.
        let limit = |limit| (merchants > 1).then_some(limit);
        report.value("  memory of one that is built", "KiB", built, limit(3.0));
        let turns = Turns(vec![time], vec![key]);
        report.ratio(
            "  building one / reading its private key",
            "µs",
            &turns,
            limit(1.5),
        );
        report.value(
            "  memory that its first call adds",
            "KiB",
            called,
            limit(1.0),
        );
        report.value("  sockets after all first calls", "", one, Some(1.0));
        report.value("  sockets after calls by 4 threads", "", four, Some(4.0));
        let turns = Turns(vec![first], vec![kept]);
        report.ratio("  a first call / a kept call", "µs", &turns, limit(1.05));
    }
    report.finish();
}

/// Prints the cost of that many merchants.
fn figures(merchants: u32, platform: (&str, &str, &str)) {
    let (host, roots, public_pem) = platform;
    let key_time = processor_time(merchants.min(1000), || PrivateKey::from_pem(MERCHANT_KEY));
    // The first of all merchants pays for what they share.
    let first = Client::builder(signer(), verifier(public_pem));
    let first = first.host(host).root_certificates(roots).build().unwrap();
    first.send(&PRE_SIGN).unwrap();

    let (mut clients, empty) = (Vec::with_capacity(merchants as usize), memory("RssAnon"));
    let time = processor_time(merchants, || {
        let verifier = verifier(public_pem);
        clients.push(first.for_merchant(signer(), verifier).unwrap());
    });
    let built = (memory("RssAnon") - empty) / f64::from(merchants);

    let begin = memory("RssAnon");
    let (mut firsts, mut kept) = (Vec::new(), Vec::new());
    // Measures at most 1000 pairs of calls, to save time. The second call of a pair is by a merchant that has called
    // before.
    let step = clients.len().div_ceil(1000);
    for (number, client) in clients.iter().enumerate() {
        if number % step > 0 {
            client.send(&PRE_SIGN).unwrap();
            continue;
        }
        firsts.push(processor_time(1, || client.send(&PRE_SIGN).unwrap()));
        kept.push(processor_time(1, || first.send(&PRE_SIGN).unwrap()));
    }
    let called = (memory("RssAnon") - begin) / f64::from(merchants);
    let open = sockets();
    let most = call_at_once(&clients);
    let (firsts, kept) = (median(firsts), median(kept));
    println!("{built} {time} {key_time} {called} {open} {most} {firsts} {kept}");
}

/// Calls for every merchant, some at the same moment, and returns the number of sockets after that.
fn call_at_once(clients: &[Client]) -> usize {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(client) = clients.get(next.fetch_add(1, Ordering::Relaxed)) {
                    client.send(&PRE_SIGN).unwrap();
                }
            });
        }
    });
    sockets()
}

fn signer() -> Signer {
    let key = PrivateKey::from_pem(MERCHANT_KEY).unwrap();
    Signer::new(MCHID, SERIAL_NO, key).unwrap()
}

fn verifier(public_pem: &str) -> Verifier {
    Verifier::new([PublicKey::from_pem(PUBLIC_KEY_ID, public_pem).unwrap()]).unwrap()
}

/// Counts the sockets that this process has open. Works on Linux.
fn sockets() -> usize {
    let files = fs::read_dir("/proc/self/fd").expect("sockets are counted in /proc");
    let links = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}
