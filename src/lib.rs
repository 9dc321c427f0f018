//! Blocking client for WeChat Pay password-exempt contracts.

mod error;

pub use error::{
    ApiError, Authenticity, Cause, Error, InvalidField, KeyError, Outcome, VerifyError,
};
