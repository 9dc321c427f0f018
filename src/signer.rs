//! Signs requests and pay parameters as one merchant.

use std::fmt;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Cause, Error, InvalidField, InvalidSetting, KeyError};
use crate::keys::{PrivateKey, PublicKey, is_same_id, serial_number};
use crate::rules::{consists_of, describe};

/// Signs as one merchant. Cheap to clone. The clones share the key.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012365336>.
#[derive(Clone)]
pub struct Signer {
    merchant: Arc<Merchant>,
}

struct Merchant {
    mchid: String,
    serial_no: String,
    key: SigningKey,
}

// The larger variant is the usual one.
#[allow(clippy::large_enum_variant)]
enum SigningKey {
    Private(PrivateKey),
    Function(Box<SignFunction>),
}

type SignFunction = dyn Fn(&[u8]) -> Result<Vec<u8>, Cause> + Send + Sync;

impl Signer {
    /// Makes a signer from the merchant's private key and the serial number of the certificate that belongs to it.
    ///
    /// `mchid` 商户号 is the caller's own merchant id, digits only. `serial_no` 商户API证书序列号 is the serial number
    /// of the *merchant's* API certificate that belongs to `key`: hexadecimal, up to 40 digits, in either case.
    /// [`from_certificate`](Self::from_certificate) reads it from the certificate.
    ///
    /// ```
    /// use wechatpay_contract::{PrivateKey, Signer};
    ///
    /// // Here: the path of apiclient_key.pem.
    /// let key = PrivateKey::from_file("tests/keys/rsa2048_pkcs8.pem")?;
    /// let signer = Signer::new("1900000109", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", key)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if `mchid` or `serial_no` does not have that form. The error does not show the value, which
    /// may be a secret passed by mistake. For the same reason, 32 characters, the length of an APIv3 key, are refused
    /// for both, although WeChat Pay documents up to 32 characters for `mchid`. A `serial_no` of 34 decimal digits is
    /// refused as a public key's id without its prefix.
    pub fn new(
        mchid: impl Into<String>,
        serial_no: impl AsRef<str>,
        key: PrivateKey,
    ) -> Result<Self, InvalidSetting> {
        let serial_no = checked_serial_no(serial_no.as_ref())?;
        Self::with_key(mchid.into(), serial_no, SigningKey::Private(key))
    }

    /// Makes a signer from the merchant's certificate and its private key. Reads the serial number from the
    /// certificate.
    ///
    /// ```
    /// use wechatpay_contract::{PrivateKey, PublicKey, Signer};
    ///
    /// // Here: the paths of apiclient_cert.pem and apiclient_key.pem.
    /// let certificate = PublicKey::from_certificate_file("tests/keys/certificate_utc_time.pem")?;
    /// let key = PrivateKey::from_file("tests/keys/rsa2048_pkcs8.pem")?;
    /// let signer = Signer::from_certificate("1900000109", &certificate, key)?;
    /// assert_eq!(signer.serial_no(), "5157F09EFDC096DE15EBE81A47057A7232F1B8E1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyError::CertificateOfAnotherKey`] if `key` is not the certificate's private key, [`KeyError::WrongKind`] if
    /// `certificate` is a public key without a certificate, [`InvalidSetting`] if `mchid` is not 1 to 31 digits.
    pub fn from_certificate(
        mchid: impl Into<String>,
        certificate: &PublicKey,
        key: PrivateKey,
    ) -> Result<Self, Error> {
        let serial_no = certificate.id().to_owned();
        if !certificate.is_certificate() {
            return Err(Error::Key(KeyError::WrongKind {
                found: "PUBLIC KEY".to_owned(),
                wanted: "the merchant's certificate (apiclient_cert.pem), BEGIN CERTIFICATE",
            }));
        }
        if certificate.pkcs1() != key.public_pkcs1() {
            return Err(Error::Key(KeyError::CertificateOfAnotherKey { serial_no }));
        }
        let key = SigningKey::Private(key);
        Ok(Self::with_key(mchid.into(), serial_no, key)?)
    }

    /// Makes a signer that signs with a function: for a key in a hardware module, a key service or another crate.
    ///
    /// `sign` is called with the message and returns its RSA PKCS#1 v1.5 signature with SHA-256, as raw bytes. If it
    /// fails, the call returns [`Error::Sign`] and sends nothing.
    ///
    /// # Signing with aws-lc-rs
    ///
    /// On processors with AVX512-IFMA (on Linux, `grep avx512ifma /proc/cpuinfo` prints something), the crate
    /// `aws-lc-rs` signs in about half of the time that ring takes, and signing is most of the processor time of a
    /// call. On other processors it is not faster.
    ///
    /// ```ignore
    /// use aws_lc_rs::rand::SystemRandom;
    /// use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
    ///
    /// // openssl pkcs8 -topk8 -nocrypt -in apiclient_key.pem -outform DER -out apiclient_key.der
    /// let key = RsaKeyPair::from_pkcs8(&std::fs::read("apiclient_key.der")?)?;
    /// let signer = Signer::from_function(mchid, serial_no, move |message| {
    ///     let mut signature = vec![0; key.public_modulus_len()];
    ///     key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
    ///     Ok(signature)
    /// })?;
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if `mchid` or `serial_no` does not have the form that [`new`](Self::new) requires.
    pub fn from_function(
        mchid: impl Into<String>,
        serial_no: impl AsRef<str>,
        sign: impl Fn(&[u8]) -> Result<Vec<u8>, Cause> + Send + Sync + 'static,
    ) -> Result<Self, InvalidSetting> {
        let serial_no = checked_serial_no(serial_no.as_ref())?;
        let key = SigningKey::Function(Box::new(sign));
        Self::with_key(mchid.into(), serial_no, key)
    }

    fn with_key(mchid: String, serial_no: String, key: SigningKey) -> Result<Self, InvalidSetting> {
        check_mchid(&mchid)?;
        let merchant = Arc::new(Merchant {
            mchid,
            serial_no,
            key,
        });
        Ok(Self { merchant })
    }

    /// Returns the merchant id 商户号.
    pub fn mchid(&self) -> &str {
        &self.merchant.mchid
    }

    /// Returns the serial number of the merchant's API certificate, in upper case.
    pub fn serial_no(&self) -> &str {
        &self.merchant.serial_no
    }

    /// Signs any message with RSA-SHA256 and returns the signature in base64.
    ///
    /// # Errors
    ///
    /// [`Error::Sign`] if the key's components are inconsistent, or if the function passed to
    /// [`from_function`](Self::from_function) fails or returns bytes that cannot be a signature.
    pub fn sign(&self, message: &[u8]) -> Result<String, Error> {
        let signature = self.raw_signature(message)?;
        Ok(Base64Display::new(&signature, &STANDARD).to_string())
    }

    /// Signs `message`, which [`request_message`] returned for this `timestamp` and `nonce_str`, and returns the value
    /// of the `Authorization` header.
    pub(crate) fn authorize(
        &self,
        message: &[u8],
        timestamp: u64,
        nonce_str: &str,
    ) -> Result<String, Error> {
        let (mchid, serial_no) = (self.mchid(), self.serial_no());
        let signature = self.raw_signature(message)?;
        let signature = Base64Display::new(&signature, &STANDARD);
        let mut header = String::with_capacity(1024);
        // Writing to a `String` cannot fail.
        let _ = write!(
            header,
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{mchid}\",nonce_str=\"{nonce_str}\",signature=\"{signature}\",\
             timestamp=\"{timestamp}\",serial_no=\"{serial_no}\""
        );
        Ok(header)
    }

    fn raw_signature(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = match &self.merchant.key {
            SigningKey::Private(key) => key.sign(message),
            SigningKey::Function(sign) => sign(message).and_then(checked_signature),
        };
        signature.map_err(Error::Sign)
    }

    /// Checks whether a key is the merchant's own, by its id or its modulus and exponent. For a signing function, only
    /// the id is compared.
    pub(crate) fn owns(&self, key: &PublicKey) -> bool {
        is_same_id(self.serial_no(), key.id())
            || match &self.merchant.key {
                SigningKey::Private(own) => key.pkcs1() == own.public_pkcs1(),
                SigningKey::Function(_) => false,
            }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("mchid", &self.mchid())
            .field("serial_no", &self.serial_no())
            .finish_non_exhaustive()
    }
}

/// Returns the message that a request's signature covers: method, path with query, time, nonce and body, each followed
/// by a line feed.
pub(crate) fn request_message(
    method: &str,
    target: &str,
    timestamp: u64,
    nonce_str: &str,
    body: &[u8],
) -> Vec<u8> {
    let mut message = Vec::with_capacity(target.len() + body.len() + 128);
    // Writing to a `Vec` cannot fail.
    let _ = write!(message, "{method}\n{target}\n{timestamp}\n{nonce_str}\n");
    message.extend_from_slice(body);
    message.push(b'\n');
    message
}

/// Returns an error unless the nonce is 1 to 32 ASCII letters and digits. Other characters could break the lines of the
/// message or the quotes of the header.
pub(crate) fn check_nonce_str(nonce_str: &str) -> Result<(), InvalidField> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric();
    if (1..=32).contains(&nonce_str.len()) && consists_of(nonce_str, is_allowed) {
        return Ok(());
    }
    Err(InvalidField::new(
        "nonce_str",
        format!(
            "{}: wanted 1 to 32 ASCII letters and digits",
            describe(nonce_str, is_allowed)
        ),
    ))
}

fn check_mchid(mchid: &str) -> Result<(), InvalidSetting> {
    let is_allowed = |c: char| c.is_ascii_digit();
    // WeChat Pay documents up to 32 characters. 32 are refused, since an APIv3 key has as many. That no merchant id is
    // that long is inferred.
    if (1..32).contains(&mchid.len()) && mchid.chars().all(is_allowed) {
        return Ok(());
    }
    Err(InvalidSetting::new(
        "mchid",
        format!(
            "{}: wanted the merchant id, digits only, such as 1900000109",
            describe(mchid, is_allowed)
        ),
    ))
}

fn checked_serial_no(serial_no: &str) -> Result<String, InvalidSetting> {
    serial_number(serial_no).map_err(|found| {
        InvalidSetting::new(
            "serial_no",
            format!(
                "found {found}: wanted the serial number of the merchant's own API certificate, 1 to 40 hexadecimal \
                 digits"
            ),
        )
    })
}

/// Returns an error if the bytes cannot be a raw RSA signature. The usual mistake is to return base64 or hexadecimal
/// text. A raw signature practically never consists of ASCII bytes alone.
fn checked_signature(signature: Vec<u8>) -> Result<Vec<u8>, Cause> {
    let is_text = !signature.is_empty() && signature.is_ascii();
    let found = if is_text { "bytes of text" } else { "bytes" };
    match signature.len() {
        256..=512 if !is_text => Ok(signature),
        len => Err(format!(
            "the signing function returned {len} {found}: wanted the raw RSA signature of 256 to 512 bytes"
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Published by Tencent: a key, messages and their signatures.
    fn vectors() -> Value {
        serde_json::from_str(include_str!("../tests/vectors/official.json")).unwrap()
    }

    fn signer(vectors: &Value) -> Signer {
        let key = PrivateKey::from_pem(text(&vectors["private_key_pem"])).unwrap();
        Signer::new(text(&vectors["mchid"]), text(&vectors["serial_no"]), key).unwrap()
    }

    fn text(value: &Value) -> &str {
        value.as_str().unwrap()
    }

    /// The vector of a request, and the body in its message.
    fn request(vectors: &Value) -> (&Value, &str) {
        let request = &vectors["sign"][0];
        let body = text(&request["message"]).splitn(5, '\n').nth(4).unwrap();
        (request, body.strip_suffix('\n').unwrap())
    }

    #[test]
    fn message_is_the_published_one() {
        let vectors = vectors();
        let (request, body) = request(&vectors);
        let message = request_message(
            "POST",
            "/v3/pay/transactions/jsapi",
            vectors["timestamp"].as_u64().unwrap(),
            text(&vectors["nonce"]),
            body.as_bytes(),
        );
        assert_eq!(
            String::from_utf8(message).unwrap(),
            text(&request["message"])
        );
    }

    #[test]
    fn message_of_a_request_without_body_ends_in_an_empty_line() {
        // The form that Tencent's page shows for GET.
        let message = request_message("GET", "/v3/certificates?a=%20", 1_554_208_460, "N", b"");
        assert_eq!(message, b"GET\n/v3/certificates?a=%20\n1554208460\nN\n\n");
    }

    #[test]
    fn message_leaves_the_bytes_of_the_body_alone() {
        let body = [0x00, 0x0A, 0xFF, 0x0D];
        let message = request_message("PUT", "/", 0, "N", &body);
        assert_eq!(message, b"PUT\n/\n0\nN\n\x00\n\xFF\r\n");
    }

    #[test]
    fn signatures_are_the_published_ones() {
        let vectors = vectors();
        let signer = signer(&vectors);
        let signed = vectors["sign"].as_array().unwrap();
        assert_eq!(signed.len(), 2);
        for vector in signed {
            let signature = signer.sign(text(&vector["message"]).as_bytes()).unwrap();
            assert_eq!(signature, text(&vector["signature"]), "{}", vector["name"]);
        }
    }

    #[test]
    fn authorization_is_the_published_one_byte_for_byte() {
        let vectors = vectors();
        let (request, _) = request(&vectors);
        let header = signer(&vectors)
            .authorize(
                text(&request["message"]).as_bytes(),
                vectors["timestamp"].as_u64().unwrap(),
                text(&vectors["nonce"]),
            )
            .unwrap();
        let expected = format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"1900007291\",\
             nonce_str=\"593BEC0C930BF1AFEB40B4A08C8FB242\",signature=\"{}\",\
             timestamp=\"1554208460\",serial_no=\"408B07E79B8269FEC3D5D3E6AB8ED163A6A380DB\"",
            text(&request["signature"])
        );
        assert_eq!(header, expected);
    }

    #[test]
    fn a_nonce_has_1_to_32_ascii_letters_and_digits() {
        for nonce in ["1", "593BEC0C930BF1AFEB40B4A08C8FB242", "abcXYZ09"] {
            assert_eq!(check_nonce_str(nonce), Ok(()), "{nonce}");
        }
        let cases = [
            ("", "is empty"),
            ("593BEC0C930BF1AFEB40B4A08C8FB2420", "found 33 characters"),
            ("a\"", "found the character '\"'"),
            ("a\n", "found the character '\\n'"),
            ("a\0", "found the character '\\0'"),
            ("a b", "found the character ' '"),
            ("a_b", "found the character '_'"),
            ("数", "found the character '数'"),
        ];
        for (nonce, found) in cases {
            let error = check_nonce_str(nonce).unwrap_err();
            assert_eq!(error.field(), "nonce_str");
            assert_eq!(
                error.problem(),
                format!("{found}: wanted 1 to 32 ASCII letters and digits")
            );
        }
    }
}
