//! Measuring two ways to do the same in turns, so that what else the machine does falls on both alike.
//!
//! Neither criterion nor divan takes turns: they measure one side after the other, and a machine that is 5 % slower a
//! minute later hides the difference.
// Each program that includes this file uses a part of it.
#![allow(dead_code)]

use std::env;
use std::fs;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The lines that a bench prints. It fails if a limit is not kept.
#[derive(Debug, Default)]
pub(crate) struct Report {
    is_over: bool,
}

impl Report {
    /// Compares neighbouring turns, between which the machine's speed hardly changes, and prints the median ratio.
    pub(crate) fn ratio(&mut self, what: &str, unit: &str, turns: &Turns, at_most: Option<f64>) {
        let Turns(candidate, reference) = turns;
        let ratio = median(
            candidate
                .iter()
                .zip(reference)
                .map(|(one, other)| one / other),
        );
        let [one, other] = [candidate, reference].map(|values| median(values.iter().copied()));
        let measured = format!("{one:9.2} {unit}, reference {other:9.2} {unit}, ratio {ratio:.3}");
        self.line(what, &measured, ratio, at_most);
    }

    pub(crate) fn value(&mut self, what: &str, unit: &str, value: f64, at_most: Option<f64>) {
        self.line(what, &format!("{value:9.2} {unit}"), value, at_most);
    }

    fn line(&mut self, what: &str, measured: &str, value: f64, at_most: Option<f64>) {
        let limit = at_most.map_or_else(String::new, |limit| format!(", at most {limit}"));
        let is_over = at_most.is_some_and(|limit| value > limit);
        let verdict = if is_over { "  LIMIT NOT KEPT" } else { "" };
        println!("{what:<48} {measured}{limit}{verdict}");
        self.is_over |= is_over;
    }

    /// Ends the process with status 1 if a limit was not kept.
    pub(crate) fn finish(self) {
        if self.is_over {
            std::process::exit(1);
        }
    }
}

/// The figures of a candidate and of its reference, as many of each.
pub(crate) struct Turns(pub(crate) Vec<f64>, pub(crate) Vec<f64>);

/// Measures both sides in turns. Neither always comes first.
pub(crate) fn in_turns(
    turns: usize,
    mut candidate: impl FnMut() -> f64,
    mut reference: impl FnMut() -> f64,
) -> Turns {
    let mut figures = Turns(Vec::new(), Vec::new());
    for turn in 0..turns {
        if turn % 2 == 0 {
            figures.0.push(candidate());
        }
        figures.1.push(reference());
        if turn % 2 == 1 {
            figures.0.push(candidate());
        }
    }
    figures
}

/// The processor time of one of `runs`, in microseconds.
pub(crate) fn processor_time<T>(runs: u32, mut run: impl FnMut() -> T) -> f64 {
    let before = thread_time();
    for _ in 0..runs {
        drop(black_box(run()));
    }
    micros(thread_time() - before) / f64::from(runs)
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(unix)]
fn clock(clock: rustix::time::ClockId) -> Duration {
    rustix::time::clock_gettime(clock).try_into().unwrap()
}

/// The processor time that this thread has used.
#[cfg(unix)]
pub(crate) fn thread_time() -> Duration {
    clock(rustix::time::ClockId::ThreadCPUTime)
}

/// The processor time that this process has used.
#[cfg(unix)]
pub(crate) fn process_time() -> Duration {
    clock(rustix::time::ClockId::ProcessCPUTime)
}

/// Elsewhere the wall time stands in.
#[cfg(not(unix))]
pub(crate) fn thread_time() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

#[cfg(not(unix))]
pub(crate) use thread_time as process_time;

/// Runs this program in a process of its own and returns the numbers that it prints.
pub(crate) fn child(arguments: &[&str]) -> Vec<f64> {
    let program = env::current_exe().unwrap();
    let mut command = Command::new(program);
    let output = command
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect()
}

/// Memory of this process by its name in proc(5), such as `VmRSS`, in KiB. Linux has it.
pub(crate) fn memory(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("memory is read from /proc");
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.trim().strip_suffix(" kB"));
    value.unwrap().parse().unwrap()
}
