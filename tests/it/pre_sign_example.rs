//! `examples/pre_sign.rs` as a shell sees it: environment variables in, exit code and messages out.

use std::process::{Command, Output};

use crate::contract_example::program;

fn run(variables: &[(&str, &str)]) -> Output {
    Command::new(program("pre_sign"))
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn variables_that_are_set_by_half_are_no_wish_for_the_sandbox() {
    let output = run(&[
        ("WECHATPAY_MCHID", "1900000109"),
        ("WECHATPAY_PRIVATE_KEY", "/there/is/no/such.pem"),
        // Empty is not set.
        ("WECHATPAY_OPENID", ""),
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: some variables are set, but these are missing: WECHATPAY_SERIAL_NO, \
         WECHATPAY_PUBLIC_KEY_ID, WECHATPAY_PUBLIC_KEY, WECHATPAY_APPID, WECHATPAY_SERVICE_ID, \
         WECHATPAY_OPENID, WECHATPAY_NOTIFY_URL, WECHATPAY_OUT_CONTRACT_CODE, \
         WECHATPAY_DISPLAY_ACCOUNT; set all of them to talk to WeChat Pay, or none to use the sandbox\n"
    );
}

#[test]
fn without_variables_it_talks_to_the_sandbox() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("sandbox at http://127.0.0.1:"), "{text}");
    assert!(text.contains("\nlaunch   {\"appId\":"), "{text}");
    assert!(output.stderr.is_empty(), "{text}");
}
