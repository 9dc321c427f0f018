//! The error for an input that a sandbox cannot use.

use std::error::Error as StdError;
use std::fmt;

/// An input that a sandbox cannot use: the URL of a receiver, a certificate to be issued, or a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxError(String);

impl SandboxError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for SandboxError {}
