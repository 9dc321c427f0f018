//! Blocking client for WeChat Pay password-exempt contracts.

mod error;
#[cfg(feature = "client")]
#[cfg_attr(not(test), expect(dead_code, reason = "the client comes next"))]
mod transport;

pub use error::{
    ApiError, Authenticity, Cause, Error, InvalidField, KeyError, Outcome, VerifyError,
};
