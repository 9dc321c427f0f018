//! The requests that a sandbox received, with what became of them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::http::HttpRequest;

/// A request that the sandbox received.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The HTTP method.
    pub method: String,
    /// Path and query, exactly as received.
    pub target: String,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// The status that was answered, whether or not the answer arrived; 0 when a fault let the request go unanswered
    /// and without effect.
    pub status: u16,
    /// Whether the request was carried out, whatever the caller was told: the truth that a caller's error is to be
    /// compared with.
    pub took_effect: bool,
}

impl RecordedRequest {
    /// The first header of that name, without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns roughly the memory that it takes, in bytes.
    fn size(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers
            .map(|(name, value)| 48 + name.len() + value.len())
            .sum();
        128 + self.target.len() + headers + self.body.len()
    }
}

/// How much is kept, in bytes. Beyond it the oldest requests are dropped.
const LIMIT: usize = 64 * 1024 * 1024;

/// The newest requests, oldest first.
#[derive(Default)]
pub(super) struct Record {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    requests: VecDeque<RecordedRequest>,
    size: usize,
}

impl Record {
    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.kept().requests.iter().cloned().collect()
    }

    pub(super) fn push(&self, request: HttpRequest, status: u16, took_effect: bool) {
        let recorded = RecordedRequest {
            method: request.method,
            target: request.target,
            headers: request.headers,
            body: request.body,
            status,
            took_effect,
        };
        let mut kept = self.kept();
        kept.size += recorded.size();
        kept.requests.push_back(recorded);
        while kept.size > LIMIT {
            let oldest = kept.requests.pop_front();
            kept.size -= oldest.map_or(kept.size, |oldest| oldest.size());
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
