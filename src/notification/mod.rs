//! Opens WeChat Pay's notifications: verifies the raw bytes, decrypts the content, and reads it into a typed event.

mod content;
mod envelope;
mod error;
mod reply;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::envelope::Envelope;
use crate::json::{self, DecodeError};
use crate::keys::ApiV3Key;
use crate::open_enum::open_enum;
use crate::verifier::{SignatureHeaders, Verifier};

pub use self::content::{ContractEvent, Event, RefundEvent};
pub use self::error::NotificationError;
pub use self::reply::NotificationReply;

/// Opens notifications: verifies and decrypts a raw body with its headers, and reads it into a typed event.
///
/// Cheap to clone and to share among threads. It shares the platform keys with the verifier's other clones, so that a key
/// replaced in one place is replaced everywhere. It does no I/O and reads no clock, and fits any web framework, blocking
/// or async.
///
/// ```
/// use std::time::SystemTime;
/// use wechatpay_contract::{
///     Event, EventKind, NotificationError, NotificationReceiver, NotificationReply, SignatureHeaders,
/// };
///
/// /// `headers` and `body` as they were received, before any decoding.
/// fn handle(
///     receiver: &NotificationReceiver,
///     headers: &[(String, String)],
///     body: &[u8],
/// ) -> Result<NotificationReply, NotificationError> {
///     let headers = SignatureHeaders::from_pairs(headers.iter().map(|(name, value)| (name, value)))?;
///     let event = receiver.open(&headers, body, SystemTime::now())?;
///     // Here: insert the event's identifier into a unique index, see below. If it is there already, only reply.
///     match &event.content {
///         Event::Contract(contract) => match event.kind {
///             EventKind::Signed => println!("{} is signed", contract.out_contract_code),
///             EventKind::Terminated => println!("{} is terminated", contract.out_contract_code),
///             _ => println!("{}: query it", contract.out_contract_code),
///         },
///         // Compare it with your own record by `check_order` before you deliver anything.
///         Event::Payment(paid) => println!("{}: {}", paid.out_trade_no, paid.trade_state),
///         Event::Refund(refund) => println!("{}: {}", refund.out_refund_no, refund.refund_status),
///         _ => println!("{}: {}", event.event_type, event.json()),
///     }
///     Ok(NotificationReply::success())
/// }
///
/// fn reply(
///     receiver: &NotificationReceiver,
///     headers: &[(String, String)],
///     body: &[u8],
/// ) -> NotificationReply {
///     handle(receiver, headers, body).unwrap_or_else(|error| error.reply())
/// }
/// ```
///
/// # Duties of the caller
///
/// - **Raw bytes.** Pass the body exactly as it was received, before the framework decodes, decompresses or parses it.
///   A body longer than [`MAX_BODY`](Self::MAX_BODY) is refused, so read at most one byte more.
/// - **Five seconds.** WeChat Pay waits that long for the reply. Store the event and reply, and do slow work later.
/// - **Duplicates.** The same notification can arrive more than once, even at the same moment on two connections.
///   Insert an identifier of the event into a unique index, in one atomic step. If the identifier is new, process the
///   event. If it is there already, only reply with success. The identifiers are:
///   - of a contract whose [`kind`](Notification::kind) is [`Signed`](EventKind::Signed) or
///     [`Terminated`](EventKind::Terminated): the merchant, `out_contract_code` and the kind. A code is unique for one
///     merchant and never used again.
///   - of a payment: `transaction_id`.
///   - of a refund: `refund_id` and `refund_status`.
///   - of any other event: the [`id`](Notification::id).
/// - **Order.** Notifications can overtake each other: a late `SIGN` must not revive a terminated contract, nor a late
///   payment a refunded order.
/// - **Own records.** Compare a contract (`out_contract_code`, and `mchid`, `appid`, `service_id`, `openid` if present)
///   with the fields of the pre-sign, and a payment by
///   [`Transaction::check_order`](crate::order::Transaction::check_order).
/// - **When in doubt, query.** The query returns the authoritative state. Query if a notification does not arrive:
///   delivery is never guaranteed, and no notification is sent when the user gives up, when signing or payment fails,
///   or when an order is closed.
/// - **With platform certificates** that a client downloads, call the client's `refresh_for` if the verification fails,
///   and open the notification again if it returns `true`.
/// - **Reply** with [`NotificationReply::success`], with [`NotificationError::reply`] when opening failed, and with
///   [`NotificationReply::failure`] when the event could not be stored. WeChat Pay sends an unacknowledged notification
///   again, in the general schedule after 15 s, 15 s, 30 s, 3 min, 10 min, 20 min, three times 30 min, 60 min, three
///   times 3 h and twice 6 h. Other schedules exist.
///
/// # Many merchants
///
/// Each merchant has its own APIv3 key and platform keys, so each has a receiver of its own. Nothing in a notification
/// can be trusted before it is opened, but two things can pick the receiver:
///
/// - **A URL for each merchant**, such as `/notify/1900000109` as the `notify_url` of its requests. This always works.
/// - **The platform key's id** in `Wechatpay-Serial`, if the merchants share a URL. A WeChat Pay public key 微信支付公钥
///   belongs to one merchant. Only an older page says that a platform certificate 平台证书 does too. With certificates,
///   use a URL for each merchant.
///
/// ```
/// use std::collections::HashMap;
/// use std::time::SystemTime;
/// use wechatpay_contract::{
///     Notification, NotificationError, NotificationReceiver, SignatureHeaders, VerifyError,
/// };
///
/// /// `receivers` maps each id of a receiver's `verifier().key_ids()` to the receiver.
/// fn open(
///     receivers: &HashMap<String, NotificationReceiver>,
///     headers: &SignatureHeaders<'_>,
///     body: &[u8],
/// ) -> Result<Notification, NotificationError> {
///     let id = headers.serial().unwrap_or_default();
///     let receiver = receivers.get(id).ok_or_else(|| VerifyError::UnknownSerial {
///         received: id.to_owned(),
///         known: Vec::new(),
///     })?;
///     receiver.open(headers, body, SystemTime::now())
/// }
/// ```
///
/// The header only selects the receiver, whose key must verify the signature. A notification that names one key and is
/// signed with another is refused.
///
/// # Documented and inferred parts
///
/// Envelope, signature and encryption are documented, and so are payments and refunds. The event types and the decrypted
/// fields of password-exempt contracts 免密支付 are **not public**: they are inferred from WeChat Pay's sister products
/// (委托代扣 and others). So the kind is read from the end of the event type, every field but `out_contract_code` is
/// optional, and [`Notification::json`] returns the decrypted JSON.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012075420>, and of the sister products
/// <https://pay.weixin.qq.com/doc/v3/partner/4012160323>, <https://pay.weixin.qq.com/doc/v3/partner/4012881605> and
/// <https://pay.weixin.qq.com/doc/global/v3/zh/4013015481>.
#[derive(Debug, Clone)]
pub struct NotificationReceiver {
    verifier: Verifier,
    key: Arc<ApiV3Key>,
}

impl NotificationReceiver {
    /// The longest body that is opened, in bytes: 1 MiB.
    pub const MAX_BODY: usize = 1 << 20;

    /// Makes a receiver that verifies with `verifier`, usually a clone of the client's, and decrypts with `key`.
    ///
    /// `key` is an [`ApiV3Key`], or an `Arc` of one that is needed elsewhere too. A client or a
    /// [`Merchant`](crate::Merchant) refuses the merchant's own certificate or public key among the platform keys. A
    /// receiver cannot do that, since it has no signer.
    pub fn new(verifier: Verifier, key: impl Into<Arc<ApiV3Key>>) -> Self {
        Self {
            verifier,
            key: key.into(),
        }
    }

    /// Returns the verifier, which holds the platform keys.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Verifies and decrypts a notification of any kind, and reads what this crate knows: contracts, payments and refunds.
    ///
    /// `body` is the raw body as received. `now` is compared with the time in the headers.
    ///
    /// # Errors
    ///
    /// See [`NotificationError`]. Do not trust anything in a refused notification unless the variant says otherwise. A
    /// notification of another product is not an error. It is returned as [`Event::Other`].
    pub fn open(
        &self,
        headers: &SignatureHeaders<'_>,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Notification, NotificationError> {
        let (envelope, json) = self.decrypt(headers, body, now)?;
        let content = Event::read(&envelope, &json);
        Notification::new(envelope, content, json)
    }

    /// Verifies and decrypts any notification, and reads its content as a `T`.
    ///
    /// Use it for a product that this crate does not know, or for a URL that receives only one kind of notification.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use wechatpay_contract::{NotificationError, NotificationReceiver, SignatureHeaders};
    /// #[derive(serde::Deserialize)]
    /// struct Echo {
    ///     echo_message: String,
    /// }
    ///
    /// # fn handle(
    /// #     receiver: &NotificationReceiver, headers: &SignatureHeaders<'_>, body: &[u8],
    /// # ) -> Result<(), NotificationError> {
    /// let notification = receiver.open_as::<Echo>(headers, body, SystemTime::now())?;
    /// println!("{}: {}", notification.event_type, notification.content.echo_message);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`NotificationError`].
    pub fn open_as<T: DeserializeOwned>(
        &self,
        headers: &SignatureHeaders<'_>,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Notification<T>, NotificationError> {
        let (envelope, json) = self.decrypt(headers, body, now)?;
        let content = json::from_str(&json);
        Notification::new(envelope, content, json)
    }

    /// Verifies a notification, and returns its envelope and its decrypted content.
    fn decrypt<'b>(
        &self,
        headers: &SignatureHeaders<'_>,
        body: &'b [u8],
        now: SystemTime,
    ) -> Result<(Envelope<'b>, String), NotificationError> {
        if body.len() > Self::MAX_BODY {
            return Err(NotificationError::TooLarge { bytes: body.len() });
        }
        self.verifier.verify(headers, body, now)?;
        let envelope: Envelope<'_> = json::from_slice(body).map_err(NotificationError::Envelope)?;
        let json = envelope.decrypt(&self.key)?;
        Ok((envelope, json))
    }
}

/// A notification that was verified and decrypted.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification<T = Event> {
    /// The notification's id 通知ID, up to 36 characters. It is documented as unique. It is inferred that a notification
    /// keeps its id when it is sent again.
    pub id: String,
    /// The time at which the notification was made 通知创建时间: RFC 3339 (`2020-09-10T13:29:35+08:00`), in old examples
    /// `20180225112233`. So it is kept as text.
    pub create_time: String,
    /// The event's type 通知类型, such as `ENTRUST.SIGN`.
    pub event_type: String,
    /// The kind of the event, read from its type.
    pub kind: EventKind,
    /// The decrypted content.
    pub content: T,
    json: String,
}

impl<T> Notification<T> {
    fn new(
        envelope: Envelope<'_>,
        content: Result<T, DecodeError>,
        json: String,
    ) -> Result<Self, NotificationError> {
        let content = content.map_err(|source| envelope.refuse(source))?;
        let kind = envelope.event_type.rsplit('.').next();
        Ok(Self {
            kind: EventKind::from(kind.unwrap_or_default()),
            id: envelope.id,
            create_time: envelope.create_time,
            event_type: envelope.event_type,
            content,
            json,
        })
    }

    /// Returns the decrypted JSON, exactly as it was received.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Reads the decrypted JSON as another type: [`serde_json::Value`] for any content, or a type for one product.
    ///
    /// # Errors
    ///
    /// [`NotificationError::Content`] if the JSON is not of that type.
    pub fn parse<'a, U: Deserialize<'a>>(&'a self) -> Result<U, NotificationError> {
        json::from_str(&self.json)
            .map_err(|source| NotificationError::content(&self.id, &self.event_type, source))
    }
}

/// The JSON is not shown, since the content says the same.
impl<T: fmt::Debug> fmt::Debug for Notification<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("id", &self.id)
            .field("create_time", &self.create_time)
            .field("event_type", &self.event_type)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

open_enum! {
    /// The kind of an event: the part of the event's type after the last dot.
    ///
    /// Inferred from the sister products, since the event types of password-exempt contracts are not public. For
    /// [`Other`](Self::Other), [`contract_state`](ContractEvent::contract_state) or the query may say what happened.
    EventKind {
        /// The user signed the contract.
        Signed = "SIGN",
        /// The contract was terminated, by the user, the merchant or WeChat Pay.
        Terminated = "TERMINATE",
    }
}
