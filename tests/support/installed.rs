//! Programs with which tests compare results, and which not every machine has.

use std::env;
use std::io::{self, Write as _};

/// Returns `true` if this program is installed. Otherwise the test is to skip the comparison with it.
///
/// Panics instead if the environment variable `CI` is set, since CI skips nothing.
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
    // Not `eprintln!`, whose output the test harness hides when a test passes.
    let _ = writeln!(
        io::stderr(),
        "{}: skipped, since {program} is not installed",
        test.name().unwrap_or_default()
    );
    false
}
