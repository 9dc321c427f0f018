//! A blocking client for WeChat Pay APIv3 password-exempt contracts (微信支付免密支付签约).
//!
//! # Start without any key
//!
//! The feature `sandbox` adds a local gateway that simulates WeChat Pay, with its own keys. After
//! `cargo add wechatpay-contract --features sandbox` this is a complete program:
//!
#![cfg_attr(feature = "sandbox", doc = "```")]
#![cfg_attr(not(feature = "sandbox"), doc = "```ignore")]
//! use wechatpay_contract::ecommerce;
//! use wechatpay_contract::sandbox::Sandbox;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let sandbox = Sandbox::start()?;
//!     let session = sandbox.client().send(&ecommerce::MiniProgramPreSign {
//!         appid: "wxd678efh567hg6787",
//!         service_id: 12535,
//!         out_contract_code: "wxwtdk20200910100000",
//!         notify_url: "https://yourapp.com/notify",
//!         contract_display_account: "微信代扣用户A",
//!         openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
//!     })?;
//!     println!("{}", session.pre_entrustweb_id);
//!     Ok(())
//! }
//! ```
//!
//! # One request
//!
//! A [`Client`] sends typed requests and returns verified responses. Every [`Error`] says whether the request may have taken
//! effect.
//!
//! ```no_run
//! use wechatpay_contract::{Client, PrivateKey, PublicKey, QueryContract, Signer, Verifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = PrivateKey::from_file("apiclient_key.pem")?;
//! let signer = Signer::new("1900000109", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", key)?;
//! let id = "PUB_KEY_ID_0000000000000024101100397200000006";
//! let verifier = Verifier::new([PublicKey::from_file(id, "pub_key.pem")?])?;
//! let client = Client::new(signer, verifier)?;
//!
//! let contract = client.send(&QueryContract {
//!     service_id: 12535,
//!     out_contract_code: "wxwtdk20200910100000",
//! })?;
//! println!("{}", contract.contract_state);
//! # Ok(())
//! # }
//! ```
//!
//! # One notification
//!
//! A [`NotificationReceiver`] takes the headers, the raw body and the time, in any web framework:
//!
//! ```
//! use std::time::SystemTime;
//! use wechatpay_contract::{NotificationReceiver, NotificationReply, SignatureHeaders};
//!
//! fn receive(
//!     receiver: &NotificationReceiver,
//!     headers: &SignatureHeaders<'_>,
//!     body: &[u8],
//! ) -> NotificationReply {
//!     match receiver.open(headers, body, SystemTime::now()) {
//!         Ok(notification) => {
//!             println!("{}: {}", notification.event_type, notification.json());
//!             NotificationReply::success()
//!         }
//!         Err(error) => error.reply(),
//!     }
//! }
//! ```
//!
//! # Where to find each part
//!
//! | part | where |
//! |---|---|
//! | pre-sign a contract, by the kind of merchant | [`normal`], [`service_provider`], [`ecommerce`], [`qs`] |
//! | query and terminate a contract | [`QueryContract`], [`TerminateContract`] |
//! | place an order with a contract, query, close and refund it | [`order`] |
//! | any other call | [`Client::execute`], [`Endpoint`] |
//! | settings: timeouts, hosts, proxy, an observer of all exchanges | [`ClientBuilder`] |
//! | many merchants in one process | [`Client::for_merchant`] |
//! | errors, and what to do next | [`Outcome`] |
//! | keys and their rotation | [`guide::keys`] |
//! | another HTTP stack, blocking or async | [`Merchant`] |
//! | credentials that do not work | [`Client::self_test`] |
//! | tests of your own code | [`sandbox`] |
//! | security, and what is not guaranteed | [`guide::security`] |
//! | async services, logs, metrics, pre-forking servers | [`guide::integrations`] |
//! | other products of WeChat Pay, and their differences | [`guide::products`] |
//!
//! # Performance
//!
//! One RSA-2048 signature takes most of the processor time of a call. A whole call over TLS takes about as much
//! processor time as one written by hand with ureq and ring. A call on a pooled connection needs no DNS lookup, no
//! handshake and no thread. Memory is about 7 MiB with 16 TLS connections. The figures and the commands that print them
//! are in `benches/README.md`.

// The modules, from the lowest layer up. A file imports only from its own module and from those before it in this list, and
// no two files import each other. `.ci/rooms.py` checks both.
//
// time.rs            Unix seconds and the written forms of a time.
// json.rs            Reads verified JSON. Errors name fields and places, never values.
// open_enum.rs       Enumerations of wire strings that keep unknown values.
// error/             What can go wrong, whether the request may have taken effect, and what to do next.
// keys/              Private, public and APIv3 keys in PEM and DER. No other module names ring.
// rules.rs           The documented rules for fields.
// request.rs         A request (method, path template, query, body) and the trait for typed ones.
// platform_keys.rs   WeChat Pay's keys: shared, replaceable, one preferred for `Wechatpay-Serial`.
// signer.rs          Signs requests and pay parameters as one merchant.
// verifier.rs        Verifies one message against the platform keys at a given time.
// contract/          The product: pre-sign in four modes, query, terminate.
// order/             The life of an order that is paid with a contract.
// merchant.rs        Signs requests with the signer, and verifies and reads responses with the platform keys.
// notification/      Verifies, decrypts and reads a notification.
// certificates/      The list of platform certificates, and when it is downloaded.
// transport/         Connections for ureq: addresses, deadlines, one write per request.
// client/            The blocking client: methods, settings, one exchange with its attempts.
// self_test.rs       Checks credentials with real calls, whose exchanges it observes.
// sandbox/           A gateway on loopback that simulates WeChat Pay, for any client.
// guide/             Pages of documentation, without items.

// Only docs.rs sets this. It builds with the nightly toolchain.
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
pub mod guide;
mod json;
mod keys;
mod merchant;
mod notification;
mod open_enum;
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
    Advice, ApiError, Authenticity, Cause, CertificateError, Error, InvalidField, InvalidSetting,
    KeyError, Mismatch, Outcome, VerifyError,
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

/// The code blocks of the READMEs are doc tests.
#[cfg(all(doctest, feature = "sandbox"))]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../README.zh-CN.md")]
struct Readme;
