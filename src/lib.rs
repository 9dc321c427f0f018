//! A blocking client for WeChat Pay APIv3 password-exempt contracts (微信支付免密支付签约).
//!
//! Sign a request, send it, and return only what WeChat Pay signed in reply: [`Client`] does all three. A notification is
//! verified and decrypted by a [`NotificationReceiver`]. [`Merchant`] does the same without any I/O, for services that
//! bring their own HTTP stack.
// Only docs.rs sets this, whose toolchain is a nightly one.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod certificates;
#[cfg(feature = "client")]
mod client;
mod contract;
mod error;
mod json;
mod keys;
mod merchant;
mod notification;
pub mod order;
mod request;
mod rules;
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
    Contract, ContractId, ContractState, LaunchExtraData, LaunchParameters, MiniProgramSession,
    QueryContract, TerminateContract, TerminateInfo, TerminationMode, ecommerce, normal, qs,
    service_provider,
};
pub use error::{
    ApiError, Authenticity, Cause, CertificateError, Error, InvalidField, KeyError, Outcome,
    VerifyError,
};
pub use json::DecodeError;
pub use keys::{ApiV3Key, PrivateKey, PublicKey, Validity};
pub use merchant::{Merchant, SignedRequest};
pub use notification::{
    ContractEvent, Event, EventKind, Notification, NotificationError, NotificationReceiver,
    NotificationReply,
};
pub use request::{Endpoint, Method, Request};
pub use signer::Signer;
pub use verifier::{SignatureHeaders, Verifier};

/// The code blocks of the README are doc tests.
#[cfg(all(doctest, feature = "sandbox"))]
#[doc = include_str!("../README.md")]
struct Readme;
