//! When the platform certificates are downloaded, and by whom: no I/O and no clock of its own.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::is_serial_number;
use crate::error::CertificateError;
use crate::keys::ApiV3Key;
use crate::verifier::Verifier;

/// WeChat Pay asks for less than 12 hours.
const MAX_AGE: Duration = Duration::from_secs(10 * 60 * 60);
/// Between the starts of two downloads that nobody asked for by name.
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps a verifier's platform certificates fresh: says when to download, lets one thread do it while others go on with
/// the keys they have, and remembers how it went.
#[derive(Debug)]
pub(crate) struct PlatformCertificates {
    api_v3_key: ApiV3Key,
    verifier: Verifier,
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_running: bool,
    /// The start of the last download.
    attempted: Option<SystemTime>,
    /// The start of the last download that gave certificates, or the answer that there are none.
    checked: Option<SystemTime>,
    /// How the last download failed.
    error: Option<Arc<CertificateError>>,
}

/// What a message with an unknown key calls for.
#[derive(Debug)]
pub(crate) enum ForSerial<'a> {
    /// The key is held by now: verify again.
    Held,
    /// Download, then verify again.
    Refresh(Refresh<'a>),
    /// It is not a certificate's serial number, or the last download is too recent: the message stays unverified.
    Leave,
}

impl PlatformCertificates {
    pub(crate) fn new(api_v3_key: ApiV3Key, verifier: Verifier) -> Self {
        Self {
            api_v3_key,
            verifier,
            state: Mutex::default(),
            finished: Condvar::new(),
        }
    }

    pub(crate) fn api_v3_key(&self) -> &ApiV3Key {
        &self.api_v3_key
    }

    /// To be asked before each request: the permit to download when the certificates are due, to one thread at a time.
    ///
    /// Whoever has no valid key waits for a download that is running. Fails when there is no valid key and the download
    /// failed less than a minute ago.
    pub(crate) fn before_use(
        &self,
        now: SystemTime,
    ) -> Result<Option<Refresh<'_>>, Arc<CertificateError>> {
        let mut state = self.state();
        loop {
            let has_key = self.verifier.preferred(now).is_some();
            if has_key && !state.is_due(now) {
                return Ok(None);
            }
            if !state.is_running {
                break;
            }
            if has_key {
                return Ok(None);
            }
            state = self.wait(state);
        }
        if !state.is_pausing(now) {
            return Ok(Some(self.start(state, now)));
        }
        match &state.error {
            Some(error) if self.verifier.preferred(now).is_none() => Err(Arc::clone(error)),
            _ => Ok(None),
        }
    }

    /// To be asked when a message names a key that is not held. Waits for a download that is running, since it may
    /// bring the key.
    pub(crate) fn for_serial(&self, serial: &str, now: SystemTime) -> ForSerial<'_> {
        let mut state = self.state();
        while state.is_running {
            state = self.wait(state);
        }
        if self.verifier.holds(serial) {
            ForSerial::Held
        } else if is_serial_number(serial) && !state.is_pausing(now) {
            ForSerial::Refresh(self.start(state, now))
        } else {
            ForSerial::Leave
        }
    }

    /// The permit to download because the caller wants to, after a download that is running.
    pub(crate) fn on_demand(&self, now: SystemTime) -> Refresh<'_> {
        let mut state = self.state();
        while state.is_running {
            state = self.wait(state);
        }
        self.start(state, now)
    }

    /// How the last download failed; `None` when it succeeded.
    pub(crate) fn last_error(&self) -> Option<Arc<CertificateError>> {
        self.state().error.clone()
    }

    fn start(&self, mut state: MutexGuard<'_, State>, now: SystemTime) -> Refresh<'_> {
        state.is_running = true;
        state.attempted = Some(now);
        Refresh {
            certificates: self,
            started: now,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.finished
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_due(&self, now: SystemTime) -> bool {
        self.checked
            .is_none_or(|checked| distance(checked, now) >= MAX_AGE)
    }

    fn is_pausing(&self, now: SystemTime) -> bool {
        self.attempted
            .is_some_and(|attempted| distance(attempted, now) < PAUSE)
    }
}

/// The permit to download. When it is dropped, however the download went, the next one is let in.
#[derive(Debug)]
pub(crate) struct Refresh<'a> {
    certificates: &'a PlatformCertificates,
    started: SystemTime,
}

impl Refresh<'_> {
    /// Notes how it went. On success the verifier must hold the new certificates already.
    pub(crate) fn finish(
        self,
        result: Result<(), CertificateError>,
    ) -> Result<(), Arc<CertificateError>> {
        let mut state = self.certificates.state();
        let is_answered = matches!(
            result,
            Ok(()) | Err(CertificateError::NoCertificates { .. })
        );
        if is_answered {
            state.checked = Some(self.started);
        }
        let result = result.map_err(Arc::new);
        state.error = result.as_ref().err().cloned();
        result
    }
}

impl Drop for Refresh<'_> {
    fn drop(&mut self) {
        self.certificates.state().is_running = false;
        self.certificates.finished.notify_all();
    }
}

/// How far two times are from each other. A clock that was set back must not stop the downloads until it has caught up.
fn distance(one: SystemTime, other: SystemTime) -> Duration {
    other
        .duration_since(one)
        .unwrap_or_else(|error| error.duration())
}
