//! Verifies one message against the platform keys at a given time.

use std::fmt;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{ApiError, Authenticity, KeyError, VerifyError};
use crate::keys::PublicKey;
use crate::platform_keys::{PlatformKeys, find};
use crate::time::unix_seconds;

const SERIAL: &str = "Wechatpay-Serial";
const TIMESTAMP: &str = "Wechatpay-Timestamp";
const NONCE: &str = "Wechatpay-Nonce";
const SIGNATURE: &str = "Wechatpay-Signature";
const SIGNATURE_TYPE: &str = "Wechatpay-Signature-Type";
const REQUEST_ID: &str = "Request-ID";
/// Identifies the server that sent an unsigned response, such as a proxy.
const SERVER: &str = "Server";

/// The headers of which [`SignatureHeaders`] holds the values.
const NAMES: [&str; 7] = [
    SERIAL,
    TIMESTAMP,
    NONCE,
    SIGNATURE,
    SIGNATURE_TYPE,
    REQUEST_ID,
    SERVER,
];

/// The scheme of all signatures.
const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// The prefix of a probe signature: an invalid signature that WeChat Pay sends to check that it is refused.
const PROBE_PREFIX: &str = "WECHATPAY/SIGNTEST/";
/// A message is refused if its time differs from now by this many seconds or more.
const STALE_AFTER: u64 = 300;

/// Verifies messages against the platform keys, which are the public keys for WeChat Pay's signatures.
///
/// Cheap to clone. The clones share the keys, so that a client and a notification receiver know the same ones.
///
/// A message is verified with the key that it names, which may be any key held. A request names one key in
/// `Wechatpay-Serial`, and so asks WeChat Pay to sign the response with that key. It is the last public key if there is
/// one (in the order of [`new`](Self::new), [`replace`](Self::replace) or
/// [`replace_public_keys`](Self::replace_public_keys)), otherwise the valid certificate that expires last. When WeChat
/// Pay assigns a new public key to the merchant, hold both keys, the new one last.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4013053249>.
#[derive(Clone)]
pub struct Verifier {
    keys: PlatformKeys,
}

impl Verifier {
    /// Makes a verifier with `keys`: WeChat Pay public keys 微信支付公钥, platform certificates 平台证书, or both during a
    /// migration.
    ///
    /// ```
    /// use wechatpay_contract::{PublicKey, Verifier};
    ///
    /// // The content of pub_key.pem.
    /// let pem = std::fs::read("tests/keys/rsa2048_public.pem")?;
    /// let id = "PUB_KEY_ID_0000000000000024101100397200000006";
    /// let verifier = Verifier::new([PublicKey::from_pem(id, pem)?])?;
    /// assert_eq!(verifier.key_ids(), [id]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyError`] if there is no key, or if two have the same id.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Result<Self, KeyError> {
        PlatformKeys::new(keys).map(|keys| Self { keys })
    }

    /// Makes a verifier without keys, which refuses every message until keys are added by [`replace`](Self::replace) or
    /// by the download of the platform certificates.
    pub fn without_keys() -> Self {
        Self {
            keys: PlatformKeys::default(),
        }
    }

    /// Replaces all keys held by this verifier and its clones with `keys`. Downloaded certificates are removed too. To
    /// keep them, use [`replace_public_keys`](Self::replace_public_keys).
    ///
    /// A verification in progress uses the old keys. Requests in flight have named an old key. Keep that key among the
    /// new ones until their responses have arrived, otherwise the responses cannot be verified.
    ///
    /// # Errors
    ///
    /// The errors of [`Verifier::new`]. On an error, the old keys are kept.
    pub fn replace(&self, keys: impl IntoIterator<Item = PublicKey>) -> Result<(), KeyError> {
        self.keys.replace(keys, |_| true)
    }

    /// Replaces the public keys held by this verifier and its clones with `keys`, and keeps the certificates, except
    /// one whose serial number is the id of one of `keys`.
    ///
    /// Use it when WeChat Pay assigns a public key to a merchant that uses certificates. Requests name the public key
    /// at once, but responses and notifications are still signed with certificates for days. Use it also to replace one
    /// public key with another: pass both until all messages are signed with the new one. A key counts as a certificate
    /// only if it was read from one: the key that [`PublicKey::from_pem`] reads under a serial number is replaced. A
    /// service that passes every key itself uses [`replace`](Self::replace).
    ///
    /// # Errors
    ///
    /// The errors of [`Verifier::new`]. On an error, the old keys are kept.
    pub fn replace_public_keys(
        &self,
        keys: impl IntoIterator<Item = PublicKey>,
    ) -> Result<(), KeyError> {
        self.keys.replace(keys, |old| !old.is_certificate())
    }

    /// Returns the ids of the keys held: the ids of public keys and the serial numbers of certificates.
    pub fn key_ids(&self) -> Vec<String> {
        let keys = self.keys.current();
        keys.iter().map(|key| key.id().to_owned()).collect()
    }

    /// Verifies that WeChat Pay signed `body`, the raw bytes as they were received, at a time less than 300 seconds
    /// from `now`, with a key that is held and valid.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] for the first check that fails. Do not trust anything in the message then. The signature is
    /// checked last, after the form of the headers, the time and the key's id.
    pub fn verify(
        &self,
        headers: &SignatureHeaders<'_>,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), VerifyError> {
        verify_with(&self.keys.current(), headers, body, now)
    }

    /// Reads an error response. If it names a key that is not held, it is not refused but counts as unsigned: while
    /// keys are being replaced, its code and message are needed most.
    pub(crate) fn read_failure(
        &self,
        status: u16,
        headers: &SignatureHeaders<'_>,
        body: &[u8],
        now: SystemTime,
    ) -> Result<ApiError, VerifyError> {
        let (authenticity, unknown_key) = match self.verify(headers, body, now) {
            Ok(()) => (Authenticity::Signed, None),
            Err(_) if !headers.is_signed() => (Authenticity::Unsigned, None),
            Err(VerifyError::UnknownSerial { received, .. }) => {
                (Authenticity::Unsigned, Some(received))
            }
            Err(error) => return Err(error),
        };
        let request_id = headers.request_id().map(str::to_owned);
        let server = headers.server();
        let mut error = ApiError::from_response(status, body, request_id, server, authenticity);
        error.unknown_key = unknown_key;
        Ok(error)
    }

    /// Returns the platform keys held. A service can raise an alarm before the last certificate expires:
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use wechatpay_contract::Verifier;
    ///
    /// /// Checks whether there is a key that can still be used in 14 days.
    /// fn lasts_14_days(verifier: &Verifier) -> bool {
    ///     let then = SystemTime::now() + Duration::from_secs(14 * 24 * 60 * 60);
    ///     let then = then.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    ///     let keys = verifier.platform_keys();
    ///     // A public key has no validity, since it does not expire.
    ///     keys.iter().any(|key| key.validity().is_none_or(|validity| validity.not_after > then))
    /// }
    /// ```
    pub fn platform_keys(&self) -> Vec<PublicKey> {
        self.keys.current().to_vec()
    }

    pub(crate) fn keys(&self) -> &PlatformKeys {
        &self.keys
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("keys", &self.keys.current())
            .finish()
    }
}

/// The headers of a WeChat Pay message that are needed to verify its signature, and `Request-ID` and `Server`, which
/// errors report.
#[derive(Clone, Copy, Default)]
pub struct SignatureHeaders<'a> {
    /// In the order of [`NAMES`].
    values: [Option<&'a str>; NAMES.len()],
}

impl<'a> SignatureHeaders<'a> {
    /// Picks these headers from all received headers. The case of names does not matter. Accepts the header iterators
    /// of most HTTP crates, such as that of `&http::HeaderMap`.
    ///
    /// # Errors
    ///
    /// [`VerifyError::DuplicateHeader`] if one of the signature headers, whose names start with `Wechatpay-`, occurs
    /// twice, [`VerifyError::MalformedHeader`] if one of them is not UTF-8. `Request-ID` and `Server` cause no error:
    /// the first one that is UTF-8 counts. [`Verifier::verify`] fails if a header that it needs is missing or empty.
    pub fn from_pairs<N: AsRef<str> + ?Sized + 'a, V: AsRef<[u8]> + ?Sized + 'a>(
        pairs: impl IntoIterator<Item = (&'a N, &'a V)>,
    ) -> Result<Self, VerifyError> {
        let (headers, checked) = Self::read(pairs);
        checked.map(|()| headers)
    }

    /// Reads all pairs, even after the first invalid one, so that the `Request-ID` of a refused message is known.
    pub(crate) fn read<N: AsRef<str> + ?Sized + 'a, V: AsRef<[u8]> + ?Sized + 'a>(
        pairs: impl IntoIterator<Item = (&'a N, &'a V)>,
    ) -> (Self, Result<(), VerifyError>) {
        let mut headers = Self::default();
        let mut checked = Ok(());
        for (name, value) in pairs {
            if let Err(error) = headers.set(name.as_ref(), value.as_ref()) {
                checked = checked.and(Err(error));
            }
        }
        (headers, checked)
    }

    /// Calls `lookup` with the name of each header, such as `Wechatpay-Serial`, and again in lower case if that returns
    /// `None`. It is for frameworks without an iterator over headers. It cannot detect a duplicate header, so prefer
    /// [`from_pairs`](Self::from_pairs).
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<&'a str>) -> Self {
        let find = |name: &str| lookup(name).or_else(|| lookup(&name.to_ascii_lowercase()));
        Self {
            values: NAMES.map(find),
        }
    }

    pub(crate) fn server(&self) -> Option<&'a str> {
        self.get(SERVER)
    }

    /// Returns `Request-ID`, which names the message for WeChat Pay's support. It is not signed and is usually logged,
    /// so at most its first 128 visible ASCII characters are returned.
    pub fn request_id(&self) -> Option<&'a str> {
        let id = self.get(REQUEST_ID)?;
        let visible = id.bytes().take(128).take_while(u8::is_ascii_graphic);
        id.get(..visible.count()).filter(|id| !id.is_empty())
    }

    /// Returns `Wechatpay-Serial`, the id of the key with which the message claims to be signed.
    pub fn serial(&self) -> Option<&'a str> {
        self.get(SERIAL)
    }

    /// Checks whether there is a signature, valid or not.
    pub fn is_signed(&self) -> bool {
        self.get(SIGNATURE).is_some()
    }

    fn set(&mut self, name: &str, value: &'a [u8]) -> Result<(), VerifyError> {
        let mut slots = NAMES.into_iter().zip(&mut self.values);
        let Some((name, slot)) = slots.find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return Ok(());
        };
        let text = std::str::from_utf8(value);
        match (name, &slot) {
            // These headers are not needed for the verification, so they never cause a message to be refused.
            (REQUEST_ID | SERVER, _) => *slot = slot.or(text.ok()),
            (_, Some(_)) => return Err(VerifyError::DuplicateHeader { name }),
            (_, None) => *slot = Some(text.map_err(|_| malformed(name, "text"))?),
        }
        Ok(())
    }

    /// Returns `None` for an empty header, which counts as missing.
    fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = NAMES
            .iter()
            .zip(self.values)
            .find(|(known, _)| **known == name)?;
        value.filter(|value| !value.trim().is_empty())
    }

    fn require(&self, name: &'static str) -> Result<&'a str, VerifyError> {
        self.get(name).ok_or(VerifyError::MissingHeader { name })
    }
}

impl fmt::Debug for SignatureHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(NAMES.iter().zip(self.values))
            .finish()
    }
}

/// Verifies a message against these keys as [`Verifier::verify`] does.
pub(crate) fn verify_with(
    keys: &[PublicKey],
    headers: &SignatureHeaders<'_>,
    body: &[u8],
    now: SystemTime,
) -> Result<(), VerifyError> {
    let now = unix_seconds(now);
    let serial = headers.require(SERIAL)?;
    let timestamp = headers.require(TIMESTAMP)?;
    let nonce = headers.require(NONCE)?;
    let signature = headers.require(SIGNATURE)?;
    if let Some(found) = headers.get(SIGNATURE_TYPE).filter(|found| *found != SCHEME) {
        let found = found.to_owned();
        return Err(VerifyError::UnsupportedSignatureType { found });
    }
    // A line feed in the nonce would move the boundary between nonce and body, and one signature would match two
    // bodies.
    if !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed(NONCE, "visible ASCII characters"));
    }
    check_time(timestamp, now)?;
    let key = find(keys, serial, now)?;
    // Services raise no alarm for a probe. The key's id is checked first, so that a message with an unknown key does
    // not pass as a probe.
    if signature.starts_with(PROBE_PREFIX) {
        return Err(VerifyError::Probe);
    }
    match is_signature(signature, key, &signed_message(timestamp, nonce, body)) {
        true => Ok(()),
        false => Err(VerifyError::WrongSignature {
            key_id: key.id().to_owned(),
            check: what_to_check(signature, body),
        }),
    }
}

/// Checks whether a text is the base64 of the key's signature of the message.
fn is_signature(text: &str, key: &PublicKey, message: &[u8]) -> bool {
    // More than enough for the largest key, whose signatures have 512 bytes.
    let mut raw = [0; 1024];
    let decoded = STANDARD.decode_slice(text, &mut raw).ok();
    decoded
        .and_then(|length| raw.get(..length))
        .is_some_and(|raw| key.verify(message, raw))
}

/// Names the likeliest mistake behind a wrong signature.
fn what_to_check(signature: &str, body: &[u8]) -> &'static str {
    match STANDARD.decode(signature) {
        Err(_) if signature.contains(' ') => {
            "Wechatpay-Signature has spaces, perhaps in place of '+': do not URL-decode headers"
        }
        Err(_) => "Wechatpay-Signature is not base64: pass it as it was received",
        Ok(_) if body.is_empty() => {
            "the body is empty: pass the raw bytes, before the framework reads them"
        }
        Ok(_) => {
            "pass the raw body as it was received, neither parsed and written again nor converted to another charset, and \
             compare the key with the one shown under this id in the merchant platform"
        }
    }
}

/// Returns the message that a signature covers: time, nonce and body, each followed by a line feed.
pub(crate) fn signed_message(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [timestamp.as_bytes(), nonce.as_bytes(), body, b""].join(&b'\n')
}

fn check_time(timestamp: &str, now: u64) -> Result<(), VerifyError> {
    // `parse` accepts a leading `+`, so only digits are allowed.
    let is_plain = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    match timestamp.parse::<u64>() {
        Ok(timestamp) if is_plain && timestamp.abs_diff(now) < STALE_AFTER => Ok(()),
        Ok(timestamp) if is_plain => Err(VerifyError::Stale { timestamp, now }),
        _ => Err(malformed(TIMESTAMP, "Unix seconds, digits only")),
    }
}

fn malformed(name: &'static str, wanted: &'static str) -> VerifyError {
    VerifyError::MalformedHeader { name, wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_time_nonce_and_the_raw_body() {
        let body = b"{\"a\":\r\n\xFF}";
        assert_eq!(
            signed_message("01554209980", "c5ac7061fccab6bf", body),
            b"01554209980\nc5ac7061fccab6bf\n{\"a\":\r\n\xFF}\n"
        );
        assert_eq!(signed_message("1", "N", b""), b"1\nN\n\n");
    }
}
