//! Pre-signs a contract for a user of an e-commerce platform's mini program.
//!
//! Run it by `cargo run --example pre_sign`. If none of these environment variables is set, it talks to the sandbox, a
//! gateway on this machine that simulates WeChat Pay. Without the feature `sandbox` it then only shows the request. If
//! any is set, it talks to WeChat Pay:
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
//! | `WECHATPAY_OPENID` | the user's openid |
//! | `WECHATPAY_NOTIFY_URL` | the URL to which WeChat Pay sends notifications |
//! | `WECHATPAY_OUT_CONTRACT_CODE` | the merchant's code for the contract |
//! | `WECHATPAY_DISPLAY_ACCOUNT` | the user's name on the signing page |

#[macro_use]
mod common;

use std::error::Error;
use std::process::ExitCode;

use common::variable;
use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::{Client, Endpoint, PrivateKey, PublicKey, Signer, Verifier};

fn main() -> ExitCode {
    common::main(include_str!("pre_sign.rs"), || {
        if common::is_configured() {
            with_wechat_pay()
        } else {
            with_sandbox(&MiniProgramPreSign {
                appid: "wxd678efh567hg6787",
                service_id: 12535,
                out_contract_code: "wxwtdk20200910100000",
                notify_url: "https://yourapp.com/notify",
                contract_display_account: "微信代扣用户A",
                openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            })
        }
    })
}

fn with_wechat_pay() -> Result<(), Box<dyn Error>> {
    let private_key = PrivateKey::from_file(variable("WECHATPAY_PRIVATE_KEY")?)?;
    let (mchid, serial) = (
        variable("WECHATPAY_MCHID")?,
        variable("WECHATPAY_SERIAL_NO")?,
    );
    let id = variable("WECHATPAY_PUBLIC_KEY_ID")?;
    let public_key = PublicKey::from_file(id, variable("WECHATPAY_PUBLIC_KEY")?)?;
    let signer = Signer::new(mchid, serial, private_key)?;
    let client = Client::new(signer, Verifier::new([public_key])?)?;
    pre_sign(
        &client,
        &MiniProgramPreSign {
            appid: &variable("WECHATPAY_APPID")?,
            service_id: common::number("WECHATPAY_SERVICE_ID")?,
            out_contract_code: &variable("WECHATPAY_OUT_CONTRACT_CODE")?,
            notify_url: &variable("WECHATPAY_NOTIFY_URL")?,
            contract_display_account: &variable("WECHATPAY_DISPLAY_ACCOUNT")?,
            openid: &variable("WECHATPAY_OPENID")?,
        },
    )
}

#[cfg(feature = "sandbox")]
fn with_sandbox(request: &MiniProgramPreSign<'_>) -> Result<(), Box<dyn Error>> {
    let sandbox = wechatpay_contract::sandbox::Sandbox::start()?;
    say!("sandbox  {}", sandbox.url());
    pre_sign(&sandbox.client(), request)
}

#[cfg(not(feature = "sandbox"))]
fn with_sandbox(request: &MiniProgramPreSign<'_>) -> Result<(), Box<dyn Error>> {
    say!("not sent: add `--features sandbox`, or set the variables that --help lists");
    show(request)
}

fn pre_sign(client: &Client, request: &MiniProgramPreSign<'_>) -> Result<(), Box<dyn Error>> {
    show(request)?;
    let session = client.send(request)?;
    say!("response {session:?}");
    say!("launch   {}", serde_json::to_string(&session.launch())?);
    Ok(())
}

fn show(request: &MiniProgramPreSign<'_>) -> Result<(), Box<dyn Error>> {
    let http = request.request()?;
    say!("request  {} {}", http.method(), http.target()?);
    say!("         {}", serde_json::to_string(request)?);
    Ok(())
}
