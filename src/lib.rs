#![doc = include_str!("../README.md")]
// Only docs.rs sets this, whose toolchain is a nightly one.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod certificates;
mod check;
#[cfg(feature = "client")]
mod client;
mod contract;
mod decode;
mod endpoint;
mod error;
mod keys;
mod merchant;
mod notification;
pub mod order;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "client")]
pub mod self_test;
mod signer;
mod time;
#[cfg(feature = "client")]
mod transport;
mod verifier;

#[cfg(feature = "client")]
pub use client::{Client, ClientBuilder, Exchange};
pub use contract::{
    Contract, ContractKey, ContractState, LaunchExtraData, LaunchParameters, MiniProgramSession,
    QueryContract, TerminateContract, TerminateInfo, TerminationMode, ecommerce, normal, qs,
    service_provider,
};
pub use decode::DecodeError;
pub use endpoint::{Endpoint, Method, Request};
pub use error::{
    ApiError, Authenticity, Cause, CertificateError, Error, InvalidField, KeyError, Outcome,
    VerifyError,
};
pub use keys::{ApiV3Key, PrivateKey, PublicKey, Validity};
pub use merchant::{Merchant, SignedRequest};
pub use notification::{
    ContractEvent, Event, EventKind, Notification, NotificationError, NotificationReceiver,
    NotificationReply,
};
pub use signer::Signer;
pub use verifier::{SignatureHeaders, Verifier};
