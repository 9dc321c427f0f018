//! What the crate weighs: crates in the tree, size of a program that makes the pre-sign call, and processor time of a
//! clean build, beside the call by hand. Builds take minutes, so each is asked for by name:
//!
//! - `cargo bench --bench weight` or `cargo bench --bench weight -- tree`
//! - `cargo bench --bench weight -- size`
//! - `cargo bench --bench weight -- build`
//!
//! Programs are built in a folder of their own beside this program, from crates that Cargo has already downloaded.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use measure::{median, report, verdict};

#[path = "support/measure.rs"]
mod measure;

const MANIFEST_DIR: &str = env!("CARGO_MANIFEST_DIR");

/// A program, and what it says it depends on.
struct Program {
    name: &'static str,
    dependencies: &'static str,
    main: &'static str,
    /// Copied beside `main.rs`.
    module: Option<&'static str>,
}

const BY_HAND: Program = Program {
    name: "by-hand",
    dependencies: r#"
ureq = { version = "~3.5.2", default-features = false, features = ["rustls"] }
serde = { version = "1.0.200", features = ["derive"] }
serde_json = "1.0.100"
ring = "0.17.14"
base64 = "0.23.1"
"#,
    main: r#"
mod reference;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let merchant_key = std::fs::read_to_string("apiclient_key.pem")?;
    let platform_key = std::fs::read_to_string("pub_key.pem")?;
    let reference = reference::Reference::new(
        reference::config(None)?.new_agent(),
        reference::Settings {
            host: "https://api.mch.weixin.qq.com",
            mchid: "1900000109",
            serial_no: "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
            merchant_key: &merchant_key,
            platform_id: "PUB_KEY_ID_0000000000000024101100397200000006",
            platform_key: &platform_key,
        },
    )?;
    let session = reference.call(&reference::PRE_SIGN)?;
    println!("{}", session.pre_entrustweb_id);
    Ok(())
}
"#,
    module: Some("reference.rs"),
};

const CALL: Program = Program {
    name: "default",
    dependencies: r#"wechatpay-contract = { path = "CRATE" }"#,
    main: r#"
use wechatpay_contract::{Client, PrivateKey, PublicKey, Signer, Verifier, ecommerce};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let merchant_key = PrivateKey::from_pem(std::fs::read("apiclient_key.pem")?)?;
    let platform_key = PublicKey::from_pem(
        "PUB_KEY_ID_0000000000000024101100397200000006",
        std::fs::read("pub_key.pem")?,
    )?;
    let signer = Signer::new("1900000109", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", merchant_key)?;
    let client = Client::new(signer, Verifier::new([platform_key])?)?;
    let session = client.send(&ecommerce::MiniProgramPreSign {
        appid: "wxd678efh567hg6787",
        service_id: 12535,
        out_contract_code: "wxwtdk20200910100000",
        notify_url: "https://yourapp.com/notify",
        contract_display_account: "微信代扣用户A",
        openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    })?;
    println!("{}", session.pre_entrustweb_id);
    Ok(())
}
"#,
    module: None,
};

/// Signs and verifies, but sends nothing.
const CORE: Program = Program {
    name: "no default features",
    dependencies: r#"wechatpay-contract = { path = "CRATE", default-features = false }"#,
    main: r#"
use std::time::SystemTime;
use wechatpay_contract::{
    Endpoint, Merchant, MiniProgramSession, PrivateKey, PublicKey, Signer, Verifier, ecommerce,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let merchant_key = PrivateKey::from_pem(std::fs::read("apiclient_key.pem")?)?;
    let platform_key = PublicKey::from_pem(
        "PUB_KEY_ID_0000000000000024101100397200000006",
        std::fs::read("pub_key.pem")?,
    )?;
    let signer = Signer::new("1900000109", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", merchant_key)?;
    let merchant = Merchant::new(signer, Verifier::new([platform_key])?)?;
    let request = ecommerce::MiniProgramPreSign {
        appid: "wxd678efh567hg6787",
        service_id: 12535,
        out_contract_code: "wxwtdk20200910100000",
        notify_url: "https://yourapp.com/notify",
        contract_display_account: "微信代扣用户A",
        openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    }
    .request()?;
    let nonce = std::env::args().nth(1).unwrap_or_default();
    let signed = merchant.prepare(&request, SystemTime::now(), &nonce)?;
    let headers: Vec<_> = signed.headers().collect();
    println!("{} {headers:?}", signed.target());
    let body = std::fs::read("answer.json")?;
    let session: MiniProgramSession = merchant.accept(200, headers, &body, SystemTime::now())?;
    println!("{}", session.pre_entrustweb_id);
    Ok(())
}
"#,
    module: None,
};

const SANDBOX: Program = Program {
    name: "sandbox",
    dependencies: r#"wechatpay-contract = { path = "CRATE", features = ["sandbox"] }"#,
    main: r#"
use wechatpay_contract::{ecommerce, sandbox::Sandbox};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = Sandbox::start()?.client().send(&ecommerce::MiniProgramPreSign {
        appid: "wxd678efh567hg6787",
        service_id: 12535,
        out_contract_code: "wxwtdk20200910100000",
        notify_url: "https://yourapp.com/notify",
        contract_display_account: "微信代扣用户A",
        openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    })?;
    println!("{}", session.pre_entrustweb_id);
    Ok(())
}
"#,
    module: None,
};

const PLAIN: &str = "strip = true";
const SMALL: &str =
    "strip = true\nopt-level = \"z\"\nlto = true\ncodegen-units = 1\npanic = \"abort\"";

fn main() {
    // Cargo adds `--bench`.
    let kept = match env::args().nth(1).as_deref() {
        Some("size") => size(),
        Some("build") => build(),
        _ => tree(),
    };
    if !kept {
        std::process::exit(1);
    }
}

/// Unique crates, the program itself not included.
fn tree() -> bool {
    let mut kept = true;
    for (program, limit) in [
        (&BY_HAND, None),
        (&CORE, None),
        (&CALL, Some(33)),
        (&SANDBOX, None),
    ] {
        let folder = program.write(PLAIN);
        let tree = cargo(&folder)
            .args([
                "tree",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--no-dedupe",
            ])
            .output()
            .unwrap();
        assert!(
            tree.status.success(),
            "{}",
            String::from_utf8_lossy(&tree.stderr)
        );
        let tree = String::from_utf8(tree.stdout).unwrap();
        let crates: BTreeSet<_> = tree
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?, words.next()?))
            })
            .filter(|(name, _)| *name != "weighed")
            .collect();
        let found = crates.len();
        let is_kept = limit.is_none_or(|limit| found <= limit);
        println!(
            "{:<20} {found:3} crates{}{}",
            program.name,
            limit.map_or_else(String::new, |limit| format!(", at most {limit}")),
            verdict(is_kept)
        );
        kept &= is_kept;
    }
    kept
}

/// Stripped release programs.
fn size() -> bool {
    let by_hand = BY_HAND.sizes();
    let mut kept = true;
    for (program, limits) in [
        (&BY_HAND, None),
        (&CORE, None),
        (&CALL, Some([2.9, 1.75])),
        (&SANDBOX, None),
    ] {
        let found = program.sizes();
        for (position, profile) in ["release", "opt-level z, LTO, panic abort"]
            .iter()
            .enumerate()
        {
            let (size, limit) = (found[position], limits.map(|limits| limits[position]));
            let is_kept = limit.is_none_or(|limit| size <= limit);
            println!(
                "{:<20} {profile:<30} {size:6.3} MB, ratio {:.3}{}{}",
                program.name,
                size / by_hand[position],
                limit.map_or_else(String::new, |limit| format!(", at most {limit} MB")),
                verdict(is_kept)
            );
            kept &= is_kept;
        }
    }
    kept
}

/// Clean release builds, all of each program, in turns. The ratios are to the build by hand of the same turn, since the
/// machine's speed changes; their median counts.
fn build() -> bool {
    const TURNS: usize = 3;
    let programs = [&BY_HAND, &CALL, &CORE, &SANDBOX];
    let turns: Vec<_> = (0..TURNS)
        .map(|_| programs.map(|program| program.clean_build()))
        .collect();
    let mut kept = true;
    for (position, program) in programs.iter().enumerate() {
        let limit = (program.name == CALL.name).then_some(1.25);
        let time = median(turns.iter().map(|times| times[position]));
        kept &= report(
            &format!("clean release build, {}", program.name),
            &format!("{time:5.1} s of processor time"),
            median(turns.iter().map(|times| times[position] / times[0])),
            limit,
        );
    }
    kept
}

/// Removes a folder that may not be there. One that stays would make the next build look quick.
fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
}

/// Builds what is not built yet, and gives the processor time in seconds.
fn timed_build(folder: &Path) -> f64 {
    let before = children_time();
    build_in(folder);
    children_time() - before
}

impl Program {
    /// The processor time in seconds.
    fn clean_build(&self) -> f64 {
        let folder = self.write(PLAIN);
        remove(&folder.join("target"));
        timed_build(&folder)
    }

    /// In the two profiles, in MB.
    fn sizes(&self) -> [f64; 2] {
        [PLAIN, SMALL].map(|profile| {
            let folder = self.write(profile);
            build_in(&folder);
            let program = folder.join("target/release/weighed");
            let bytes = fs::metadata(program).unwrap().len();
            f64::from(u32::try_from(bytes).unwrap()) / 1e6
        })
    }

    /// Writes the program as a package of its own, with the versions of this crate's `Cargo.lock`.
    fn write(&self, profile: &str) -> PathBuf {
        let folder = scratch().join(self.name.replace(' ', "-"));
        fs::create_dir_all(folder.join("src")).unwrap();
        let dependencies = self.dependencies.replace("CRATE", MANIFEST_DIR);
        let manifest = format!(
            "[package]\nname = \"weighed\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}\n\n\
             [profile.release]\n{profile}\n\n[workspace]\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        fs::write(folder.join("src/main.rs"), self.main.trim_start()).unwrap();
        fs::copy(
            Path::new(MANIFEST_DIR).join("Cargo.lock"),
            folder.join("Cargo.lock"),
        )
        .unwrap();
        if let Some(module) = self.module {
            let source = Path::new(MANIFEST_DIR).join("benches/support").join(module);
            fs::copy(source, folder.join("src").join(module)).unwrap();
        }
        folder
    }
}

/// A folder beside this program, in Cargo's target folder.
fn scratch() -> PathBuf {
    env::current_exe().unwrap().with_file_name("weight")
}

fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(folder)
        // Each package is built in a folder of its own, whatever this one is built in.
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("RUSTFLAGS");
    cargo
}

fn build_in(folder: &Path) {
    let status = cargo(folder)
        .args(["build", "--release", "--quiet"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{}", folder.display());
}

/// Processor time of all the processes that this one has waited for, in seconds (proc(5), `cutime` and `cstime`).
fn children_time() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |field: usize| -> f64 { fields[field].parse().unwrap() };
    (ticks(13) + ticks(14)) / TICKS_PER_SECOND
}
