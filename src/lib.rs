//! Blocking client for WeChat Pay password-exempt contracts.

mod error;
mod keys;

pub use error::{
    ApiError, Authenticity, Cause, Error, InvalidField, KeyError, Outcome, VerifyError,
};
pub use keys::{ApiV3Key, PrivateKey, PublicKey, Validity};
