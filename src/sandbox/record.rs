//! The requests that a sandbox received, with what became of them.

use std::sync::{Mutex, PoisonError};

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
}

/// All requests, oldest first.
#[derive(Default)]
pub(super) struct Record {
    requests: Mutex<Vec<RecordedRequest>>,
}

impl Record {
    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn push(&self, request: HttpRequest, status: u16, took_effect: bool) {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(RecordedRequest {
                method: request.method,
                target: request.target,
                headers: request.headers,
                body: request.body,
                status,
                took_effect,
            });
    }
}
