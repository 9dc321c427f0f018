//! A setting of a client or signer that cannot be used.

use std::error::Error as StdError;
use std::fmt;

/// A setting of a client or signer that cannot be used, such as a host without `https` or an empty `mchid`. Nothing was
/// sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting {
    setting: &'static str,
    problem: String,
}

impl InvalidSetting {
    pub(crate) fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self {
            setting,
            problem: problem.into(),
        }
    }

    /// Returns the setting's name, which is that of a method of [`ClientBuilder`](crate::ClientBuilder) or of an
    /// argument of [`Signer`](crate::Signer).
    pub fn setting(&self) -> &str {
        self.setting
    }

    /// Returns what was found and what is wanted.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.problem)
    }
}

impl StdError for InvalidSetting {}
