//! `examples/contract.rs` as a shell sees it: environment variables and arguments, exit code and messages.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use wechatpay_contract::sandbox::{Fault, Sandbox};

use crate::raw_client::Folder;

const CODE: &str = "wxwtdk20200910100000";

/// The example, with variables for a sandbox.
pub(crate) struct Tool {
    pub(crate) sandbox: Sandbox,
    pub(crate) variables: Vec<(&'static str, String)>,
    // The key files are deleted when this is dropped.
    folder: Folder,
}

impl Tool {
    pub(crate) fn new(name: &str) -> Self {
        let sandbox = Sandbox::start().unwrap();
        let folder = Folder::new(name);
        let key = folder.write("merchant.pem", Sandbox::MERCHANT_KEY_PEM.as_bytes());
        let public_key = folder.write("platform.pem", Sandbox::PUBLIC_KEY_PEM.as_bytes());
        let variables = vec![
            ("WECHATPAY_HOST", sandbox.url().to_owned()),
            ("WECHATPAY_MCHID", Sandbox::MCHID.to_owned()),
            (
                "WECHATPAY_SERIAL_NO",
                Sandbox::MERCHANT_SERIAL_NO.to_owned(),
            ),
            ("WECHATPAY_PRIVATE_KEY", key),
            ("WECHATPAY_PUBLIC_KEY_ID", Sandbox::PUBLIC_KEY_ID.to_owned()),
            ("WECHATPAY_PUBLIC_KEY", public_key),
            ("WECHATPAY_SERVICE_ID", "12535".to_owned()),
            ("WECHATPAY_OUT_CONTRACT_CODE", CODE.to_owned()),
            ("WECHATPAY_APPID", "wxd678efh567hg6787".to_owned()),
            (
                "WECHATPAY_OPENID",
                "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".to_owned(),
            ),
            (
                "WECHATPAY_NOTIFY_URL",
                "https://yourapp.com/notify".to_owned(),
            ),
            ("WECHATPAY_DISPLAY_ACCOUNT", "微信代扣用户A".to_owned()),
        ];
        Self {
            sandbox,
            variables,
            folder,
        }
    }

    /// Changes the value of a variable.
    fn with(mut self, name: &str, value: &str) -> Self {
        for (known, old) in &mut self.variables {
            if *known == name {
                value.clone_into(old);
            }
        }
        self
    }

    fn run(&self, arguments: &[&str]) -> Run {
        run(arguments, &self.variables)
    }
}

/// The end of a run.
struct Run {
    exit_code: Option<i32>,
    output: String,
    errors: String,
}

impl Run {
    #[track_caller]
    fn assert(&self, exit_code: i32, lines: &[&str]) {
        let text = if exit_code == 0 {
            &self.output
        } else {
            &self.errors
        };
        let all = format!("{}{}", self.output, self.errors);
        assert_eq!(self.exit_code, Some(exit_code), "{all}");
        for line in lines {
            assert!(text.contains(line), "wanted {line:?} in\n{all}");
        }
    }
}

fn run(arguments: &[&str], variables: &[(&str, String)]) -> Run {
    let variables = variables.iter().map(|(name, value)| (name, value));
    let output = Command::new(program("contract"))
        .args(arguments)
        .env_clear()
        .envs(variables)
        .output()
        .unwrap();
    Run {
        exit_code: output.status.code(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `cargo test` builds the examples into the folder beside that of the tests.
pub(crate) fn program(example: &str) -> PathBuf {
    let tests = env::current_exe().unwrap();
    let profile = tests.ancestors().nth(2).unwrap();
    let program = profile.join("examples").join(example);
    let program = program.with_extension(env::consts::EXE_EXTENSION);
    assert!(
        program.exists(),
        "`cargo test --test it` builds no examples: run `cargo build --examples` first"
    );
    program
}

#[test]
fn the_tool_leads_a_contract_through_its_life() {
    let tool = Tool::new("contract_example_life");
    tool.run(&["query"])
        .assert(1, &["HTTP 404", "outcome: WeChat Pay refused"]);
    tool.run(&["pre-sign"]).assert(
        0,
        &[
            "pre-signed  wxwtdk20200910100000\n",
            "launch      {\"appId\":",
        ],
    );
    let contract_id = tool.sandbox.user_signs(CODE).unwrap();
    tool.run(&["query"])
        .assert(0, &["state       SIGNED\n", &contract_id]);
    tool.run(&["terminate", "the user moved"])
        .assert(0, &["terminated  wxwtdk20200910100000\n"]);
    tool.run(&["query"]).assert(
        0,
        &["state       TERMINATED\n", "remark      the user moved\n"],
    );
}

#[test]
fn each_outcome_has_its_exit_code_and_advice() {
    let tool = Tool::new("contract_example_outcomes");
    tool.sandbox
        .fault(Fault::error(503, "SERVICE_UNAVAILABLE").times(2));
    tool.run(&["terminate", "the user moved"]).assert(
        3,
        &[
            "outcome: the request may have taken effect\n",
            "do next: run `contract query`",
        ],
    );
    tool.run(&["pre-sign"])
        .assert(3, &["do next: run it again with the same values"]);
    tool.run(&["terminate", "the user moved"]).assert(
        1,
        &[
            "HTTP 400 INVALID_REQUEST",
            "outcome: WeChat Pay refused the request\n",
            "Request-ID: ",
        ],
    );
    let request_id = "Request-ID: none\n";
    tool.run(&["terminate", ""])
        .assert(1, &["outcome: nothing was sent\n", request_id]);
}

#[test]
fn a_response_signed_with_another_key_is_refused() {
    let tool = Tool::new("contract_example_unverified").with(
        "WECHATPAY_PUBLIC_KEY",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/platform/public.pem"),
    );
    tool.run(&["pre-sign"]).assert(
        3,
        &["because: the signature is wrong for platform key PUB_KEY_ID_"],
    );
}

#[test]
fn a_wrong_environment_is_named() {
    let path = "/there/is/no/such.pem";
    let tool = Tool::new("contract_example_environment").with("WECHATPAY_PRIVATE_KEY", path);
    tool.run(&["query"])
        .assert(2, &["error: \"/there/is/no/such.pem\": "]);
    let tool = tool.with("WECHATPAY_PRIVATE_KEY", "");
    tool.run(&["query"])
        .assert(2, &["WECHATPAY_PRIVATE_KEY is not set: see --help"]);
    let key = tool.folder.path().join("platform.pem");
    let tool = tool.with("WECHATPAY_PRIVATE_KEY", key.to_str().unwrap());
    tool.run(&["query"])
        .assert(2, &["platform.pem\": found BEGIN PUBLIC KEY: wanted"]);
    assert!(tool.sandbox.requests().is_empty());
}

#[test]
fn the_exit_code_of_the_self_test_is_that_of_its_report() {
    let tool = Tool::new("contract_example_self_test");
    tool.run(&["self-test"])
        .assert(0, &["request signature: accepted"]);
    let other_key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa2048_pkcs8.pem");
    let failed = tool
        .with("WECHATPAY_PRIVATE_KEY", other_key)
        .run(&["self-test"]);
    failed.assert(1, &[]);
    assert!(failed.output.contains("FAILED    request signature"));
}

#[test]
fn a_wrong_command_line_shows_the_right_one() {
    for arguments in [
        &[][..],
        &["sign"],
        &["query", "wxwtdk20200910100000"],
        &["terminate"],
        &["terminate", "the", "user"],
        &["query", "--sandbox"],
    ] {
        run(arguments, &[]).assert(2, &["usage: contract [--sandbox] pre-sign | query"]);
    }
}

#[test]
fn a_sandbox_of_its_own_needs_no_environment() {
    run(&["--sandbox", "pre-sign"], &[]).assert(0, &["pre-signed  "]);
    run(&["--sandbox", "query"], &[]).assert(0, &["state       SIGNED\n"]);
    run(&["--sandbox", "terminate", "bye"], &[]).assert(0, &["terminated  "]);
    run(&["--sandbox", "self-test"], &[]).assert(0, &["echo: "]);
}
