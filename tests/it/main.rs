//! Behaviour of the crate as its users see it, a module each; one program, so that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod api;
mod batch;
mod certificates;
mod client_limits;
mod contract_example;
mod contract_requests;
mod contract_responses;
mod counts;
mod examples;
mod exchange;
mod failover;
mod faults;
mod fixture;
mod http_stack;
mod json;
mod key_life;
mod load;
mod many_merchants;
mod merchant;
mod mismatch;
mod notification;
mod notification_server;
mod order;
mod order_life;
mod outcome;
mod outside_signer;
#[path = "../support/platform.rs"]
mod platform;
mod pre_sign;
mod pre_sign_example;
mod pre_sign_request;
mod properties;
mod raw_client;
mod receiver_examples;
mod recovery;
mod request;
mod sandbox_contracts;
mod sandbox_control;
mod sandbox_example;
mod sandbox_faults;
mod sandbox_fields;
mod sandbox_gateway;
mod sandbox_keys;
mod sandbox_life;
mod sandbox_notifications;
mod sandbox_orders;
mod self_test;
mod shop;
mod signer;
mod strays;
mod support;
mod tls;
#[path = "../support/tls_server.rs"]
mod tls_server;
mod vectors;
mod verifier;
