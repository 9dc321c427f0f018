//! The id of a contract, which is the whole response to pay-redirect-sign and to a termination.

use serde::{Deserialize, Serialize};

use crate::error::Mismatch;
use crate::json::number_or_text;

/// The id of a contract, and the confirmation that the call was carried out for it.
///
/// Sources: the pages of [`normal::PayRedirectPreSign`](super::normal::PayRedirectPreSign) and its siblings, and of
/// [`TerminateContract`](super::TerminateContract).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContractId {
    /// The merchant id 商户号 that the contract is made with, up to 32 characters.
    pub mchid: String,
    /// The sub-merchant 子商户号, up to 32 characters; only in responses to a service provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_mchid: Option<String>,
    /// The password-exempt service 免密支付服务ID.
    #[serde(deserialize_with = "number_or_text")]
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号, up to 32 characters.
    pub out_contract_code: String,
}

/// Refuses the response to a request about another contract: its service and code must be those of the request.
pub(super) fn check_same(
    (service_id, code): (u64, &str),
    (received_service_id, received_code): (u64, &str),
) -> Result<(), Mismatch> {
    Mismatch::check("service_id", &service_id, &received_service_id)?;
    Mismatch::check("out_contract_code", code, received_code)
}
