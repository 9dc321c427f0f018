//! The states of a contract and the ways in which it ends: open lists, in which an unknown value survives as text.

use std::fmt;

use serde::Deserialize;

/// The state of a contract 协议状态.
///
/// Only `SIGNED` is documented for password-exempt contracts; the other names are those of WeChat Pay's sister
/// products. The list is open: a value that this crate does not know is [`Other`](Self::Other), and may get a variant
/// of its own in a later version, so compare texts with [`as_str`](Self::as_str).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "String")]
#[non_exhaustive]
pub enum ContractState {
    /// `SIGNED`: signed and in force. Documented.
    Signed,
    /// `TERMINATED`: ended. Known from sister products.
    Terminated,
    /// `SIGN_FAILED`: the signing failed. Known from sister products.
    SignFailed,
    /// `TO_BE_RENEWED`: to be signed again. Known from sister products.
    ToBeRenewed,
    /// `TERMINATE_PENDING`: being ended. Known from sister products.
    TerminatePending,
    /// Any other value, as it came.
    Other(String),
}

impl ContractState {
    /// The value as on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Signed => "SIGNED",
            Self::Terminated => "TERMINATED",
            Self::SignFailed => "SIGN_FAILED",
            Self::ToBeRenewed => "TO_BE_RENEWED",
            Self::TerminatePending => "TERMINATE_PENDING",
            Self::Other(text) => text,
        }
    }
}

impl From<String> for ContractState {
    fn from(text: String) -> Self {
        match text.as_str() {
            "SIGNED" => Self::Signed,
            "TERMINATED" => Self::Terminated,
            "SIGN_FAILED" => Self::SignFailed,
            "TO_BE_RENEWED" => Self::ToBeRenewed,
            "TERMINATE_PENDING" => Self::TerminatePending,
            _ => Self::Other(text),
        }
    }
}

impl fmt::Display for ContractState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a contract was ended 协议解约方式.
///
/// Only `USER_TERMINATE` is documented for password-exempt contracts; the other names are those of WeChat Pay's sister
/// products. The list is open: a value that this crate does not know is [`Other`](Self::Other), and may get a variant
/// of its own in a later version, so compare texts with [`as_str`](Self::as_str).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "String")]
#[non_exhaustive]
pub enum TerminationMode {
    /// `USER_TERMINATE`: by the user. Documented.
    UserTerminate,
    /// `MCH_API_TERMINATE`: by the merchant through the API. Known from sister products.
    MchApiTerminate,
    /// `API`: through the API. Known from sister products.
    Api,
    /// `WEPAY_WEB_TERMINATE`: on WeChat Pay's merchant platform. Known from sister products.
    WepayWebTerminate,
    /// `CUSTOMER_SERVICE_TERMINATE`: by WeChat Pay's customer service. Known from sister products.
    CustomerServiceTerminate,
    /// `SYSTEM_TERMINATE`: by WeChat Pay's system. Known from sister products.
    SystemTerminate,
    /// Any other value, as it came.
    Other(String),
}

impl TerminationMode {
    /// The value as on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::UserTerminate => "USER_TERMINATE",
            Self::MchApiTerminate => "MCH_API_TERMINATE",
            Self::Api => "API",
            Self::WepayWebTerminate => "WEPAY_WEB_TERMINATE",
            Self::CustomerServiceTerminate => "CUSTOMER_SERVICE_TERMINATE",
            Self::SystemTerminate => "SYSTEM_TERMINATE",
            Self::Other(text) => text,
        }
    }
}

impl From<String> for TerminationMode {
    fn from(text: String) -> Self {
        match text.as_str() {
            "USER_TERMINATE" => Self::UserTerminate,
            "MCH_API_TERMINATE" => Self::MchApiTerminate,
            "API" => Self::Api,
            "WEPAY_WEB_TERMINATE" => Self::WepayWebTerminate,
            "CUSTOMER_SERVICE_TERMINATE" => Self::CustomerServiceTerminate,
            "SYSTEM_TERMINATE" => Self::SystemTerminate,
            _ => Self::Other(text),
        }
    }
}

impl fmt::Display for TerminationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
