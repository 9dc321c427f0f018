//! Checks a merchant's credentials with calls that move no money, and prints what to do about each failure.
//!
//! Without any configuration it starts the sandbox and checks that. With the environment variables below it talks to
//! WeChat Pay; the public key or the APIv3 key may be left out, not both.
//!
//! | variable | meaning |
//! |---|---|
//! | `WECHATPAY_MCHID` | the caller's merchant id |
//! | `WECHATPAY_SERIAL_NO` | serial number of the merchant's API certificate |
//! | `WECHATPAY_PRIVATE_KEY` | path of the merchant's `apiclient_key.pem` |
//! | `WECHATPAY_PUBLIC_KEY_ID` | id of the WeChat Pay public key, `PUB_KEY_ID_…` |
//! | `WECHATPAY_PUBLIC_KEY` | path of the WeChat Pay public key, `pub_key.pem` |
//! | `WECHATPAY_API_V3_KEY` | the APIv3 key, for a merchant with platform certificates |

use std::env;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{ApiV3Key, Client, PrivateKey, PublicKey, Signer, Verifier};

const VARIABLES: [&str; 6] = [
    "WECHATPAY_MCHID",
    "WECHATPAY_SERIAL_NO",
    "WECHATPAY_PRIVATE_KEY",
    "WECHATPAY_PUBLIC_KEY_ID",
    "WECHATPAY_PUBLIC_KEY",
    "WECHATPAY_API_V3_KEY",
];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the self-test succeeded.
fn run() -> Result<bool, Box<dyn Error>> {
    if VARIABLES.into_iter().all(|name| optional(name).is_none()) {
        let sandbox = Sandbox::start()?;
        println!("no WECHATPAY_ variable is set: the sandbox is tested, not your credentials");
        return Ok(test(&sandbox.client()));
    }
    Ok(test(&client()?))
}

fn test(client: &Client) -> bool {
    let report = client.self_test();
    println!("{report}");
    report.is_success()
}

fn client() -> Result<Client, Box<dyn Error>> {
    let signer = Signer::new(
        variable("WECHATPAY_MCHID")?,
        variable("WECHATPAY_SERIAL_NO")?,
        PrivateKey::from_pem(file("WECHATPAY_PRIVATE_KEY")?)?,
    )?;
    let api_v3_key = optional("WECHATPAY_API_V3_KEY");
    let verifier = match optional("WECHATPAY_PUBLIC_KEY_ID") {
        None if api_v3_key.is_some() => Verifier::without_keys(),
        _ => Verifier::new([PublicKey::from_pem(
            variable("WECHATPAY_PUBLIC_KEY_ID")?,
            file("WECHATPAY_PUBLIC_KEY")?,
        )?])?,
    };
    let mut builder = Client::builder(signer, verifier);
    if let Some(key) = api_v3_key {
        builder = builder.platform_certificates(ApiV3Key::new(key)?);
    }
    Ok(builder.build()?)
}

fn optional(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn variable(name: &str) -> Result<String, String> {
    optional(name).ok_or_else(|| format!("{name} is not set"))
}

fn file(name: &str) -> Result<Vec<u8>, String> {
    let path = variable(name)?;
    fs::read(&path).map_err(|error| format!("{name}: cannot read {path}: {error}"))
}
