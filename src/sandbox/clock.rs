//! The sandbox's clocks: one for signatures, which tests may replace or shift, and one for contracts, which tests advance.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::sync::lock;
use crate::time::unix_seconds;

type Function = dyn Fn() -> SystemTime + Send + Sync;

/// The two clocks, which follow the system's by default. All times are in Unix seconds. Clones share their state.
#[derive(Clone, Default)]
pub(super) struct Clock {
    /// The function that replaces the system's clock.
    function: Arc<Mutex<Option<Arc<Function>>>>,
    offsets: Arc<Mutex<Offsets>>,
}

/// The differences between the clocks and the time that the function returns, in seconds.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Offsets {
    /// The offset of the clock of signatures.
    pub(super) offset_seconds: i64,
    /// The additional offset of the clock of contracts.
    pub(super) advance_seconds: u64,
}

impl Clock {
    /// Replaces the system's clock by this function, or restores it.
    pub(super) fn replace(&self, function: Option<Arc<Function>>) {
        *lock(&self.function) = function;
    }

    pub(super) fn offsets(&self) -> MutexGuard<'_, Offsets> {
        lock(&self.offsets)
    }

    /// Advances the clock of contracts.
    pub(super) fn advance(&self, seconds: u64) {
        let advance = &mut self.offsets().advance_seconds;
        *advance = advance.saturating_add(seconds);
    }

    /// Returns the time that is used to check requests and sign messages.
    pub(super) fn now(&self) -> u64 {
        // The function is the caller's code, so it is called without holding the lock.
        let function = lock(&self.function).clone();
        let time = function.map_or_else(SystemTime::now, |function| function());
        unix_seconds(time).saturating_add_signed(self.offsets().offset_seconds)
    }

    /// Returns the times of the clock of signatures and of the clock of contracts, which also dates payments, refunds
    /// and notifications.
    pub(super) fn times(&self) -> (u64, u64) {
        let now = self.now();
        (now, now.saturating_add(self.offsets().advance_seconds))
    }
}
