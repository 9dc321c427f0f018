//! Platform certificates 平台证书: download endpoint, decryption, validity, rotation.
//!
//! A [`Client`](crate::Client) does all of this by itself, see
//! [`ClientBuilder::platform_certificates`](crate::ClientBuilder::platform_certificates). With another HTTP stack: send
//! the [`request`], [`accept`] the answer and hand the certificates to
//! [`Merchant::replace_certificates`](crate::Merchant::replace_certificates); at the latest every 12 hours, and when an
//! unknown hexadecimal serial number arrives, but not for each such message.
//!
//! Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012551764>.

#[cfg(feature = "client")]
mod refresh;

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::error::{ApiError, Authenticity, CertificateError, Error, VerifyError};
use crate::json;
use crate::keys::{ApiV3Key, PublicKey, is_same_id};
use crate::request::{self, Request};
use crate::time::{parse_rfc_3339, unix_seconds};
use crate::verifier::{SignatureHeaders, Verifier, verify_with};

#[cfg(feature = "client")]
pub(crate) use self::refresh::{DownloadPermit, ForSerial, PlatformCertificates};

/// How the list's certificates are encrypted.
const ALGORITHM: &str = "AEAD_AES_256_GCM";
/// How the ids of WeChat Pay public keys begin, as opposed to certificates' serial numbers.
const PUBLIC_KEY_PREFIX: &str = "PUB_KEY_ID_";

/// The request for the list of platform certificates: `GET /v3/certificates`.
pub fn request() -> Request {
    Request::get(request::CERTIFICATES)
}

/// Opens the answer to [`request`]: the certificates that are not expired at `now`, at least one of them valid.
///
/// `headers` are all the answer's headers as pairs of name and value, `body` its raw bytes. Each certificate of the
/// list must decrypt under the APIv3 key and agree with the serial number and the times that the list gives it; only
/// its end may be an earlier one in the list, as documented for a certificate that is being replaced, and then its
/// validity ends there. The answer's own signature must be that of a key in `held`, or else of one of these
/// certificates: the first list of all is believed because nobody else can encrypt under the APIv3 key.
///
/// ```
/// use std::time::SystemTime;
/// use wechatpay_contract::{ApiV3Key, CertificateError, Merchant, certificates};
///
/// /// Takes over the certificates of an answer that another HTTP stack received.
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
/// [`CertificateError`]; nothing is to be taken over from a list of which a part is wrong.
pub fn accept<'a, N, V>(
    status: u16,
    headers: impl IntoIterator<Item = (&'a N, &'a V)>,
    body: &[u8],
    now: SystemTime,
    api_v3_key: &ApiV3Key,
    held: &Verifier,
) -> Result<Vec<PublicKey>, CertificateError>
where
    N: AsRef<str> + ?Sized + 'a,
    V: AsRef<[u8]> + ?Sized + 'a,
{
    let headers = SignatureHeaders::from_pairs(headers).map_err(unverified(None))?;
    let unverified = unverified(headers.request_id());
    let verdict = held.verify(&headers, body, now);
    let is_success = (200..300).contains(&status);
    let may_be_unsigned = !is_success && !headers.is_signed();
    let authenticity = authenticity(verdict, may_be_unsigned).map_err(&unverified)?;
    let answer = || {
        let request_id = headers.request_id().map(str::to_owned);
        ApiError::from_answer(status, body, request_id, authenticity)
    };
    if !is_success {
        return Err(refused(answer(), &headers));
    }
    let certificates = open_list(body, unix_seconds(now), api_v3_key)?;
    if certificates.is_empty() {
        return Err(no_certificates(answer(), &headers));
    }
    if authenticity == Authenticity::Unsigned {
        verify_with(&certificates, &headers, body, now).map_err(unverified)?;
    }
    Ok(certificates)
}

fn unverified(request_id: Option<&str>) -> impl Fn(VerifyError) -> CertificateError + use<> {
    let request_id = request_id.map(str::to_owned);
    move |source| CertificateError::Unverified {
        request_id: request_id.clone(),
        source,
    }
}

/// An answer that is signed with a key not held yet is no better and no worse than an unsigned one. A merchant without
/// certificates meets it, and must get to know the error, or that the list is empty.
fn authenticity(
    verdict: Result<(), VerifyError>,
    may_be_unsigned: bool,
) -> Result<Authenticity, VerifyError> {
    match verdict {
        Ok(()) => Ok(Authenticity::Signed),
        Err(_) if may_be_unsigned => Ok(Authenticity::Unsigned),
        Err(VerifyError::UnknownSerial { .. }) => Ok(Authenticity::Unsigned),
        Err(error) => Err(error),
    }
}

fn refused(answer: ApiError, headers: &SignatureHeaders<'_>) -> CertificateError {
    if answer.status == 404 && answer.code == "RESOURCE_NOT_EXISTS" {
        return no_certificates(answer, headers);
    }
    CertificateError::Download(Box::new(Error::from(answer)))
}

fn no_certificates(answer: ApiError, headers: &SignatureHeaders<'_>) -> CertificateError {
    let id = headers.serial().filter(|id| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        id.starts_with(PUBLIC_KEY_PREFIX) && id.len() <= 64 && id.bytes().all(is_plain)
    });
    CertificateError::NoCertificates {
        answer: Box::new(answer),
        public_key_id: id.map(str::to_owned),
    }
}

/// The certificates of the list, none only when it is empty.
fn open_list(
    body: &[u8],
    now: u64,
    api_v3_key: &ApiV3Key,
) -> Result<Vec<PublicKey>, CertificateError> {
    let list: Value =
        json::from_slice(body).map_err(|error| malformed(format!("not JSON: {error}")))?;
    let entries = member(&list, "data")
        .and_then(Value::as_array)
        .ok_or_else(|| malformed("data is missing or not an array"))?;
    let mut serials = Vec::with_capacity(entries.len());
    let mut certificates = Vec::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        let entry = Entry::parse(position, entry)?;
        let is_expired = now > entry.expire_time;
        let certificate = entry.open(api_v3_key)?;
        if serials.iter().any(|serial| serial == certificate.id()) {
            return Err(CertificateError::DuplicateSerial {
                serial_no: certificate.id().to_owned(),
            });
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
    effective_time: u64,
    expire_time: u64,
    nonce: &'a str,
    associated_data: &'a str,
    ciphertext: Vec<u8>,
}

impl<'a> Entry<'a> {
    fn parse(position: usize, entry: &'a Value) -> Result<Self, CertificateError> {
        let wrong = |field: &str, wanted: &str| {
            malformed(format!("data[{position}].{field}: wanted {wanted}"))
        };
        let text = |object: &'a Value, field: &str| {
            member(object, field)
                .and_then(Value::as_str)
                .ok_or_else(|| wrong(field, "a text"))
        };
        let time = |field: &str| {
            let wanted = "a time after 1970 such as 2018-06-08T10:34:56+08:00";
            parse_rfc_3339(text(entry, field)?.trim()).ok_or_else(|| wrong(field, wanted))
        };
        let encrypted = member(entry, "encrypt_certificate")
            .ok_or_else(|| wrong("encrypt_certificate", "an object"))?;
        let algorithm = text(encrypted, "algorithm")?;
        if algorithm != ALGORITHM {
            return Err(wrong(
                "algorithm",
                &format!("{ALGORITHM}, found {algorithm:?}"),
            ));
        }
        Ok(Self {
            serial_no: text(entry, "serial_no")?,
            effective_time: time("effective_time")?,
            expire_time: time("expire_time")?,
            nonce: text(encrypted, "nonce")?,
            associated_data: member(encrypted, "associated_data")
                .and_then(Value::as_str)
                .unwrap_or_default(),
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
                self.associated_data.as_bytes(),
                &mut self.ciphertext,
            )
            .ok_or_else(|| CertificateError::Undecryptable {
                serial_no: self.serial_no.to_owned(),
            })?;
        let certificate = PublicKey::from_certificate_pem(pem).map_err(|source| {
            CertificateError::Unreadable {
                serial_no: self.serial_no.to_owned(),
                source,
            }
        })?;
        self.compare(&certificate)?;
        Ok(certificate.ending_at(self.expire_time))
    }

    fn compare(&self, certificate: &PublicKey) -> Result<(), CertificateError> {
        if !is_same_id(self.serial_no, certificate.id()) {
            return Err(CertificateError::SerialMismatch {
                listed: self.serial_no.to_owned(),
                certificate: certificate.id().to_owned(),
            });
        }
        // A certificate always has a validity.
        let Some(validity) = certificate.validity() else {
            return Ok(());
        };
        let mismatch = |field, listed, certified| CertificateError::ValidityMismatch {
            serial_no: certificate.id().to_owned(),
            field,
            listed,
            certificate: certified,
        };
        if self.effective_time != validity.not_before {
            return Err(mismatch(
                "effective_time",
                self.effective_time,
                validity.not_before,
            ));
        }
        // Documented: when a certificate is being replaced, the list ends it before its own time. It counts as the list
        // says.
        if self.expire_time > validity.not_after {
            return Err(mismatch(
                "expire_time",
                self.expire_time,
                validity.not_after,
            ));
        }
        Ok(())
    }
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

fn malformed(problem: impl Into<String>) -> CertificateError {
    CertificateError::Malformed {
        problem: problem.into(),
    }
}
