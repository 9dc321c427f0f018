//! A field of a request that cannot be sent.

use std::error::Error as StdError;
use std::fmt;

/// A value that breaks a documented rule, found before anything was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    field: String,
    problem: String,
}

impl InvalidField {
    /// Creates the error. `field` is the name on the wire. `problem` says what was found, unless it is secret, and what
    /// is wanted.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// Returns the field's name, as on the wire.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Returns what was found and what is wanted.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl StdError for InvalidField {}
