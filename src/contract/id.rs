//! The identification of a contract, which is the whole response to pay-redirect-sign and to a termination.

use serde::{Deserialize, Serialize};

use crate::error::Mismatch;
use crate::json::number_or_text;

/// The identification of a contract. As a response it confirms that the call was carried out.
///
/// Sources: the pages of [`normal::PayRedirectPreSign`](super::normal::PayRedirectPreSign) and its siblings, and of
/// [`TerminateContract`](super::TerminateContract).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContractId {
    /// The merchant id 商户号 that the contract is made with, up to 32 characters.
    pub mchid: String,
    /// The sub-merchant 子商户号, up to 32 characters. Only responses to service providers have it.
    pub sub_mchid: Option<String>,
    /// The password-exempt service 免密支付服务ID.
    #[serde(deserialize_with = "number_or_text")]
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号, up to 32 characters.
    pub out_contract_code: String,
}

/// The names of a contract, `mchid`, `service_id` and `out_contract_code`, which every response repeats.
pub(super) type Names<'a> = (&'a str, u64, &'a str);

pub(super) fn check_names(sent: Names<'_>, received: Names<'_>) -> Result<(), Mismatch> {
    Mismatch::check("mchid", sent.0, received.0)?;
    Mismatch::check("service_id", &sent.1, &received.1)?;
    Mismatch::check("out_contract_code", sent.2, received.2)
}

/// Compares the sub-merchant. Only the responses to service providers are documented to repeat it.
pub(super) fn check_sub_mchid(
    sent: &str,
    received: Option<&str>,
    is_always_repeated: bool,
) -> Result<(), Mismatch> {
    match received {
        None if !is_always_repeated => Ok(()),
        received => Mismatch::check("sub_mchid", sent, received.unwrap_or_default()),
    }
}
