//! Blocking client for WeChat Pay password-exempt contracts.

mod check;
mod contract;
mod endpoint;
mod error;
mod keys;
mod merchant;
mod signer;
mod verifier;

pub use contract::{
    Contract, ContractKey, ContractState, LaunchExtraData, LaunchParameters, MiniProgramSession,
    QueryContract, TerminateContract, TerminateInfo, TerminationMode, ecommerce, normal, qs,
    service_provider,
};
pub use endpoint::{Endpoint, Method, Request};
pub use error::{
    ApiError, Authenticity, Cause, Error, InvalidField, KeyError, Outcome, VerifyError,
};
pub use keys::{ApiV3Key, PrivateKey, PublicKey, Validity};
pub use merchant::{Merchant, SignedRequest};
pub use signer::Signer;
pub use verifier::{SignatureHeaders, Verifier};
