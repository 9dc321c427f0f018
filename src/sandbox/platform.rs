//! The sandbox's platform keys, with which it signs its answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Sandbox;
use crate::error::{Error, KeyError};
use crate::keys::PrivateKey;
use crate::verifier::{Verifier, signed_message};

const PLATFORM_KEY: &str = include_str!("keys/platform_key.pem");

/// The keys of the platform that the sandbox plays.
pub(super) struct Platform {
    key: PrivateKey,
}

impl Platform {
    pub(super) fn new() -> Result<Self, Error> {
        let key: Result<PrivateKey, KeyError> = PrivateKey::from_pem(PLATFORM_KEY);
        Ok(Self { key: key? })
    }

    /// What the merchant needs to verify the sandbox's answers.
    pub(super) fn verifier(&self) -> Result<Verifier, Error> {
        Ok(Verifier::new([self
            .key
            .public_key(Sandbox::PUBLIC_KEY_ID)?])?)
    }

    /// Whether `id` names a platform key.
    pub(super) fn knows(&self, id: &str) -> bool {
        id == Sandbox::PUBLIC_KEY_ID
    }

    /// The signature headers for `body`.
    pub(super) fn signature_headers(
        &self,
        body: &[u8],
        timestamp: u64,
        nonce: &str,
    ) -> Vec<(String, Vec<u8>)> {
        let timestamp = timestamp.to_string();
        let signature = self
            .key
            .sign(&signed_message(&timestamp, nonce, body))
            .map(|signature| STANDARD.encode(signature.as_bytes()))
            .unwrap_or_default();
        [
            ("Wechatpay-Serial", Sandbox::PUBLIC_KEY_ID.to_owned()),
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Nonce", nonce.to_owned()),
            ("Wechatpay-Signature", signature),
            (
                "Wechatpay-Signature-Type",
                "WECHATPAY2-SHA256-RSA2048".to_owned(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .into()
    }
}
