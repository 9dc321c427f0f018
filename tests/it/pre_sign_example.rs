//! `examples/pre_sign.rs` as a shell sees it: environment variables, exit code and messages.

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
fn an_environment_with_half_of_the_variables_does_not_select_the_sandbox() {
    let output = run(&[
        ("WECHATPAY_MCHID", "1900000109"),
        // An empty variable counts as not set.
        ("WECHATPAY_PRIVATE_KEY", ""),
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        errors,
        "error: WECHATPAY_PRIVATE_KEY is not set: see --help\n"
    );
}

#[test]
fn the_sandbox_is_used_without_variables() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("sandbox  http://127.0.0.1:"), "{text}");
    assert!(text.contains("\nlaunch   {\"appId\":"), "{text}");
    assert!(output.stderr.is_empty(), "{text}");
}
