//! All examples as processes: `--help`, and output that nobody reads.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::contract_example::program;

fn run(example: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program(example));
    command.env_clear().args(arguments);
    command
}

#[test]
fn each_example_prints_its_help() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let example = path.file_stem().unwrap().to_str().unwrap();
        let output = run(example, &["--help"]).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let first = source.lines().next().unwrap().strip_prefix("//! ").unwrap();
        assert!(help.starts_with(first), "{example}: {help}");
        assert_eq!(output.status.code(), Some(0), "{example}");
        count += 1;
    }
    assert!(count >= 7, "{count}");
}

#[test]
fn examples_end_quietly_when_nobody_reads_their_output() {
    for (example, arguments, code) in [
        ("pre_sign", &[][..], 0),
        ("pre_sign", &["--help"], 0),
        ("contract_lifecycle", &[], 0),
        ("recovery", &[], 0),
        ("self_test", &[], 0),
        ("contract", &["--sandbox", "query"], 0),
        ("contract", &[], 2),
        ("notify_server", &[], 1),
    ] {
        let mut command = run(example, arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        // A panic has the exit code 101.
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{example} {arguments:?}");
    }
}
