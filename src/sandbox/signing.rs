//! How the sandbox signs a message: rightly, or wrong in one of the ways that a client must notice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::new_id;
use super::platform::Platform;
use crate::verifier::signed_message;

/// How far [`Signing::Stale`] and [`Signing::Future`] are from now, in seconds: twice what is accepted.
const FAR: u64 = 600;

/// How a message is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signing {
    /// As it should be.
    Right,
    /// Not at all: none of the `Wechatpay-` headers is there.
    Missing,
    /// By the right key, but over another body.
    Wrong,
    /// As WeChat Pay does now and then to see that it is refused: the signature starts with `WECHATPAY/SIGNTEST/`.
    Probe,
    /// By a key that is not the platform's, under the serial of one that is.
    Foreign,
    /// Rightly, but `Wechatpay-Serial` names a key that the merchant does not know.
    UnknownSerial,
    /// Rightly, but ten minutes ago.
    Stale,
    /// Rightly, but ten minutes from now.
    Future,
}

impl Signing {
    /// The id that [`Signing::UnknownSerial`] names.
    pub const UNKNOWN_SERIAL: &str = "PUB_KEY_ID_9999999999999999999999999999999999";

    /// The signature headers for `body`.
    pub(super) fn headers(
        self,
        platform: &Platform,
        body: &[u8],
        now: u64,
    ) -> Vec<(String, Vec<u8>)> {
        let nonce = new_id();
        let signed = |body, time| platform.signature_headers(body, time, &nonce);
        match self {
            Self::Right => signed(body, now),
            Self::Missing => Vec::new(),
            Self::Wrong => signed(b"another body", now),
            Self::Probe => {
                let probe = format!("WECHATPAY/SIGNTEST/{}", new_id());
                replaced(signed(body, now), "Wechatpay-Signature", &probe)
            }
            Self::Foreign => {
                let foreign = foreign_signature(body, now, &nonce);
                replaced(signed(body, now), "Wechatpay-Signature", &foreign)
            }
            Self::UnknownSerial => {
                let headers = signed(body, now);
                replaced(headers, "Wechatpay-Serial", Self::UNKNOWN_SERIAL)
            }
            Self::Stale => signed(body, now.saturating_sub(FAR)),
            Self::Future => signed(body, now.saturating_add(FAR)),
        }
    }
}

fn replaced(
    mut headers: Vec<(String, Vec<u8>)>,
    name: &str,
    value: &str,
) -> Vec<(String, Vec<u8>)> {
    for (known, old) in &mut headers {
        if known == name {
            *old = value.into();
        }
    }
    headers
}

/// The merchant's own key stands in for a stranger's: it is the one other key that the sandbox has.
fn foreign_signature(body: &[u8], timestamp: u64, nonce: &str) -> String {
    let message = signed_message(&timestamp.to_string(), nonce, body);
    super::merchant_key()
        .ok()
        .and_then(|key| key.sign(&message).ok())
        .map(|signature| STANDARD.encode(signature))
        .unwrap_or_default()
}
