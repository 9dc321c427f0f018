//! Programs with which tests compare results; not every machine has them.

use std::env;
use std::io::{self, Write as _};

/// Whether this program is installed; when it is not, the test is to skip what it compares with it.
///
/// Panics where the environment variable `CI` is set: there nothing is skipped.
pub(crate) fn installed(program: &str) -> bool {
    let file = format!("{program}{}", env::consts::EXE_SUFFIX);
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join(&file).is_file()) {
        return true;
    }
    assert!(
        env::var_os("CI").is_none(),
        "{program} is not installed, and with CI set nothing is skipped"
    );
    let test = std::thread::current();
    // Not `eprintln!`, which the test harness keeps to itself when a test passes.
    let _ = writeln!(
        io::stderr(),
        "{}: skipped, since {program} is not installed",
        test.name().unwrap_or_default()
    );
    false
}
