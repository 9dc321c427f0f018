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

    /// Replaces all keys held by this verifier and its clones with `keys`. Downloaded certificates are removed too:
    /// [`replace_public_keys`](Self::replace_public_keys) keeps them.
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

    /// Replaces the public keys held by this verifier and its clones with `keys`, and keeps the certificates, except one
    /// whose serial number is the id of one of `keys`.
    ///
    /// Use it when WeChat Pay assigns a public key to a merchant that uses certificates. Requests name the public key
    /// at once, but responses and notifications are still signed with certificates for days. Use it also to replace one
    /// public key with another: pass both until all messages are signed with the new one. A public key whose id is a
    /// certificate's serial number is replaced too. A service that passes every key itself uses
    /// [`replace`](Self::replace).
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

    /// Reads an error response. It counts as unsigned if the key that signed it is not held, since its content is
    /// needed most while keys are being replaced.
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

/// The headers of a WeChat Pay message that are needed to verify its signature.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignatureHeaders<'a> {
    serial: Option<&'a str>,
    timestamp: Option<&'a str>,
    nonce: Option<&'a str>,
    signature: Option<&'a str>,
    signature_type: Option<&'a str>,
    request_id: Option<&'a str>,
    /// Identifies the server that sent an unsigned response, such as a proxy.
    server: Option<&'a str>,
}

impl<'a> SignatureHeaders<'a> {
    /// Picks these headers from all received headers. The case of names does not matter. Accepts the header iterators
    /// of most HTTP crates, such as that of `&http::HeaderMap`.
    ///
    /// # Errors
    ///
    /// [`VerifyError::DuplicateHeader`] if one of them occurs twice, [`VerifyError::MalformedHeader`] if one is not
    /// text. The verification fails if one is missing or empty.
    pub fn from_pairs<N, V>(
        pairs: impl IntoIterator<Item = (&'a N, &'a V)>,
    ) -> Result<Self, VerifyError>
    where
        N: AsRef<str> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        let (headers, checked) = Self::read(pairs);
        checked.map(|()| headers)
    }

    /// Reads all pairs, even after the first invalid one, so that the `Request-ID` of a refused message is known.
    pub(crate) fn read<N, V>(
        pairs: impl IntoIterator<Item = (&'a N, &'a V)>,
    ) -> (Self, Result<(), VerifyError>)
    where
        N: AsRef<str> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
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
            serial: find(SERIAL),
            timestamp: find(TIMESTAMP),
            nonce: find(NONCE),
            signature: find(SIGNATURE),
            signature_type: find(SIGNATURE_TYPE),
            request_id: find(REQUEST_ID),
            server: None,
        }
    }

    pub(crate) fn server(&self) -> Option<&'a str> {
        not_blank(self.server)
    }

    /// Returns `Request-ID`, which names the message for WeChat Pay's support. It is not signed and is usually logged,
    /// so at most its first 128 visible ASCII characters are returned.
    pub fn request_id(&self) -> Option<&'a str> {
        let id = not_blank(self.request_id)?;
        let visible = id.bytes().take(128).take_while(u8::is_ascii_graphic);
        not_blank(id.get(..visible.count()))
    }

    /// Returns `Wechatpay-Serial`, the id of the key with which the message claims to be signed.
    pub fn serial(&self) -> Option<&'a str> {
        not_blank(self.serial)
    }

    /// Checks whether there is a signature, valid or not.
    pub fn is_signed(&self) -> bool {
        not_blank(self.signature).is_some()
    }

    fn set(&mut self, name: &str, value: &'a [u8]) -> Result<(), VerifyError> {
        if name.eq_ignore_ascii_case(REQUEST_ID) {
            // This header is not signed, so it never causes a message to be refused.
            self.request_id = self.request_id.or_else(|| std::str::from_utf8(value).ok());
            return Ok(());
        }
        if name.eq_ignore_ascii_case("Server") {
            self.server = std::str::from_utf8(value).ok();
            return Ok(());
        }
        let slots = [
            (SERIAL, &mut self.serial),
            (TIMESTAMP, &mut self.timestamp),
            (NONCE, &mut self.nonce),
            (SIGNATURE, &mut self.signature),
            (SIGNATURE_TYPE, &mut self.signature_type),
        ];
        let is_of_name = |(known, _): &(&str, _)| known.eq_ignore_ascii_case(name);
        let Some((name, slot)) = slots.into_iter().find(is_of_name) else {
            return Ok(());
        };
        if slot.is_some() {
            return Err(VerifyError::DuplicateHeader { name });
        }
        let text = std::str::from_utf8(value).map_err(|_| VerifyError::MalformedHeader {
            name,
            wanted: "text",
        })?;
        *slot = Some(text);
        Ok(())
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
    let serial = require(SERIAL, headers.serial)?;
    let timestamp = require(TIMESTAMP, headers.timestamp)?;
    let nonce = require(NONCE, headers.nonce)?;
    let signature = require(SIGNATURE, headers.signature)?;
    check_signature_type(not_blank(headers.signature_type))?;
    check_nonce_header(nonce)?;
    check_time(timestamp, now)?;
    let key = find(keys, serial, now)?;
    // A probe raises no alarm. It is checked after the key's id, so that a message with an unknown serial number does
    // not pass as a probe.
    if signature.starts_with(PROBE_PREFIX) {
        return Err(VerifyError::Probe);
    }
    // Room for the signature of the largest key.
    let mut raw = [0; 1024];
    let decoded = STANDARD.decode_slice(signature, &mut raw).ok();
    let is_right = decoded
        .and_then(|length| raw.get(..length))
        .is_some_and(|raw| key.verify(&signed_message(timestamp, nonce, body), raw));
    match is_right {
        true => Ok(()),
        false => Err(VerifyError::WrongSignature {
            key_id: key.id().to_owned(),
            check: what_to_check(signature, body),
        }),
    }
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

/// Returns `None` for an empty header, which counts as missing.
fn not_blank(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.trim().is_empty())
}

fn require<'a>(name: &'static str, value: Option<&'a str>) -> Result<&'a str, VerifyError> {
    not_blank(value).ok_or(VerifyError::MissingHeader { name })
}

fn check_signature_type(signature_type: Option<&str>) -> Result<(), VerifyError> {
    match signature_type {
        None | Some(SCHEME) => Ok(()),
        Some(found) => Err(VerifyError::UnsupportedSignatureType {
            found: found.to_owned(),
        }),
    }
}

/// Returns an error unless the nonce is visible ASCII. A line feed in it would move the boundary between nonce and
/// body, and one signature would match two bodies.
fn check_nonce_header(nonce: &str) -> Result<(), VerifyError> {
    if nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(VerifyError::MalformedHeader {
        name: NONCE,
        wanted: "visible ASCII characters",
    })
}

fn check_time(timestamp: &str, now: u64) -> Result<(), VerifyError> {
    // `parse` accepts a leading `+`, so only digits are allowed.
    let is_plain = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let Some(timestamp) = timestamp.parse::<u64>().ok().filter(|_| is_plain) else {
        return Err(VerifyError::MalformedHeader {
            name: TIMESTAMP,
            wanted: "Unix seconds, digits only",
        });
    };
    if timestamp.abs_diff(now) >= STALE_AFTER {
        return Err(VerifyError::Stale { timestamp, now });
    }
    Ok(())
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
