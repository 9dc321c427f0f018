//! Makes notifications: the change of a contract, or the self-test's message, as the encrypted envelope that WeChat Pay
//! would send.
//!
//! What this product's notifications look like is not public. Event types and fields follow the sister product 委托代扣,
//! with `service_id` in the place of `plan_id`.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answer::new_id;
use super::fields::text;
use crate::keys::ApiV3Key;
use crate::time::{format_rfc_3339, unix_seconds};

/// What a notification tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The user has signed a contract.
    Signed,
    /// A contract was terminated.
    Terminated,
    /// The self-test's message came back. Only the event type of it is documented.
    Echo,
}

impl Kind {
    fn event_type(self) -> &'static str {
        match self {
            Self::Signed => "ENTRUST.SIGN",
            Self::Terminated => "ENTRUST.TERMINATE",
            Self::Echo => "SECURITY_ECHO.SUCCESS",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Self::Signed => "签约成功",
            Self::Terminated => "解约成功",
            Self::Echo => "回显成功",
        }
    }

    fn original_type(self) -> &'static str {
        match self {
            Self::Signed | Self::Terminated => "entrust",
            Self::Echo => "security_echo",
        }
    }
}

/// A notification before it is signed and sent.
pub(super) struct Notification {
    pub(super) id: String,
    pub(super) event_type: &'static str,
    pub(super) out_contract_code: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Notification {
    /// A notification with this content.
    pub(super) fn new(kind: Kind, content: &Value, key: &ApiV3Key, now: SystemTime) -> Self {
        let id = event_id();
        let envelope = json!({
            "id": id,
            "create_time": format_rfc_3339(unix_seconds(now)),
            "resource_type": "encrypt-resource",
            "event_type": kind.event_type(),
            "summary": kind.summary(),
            "resource": resource(kind.original_type(), content, key),
        });
        Self {
            id,
            event_type: kind.event_type(),
            out_contract_code: text(content, "out_contract_code").map(str::to_owned),
            body: envelope.to_string().into_bytes(),
        }
    }
}

fn resource(original_type: &str, content: &Value, key: &ApiV3Key) -> Value {
    let nonce: String = new_id().chars().take(12).collect();
    let mut nonce_bytes = [0; 12];
    for (byte, character) in nonce_bytes.iter_mut().zip(nonce.bytes()) {
        *byte = character;
    }
    let content = content.to_string();
    let ciphertext = key.encrypt(nonce_bytes, original_type.as_bytes(), content.as_bytes());
    json!({
        "original_type": original_type,
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": STANDARD.encode(ciphertext),
        "associated_data": original_type,
        "nonce": nonce,
    })
}

/// 36 characters, in groups as those of a UUID.
fn event_id() -> String {
    let mut id = new_id().to_ascii_lowercase();
    for position in [20, 16, 12, 8] {
        if id.is_char_boundary(position) {
            id.insert(position, '-');
        }
    }
    id
}
