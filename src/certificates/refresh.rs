//! When the platform certificates are downloaded, and by whom: no I/O and no clock of its own.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::error::{CertificateError, Error};
use crate::keys::{ApiV3Key, is_serial_number};
use crate::verifier::Verifier;

/// WeChat Pay asks for less than 12 hours.
const MAX_AGE: Duration = Duration::from_secs(10 * 60 * 60);
/// Between the starts of two downloads that nobody asked for by name.
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps a verifier's platform certificates fresh: says when to download, lets one thread do it while others go on with
/// the keys they have, and remembers how it went.
#[derive(Debug)]
pub(crate) struct PlatformCertificates {
    api_v3_key: Arc<ApiV3Key>,
    verifier: Verifier,
    /// How long to wait for a download that another thread runs.
    patience: Duration,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_running: bool,
    /// The start of the last download.
    attempted: Option<SystemTime>,
    /// The start of the last download that gave certificates, or the answer that there are none.
    checked: Option<SystemTime>,
    /// How the last download failed.
    error: Option<Arc<Error>>,
}

/// What a message with an unknown key calls for.
#[derive(Debug)]
pub(crate) enum ForSerial<'a> {
    /// The key is held by now: verify again.
    Held,
    /// Download, then verify again.
    Download(DownloadPermit<'a>),
    /// It is not a certificate's serial number, or the last download is too recent or has not ended: the message stays
    /// unverified.
    Unavailable,
}

impl PlatformCertificates {
    pub(crate) fn new(api_v3_key: Arc<ApiV3Key>, verifier: Verifier, patience: Duration) -> Self {
        Self {
            api_v3_key,
            verifier,
            patience,
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    pub(crate) fn api_v3_key(&self) -> &ApiV3Key {
        &self.api_v3_key
    }

    /// To be asked before each request: the permit to download when the certificates are due, to one thread at a time.
    ///
    /// Whoever has no valid key waits for a download that is running. Fails when there is no valid key, and the
    /// download does not end or failed less than a minute ago.
    pub(crate) fn before_use(
        &self,
        now: SystemTime,
    ) -> Result<Option<DownloadPermit<'_>>, Arc<Error>> {
        let has_key = || self.verifier.keys().preferred(now).is_some();
        let state = self.wait(|| !has_key());
        if has_key() && (state.is_running || !state.is_due(now)) {
            return Ok(None);
        }
        if state.is_running {
            return Err(self.still_running());
        }
        if !state.is_pausing(now) {
            return Ok(Some(self.start(state, now)));
        }
        match &state.error {
            Some(error) if !has_key() => Err(Arc::clone(error)),
            _ => Ok(None),
        }
    }

    /// To be asked when a message names a key that is not held. A download that is running may bring the key: it is
    /// waited for if the message can wait.
    pub(crate) fn for_serial(
        &self,
        serial: &str,
        now: SystemTime,
        can_wait: bool,
    ) -> ForSerial<'_> {
        let is_findable = is_serial_number(serial);
        let state = self.wait(|| is_findable && can_wait && !self.verifier.keys().contains(serial));
        if self.verifier.keys().contains(serial) {
            ForSerial::Held
        } else if is_findable && !state.is_running && !state.is_pausing(now) {
            ForSerial::Download(self.start(state, now))
        } else {
            ForSerial::Unavailable
        }
    }

    /// The permit to download because the caller wants to, after a download that is running. Fails when that does not
    /// end.
    pub(crate) fn on_demand(&self, now: SystemTime) -> Result<DownloadPermit<'_>, Arc<Error>> {
        let state = self.wait(|| true);
        if state.is_running {
            return Err(self.still_running());
        }
        Ok(self.start(state, now))
    }

    /// How the last download failed; `None` when it succeeded.
    pub(crate) fn last_error(&self) -> Option<Arc<Error>> {
        self.state().error.clone()
    }

    fn start(&self, mut state: MutexGuard<'_, State>, now: SystemTime) -> DownloadPermit<'_> {
        state.is_running = true;
        state.attempted = Some(now);
        DownloadPermit {
            certificates: self,
            started: now,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while a download is running and is needed, but no longer than patience lasts, also when one download follows
    /// another.
    fn wait(&self, is_needed: impl Fn() -> bool) -> MutexGuard<'_, State> {
        let (state, _) = self
            .ended
            .wait_timeout_while(self.state(), self.patience, |state| {
                state.is_running && is_needed()
            })
            .unwrap_or_else(PoisonError::into_inner);
        state
    }

    fn still_running(&self) -> Arc<Error> {
        let waited = self.patience;
        Arc::new(Error::Certificates {
            request_id: None,
            source: Box::new(CertificateError::StillRunning { waited }),
        })
    }
}

impl State {
    fn is_due(&self, now: SystemTime) -> bool {
        self.checked
            .is_none_or(|checked| abs_diff(checked, now) >= MAX_AGE)
    }

    fn is_pausing(&self, now: SystemTime) -> bool {
        self.attempted
            .is_some_and(|attempted| abs_diff(attempted, now) < PAUSE)
    }
}

/// The permit to download. When it is dropped, however the download went, the next one is let in.
#[derive(Debug)]
pub(crate) struct DownloadPermit<'a> {
    certificates: &'a PlatformCertificates,
    started: SystemTime,
}

impl DownloadPermit<'_> {
    /// Notes how it went. On success the verifier must hold the new certificates already.
    pub(crate) fn finish(self, result: Result<(), Arc<Error>>) -> Result<(), Arc<Error>> {
        let mut state = self.certificates.state();
        let is_answered = match &result {
            Ok(()) => true,
            Err(error) => has_no_certificates(error),
        };
        if is_answered {
            state.checked = Some(self.started);
        }
        state.error = result.as_ref().err().cloned();
        result
    }
}

fn has_no_certificates(error: &Error) -> bool {
    match error {
        Error::Certificates { source, .. } => {
            matches!(**source, CertificateError::NoCertificates { .. })
        }
        _ => false,
    }
}

impl Drop for DownloadPermit<'_> {
    fn drop(&mut self) {
        self.certificates.state().is_running = false;
        self.certificates.ended.notify_all();
    }
}

/// How far two times are from each other. A clock that was set back must not stop the downloads until it has caught up.
fn abs_diff(one: SystemTime, other: SystemTime) -> Duration {
    other
        .duration_since(one)
        .unwrap_or_else(|error| error.duration())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Instant, UNIX_EPOCH};

    use super::*;
    use crate::error::{ApiError, Authenticity};
    use crate::keys::PublicKey;

    const OLD: &str = include_str!("../../tests/it/fixtures/certificate_old.pem");
    const NEW: &str = include_str!("../../tests/it/fixtures/certificate_new.pem");
    const NEW_SERIAL: &str = "2E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
    const OLD_SERIAL: &str = "1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
    const HOUR: u64 = 60 * 60;

    /// Seconds after a time at which both certificates are valid.
    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_710_892_800 + seconds)
    }

    /// For whom a download that does not end is waited for longer than any test lasts.
    fn certificates() -> PlatformCertificates {
        with_patience(Duration::from_secs(HOUR))
    }

    fn with_patience(patience: Duration) -> PlatformCertificates {
        let api_v3_key = Arc::new(ApiV3Key::new([7; 32]).unwrap());
        PlatformCertificates::new(api_v3_key, Verifier::without_keys(), patience)
    }

    fn hold(certificates: &PlatformCertificates, pems: &[&str]) {
        let keys = pems
            .iter()
            .map(|pem| PublicKey::from_certificate_pem(pem).unwrap());
        certificates.verifier.replace(keys).unwrap();
    }

    fn succeed(permit: Option<DownloadPermit<'_>>) {
        let permit = permit.expect("a download must be due");
        hold(permit.certificates, &[OLD]);
        permit.finish(Ok(())).unwrap();
    }

    fn failure() -> Result<(), Arc<Error>> {
        Err(Arc::new(Error::NoPlatformKey))
    }

    fn no_certificates() -> Result<(), Arc<Error>> {
        let response = ApiError::from_response(404, b"", None, Authenticity::Unsigned);
        let source = CertificateError::NoCertificates {
            response: Box::new(response),
            public_key_id: None,
        };
        Err(Arc::new(Error::Certificates {
            request_id: None,
            source: Box::new(source),
        }))
    }

    #[test]
    fn the_first_use_downloads_and_then_nothing_is_due_for_ten_hours() {
        let certificates = certificates();
        succeed(certificates.before_use(at(0)).unwrap());
        for seconds in [0, 1, 60, 10 * HOUR - 1] {
            assert!(certificates.before_use(at(seconds)).unwrap().is_none());
        }
        succeed(certificates.before_use(at(10 * HOUR)).unwrap());
        assert!(certificates.before_use(at(10 * HOUR)).unwrap().is_none());
    }

    #[test]
    fn without_a_valid_key_a_download_is_due_before_its_time() {
        let certificates = certificates();
        let old_end = 1_711_339_165 - 1_710_892_800;
        succeed(certificates.before_use(at(old_end - 60)).unwrap());
        assert!(certificates.before_use(at(old_end)).unwrap().is_none());
        assert!(certificates.before_use(at(old_end + 1)).unwrap().is_some());
    }

    #[test]
    fn a_failure_is_repeated_to_those_without_a_key_for_a_minute() {
        let certificates = certificates();
        let permit = certificates.before_use(at(0)).unwrap().unwrap();
        let failed = permit.finish(failure()).unwrap_err();
        for seconds in [0, 59] {
            let error = certificates.before_use(at(seconds)).unwrap_err();
            assert!(Arc::ptr_eq(&error, &failed));
        }
        assert!(certificates.before_use(at(60)).unwrap().is_some());
    }

    #[test]
    fn a_failure_leaves_those_with_a_key_alone_and_is_tried_again_after_a_minute() {
        let certificates = certificates();
        succeed(certificates.before_use(at(0)).unwrap());
        let due = 10 * HOUR;
        let permit = certificates.before_use(at(due)).unwrap().unwrap();
        let failed = permit.finish(failure()).unwrap_err();
        assert!(certificates.before_use(at(due)).unwrap().is_none());
        assert!(certificates.before_use(at(due + 59)).unwrap().is_none());
        assert!(Arc::ptr_eq(&certificates.last_error().unwrap(), &failed));
        succeed(certificates.before_use(at(due + 60)).unwrap());
        assert!(certificates.last_error().is_none());
    }

    #[test]
    fn a_merchant_without_certificates_is_asked_again_after_ten_hours_only() {
        let certificates = certificates();
        let public_key = PublicKey::from_certificate_pem(OLD).unwrap();
        certificates.verifier.replace([public_key]).unwrap();
        let permit = certificates.before_use(at(0)).unwrap().unwrap();
        permit.finish(no_certificates()).unwrap_err();
        assert!(certificates.last_error().is_some());
        assert!(
            certificates
                .before_use(at(10 * HOUR - 1))
                .unwrap()
                .is_none()
        );
        assert!(certificates.before_use(at(10 * HOUR)).unwrap().is_some());
    }

    #[test]
    fn a_dropped_permit_counts_as_an_attempt_and_lets_the_next_in() {
        let certificates = certificates();
        drop(certificates.before_use(at(0)).unwrap().unwrap());
        assert!(certificates.before_use(at(59)).unwrap().is_none());
        assert!(certificates.before_use(at(60)).unwrap().is_some());
    }

    #[test]
    fn an_unknown_serial_number_is_looked_for_once_a_minute() {
        let certificates = certificates();
        succeed(certificates.before_use(at(0)).unwrap());
        let ask = |serial, seconds| certificates.for_serial(serial, at(seconds), true);
        assert!(matches!(ask(NEW_SERIAL, 59), ForSerial::Unavailable));
        let ForSerial::Download(permit) = ask(NEW_SERIAL, 60) else {
            panic!("a download must be permitted");
        };
        permit.finish(Ok(())).unwrap();
        assert!(matches!(ask(NEW_SERIAL, 119), ForSerial::Unavailable));
        assert!(matches!(ask(NEW_SERIAL, 120), ForSerial::Download(_)));
        hold(&certificates, &[OLD, NEW]);
        assert!(matches!(ask(NEW_SERIAL, 600), ForSerial::Held));
    }

    #[test]
    fn nothing_is_looked_for_that_is_no_certificates_serial_number() {
        let certificates = certificates();
        for serial in [
            "PUB_KEY_ID_0000000000000024101100397200000006",
            "",
            "2E2F 3A4B",
            "xyz",
        ] {
            assert!(matches!(
                certificates.for_serial(serial, at(0), true),
                ForSerial::Unavailable
            ));
        }
        let ForSerial::Download(running) = certificates.for_serial("2e2F", at(0), true) else {
            panic!("a download must be permitted");
        };
        // Nor is a running download waited for, which does not end here.
        assert!(matches!(
            certificates.for_serial("PUB_KEY_ID_1", at(0), true),
            ForSerial::Unavailable
        ));
        drop(running);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_downloads() {
        let certificates = certificates();
        succeed(certificates.before_use(at(48 * HOUR)).unwrap());
        assert!(
            certificates
                .before_use(at(48 * HOUR - 1))
                .unwrap()
                .is_none()
        );
        assert!(matches!(
            certificates.for_serial(NEW_SERIAL, at(48 * HOUR - 60), true),
            ForSerial::Download(_)
        ));
        succeed(certificates.before_use(at(0)).unwrap());
    }

    #[test]
    fn a_download_on_demand_needs_no_pause() {
        let certificates = certificates();
        for _ in 0..2 {
            let permit = certificates.on_demand(at(0)).unwrap();
            permit.finish(failure()).unwrap_err();
        }
    }

    #[test]
    fn those_with_a_key_go_on_while_one_downloads() {
        let certificates = certificates();
        succeed(certificates.before_use(at(0)).unwrap());
        let permit = certificates.before_use(at(10 * HOUR)).unwrap();
        assert!(permit.is_some());
        assert!(certificates.before_use(at(10 * HOUR)).unwrap().is_none());
        assert!(certificates.before_use(at(11 * HOUR)).unwrap().is_none());
    }

    #[test]
    fn a_download_that_does_not_end_is_waited_for_as_long_as_patience_lasts() {
        let patience = Duration::from_millis(20);
        let certificates = with_patience(patience);
        let running = certificates.before_use(at(0)).unwrap();
        let gave_up = |error: Arc<Error>| match &*error {
            Error::Certificates { source, .. } => match **source {
                CertificateError::StillRunning { waited } => assert_eq!(waited, patience),
                ref other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let began = Instant::now();
        gave_up(certificates.before_use(at(0)).unwrap_err());
        gave_up(certificates.on_demand(at(0)).unwrap_err());
        assert!(matches!(
            certificates.for_serial(NEW_SERIAL, at(60), true),
            ForSerial::Unavailable
        ));
        assert!(began.elapsed() >= 3 * patience);
        // It is no failure of the download, which may still end well.
        assert!(certificates.last_error().is_none());
        succeed(running);
        assert!(certificates.before_use(at(0)).unwrap().is_none());
        assert!(matches!(
            certificates.for_serial(NEW_SERIAL, at(60), true),
            ForSerial::Download(_)
        ));
        certificates.on_demand(at(0)).unwrap();
    }

    #[test]
    fn who_has_what_it_waited_for_does_not_wait_for_the_next_download() {
        let patience = Duration::from_secs(20);
        let certificates = with_patience(patience);
        let first = certificates.before_use(at(0)).unwrap();
        let began = Instant::now();
        thread::scope(|scope| {
            let call = scope.spawn(|| matches!(certificates.before_use(at(0)), Ok(None)));
            let answer = scope.spawn(|| {
                let held = certificates.for_serial(OLD_SERIAL, at(0), true);
                matches!(held, ForSerial::Held)
            });
            // As a download that ends and another that begins before these two look again.
            hold(&certificates, &[OLD]);
            drop(certificates.state());
            certificates.ended.notify_all();
            assert!(call.join().unwrap());
            assert!(answer.join().unwrap());
        });
        assert!(began.elapsed() < patience / 2);
        assert!(first.is_some() && certificates.state().is_running);
    }

    #[test]
    fn what_cannot_wait_is_left_at_once_while_a_download_runs() {
        let certificates = certificates();
        let running = certificates.before_use(at(0)).unwrap();
        let ask = |serial, seconds| certificates.for_serial(serial, at(seconds), false);
        assert!(matches!(ask(NEW_SERIAL, 60), ForSerial::Unavailable));
        succeed(running);
        assert!(matches!(ask(OLD_SERIAL, 60), ForSerial::Held));
        assert!(matches!(ask(NEW_SERIAL, 60), ForSerial::Download(_)));
    }

    #[test]
    fn those_who_need_a_key_wait_for_the_one_who_downloads() {
        let certificates = certificates();
        let permit = certificates.before_use(at(0)).unwrap();
        let (done, results) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..8 {
                let certificates = &certificates;
                let (one, other) = (done.clone(), done.clone());
                scope.spawn(move || {
                    let permit = certificates.before_use(at(0));
                    one.send(matches!(permit, Ok(None))).unwrap();
                });
                scope.spawn(move || {
                    let answer = certificates.for_serial(OLD_SERIAL, at(0), true);
                    other.send(matches!(answer, ForSerial::Held)).unwrap();
                });
            }
            // Whoever did not wait would have no key, and would say so.
            succeed(permit);
        });
        drop(done);
        assert_eq!(results.iter().collect::<Vec<_>>(), [true; 16]);
    }
}
