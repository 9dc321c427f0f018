//! Processes that were forked after a call do not share its connection. This test is a program of its own, so that no
//! threads but its own and the server's run when it forks.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::os::unix::process::CommandExt;
use std::process::{self, Command};

use fork::{Fork, fork, waitpid};
use platform::{PRE_SIGN, Platform, SESSION};
use tls_server::{Authority, Leaf, TlsServer};
use wechatpay_contract::Client;
use wechatpay_contract::ecommerce::MiniProgramPreSign;

#[path = "support/platform.rs"]
mod platform;
#[path = "support/tls_server.rs"]
mod tls_server;

const PROCESSES: usize = 8;
const ROUNDS: usize = 5;

/// Returns `true` if a call gets its own response.
fn is_right(client: &Client, code: &str) -> bool {
    let pre_sign = MiniProgramPreSign {
        out_contract_code: code,
        ..PRE_SIGN
    };
    let session = client.send(&pre_sign);
    session.is_ok_and(|session| session.out_contract_code == code)
}

#[test]
fn a_forked_process_makes_a_connection_of_its_own() {
    let (authority, platform) = (Authority::new(), Platform::new());
    let signing = Platform::new();
    let server = TlsServer::start(&authority, &Leaf::default(), move |request| {
        let text = std::str::from_utf8(request).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let code = body["out_contract_code"].as_str().unwrap();
        signing.answer(200, &SESSION.replace(PRE_SIGN.out_contract_code, code))
    });
    let builder = platform.client(&authority, server.address());
    let client = builder.build().unwrap();
    assert!(is_right(&client, "parent"));

    for round in 0..ROUNDS {
        let children: Vec<_> = (0..PROCESSES)
            .map(|child| match fork().unwrap() {
                Fork::Parent(pid) => pid,
                Fork::Child => {
                    let code = format!("round{round}child{child}");
                    let is_right = is_right(&client, &code) && is_right(&client, &code);
                    // Ends by running another program. `process::exit` would run the exit handlers of the test program,
                    // and could wait for a lock that a thread of the parent held at the fork.
                    let error = Command::new(if is_right { "true" } else { "false" }).exec();
                    eprintln!("{error}");
                    process::abort();
                }
            })
            .collect();
        assert!(is_right(&client, "parent"));
        for pid in children {
            assert_eq!(waitpid(pid).unwrap(), 0, "round {round}");
        }
    }
    // One for the parent and one for each child.
    assert_eq!(server.connections(), 1 + ROUNDS * PROCESSES);
    assert_eq!(server.requests(), 1 + ROUNDS * (2 * PROCESSES + 1));
}
