//! Delivers notifications, retries them until they are acknowledged, and records them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::credentials::new_id;
use super::error::SandboxError;
use super::http::{Target, post};
use super::notification::{DeliveryAttempt, SentNotification};
use super::platform::Platform;
use super::record::Newest;
use super::signing::Signing;
use super::sync::{lock, wait_until};

/// WeChat Pay's general retry schedule: the pause after each attempt that was not acknowledged, in seconds.
const SCHEDULE: [u64; 15] = [
    15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600,
];
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait. A much longer one would overflow when it is added to the current time.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The notifications, and one thread for each delivery under way.
pub(super) struct Notifier {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    platform: Platform,
    clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    sent: Newest<SentNotification>,
    settings: Settings,
    closing: bool,
}

/// The settings, which a test can change.
#[derive(Clone)]
struct Settings {
    target: Option<Target>,
    schedule: Vec<Duration>,
    reply_timeout: Duration,
    signing: Signing,
}

impl Settings {
    fn new() -> Self {
        Self {
            target: None,
            schedule: SCHEDULE.map(Duration::from_secs).into(),
            reply_timeout: REPLY_TIMEOUT,
            signing: Signing::Right,
        }
    }
}

impl Notifier {
    pub(super) fn new(platform: Platform, clock: Clock) -> Self {
        let state = State {
            sent: Newest::new(),
            settings: Settings::new(),
            closing: false,
        };
        Self {
            shared: Arc::new(Shared {
                platform,
                clock,
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
            threads: Mutex::default(),
        }
    }

    pub(super) fn deliver_to(&self, url: &str) -> Result<(), SandboxError> {
        let target = Target::parse(url).ok_or_else(|| {
            let wanted = "wanted http://, a loopback address, a port and a path";
            SandboxError::new(format!("url: found {url:?}, {wanted}"))
        })?;
        self.shared.state().settings.target = Some(target);
        Ok(())
    }

    pub(super) fn set_schedule(&self, pauses: impl IntoIterator<Item = Duration>) {
        let capped = pauses.into_iter().map(|pause| pause.min(LONGEST_WAIT));
        self.shared.state().settings.schedule = capped.collect();
    }

    pub(super) fn set_reply_timeout(&self, timeout: Duration) {
        self.shared.state().settings.reply_timeout = timeout.min(LONGEST_WAIT);
    }

    pub(super) fn set_signing(&self, signing: Signing) {
        self.shared.state().settings.signing = signing;
    }

    pub(super) fn sent(&self) -> Vec<SentNotification> {
        self.shared.state().sent.to_vec()
    }

    /// Removes all notifications and resets the settings. A delivery under way ends before its next attempt.
    pub(super) fn reset(&self) {
        let mut state = self.shared.state();
        state.sent = Newest::new();
        state.settings = Settings::new();
        self.shared.changed.notify_all();
    }

    /// Records a notification and starts its delivery, if a URL is set. Returns its id.
    pub(super) fn send(&self, mut notification: SentNotification, now: u64) -> String {
        let mut state = self.shared.state();
        let (id, size) = (notification.id.clone(), notification.body.len());
        notification.headers = self
            .shared
            .headers(state.settings.signing, &notification.body, now);
        state.sent.push(notification, size);
        drop(state);
        self.send_again(&id);
        id
    }

    /// Starts a delivery. Returns `false` if there is no notification with this id, or no URL is set.
    pub(super) fn send_again(&self, id: &str) -> bool {
        let mut state = self.shared.state();
        let target = state.settings.target.clone();
        let is_known = state.find(id).is_some() && !state.closing;
        let Some(target) = target.filter(|_| is_known) else {
            return false;
        };
        drop(state);
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        let mut threads = lock(&self.threads);
        threads.retain(|thread| !thread.is_finished());
        let thread = thread::Builder::new().name("sandbox-notify".to_owned());
        let thread = thread.spawn(move || shared.deliver(&id, &target));
        // If no thread can be started, the notification counts as not delivered.
        threads.extend(thread);
        true
    }

    /// Waits until no delivery is under way. Returns `false` if this takes longer than `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        wait_until(timeout, || {
            lock(&self.threads).iter().all(JoinHandle::is_finished)
        })
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.changed.notify_all();
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

impl State {
    fn find(&mut self, id: &str) -> Option<&mut SentNotification> {
        self.sent.iter_mut().rev().find(|sent| sent.id == id)
    }
}

impl Shared {
    /// Makes attempts until one is acknowledged, the schedule is used up, or the notification is no longer wanted.
    fn deliver(&self, id: &str, target: &Target) {
        let schedule = self.state().settings.schedule.clone();
        let mut pauses = schedule.into_iter();
        while self.attempt(id, target) {
            match pauses.next() {
                Some(pause) if self.pause(id, pause) => {}
                _ => return,
            }
        }
    }

    /// Makes one attempt. Returns `true` if another one is wanted.
    fn attempt(&self, id: &str, target: &Target) -> bool {
        // The clock may be the caller's code, so it is read without holding the lock.
        let now = self.clock.now();
        let mut state = self.state();
        let (signing, timeout) = (state.settings.signing, state.settings.reply_timeout);
        let Some(sent) = state.find(id) else {
            return false;
        };
        sent.headers = self.headers(signing, &sent.body, now);
        let (headers, body) = (sent.headers.clone(), sent.body.clone());
        drop(state);
        let deadline = Instant::now() + timeout;
        let is_wanted = || Instant::now() < deadline && !self.state().closing;
        let posted = post(target, &headers, &body, is_wanted);
        let attempt = DeliveryAttempt {
            status: posted.as_ref().ok().copied(),
            error: posted.err().map(|error| error.to_string()),
        };
        let is_acknowledged = attempt.is_acknowledgement();
        match self.state().find(id) {
            Some(sent) => sent.attempts.push(attempt),
            None => return false,
        }
        !is_acknowledged
    }

    /// Waits for this time. Returns `false` as soon as the notification is no longer wanted.
    fn pause(&self, id: &str, time: Duration) -> bool {
        let is_wanted = |state: &mut State| !state.closing && state.find(id).is_some();
        let waited = self
            .changed
            .wait_timeout_while(self.state(), time, is_wanted);
        waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn headers(&self, signing: Signing, body: &[u8], now: u64) -> Vec<(String, String)> {
        let mut headers = vec![
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("Accept".to_owned(), "*/*".to_owned()),
            ("User-Agent".to_owned(), "Mozilla/4.0".to_owned()),
            ("Request-ID".to_owned(), new_id()),
        ];
        headers.extend(signing.headers(&self.platform, None, body, now));
        headers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifier() -> Notifier {
        Notifier::new(Platform::new().unwrap(), Clock::default())
    }

    #[test]
    fn the_schedule_is_wechat_pays() {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        let minutes = [3, 10, 20, 30, 30, 30, 60].map(|minutes| minutes * MINUTE);
        let hours = [3, 3, 3, 6, 6].map(|hours| hours * HOUR);
        let wanted = [&[15, 15, 30][..], &minutes, &hours].concat();
        let notifier = notifier();
        let settings = notifier.shared.state().settings.clone();
        let found: Vec<_> = settings.schedule.iter().map(Duration::as_secs).collect();
        assert_eq!(found, wanted);
        assert_eq!(settings.reply_timeout, Duration::from_secs(5));
    }

    #[test]
    fn a_wait_is_limited_to_a_year() {
        let notifier = notifier();
        let second = Duration::from_secs(1);
        notifier.set_schedule([second, LONGEST_WAIT, LONGEST_WAIT + second, Duration::MAX]);
        notifier.set_reply_timeout(Duration::MAX);
        let settings = notifier.shared.state().settings.clone();
        assert_eq!(
            settings.schedule,
            [second, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]
        );
        assert_eq!(settings.reply_timeout, LONGEST_WAIT);
        assert!(Instant::now().checked_add(LONGEST_WAIT).is_some());
    }
}
