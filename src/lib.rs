//! Blocking client for WeChat Pay password-exempt contracts.

mod error;
#[cfg(feature = "sandbox")]
mod sandbox;

pub use error::{
    ApiError, Authenticity, Cause, Error, InvalidField, KeyError, Outcome, VerifyError,
};
