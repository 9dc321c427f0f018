//! A local gateway that plays WeChat Pay, for tests and development.

#[allow(dead_code, unused_imports)]
// The gateway itself, its only user, comes with the rest of the sandbox.
mod http;
