//! The merchant's private key, WeChat Pay's public keys and the APIv3 key; the only place that names ring.

mod der;
mod formats;
mod pem;
#[cfg(feature = "client")]
mod random;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};

use crate::error::KeyError;

#[cfg(feature = "client")]
pub(crate) use self::formats::is_certificate;
#[cfg(feature = "client")]
pub(crate) use self::random::random_nonce;

/// The longest RSA signature: that of a key of 4096 bits.
const MAX_SIGNATURE_LEN: usize = 512;

/// Stands for a right signature, and for the tag of a plaintext that is not encrypted. Only a fuzzer's build knows it
/// (`--cfg fuzzing`, see `tests/fuzz`), or no input could get past the cryptography.
#[cfg(fuzzing)]
const FUZZING: &[u8] = b"fuzzing";

/// The merchant's private RSA key, with which requests are signed: the content of `apiclient_key.pem`
/// (商户API证书私钥).
///
/// It cannot be cloned, compared, serialized or printed; share it by reference or in an `Arc`.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4013053053>.
pub struct PrivateKey {
    pair: RsaKeyPair,
}

impl PrivateKey {
    /// Reads an RSA key of 2048, 3072 or 4096 bits from PEM text: `BEGIN PRIVATE KEY` (PKCS#8) or
    /// `BEGIN RSA PRIVATE KEY` (PKCS#1).
    ///
    /// Pass the file's content, not its name. Text around the block, a byte order mark and any line width are
    /// tolerated.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when there is not exactly one such block, when it is encrypted or damaged, or when the key in it is
    /// not an RSA key of a supported size with a public exponent of 65537 or more. The message names what was found and
    /// what is wanted, never any part of the key.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let block = pem::only_block(pem.as_ref(), pem::PRIVATE_KEY)?;
        let pkcs1 = match block.label {
            "PRIVATE KEY" => formats::pkcs8_content(&block.der)?,
            _ => &block.der,
        };
        // ring refuses all of this as well, but does not say which it was.
        formats::rsa_private_key(pkcs1)?.check_private()?;
        let pair = RsaKeyPair::from_der(pkcs1).map_err(|_| KeyError::Malformed {
            what: "the numbers of the RSA private key do not belong together",
        })?;
        Ok(Self { pair })
    }

    /// Signs with RSA PKCS#1 v1.5 and SHA-256.
    ///
    /// Fails when the key's numbers turn out not to belong together: some of them can only be checked by signing.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<RsaSignature, SigningFailed> {
        let mut signature = RsaSignature {
            bytes: [0; MAX_SIGNATURE_LEN],
            len: self.pair.public().modulus_len(),
        };
        let out = signature
            .bytes
            .get_mut(..signature.len)
            .ok_or(SigningFailed)?;
        // This padding has nothing random in it; ring asks for a source all the same and does not use it.
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, out)
            .map_err(|_| SigningFailed)?;
        Ok(signature)
    }

    /// Modulus and public exponent, big-endian.
    #[cfg(any(test, feature = "sandbox"))]
    pub(crate) fn public_numbers(&self) -> (Vec<u8>, Vec<u8>) {
        let RsaPublicKeyComponents { n, e } =
            RsaPublicKeyComponents::<Vec<u8>>::from(self.pair.public());
        (n, e)
    }

    /// The public half, under the given id.
    #[cfg(any(test, feature = "sandbox"))]
    pub(crate) fn public_key(&self, id: impl Into<String>) -> Result<PublicKey, KeyError> {
        let (modulus, exponent) = self.public_numbers();
        let numbers = formats::RsaNumbers {
            modulus: &modulus,
            exponent: &exponent,
        };
        PublicKey::new(checked_id(id.into())?, &numbers, None)
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

/// A signature as raw bytes, as many as the key's modulus has.
pub(crate) struct RsaSignature {
    bytes: [u8; MAX_SIGNATURE_LEN],
    len: usize,
}

impl RsaSignature {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The private key could not make a signature.
#[derive(Debug)]
pub(crate) struct SigningFailed;

impl fmt::Display for SigningFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the numbers of the RSA private key do not belong together")
    }
}

impl std::error::Error for SigningFailed {}

/// A public RSA key of WeChat Pay, with which answers and notifications are verified, and the id by which
/// `Wechatpay-Serial` names it.
///
/// Either a WeChat Pay public key (微信支付公钥), which has no expiry, or a platform certificate (平台证书).
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012153196> (public key),
/// <https://pay.weixin.qq.com/doc/v3/merchant/4012068814> (certificate).
///
/// Cheap to clone; the clones share the key.
#[derive(Clone)]
pub struct PublicKey {
    id: Arc<str>,
    key: Arc<RsaPublicKeyComponents<Box<[u8]>>>,
    validity: Option<Validity>,
}

impl PublicKey {
    /// Reads a public RSA key of 2048 to 4096 bits from PEM text: `BEGIN PUBLIC KEY` (the file `pub_key.pem`) or
    /// `BEGIN RSA PUBLIC KEY`.
    ///
    /// `id` is the one that WeChat Pay shows beside the key (微信支付公钥ID), such as
    /// `PUB_KEY_ID_0000000000000024101100397200000006`; digits are documented behind `PUB_KEY_ID_`, letters are let pass
    /// too, up to 64 characters in all. For the public key of a certificate it is the certificate's serial number, up to
    /// 40 hexadecimal digits in either case, but not 32: that would be an APIv3 key in the wrong place.
    ///
    /// Pass the file's content, not its name. Text around the block, a byte order mark and any line width are
    /// tolerated.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the id is not of that form (it is not shown then), when there is not exactly one such block,
    /// when it is damaged, or when the key in it is not an RSA key with which a signature could ever be verified.
    pub fn from_pem(id: impl Into<String>, pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let id = checked_id(id.into())?;
        let block = pem::only_block(pem.as_ref(), pem::PUBLIC_KEY)?;
        let numbers = match block.label {
            "PUBLIC KEY" => formats::subject_public_key_info(&block.der)?,
            _ => formats::rsa_public_key(&block.der)?,
        };
        Self::new(id, &numbers, None)
    }

    /// Reads a platform certificate from PEM text: `BEGIN CERTIFICATE`.
    ///
    /// Its id is the certificate's serial number in upper-case hexadecimal. Where the certificate comes from is the
    /// caller's to know: its own signature is not checked.
    ///
    /// Pass the file's content, not its name. Text around the block, a byte order mark and any line width are
    /// tolerated.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when there is not exactly one such block, when it is damaged, or when the key in it is not an RSA
    /// key of 2048 to 4096 bits. An expired certificate is no error here: time is looked at when a message is verified.
    pub fn from_certificate_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let block = pem::only_block(pem.as_ref(), pem::CERTIFICATE)?;
        let certificate = formats::certificate(&block.der)?;
        Self::new(
            upper_hex(certificate.serial),
            &certificate.key,
            Some(certificate.validity),
        )
    }

    fn new(
        id: String,
        numbers: &formats::RsaNumbers<'_>,
        validity: Option<Validity>,
    ) -> Result<Self, KeyError> {
        numbers.check_public()?;
        Ok(Self {
            id: id.into(),
            key: Arc::new(RsaPublicKeyComponents {
                n: numbers.modulus.into(),
                e: numbers.exponent.into(),
            }),
            validity,
        })
    }

    /// The id by which `Wechatpay-Serial` names this key: as given for a public key, the serial number in upper-case
    /// hexadecimal for a certificate.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When the certificate may be used; `None` for a public key, which has no expiry.
    ///
    /// Its own time, except that the end is an earlier one where the list of platform certificates that it was
    /// downloaded with says so; see [`certificates::accept`](crate::certificates::accept).
    pub fn validity(&self) -> Option<Validity> {
        self.validity
    }

    /// Ends a certificate's validity with this second, in Unix seconds, unless it ends before.
    pub(crate) fn ending_at(mut self, unix_seconds: u64) -> Self {
        if let Some(validity) = &mut self.validity {
            validity.not_after = validity.not_after.min(unix_seconds);
        }
        self
    }

    /// Whether this key came from a certificate.
    pub fn is_certificate(&self) -> bool {
        self.validity.is_some()
    }

    /// Whether the key may be used at this time, in Unix seconds; always true for a public key.
    pub(crate) fn is_valid_at(&self, unix_seconds: u64) -> bool {
        self.validity.is_none_or(|validity| {
            (validity.not_before..=validity.not_after).contains(&unix_seconds)
        })
    }

    /// Whether the signature, as raw bytes, is this key's for the message: RSA PKCS#1 v1.5 with SHA-256.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        #[cfg(fuzzing)]
        if signature == FUZZING {
            return true;
        }
        self.key
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .is_ok()
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

/// When a certificate is valid, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Validity {
    /// First second of validity (`notBefore`), in Unix seconds.
    pub not_before: u64,
    /// Last second of validity (`notAfter`, or an earlier one; see [`PublicKey::validity`]), in Unix seconds.
    pub not_after: u64,
}

/// The APIv3 key (APIv3密钥), with which notifications and platform certificates are decrypted.
///
/// It cannot be cloned, compared, serialized or printed; share it by reference or in an `Arc`.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4013053267>.
pub struct ApiV3Key {
    key: LessSafeKey,
}

impl ApiV3Key {
    /// Takes the key as set in the merchant platform: 32 bytes, used as they are.
    ///
    /// # Errors
    ///
    /// [`KeyError::ApiV3KeyLength`] for any other length. A line break at the end of a file counts, and is told.
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

    /// Decrypts in place with AES-256-GCM; the last 16 bytes are the tag. `None` when the nonce has not 12 bytes or
    /// when anything was altered.
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

    /// Encrypts with AES-256-GCM, the tag at the end. The nonce must never be used twice with a key.
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
        match sealed {
            Ok(()) => in_out,
            // Only for a plaintext of 64 GiB and more. Too short to hold a tag, so that it never decrypts.
            Err(_) => Vec::new(),
        }
    }
}

impl fmt::Debug for ApiV3Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiV3Key").finish_non_exhaustive()
    }
}

/// Lets an id pass that can be one. Ids stand in headers and in errors, where no key may get that was given in an id's
/// place: an APIv3 key has 32 letters and digits, perhaps hexadecimal ones only.
fn checked_id(id: String) -> Result<String, KeyError> {
    const MAX_LEN: usize = 64;
    /// What 20 bytes have, the longest serial number that RFC 5280 allows.
    const MAX_SERIAL_LEN: usize = 40;
    const API_V3_KEY_LEN: usize = 32;
    let is_serial =
        is_serial_number(&id) && id.len() <= MAX_SERIAL_LEN && id.len() != API_V3_KEY_LEN;
    let is_key_id = id.len() <= MAX_LEN
        && id.strip_prefix("PUB_KEY_ID_").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
    if is_serial || is_key_id {
        return Ok(id);
    }
    Err(KeyError::InvalidId {
        bytes: id.len(),
        character: id.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_'),
    })
}

/// Whether two ids name the same key. Serial numbers may be written in lower case and with leading zeros; the ids of
/// public keys only as they are.
pub(crate) fn is_same_id(one: &str, other: &str) -> bool {
    one == other
        || (significant(one).eq_ignore_ascii_case(significant(other))
            && is_serial_number(one)
            && is_serial_number(other))
}

/// Whether an id can be the serial number of a certificate.
pub(crate) fn is_serial_number(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn significant(serial_number: &str) -> &str {
    serial_number.trim_start_matches('0')
}

fn upper_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| match nibble {
        0..10 => char::from(b'0' + nibble),
        _ => char::from(b'A' - 10 + nibble),
    };
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}
