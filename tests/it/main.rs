//! All integration tests, in one program so that it is linked once.
//! Behaviour of the crate as its users see it, a module each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod certificates;
mod merchant;
mod pre_sign;
mod pre_sign_request;
mod request;
mod signer;
mod support;
mod verifier;
