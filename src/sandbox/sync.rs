//! Locks a mutex, waits for a condition, and starts a thread.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Locks a mutex and ignores poisoning, because a panic never leaves the state behind the sandbox's locks half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `is_done` returns `true`. Returns `false` if this takes longer than `timeout`.
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

/// Starts a thread with this name.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}
