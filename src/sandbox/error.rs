//! The errors of a sandbox: an input that it cannot use, and an action of the user that fails.

use std::error::Error as StdError;
use std::fmt;

/// An input that a sandbox cannot use: the URL of a receiver, a certificate to be issued, or a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxError(String);

impl SandboxError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for SandboxError {}

/// The reason why an action of the user failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserError {
    /// No contract was pre-signed under this code.
    Unknown,
    /// The contract can be signed only after a payment, not in the mini program. Use
    /// [`Sandbox::user_pays_and_signs`](super::Sandbox::user_pays_and_signs).
    PaysFirst,
    /// The contract can be signed only in the mini program, not after a payment. Use
    /// [`Sandbox::user_signs`](super::Sandbox::user_signs).
    SignsInMiniProgram,
    /// The session has ended: two hours have passed, or the user gave up. The merchant has to pre-sign again.
    SessionEnded,
    /// The contract is signed already.
    AlreadySigned,
    /// The contract is not signed yet.
    NotSigned,
    /// The contract was terminated.
    Terminated,
    /// No order was placed under this number.
    UnknownOrder,
    /// The order is paid already.
    OrderPaid,
    /// The order is closed.
    OrderClosed,
    /// The order's `time_expire` has passed, or the newest `prepay_id` is two hours old.
    OrderExpired,
    /// No refund was created under this number.
    UnknownRefund,
    /// The refund has ended, or cannot change to this status.
    RefundSettled,
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no contract was pre-signed under this code",
            Self::PaysFirst => {
                "this contract can be signed only after a payment, not in the mini program"
            }
            Self::SignsInMiniProgram => {
                "this contract can be signed only in the mini program, not after a payment"
            }
            Self::SessionEnded => {
                "the session has ended: two hours have passed, or the user gave up"
            }
            Self::AlreadySigned => "the contract is signed already",
            Self::NotSigned => "the contract is not signed yet",
            Self::Terminated => "the contract was terminated",
            Self::UnknownOrder => "no order was placed under this number",
            Self::OrderPaid => "the order is paid already",
            Self::OrderClosed => "the order is closed",
            Self::OrderExpired => {
                "the time to pay is over, or the newest prepay_id is two hours old"
            }
            Self::UnknownRefund => "no refund was created under this number",
            Self::RefundSettled => "the refund has ended, or cannot go to this status",
        })
    }
}

impl StdError for UserError {}
