//! The envelope of a notification: its JSON, borrowed from the body, and the decryption of its content.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::NotificationError;
use crate::json::DecodeError;
use crate::keys::ApiV3Key;

/// The only documented algorithm.
const ALGORITHM: &str = "AEAD_AES_256_GCM";
/// The length of AES-256-GCM's nonce, in bytes.
const NONCE_LEN: usize = 12;

/// The fields of the envelope that this crate reads. Other fields may be absent or of any type.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    pub(super) id: String,
    pub(super) create_time: String,
    pub(super) event_type: String,
    #[serde(borrow)]
    pub(super) resource: Resource<'a>,
}

impl Envelope<'_> {
    /// Decrypts the content, which is JSON.
    pub(super) fn decrypt(&self, key: &ApiV3Key) -> Result<String, NotificationError> {
        let malformed = |name, wanted| NotificationError::MalformedField { name, wanted };
        let resource = &self.resource;
        if resource.algorithm != ALGORITHM {
            return Err(NotificationError::UnsupportedAlgorithm {
                found: resource.algorithm.to_string(),
            });
        }
        if resource.nonce.len() != NONCE_LEN {
            return Err(malformed("resource.nonce", "12 bytes"));
        }
        let mut bytes = STANDARD
            .decode(&*resource.ciphertext)
            .map_err(|_| malformed("resource.ciphertext", "base64"))?;
        let associated_data = resource.associated_data.as_deref().unwrap_or_default();
        let nonce = resource.nonce.as_bytes();
        let plaintext = key.decrypt(nonce, associated_data.as_bytes(), &mut bytes);
        let length = plaintext.ok_or(NotificationError::Decrypt)?.len();
        bytes.truncate(length);
        String::from_utf8(bytes)
            .map_err(|error| self.refuse(DecodeError::not_utf8(error.utf8_error())))
    }

    /// Returns the error for a content that could not be read.
    pub(super) fn refuse(&self, source: DecodeError) -> NotificationError {
        NotificationError::content(&self.id, &self.event_type, source)
    }
}

/// The encrypted content.
#[derive(Deserialize)]
pub(super) struct Resource<'a> {
    #[serde(borrow)]
    algorithm: Cow<'a, str>,
    #[serde(borrow)]
    ciphertext: Cow<'a, str>,
    #[serde(borrow)]
    nonce: Cow<'a, str>,
    associated_data: Option<String>,
    pub(super) original_type: Option<String>,
}
