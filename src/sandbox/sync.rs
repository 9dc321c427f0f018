//! Locks a mutex, and waits for what other threads do.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Locks. A panic elsewhere leaves nothing half done behind any lock of the sandbox.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until it is done. Returns `false` if it is not when the time is up.
pub(super) fn wait_until(timeout: Duration, is_done: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        match timeout.checked_sub(begun.elapsed()) {
            _ if is_done() => return true,
            Some(left) => thread::sleep(left.min(Duration::from_millis(5))),
            None => return false,
        }
    }
}
