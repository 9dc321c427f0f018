//! What is told of each exchange, for logs and metrics.

use std::time::{Duration, SystemTime};

use crate::error::{Error, Outcome};
use crate::request::Method;

pub(super) type Observer = dyn Fn(&Exchange<'_>) + Send + Sync;

/// One exchange with WeChat Pay, as told to [`ClientBuilder::on_exchange`](super::ClientBuilder::on_exchange): never a
/// body, a path's values or a secret.
///
/// Only [`error`](Self::error) may quote what WeChat Pay's answer, or a check, says about a single value.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exchange<'a> {
    /// The merchant id 商户号 of the client.
    pub mchid: &'a str,
    /// The HTTP method.
    pub method: Method,
    /// The path's template, without values.
    pub template: &'a str,
    /// The host and, if it was given, the port.
    pub host: &'a str,
    /// 1, or 2 for the second attempt of a call.
    pub attempt: u8,
    /// The HTTP status, if there was a complete answer; to be believed only as far as [`error`](Self::error) says.
    pub status: Option<u16>,
    /// `Request-ID` of the answer, which WeChat Pay's support asks for, if it had one; on success too.
    pub request_id: Option<&'a str>,
    /// `Wechatpay-Serial` of the response, the id of the platform key that it says it is signed with. Verified if
    /// [`error`](Self::error) is `None`.
    pub serial: Option<&'a str>,
    /// `Date` of the response, the time by the server's clock. Not signed.
    pub date: Option<SystemTime>,
    /// From before signing to after verifying.
    pub elapsed: Duration,
    /// The error in which the exchange ended, if it did. The call's own may be another: a second attempt may follow, and
    /// of two hosts that cannot be reached it names both.
    pub error: Option<&'a Error>,
}

impl Exchange<'_> {
    /// Whether a failed exchange may have taken effect; `None` for a success. One that was answered is never
    /// [`Outcome::NotSent`].
    pub fn outcome(&self) -> Option<Outcome> {
        self.error.map(Error::outcome)
    }
}
