//! The sandbox's platform keys: the public key, the certificates and their list, and the choice of the key that signs a
//! message.

use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::credentials::{
    API_V3_KEY, MERCHANT_SERIAL_NO, PLATFORM_KEY_PEMS, PUBLIC_KEY_ID, is_same_serial_no, new_id,
};
use super::error::SandboxError;
use super::response::{Refusal, Response};
use super::sync::lock;
use super::x509;
use crate::error::Error;
use crate::keys::{ApiV3Key, PrivateKey, Validity};
use crate::time::format_rfc_3339;
use crate::verifier::Verifier;

/// The first second after the year 9999, in Unix seconds. No certificate can be valid then.
const YEAR_10000: u64 = 253_402_300_800;

/// The serial number of [`Forgery::OtherSerialNo`].
const OTHER_SERIAL_NO: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

/// The platform keys of a sandbox. By default they are a WeChat Pay public key alone.
///
/// This is a handle and cheap to clone. [`Sandbox::platform`](super::Sandbox::platform) returns it.
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
#[derive(Debug, Clone)]
pub struct Platform(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys: [PrivateKey; 2],
    api_v3_key: ApiV3Key,
    other_api_v3_key: ApiV3Key,
    state: Mutex<State>,
}

/// The state that can be changed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    is_public_key_withheld: bool,
    /// The listed certificates, oldest first.
    certificates: Vec<Certificate>,
    /// The number of certificates issued until now, including withdrawn ones.
    issued: usize,
    signs_with: SignsWith,
    forgery: Option<Forgery>,
    /// The number of messages signed with [`SignsWith::Moving`].
    moved: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Certificate {
    serial_no: String,
    not_before: u64,
    not_after: u64,
    /// `true` if the certificate is for the second private key, not the first.
    has_second_key: bool,
}

/// The key with which the sandbox signs responses and notifications.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SignsWith {
    /// The key that the request names in `Wechatpay-Serial`. A notification, and the response to a request that names no
    /// key, are signed with the valid certificate that expires last. If there is none, the public key is used.
    #[default]
    Requested,
    /// This key for every message, whatever the request names. WeChat Pay does this until it has migrated a merchant to
    /// the public key, and during a rotation of certificates. If there is no such key, the valid certificate that
    /// expires last is used.
    Key(String),
    /// The public key for some messages, spread evenly, and the valid certificate that expires last for the others. WeChat
    /// Pay migrates a merchant's notifications in this way, in steps of 1, 10, 50, 100, 200, 500 and 1000 permille.
    Moving {
        /// The number of messages in 1000 that are signed with the public key, from 0 to 1000.
        permille: u16,
    },
}

/// A forged list of platform certificates, in a correctly signed response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Forgery {
    /// The newest certificate is encrypted with another APIv3 key, as by an attacker who does not know the merchant's.
    OtherApiV3Key,
    /// The newest certificate is listed under another serial number.
    OtherSerialNo,
    /// The newest certificate is replaced by a private key.
    NoCertificate,
    /// The list contains a certificate with the serial number of the merchant's own,
    /// [`Sandbox::MERCHANT_SERIAL_NO`](super::Sandbox::MERCHANT_SERIAL_NO).
    MerchantsOwn,
}

impl Platform {
    /// Returns the platform keys of a sandbox without a server, for unit tests that sign and verify messages.
    ///
    /// # Errors
    ///
    /// Does not fail in practice: the keys are a part of this crate.
    pub fn new() -> Result<Self, Error> {
        let [first, second] = PLATFORM_KEY_PEMS.map(PrivateKey::from_pem);
        Ok(Self(Arc::new(Inner {
            keys: [first?, second?],
            api_v3_key: ApiV3Key::new(API_V3_KEY)?,
            other_api_v3_key: ApiV3Key::new([0; 32])?,
            state: Mutex::default(),
        })))
    }

    /// Returns a verifier with the public key.
    ///
    /// # Errors
    ///
    /// Does not fail in practice: the key is a part of this crate.
    pub fn verifier(&self) -> Result<Verifier, Error> {
        let key = self.key(false).public_key(PUBLIC_KEY_ID)?;
        Ok(Verifier::new([key])?)
    }

    /// Sets whether the merchant has the WeChat Pay public key. The default is `true`. If `on` is `false`, a request
    /// that names [`Sandbox::PUBLIC_KEY_ID`](super::Sandbox::PUBLIC_KEY_ID) in `Wechatpay-Serial` is refused.
    pub fn offer_public_key(&self, on: bool) {
        self.state().is_public_key_withheld = !on;
    }

    /// Issues a platform certificate, adds it to the list, and returns it as PEM.
    ///
    /// Certificates are issued for two private keys in turn. A certificate that has expired by the sandbox's clock is no
    /// longer listed.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] if the serial number is zero, is not 1 to 40 hexadecimal digits, or was issued before and not
    /// withdrawn, or if the validity ends before it starts or after the year 9999. A certificate that has expired keeps its
    /// serial number until it is withdrawn.
    pub fn issue_certificate(
        &self,
        serial_no: &str,
        validity: Validity,
    ) -> Result<String, SandboxError> {
        let mut state = self.state();
        let certificate = Certificate {
            serial_no: serial_no.to_ascii_uppercase(),
            not_before: validity.not_before,
            not_after: validity.not_after,
            has_second_key: state.issued % 2 == 0,
        };
        certificate.check()?;
        if state.find(serial_no).is_some() {
            let used = "which was issued before and not withdrawn";
            let problem = format!("serial_no: found {serial_no:?}, {used}");
            return Err(SandboxError::new(problem));
        }
        let pem = self.pem(&certificate);
        state.issued += 1;
        state.certificates.push(certificate);
        Ok(pem)
    }

    /// Removes a certificate from the list. A request that names it in `Wechatpay-Serial` is refused from then on.
    pub fn withdraw_certificate(&self, serial_no: &str) {
        let is_other = |one: &Certificate| !is_same_serial_no(&one.serial_no, serial_no);
        self.state().certificates.retain(is_other);
    }

    /// Sets the key with which responses and notifications are signed from now on.
    pub fn sign_with(&self, signs_with: SignsWith) {
        self.state().signs_with = signs_with;
    }

    /// Forges the list of certificates from now on. `None` ends this.
    pub fn forge_list(&self, forgery: Option<Forgery>) {
        self.state().forgery = forgery;
    }

    /// Checks whether `id` names a platform key.
    pub(super) fn knows(&self, id: &str) -> bool {
        let state = self.state();
        (id == PUBLIC_KEY_ID && !state.is_public_key_withheld) || state.find(id).is_some()
    }

    /// Returns the response to `GET /v3/certificates`.
    pub(super) fn certificates(&self, now: u64) -> Result<Response, Refusal> {
        let state = self.state();
        if state.issued == 0 {
            return Err(Refusal::not_found(
                "the merchant has no platform certificates; use the WeChat Pay public key",
            ));
        }
        let certificates = state.certificates.iter();
        let mut listed = certificates.filter(|one| now <= one.not_after);
        let mut data: Vec<_> = listed.clone().map(|one| self.entry(one, None)).collect();
        // Only the newest entry of the list is forged.
        if let (Some(entry), Some(newest)) = (data.last_mut(), listed.next_back()) {
            *entry = self.entry(newest, state.forgery);
        }
        Ok(Response::ok(json!({"data": data})))
    }

    /// Returns the key that signs now, with its id. `requested` is the id that the request names.
    pub(super) fn signing_key(&self, requested: Option<&str>, now: u64) -> (String, &PrivateKey) {
        let mut state = self.state();
        let wanted = match &state.signs_with {
            SignsWith::Requested => requested.map(str::to_owned),
            SignsWith::Key(id) => Some(id.clone()),
            SignsWith::Moving { permille } => {
                let permille = u64::from(*permille);
                let has_moved = (state.moved + 1) * permille / 1000 > state.moved * permille / 1000;
                state.moved += 1;
                has_moved.then(|| PUBLIC_KEY_ID.to_owned())
            }
        };
        let certificate = match wanted.as_deref() {
            Some(PUBLIC_KEY_ID) => None,
            wanted => wanted
                .and_then(|id| state.find(id))
                .or_else(|| state.newest(now)),
        };
        match certificate {
            Some(one) => (one.serial_no.clone(), self.key(one.has_second_key)),
            None => (PUBLIC_KEY_ID.to_owned(), self.key(false)),
        }
    }

    pub(super) fn api_v3_key(&self) -> &ApiV3Key {
        &self.0.api_v3_key
    }

    fn pem(&self, one: &Certificate) -> String {
        let serial = serial_bytes(&one.serial_no).unwrap_or_default();
        let validity = [one.not_before, one.not_after];
        x509::self_signed_pem(&serial, validity, self.key(one.has_second_key))
    }

    fn key(&self, is_second: bool) -> &PrivateKey {
        let [first, second] = &self.0.keys;
        if is_second { second } else { first }
    }

    fn entry(&self, one: &Certificate, forgery: Option<Forgery>) -> Value {
        let (mut listed, mut key) = (one.clone(), &self.0.api_v3_key);
        let mut content = self.pem(one);
        match forgery {
            None => {}
            Some(Forgery::OtherApiV3Key) => key = &self.0.other_api_v3_key,
            Some(Forgery::OtherSerialNo) => listed.serial_no = OTHER_SERIAL_NO.to_owned(),
            Some(Forgery::NoCertificate) => content = PLATFORM_KEY_PEMS[0].to_owned(),
            Some(Forgery::MerchantsOwn) => {
                listed.serial_no = MERCHANT_SERIAL_NO.to_owned();
                content = self.pem(&listed);
            }
        }
        json!({
            "serial_no": listed.serial_no,
            "effective_time": format_rfc_3339(one.not_before),
            "expire_time": format_rfc_3339(one.not_after),
            "encrypt_certificate": encrypted(key, "certificate", content.as_bytes()),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl State {
    /// Checks the certificates of a snapshot.
    pub(super) fn check(&self) -> Result<(), SandboxError> {
        self.certificates.iter().try_for_each(Certificate::check)
    }

    fn find(&self, serial_no: &str) -> Option<&Certificate> {
        self.certificates
            .iter()
            .find(|one| is_same_serial_no(&one.serial_no, serial_no))
    }

    /// Returns the valid certificate that expires last.
    fn newest(&self, now: u64) -> Option<&Certificate> {
        self.certificates
            .iter()
            .filter(|one| (one.not_before..=one.not_after).contains(&now))
            .max_by_key(|one| one.not_after)
    }
}

impl Certificate {
    fn check(&self) -> Result<(), SandboxError> {
        let (start, end) = (self.not_before, self.not_after);
        let problem = if start > end || end >= YEAR_10000 {
            let wanted = "wanted an end that is not before the start, nor after the year 9999";
            format!("validity: found {start} to {end}, {wanted}")
        } else if serial_bytes(&self.serial_no).is_none() {
            let wanted = "wanted up to 40 hexadecimal digits, not all 0";
            format!("serial_no: found {:?}, {wanted}", self.serial_no)
        } else {
            return Ok(());
        };
        Err(SandboxError::new(problem))
    }
}

/// Encrypts content as WeChat Pay does. Returns the object that its API calls `resource` or `encrypt_certificate`.
pub(super) fn encrypted(key: &ApiV3Key, associated_data: &str, content: &[u8]) -> Value {
    let nonce: String = new_id().chars().take(12).collect();
    let nonce_bytes = nonce.as_bytes().try_into().unwrap_or_default();
    let ciphertext = key.encrypt(nonce_bytes, associated_data.as_bytes(), content);
    json!({
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": nonce,
        "associated_data": associated_data,
        "ciphertext": STANDARD.encode(ciphertext),
    })
}

/// Returns the bytes of a serial number, or `None` if it is zero or is not 1 to 40 hexadecimal digits.
fn serial_bytes(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || text.len() > 40 || text.trim_start_matches('0').is_empty() {
        return None;
    }
    let digits = format!("{text:0>40}");
    let bytes = digits.as_bytes().chunks(2);
    bytes
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client decrypts with the same library, so this test uses Tencent's vector.
    #[test]
    fn content_is_encrypted_as_in_tencents_vector() {
        let vectors = include_str!("../../tests/vectors/official.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let text = |name: &str| vectors["aes_256_gcm"][name].as_str().unwrap();
        let nonce = text("nonce").as_bytes().try_into().unwrap();
        let key = ApiV3Key::new(text("key")).unwrap();
        let ciphertext = key.encrypt(
            nonce,
            text("associated_data").as_bytes(),
            text("plaintext").as_bytes(),
        );
        assert_eq!(STANDARD.encode(ciphertext), text("ciphertext"));
    }

    #[test]
    fn serial_numbers_are_compared_as_numbers() {
        for (one, other, is_same) in [
            ("0F1A", "f1a", true),
            ("F1A", "00F1A", true),
            ("F1A", "F1B", false),
            (PUBLIC_KEY_ID, PUBLIC_KEY_ID, true),
            (PUBLIC_KEY_ID, "6", false),
        ] {
            assert_eq!(is_same_serial_no(one, other), is_same, "{one} {other}");
        }
    }
}
