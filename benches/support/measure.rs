//! Comparing two ways to do the same by the processor time of this thread, taking turns so that whatever else the
//! machine does falls on both alike. Other programs empty the caches and so cost processor time too: what counts is the
//! time that the quickest tenth of the turns kept to, on either side.
// Each program that includes this file uses a part of it.
#![allow(dead_code)]

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// One comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparison<'a> {
    pub(crate) what: &'a str,
    /// The most that the candidate's time may be, divided by the reference's.
    pub(crate) limit: f64,
    /// How often candidate and reference take turns.
    pub(crate) turns: usize,
    /// How often each of them runs in one turn: enough for a time to be read.
    pub(crate) runs: u32,
}

impl Comparison<'_> {
    /// Measures, prints and tells whether the limit is kept.
    pub(crate) fn run<C, R>(
        &self,
        mut candidate: impl FnMut() -> C,
        mut reference: impl FnMut() -> R,
    ) -> bool {
        let mut times = (Vec::new(), Vec::new());
        for turn in 0..self.turns {
            // Neither always comes first.
            if turn % 2 == 0 {
                times.0.push(self.turn(&mut candidate));
                times.1.push(self.turn(&mut reference));
            } else {
                times.1.push(self.turn(&mut reference));
                times.0.push(self.turn(&mut candidate));
            }
        }
        let (candidate, reference) = (self.undisturbed(times.0), self.undisturbed(times.1));
        report(
            self.what,
            &format!("{candidate:8.1} µs, reference {reference:8.1} µs"),
            candidate / reference,
            self.limit,
        )
    }

    fn turn<T>(&self, run: &mut impl FnMut() -> T) -> Duration {
        let before = thread_time();
        for _ in 0..self.runs {
            drop(black_box(run()));
        }
        thread_time() - before
    }

    /// The time of one run, in microseconds.
    fn undisturbed(&self, mut turns: Vec<Duration>) -> f64 {
        turns.sort();
        micros(turns[turns.len() / 10]) / f64::from(self.runs)
    }
}

/// Prints one line, and tells whether the limit is kept.
pub(crate) fn report(what: &str, measured: &str, ratio: f64, limit: f64) -> bool {
    let kept = ratio <= limit;
    let verdict = if kept { "" } else { "  ABOVE THE LIMIT" };
    println!("{what:<42} {measured}, ratio {ratio:.3}, at most {limit}{verdict}");
    kept
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The processor time that this thread has used.
pub(crate) fn thread_time() -> Duration {
    since_zero(ClockId::ThreadCPUTime)
}

/// The processor time that this process has used.
pub(crate) fn process_time() -> Duration {
    since_zero(ClockId::ProcessCPUTime)
}

fn since_zero(clock: ClockId) -> Duration {
    clock_gettime(clock).try_into().unwrap()
}
