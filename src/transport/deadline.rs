//! The limits on connecting and on the whole call, as they run down.

use std::io;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) total: Duration,
}

/// What a connection is being used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Exchange,
}

/// When a connection's current call must be over.
#[derive(Debug)]
pub(super) struct Deadline {
    pub(super) limits: Limits,
    /// When connecting, or the current call if it is a later one, started.
    pub(super) started: Instant,
    /// Whether a call has ended and the next has not begun.
    between_calls: bool,
}

impl Deadline {
    pub(super) fn new(limits: Limits, started: Instant) -> Self {
        Self {
            limits,
            started,
            between_calls: false,
        }
    }

    /// To be called when a call has ended, any number of times.
    pub(super) fn call_ended(&mut self) {
        self.between_calls = true;
    }

    /// To be called before anything is sent.
    pub(super) fn sending(&mut self, now: Instant) {
        if self.between_calls {
            self.between_calls = false;
            self.started = now;
        }
    }

    fn limit(&self, step: Step) -> Duration {
        match step {
            Step::Connect => self.limits.connect.min(self.limits.total),
            Step::Exchange => self.limits.total,
        }
    }

    pub(super) fn left(&self, step: Step, now: Instant) -> io::Result<Duration> {
        let used = now.saturating_duration_since(self.started);
        match self.limit(step).checked_sub(used) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(self.passed(step)),
        }
    }

    pub(super) fn passed(&self, step: Step) -> io::Error {
        let limit = self.limit(step);
        let message = match step {
            Step::Connect => format!("no connection within {limit:?}"),
            Step::Exchange => format!("no complete answer within {limit:?}"),
        };
        io::Error::new(io::ErrorKind::TimedOut, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connect: Duration::from_secs(5),
        total: Duration::from_secs(15),
    };

    fn left(deadline: &Deadline, step: Step, now: Instant) -> u64 {
        deadline.left(step, now).unwrap().as_secs()
    }

    fn passed(deadline: &Deadline, step: Step, now: Instant) -> String {
        let error = deadline.left(step, now).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        error.to_string()
    }

    #[test]
    fn counts_connecting_and_the_exchange_together() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut deadline = Deadline::new(LIMITS, start);
        assert_eq!(left(&deadline, Step::Connect, after(4)), 1);
        assert_eq!(
            passed(&deadline, Step::Connect, after(5)),
            "no connection within 5s"
        );
        deadline.sending(after(4));
        assert_eq!(left(&deadline, Step::Exchange, after(4)), 11);
        assert_eq!(left(&deadline, Step::Exchange, after(14)), 1);
        assert_eq!(
            passed(&deadline, Step::Exchange, after(15)),
            "no complete answer within 15s"
        );
    }

    #[test]
    fn starts_anew_with_the_first_bytes_of_the_next_call_only() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut deadline = Deadline::new(LIMITS, start);
        // The pool asks twice between two calls.
        deadline.call_ended();
        deadline.call_ended();
        deadline.sending(after(100));
        assert_eq!(left(&deadline, Step::Exchange, after(101)), 14);
        // The body, after the head.
        deadline.sending(after(110));
        assert_eq!(left(&deadline, Step::Exchange, after(110)), 5);
        passed(&deadline, Step::Exchange, after(115));
    }

    #[test]
    fn of_connecting_is_never_later_than_that_of_the_call() {
        let start = Instant::now();
        let limits = Limits {
            connect: Duration::from_secs(60),
            ..LIMITS
        };
        let deadline = Deadline::new(limits, start);
        assert_eq!(
            passed(&deadline, Step::Connect, start + Duration::from_secs(15)),
            "no connection within 15s"
        );
    }
}
