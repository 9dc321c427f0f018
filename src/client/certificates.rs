//! Platform certificates: downloaded when they are due, and when one is needed that is not held.

use std::sync::Arc;

use super::Inner;
use super::answer::{Answer, Watch};
use crate::certificates::{self, ForSerial, PlatformCertificates, Refresh};
use crate::error::{CertificateError, Error};
use crate::keys::ApiV3Key;

impl Inner {
    /// Downloads the platform certificates when they are due. A failure matters only to those without a valid key.
    pub(super) fn refresh_if_due(&self) -> Result<(), Error> {
        let Some(certificates) = &self.certificates else {
            return Ok(());
        };
        let now = (self.clock)();
        if let Some(permit) = certificates.before_use(now)? {
            let result = self.download(certificates, permit, &|_| ());
            if self.merchant.verifier().keys().preferred(now).is_none() {
                result?;
            }
        }
        Ok(())
    }

    /// Tries to get the platform certificate with this serial number; whether it is held now. Another thread's download
    /// is waited for only by what can wait.
    pub(super) fn learn(&self, serial: &str, can_wait: bool) -> bool {
        let Some(certificates) = &self.certificates else {
            return false;
        };
        match certificates.for_serial(serial, (self.clock)(), can_wait) {
            ForSerial::Held => true,
            ForSerial::Refresh(permit) => {
                self.download(certificates, permit, &|_| ()).is_ok()
                    && self.merchant.verifier().keys().contains(serial)
            }
            ForSerial::Leave => false,
        }
    }

    /// Downloads the platform certificates and takes them over, or keeps the old ones.
    pub(super) fn download(
        &self,
        certificates: &PlatformCertificates,
        permit: Refresh<'_>,
        watch: &Watch<'_>,
    ) -> Result<(), Arc<CertificateError>> {
        let result = self.call(&certificates::request(), |answer| {
            watch(&self.head(answer));
            self.take_over(certificates.api_v3_key(), answer)
                .map_err(|error| Arc::new(error).into())
        });
        permit.finish(result.map_err(|error| match error {
            Error::Certificates(error) => error,
            error => Arc::new(CertificateError::Download(Box::new(error))),
        }))
    }

    fn take_over(
        &self,
        api_v3_key: &ApiV3Key,
        answer: &Answer<'_>,
    ) -> Result<(), CertificateError> {
        let downloaded = certificates::accept(
            answer.status,
            answer.headers.iter(),
            &answer.body,
            (self.clock)(),
            api_v3_key,
            self.merchant.verifier(),
        )?;
        self.merchant
            .replace_certificates(downloaded)
            .map_err(CertificateError::OwnCertificate)
    }
}
