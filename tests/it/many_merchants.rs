//! Clients of many merchants that share connections.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{ApiV3Key, Client, Error, PublicKey, Validity, Verifier};

use crate::client_faults::told;
use crate::pre_sign::PRE_SIGN;
use crate::raw_client::wait_until;

const OLD: &str = "1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
const NEW: &str = "2E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";

fn api_v3_key() -> ApiV3Key {
    ApiV3Key::new(Sandbox::API_V3_KEY).unwrap()
}

fn issue(sandbox: &Sandbox, serial_no: &str, not_after: u64) {
    let validity = Validity {
        not_before: 1_700_000_000,
        not_after,
    };
    let platform = sandbox.platform();
    platform.issue_certificate(serial_no, validity).unwrap();
}

/// Returns the clients of this number of merchants, each with its own verifier and all with the signer of the sandbox.
fn merchants(sandbox: &Sandbox, count: usize) -> Vec<Client> {
    let (first, signer) = (sandbox.client(), sandbox.signer());
    let client = |_| first.for_merchant(signer.clone(), sandbox.verifier());
    (0..count).map(client).collect::<Result<_, _>>().unwrap()
}

#[test]
fn merchants_share_connections_and_no_keys() {
    let sandbox = Sandbox::start().unwrap();
    issue(&sandbox, OLD, 4_000_000_000);
    let mchids = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&mchids);
    let first = sandbox
        .client_builder()
        .on_exchange(move |exchange| seen.lock().unwrap().push(exchange.mchid.to_owned()))
        .build()
        .unwrap();
    let second = first
        .for_merchant_with_certificates(sandbox.signer(), Verifier::without_keys(), api_v3_key())
        .unwrap();
    for client in [&first, &second, &first] {
        client.send(&PRE_SIGN).unwrap();
    }
    assert_eq!(sandbox.connections_accepted(), 1);
    assert_eq!(
        first.merchant().verifier().key_ids(),
        [Sandbox::PUBLIC_KEY_ID]
    );
    assert_eq!(second.merchant().verifier().key_ids(), [OLD]);
    // The first has no APIv3 key, and `for_merchant` passes none on to a third. So neither can download.
    assert!(matches!(
        first.refresh_certificates(),
        Err(Error::InvalidSetting(_))
    ));
    assert!(matches!(
        second
            .for_merchant(sandbox.signer(), sandbox.verifier())
            .unwrap()
            .refresh_certificates(),
        Err(Error::InvalidSetting(_))
    ));
    assert_eq!(mchids.lock().unwrap().as_slice(), [Sandbox::MCHID; 4]);
    // The merchant's own certificate is refused here too.
    let own = PublicKey::from_pem(Sandbox::MERCHANT_SERIAL_NO, Sandbox::PUBLIC_KEY_PEM).unwrap();
    let refused = first.for_merchant(sandbox.signer(), Verifier::new([own]).unwrap());
    assert!(matches!(refused, Err(Error::Key(_))), "{refused:?}");
}

#[test]
fn one_merchants_client_closes_the_idle_connections_of_all() {
    let sandbox = Sandbox::start().unwrap();
    let clients = merchants(&sandbox, 2);
    clients[0].send(&PRE_SIGN).unwrap();
    assert_eq!(sandbox.connections_open(), 1);
    clients[1].close_idle_connections();
    wait_until("the connection is closed", || {
        sandbox.connections_open() == 0
    });
    clients[0].send(&PRE_SIGN).unwrap();
    assert_eq!(sandbox.connections_accepted(), 2);
}

#[test]
fn the_keys_of_one_merchant_rotate_while_16_threads_call_for_100_others() {
    let sandbox = Sandbox::start().unwrap();
    issue(&sandbox, OLD, 4_000_000_000);
    let others = merchants(&sandbox, 100);
    let rotating = others[0]
        .for_merchant_with_certificates(sandbox.signer(), Verifier::without_keys(), api_v3_key())
        .unwrap();
    let (calls, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (calls, done, others) = (&calls, &done, &others);
    thread::scope(|scope| {
        for thread in 0..16 {
            scope.spawn(move || {
                for client in others.iter().cycle().skip(thread * 6) {
                    client.send(&PRE_SIGN).unwrap();
                    calls.fetch_add(1, Ordering::SeqCst);
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        let flow = || {
            let before = calls.load(Ordering::SeqCst);
            wait_until("others call", || calls.load(Ordering::SeqCst) > before + 32);
        };
        rotating.send(&PRE_SIGN).unwrap();
        flow();
        issue(&sandbox, NEW, 4_000_000_001);
        rotating.refresh_certificates().unwrap();
        rotating.send(&PRE_SIGN).unwrap();
        flow();
        let renewed = rotating
            .with_signer(sandbox.renewed_signer().unwrap())
            .unwrap();
        renewed.send(&PRE_SIGN).unwrap();
        flow();
        done.store(true, Ordering::SeqCst);
    });
    let held = |client: &Client| client.merchant().verifier().key_ids();
    assert_eq!(held(&rotating), [OLD, NEW]);
    assert!(
        others
            .iter()
            .all(|client| held(client) == [Sandbox::PUBLIC_KEY_ID])
    );
    let downloads = sandbox.requests();
    let downloads = downloads
        .iter()
        .filter(|one| one.target == "/v3/certificates");
    assert_eq!(downloads.count(), 2);
    assert!(sandbox.connections_accepted() <= 20);
}

/// Set in processes for the tests that use up all file descriptors.
const FEW_FILES: &str = "WECHATPAY_TEST_FEW_FILES";

/// Runs an ignored test of this file in a process with this number of file descriptors.
fn with_files(limit: u32, test: &str) {
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -n {limit}; exec \"$0\" --exact --ignored many_merchants::{test}"
        ))
        .arg(std::env::current_exe().unwrap())
        .env(FEW_FILES, "")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

#[cfg(unix)]
#[test]
fn with_256_file_descriptors_2000_merchants_call_in_turn() {
    with_files(256, "in_turn");
}

#[test]
#[ignore = "in a process with few file descriptors"]
fn in_turn() {
    let sandbox = Sandbox::start().unwrap();
    for client in merchants(&sandbox, 2_000) {
        client.send(&PRE_SIGN).unwrap();
    }
    assert_eq!(sandbox.connections_accepted(), 1);
}

#[cfg(unix)]
#[test]
fn a_lack_of_file_descriptors_is_not_reported_as_a_failed_dns_lookup() {
    with_files(64, "without_files");
}

#[test]
#[ignore = "in a process with few file descriptors"]
fn without_files() {
    if std::env::var_os(FEW_FILES).is_none() {
        return;
    }
    let sandbox = Sandbox::start().unwrap();
    let by_name = sandbox.url().replace("127.0.0.1", "localhost");
    let client = sandbox.client_builder().host(by_name).build().unwrap();
    let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let told_without = told(&client.send(&PRE_SIGN));
    drop(files);
    assert_eq!(
        told_without,
        "connect: socket: Too many open files (os error 24)"
    );
    client.send(&PRE_SIGN).unwrap();
}
