//! The keys and ids of the sandbox's merchant and platform, published with this crate, and new random ids.

use crate::error::KeyError;
use crate::keys::{PrivateKey, random_nonce};

pub(super) const MCHID: &str = "1900000109";
pub(super) const MERCHANT_SERIAL_NO: &str = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1";
pub(super) const RENEWED_SERIAL_NO: &str = "6A3C9D2E17F04B58A1C2D3E4F5061728394A5B6C";
pub(super) const API_V3_KEY: &str = "SandboxApiV3KeyOf32BytesExactly!";
pub(super) const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0000000000000024101100397200000006";
pub(super) const PUBLIC_KEY_PEM: &str = include_str!("keys/platform_public_key.pem");
pub(super) const MERCHANT_KEY_PEM: &str = include_str!("keys/merchant_key.pem");
/// The platform's private keys. The first belongs to the WeChat Pay public key.
pub(super) const PLATFORM_KEY_PEMS: [&str; 2] = [
    include_str!("keys/platform_key.pem"),
    include_str!("keys/platform_key_2.pem"),
];

pub(super) fn merchant_key() -> Result<PrivateKey, KeyError> {
    PrivateKey::from_pem(MERCHANT_KEY_PEM)
}

/// Returns the private key of the merchant's renewed certificate.
pub(super) fn renewed_key() -> Result<PrivateKey, KeyError> {
    PrivateKey::from_pem(include_str!("keys/merchant_key_2.pem"))
}

/// Compares two serial numbers as numbers, without regard to leading zeros and case.
pub(super) fn is_same_serial_no(one: &str, other: &str) -> bool {
    let digits = |serial_no: &str| serial_no.trim_start_matches('0').to_ascii_uppercase();
    digits(one) == digits(other)
}

/// Returns a new nonce or id of 32 characters.
pub(super) fn new_id() -> String {
    random_nonce().unwrap_or_else(|_| "0".repeat(32))
}
