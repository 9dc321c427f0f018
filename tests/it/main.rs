//! All integration tests, in one program so that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod contract_requests;
mod contract_responses;
mod order;
mod pre_sign;
mod merchant;
mod pre_sign;
mod pre_sign_request;
mod request;
mod signer;
mod support;
mod verifier;
