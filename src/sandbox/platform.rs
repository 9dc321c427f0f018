//! The sandbox's platform keys over their life: the public key, the certificates and their list, and which of them signs
//! a message.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Sandbox;
use super::answer::{Answer, Refusal, new_id};
use super::x509;
use crate::error::{Error, InvalidField, KeyError};
use crate::keys::{ApiV3Key, PrivateKey, PublicKey, Validity};
use crate::request::CERTIFICATES;
use crate::time::format_rfc_3339;
use crate::verifier::{Verifier, signed_message};

const KEYS: [&str; 2] = [
    include_str!("keys/platform_key.pem"),
    include_str!("keys/platform_key_2.pem"),
];

/// No certificate can be valid for that long, in Unix seconds.
const YEAR_10000: u64 = 253_402_300_800;

/// The platform keys that the sandbox plays with: a WeChat Pay public key alone at first.
///
/// A handle that is cheap to clone; see [`Sandbox::platform`].
///
/// ```
/// use wechatpay_contract::Validity;
/// use wechatpay_contract::sandbox::Sandbox;
///
/// // A merchant that has certificates and no public key:
/// let sandbox = Sandbox::start()?;
/// sandbox.platform().offer_public_key(false);
/// sandbox.platform().issue_certificate(
///     "1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B",
///     Validity { not_before: 1_500_000_000, not_after: 4_000_000_000 },
/// )?;
/// let client = sandbox.certificate_client_builder()?.build()?;
/// client.refresh_certificates()?;
/// assert_eq!(
///     client.merchant().verifier().key_ids(),
///     ["1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B"],
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Platform {
    inner: Arc<Inner>,
    /// The key that the request at hand asks for.
    asked: Option<String>,
}

struct Inner {
    keys: [PrivateKey; 2],
    api_v3_key: ApiV3Key,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    offers_public_key: bool,
    /// Oldest first.
    certificates: Vec<Certificate>,
    /// How many were issued until now, withdrawn ones too.
    issued: usize,
    signs: SignsWith,
    forgery: Option<Forgery>,
    /// Messages signed while moving.
    moved: u64,
}

#[derive(Debug)]
struct Certificate {
    serial_no: String,
    validity: Validity,
    pem: String,
    /// Which of [`KEYS`] it certifies.
    key: usize,
}

/// With which of its keys the sandbox signs answers and notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignsWith {
    /// An answer with the key that the request asks for in `Wechatpay-Serial`; anything else with the public key if it
    /// is offered, else with the certificate that is valid and ends last.
    Asked,
    /// Everything with this key, whatever the request asks for: as before a merchant's move to the public key, or as
    /// in a rotation of certificates.
    Key(String),
    /// Of 1000 messages so many, spread evenly, with the public key, and the others with the certificate that is valid
    /// and ends last: as WeChat Pay moves notifications, by 1, 10, 50, 100, 200, 500 and 1000.
    Moving {
        /// 0 to 1000.
        permille: u16,
    },
}

/// What is wrong in the list of platform certificates; its signature is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forgery {
    /// The newest certificate is encrypted under another APIv3 key, as by somebody who does not know the right one.
    OtherApiV3Key,
    /// The newest certificate is listed under another serial number.
    OtherSerialNo,
    /// In the place of the newest certificate is a private key.
    NoCertificate,
    /// The list holds a certificate with the serial number of the merchant's own, [`Sandbox::MERCHANT_SERIAL_NO`].
    MerchantsOwn,
}

impl Platform {
    pub(super) fn new() -> Result<Self, Error> {
        let [first, second] = KEYS.map(PrivateKey::from_pem);
        Ok(Self {
            inner: Arc::new(Inner {
                keys: [first?, second?],
                api_v3_key: ApiV3Key::new(Sandbox::API_V3_KEY)?,
                state: Mutex::new(State {
                    offers_public_key: true,
                    certificates: Vec::new(),
                    issued: 0,
                    signs: SignsWith::Asked,
                    forgery: None,
                    moved: 0,
                }),
            }),
            asked: None,
        })
    }

    /// Whether the merchant has the WeChat Pay public key, which is so at first; [`Sandbox::PUBLIC_KEY_ID`] is unknown
    /// otherwise.
    pub fn offer_public_key(&self, on: bool) {
        self.state().offers_public_key = on;
    }

    /// Makes a platform certificate and lists it, and returns it as PEM.
    ///
    /// The certificates certify two keys in turn. Expired ones are no longer listed, by the sandbox's clock.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] when the serial number is not one of up to 40 hexadecimal digits, when it is listed already, or
    /// when the validity ends before it starts or after the year 9999.
    pub fn issue_certificate(
        &self,
        serial_no: &str,
        validity: Validity,
    ) -> Result<String, InvalidField> {
        let mut state = self.state();
        let key = (state.issued + 1) % KEYS.len();
        let certificate = self.certificate(serial_no, validity, key)?;
        if state.find(&certificate.serial_no).is_some() {
            return Err(InvalidField::new("serial_no", "found one that is listed"));
        }
        let pem = certificate.pem.clone();
        state.issued += 1;
        state.certificates.push(certificate);
        Ok(pem)
    }

    /// Takes a certificate from the list, after which no request can ask for it either.
    pub fn withdraw_certificate(&self, serial_no: &str) {
        self.state()
            .certificates
            .retain(|one| !one.serial_no.eq_ignore_ascii_case(serial_no));
    }

    /// With which key answers and notifications are signed from now on. A key that is not there signs as
    /// [`SignsWith::Asked`].
    pub fn sign_with(&self, signs: SignsWith) {
        self.state().signs = signs;
    }

    /// Forges the list of certificates from now on, or no longer.
    pub fn forge_list(&self, forgery: Option<Forgery>) {
        self.state().forgery = forgery;
    }

    /// The same platform, for answering a request that asks for this key. The list of certificates, when no key is
    /// asked for, is signed with one of them: nobody without a key could verify it otherwise.
    pub(super) fn answering(&self, target: &str, asked: Option<&str>, now: u64) -> Self {
        let newest = || {
            let state = self.state();
            let newest = state.newest(now).filter(|_| target == CERTIFICATES);
            newest.map(|one| one.serial_no.clone())
        };
        Self {
            inner: Arc::clone(&self.inner),
            asked: asked.map(str::to_owned).or_else(newest),
        }
    }

    pub(super) fn api_v3_key(&self) -> &ApiV3Key {
        &self.inner.api_v3_key
    }

    pub(super) fn public_key(&self) -> Result<PublicKey, KeyError> {
        let [key, _] = &self.inner.keys;
        key.public_key(Sandbox::PUBLIC_KEY_ID)
    }

    /// What the merchant needs to verify the sandbox's answers at first.
    pub(super) fn verifier(&self) -> Result<Verifier, Error> {
        Ok(Verifier::new([self.public_key()?])?)
    }

    /// Whether `id` names a platform key.
    pub(super) fn knows(&self, id: &str) -> bool {
        let state = self.state();
        match id {
            Sandbox::PUBLIC_KEY_ID => state.offers_public_key,
            _ => state.find(id).is_some(),
        }
    }

    /// The answer to `GET /v3/certificates`.
    pub(super) fn certificates(&self, now: u64) -> Result<Answer, Refusal> {
        let state = self.state();
        if state.issued == 0 {
            return Err(Refusal::new(
                404,
                "RESOURCE_NOT_EXISTS",
                "the merchant has no platform certificates; use the WeChat Pay public key",
            ));
        }
        let is_listed = |one: &&Certificate| now <= one.validity.not_after;
        let listed: Vec<_> = state.certificates.iter().filter(is_listed).collect();
        let mut entries: Vec<_> = listed.iter().map(|one| self.entry(one)).collect();
        if let (Some(forgery), Some(newest)) = (state.forgery, listed.last()) {
            entries.pop();
            entries.push(self.forged(forgery, newest));
        }
        Ok(Answer::ok(json!({"data": entries})))
    }

    /// The signature headers for `body`.
    pub(super) fn signature_headers(
        &self,
        body: &[u8],
        timestamp: u64,
        nonce: &str,
    ) -> Vec<(String, Vec<u8>)> {
        let (id, key) = self.signing_key(timestamp);
        let timestamp = timestamp.to_string();
        let [first, second] = &self.inner.keys;
        let signature = [first, second]
            .get(key)
            .and_then(|key| key.sign(&signed_message(&timestamp, nonce, body)).ok())
            .map(|signature| STANDARD.encode(signature))
            .unwrap_or_default();
        [
            ("Wechatpay-Serial", id),
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Nonce", nonce.to_owned()),
            ("Wechatpay-Signature", signature),
            (
                "Wechatpay-Signature-Type",
                "WECHATPAY2-SHA256-RSA2048".to_owned(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .into()
    }

    /// The id of the key that signs now, and which of [`KEYS`] it is.
    fn signing_key(&self, now: u64) -> (String, usize) {
        let mut state = self.state();
        let wanted = match &state.signs {
            SignsWith::Asked => self.asked.clone(),
            SignsWith::Key(id) => Some(id.clone()),
            SignsWith::Moving { permille } => {
                let permille = u64::from(*permille);
                let has_moved = (state.moved + 1) * permille / 1000 > state.moved * permille / 1000;
                state.moved += 1;
                match has_moved {
                    true => Some(Sandbox::PUBLIC_KEY_ID.to_owned()),
                    false => state.newest(now).map(|one| one.serial_no.clone()),
                }
            }
        };
        let public_key = (Sandbox::PUBLIC_KEY_ID.to_owned(), 0);
        let by_certificate = |one: &Certificate| (one.serial_no.clone(), one.key);
        match wanted.as_deref() {
            Some(Sandbox::PUBLIC_KEY_ID) => return public_key,
            Some(id) => {
                if let Some(certificate) = state.find(id) {
                    return by_certificate(certificate);
                }
            }
            None => {}
        }
        if state.offers_public_key {
            return public_key;
        }
        state.newest(now).map_or(public_key, by_certificate)
    }

    fn certificate(
        &self,
        serial_no: &str,
        validity: Validity,
        key: usize,
    ) -> Result<Certificate, InvalidField> {
        if validity.not_before > validity.not_after || validity.not_after >= YEAR_10000 {
            let wanted = "wanted an end that is not before the start, nor after the year 9999";
            return Err(InvalidField::new(
                "validity",
                format!("found {validity:?}: {wanted}"),
            ));
        }
        let serial = from_hex(serial_no).ok_or_else(|| {
            InvalidField::new(
                "serial_no",
                format!("found {serial_no:?}: wanted up to 40 hexadecimal digits, not all 0"),
            )
        })?;
        let [first, second] = &self.inner.keys;
        let private = if key == 0 { first } else { second };
        Ok(Certificate {
            serial_no: serial_no.trim_start_matches('0').to_ascii_uppercase(),
            validity,
            pem: x509::self_signed_pem(&serial, validity, private),
            key,
        })
    }

    fn entry(&self, certificate: &Certificate) -> Value {
        self.entry_with(certificate, &self.inner.api_v3_key, &certificate.pem)
    }

    fn entry_with(&self, certificate: &Certificate, key: &ApiV3Key, content: &str) -> Value {
        const ASSOCIATED_DATA: &str = "certificate";
        let nonce: String = new_id().chars().take(12).collect();
        let mut bytes = [0; 12];
        for (to, from) in bytes.iter_mut().zip(nonce.bytes()) {
            *to = from;
        }
        let ciphertext = key.encrypt(bytes, ASSOCIATED_DATA.as_bytes(), content.as_bytes());
        json!({
            "serial_no": certificate.serial_no,
            "effective_time": format_rfc_3339(certificate.validity.not_before),
            "expire_time": format_rfc_3339(certificate.validity.not_after),
            "encrypt_certificate": {
                "algorithm": "AEAD_AES_256_GCM",
                "nonce": nonce,
                "associated_data": ASSOCIATED_DATA,
                "ciphertext": STANDARD.encode(ciphertext),
            },
        })
    }

    /// An entry with another value of one field.
    fn entry_as(&self, field: &str, value: String, certificate: &Certificate) -> Value {
        let mut entry = self.entry(certificate);
        if let Some(slot) = entry.get_mut(field) {
            *slot = Value::from(value);
        }
        entry
    }

    /// An entry in the place of `newest`.
    fn forged(&self, forgery: Forgery, newest: &Certificate) -> Value {
        let forged = match forgery {
            Forgery::OtherApiV3Key => ApiV3Key::new([0; 32])
                .ok()
                .map(|key| self.entry_with(newest, &key, &newest.pem)),
            Forgery::NoCertificate => {
                let [private, _] = KEYS;
                Some(self.entry_with(newest, &self.inner.api_v3_key, private))
            }
            Forgery::MerchantsOwn => self
                .certificate(Sandbox::MERCHANT_SERIAL_NO, newest.validity, newest.key)
                .ok()
                .map(|own| self.entry(&own)),
            Forgery::OtherSerialNo => {
                let other = "0123456789ABCDEF0123456789ABCDEF01234567".to_owned();
                Some(self.entry_as("serial_no", other, newest))
            }
        };
        forged.unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl State {
    fn find(&self, serial_no: &str) -> Option<&Certificate> {
        self.certificates
            .iter()
            .find(|one| one.serial_no == serial_no)
    }

    /// The certificate that is valid and ends last.
    fn newest(&self, now: u64) -> Option<&Certificate> {
        self.certificates
            .iter()
            .filter(|one| (one.validity.not_before..=one.validity.not_after).contains(&now))
            .max_by_key(|one| one.validity.not_after)
    }
}

/// The bytes of a serial number of up to 40 hexadecimal digits that is not zero.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || text.len() > 40 || text.trim_start_matches('0').is_empty() {
        return None;
    }
    let even = format!("{}{text}", if text.len() % 2 == 1 { "0" } else { "" });
    even.as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
