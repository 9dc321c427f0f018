//! Random text for the nonces of requests.

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::error::Cause;

/// Returns 32 upper-case hexadecimal digits from the operating system's cryptographic random source.
pub(crate) fn random_nonce() -> Result<String, Cause> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Cause::from("the operating system gave no random bytes"))?;
    Ok(super::upper_hex(&bytes))
}
