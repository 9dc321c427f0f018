//! The requests that the sandbox received, and a limit on the memory that they take.

use std::collections::VecDeque;

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
    /// The status of the response, whether or not it arrived. It is 0 if a fault suppressed the response and the request
    /// was not carried out.
    pub status: u16,
    /// `true` if the request succeeded, even if a fault changed the response. A test can compare it with the outcome that
    /// the client's error states.
    pub took_effect: bool,
}

impl RecordedRequest {
    /// Returns the first header of that name, without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Returns the size of headers, in bytes.
pub(super) fn size_of(headers: &[(String, String)]) -> usize {
    headers
        .iter()
        .map(|(name, value)| 48 + name.len() + value.len())
        .sum()
}

/// The most bytes that are kept. Beyond this the oldest items are dropped.
const LIMIT: usize = 64 * 1024 * 1024;
/// The approximate memory that an item takes in addition to its bytes.
const OVERHEAD: usize = 256;

/// The newest items, oldest first.
pub(super) struct Newest<T> {
    items: VecDeque<(usize, T)>,
    size: usize,
}

impl<T: Clone> Newest<T> {
    pub(super) const fn new() -> Self {
        Self {
            items: VecDeque::new(),
            size: 0,
        }
    }

    /// Adds an item of this size in bytes.
    pub(super) fn push(&mut self, item: T, bytes: usize) {
        let size = OVERHEAD + bytes;
        self.size += size;
        self.items.push_back((size, item));
        while self.size > LIMIT {
            let oldest = self.items.pop_front();
            self.size -= oldest.map_or(self.size, |(size, _)| size);
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.items.iter_mut().map(|(_, item)| item)
    }

    pub(super) fn to_vec(&self) -> Vec<T> {
        self.items.iter().map(|(_, item)| item.clone()).collect()
    }
}
