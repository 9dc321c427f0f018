//! A blocking client for WeChat Pay APIv3 password-exempt contracts (微信支付免密支付签约).
//!
//! Sign a request, send it, and return only what WeChat Pay signed in reply: [`Client`] does all three. A notification is
//! verified and decrypted by a [`NotificationReceiver`]. [`Merchant`] does the same without any I/O, for services that
//! bring their own HTTP stack.

// The rooms, from the ground up. A file imports only from its own room and from those before it in this list, and no two
// files import each other. `.ci/rooms.py` checks both.
//
// time.rs            Unix seconds and the written forms of a time.
// json.rs            Reads verified JSON; errors name fields and places, never values.
// error/             What can go wrong, whether the request may have taken effect, and what to do next.
// keys/              Private, public and APIv3 keys; PEM and DER; the only place that names ring.
// rules.rs           The documented rules for fields.
// request.rs         A request (method, path template, query, body) and the trait for typed ones.
// platform_keys.rs   WeChat Pay's keys: shared, replaceable, one preferred for `Wechatpay-Serial`.
// signer.rs          Signs requests and pay parameters as one merchant.
// verifier.rs        Verifies one message against the platform keys at a given time.
// contract/          The product: pre-sign in four modes, query, terminate.
// order/             The life of an order that is paid with a contract.
// merchant.rs        Signer and platform keys together: request to signed bytes, response to value.
// notification/      Verifies, decrypts and reads a notification.
// certificates/      The list of platform certificates, and when it is downloaded.
// transport/         Connections for ureq: addresses, deadlines, one write per request.
// client/            The blocking client: methods, settings, one exchange with its attempts.
// self_test.rs       Checks credentials live, from what an observer of exchanges sees.
// sandbox/           A gateway on loopback that plays WeChat Pay, for any client.

// Only docs.rs sets this, whose toolchain is a nightly one.
#![cfg_attr(docsrs, feature(doc_cfg))]
// A test may panic.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

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
mod platform_keys;
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
    ApiError, Authenticity, Cause, CertificateError, Error, InvalidField, InvalidSetting, KeyError,
    Mismatch, Outcome, VerifyError,
};
pub use json::DecodeError;
pub use keys::{ApiV3Key, PrivateKey, PublicKey, Validity};
pub use merchant::{Merchant, SignedRequest};
pub use notification::{
    ContractEvent, Event, EventKind, Notification, NotificationError, NotificationReceiver,
    NotificationReply, RefundEvent,
};
pub use request::{Endpoint, Method, Request};
pub use signer::Signer;
pub use verifier::{SignatureHeaders, Verifier};

/// The code blocks of the README are doc tests.
#[cfg(all(doctest, feature = "sandbox"))]
#[doc = include_str!("../README.md")]
struct Readme;
