//! Runs the sandbox by itself until it is interrupted, for clients in any language.
//!
//! ```text
//! cargo run --example sandbox -- FOLDER
//! ```
//!
//! Writes the merchant's key, the platform's public key and certificate, and the APIv3 key into the folder and prints one
//! line of JSON: the address, the ids and the names of the files. The user's part and faults are taken through the paths
//! under `/sandbox/`, which the documentation of the module `sandbox` lists:
//!
//! ```text
//! curl -d '{"out_contract_code": "wxwtdk20200910100000"}' http://127.0.0.1:PORT/sandbox/sign
//! curl -d '{"fault": "error", "status": 503, "code": "SERVICE_UNAVAILABLE"}' http://127.0.0.1:PORT/sandbox/fault
//! ```

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use serde_json::{Value, json};
use wechatpay_contract::Validity;
use wechatpay_contract::sandbox::Sandbox;

/// For clients that are still in certificate mode; valid from 2020 to 2099.
const CERTIFICATE_SERIAL_NO: &str = "7132D72A03E93CDDF8C03BBD1F37EEDF38F77E0A";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        return Err("wanted one argument: the folder to write the keys into".into());
    };
    let (_sandbox, description) = start(Path::new(&folder))?;
    println!("{description}");
    loop {
        thread::park();
    }
}

/// Starts a sandbox, writes its keys into the folder, and describes it as JSON. A test uses it too.
pub(crate) fn start(folder: &Path) -> Result<(Sandbox, Value), Box<dyn Error>> {
    fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    let sandbox = Sandbox::start()?;
    let validity = Validity {
        not_before: 1_577_836_800,
        not_after: 4_102_444_799,
    };
    let certificate = sandbox
        .platform()
        .issue_certificate(CERTIFICATE_SERIAL_NO, validity)?;
    let description = json!({
        "url": sandbox.url(),
        "mchid": Sandbox::MCHID,
        "merchant_serial_no": Sandbox::MERCHANT_SERIAL_NO,
        "merchant_key": write(folder, "merchant_key.pem", Sandbox::MERCHANT_KEY_PEM)?,
        "public_key_id": Sandbox::PUBLIC_KEY_ID,
        "public_key": write(folder, "platform_public_key.pem", Sandbox::PUBLIC_KEY_PEM)?,
        "certificate_serial_no": CERTIFICATE_SERIAL_NO,
        "certificate": write(folder, "platform_certificate.pem", &certificate)?,
        "api_v3_key": write(folder, "apiv3_key.txt", Sandbox::API_V3_KEY)?,
    });
    Ok((sandbox, description))
}

fn write(folder: &Path, name: &str, content: &str) -> Result<String, String> {
    let path = folder.join(name);
    fs::write(&path, content)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path.display().to_string())
}
