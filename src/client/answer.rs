//! What came back: verified, with a downloaded certificate if need be, or looked at before.

use std::time::SystemTime;

use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, header};

use super::Inner;
use super::attempt::Attempt;
use crate::error::{Error, VerifyError};
use crate::merchant::Verified;
use crate::verifier::SignatureHeaders;

impl Inner {
    pub(super) fn accept<R: DeserializeOwned>(&self, answer: &Answer<'_>) -> Result<R, Error> {
        self.verify(answer)?.read()
    }

    /// An answer signed with an unknown certificate is verified once more when the certificate could be downloaded; the
    /// request, which may have taken effect, is not sent again. So a download that is running is worth waiting for.
    fn verify<'a>(&self, answer: &'a Answer<'_>) -> Result<Verified<'a, 'a>, Error> {
        let now = (self.clock)();
        match self.verify_at(answer, now) {
            Err(Error::Unverified {
                source: VerifyError::UnknownSerial { received, .. },
                ..
            }) if self.learn(&received, true) => self.verify_at(answer, now),
            result => result,
        }
    }

    fn verify_at<'a>(
        &self,
        answer: &'a Answer<'_>,
        now: SystemTime,
    ) -> Result<Verified<'a, 'a>, Error> {
        self.merchant
            .verify(answer.status, answer.headers.iter(), &answer.body, now)
    }

    pub(super) fn head<'a>(&self, answer: &'a Answer<'_>) -> AnswerHead<'a> {
        let (headers, _) = SignatureHeaders::read(answer.headers.iter());
        let date = answer.headers.get(header::DATE);
        AnswerHead {
            host: &answer.attempt.host.name,
            status: answer.status,
            received: (self.clock)(),
            date: date.and_then(|date| date.to_str().ok()),
            serial: headers.serial(),
            request_id: headers.request_id(),
        }
    }
}

/// What came back, not verified.
pub(super) struct Answer<'c> {
    pub(super) attempt: Attempt<'c>,
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
