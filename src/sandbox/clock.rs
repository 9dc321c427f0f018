//! The sandbox's clocks: one for signatures, which tests may replace or move, and one for contracts, which runs ahead.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::sync::lock;
use crate::time::unix_seconds;

type Function = dyn Fn() -> SystemTime + Send + Sync;

/// The system's clock at first. All times are in Unix seconds. The clones are one clock.
#[derive(Clone)]
pub(super) struct Clock(Arc<Mutex<State>>);

struct State {
    function: Arc<Function>,
    offsets: Offsets,
}

/// The distances of the clocks from the function's time, in seconds.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Offsets {
    /// Of signatures.
    pub(super) offset_seconds: i64,
    /// Of contracts, beside that.
    pub(super) advance_seconds: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            function: Arc::new(SystemTime::now),
            offsets: Offsets::default(),
        })))
    }

    pub(super) fn replace(&self, function: Arc<Function>) {
        self.state().function = function;
    }

    pub(super) fn offsets(&self) -> Offsets {
        self.state().offsets
    }

    pub(super) fn set_offsets(&self, offsets: Offsets) {
        self.state().offsets = offsets;
    }

    /// Moves the clock of contracts.
    pub(super) fn advance(&self, seconds: u64) {
        let advance = &mut self.state().offsets.advance_seconds;
        *advance = advance.saturating_add(seconds);
    }

    /// Returns the time by which requests are checked and messages signed.
    pub(super) fn now(&self) -> u64 {
        // Not called with the lock held: it is foreign code.
        let function = Arc::clone(&self.state().function);
        unix_seconds(function()).saturating_add_signed(self.offsets().offset_seconds)
    }

    /// Returns the time by which sessions end.
    pub(super) fn contract_time(&self) -> u64 {
        self.now().saturating_add(self.offsets().advance_seconds)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}
