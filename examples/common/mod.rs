//! The parts that several examples use: `--help`, error reports, output, and environment variables.

#![allow(dead_code)] // Each example uses a part.

use std::env;
use std::error::Error;
use std::iter;
use std::process::ExitCode;

/// Prints a line. A closed pipe, such as that of `| head`, is no error.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// Prints a line to standard error.
macro_rules! warn {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

/// Runs an example, or prints the documentation at the top of its `source` if the arguments contain `--help`.
pub(crate) fn main(source: &str, run: impl FnOnce() -> Result<(), Box<dyn Error>>) -> ExitCode {
    if is_help_wanted() {
        help(source);
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn is_help_wanted() -> bool {
    env::args_os().any(|argument| argument == "--help")
}

pub(crate) fn help(source: &str) {
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        say!("{}", line.strip_prefix(' ').unwrap_or(line));
    }
}

/// Prints an error and its causes.
pub(crate) fn report(error: &(dyn Error + 'static)) {
    warn!("error: {error}");
    for cause in iter::successors(error.source(), |&error| error.source()) {
        warn!("  because: {cause}");
    }
}

/// Returns `true` if any of this project's variables is set. The example then talks to WeChat Pay, not to the sandbox.
pub(crate) fn is_configured() -> bool {
    env::vars_os()
        .any(|(name, value)| name.to_string_lossy().starts_with("WECHATPAY_") && !value.is_empty())
}

/// Returns an environment variable, or `None` if it is not set or is empty.
pub(crate) fn optional(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns an environment variable.
pub(crate) fn variable(name: &str) -> Result<String, String> {
    optional(name).ok_or_else(|| format!("{name} is not set: see --help"))
}

/// Returns an environment variable that is a whole number.
pub(crate) fn number(name: &str) -> Result<u64, String> {
    let text = variable(name)?;
    let number = text.parse();
    number.map_err(|_| format!("{name}: found {text:?}: wanted a whole number"))
}
