//! Pre-signs a contract for a user of an e-commerce platform's mini program.
//!
//! Without any configuration it starts the sandbox and talks to that. With the environment variables below it talks to
//! WeChat Pay:
//!
//! | variable | meaning |
//! |---|---|
//! | `WECHATPAY_MCHID` | the caller's merchant id |
//! | `WECHATPAY_SERIAL_NO` | serial number of the merchant's API certificate |
//! | `WECHATPAY_PRIVATE_KEY` | path of the merchant's `apiclient_key.pem` |
//! | `WECHATPAY_PUBLIC_KEY_ID` | id of the WeChat Pay public key, `PUB_KEY_ID_…` |
//! | `WECHATPAY_PUBLIC_KEY` | path of the WeChat Pay public key, `pub_key.pem` |
//! | `WECHATPAY_APPID` | the mini program's AppID |
//! | `WECHATPAY_SERVICE_ID` | the password-exempt service's id |
//! | `WECHATPAY_OPENID` | the user |
//! | `WECHATPAY_NOTIFY_URL` | where WeChat Pay notifies |
//! | `WECHATPAY_OUT_CONTRACT_CODE` | the merchant's code for the contract |
//! | `WECHATPAY_DISPLAY_ACCOUNT` | the user's name on the signing page |

use std::env;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{Client, Endpoint, PrivateKey, PublicKey, Signer, Verifier, ecommerce};

const VARIABLES: [&str; 11] = [
    "WECHATPAY_MCHID",
    "WECHATPAY_SERIAL_NO",
    "WECHATPAY_PRIVATE_KEY",
    "WECHATPAY_PUBLIC_KEY_ID",
    "WECHATPAY_PUBLIC_KEY",
    "WECHATPAY_APPID",
    "WECHATPAY_SERVICE_ID",
    "WECHATPAY_OPENID",
    "WECHATPAY_NOTIFY_URL",
    "WECHATPAY_OUT_CONTRACT_CODE",
    "WECHATPAY_DISPLAY_ACCOUNT",
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let missing: Vec<_> = VARIABLES
        .into_iter()
        .filter(|name| env::var_os(name).is_none_or(|value| value.is_empty()))
        .collect();
    if missing.len() == VARIABLES.len() {
        return with_sandbox();
    }
    if !missing.is_empty() {
        return Err(format!(
            "some variables are set, but these are missing: {}; set all of them to talk to WeChat Pay, or none to use the sandbox",
            missing.join(", ")
        )
        .into());
    }
    with_wechat_pay()
}

fn with_sandbox() -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start()?;
    println!("sandbox at {}", sandbox.url());
    pre_sign(
        &sandbox.client(),
        &ecommerce::MiniProgramPreSign {
            appid: "wxd678efh567hg6787",
            service_id: 12535,
            out_contract_code: "wxwtdk20200910100000",
            notify_url: "https://yourapp.com/notify",
            contract_display_account: "微信代扣用户A",
            openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        },
    )
}

fn with_wechat_pay() -> Result<(), Box<dyn Error>> {
    let signer = Signer::new(
        variable("WECHATPAY_MCHID")?,
        variable("WECHATPAY_SERIAL_NO")?,
        PrivateKey::from_pem(file("WECHATPAY_PRIVATE_KEY")?)?,
    )?;
    let verifier = Verifier::new([PublicKey::from_pem(
        variable("WECHATPAY_PUBLIC_KEY_ID")?,
        file("WECHATPAY_PUBLIC_KEY")?,
    )?])?;
    let service_id = variable("WECHATPAY_SERVICE_ID")?;
    pre_sign(
        &Client::new(signer, verifier)?,
        &ecommerce::MiniProgramPreSign {
            appid: &variable("WECHATPAY_APPID")?,
            service_id: service_id.parse().map_err(|_| {
                format!("WECHATPAY_SERVICE_ID: found {service_id:?}: wanted a whole number")
            })?,
            out_contract_code: &variable("WECHATPAY_OUT_CONTRACT_CODE")?,
            notify_url: &variable("WECHATPAY_NOTIFY_URL")?,
            contract_display_account: &variable("WECHATPAY_DISPLAY_ACCOUNT")?,
            openid: &variable("WECHATPAY_OPENID")?,
        },
    )
}

fn pre_sign(
    client: &Client,
    pre_sign: &ecommerce::MiniProgramPreSign<'_>,
) -> Result<(), Box<dyn Error>> {
    let request = pre_sign.request()?;
    println!("request  {} {}", request.method(), request.target()?);
    println!("         {}", serde_json::to_string(pre_sign)?);
    let session = client.send(pre_sign)?;
    println!("answer   {session:?}");
    println!("launch   {}", serde_json::to_string(&session.launch())?);
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

fn file(name: &str) -> Result<Vec<u8>, String> {
    let path = variable(name)?;
    fs::read(&path).map_err(|error| format!("{name}: cannot read {path}: {error}"))
}
