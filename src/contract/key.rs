//! What names one contract: the whole answer to pay-redirect-sign and to a termination.

use serde::Deserialize;

use super::session::number_or_text;

/// Names one contract, and confirms that the call was carried out for it.
///
/// Sources: the pages of [`normal::PayRedirectPreSign`](super::normal::PayRedirectPreSign) and its siblings, and of
/// [`TerminateContract`](super::TerminateContract).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub struct ContractKey {
    /// The merchant id 商户号 that the contract is made with, up to 32 characters.
    pub mchid: String,
    /// The password-exempt service 免密支付服务ID.
    #[serde(deserialize_with = "number_or_text")]
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号, up to 32 characters.
    pub out_contract_code: String,
}
