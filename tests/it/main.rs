//! All integration tests, in one program so that it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod counts;
#[path = "../support/platform.rs"]
mod platform;
mod pre_sign;
#[path = "../support/tls_server.rs"]
mod tls_server;
