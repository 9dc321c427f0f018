//! A notification: an event with its encrypted content as WeChat Pay sends it, and the attempts to deliver it.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::credentials::new_id;
use super::platform::{Platform, encrypted};
use crate::time::{format_rfc_3339, unix_seconds};

/// The event of a notification.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) event_type: &'a str,
    pub(super) original_type: &'a str,
    pub(super) summary: &'a str,
}

impl<'a> Event<'a> {
    /// The user has signed a contract. This product's event types are not public, so those of the sister product 委托代扣
    /// are used.
    pub(super) const SIGNED: Self = Self::new("ENTRUST.SIGN", "entrust", "签约成功");
    /// A contract was terminated.
    pub(super) const TERMINATED: Self = Self::new("ENTRUST.TERMINATE", "entrust", "解约成功");
    /// The user has paid an order.
    pub(super) const PAID: Self = Self::new("TRANSACTION.SUCCESS", "transaction", "支付成功");
    /// The echo of the self-test. Only its event type is documented.
    pub(super) const ECHO: Self = Self::new("SECURITY_ECHO.SUCCESS", "security_echo", "回显成功");

    pub(super) const fn new(event_type: &'a str, original_type: &'a str, summary: &'a str) -> Self {
        Self {
            event_type,
            original_type,
            summary,
        }
    }
}

/// A notification of the sandbox, delivered or only recorded.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SentNotification {
    /// The notification's id, the same for every attempt.
    pub id: String,
    /// The event type. `ENTRUST.SIGN` and `ENTRUST.TERMINATE` are event types of the sister product, because this
    /// product's are not public.
    pub event_type: String,
    /// The contract's code, if the notification is about a contract.
    pub out_contract_code: Option<String>,
    /// The headers of the last attempt, including the signature. Each attempt has a new signature.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// The attempts to deliver it, oldest first.
    pub attempts: Vec<DeliveryAttempt>,
}

impl SentNotification {
    /// Returns `true` if the receiver has replied with 200 or 204.
    pub fn is_acknowledged(&self) -> bool {
        self.attempts
            .iter()
            .any(DeliveryAttempt::is_acknowledgement)
    }
}

/// One attempt to deliver a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryAttempt {
    /// The status of the reply, or `None` if there was no reply within the timeout.
    pub status: Option<u16>,
    /// The reason why there was no reply.
    pub error: Option<String>,
}

impl DeliveryAttempt {
    pub(super) fn is_acknowledgement(&self) -> bool {
        matches!(self.status, Some(200 | 204))
    }
}

impl SentNotification {
    /// Returns a notification without a signature.
    pub(super) fn new(event: Event<'_>, content: &Value, platform: &Platform, now: u64) -> Self {
        let id = event_id();
        let key = platform.api_v3_key();
        let mut resource = encrypted(key, event.original_type, content.to_string().as_bytes());
        if let Some(resource) = resource.as_object_mut() {
            resource.insert("original_type".to_owned(), event.original_type.into());
        }
        let envelope = json!({
            "id": id,
            "create_time": format_rfc_3339(now),
            "resource_type": "encrypt-resource",
            "event_type": event.event_type,
            "summary": event.summary,
            "resource": resource,
        });
        let out_contract_code = content.get("out_contract_code").and_then(Value::as_str);
        Self {
            id,
            event_type: event.event_type.to_owned(),
            out_contract_code: out_contract_code.map(str::to_owned),
            headers: Vec::new(),
            body: envelope.to_string().into_bytes(),
            attempts: Vec::new(),
        }
    }
}

impl Platform {
    /// Returns the body of a notification with any event type, `original_type` and content, encrypted under
    /// [`Sandbox::API_V3_KEY`](super::Sandbox::API_V3_KEY). Its headers come from [`sign`](Self::sign).
    pub fn notification(
        &self,
        event_type: &str,
        original_type: &str,
        content: &Value,
        time: SystemTime,
    ) -> Vec<u8> {
        let event = Event::new(event_type, original_type, event_type);
        SentNotification::new(event, content, self, unix_seconds(time)).body
    }
}

/// Returns an id of 36 characters in the form of a UUID.
fn event_id() -> String {
    let mut id = new_id().to_ascii_lowercase();
    for position in [20, 16, 12, 8] {
        if id.is_char_boundary(position) {
            id.insert(position, '-');
        }
    }
    id
}
