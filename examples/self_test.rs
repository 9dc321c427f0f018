//! Checks a merchant's credentials with calls that move no money, and prints what to do about each failure.
//!
//! `cargo run --example self_test`: without any of these environment variables it checks the sandbox. With them it
//! talks to WeChat Pay. Either the public key or the APIv3 key may be left out.
//!
//! | variable | meaning |
//! |---|---|
//! | `WECHATPAY_MCHID` | the caller's merchant id |
//! | `WECHATPAY_SERIAL_NO` | serial number of the merchant's API certificate |
//! | `WECHATPAY_PRIVATE_KEY` | path of the merchant's `apiclient_key.pem` |
//! | `WECHATPAY_PUBLIC_KEY_ID` | id of the WeChat Pay public key, `PUB_KEY_ID_…` |
//! | `WECHATPAY_PUBLIC_KEY` | path of the WeChat Pay public key, `pub_key.pem` |
//! | `WECHATPAY_API_V3_KEY` | the APIv3 key, for a merchant with platform certificates |

#[macro_use]
mod common;
#[path = "common/credentials.rs"]
mod credentials;

use std::process::ExitCode;

use wechatpay_contract::Client;
use wechatpay_contract::sandbox::Sandbox;

fn main() -> ExitCode {
    common::main(include_str!("self_test.rs"), || {
        if common::is_configured() {
            return test(&credentials::client()?);
        }
        say!("no WECHATPAY_ variable is set: the sandbox is tested, not your credentials");
        test(&Sandbox::start()?.client())
    })
}

fn test(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    let report = client.self_test();
    say!("{report}");
    report
        .is_success()
        .then_some(())
        .ok_or_else(|| "not all checks passed".into())
}
