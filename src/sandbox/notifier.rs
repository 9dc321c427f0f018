//! Delivers notifications: at once, again when they are not acknowledged, twice when asked to; and keeps a record.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::answer::new_id;
use super::clock::Clock;
use super::notification::Notification;
use super::platform::Platform;
use super::post::{Line, Target};
use super::signing::Signing;
use crate::error::InvalidField;
use crate::time::unix_seconds;

/// The pauses after each attempt that was not acknowledged, in seconds: WeChat Pay's general schedule.
const SCHEDULE: [u64; 15] = [
    15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600,
];
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// No wait is longer: a clock cannot be moved forward by any number of seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A notification that the sandbox has sent, or would have.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SentNotification {
    /// The notification's id, the same for every attempt.
    pub id: String,
    /// `ENTRUST.SIGN` or `ENTRUST.TERMINATE`, those of the sister product, as this product's are not public; or
    /// `SECURITY_ECHO.SUCCESS` of the self-test.
    pub event_type: String,
    /// The contract's code, if it is about one.
    pub out_contract_code: Option<String>,
    /// The headers with the signature; those of the last attempt, as each is signed afresh.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// The attempts to deliver it, oldest first.
    pub attempts: Vec<DeliveryAttempt>,
}

impl SentNotification {
    /// Whether the receiver has answered 200 or 204.
    pub fn is_acknowledged(&self) -> bool {
        self.attempts
            .iter()
            .any(DeliveryAttempt::is_acknowledgement)
    }
}

/// One attempt to deliver a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryAttempt {
    /// The status that was answered, if there was an answer in time.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
}

impl DeliveryAttempt {
    fn is_acknowledgement(&self) -> bool {
        matches!(self.status, Some(200 | 204))
    }
}

/// The notifications, and the threads that deliver them: one for each under way.
pub(super) struct Notifier {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    platform: Arc<Platform>,
    clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    sent: Vec<SentNotification>,
    target: Option<Target>,
    schedule: Vec<Duration>,
    answer_limit: Duration,
    signing: Signing,
    lines: Vec<Arc<Line>>,
    closing: bool,
}

impl Notifier {
    pub(super) fn new(platform: Arc<Platform>, clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                platform,
                clock,
                state: Mutex::new(State {
                    sent: Vec::new(),
                    target: None,
                    schedule: SCHEDULE.map(Duration::from_secs).into(),
                    answer_limit: ANSWER_LIMIT,
                    signing: Signing::Right,
                    lines: Vec::new(),
                    closing: false,
                }),
                changed: Condvar::new(),
            }),
            threads: Mutex::default(),
        }
    }

    pub(super) fn deliver_to(&self, url: &str) -> Result<(), InvalidField> {
        let target = Target::parse(url)?;
        self.shared.state().target = Some(target);
        Ok(())
    }

    pub(super) fn set_schedule(&self, schedule: Vec<Duration>) {
        let capped = schedule.into_iter().map(|pause| pause.min(LONGEST_WAIT));
        self.shared.state().schedule = capped.collect();
    }

    pub(super) fn set_answer_limit(&self, limit: Duration) {
        self.shared.state().answer_limit = limit.min(LONGEST_WAIT);
    }

    pub(super) fn set_signing(&self, signing: Signing) {
        self.shared.state().signing = signing;
    }

    pub(super) fn sent(&self) -> Vec<SentNotification> {
        self.shared.state().sent.clone()
    }

    /// Records a notification and sets out to deliver it, if there is where to.
    pub(super) fn send(&self, notification: Notification) {
        let mut state = self.shared.state();
        let headers = self.shared.headers(state.signing, &notification.body);
        let index = state.sent.len();
        state.sent.push(SentNotification {
            id: notification.id,
            event_type: notification.event_type.to_owned(),
            out_contract_code: notification.out_contract_code,
            headers,
            body: notification.body,
            attempts: Vec::new(),
        });
        drop(state);
        self.set_out(index);
    }

    /// Sets out to deliver a notification once more; `false` when there is none with that id or nowhere to send it.
    pub(super) fn send_again(&self, id: &str) -> bool {
        let index = self
            .shared
            .state()
            .sent
            .iter()
            .position(|sent| sent.id == id);
        index.is_some_and(|index| self.set_out(index))
    }

    fn set_out(&self, index: usize) -> bool {
        let mut state = self.shared.state();
        let Some(target) = state.target.clone().filter(|_| !state.closing) else {
            return false;
        };
        let line = Arc::new(Line::default());
        state.lines.push(Arc::clone(&line));
        drop(state);
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name("sandbox-notify".to_owned())
            .spawn({
                let line = Arc::clone(&line);
                move || {
                    shared.deliver(index, &target, &line);
                    shared.hang_up(&line);
                }
            });
        let mut threads = lock(&self.threads);
        threads.retain(|thread| !thread.is_finished());
        match thread {
            Ok(thread) => threads.push(thread),
            Err(_) => self.shared.hang_up(&line),
        }
        true
    }

    /// Waits until no delivery is under way; `false` when one still is after `patience`.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let waited =
            self.shared
                .changed
                .wait_timeout_while(self.shared.state(), patience, |state| {
                    !state.lines.is_empty()
                });
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closing = true;
        state.lines.iter().for_each(|line| line.cut());
        drop(state);
        self.shared.changed.notify_all();
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Delivers until it is acknowledged, the schedule is at its end or the sandbox stops.
    fn deliver(&self, index: usize, target: &Target, line: &Line) {
        let pauses = self.state().schedule.clone();
        let mut pauses = pauses.into_iter();
        while !self.attempt(index, target, line) {
            let Some(pause) = pauses.next() else { return };
            if !self.pause(pause) {
                return;
            }
        }
    }

    /// One attempt; whether it was acknowledged.
    fn attempt(&self, index: usize, target: &Target, line: &Line) -> bool {
        let mut state = self.state();
        let (signing, limit) = (state.signing, state.answer_limit);
        let Some(sent) = state.sent.get_mut(index) else {
            return true;
        };
        let headers = self.headers(signing, &sent.body);
        sent.headers.clone_from(&headers);
        let body = sent.body.clone();
        drop(state);
        let attempt = match line.post(target, &headers, &body, limit) {
            Ok(status) => DeliveryAttempt {
                status: Some(status),
                error: None,
            },
            Err(error) => DeliveryAttempt {
                status: None,
                error: Some(error.to_string()),
            },
        };
        let acknowledged = attempt.is_acknowledgement();
        if let Some(sent) = self.state().sent.get_mut(index) {
            sent.attempts.push(attempt);
        }
        acknowledged
    }

    /// Waits; `false` when the sandbox stops.
    fn pause(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut state = self.state();
        while !state.closing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    fn hang_up(&self, line: &Arc<Line>) {
        self.state().lines.retain(|other| !Arc::ptr_eq(other, line));
        self.changed.notify_all();
    }

    fn headers(&self, signing: Signing, body: &[u8]) -> Vec<(String, String)> {
        let own = [
            ("Content-Type", "application/json".to_owned()),
            ("Accept", "*/*".to_owned()),
            ("User-Agent", "Mozilla/4.0".to_owned()),
            ("Request-ID", new_id()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let now = unix_seconds(self.clock.now());
        let signature = signing.headers(&self.platform, body, now);
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        own.into_iter()
            .chain(
                signature
                    .into_iter()
                    .map(|(name, value)| (name, text(value))),
            )
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_wechat_pays() {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        let wanted = [
            15,
            15,
            30,
            3 * MINUTE,
            10 * MINUTE,
            20 * MINUTE,
            30 * MINUTE,
            30 * MINUTE,
            30 * MINUTE,
            60 * MINUTE,
            3 * HOUR,
            3 * HOUR,
            3 * HOUR,
            6 * HOUR,
            6 * HOUR,
        ];
        assert_eq!(SCHEDULE, wanted);
        let platform = Arc::new(Platform::new().unwrap());
        let notifier = Notifier::new(platform, Clock::new());
        let state = notifier.shared.state();
        assert_eq!(state.schedule, wanted.map(Duration::from_secs));
        assert_eq!(state.answer_limit, Duration::from_secs(5));
    }

    #[test]
    fn no_wait_is_longer_than_a_clock_can_show() {
        let platform = Arc::new(Platform::new().unwrap());
        let notifier = Notifier::new(platform, Clock::new());
        let second = Duration::from_secs(1);
        notifier.set_schedule(vec![
            second,
            LONGEST_WAIT,
            LONGEST_WAIT + second,
            Duration::MAX,
        ]);
        notifier.set_answer_limit(Duration::MAX);
        let state = notifier.shared.state();
        assert_eq!(
            state.schedule,
            [second, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]
        );
        assert_eq!(state.answer_limit, LONGEST_WAIT);
        assert!(Instant::now().checked_add(LONGEST_WAIT).is_some());
    }
}
