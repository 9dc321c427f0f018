//! The merchant's identity: merchant id, certificate serial number and private key make the `Authorization` header
//! and the pay signature.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Cause, Error, InvalidField};
use crate::keys::PrivateKey;

/// Signs as one merchant. Cheap to clone; the clones share the key.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012365336>.
#[derive(Clone)]
pub struct Signer {
    mchid: String,
    serial_no: String,
    key: Arc<SigningKey>,
}

// Always behind an `Arc`, one for each merchant: the larger variant costs nothing.
#[allow(clippy::large_enum_variant)]
enum SigningKey {
    Private(PrivateKey),
    Function(Box<SignFunction>),
}

type SignFunction = dyn Fn(&[u8]) -> Result<Vec<u8>, Cause> + Send + Sync;

impl Signer {
    /// `mchid` 商户号 is the caller's own merchant id, digits only. `serial_no` 商户API证书序列号 is the serial number
    /// of the *merchant's* API certificate that belongs to `key`: hexadecimal, up to 40 digits, in either case. It can
    /// be read from the merchant's certificate file with
    /// [`PublicKey::from_certificate_pem`](crate::PublicKey::from_certificate_pem).
    ///
    /// ```
    /// use wechatpay_contract::{PrivateKey, Signer};
    ///
    /// // The content of apiclient_key.pem.
    /// let pem = std::fs::read("tests/keys/rsa2048_pkcs8.pem")?;
    /// let key = PrivateKey::from_pem(pem)?;
    /// let signer = Signer::new("1900000109", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", key)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidField`] when `mchid` or `serial_no` is not of that form.
    pub fn new(
        mchid: impl Into<String>,
        serial_no: impl Into<String>,
        key: PrivateKey,
    ) -> Result<Self, InvalidField> {
        Self::with_key(mchid.into(), serial_no.into(), SigningKey::Private(key))
    }

    /// A signer whose key lives elsewhere, such as in a hardware module or a key service.
    ///
    /// `sign` gets the message and returns its RSA PKCS#1 v1.5 signature with SHA-256, as raw bytes. When it fails,
    /// the call ends in [`Error::Sign`] and nothing is sent.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] when `mchid` or `serial_no` is not of the form that [`new`](Self::new) wants.
    pub fn from_function<F>(
        mchid: impl Into<String>,
        serial_no: impl Into<String>,
        sign: F,
    ) -> Result<Self, InvalidField>
    where
        F: Fn(&[u8]) -> Result<Vec<u8>, Cause> + Send + Sync + 'static,
    {
        Self::with_key(
            mchid.into(),
            serial_no.into(),
            SigningKey::Function(Box::new(sign)),
        )
    }

    fn with_key(
        mchid: String,
        mut serial_no: String,
        key: SigningKey,
    ) -> Result<Self, InvalidField> {
        check_mchid(&mchid)?;
        check_serial_no(&serial_no)?;
        serial_no.make_ascii_uppercase();
        Ok(Self {
            mchid,
            serial_no,
            key: Arc::new(key),
        })
    }

    /// The merchant id 商户号.
    pub fn mchid(&self) -> &str {
        &self.mchid
    }

    /// The serial number of the merchant's API certificate, in upper case.
    pub fn serial_no(&self) -> &str {
        &self.serial_no
    }

    /// Signs any message with RSA-SHA256 and returns the signature in base64.
    ///
    /// # Errors
    ///
    /// [`Error::Sign`] when the key's numbers do not belong together, or when the function given to
    /// [`from_function`](Self::from_function) fails or returns what cannot be a signature.
    pub fn sign(&self, message: &[u8]) -> Result<String, Error> {
        self.with_signature(message, |signature| STANDARD.encode(signature))
    }

    /// Signs `message`, the text of [`request_message`] for the same time and nonce, and makes the value of the
    /// `Authorization` header.
    pub(crate) fn authorize(
        &self,
        message: &[u8],
        timestamp: u64,
        nonce_str: &str,
    ) -> Result<String, Error> {
        self.with_signature(message, |signature| {
            self.authorization(signature, timestamp, nonce_str)
        })
    }

    fn authorization(&self, signature: &[u8], timestamp: u64, nonce_str: &str) -> String {
        // Enough for a 4096-bit signature, so that the header is one allocation.
        let mut header = String::with_capacity(256 + signature.len() * 3 / 2);
        header.push_str("WECHATPAY2-SHA256-RSA2048 mchid=\"");
        header.push_str(&self.mchid);
        header.push_str("\",nonce_str=\"");
        header.push_str(nonce_str);
        header.push_str("\",signature=\"");
        STANDARD.encode_string(signature, &mut header);
        header.push_str("\",timestamp=\"");
        push_decimal(&mut header, timestamp);
        header.push_str("\",serial_no=\"");
        header.push_str(&self.serial_no);
        header.push('"');
        header
    }

    fn with_signature<T>(&self, message: &[u8], f: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        match &*self.key {
            SigningKey::Private(key) => {
                let signature = key
                    .sign(message)
                    .map_err(|error| Error::Sign(Box::new(error)))?;
                Ok(f(signature.as_bytes()))
            }
            SigningKey::Function(sign) => {
                let signature = sign(message).map_err(Error::Sign)?;
                check_signature(&signature)?;
                Ok(f(&signature))
            }
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("mchid", &self.mchid)
            .field("serial_no", &self.serial_no)
            .finish_non_exhaustive()
    }
}

/// The text that a request's signature is made over: method, path with query, time, nonce and body, each ended by a
/// line feed.
pub(crate) fn request_message(
    method: &str,
    target: &str,
    timestamp: u64,
    nonce_str: &str,
    body: &[u8],
) -> Vec<u8> {
    let capacity = method.len() + target.len() + nonce_str.len() + body.len() + 32;
    let mut head = String::with_capacity(capacity);
    for line in [method, target] {
        head.push_str(line);
        head.push('\n');
    }
    push_decimal(&mut head, timestamp);
    head.push('\n');
    head.push_str(nonce_str);
    head.push('\n');
    let mut message = head.into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    message
}

/// Refuses a nonce that is not 1 to 32 ASCII letters and digits, since it is written into lines and quotes.
pub(crate) fn check_nonce_str(nonce_str: &str) -> Result<(), InvalidField> {
    if (1..=32).contains(&nonce_str.len())
        && nonce_str
            .bytes()
            // Without a branch for each byte, so that the compiler can look at many at once.
            .fold(true, |all, byte| all & byte.is_ascii_alphanumeric())
    {
        return Ok(());
    }
    Err(InvalidField::new(
        "nonce_str",
        format!(
            "{}: wanted 1 to 32 ASCII letters and digits",
            describe(nonce_str, |c| c.is_ascii_alphanumeric())
        ),
    ))
}

fn push_decimal(text: &mut String, number: u64) {
    use fmt::Write as _;
    // Writing to a `String` cannot fail.
    let _ = write!(text, "{number}");
}

fn check_mchid(mchid: &str) -> Result<(), InvalidField> {
    if (1..=32).contains(&mchid.len()) && mchid.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(InvalidField::new(
        "mchid",
        format!(
            "{}: wanted the merchant id, 1 to 32 digits",
            describe(mchid, |c| c.is_ascii_digit())
        ),
    ))
}

fn check_serial_no(serial_no: &str) -> Result<(), InvalidField> {
    if serial_no.starts_with("PUB_KEY_ID_") {
        return Err(InvalidField::new(
            "serial_no",
            "found the id of a platform key, PUB_KEY_ID_...: wanted the serial number of the merchant's own API certificate",
        ));
    }
    // RFC 5280, 4.1.2.2: at most 20 octets.
    if (1..=40).contains(&serial_no.len()) && serial_no.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return Ok(());
    }
    Err(InvalidField::new(
        "serial_no",
        format!(
            "{}: wanted the serial number of the merchant's API certificate, 1 to 40 hexadecimal digits",
            describe(serial_no, |c| c.is_ascii_hexdigit())
        ),
    ))
}

/// What is wrong with a value that must be made of some characters only. The value itself is not shown: arguments get
/// mixed up, and then it is the APIv3 key.
fn describe(value: &str, is_allowed: impl Fn(char) -> bool) -> String {
    if value.is_empty() {
        return "is empty".to_owned();
    }
    match value.chars().find(|c| !is_allowed(*c)) {
        Some(unwanted) => format!("found the character {unwanted:?}"),
        None => format!("found {} characters", value.len()),
    }
}

/// Refuses what cannot be a raw RSA signature: base64 or hexadecimal text is the usual mistake, and no signature is
/// made of ASCII bytes alone.
fn check_signature(signature: &[u8]) -> Result<(), Error> {
    let is_text = !signature.is_empty() && signature.is_ascii();
    if (256..=512).contains(&signature.len()) && !is_text {
        return Ok(());
    }
    let found = if is_text { "bytes of text" } else { "bytes" };
    Err(Error::Sign(
        format!(
            "the signing function returned {} {found}: wanted the raw RSA signature of 256 to 512 bytes",
            signature.len()
        )
        .into(),
    ))
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
    fn the_longest_header_fits_into_its_one_allocation() {
        let mut signer = signer(&vectors());
        signer.mchid = "9".repeat(32);
        let signature = [0xFF; 512];
        let header = signer.authorization(&signature, u64::MAX, &"N".repeat(32));
        assert!(
            header.len() <= 256 + signature.len() * 3 / 2,
            "it had to grow"
        );
    }

    #[test]
    fn nonces_fit_between_quotes_and_lines() {
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
