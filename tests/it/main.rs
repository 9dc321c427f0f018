//! The crate's behaviour as its users see it, with a module for each topic in one program, which is linked once.
//!
//! Elsewhere: `tests/allocations.rs` counts allocations, `tests/threads.rs` threads, and `tests/fork.rs` tests forked
//! processes, each in a program of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

// Requests and responses, without a network.

mod api; // Send, Sync, Clone and the size of public types
mod contract_requests; // what the ten calls of the product send, and refuse to send
mod contract_responses; // what the responses of these calls may look like
mod http_stack; // another HTTP stack, with async calls
mod json; // error texts about JSON that does not fit
mod merchant; // signed requests, verified responses, and each error of a response
mod order; // what an order sends, and the signature to pay it
mod order_life; // query, closing and refund of an order
mod outcome; // the table of errors and outcomes in the docs
mod pre_sign_request; // what the platform's pre-sign sends, and the session that it reads
mod properties; // properties that hold for any input
mod request; // path, query and body of any request
mod response_mismatch; // responses about another contract than the request

// Keys, signatures, time and certificates.

mod certificates; // the list of platform certificates, read without a network
mod key_life; // download, rotation and expiry of platform keys in a client
mod outside_signer; // a private key that lives outside the process
mod secrets; // keys in the place of another argument
mod signer; // merchant id, serial number and signing functions
mod vectors; // test vectors for libraries of other languages
mod verifier; // the verification of messages, and clock differences

// Notifications.

mod notification; // content, refusals and replies
mod notification_server; // helper: a receiver made of sockets
mod receiver_examples; // the examples that receive notifications, as processes

// The client: connections, timeouts, hosts and load.

mod client_faults; // the error of a call under each fault, timeouts among them
mod client_limits; // the longest target, plain http and relays
mod connections; // the number of connections, DNS lookups and handshakes
mod failover; // second attempts, the backup host, and DNS lookups that fail
mod many_merchants; // clients of many merchants that share connections
mod observer; // the reports to an observer of exchanges
mod outcomes_under_load; // many threads under faults
mod pre_sign; // pre-signing from end to end
mod self_test; // the report of the self-test
mod tls; // trusted servers, and connections that break inside TLS
mod unsolicited_responses; // a server that sends a response too many

// Examples and recipes.

mod batch; // many terminations by several threads
mod contract_example; // `examples/contract.rs` as a process
mod examples; // `--help` and output of all examples
mod pre_sign_example; // `examples/pre_sign.rs` as a process
mod recovery; // `examples/recovery.rs`: retries after each fault
mod sandbox_example; // `examples/sandbox.rs` as a process, without code of the crate

// The sandbox.

mod sandbox_contracts; // the states of a contract
mod sandbox_control; // the paths under `/sandbox/`
mod sandbox_faults; // fault injection, byte by byte
mod sandbox_fields; // the fields of pre-signing
mod sandbox_gateway; // checks of signature, clock, headers and paths
mod sandbox_keys; // the keys that sign, and their serial numbers
mod sandbox_life; // the life of an order
mod sandbox_notifications; // notifications and their delivery
mod sandbox_orders; // the fields of orders and refunds

// Helpers of several modules.

mod fixture; // a sandbox and a raw client
#[path = "../support/platform.rs"]
mod platform; // WeChat Pay's side of an exchange, made with ring alone
mod raw_client; // a client made of a socket
mod shop; // a merchant at a sandbox with a signed contract
mod support; // merchant, platform keys, signed messages and a fixed time
#[path = "../support/tls_server.rs"]
mod tls_server; // an HTTPS server with its own certificate authority
