//! A command-line tool for one contract: it pre-signs, queries and terminates, and tests keys and connection.
//!
//! ```sh
//! cargo run --example contract -- pre-sign
//! cargo run --example contract -- query
//! cargo run --example contract -- terminate "the user moved"
//! cargo run --example contract -- self-test
//! ```
//!
//! With `--sandbox` before the command a sandbox of its own plays WeChat Pay, and the user where one is needed; no variable
//! is read then. Otherwise these environment variables are:
//!
//! | variable | for | meaning |
//! |---|---|---|
//! | `WECHATPAY_MCHID` | all commands | the caller's merchant id |
//! | `WECHATPAY_SERIAL_NO` | all commands | serial number of the merchant's API certificate |
//! | `WECHATPAY_PRIVATE_KEY` | all commands | path of the merchant's `apiclient_key.pem` |
//! | `WECHATPAY_PUBLIC_KEY_ID` | all commands | id of the WeChat Pay public key, `PUB_KEY_ID_…` |
//! | `WECHATPAY_PUBLIC_KEY` | all commands | path of the WeChat Pay public key, `pub_key.pem` |
//! | `WECHATPAY_API_V3_KEY` | all commands | the APIv3 key, for a merchant with platform certificates; the two above may be left out then |
//! | `WECHATPAY_SERVICE_ID` | all but `self-test` | the password-exempt service's id |
//! | `WECHATPAY_OUT_CONTRACT_CODE` | all but `self-test` | the merchant's code for the contract |
//! | `WECHATPAY_APPID` | `pre-sign` | the mini program's AppID |
//! | `WECHATPAY_OPENID` | `pre-sign` | the user |
//! | `WECHATPAY_NOTIFY_URL` | `pre-sign` | where WeChat Pay notifies |
//! | `WECHATPAY_DISPLAY_ACCOUNT` | `pre-sign` | the user's name on the signing page |
//! | `WECHATPAY_HOST` | nothing | another host than WeChat Pay's, such as that of `cargo run --example sandbox` |
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | not done: nothing was sent, or WeChat Pay refused |
//! | 2 | the command line or the environment is not right; nothing was sent |
//! | 3 | it may have been done, or not |

use std::env;
use std::error::Error as _;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::iter;
use std::process::ExitCode;

use serde_json::json;
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    ApiV3Key, Client, Error, KeyError, Outcome, PrivateKey, PublicKey, QueryContract, Signer,
    TerminateContract, TerminationMode, Verifier, ecommerce,
};

const USAGE: &str = "usage: contract [--sandbox] pre-sign | query | terminate REMARK | self-test";

const MERCHANT: [&str; 3] = [
    "WECHATPAY_MCHID",
    "WECHATPAY_SERIAL_NO",
    "WECHATPAY_PRIVATE_KEY",
];
const PUBLIC_KEY: [&str; 2] = ["WECHATPAY_PUBLIC_KEY_ID", "WECHATPAY_PUBLIC_KEY"];
const API_V3_KEY: &str = "WECHATPAY_API_V3_KEY";
const CONTRACT: [&str; 2] = ["WECHATPAY_SERVICE_ID", "WECHATPAY_OUT_CONTRACT_CODE"];
const TERMS: [&str; 4] = [
    "WECHATPAY_APPID",
    "WECHATPAY_OPENID",
    "WECHATPAY_NOTIFY_URL",
    "WECHATPAY_DISPLAY_ACCOUNT",
];

#[derive(PartialEq)]
enum Command {
    PreSign,
    Query,
    Terminate { remark: String },
    SelfTest,
}

/// Why a command was not carried out.
enum Failure {
    /// Nothing could be called.
    Setup(String),
    Call(Error),
    /// The report has said it all.
    SelfTest,
}

/// Where the value of a variable comes from.
type Values = fn(&str) -> String;

fn main() -> ExitCode {
    let Some((sandbox, command)) = parse(env::args_os().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let result = if sandbox {
        command.run_in_sandbox()
    } else {
        command.run_with_wechat_pay()
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(&command);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Whether to use a sandbox, and the command.
fn parse(arguments: impl Iterator<Item = OsString>) -> Option<(bool, Command)> {
    let arguments: Vec<_> = arguments
        .map(OsString::into_string)
        .collect::<Result<_, _>>()
        .ok()?;
    let mut words = arguments.iter().map(String::as_str).peekable();
    let sandbox = words.next_if_eq(&"--sandbox").is_some();
    let command = match (words.next()?, words.next(), words.next()) {
        ("pre-sign", None, _) => Command::PreSign,
        ("query", None, _) => Command::Query,
        ("terminate", Some(remark), None) => Command::Terminate {
            remark: remark.to_owned(),
        },
        ("self-test", None, _) => Command::SelfTest,
        _ => return None,
    };
    Some((sandbox, command))
}

impl Command {
    /// The variables that the command needs.
    fn variables(&self) -> Vec<&'static str> {
        let mut names = MERCHANT.to_vec();
        if environment(API_V3_KEY).is_empty() || !PUBLIC_KEY.map(environment).concat().is_empty() {
            names.extend(PUBLIC_KEY);
        }
        if *self != Self::SelfTest {
            names.extend(CONTRACT);
        }
        if *self == Self::PreSign {
            names.extend(TERMS);
        }
        names
    }

    fn run_with_wechat_pay(&self) -> Result<(), Failure> {
        let mut missing = self.variables();
        missing.retain(|name| environment(name).is_empty());
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Failure::Setup(format!(
                "missing environment variables: {missing}; or try --sandbox, which needs none"
            )));
        }
        self.run(&client()?, environment)
    }

    fn run_in_sandbox(&self) -> Result<(), Failure> {
        let sandbox = Sandbox::start().map_err(|error| Failure::Setup(error.to_string()))?;
        show("sandbox", sandbox.url());
        let client = sandbox.client();
        if let Self::Query | Self::Terminate { .. } = self {
            pre_sign(&client, sandbox_value)?;
            let signed = sandbox.user_signs(&sandbox_value("WECHATPAY_OUT_CONTRACT_CODE"));
            let contract_id = signed.map_err(|error| Failure::Setup(error.to_string()))?;
            show("signed", contract_id);
        }
        self.run(&client, sandbox_value)
    }

    fn run(&self, client: &Client, values: Values) -> Result<(), Failure> {
        match self {
            Self::PreSign => pre_sign(client, values),
            Self::Query => query(client, values),
            Self::Terminate { remark } => terminate(client, values, remark),
            Self::SelfTest => self_test(client),
        }
    }
}

fn pre_sign(client: &Client, values: Values) -> Result<(), Failure> {
    let session = client.send(&ecommerce::MiniProgramPreSign {
        appid: &values("WECHATPAY_APPID"),
        service_id: service_id(values)?,
        out_contract_code: &values("WECHATPAY_OUT_CONTRACT_CODE"),
        notify_url: &values("WECHATPAY_NOTIFY_URL"),
        contract_display_account: &values("WECHATPAY_DISPLAY_ACCOUNT"),
        openid: &values("WECHATPAY_OPENID"),
    })?;
    show("pre-signed", &session.out_contract_code);
    // Plain data, so that writing it cannot fail.
    show("launch", json!(session.launch()));
    Ok(())
}

fn query(client: &Client, values: Values) -> Result<(), Failure> {
    let contract = client.send(&QueryContract {
        service_id: service_id(values)?,
        out_contract_code: &values("WECHATPAY_OUT_CONTRACT_CODE"),
    })?;
    show("state", contract.contract_state);
    show("contract", contract.contract_id);
    show(
        "signed at",
        contract.contract_signed_time.unwrap_or_default(),
    );
    if let Some(end) = contract.contract_terminate_info {
        show("ended at", end.contract_terminated_time.unwrap_or_default());
        let mode = end.contract_termination_mode.as_ref();
        show("ended by", mode.map_or("", TerminationMode::as_str));
        show(
            "remark",
            end.contract_termination_remark.unwrap_or_default(),
        );
    }
    Ok(())
}

fn terminate(client: &Client, values: Values, remark: &str) -> Result<(), Failure> {
    let terminated = client.send(&TerminateContract {
        service_id: service_id(values)?,
        out_contract_code: &values("WECHATPAY_OUT_CONTRACT_CODE"),
        contract_termination_remark: remark,
    })?;
    show("terminated", terminated.out_contract_code);
    Ok(())
}

fn self_test(client: &Client) -> Result<(), Failure> {
    let report = client.self_test();
    let _ = writeln!(io::stdout(), "{report}");
    if report.is_success() {
        return Ok(());
    }
    Err(Failure::SelfTest)
}

fn show(label: &str, value: impl Display) {
    // That nobody reads it, as behind `| head`, changes nothing about what was done.
    let _ = writeln!(io::stdout(), "{label:<12}{value}");
}

impl Failure {
    fn report(&self, command: &Command) {
        match self {
            Self::Setup(problem) => eprintln!("error       {problem}"),
            Self::Call(error) => report(error, command),
            Self::SelfTest => {}
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Setup(_) => 2,
            Self::SelfTest => 1,
            Self::Call(error) => match error.outcome() {
                Outcome::NotSent | Outcome::Refused => 1,
                Outcome::Unknown => 3,
            },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

/// What happened, whether it may have taken effect, what to do, and the id for WeChat Pay's support.
fn report(error: &Error, command: &Command) {
    eprintln!("error       {error}");
    for cause in iter::successors(error.source(), |&error| error.source()) {
        eprintln!("  because   {cause}");
    }
    eprintln!("outcome     {}", error.outcome());
    if let Error::Unverified { .. } = error {
        eprintln!(
            "check       that WECHATPAY_PUBLIC_KEY and WECHATPAY_PUBLIC_KEY_ID belong together"
        );
    }
    eprintln!("do next     {}", advice(error, command));
    eprintln!("Request-ID  {}", error.request_id().unwrap_or("none"));
}

fn advice(error: &Error, command: &Command) -> &'static str {
    match (error, error.outcome(), command) {
        (Error::Api(answer), ..) if answer.status == 401 => {
            "check that WECHATPAY_MCHID, WECHATPAY_SERIAL_NO and WECHATPAY_PRIVATE_KEY belong together, and the clock"
        }
        (Error::Api(answer), ..) if answer.status == 403 => {
            "ask WeChat Pay for the permission to make this call"
        }
        (Error::Api(answer), ..) if answer.status == 404 => {
            "check WECHATPAY_SERVICE_ID and WECHATPAY_OUT_CONTRACT_CODE, and whether the user has signed"
        }
        (Error::Api(answer), ..) if answer.status == 429 => "wait a while, then run it again",
        (_, Outcome::NotSent, _) => "mend what is named above, then run it again",
        (_, Outcome::Refused, _) => "mend what WeChat Pay names, then run it again",
        // Inferred, not documented: a contract exists only when the user signs it.
        (_, Outcome::Unknown, Command::PreSign) => {
            "run it again with the same values: that should do no harm"
        }
        (_, Outcome::Unknown, Command::Terminate { .. }) => {
            "run `contract query`, and this again only if the contract is still in force"
        }
        (_, Outcome::Unknown, _) => "run it again: it changes nothing",
    }
}

fn client() -> Result<Client, Failure> {
    let private_key = key("WECHATPAY_PRIVATE_KEY", PrivateKey::from_pem)?;
    let public_key = match environment("WECHATPAY_PUBLIC_KEY_ID") {
        id if id.is_empty() => None,
        id => Some(key("WECHATPAY_PUBLIC_KEY", |pem| {
            PublicKey::from_pem(id, pem)
        })?),
    };
    connect(private_key, public_key).map_err(|error| Failure::Setup(error.to_string()))
}

fn connect(private_key: PrivateKey, public_key: Option<PublicKey>) -> Result<Client, Error> {
    let signer = Signer::new(
        environment("WECHATPAY_MCHID"),
        environment("WECHATPAY_SERIAL_NO"),
        private_key,
    )?;
    let verifier = match public_key {
        Some(key) => Verifier::new([key])?,
        None => Verifier::without_keys(),
    };
    let mut builder = Client::builder(signer, verifier);
    let (api_v3_key, host) = (environment(API_V3_KEY), environment("WECHATPAY_HOST"));
    if !api_v3_key.is_empty() {
        builder = builder.platform_certificates(ApiV3Key::new(api_v3_key)?);
    }
    if !host.is_empty() {
        builder = builder.host(host);
    }
    builder.build()
}

/// Reads a key from the file that the variable `name` names.
fn key<K>(name: &str, parse: impl FnOnce(Vec<u8>) -> Result<K, KeyError>) -> Result<K, Failure> {
    let path = environment(name);
    let problem = match fs::read(&path).map(parse) {
        Ok(Ok(key)) => return Ok(key),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(Failure::Setup(format!("{name}: {path}: {problem}")))
}

fn service_id(values: Values) -> Result<u64, Failure> {
    let text = values("WECHATPAY_SERVICE_ID");
    text.parse().map_err(|_| {
        Failure::Setup(format!(
            "WECHATPAY_SERVICE_ID: found {text:?}: wanted a whole number"
        ))
    })
}

fn environment(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn sandbox_value(name: &str) -> String {
    match name {
        "WECHATPAY_APPID" => "wxd678efh567hg6787",
        "WECHATPAY_SERVICE_ID" => "12535",
        "WECHATPAY_OPENID" => "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        "WECHATPAY_NOTIFY_URL" => "https://yourapp.com/notify",
        "WECHATPAY_OUT_CONTRACT_CODE" => "wxwtdk20200910100000",
        "WECHATPAY_DISPLAY_ACCOUNT" => "微信代扣用户A",
        _ => "",
    }
    .to_owned()
}
