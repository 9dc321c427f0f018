//! Runs the sandbox by itself until it is interrupted, for clients in any language.
//!
//! ```sh
//! cargo install wechatpay-contract --features sandbox --example sandbox
//! sandbox --port 8765 --keys keys
//! ```
//!
//! | option | meaning |
//! |---|---|
//! | `--port PORT` | the port on loopback, by default one that the system picks |
//! | `--keys FOLDER` | the folder to write the keys to, by default one among the system's temporary files |
//! | `--seed FILE` | a snapshot to start from, as `GET /sandbox/snapshot` returned it |
//!
//! It prints one line of JSON: its address, the address of a page with buttons, the ids, and the absolute paths of the
//! files that it wrote (the merchant's key, the platform's public key and certificate, the APIv3 key). Scripts do the
//! same as the page through the paths that the documentation of the module `sandbox` lists:
//!
//! ```sh
//! curl -d '{"out_contract_code": "wxwtdk20200910100000"}' http://127.0.0.1:8765/sandbox/sign
//! curl -d '{"fault": "error", "status": 503, "code": "SERVICE_UNAVAILABLE"}' http://127.0.0.1:8765/sandbox/fault
//! ```
//!
//! It signs notifications with the certificate's key. These commands sign with the public key's instead, and deliver to
//! a receiver that has the public key, such as the example `notify_server`:
//!
//! ```sh
//! curl -d '{"key": "PUB_KEY_ID_0000000000000024101100397200000006"}' http://127.0.0.1:8765/sandbox/sign-with
//! curl -d '{"url": "http://127.0.0.1:8080/notify"}' http://127.0.0.1:8765/sandbox/notify-url
//! ```
//!
//! It listens on loopback only. In a container it is for clients that share the container's network, such as those of a
//! CI job (`docker run --network host`):
//!
//! ```text
//! FROM rust:1-slim
//! RUN cargo install wechatpay-contract --features sandbox --example sandbox
//! ENTRYPOINT ["sandbox", "--port", "8765", "--keys", "/keys"]
//! ```

#[macro_use]
mod common;

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use serde_json::{Value, json};
use wechatpay_contract::Validity;
use wechatpay_contract::sandbox::Sandbox;

/// A certificate for clients in certificate mode, valid from 2020 to 2099.
const CERTIFICATE_SERIAL_NO: &str = "7132D72A03E93CDDF8C03BBD1F37EEDF38F77E0A";

fn main() -> ExitCode {
    common::main(include_str!("sandbox.rs"), run)
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut keys = env::temp_dir().join("wechatpay-sandbox-keys");
    let (mut port, mut seed) = (0, None);
    let mut arguments = env::args_os().skip(1);
    while let Some(option) = arguments.next() {
        let missing = || format!("{} needs a value: see --help", option.to_string_lossy());
        let value = arguments.next().ok_or_else(missing)?;
        match option.to_str() {
            Some("--port") => port = number(&value).ok_or("--port needs a number up to 65535")?,
            Some("--keys") => keys = PathBuf::from(value),
            Some("--seed") => seed = Some(PathBuf::from(value)),
            _ => {
                return Err(
                    format!("unknown option {}: see --help", option.to_string_lossy()).into(),
                );
            }
        }
    }
    let sandbox = Sandbox::start_on(port)
        .map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let description = prepare(&sandbox, &keys)?;
    if let Some(path) = seed {
        load(&sandbox, &path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    say!("{description}");
    loop {
        thread::park();
    }
}

fn number(text: &OsStr) -> Option<u16> {
    text.to_str()?.parse().ok()
}

fn load(sandbox: &Sandbox, seed: &Path) -> Result<(), Box<dyn Error>> {
    let snapshot = serde_json::from_slice(&fs::read(seed)?)?;
    Ok(sandbox.load(snapshot)?)
}

/// Issues a certificate, writes the keys into the folder, and returns what a client needs.
fn prepare(sandbox: &Sandbox, folder: &Path) -> Result<Value, Box<dyn Error>> {
    fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    let folder = path::absolute(folder)?;
    let write = |name, content: &str| {
        let path = folder.join(name);
        let shown = path.display().to_string();
        fs::write(&path, content).map_err(|error| format!("cannot write {shown}: {error}"))?;
        Ok::<_, String>(shown)
    };
    let validity = Validity {
        not_before: 1_577_836_800,
        not_after: 4_102_444_799,
    };
    let platform = sandbox.platform();
    let certificate = platform.issue_certificate(CERTIFICATE_SERIAL_NO, validity)?;
    Ok(json!({
        "url": sandbox.url(),
        "page": format!("{}/sandbox/", sandbox.url()),
        "mchid": Sandbox::MCHID,
        "merchant_serial_no": Sandbox::MERCHANT_SERIAL_NO,
        "merchant_key": write("merchant_key.pem", Sandbox::MERCHANT_KEY_PEM)?,
        "public_key_id": Sandbox::PUBLIC_KEY_ID,
        "public_key": write("platform_public_key.pem", Sandbox::PUBLIC_KEY_PEM)?,
        "certificate_serial_no": CERTIFICATE_SERIAL_NO,
        "certificate": write("platform_certificate.pem", &certificate)?,
        "api_v3_key": write("apiv3_key.txt", Sandbox::API_V3_KEY)?,
    }))
}
