//! `examples/sandbox.rs` as a process: its options, and a client that knows no more than its line of JSON, signs and
//! verifies with the `openssl` command, speaks through a socket, and shares no code with the crate.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::contract_example::program;
use crate::raw_client::{Folder, PRE_SIGN_PATH, RawClient, RawResponse, now, pre_sign_body};
use crate::support::{command, installed};

/// The running example.
struct Process(Child);

impl Process {
    /// Starts it, and returns its line of JSON too.
    fn start(arguments: &[&str]) -> (Self, Value) {
        let mut command = Command::new(program("sandbox"));
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let process = Self(child);
        let line = stdout.lines().next().unwrap().unwrap();
        (process, serde_json::from_str(&line).unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a shell script has: files, names, and the programs on the machine.
struct Shell {
    folder: Folder,
    description: Value,
    _process: Process,
}

impl Shell {
    fn get(&self, name: &str) -> &str {
        self.description[name].as_str().unwrap()
    }

    /// `openssl dgst -sha256 -sign`, then base64, over the five lines.
    fn authorization(&self, method: &str, target: &str, body: &str) -> String {
        let (time, nonce) = (now(), "593BEC0C930BF1AFEB40B4A08C8FB242");
        let message = format!("{method}\n{target}\n{time}\n{nonce}\n{body}\n");
        let sign = ["dgst", "-sha256", "-sign", self.get("merchant_key")];
        let signature = command("openssl", &sign, message.as_bytes());
        let signature = command("openssl", &["base64", "-A"], &signature);
        let signature = String::from_utf8(signature).unwrap();
        let (mchid, serial_no) = (self.get("mchid"), self.get("merchant_serial_no"));
        format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{mchid}\",nonce_str=\"{nonce}\",signature=\"{signature}\",\
             timestamp=\"{time}\",serial_no=\"{serial_no}\""
        )
    }

    fn call(&self, raw: &mut RawClient, method: &str, target: &str, body: &str) -> RawResponse {
        let authorization = self.authorization(method, target, body);
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Accept", "application/json"),
            ("User-Agent", "openssl"),
            ("Content-Type", "application/json"),
            ("Wechatpay-Serial", self.get("public_key_id")),
        ];
        raw.send(method, target, &headers, body.as_bytes());
        raw.response()
    }

    /// `openssl dgst -sha256 -verify` over time, nonce and body.
    fn verifies(&self, response: &RawResponse) -> bool {
        let header = |name| response.header(name).unwrap();
        assert_eq!(header("wechatpay-serial"), self.get("public_key_id"));
        let signature = header("wechatpay-signature").as_bytes();
        let signature = command("openssl", &["base64", "-d", "-A"], signature);
        let signature = self.folder.write("signature", &signature);
        let (time, nonce) = (header("wechatpay-timestamp"), header("wechatpay-nonce"));
        let head = format!("{time}\n{nonce}\n");
        let message = [head.as_bytes(), &response.body, b"\n"].concat();
        let message = self.folder.write("message", &message);
        let output = Command::new("openssl")
            .args(["dgst", "-sha256", "-verify", self.get("public_key")])
            .args(["-signature", &signature, &message])
            .output()
            .unwrap();
        output.status.success()
    }
}

#[test]
fn a_client_made_of_openssl_and_a_socket_gets_along() {
    if !installed("openssl") {
        return;
    }
    let folder = Folder::new("openssl-client");
    let (process, description) = Process::start(&["--keys", folder.path().to_str().unwrap()]);
    let shell = Shell {
        folder,
        description,
        _process: process,
    };
    let mut raw = RawClient::connect_to(shell.get("url"));

    let body = pre_sign_body("code1").to_string();
    let mut response = shell.call(&mut raw, "POST", PRE_SIGN_PATH, &body);
    assert_eq!(response.status, 200);
    assert!(shell.verifies(&response));

    let code = json!({"out_contract_code": "code1"}).to_string();
    raw.send("POST", "/sandbox/sign", &[], code.as_bytes());
    let contract_id = raw.response().json()["contract_id"].clone();
    let target = "/v3/password-exempt-contract/contracts/service-id/12535/out-contract-code/code1";
    let contract = shell.call(&mut raw, "GET", target, "");
    assert!(shell.verifies(&contract));
    assert_eq!(contract.json()["contract_id"], contract_id);

    response.body[0] ^= 1;
    assert!(!shell.verifies(&response));

    let certificate = ["x509", "-noout", "-serial", "-in", shell.get("certificate")];
    let serial = String::from_utf8(command("openssl", &certificate, b"")).unwrap();
    let expected = format!("serial={}\n", shell.get("certificate_serial_no"));
    assert_eq!(serial, expected);
    let listed = shell.call(&mut raw, "GET", "/v3/certificates", "").json();
    let listed = &listed["data"][0]["serial_no"];
    assert_eq!(listed, shell.get("certificate_serial_no"));

    let authorization = shell.authorization("POST", PRE_SIGN_PATH, "another body");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Accept", "application/json"),
        ("User-Agent", "openssl"),
        ("Content-Type", "application/json"),
    ];
    raw.send("POST", PRE_SIGN_PATH, &headers, body.as_bytes());
    assert_eq!(raw.response().refusal(), (401, "SIGN_ERROR".to_owned()));
}

#[test]
fn the_line_names_files_absolutely() {
    let relative = format!("target/sandbox-keys-{}", std::process::id());
    let (_process, description) = Process::start(&["--keys", &relative]);
    for (name, start) in [
        ("merchant_key", "-----BEGIN PRIVATE KEY-----\n"),
        ("public_key", "-----BEGIN PUBLIC KEY-----\n"),
        ("certificate", "-----BEGIN CERTIFICATE-----\n"),
        ("api_v3_key", ""),
    ] {
        let path = Path::new(description[name].as_str().unwrap());
        assert!(path.is_absolute(), "{path:?}");
        let content = fs::read_to_string(path).unwrap();
        assert!(content.starts_with(start) && content.len() >= 32, "{name}");
    }
    fs::remove_dir_all(relative).unwrap();
}

#[test]
fn a_snapshot_is_loaded_at_the_same_port() {
    let folder = Folder::new("sandbox-seed");
    let keys = folder.path().to_str().unwrap();
    let (first, description) = Process::start(&["--keys", keys]);
    let url = description["url"].as_str().unwrap();
    let mut raw = RawClient::connect_to(url);
    raw.send("POST", "/sandbox/clock", &[], br#"{"offset_seconds": 42}"#);
    assert_eq!(raw.response().status, 200);
    raw.send("GET", "/sandbox/snapshot", &[], b"");
    let snapshot = raw.response();
    let seed = folder.write("seed.json", &snapshot.body);
    drop((raw, first));

    let port = url.rsplit(':').next().unwrap();
    let (_second, again) = Process::start(&["--keys", keys, "--port", port, "--seed", &seed]);
    assert_eq!(again, description);
    let mut raw = RawClient::connect_to(url);
    raw.send("GET", "/sandbox/snapshot", &[], b"");
    assert_eq!(raw.response().json(), snapshot.json());
}

#[test]
fn the_page_runs_its_own_script_only_and_is_served_to_its_own_origin_only() {
    let folder = Folder::new("sandbox-page");
    let (_process, description) = Process::start(&["--keys", folder.path().to_str().unwrap()]);
    let url = description["url"].as_str().unwrap();
    assert_eq!(description["page"], format!("{url}/sandbox/"));
    let mut raw = RawClient::connect_to(url);
    let mut nonces = Vec::new();
    for _ in 0..2 {
        raw.send("GET", "/sandbox/", &[("Sec-Fetch-Site", "none")], b"");
        let page = raw.response();
        let policy = page.header("content-security-policy").unwrap();
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap();
        let nonce = nonce.split('\'').next().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let body = String::from_utf8(page.body).unwrap();
        assert!(body.contains(&format!("<script nonce=\"{nonce}\">")));
        assert!(body.contains(&format!("<style nonce=\"{nonce}\">")));
        assert!(!body.contains("http://") && !body.contains("https://"));
        nonces.push(nonce);
    }
    assert_ne!(nonces[0], nonces[1]);
    for header in [
        ("Origin", "http://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        raw.send("GET", "/sandbox/", &[header], b"");
        assert_eq!(raw.response().status, 403, "{header:?}");
    }
}

#[test]
fn a_wrong_command_line_is_refused() {
    let folder = Folder::new("sandbox-arguments");
    let file = folder.write("file", b"");
    let no_seed = format!("error: {file}: EOF while parsing a value");
    let no_folder = format!("error: cannot make the folder {file}: ");
    for (arguments, expected) in [
        (&["--keys", &file][..], no_folder.as_str()),
        (&["--keys"], "error: --keys needs a value: see --help\n"),
        (
            &["--key", "folder"],
            "error: unknown option --key: see --help\n",
        ),
        (&["folder"], "error: folder needs a value: see --help\n"),
        (
            &["--port", "65536"],
            "error: --port needs a number up to 65535\n",
        ),
        (&["--seed", &file], no_seed.as_str()),
    ] {
        let output = Command::new(program("sandbox")).args(arguments).output();
        let output = output.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.starts_with(expected), "{arguments:?}: {errors}");
        assert_eq!(output.status.code(), Some(1));
    }
}
