//! A command-line tool for one contract: it pre-signs, queries and terminates, and tests keys and connection.
//!
//! ```sh
//! cargo run --example contract -- pre-sign
//! cargo run --example contract -- query
//! cargo run --example contract -- terminate "the user moved"
//! cargo run --example contract -- self-test
//! ```
//!
//! With `--sandbox` before the command it starts a sandbox that simulates WeChat Pay and the user, and reads no
//! variable. Otherwise it reads these environment variables:
//!
//! | variable | for | meaning |
//! |---|---|---|
//! | `WECHATPAY_MCHID` | all commands | the caller's merchant id |
//! | `WECHATPAY_SERIAL_NO` | all commands | serial number of the merchant's API certificate |
//! | `WECHATPAY_PRIVATE_KEY` | all commands | path of the merchant's `apiclient_key.pem` |
//! | `WECHATPAY_PUBLIC_KEY_ID` | all commands | id of the WeChat Pay public key, `PUB_KEY_ID_…` |
//! | `WECHATPAY_PUBLIC_KEY` | all commands | path of the WeChat Pay public key, `pub_key.pem` |
//! | `WECHATPAY_API_V3_KEY` | all commands | instead of the two above: the APIv3 key, in platform-certificate mode |
//! | `WECHATPAY_SERVICE_ID` | all but `self-test` | the password-exempt service's id |
//! | `WECHATPAY_OUT_CONTRACT_CODE` | all but `self-test` | the merchant's code for the contract |
//! | `WECHATPAY_APPID` | `pre-sign` | the mini program's AppID |
//! | `WECHATPAY_OPENID` | `pre-sign` | the user's openid |
//! | `WECHATPAY_NOTIFY_URL` | `pre-sign` | the URL to which WeChat Pay sends notifications |
//! | `WECHATPAY_DISPLAY_ACCOUNT` | `pre-sign` | the user's name on the signing page |
//! | `WECHATPAY_HOST` | optional | another host, such as that of `cargo run --example sandbox` |
//!
//! Exit codes: 0 if it is done, 1 if the call could not be sent, WeChat Pay refused it or the self-test failed, 2 if
//! the command line or the environment is wrong, 3 if it may have been done.

#[macro_use]
mod common;
#[path = "common/credentials.rs"]
mod credentials;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use serde_json::json;
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    Client, Outcome, QueryContract, TerminateContract, TerminationMode, ecommerce,
};

const USAGE: &str = "usage: contract [--sandbox] pre-sign | query | terminate REMARK | self-test";

/// Looks up a variable.
type Values = fn(&str) -> Result<String, String>;

fn main() -> ExitCode {
    if common::is_help_wanted() {
        common::help(include_str!("contract.rs"));
        return ExitCode::SUCCESS;
    }
    let words = env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned());
    let mut words: Vec<_> = words.collect();
    let sandbox = words.first().is_some_and(|word| word == "--sandbox");
    words.drain(..usize::from(sandbox));
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["pre-sign" | "query" | "self-test"] | ["terminate", _] if sandbox => in_sandbox(&words),
        ["pre-sign" | "query" | "self-test"] | ["terminate", _] => with_wechat_pay(&words),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            common::report(&*error);
            let error = error.downcast_ref::<wechatpay_contract::Error>();
            error.map_or_else(|| ExitCode::from(2), |error| advise(error, &words))
        }
    }
}

fn with_wechat_pay(words: &[&str]) -> Result<bool, Box<dyn Error>> {
    let client = credentials::client().map_err(|error| error.to_string())?;
    run(words, &client, common::variable)
}

fn in_sandbox(words: &[&str]) -> Result<bool, Box<dyn Error>> {
    let sandbox = Sandbox::start()?;
    show("sandbox", sandbox.url());
    let client = sandbox.client();
    if let ["query"] | ["terminate", _] = words {
        run(&["pre-sign"], &client, sample)?;
        let signed = sandbox.user_signs(&sample("WECHATPAY_OUT_CONTRACT_CODE")?);
        show("signed", &signed?);
    }
    run(words, &client, sample)
}

fn sample(name: &str) -> Result<String, String> {
    let value = match name {
        "WECHATPAY_APPID" => "wxd678efh567hg6787",
        "WECHATPAY_SERVICE_ID" => "12535",
        "WECHATPAY_OPENID" => "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        "WECHATPAY_NOTIFY_URL" => "https://yourapp.com/notify",
        "WECHATPAY_OUT_CONTRACT_CODE" => "wxwtdk20200910100000",
        _ => "微信代扣用户A",
    };
    Ok(value.to_owned())
}

fn run(words: &[&str], client: &Client, value: Values) -> Result<bool, Box<dyn Error>> {
    if words == ["self-test"] {
        let report = client.self_test();
        say!("{report}");
        return Ok(report.is_success());
    }
    let code = value("WECHATPAY_OUT_CONTRACT_CODE")?;
    let id = value("WECHATPAY_SERVICE_ID")?;
    let id = id
        .parse()
        .map_err(|_| format!("WECHATPAY_SERVICE_ID: found {id:?}: wanted a whole number"))?;
    match words {
        ["query"] => query(client, &code, id),
        ["terminate", remark] => terminate(client, &code, id, remark),
        _ => pre_sign(client, &code, id, value),
    }
}

fn pre_sign(
    client: &Client,
    code: &str,
    service_id: u64,
    value: Values,
) -> Result<bool, Box<dyn Error>> {
    let session = client.send(&ecommerce::MiniProgramPreSign {
        appid: &value("WECHATPAY_APPID")?,
        service_id,
        out_contract_code: code,
        notify_url: &value("WECHATPAY_NOTIFY_URL")?,
        contract_display_account: &value("WECHATPAY_DISPLAY_ACCOUNT")?,
        openid: &value("WECHATPAY_OPENID")?,
    })?;
    show("pre-signed", &session.out_contract_code);
    show("launch", &json!(session.launch()).to_string());
    Ok(true)
}

fn query(client: &Client, code: &str, service_id: u64) -> Result<bool, Box<dyn Error>> {
    let contract = client.send(&QueryContract {
        service_id,
        out_contract_code: code,
    })?;
    show("state", contract.contract_state.as_str());
    show("contract", &contract.contract_id);
    show(
        "signed at",
        &contract.contract_signed_time.unwrap_or_default(),
    );
    if let Some(end) = contract.contract_terminate_info {
        let mode = end.contract_termination_mode.as_ref();
        show("ended by", mode.map_or("", TerminationMode::as_str));
        show(
            "remark",
            &end.contract_termination_remark.unwrap_or_default(),
        );
    }
    Ok(true)
}

fn terminate(
    client: &Client,
    code: &str,
    service_id: u64,
    remark: &str,
) -> Result<bool, Box<dyn Error>> {
    let terminated = client.send(&TerminateContract {
        service_id,
        out_contract_code: code,
        contract_termination_remark: remark,
    })?;
    show("terminated", &terminated.out_contract_code);
    Ok(true)
}

fn show(label: &str, value: &str) {
    say!("{label:<12}{value}");
}

/// Prints the outcome of a failed call, what to do next, and the id that WeChat Pay's support asks for.
fn advise(error: &wechatpay_contract::Error, words: &[&str]) -> ExitCode {
    let (advice, exit_code) = match (error.outcome(), words) {
        (Outcome::NotSent, _) => ("correct what is named above, then run it again", 1),
        (Outcome::Refused, _) => ("correct what WeChat Pay names, then run it again", 1),
        (Outcome::Unknown, ["terminate", _]) => ("run `contract query` first, then this again", 3),
        // Inferred: pre-signing again does no harm, since a contract exists only after the user signs.
        (Outcome::Unknown, _) => ("run it again with the same values", 3),
    };
    warn!("outcome: {}", error.outcome());
    warn!("do next: {advice}");
    warn!("Request-ID: {}", error.request_id().unwrap_or("none"));
    ExitCode::from(exit_code)
}
