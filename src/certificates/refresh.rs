//! Decides when the platform certificates are downloaded, and by which thread. Does no I/O and reads no clock.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::error::{CertificateError, Error, Outcome};
use crate::keys::{ApiV3Key, is_serial_number};
use crate::verifier::Verifier;

/// The age at which the certificates are downloaded again. WeChat Pay asks for less than 12 hours.
const MAX_AGE: Duration = Duration::from_secs(10 * 60 * 60);
/// The least time between the starts of two downloads while a valid key is held, and the longest backoff without one.
const PAUSE: Duration = Duration::from_secs(60);
/// The first backoff without a valid key. It doubles with each failure.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The number of consecutive failures that sent nothing and are retried without a backoff.
const UNSENT_AT_ONCE: u32 = 10;

/// Decides when a verifier's platform certificates are downloaded, and keeps the result of the last download.
///
/// One thread downloads at a time. The others wait for it only if no key is valid, to verify a response that is signed
/// with an unknown certificate, or to download on demand. Without a valid key, a download that was sent and failed is
/// retried after 1 s, 2 s, 4 s … 60 s: at most 6 requests in the first minute and one in each further minute, for any
/// number of threads. A download that sent nothing is retried by the next call, 10 times in a row, and then once a
/// second.
#[derive(Debug)]
pub(crate) struct PlatformCertificates {
    api_v3_key: Arc<ApiV3Key>,
    verifier: Verifier,
    /// The longest wait for another thread's download.
    timeout: Duration,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_running: bool,
    /// The start of the last download.
    attempted: Option<SystemTime>,
    /// The start of the last download that returned certificates, or found that there are none.
    checked: Option<SystemTime>,
    /// The error of the last download.
    error: Option<Arc<Error>>,
    /// The number of sent downloads that failed since the last success.
    failures: u32,
    /// The number of consecutive failed downloads that were not sent.
    unsent: u32,
}

impl PlatformCertificates {
    pub(crate) fn new(api_v3_key: Arc<ApiV3Key>, verifier: Verifier, timeout: Duration) -> Self {
        Self {
            api_v3_key,
            verifier,
            timeout,
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// Returns the permit to download if the certificates are due. The client calls this before each request.
    ///
    /// Without a valid key, waits for a running download, and returns an error if that download fails or does not end
    /// in time, or if the last one failed and may not be retried yet.
    pub(crate) fn before_use(
        &self,
        now: SystemTime,
    ) -> Result<Option<DownloadPermit<'_>>, Arc<Error>> {
        let has_key = || self.verifier.keys().preferred(now).is_some();
        let (state, has_waited) = self.wait(|| !has_key());
        match has_key() {
            true if state.is_running || !state.is_due(now) => Ok(None),
            false if state.is_running => Err(self.still_running()),
            // Threads that waited share the result. Otherwise each of them would try an unreachable host in turn.
            has_key if !has_waited && !state.is_pausing(now, has_key) => {
                Ok(Some(self.start(state, now)))
            }
            true => Ok(None),
            false => state.error.clone().map_or(Ok(None), Err),
        }
    }

    /// Returns the permit to download the certificate with this serial number, which a message names. Returns `None` if
    /// it is held, if `serial` is not a serial number, or if the last download is too recent or has not ended. Waits for
    /// a running download only if `can_wait`.
    pub(crate) fn for_serial(
        &self,
        serial: &str,
        now: SystemTime,
        can_wait: bool,
    ) -> Option<DownloadPermit<'_>> {
        let is_wanted = || is_serial_number(serial) && !self.verifier.keys().contains(serial);
        let (state, has_waited) = self.wait(|| can_wait && is_wanted());
        let is_free = !state.is_running && !has_waited;
        let has_key = self.verifier.keys().preferred(now).is_some();
        (is_free && is_wanted() && !state.is_pausing(now, has_key)).then(|| self.start(state, now))
    }

    /// Returns the permit to download at the caller's request. Waits for a running download first, and fails if it does
    /// not end in time.
    pub(crate) fn on_demand(&self, now: SystemTime) -> Result<DownloadPermit<'_>, Arc<Error>> {
        let (state, _) = self.wait(|| true);
        if state.is_running {
            return Err(self.still_running());
        }
        Ok(self.start(state, now))
    }

    /// Returns the error of the last download, or `None` if it succeeded.
    pub(crate) fn last_error(&self) -> Option<Arc<Error>> {
        self.state().error.clone()
    }

    fn start(&self, mut state: MutexGuard<'_, State>, now: SystemTime) -> DownloadPermit<'_> {
        state.is_running = true;
        state.attempted = Some(now);
        DownloadPermit {
            certificates: self,
            error: Some(failed(CertificateError::Interrupted)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while a download is running and its result is needed. The timeout limits the whole wait, also if a second
    /// download starts during it. The flag is `true` if it waited.
    fn wait(&self, is_needed: impl Fn() -> bool) -> (MutexGuard<'_, State>, bool) {
        let state = self.state();
        let has_waited = state.is_running && is_needed();
        let (state, _) = self
            .ended
            .wait_timeout_while(state, self.timeout, |state| state.is_running && is_needed())
            .unwrap_or_else(PoisonError::into_inner);
        (state, has_waited)
    }

    fn still_running(&self) -> Arc<Error> {
        failed(CertificateError::StillRunning {
            waited: self.timeout,
        })
    }
}

impl State {
    fn is_due(&self, now: SystemTime) -> bool {
        is_past(self.checked, MAX_AGE, now)
    }

    fn is_pausing(&self, now: SystemTime, has_key: bool) -> bool {
        !is_past(self.attempted, self.pause(has_key), now)
    }

    /// Returns the least time between the start of the last download and that of the next.
    fn pause(&self, has_key: bool) -> Duration {
        let is_interrupted = self.error.as_deref().is_some_and(is_interrupted);
        match self.unsent {
            _ if has_key && !is_interrupted => PAUSE,
            0 => (FIRST_BACKOFF * (1 << self.failures.saturating_sub(1).min(6))).min(PAUSE),
            1..=UNSENT_AT_ONCE => Duration::ZERO,
            _ => FIRST_BACKOFF,
        }
    }

    fn finish(&mut self, error: Option<Arc<Error>>) {
        self.is_running = false;
        (self.failures, self.unsent) = match error.as_deref() {
            None => (0, 0),
            Some(error) if is_unsent(error) => (self.failures, self.unsent.saturating_add(1)),
            Some(_) => (self.failures.saturating_add(1), 0),
        };
        if error.as_deref().is_none_or(has_no_certificates) {
            self.checked = self.attempted;
        }
        self.error = error;
    }
}

/// Returns `true` if the request for the certificates was not sent, or if a panic leaves that unknown.
fn is_unsent(error: &Error) -> bool {
    is_interrupted(error) || error.outcome() == Outcome::NotSent
}

fn is_interrupted(error: &Error) -> bool {
    matches!(error, Error::Certificates { source, .. }
        if matches!(**source, CertificateError::Interrupted))
}

fn has_no_certificates(error: &Error) -> bool {
    matches!(error, Error::Certificates { source, .. }
        if matches!(**source, CertificateError::NoCertificates { .. }))
}

fn failed(source: CertificateError) -> Arc<Error> {
    Arc::new(Error::Certificates {
        request_id: None,
        source: Box::new(source),
    })
}

/// The permit to download. When it is dropped, the next download may start.
#[derive(Debug)]
pub(crate) struct DownloadPermit<'a> {
    certificates: &'a PlatformCertificates,
    /// The error to record on drop. [`finish`](Self::finish) replaces it.
    error: Option<Arc<Error>>,
}

impl DownloadPermit<'_> {
    /// Returns the key that decrypts the certificates.
    pub(crate) fn api_v3_key(&self) -> &ApiV3Key {
        &self.certificates.api_v3_key
    }

    /// Records the result. On success, the verifier must already hold the new certificates.
    pub(crate) fn finish(mut self, result: Result<(), Error>) -> Result<(), Arc<Error>> {
        let result = result.map_err(Arc::new);
        self.error = result.as_ref().err().cloned();
        result
    }
}

impl Drop for DownloadPermit<'_> {
    fn drop(&mut self) {
        self.certificates.state().finish(self.error.take());
        self.certificates.ended.notify_all();
    }
}

/// Returns `true` if there was no such time, or if it is at least `age` away. A time in the future counts too, so that a
/// clock that was set back does not stop the downloads.
fn is_past(time: Option<SystemTime>, age: Duration, now: SystemTime) -> bool {
    let distance = |time| {
        now.duration_since(time)
            .unwrap_or_else(|error| error.duration())
    };
    time.is_none_or(|time| distance(time) >= age)
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

    /// With a timeout that no test reaches.
    fn certificates() -> PlatformCertificates {
        with_timeout(Duration::from_secs(HOUR))
    }

    fn with_timeout(timeout: Duration) -> PlatformCertificates {
        let api_v3_key = Arc::new(ApiV3Key::new([7; 32]).unwrap());
        PlatformCertificates::new(api_v3_key, Verifier::without_keys(), timeout)
    }

    fn hold(certificates: &PlatformCertificates, pems: &[&str]) {
        let keys = pems
            .iter()
            .map(|pem| PublicKey::from_certificate_pem(pem).unwrap());
        certificates.verifier.replace(keys).unwrap();
    }

    fn is_held(certificates: &PlatformCertificates, serial: &str) -> bool {
        certificates.verifier.keys().contains(serial)
    }

    fn succeed(permit: Option<DownloadPermit<'_>>) {
        let permit = permit.expect("a download must be due");
        hold(permit.certificates, &[OLD]);
        permit.finish(Ok(())).unwrap();
    }

    fn not_sent() -> Result<(), Error> {
        Err(Error::NoPlatformKey { held: Vec::new() })
    }

    fn failure() -> Result<(), Error> {
        Err(Error::Accepted { request_id: None })
    }

    fn no_certificates() -> Result<(), Error> {
        let response = ApiError::from_response(404, b"", None, None, Authenticity::Unsigned);
        let source = CertificateError::NoCertificates {
            response: Box::new(response),
            public_key_id: None,
        };
        Err(Error::Certificates {
            request_id: None,
            source: Box::new(source),
        })
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
    fn a_download_is_due_before_ten_hours_if_the_key_has_expired() {
        let certificates = certificates();
        let old_end = 1_711_339_165 - 1_710_892_800;
        succeed(certificates.before_use(at(old_end - 60)).unwrap());
        assert!(certificates.before_use(at(old_end)).unwrap().is_none());
        assert!(certificates.before_use(at(old_end + 1)).unwrap().is_some());
    }

    /// Calls `before_use` at each of these seconds, fails each download that is permitted, and returns when they
    /// started.
    fn failed_starts(
        certificates: &PlatformCertificates,
        seconds: impl Iterator<Item = u64>,
        failure: impl Fn() -> Result<(), Error>,
    ) -> Vec<u64> {
        let mut starts = Vec::new();
        for second in seconds {
            match certificates.before_use(at(second)) {
                Ok(permit) => {
                    starts.push(second);
                    permit.unwrap().finish(failure()).unwrap_err();
                }
                Err(error) => assert!(Arc::ptr_eq(&error, &certificates.last_error().unwrap())),
            }
        }
        starts
    }

    #[test]
    fn without_a_key_the_backoff_after_a_sent_download_doubles_up_to_a_minute() {
        let certificates = certificates();
        let starts = failed_starts(&certificates, 0..250, failure);
        assert_eq!(starts, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        // After a success the backoff starts anew, once the key has expired.
        let expired = 30 * 24 * HOUR;
        succeed(certificates.before_use(at(303)).unwrap());
        let later = failed_starts(&certificates, expired..expired + 5, failure);
        assert_eq!(later, [expired, expired + 1, expired + 3]);
    }

    #[test]
    fn without_a_key_a_download_that_was_not_sent_is_retried_by_the_next_call_and_then_once_a_second()
     {
        let certificates = certificates();
        // 64 calls in each second, for a minute.
        let calls = (0..60).flat_map(|second| [second; 64]);
        let starts = failed_starts(&certificates, calls, not_sent);
        let at_once = starts.iter().filter(|second| **second == 0).count();
        assert_eq!((at_once, starts.len()), (11, 11 + 59));
    }

    #[test]
    fn a_download_that_was_not_sent_does_not_shorten_the_backoff_after_sent_ones() {
        let certificates = certificates();
        assert_eq!(failed_starts(&certificates, 0..3, failure), [0, 1]);
        // The next may start at 3 s, and cannot be sent then.
        assert_eq!(failed_starts(&certificates, 3..5, not_sent), [3, 4]);
        assert_eq!(failed_starts(&certificates, 5..9, failure), [5]);
        assert_eq!(failed_starts(&certificates, 9..10, failure), [9]);
    }

    #[test]
    fn with_a_key_a_failure_fails_no_call_and_is_retried_after_a_minute() {
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
    fn after_a_response_without_certificates_the_next_download_is_due_in_ten_hours() {
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
    fn an_interrupted_download_is_recorded_and_retried_by_the_next_call() {
        for has_key in [false, true] {
            let certificates = certificates();
            if has_key {
                hold(&certificates, &[OLD]);
            }
            for _ in 0..=UNSENT_AT_ONCE {
                drop(certificates.before_use(at(0)).unwrap().unwrap());
                let error = certificates.last_error().unwrap();
                assert!(is_interrupted(&error));
            }
            // After so many interrupted downloads in a row, the next may start a second later.
            match certificates.before_use(at(0)) {
                Ok(permit) => assert!(has_key && permit.is_none()),
                Err(error) => {
                    assert!(!has_key && is_interrupted(&error));
                }
            }
            assert!(certificates.before_use(at(1)).unwrap().is_some());
        }
    }

    #[test]
    fn an_unknown_serial_number_starts_a_download_once_a_minute() {
        let certificates = certificates();
        succeed(certificates.before_use(at(0)).unwrap());
        let ask = |serial, seconds| certificates.for_serial(serial, at(seconds), true);
        assert!(ask(NEW_SERIAL, 59).is_none());
        let permit = ask(NEW_SERIAL, 60).expect("a download must be permitted");
        permit.finish(Ok(())).unwrap();
        assert!(ask(NEW_SERIAL, 119).is_none());
        assert!(ask(NEW_SERIAL, 120).is_some());
        hold(&certificates, &[OLD, NEW]);
        assert!(ask(NEW_SERIAL, 600).is_none());
        assert!(is_held(&certificates, NEW_SERIAL));
    }

    #[test]
    fn a_text_that_is_no_serial_number_of_a_certificate_starts_no_download() {
        let certificates = certificates();
        for serial in [
            "PUB_KEY_ID_0000000000000024101100397200000006",
            "",
            "2E2F 3A4B",
            "xyz",
        ] {
            assert!(certificates.for_serial(serial, at(0), true).is_none());
        }
        let running = certificates.for_serial("2e2F", at(0), true);
        assert!(running.is_some());
        // Such a text does not wait for a running download either. This one would not end.
        assert!(
            certificates
                .for_serial("PUB_KEY_ID_1", at(0), true)
                .is_none()
        );
        drop(running);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_downloads() {
        let certificates = certificates();
        succeed(certificates.before_use(at(48 * HOUR)).unwrap());
        assert!(
            certificates
                .before_use(at(48 * HOUR - 1))
                .unwrap()
                .is_none()
        );
        assert!(
            certificates
                .for_serial(NEW_SERIAL, at(48 * HOUR - 60), true)
                .is_some()
        );
        succeed(certificates.before_use(at(0)).unwrap());
    }

    #[test]
    fn a_download_on_demand_starts_without_a_pause() {
        let certificates = certificates();
        for _ in 0..2 {
            let permit = certificates.on_demand(at(0)).unwrap();
            permit.finish(failure()).unwrap_err();
        }
    }

    #[test]
    fn threads_with_a_key_do_not_wait_for_a_download() {
        let certificates = certificates();
        succeed(certificates.before_use(at(0)).unwrap());
        let permit = certificates.before_use(at(10 * HOUR)).unwrap();
        assert!(permit.is_some());
        assert!(certificates.before_use(at(10 * HOUR)).unwrap().is_none());
        assert!(certificates.before_use(at(11 * HOUR)).unwrap().is_none());
    }

    #[test]
    fn threads_wait_for_a_download_until_the_timeout() {
        let timeout = Duration::from_millis(20);
        let certificates = with_timeout(timeout);
        let running = certificates.before_use(at(0)).unwrap();
        let gave_up = |error: Arc<Error>| match &*error {
            Error::Certificates { source, .. } => match **source {
                CertificateError::StillRunning { waited } => assert_eq!(waited, timeout),
                ref other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let began = Instant::now();
        gave_up(certificates.before_use(at(0)).unwrap_err());
        gave_up(certificates.on_demand(at(0)).unwrap_err());
        assert!(certificates.for_serial(NEW_SERIAL, at(60), true).is_none());
        assert!(began.elapsed() >= 3 * timeout);
        // The download has not failed, and may still succeed.
        assert!(certificates.last_error().is_none());
        succeed(running);
        assert!(certificates.before_use(at(0)).unwrap().is_none());
        assert!(certificates.for_serial(NEW_SERIAL, at(60), true).is_some());
        certificates.on_demand(at(0)).unwrap();
    }

    #[test]
    fn a_thread_whose_key_has_arrived_does_not_wait_for_the_next_download() {
        let timeout = Duration::from_secs(20);
        let certificates = with_timeout(timeout);
        let first = certificates.before_use(at(0)).unwrap();
        let began = Instant::now();
        thread::scope(|scope| {
            let call = scope.spawn(|| matches!(certificates.before_use(at(0)), Ok(None)));
            let response = scope.spawn(|| {
                let permit = certificates.for_serial(OLD_SERIAL, at(0), true);
                permit.is_none() && is_held(&certificates, OLD_SERIAL)
            });
            // One download ends and another begins before these two threads wake up.
            hold(&certificates, &[OLD]);
            drop(certificates.state());
            certificates.ended.notify_all();
            assert!(call.join().unwrap());
            assert!(response.join().unwrap());
        });
        assert!(began.elapsed() < timeout / 2);
        assert!(first.is_some() && certificates.state().is_running);
    }

    #[test]
    fn a_message_that_cannot_wait_stays_unverified_while_a_download_runs() {
        let certificates = certificates();
        let running = certificates.before_use(at(0)).unwrap();
        let ask = |serial, seconds| certificates.for_serial(serial, at(seconds), false);
        assert!(ask(NEW_SERIAL, 60).is_none());
        succeed(running);
        assert!(ask(OLD_SERIAL, 60).is_none() && is_held(&certificates, OLD_SERIAL));
        assert!(ask(NEW_SERIAL, 60).is_some());
    }

    #[test]
    fn threads_without_a_key_wait_for_the_download() {
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
                    let permit = certificates.for_serial(OLD_SERIAL, at(0), true);
                    let is_held = is_held(certificates, OLD_SERIAL);
                    other.send(permit.is_none() && is_held).unwrap();
                });
            }
            // A thread that did not wait would have no key and return an error.
            succeed(permit);
        });
        drop(done);
        assert_eq!(results.iter().collect::<Vec<_>>(), [true; 16]);
    }
}
