//! Platform certificates 平台证书: download endpoint, decryption, validity, rotation.
//!
//! A [`Client`](crate::Client) does all of this by itself, see
//! [`ClientBuilder::platform_certificates`](crate::ClientBuilder::platform_certificates). With another HTTP stack, send
//! the [`request`], [`accept`] the response and pass the certificates to
//! [`Merchant::replace_certificates`](crate::Merchant::replace_certificates). Do so every 12 hours at the latest, and when
//! an unknown hexadecimal serial number arrives, but not for each such message.
//!
//! Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012551764>.

#[cfg(feature = "client")]
mod refresh;

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::error::{ApiError, CertificateError, Error, Shown, VerifyError};
use crate::json;
use crate::keys::{ApiV3Key, PublicKey, is_same_id};
use crate::request::{self, Request};
use crate::time::{parse_rfc_3339, unix_seconds};
use crate::verifier::{SignatureHeaders, Verifier, verify_with};

#[cfg(feature = "client")]
pub(crate) use self::refresh::{DownloadPermit, ForSerial, PlatformCertificates};

/// The algorithm that encrypts the list's certificates.
const ALGORITHM: &str = "AEAD_AES_256_GCM";
const A_TIME: &str = "a time after 1970 such as 2018-06-08T10:34:56+08:00";
/// The documented value for each certificate. Notifications, which are encrypted under the same key, have others.
///
/// Source: <https://pay.weixin.qq.com/doc/global/v3/zh/4012354540>.
const ASSOCIATED_DATA: &str = "certificate";
/// The prefix of the ids of WeChat Pay public keys, which certificates' serial numbers do not have.
const PUBLIC_KEY_PREFIX: &str = "PUB_KEY_ID_";

/// Makes the request for the list of platform certificates: `GET /v3/certificates`.
pub fn request() -> Request {
    Request::get(request::CERTIFICATES)
}

/// Opens the response to [`request`]. Returns the certificates that are not expired at `now`, at least one of them valid.
///
/// `headers` are all the response's headers as pairs of name and value, `body` its raw bytes. Each certificate of the
/// list must decrypt under the APIv3 key and have the serial number that the list gives it. A certificate's validity is
/// its own. An earlier `expire_time` in the list ends it, as documented for a certificate that is being replaced. The
/// response's signature must be that of a key in `held`, or else of one of these certificates: the first list of all is
/// believed because nobody else can encrypt under the APIv3 key.
///
/// ```
/// use std::time::SystemTime;
/// use wechatpay_contract::{ApiV3Key, Merchant, certificates};
///
/// /// Takes over the certificates of a response that another HTTP stack received.
/// fn take_over(
///     merchant: &Merchant,
///     key: &ApiV3Key,
///     (status, headers, body): (u16, Vec<(String, String)>, Vec<u8>),
/// ) -> Result<(), Box<dyn std::error::Error>> {
///     let pairs = headers.iter().map(|(name, value)| (name, value));
///     let now = SystemTime::now();
///     let list = certificates::accept(status, pairs, &body, now, key, merchant.verifier())?;
///     merchant.replace_certificates(list)?;
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`Error::Certificates`] if the response is not a usable list, [`Error::Unverified`] if neither a key held nor one of
/// its certificates verifies it, [`Error::Api`] for any other status than 2xx, and [`Error::Accepted`] for 202.
pub fn accept<'a, N, V>(
    status: u16,
    headers: impl IntoIterator<Item = (&'a N, &'a V)>,
    body: &[u8],
    now: SystemTime,
    api_v3_key: &ApiV3Key,
    held: &Verifier,
) -> Result<Vec<PublicKey>, Error>
where
    N: AsRef<str> + ?Sized + 'a,
    V: AsRef<[u8]> + ?Sized + 'a,
{
    let (headers, checked) = SignatureHeaders::read(headers);
    let request_id = || headers.request_id().map(str::to_owned);
    let unverified = |source| Error::Unverified {
        status,
        request_id: request_id(),
        source,
    };
    let unusable = |source| Error::Certificates {
        request_id: request_id(),
        source: Box::new(source),
    };
    checked.map_err(unverified)?;
    let failure = || held.read_failure(status, &headers, body, now);
    if !(200..300).contains(&status) {
        let error = failure().map_err(unverified)?;
        return Err(match is_without_certificates(&error) {
            true => unusable(no_certificates(error, &headers)),
            false => error.into(),
        });
    }
    // A key not held yet may be one of the list's own. A merchant without certificates must be told that it is empty.
    let is_verified = match held.verify(&headers, body, now) {
        Err(VerifyError::UnknownSerial { .. }) => false,
        verdict => verdict.map(|()| true).map_err(unverified)?,
    };
    let certificates = open_list(body, unix_seconds(now), api_v3_key).map_err(unusable)?;
    if certificates.is_empty() {
        let response = failure().map_err(unverified)?;
        return Err(unusable(no_certificates(response, &headers)));
    }
    if !is_verified {
        verify_with(&certificates, &headers, body, now).map_err(unverified)?;
    }
    if status == 202 {
        return Err(Error::Accepted {
            request_id: request_id(),
        });
    }
    Ok(certificates)
}

/// Tencent's SDKs disagree which of the two codes it is.
fn is_without_certificates(error: &ApiError) -> bool {
    error.status == 404 && ["RESOURCE_NOT_EXISTS", "NOT_FOUND"].contains(&&*error.code)
}

fn no_certificates(response: ApiError, headers: &SignatureHeaders<'_>) -> CertificateError {
    let id = headers.serial().filter(|id| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        id.starts_with(PUBLIC_KEY_PREFIX) && id.len() <= 64 && id.bytes().all(is_plain)
    });
    CertificateError::NoCertificates {
        response: Box::new(response),
        public_key_id: id.map(str::to_owned),
    }
}

/// Returns the certificates of the list, none only if it is empty.
fn open_list(
    body: &[u8],
    now: u64,
    api_v3_key: &ApiV3Key,
) -> Result<Vec<PublicKey>, CertificateError> {
    let list: Value =
        json::from_slice(body).map_err(|error| unusable(format!("not JSON: {error}")))?;
    let entries = member(&list, "data")
        .and_then(Value::as_array)
        .ok_or_else(|| unusable("data is missing or not an array"))?;
    let mut serials = Vec::with_capacity(entries.len());
    let mut certificates = Vec::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        let entry = Entry::parse(position, entry)?;
        let is_expired = now > entry.expire_time;
        let certificate = entry.open(api_v3_key)?;
        if serials.iter().any(|serial| serial == certificate.id()) {
            let problem = format!("it has platform certificate {} twice", certificate.id());
            return Err(unusable(problem));
        }
        serials.push(certificate.id().to_owned());
        if !is_expired {
            certificates.push(certificate);
        }
    }
    if serials.is_empty() || certificates.iter().any(|one| one.is_valid_at(now)) {
        return Ok(certificates);
    }
    Err(CertificateError::NoneValid {
        listed: serials.len(),
        now,
    })
}

/// One certificate as it is listed.
struct Entry<'a> {
    serial_no: &'a str,
    expire_time: u64,
    nonce: &'a str,
    ciphertext: Vec<u8>,
}

impl<'a> Entry<'a> {
    fn parse(position: usize, entry: &'a Value) -> Result<Self, CertificateError> {
        let wrong = |field: &str, wanted: &str| {
            unusable(format!("data[{position}].{field}: wanted {wanted}"))
        };
        let text = |object: &'a Value, field: &str| {
            member(object, field)
                .and_then(Value::as_str)
                .ok_or_else(|| wrong(field, "a text"))
        };
        let encrypted = member(entry, "encrypt_certificate")
            .ok_or_else(|| wrong("encrypt_certificate", "an object"))?;
        let algorithm = text(encrypted, "algorithm")?;
        if algorithm != ALGORITHM {
            return Err(wrong(
                "algorithm",
                &format!("{ALGORITHM}, found \"{}\"", Shown::id(algorithm)),
            ));
        }
        if text(encrypted, "associated_data")? != ASSOCIATED_DATA {
            return Err(wrong("associated_data", ASSOCIATED_DATA));
        }
        Ok(Self {
            serial_no: text(entry, "serial_no")?,
            expire_time: parse_rfc_3339(text(entry, "expire_time")?.trim())
                .ok_or_else(|| wrong("expire_time", A_TIME))?,
            nonce: text(encrypted, "nonce")?,
            ciphertext: STANDARD
                .decode(text(encrypted, "ciphertext")?)
                .map_err(|_| wrong("ciphertext", "base64"))?,
        })
    }

    /// Decrypts the certificate, compares it with what the list says of it, and ends it with the list.
    fn open(mut self, api_v3_key: &ApiV3Key) -> Result<PublicKey, CertificateError> {
        let pem = api_v3_key
            .decrypt(
                self.nonce.as_bytes(),
                ASSOCIATED_DATA.as_bytes(),
                &mut self.ciphertext,
            )
            .ok_or_else(|| CertificateError::Undecryptable {
                serial_no: self.serial_no.to_owned(),
            })?;
        let serial_no = self.serial_no;
        let not_one = |source| {
            let listed = Shown::id(serial_no);
            let problem = format!("what it gives as platform certificate \"{listed}\" is not one");
            CertificateError::unusable(problem, source)
        };
        // The text of a notification, which is encrypted under the same key, may hold a block as well.
        if !is_block_alone(pem) {
            return Err(not_one(None));
        }
        let certificate =
            PublicKey::from_certificate_pem(pem).map_err(|source| not_one(Some(source)))?;
        if !is_same_id(serial_no, certificate.id()) {
            let id = certificate.id();
            let listed = Shown::id(serial_no);
            let problem = format!("it gives platform certificate {id} the serial_no \"{listed}\"");
            return Err(unusable(problem));
        }
        Ok(certificate.ending_at(self.expire_time))
    }
}

fn is_block_alone(pem: &[u8]) -> bool {
    let pem = pem.trim_ascii();
    let dashes = pem.iter().filter(|byte| **byte == b'-').count();
    pem.starts_with(b"-----BEGIN ") && pem.ends_with(b"-----") && dashes == 4 * 5
}

/// A member of a JSON object. WeChat Pay's own example has a key with a space behind it: `"effective_time "`.
fn member<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    object.get(name).or_else(|| {
        object
            .as_object()?
            .iter()
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value)
    })
}

fn unusable(problem: impl Into<String>) -> CertificateError {
    CertificateError::unusable(problem, None)
}
