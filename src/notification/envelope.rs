//! What a notification's content travels in: the envelope's JSON, borrowed from the body, and its decryption.

use std::borrow::Cow;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::NotificationError;
use crate::json;
use crate::keys::ApiV3Key;

/// The only algorithm there is.
const ALGORITHM: &str = "AEAD_AES_256_GCM";
/// What AES-256-GCM wants of a nonce, in bytes.
const NONCE_LEN: usize = 12;

/// All that is needed of the envelope. What is not named here may be absent or of any shape.
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
    pub(super) fn decrypt(&self, key: &ApiV3Key) -> Result<Vec<u8>, NotificationError> {
        if *self.algorithm != *ALGORITHM {
            return Err(NotificationError::UnsupportedAlgorithm {
                found: self.algorithm.to_string(),
            });
        }
        if self.nonce.len() != NONCE_LEN {
            return Err(NotificationError::MalformedField {
                name: "resource.nonce",
                wanted: "12 bytes",
            });
        }
        let mut bytes =
            STANDARD
                .decode(&*self.ciphertext)
                .map_err(|_| NotificationError::MalformedField {
                    name: "resource.ciphertext",
                    wanted: "base64",
                })?;
        let associated_data = self.associated_data.as_deref().unwrap_or_default();
        let length = key
            .decrypt(
                self.nonce.as_bytes(),
                associated_data.as_bytes(),
                &mut bytes,
            )
            .ok_or(NotificationError::Decrypt)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// A text that is borrowed unless it has escapes. A type of its own, since serde would copy an `Option<Cow<str>>`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}
