//! Behaviour of the crate as its users see it, a module each, in one program so that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod counts;
mod merchant;
mod notification;
#[path = "../support/platform.rs"]
mod platform;
mod pre_sign;
mod pre_sign_request;
mod request;
mod signer;
mod support;
#[path = "../support/tls_server.rs"]
mod tls_server;
mod verifier;
