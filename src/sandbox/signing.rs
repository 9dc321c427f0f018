//! Signs the sandbox's messages, correctly or with a fault that a client must detect.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::credentials::{merchant_key, new_id};
use super::platform::Platform;
use crate::keys::PrivateKey;
use crate::time::unix_seconds;

/// The distance of [`Signing::Stale`] and [`Signing::Future`] from now, in seconds. It is twice the accepted difference.
const FAR: u64 = 600;

/// The way in which a message is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Signing {
    /// Correctly.
    #[default]
    Right,
    /// Not at all. All signature headers are missing.
    Missing,
    /// With the correct key, but over another body.
    Wrong,
    /// With a probe signature, which starts with `WECHATPAY/SIGNTEST/`. WeChat Pay sends such signatures now and then to
    /// check that they are refused.
    Probe,
    /// With a key that is not the platform's, under the id of a platform key.
    Foreign,
    /// Correctly, but `Wechatpay-Serial` names a key that the merchant does not know.
    UnknownSerial,
    /// Correctly, but with a timestamp ten minutes ago.
    Stale,
    /// Correctly, but with a timestamp ten minutes in the future.
    Future,
}

impl Signing {
    /// The id that [`Signing::UnknownSerial`] names.
    pub const UNKNOWN_SERIAL: &str = "PUB_KEY_ID_9999999999999999999999999999999999";

    /// Returns the signature headers for `body`. `requested` is the id of the key that the request names.
    pub(super) fn headers(
        self,
        platform: &Platform,
        requested: Option<&str>,
        body: &[u8],
        now: u64,
    ) -> Vec<(String, String)> {
        if self == Self::Missing {
            return Vec::new();
        }
        let (serial, key) = platform.signing_key(requested, now);
        let (nonce, time) = (new_id(), self.time(now));
        let signed = |key: &PrivateKey, body: &[u8]| {
            let message = [format!("{time}\n{nonce}\n").as_bytes(), body, b"\n"].concat();
            STANDARD.encode(key.sign(&message).unwrap_or_default())
        };
        let signature = match self {
            Self::Wrong => signed(key, b"another body"),
            Self::Probe => format!("WECHATPAY/SIGNTEST/{}", new_id()),
            // The merchant's own key serves as the foreign key, because it is not one of the platform's.
            Self::Foreign => merchant_key().map_or(String::new(), |key| signed(&key, body)),
            _ => signed(key, body),
        };
        let serial: &str = match self {
            Self::UnknownSerial => Self::UNKNOWN_SERIAL,
            _ => &serial,
        };
        [
            ("Wechatpay-Serial", serial),
            ("Wechatpay-Timestamp", &time.to_string()),
            ("Wechatpay-Nonce", &nonce),
            ("Wechatpay-Signature", &signature),
            ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn time(self, now: u64) -> u64 {
        match self {
            Self::Stale => now.saturating_sub(FAR),
            Self::Future => now.saturating_add(FAR),
            _ => now,
        }
    }
}

impl Platform {
    /// Signs a body as a response or a notification at this time, and returns the signature headers. Unit tests of a
    /// receiver can use it without a server.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// use wechatpay_contract::SignatureHeaders;
    /// use wechatpay_contract::sandbox::{Platform, Signing};
    ///
    /// let (platform, now) = (Platform::new()?, SystemTime::now());
    /// let headers = platform.sign(b"{}", now, Signing::Right);
    /// let headers = SignatureHeaders::from_pairs(headers.iter().map(|(name, value)| (name, value)))?;
    /// platform.verifier()?.verify(&headers, b"{}", now)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sign(&self, body: &[u8], time: SystemTime, signing: Signing) -> Vec<(String, String)> {
        signing.headers(self, None, body, unix_seconds(time))
    }
}
