//! Private, public and APIv3 keys, with their PEM and DER formats. Only this module uses ring.

mod der;
mod file;
mod formats;
mod id;
mod pem;
#[cfg(feature = "client")]
mod random;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};

use crate::error::{Cause, KeyError};

use self::id::checked_id;

#[cfg(feature = "client")]
pub(crate) use self::formats::is_certificate;
#[cfg(feature = "client")]
pub(crate) use self::id::is_serial_number;
pub(crate) use self::id::{is_same_id, serial_number};
#[cfg(feature = "client")]
pub(crate) use self::random::random_nonce;

/// A fuzzing build (`--cfg fuzzing`, see `tests/fuzz`) accepts this as a valid signature, and as the tag of an
/// unencrypted plaintext. Otherwise no fuzzed input would pass the cryptography.
#[cfg(fuzzing)]
const FUZZING: &[u8] = b"fuzzing";

/// The merchant's private RSA key, which signs requests: the content of `apiclient_key.pem` (商户API证书私钥).
///
/// It cannot be cloned, compared or serialized, and its `Debug` output shows only its size. Share it by reference or in
/// an `Arc`.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4013053053>.
pub struct PrivateKey {
    pair: RsaKeyPair,
}

impl PrivateKey {
    /// Reads an RSA key of 2048, 3072 or 4096 bits from PEM text: `BEGIN PRIVATE KEY` or `BEGIN RSA PRIVATE KEY`, in
    /// PKCS#8 or PKCS#1.
    ///
    /// Pass the file's content, or use [`from_file`](Self::from_file) with its path. The text may come from an
    /// environment variable, JSON or a Kubernetes secret. These variations are accepted: text around the block, any
    /// line width, a byte order mark, line breaks written as `\n`, missing BEGIN and END lines, and the base64 of the
    /// whole text.
    ///
    /// ```
    /// use wechatpay_contract::PrivateKey;
    ///
    /// let file = std::fs::read_to_string("tests/keys/rsa2048_pkcs8.pem")?;
    /// let variable = file.replace('\n', "\\n");
    /// PrivateKey::from_pem(variable)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyError`] if there is no such block, if there is another PEM block beside it, if it is encrypted or damaged,
    /// or if the key in it is not an RSA key of a supported size with a public exponent of 65537 or more. The message
    /// says what was found and what is wanted, and shows no part of the key.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let der = pem::only_block(pem.as_ref(), pem::PRIVATE_KEY)?;
        let pair = RsaKeyPair::from_der(formats::private_key(&der)?)
            .map_err(|_| pem::PRIVATE_KEY.malformed("its components are inconsistent"))?;
        Ok(Self { pair })
    }

    /// Reads the file `apiclient_key.pem` as [`from_pem`](Self::from_pem) does.
    ///
    /// # Errors
    ///
    /// The errors of [`from_pem`](Self::from_pem) and of reading the file, with the file's path unless it looks like a
    /// key.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        file::read(path.as_ref(), |pem| Self::from_pem(pem))
    }

    /// Signs with RSA PKCS#1 v1.5 and SHA-256. The signature is as long as the modulus.
    ///
    /// Fails if the key's components are inconsistent. ring checks some of them only when it signs.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Cause> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        // This padding is deterministic. ring requires a random source but does not use it.
        let unused = SystemRandom::new();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &unused, message, &mut signature)
            .map_err(|_| "the components of the RSA private key are inconsistent")?;
        Ok(signature)
    }

    /// Returns the public half, under the given id.
    #[cfg(any(test, feature = "sandbox"))]
    pub(crate) fn public_key(&self, id: impl Into<String>) -> Result<PublicKey, KeyError> {
        let id = checked_id(&id.into())?;
        Ok(PublicKey::new(id, self.public_pkcs1(), None))
    }

    /// Returns the public half as PKCS#1.
    pub(crate) fn public_pkcs1(&self) -> &[u8] {
        self.pair.public().as_ref()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.pair.public().modulus_len() * 8;
        f.debug_struct("PrivateKey")
            .field("bits", &bits)
            .finish_non_exhaustive()
    }
}

/// A platform key: a public RSA key of WeChat Pay, with the id by which `Wechatpay-Serial` names it. It verifies
/// responses and notifications.
///
/// It is either a WeChat Pay public key (微信支付公钥), which has no expiry, or a platform certificate (平台证书). The
/// merchant's own certificate is read as the same type, for
/// [`Signer::from_certificate`](crate::Signer::from_certificate).
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012153196> (public key),
/// <https://pay.weixin.qq.com/doc/v3/merchant/4012068814> (certificate).
///
/// Cheap to clone. The clones share the key.
#[derive(Clone)]
pub struct PublicKey {
    id: Arc<str>,
    /// PKCS#1.
    key: UnparsedPublicKey<Arc<[u8]>>,
    validity: Option<Validity>,
}

impl PublicKey {
    /// Reads a public RSA key of 2048 to 4096 bits from PEM text: `BEGIN PUBLIC KEY` (the file `pub_key.pem`) or
    /// `BEGIN RSA PUBLIC KEY`, in all the forms that [`PrivateKey::from_pem`] reads.
    ///
    /// `id` is the id that WeChat Pay shows next to the key (微信支付公钥ID), such as
    /// `PUB_KEY_ID_0000000000000024101100397200000006`. The documented form is `PUB_KEY_ID_` followed by digits.
    /// Letters are accepted too, up to 64 characters in total. For the public key of a certificate, `id` is the
    /// certificate's serial number: up to 40 hexadecimal digits in either case. Two forms of it are refused: 32 digits,
    /// the length of an APIv3 key, and 34 decimal digits, a public key's id without its prefix.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the id does not have that form (the error does not show the id), if there is no such block, if
    /// there is another PEM block beside it, if it is damaged, or if the key in it is not an RSA key of that size with
    /// an odd public exponent from 3 to 8589934591.
    pub fn from_pem(id: impl Into<String>, pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::under(checked_id(&id.into())?, pem.as_ref())
    }

    fn under(id: String, pem: &[u8]) -> Result<Self, KeyError> {
        let der = pem::only_block(pem, pem::PUBLIC_KEY)?;
        Ok(Self::new(id, formats::public_key(&der)?, None))
    }

    /// Reads the file `pub_key.pem` as [`from_pem`](Self::from_pem) does.
    ///
    /// # Errors
    ///
    /// The errors of [`from_pem`](Self::from_pem) and of reading the file, with the file's path unless it looks like a
    /// key.
    pub fn from_file(id: impl Into<String>, path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let id = checked_id(&id.into())?;
        file::read(path.as_ref(), |pem| Self::under(id, pem))
    }

    /// Reads a certificate from PEM text: `BEGIN CERTIFICATE`, in all the forms that [`PrivateKey::from_pem`] reads.
    ///
    /// Its id is the certificate's serial number in upper-case hexadecimal. The certificate's own signature is not
    /// checked, so the caller must trust its source.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if there is no such block, if there is another PEM block beside it, such as the rest of a chain, if
    /// it is damaged, or if the key in it is not an RSA key of 2048 to 4096 bits. An expired certificate is read: its
    /// validity is checked when a message is verified.
    pub fn from_certificate_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let der = pem::only_block(pem.as_ref(), pem::CERTIFICATE)?;
        let (serial_number, validity, key) = formats::certificate(&der)?;
        Ok(Self::new(serial_number, key, Some(validity)))
    }

    /// Reads the file of a certificate as [`from_certificate_pem`](Self::from_certificate_pem) does.
    ///
    /// # Errors
    ///
    /// The errors of [`from_certificate_pem`](Self::from_certificate_pem) and of reading the file, with the file's
    /// path unless it looks like a key.
    pub fn from_certificate_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        file::read(path.as_ref(), |pem| Self::from_certificate_pem(pem))
    }

    fn new(id: String, pkcs1: &[u8], validity: Option<Validity>) -> Self {
        Self {
            id: id.into(),
            key: UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pkcs1.into()),
            validity,
        }
    }

    /// Returns the id by which `Wechatpay-Serial` names this key. A serial number is in upper-case hexadecimal, two
    /// digits a byte, without leading zero bytes.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the validity of the certificate, or `None` for a public key, which has no expiry.
    ///
    /// The validity ends before the certificate's `notAfter` if the list of platform certificates had an earlier
    /// `expire_time`, see [`certificates::accept`](crate::certificates::accept).
    pub fn validity(&self) -> Option<Validity> {
        self.validity
    }

    /// Lets the validity of a certificate end at this time, in Unix seconds, unless it ends earlier.
    pub(crate) fn ending_at(mut self, unix_seconds: u64) -> Self {
        if let Some(validity) = &mut self.validity {
            validity.not_after = validity.not_after.min(unix_seconds);
        }
        self
    }

    /// Checks whether this key was read from a certificate.
    pub fn is_certificate(&self) -> bool {
        self.validity.is_some()
    }

    /// Checks whether the key may be used at this time, in Unix seconds. A public key may always be used.
    pub(crate) fn is_valid_at(&self, unix_seconds: u64) -> bool {
        self.validity.is_none_or(|validity| {
            (validity.not_before..=validity.not_after).contains(&unix_seconds)
        })
    }

    /// Checks whether this key verifies the signature, in raw bytes, of the message: RSA PKCS#1 v1.5 with SHA-256.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        #[cfg(fuzzing)]
        if signature == FUZZING {
            return true;
        }
        self.key.verify(message, signature).is_ok()
    }

    /// Returns the key as PKCS#1.
    pub(crate) fn pkcs1(&self) -> &[u8] {
        self.key.as_ref()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("id", &self.id)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// The validity of a certificate, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Validity {
    /// First second of validity (`notBefore`), in Unix seconds.
    pub not_before: u64,
    /// Last second of validity (`notAfter`, or an earlier one, see [`PublicKey::validity`]), in Unix seconds.
    pub not_after: u64,
}

/// The APIv3 key (APIv3密钥), which decrypts notifications and platform certificates.
///
/// It cannot be cloned, compared or serialized, and its `Debug` output shows nothing of it. Share it by reference or in
/// an `Arc`.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4013053267>.
pub struct ApiV3Key {
    key: LessSafeKey,
}

impl ApiV3Key {
    /// Makes a key from the value set in the merchant platform: 32 bytes, used without decoding.
    ///
    /// # Errors
    ///
    /// [`KeyError::ApiV3KeyLength`] for any other length. A trailing line break is not removed, and the error names it.
    pub fn new(key: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let key = key.as_ref();
        let unbound = UnboundKey::new(&AES_256_GCM, key).map_err(|_| KeyError::ApiV3KeyLength {
            bytes: key.len(),
            ends_with_line_break: key.ends_with(b"\n") || key.ends_with(b"\r"),
        })?;
        Ok(Self {
            key: LessSafeKey::new(unbound),
        })
    }

    /// Decrypts in place with AES-256-GCM. The last 16 bytes are the tag. Returns `None` if the nonce is not 12 bytes
    /// long, or if any input was altered.
    pub(crate) fn decrypt<'a>(
        &self,
        nonce: &[u8],
        associated_data: &[u8],
        ciphertext_and_tag: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        #[cfg(fuzzing)]
        if ciphertext_and_tag.ends_with(FUZZING) {
            return ciphertext_and_tag.strip_suffix(FUZZING);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plaintext = self
            .key
            .open_in_place(nonce, Aad::from(associated_data), ciphertext_and_tag)
            .ok()?;
        Some(plaintext)
    }

    /// Encrypts with AES-256-GCM and appends the tag. A nonce must never be reused with the same key.
    #[cfg(feature = "sandbox")]
    pub(crate) fn encrypt(
        &self,
        nonce: [u8; 12],
        associated_data: &[u8],
        plaintext: &[u8],
    ) -> Vec<u8> {
        let mut in_out = plaintext.to_vec();
        let sealed = self.key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated_data),
            &mut in_out,
        );
        // ring fails only for a plaintext of about 64 GiB. The empty result is too short for a tag, so it never
        // decrypts.
        sealed.map_or_else(|_| Vec::new(), |()| in_out)
    }
}

impl fmt::Debug for ApiV3Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiV3Key").finish_non_exhaustive()
    }
}

fn upper_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}
