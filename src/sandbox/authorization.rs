//! Checks that a request comes from the sandbox's merchant: the grammar of `Authorization`, the merchant, the timestamp
//! and the signature over the raw bytes.
//!
//! The signed message is built here and not by the client's code, so that each reveals a mistake of the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::credentials::{
    MERCHANT_SERIAL_NO, RENEWED_SERIAL_NO, is_same_serial_no, merchant_key, renewed_key,
};
use super::http::HttpRequest;
use super::response::Refusal;
use crate::error::KeyError;
use crate::keys::PublicKey;

/// The maximum number of characters of the signed message in a refusal.
const SHOWN: usize = 256;

/// The merchant whose requests are accepted.
pub(super) struct Identity {
    pub(super) mchid: String,
    /// The keys of the merchant's certificates, oldest first. The id of a key is the serial number of its certificate.
    keys: [PublicKey; 2],
}

impl Identity {
    pub(super) fn new(mchid: String) -> Result<Self, KeyError> {
        let keys = [
            merchant_key()?.public_key(MERCHANT_SERIAL_NO)?,
            renewed_key()?.public_key(RENEWED_SERIAL_NO)?,
        ];
        Ok(Self { mchid, keys })
    }

    /// Checks the request's signature and fails with a 401 response at the first fault. `revoked` is the number of the
    /// merchant's certificates, from the oldest, that are not accepted.
    pub(super) fn check(
        &self,
        request: &HttpRequest,
        now: u64,
        revoked: usize,
    ) -> Result<(), Refusal> {
        let header = request.header("Authorization").and_then(parse);
        let Some(([mchid, nonce, signature, serial_no], timestamp)) = header else {
            let message = "the Authorization header is missing or malformed";
            return Err(refusal(message, "authorization"));
        };
        let mut keys = self.keys.iter().skip(revoked);
        let key = keys.find(|key| is_same_serial_no(key.id(), serial_no));
        let Some(key) = key.filter(|_| mchid == self.mchid) else {
            let message = "the certificate serial number does not belong to the merchant";
            return Err(refusal(message, "serial_no"));
        };
        if timestamp.abs_diff(now) >= 300 {
            let message = "the timestamp differs by 5 minutes or more from the time of the request";
            return Err(refusal(message, "timestamp"));
        }
        let (method, url) = (&request.method, &request.target);
        let head = format!("{method}\n{url}\n{timestamp}\n{nonce}\n");
        let message = [head.as_bytes(), &request.body, b"\n"].concat();
        match STANDARD.decode(signature) {
            Ok(signature) if key.verify(&message, &signature) => Ok(()),
            _ => Err(wrong_signature(request, &message)),
        }
    }
}

fn refusal(message: &str, field: &str) -> Refusal {
    let detail = json!({"field": field, "location": "authorization"});
    Refusal::with_detail(401, "SIGN_ERROR", message, &detail)
}

/// The detail has the form that users of the real gateway report.
fn wrong_signature(request: &HttpRequest, message: &[u8]) -> Refusal {
    let text = String::from_utf8_lossy(message);
    let shown: String = text.chars().take(SHOWN).collect();
    let detail = json!({
        "detail": {"issue": "sign not match"},
        "field": "signature",
        "location": "authorization",
        "sign_information": {
            "method": request.method,
            "url": request.target,
            "sign_message_length": message.len(),
            "truncated_sign_message": shown,
        },
    });
    Refusal::with_detail(401, "SIGN_ERROR", "the signature is wrong", &detail)
}

/// Parses an `Authorization` header with each of its five parts exactly once, in any order. Returns `mchid`, `nonce_str`,
/// `signature` and `serial_no`, and the timestamp.
fn parse(header: &str) -> Option<([&str; 4], u64)> {
    let parts = header.strip_prefix("WECHATPAY2-SHA256-RSA2048 ")?;
    let mut names =
        ["mchid", "nonce_str", "signature", "serial_no", "timestamp"].map(|name| (name, None));
    for part in parts.split(',') {
        let (name, value) = part.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        let (_, slot) = names.iter_mut().find(|(known, _)| *known == name)?;
        if value.is_empty() || value.contains('"') || slot.replace(value).is_some() {
            return None;
        }
    }
    let [mchid, nonce, signature, serial_no, timestamp] = names.map(|(_, value)| value);
    Some((
        [mchid?, nonce?, signature?, serial_no?],
        timestamp?.parse().ok()?,
    ))
}
