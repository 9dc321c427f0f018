//! Weight of the crate beside the call by hand: crates in the tree, size of a program, processor time of a clean build.
//! Builds take minutes, so each figure is asked for by name:
//!
//! - `cargo bench --bench weight` or `cargo bench --bench weight -- tree`
//! - `cargo bench --bench weight -- size`
//! - `cargo bench --bench weight -- build`
//!
//! Programs are built in a folder of their own beside this one, from crates that Cargo has already downloaded.
// A bench may panic.
#![allow(clippy::restriction)]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use measure::{Report, Turns};

#[path = "support/measure.rs"]
mod measure;

const MANIFEST_DIR: &str = env!("CARGO_MANIFEST_DIR");

/// A program that makes the pre-sign call, or a part of it.
struct Program {
    name: &'static str,
    dependencies: &'static str,
    main: &'static str,
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
    let [merchant, platform] = ["apiclient_key.pem", "pub_key.pem"].map(std::fs::read_to_string);
    let agent = reference::config(None)?.new_agent();
    let host = "https://api.mch.weixin.qq.com";
    let reference = reference::Reference::new(agent, host, &merchant?, &platform?)?;
    println!("{}", reference.call(&reference::PRE_SIGN)?.pre_entrustweb_id);
"#,
};

const CALL: Program = Program {
    name: "default",
    dependencies: r#"wechatpay-contract = { path = "CRATE" }"#,
    main: r#"
    KEYS
    let session = Client::new(signer, verifier)?.send(&PRE_SIGN)?;
    println!("{}", session.pre_entrustweb_id);
"#,
};

/// Signs and verifies, but sends nothing.
const CORE: Program = Program {
    name: "no-default-features",
    dependencies: r#"wechatpay-contract = { path = "CRATE", default-features = false }"#,
    main: r#"
    KEYS
    let (merchant, now) = (Merchant::new(signer, verifier)?, std::time::SystemTime::now());
    let request = PRE_SIGN.request()?;
    let signed = merchant.prepare(&request, now, &std::env::args().nth(1).unwrap_or_default())?;
    let headers: Vec<_> = signed.headers().collect();
    println!("{} {headers:?}", signed.target());
    let body = std::fs::read("response.json")?;
    let session: MiniProgramSession = merchant.accept(200, headers, &body, now)?;
    println!("{}", session.pre_entrustweb_id);
"#,
};

const SANDBOX: Program = Program {
    name: "sandbox",
    dependencies: r#"wechatpay-contract = { path = "CRATE", features = ["sandbox"] }"#,
    main: r#"
    let session = sandbox::Sandbox::start()?.client().send(&PRE_SIGN)?;
    println!("{}", session.pre_entrustweb_id);
"#,
};

const PROGRAMS: [Program; 4] = [BY_HAND, CORE, CALL, SANDBOX];

const KEYS: &str = r#"
    let key = PrivateKey::from_pem(std::fs::read("apiclient_key.pem")?)?;
    let signer = Signer::new("1900000109", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", key)?;
    let id = "PUB_KEY_ID_0000000000000024101100397200000006";
    let verifier = Verifier::new([PublicKey::from_pem(id, std::fs::read("pub_key.pem")?)?])?;
"#;

const PRE_SIGN: &str = r#"
use wechatpay_contract::*;

const PRE_SIGN: ecommerce::MiniProgramPreSign<'static> = ecommerce::MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: "wxwtdk20200910100000",
    notify_url: "https://yourapp.com/notify",
    contract_display_account: "微信代扣用户A",
    openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
};
"#;

const PLAIN: &str = "strip = true";
const SMALL: &str =
    "strip = true\nopt-level = \"z\"\nlto = true\ncodegen-units = 1\npanic = \"abort\"";

fn main() {
    let mut report = Report::default();
    match env::args().nth(1).as_deref() {
        Some("size") => size(&mut report),
        Some("build") => build(&mut report),
        // Cargo adds `--bench`.
        _ => tree(&mut report),
    }
    report.finish();
}

/// Unique crates, the program itself not included.
fn tree(report: &mut Report) {
    for program in PROGRAMS {
        let arguments = [
            "tree",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
        ];
        let output = cargo(&program.write(PLAIN))
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let tree = String::from_utf8(output.stdout).unwrap();
        let named = tree.lines().filter(|line| !line.starts_with("weighed "));
        let crates: BTreeSet<Vec<_>> = named
            .map(|line| line.split_whitespace().take(2).collect())
            .collect();
        let at_most = (program.name == CALL.name).then_some(33.0);
        let found = u32::try_from(crates.len()).unwrap().into();
        report.value(program.name, "crates", found, at_most);
    }
}

/// Stripped release programs.
fn size(report: &mut Report) {
    for (profile, name, limit) in [(PLAIN, "release", 2900.0), (SMALL, "z, LTO, abort", 1750.0)] {
        let by_hand = BY_HAND.size(profile);
        for program in PROGRAMS {
            let at_most = (program.name == CALL.name).then_some(limit);
            let size = program.size(profile);
            let what = format!("{name}, {}, {:.3} of by-hand", program.name, size / by_hand);
            report.value(&what, "kB", size, at_most);
        }
    }
}

/// Clean release builds, all of each program, in turns.
fn build(report: &mut Report) {
    let turns = [0; 3].map(|_| PROGRAMS.map(|program| program.clean_build()));
    for (position, program) in PROGRAMS.iter().enumerate() {
        let times = |position: usize| turns.iter().map(|times| times[position]).collect();
        let at_most = (program.name == CALL.name).then_some(1.25);
        let turns = Turns(times(position), times(0));
        let what = format!("clean release build, {}", program.name);
        report.ratio(&what, "s", &turns, at_most);
    }
}

impl Program {
    /// The processor time in seconds.
    fn clean_build(&self) -> f64 {
        let folder = self.write(PLAIN);
        match fs::remove_dir_all(folder.join("target")) {
            // A folder that stays would make the build look quick.
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        let before = children_time();
        build_in(&folder);
        children_time() - before
    }

    /// The program's size in kB.
    fn size(&self, profile: &str) -> f64 {
        let folder = self.write(profile);
        build_in(&folder);
        let bytes = fs::metadata(folder.join("target/release/weighed"))
            .unwrap()
            .len();
        f64::from(u32::try_from(bytes).unwrap()) / 1e3
    }

    /// Writes the program as a package of its own, with the versions of this crate's `Cargo.lock`.
    fn write(&self, profile: &str) -> PathBuf {
        let folder = env::current_exe()
            .unwrap()
            .with_file_name("weight")
            .join(self.name);
        fs::create_dir_all(folder.join("src")).unwrap();
        let write = |file: &str, text: String| fs::write(folder.join(file), text).unwrap();
        let dependencies = self.dependencies.replace("CRATE", MANIFEST_DIR);
        write(
            "Cargo.toml",
            format!(
                "[package]\nname = \"weighed\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}\n\n\
                 [profile.release]\n{profile}\n\n[workspace]\n"
            ),
        );
        let start = if self.name == BY_HAND.name {
            "mod reference;"
        } else {
            PRE_SIGN
        };
        let main = self.main.replace("KEYS", KEYS);
        write(
            "src/main.rs",
            format!(
                "{start}\nfn main() -> Result<(), Box<dyn std::error::Error>> {{{main}    Ok(())\n}}\n"
            ),
        );
        for (from, to) in [
            ("Cargo.lock", "Cargo.lock"),
            ("benches/support/reference.rs", "src/reference.rs"),
        ] {
            fs::copy(Path::new(MANIFEST_DIR).join(from), folder.join(to)).unwrap();
        }
        folder
    }
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
        .status()
        .unwrap();
    assert!(status.success(), "{}", folder.display());
}

/// Processor time of all the processes that this one has waited for, in seconds (proc(5), `cutime` and `cstime`).
fn children_time() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").expect("processor time is read from /proc");
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let mut fields = after_name.split_whitespace().skip(13);
    let mut ticks = || -> f64 { fields.next().unwrap().parse().unwrap() };
    (ticks() + ticks()) / TICKS_PER_SECOND
}
