//! Platform certificates 平台证书: download endpoint, decryption, validity, rotation.
//!
//! A [`Client`](crate::Client) made with
//! [`ClientBuilder::platform_certificates`](crate::ClientBuilder::platform_certificates) does all of this by itself.
//! With another HTTP stack, send the [`request`], [`accept`] the response and pass the certificates to
//! [`Merchant::replace_certificates`](crate::Merchant::replace_certificates). Do this at least every 12 hours, and when
//! a message names an unknown hexadecimal serial number, but not for each such message.
//!
//! Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012551764>.

#[cfg(feature = "client")]
mod refresh;

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{ApiError, CertificateError, Error, Shown, VerifyError};
use crate::json;
use crate::keys::{ApiV3Key, PublicKey, is_same_id};
use crate::request::{self, Request};
use crate::time::{parse_rfc_3339, unix_seconds};
use crate::verifier::{SignatureHeaders, Verifier, verify_with};

#[cfg(feature = "client")]
pub(crate) use self::refresh::{DownloadPermit, PlatformCertificates};

/// The algorithm that encrypts the list's certificates.
const ALGORITHM: &str = "AEAD_AES_256_GCM";
const A_TIME: &str = "a time after 1970 such as 2018-06-08T10:34:56+08:00";
/// The documented value for each certificate. Notifications, which are encrypted with the same key, have other values.
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
/// read from the certificate. An earlier `expire_time` in the list shortens it, as documented for a certificate that is
/// being replaced. If `held` has the key that the response names, this key must verify the response's signature.
/// Otherwise a certificate of the list must verify it. Such a list can be trusted because only WeChat Pay and the
/// merchant know the APIv3 key, with which it is encrypted.
///
/// ```
/// use std::time::SystemTime;
/// use wechatpay_contract::{ApiV3Key, Merchant, certificates};
///
/// /// Replaces the certificates with those of a response that another HTTP stack received.
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
/// its certificates verifies it, [`Error::Api`] for a status other than 2xx, and [`Error::Accepted`] for 202.
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
    // An unknown key is no error yet, because the list may contain it. An empty list has an error of its own.
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

/// Checks for the response to a merchant without platform certificates. Tencent's SDKs disagree about its code.
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

/// The fields of the list of platform certificates that this crate reads.
#[derive(Deserialize)]
struct List {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    serial_no: String,
    /// The alias is inferred. Tencent's example has a space at the end of another field name, `"effective_time "`.
    #[serde(alias = "expire_time ")]
    expire_time: String,
    encrypt_certificate: Encrypted,
}

#[derive(Deserialize)]
struct Encrypted {
    algorithm: String,
    nonce: String,
    associated_data: String,
    ciphertext: String,
}

/// Returns the certificates of the list. The result is empty only if the list is.
fn open_list(
    body: &[u8],
    now: u64,
    api_v3_key: &ApiV3Key,
) -> Result<Vec<PublicKey>, CertificateError> {
    let List { data } = json::from_slice(body).map_err(|error| unusable(error.to_string()))?;
    let listed = data.len();
    let mut certificates: Vec<PublicKey> = Vec::with_capacity(listed);
    for (position, entry) in data.into_iter().enumerate() {
        let certificate = entry.open(position, api_v3_key)?;
        if certificates.iter().any(|one| one.id() == certificate.id()) {
            let problem = format!("it has platform certificate {} twice", certificate.id());
            return Err(unusable(problem));
        }
        certificates.push(certificate);
    }
    let is_expired = |one: &PublicKey| one.validity().is_some_and(|valid| now > valid.not_after);
    certificates.retain(|one| !is_expired(one));
    if listed == 0 || certificates.iter().any(|one| one.is_valid_at(now)) {
        return Ok(certificates);
    }
    Err(CertificateError::NoneValid { listed, now })
}

impl Entry {
    /// Decrypts the certificate, compares it with its entry in the list, and limits its validity to the entry's
    /// `expire_time`.
    fn open(self, position: usize, api_v3_key: &ApiV3Key) -> Result<PublicKey, CertificateError> {
        let wrong = |field: &str, wanted: &str| {
            unusable(format!("data[{position}].{field}: wanted {wanted}"))
        };
        let encrypted = self.encrypt_certificate;
        if encrypted.algorithm != ALGORITHM {
            let wanted = format!("{ALGORITHM}, found \"{}\"", Shown::id(&encrypted.algorithm));
            return Err(wrong("algorithm", &wanted));
        }
        if encrypted.associated_data != ASSOCIATED_DATA {
            return Err(wrong("associated_data", ASSOCIATED_DATA));
        }
        let expire_time =
            parse_rfc_3339(self.expire_time.trim()).ok_or_else(|| wrong("expire_time", A_TIME))?;
        let mut ciphertext = STANDARD
            .decode(encrypted.ciphertext)
            .map_err(|_| wrong("ciphertext", "base64"))?;
        let nonce = encrypted.nonce.as_bytes();
        let serial_no = self.serial_no;
        let Some(pem) = api_v3_key.decrypt(nonce, ASSOCIATED_DATA.as_bytes(), &mut ciphertext)
        else {
            return Err(CertificateError::Undecryptable { serial_no });
        };
        let certificate = read_certificate(pem, &serial_no)?;
        Ok(certificate.ending_at(expire_time))
    }
}

/// Reads a decrypted certificate, which must have the serial number that the list gives it.
fn read_certificate(pem: &[u8], serial_no: &str) -> Result<PublicKey, CertificateError> {
    let listed = Shown::id(serial_no);
    let not_one = |source| {
        let problem = format!("its entry \"{listed}\" is not a usable certificate");
        CertificateError::unusable(problem, source)
    };
    // A notification is encrypted with the same key, and a PEM block may stand in its text. A block with other text
    // around it is therefore refused.
    if !is_block_alone(pem) {
        return Err(not_one(None));
    }
    let certificate = PublicKey::from_certificate_pem(pem).map_err(|error| not_one(Some(error)))?;
    match is_same_id(serial_no, certificate.id()) {
        true => Ok(certificate),
        false => Err(unusable(format!(
            "it gives platform certificate {} the serial_no \"{listed}\"",
            certificate.id()
        ))),
    }
}

fn is_block_alone(pem: &[u8]) -> bool {
    let pem = pem.trim_ascii();
    let dashes = pem.iter().filter(|byte| **byte == b'-').count();
    pem.starts_with(b"-----BEGIN ") && pem.ends_with(b"-----") && dashes == 4 * 5
}

fn unusable(problem: impl Into<String>) -> CertificateError {
    CertificateError::unusable(problem, None)
}
