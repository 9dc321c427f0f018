//! Checks that a request comes from the sandbox's merchant: the grammar of `Authorization`, the merchant, the clock and
//! the signature over the raw bytes.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Sandbox;
use super::answer::Refusal;
use super::http::HttpRequest;
use crate::error::KeyError;
use crate::keys::{PrivateKey, PublicKey};
use crate::signer::request_message;

/// The merchant whose requests are accepted.
pub(super) struct Identity {
    mchid: String,
    /// By the serial numbers of the merchant's certificates.
    keys: [PublicKey; 2],
    /// Whether the first certificate is no longer valid.
    is_first_revoked: AtomicBool,
}

impl Identity {
    pub(super) fn new(
        mchid: &str,
        key: &PrivateKey,
        renewed: &PrivateKey,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            mchid: mchid.to_owned(),
            keys: [
                key.public_key(Sandbox::MERCHANT_SERIAL_NO)?,
                renewed.public_key(Sandbox::RENEWED_SERIAL_NO)?,
            ],
            is_first_revoked: AtomicBool::new(false),
        })
    }

    pub(super) fn revoke_first(&self) {
        self.is_first_revoked.store(true, Ordering::SeqCst);
    }

    fn key(&self, serial_no: &str) -> Option<&PublicKey> {
        let [first, _] = &self.keys;
        self.keys
            .iter()
            .find(|key| key.id() == serial_no)
            .filter(|key| key.id() != first.id() || !self.is_first_revoked.load(Ordering::SeqCst))
    }

    pub(super) fn mchid(&self) -> &str {
        &self.mchid
    }

    /// Refuses with 401 whatever is wrong with the request's signature, in the order in which it is read.
    pub(super) fn check(&self, request: &HttpRequest, now: u64) -> Result<(), Refusal> {
        let authorization = request
            .header("Authorization")
            .and_then(Authorization::parse)
            .ok_or_else(|| {
                Refusal::sign_error("the Authorization header is missing or malformed")
            })?;
        let key = self
            .key(authorization.serial_no)
            .filter(|_| authorization.mchid == self.mchid)
            .ok_or_else(|| {
                Refusal::sign_error("the certificate serial number does not belong to the merchant")
            })?;
        if authorization.timestamp.abs_diff(now) >= 300 {
            return Err(Refusal::sign_error(
                "the timestamp differs by 5 minutes or more from the time of the request",
            ));
        }
        let message = request_message(
            &request.method,
            &request.target,
            authorization.timestamp,
            authorization.nonce_str,
            &request.body,
        );
        if STANDARD
            .decode(authorization.signature)
            .is_ok_and(|signature| key.verify(&message, &signature))
        {
            return Ok(());
        }
        Err(Refusal::sign_error("the signature is wrong"))
    }
}

/// The parts of an `Authorization` header.
struct Authorization<'a> {
    mchid: &'a str,
    nonce_str: &'a str,
    signature: &'a str,
    timestamp: u64,
    serial_no: &'a str,
}

impl<'a> Authorization<'a> {
    /// Each of the five parts exactly once, in any order.
    fn parse(header: &'a str) -> Option<Self> {
        let parts = header.strip_prefix("WECHATPAY2-SHA256-RSA2048 ")?;
        let mut names =
            ["mchid", "nonce_str", "signature", "timestamp", "serial_no"].map(|name| (name, None));
        for part in parts.split(',') {
            let (name, value) = part.split_once('=')?;
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            let (_, slot) = names.iter_mut().find(|(known, _)| *known == name)?;
            if value.is_empty() || value.contains('"') || slot.replace(value).is_some() {
                return None;
            }
        }
        let [mchid, nonce_str, signature, timestamp, serial_no] = names.map(|(_, value)| value);
        Some(Self {
            mchid: mchid?,
            nonce_str: nonce_str?,
            signature: signature?,
            timestamp: timestamp?.parse().ok()?,
            serial_no: serial_no?,
        })
    }
}
