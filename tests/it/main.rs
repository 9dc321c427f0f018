//! Behaviour of the crate as its users see it, a module each; one program, so that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod certificates;
mod contract_requests;
mod contract_responses;
mod key_life;
mod merchant;
mod notification;
mod order;
mod outside_signer;
mod pre_sign;
mod pre_sign_request;
mod raw;
mod request;
mod sandbox_contracts;
mod sandbox_faults;
mod sandbox_gateway;
mod self_test;
mod signer;
mod support;
mod verifier;
