//! The envelope of a notification: its JSON, borrowed from the body, and the decryption of its content.

use std::borrow::Cow;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::NotificationError;
use crate::json::{self, DecodeError};
use crate::keys::ApiV3Key;

/// The only documented algorithm.
const ALGORITHM: &str = "AEAD_AES_256_GCM";
/// The length of AES-256-GCM's nonce, in bytes.
const NONCE_LEN: usize = 12;

/// The fields of the envelope that this crate reads. Other fields may be absent or of any type.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow)]
    pub(super) create_time: Text<'a>,
    #[serde(borrow)]
    pub(super) event_type: Text<'a>,
    #[serde(borrow)]
    pub(super) resource: Resource<'a>,
}

impl<'a> Envelope<'a> {
    /// Reads a body that was verified.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, NotificationError> {
        json::from_slice(body).map_err(NotificationError::Envelope)
    }

    /// Decrypts the content, which is JSON.
    pub(super) fn decrypt(&self, key: &ApiV3Key) -> Result<String, NotificationError> {
        String::from_utf8(self.resource.decrypt(key)?)
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
    algorithm: Text<'a>,
    #[serde(borrow)]
    ciphertext: Text<'a>,
    #[serde(borrow)]
    nonce: Text<'a>,
    #[serde(borrow)]
    associated_data: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) original_type: Option<Text<'a>>,
}

impl Resource<'_> {
    fn decrypt(&self, key: &ApiV3Key) -> Result<Vec<u8>, NotificationError> {
        let malformed = |name, wanted| NotificationError::MalformedField { name, wanted };
        if *self.algorithm != *ALGORITHM {
            return Err(NotificationError::UnsupportedAlgorithm {
                found: self.algorithm.to_string(),
            });
        }
        if self.nonce.len() != NONCE_LEN {
            return Err(malformed("resource.nonce", "12 bytes"));
        }
        let mut bytes = STANDARD
            .decode(&*self.ciphertext)
            .map_err(|_| malformed("resource.ciphertext", "base64"))?;
        let associated_data = self.associated_data.as_deref().unwrap_or_default();
        let nonce = self.nonce.as_bytes();
        let plaintext = key.decrypt(nonce, associated_data.as_bytes(), &mut bytes);
        let length = plaintext.ok_or(NotificationError::Decrypt)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// A string that is borrowed unless it has escapes. It has its own type because serde would copy an `Option<Cow<str>>`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}
