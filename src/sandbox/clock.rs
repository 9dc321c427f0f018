//! The sandbox's clock, which tests may replace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

type Function = dyn Fn() -> SystemTime + Send + Sync;

/// The system's clock at first. The clones are one clock.
#[derive(Clone)]
pub(super) struct Clock {
    function: Arc<Mutex<Arc<Function>>>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            function: Arc::new(Mutex::new(Arc::new(SystemTime::now))),
        }
    }

    pub(super) fn set(&self, function: Arc<Function>) {
        *self.function.lock().unwrap_or_else(PoisonError::into_inner) = function;
    }

    pub(super) fn now(&self) -> SystemTime {
        // Not called with the lock held: it is foreign code.
        let function = Arc::clone(&self.function.lock().unwrap_or_else(PoisonError::into_inner));
        function()
    }
}
