//! The report of each exchange to the application's observer, for logs and metrics.

use std::time::{Duration, SystemTime};

use crate::error::{Error, Outcome};
use crate::request::Method;

pub(super) type Observer = dyn Fn(&Exchange<'_>) + Send + Sync;

/// The report of one exchange to [`ClientBuilder::on_exchange`](crate::ClientBuilder::on_exchange). It never contains a
/// body, a value of the path or a secret.
///
/// As the only exception, [`error`](Self::error) may quote a single value, from WeChat Pay's error message or from a
/// check.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exchange<'a> {
    /// The merchant id 商户号 of the client.
    pub mchid: &'a str,
    /// The HTTP method.
    pub method: Method,
    /// The path's template, without values.
    pub template: &'a str,
    /// The host, and the port if one was set.
    pub host: &'a str,
    /// 1, or 2 for the second attempt of a call.
    pub attempt: u8,
    /// The HTTP status, if there was a complete response. Not signed.
    pub status: Option<u16>,
    /// `Request-ID` of the response, which identifies the exchange for WeChat Pay's support. Not signed.
    pub request_id: Option<&'a str>,
    /// `Wechatpay-Serial` of the response, the id of the platform key that signed it. The id is verified only if
    /// [`error`](Self::error) is `None`.
    pub serial: Option<&'a str>,
    /// `Date` of the response, the time by the server's clock. Not signed.
    pub date: Option<SystemTime>,
    /// The duration from the start of signing to the end of verifying.
    pub elapsed: Duration,
    /// The error of the exchange, if it failed. The call may return another error: a second attempt may follow, and if
    /// neither host can be reached, the call's error names both.
    pub error: Option<&'a Error>,
}

impl Exchange<'_> {
    /// Returns the outcome of a failed exchange, or `None` for a success.
    pub fn outcome(&self) -> Option<Outcome> {
        self.error.map(Error::outcome)
    }
}
