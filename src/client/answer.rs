//! What came back: verified, with a downloaded certificate if need be, or looked at before.

use std::time::SystemTime;

use serde::de::DeserializeOwned;
use ureq::http::HeaderMap;

use super::Inner;
use crate::error::{Error, VerifyError};
use crate::verifier::SignatureHeaders;

impl Inner {
    /// An answer signed with an unknown certificate is verified once more when the certificate could be downloaded; the
    /// request is not sent again.
    pub(super) fn accept<R: DeserializeOwned>(&self, answer: &Answer<'_>) -> Result<R, Error> {
        let now = (self.clock)();
        match self.accept_at(answer, now) {
            Err(Error::Unverified {
                source: VerifyError::UnknownSerial { received, .. },
                ..
            }) if self.learn(&received) => self.accept_at(answer, now),
            result => result,
        }
    }

    fn accept_at<R: DeserializeOwned>(
        &self,
        answer: &Answer<'_>,
        now: SystemTime,
    ) -> Result<R, Error> {
        self.merchant
            .accept(answer.status, answer.headers.iter(), &answer.body, now)
    }

    pub(super) fn head<'a>(&self, answer: &'a Answer<'_>) -> AnswerHead<'a> {
        let text = |name| answer.headers.get(name)?.to_str().ok();
        AnswerHead {
            host: answer.host,
            status: answer.status,
            received: (self.clock)(),
            date: text("Date"),
            serial: text("Wechatpay-Serial"),
            request_id: text("Request-ID"),
        }
    }
}

/// What came back, not verified.
pub(super) struct Answer<'c> {
    pub(super) host: &'c str,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer<'_> {
    pub(super) fn request_id(&self) -> Option<&str> {
        let (headers, _) = SignatureHeaders::read(self.headers.iter());
        headers.request_id()
    }
}

/// Looks at an answer before it is verified.
pub(crate) type Watch<'w> = dyn Fn(&AnswerHead<'_>) + 'w;

/// What the self-test wants to know of an answer; not verified.
pub(crate) struct AnswerHead<'a> {
    pub(crate) host: &'a str,
    pub(crate) status: u16,
    /// By the client's clock.
    pub(crate) received: SystemTime,
    pub(crate) date: Option<&'a str>,
    pub(crate) serial: Option<&'a str>,
    pub(crate) request_id: Option<&'a str>,
}
