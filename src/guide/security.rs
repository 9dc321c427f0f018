//! The guarantees of this crate, and their limits.
//!
//! # Guaranteed
//!
//! - Nothing unverified is returned as success. The signature is verified over the raw bytes before they are parsed, and no
//!   switch turns that off. A message dated 300 seconds or more off the clock is refused.
//! - [`Outcome::NotSent`](crate::Outcome::NotSent) means that nothing of the request was sent. The client itself retries only
//!   two kinds of calls: a call for which no connection could be made and, once, a `GET` whose connection broke.
//! - Plain `http://` is refused except for loopback. Redirects are never followed. No proxy is taken from the environment.
//!   A response body over 1 MiB is an error.
//! - A connection is used for another call only if the response on it was verified and read to its last byte.
//! - No input from the network or the caller causes a panic. Fuzzers, property tests and fault injection check that.
//!   The crate has no `unsafe` code.
//! - `Debug`, `Display` and errors never show a key or the `Authorization` header. [`DecodeError`](crate::DecodeError) shows none
//!   of the values that it read. An [`ApiError`](crate::ApiError) may quote WeChat Pay's message about a field, with its value.
//!
//! # Not guaranteed
//!
//! - **An unsigned error is only as trustworthy as TLS.** WeChat Pay does not sign every error, and never a 401. See
//!   [`ApiError::authenticity`](crate::ApiError::authenticity). The HTTP status of a response is never signed.
//! - **A signature does not name the request.** Typed calls compare what the response repeats of the request
//!   ([`Error::Mismatch`](crate::Error::Mismatch)). After [`Client::execute`](crate::Client::execute), compare it yourself.
//! - **A notification can be replayed for 300 seconds.** Handle each only once, and query before you act.
//! - **The clock must be right.** If it is 300 seconds or more off, all calls fail. If it is set back to an earlier
//!   time, messages of that time are accepted again. TLS trusts the system's clock too.
//! - **DNS and root certificates are trusted**: the system's DNS, and Mozilla's root certificates or yours. Certificates are not
//!   pinned, and revocation is not checked.
//! - **A platform certificate given as PEM is trusted.** The authority's signature on it is not checked.
//! - **Keys are not wiped from memory**, because ring does not wipe them. [`Signer::from_function`](crate::Signer::from_function)
//!   lets you keep the private key elsewhere, such as in an HSM.
//! - **`Debug` of typed requests, sessions, contracts and events shows their values**: openid, display name, session ids. The log
//!   level `trace` of `ureq` and `ureq_proto` shows them too. Keep both out of logs.
//! - **The sandbox's keys are published** with this crate and protect nothing.
