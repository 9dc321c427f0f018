//! Comparing two ways to do the same, taking turns so that whatever else the machine does falls on both alike.
//!
//! Neither criterion nor divan has turns: they measure one side after the other, and a machine that is 5 % slower a
//! minute later hides what is to be seen here.
// Each program that includes this file uses a part of it.
#![allow(dead_code)]

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// One comparison, by the processor time of this thread.
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
        let (candidate, reference) = in_turns(
            self.turns,
            || self.turn(&mut candidate),
            || self.turn(&mut reference),
        );
        report_times(self.what, &candidate, &reference, Some(self.limit))
    }

    /// The time of one run, in microseconds.
    fn turn<T>(&self, run: &mut impl FnMut() -> T) -> f64 {
        let before = thread_time();
        for _ in 0..self.runs {
            drop(black_box(run()));
        }
        micros(thread_time() - before) / f64::from(self.runs)
    }
}

/// Lets both sides have as many turns; neither always comes first.
pub(crate) fn in_turns<T>(
    turns: usize,
    mut candidate: impl FnMut() -> T,
    mut reference: impl FnMut() -> T,
) -> (Vec<T>, Vec<T>) {
    let (mut candidates, mut references) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        if turn % 2 == 0 {
            candidates.push(candidate());
            references.push(reference());
        } else {
            references.push(reference());
            candidates.push(candidate());
        }
    }
    (candidates, references)
}

/// Compares times in microseconds, the turns of both sides in their order; prints one line, and tells whether the limit
/// is kept.
///
/// The ratio is the median of those of neighbours: the machine's speed changes from second to second, but it hardly does
/// between two turns.
pub(crate) fn report_times(
    what: &str,
    candidate: &[f64],
    reference: &[f64],
    limit: Option<f64>,
) -> bool {
    let neighbours = candidate.iter().zip(reference);
    let ratio = median(neighbours.map(|(candidate, reference)| candidate / reference));
    let [candidate, reference] = [candidate, reference].map(|times| median(times.iter().copied()));
    report(
        what,
        &format!("{candidate:8.1} µs, reference {reference:8.1} µs"),
        ratio,
        limit,
    )
}

/// Prints one line, and tells whether the limit is kept.
pub(crate) fn report(what: &str, measured: &str, ratio: f64, limit: Option<f64>) -> bool {
    let kept = limit.is_none_or(|limit| ratio <= limit);
    let limit = limit.map_or_else(String::new, |limit| format!(", at most {limit}"));
    println!(
        "{what:<46} {measured}, ratio {ratio:.3}{limit}{}",
        verdict(kept)
    );
    kept
}

/// How a line ends.
pub(crate) fn verdict(kept: bool) -> &'static str {
    if kept { "" } else { "  LIMIT NOT KEPT" }
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
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
