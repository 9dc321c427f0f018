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
    pub sub_mchid: Option<String>,
    /// The password-exempt service 免密支付服务ID.
    #[serde(deserialize_with = "number_or_text")]
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号, up to 32 characters.
    pub out_contract_code: String,
}

impl ContractId {
    pub(super) fn names(&self) -> Names<'_> {
        Names {
            mchid: &self.mchid,
            sub_mchid: self.sub_mchid.as_deref(),
            service_id: self.service_id,
            out_contract_code: &self.out_contract_code,
        }
    }
}

/// The names of a contract: in a request, or in a response that repeats them.
pub(super) struct Names<'a> {
    pub(super) mchid: &'a str,
    pub(super) sub_mchid: Option<&'a str>,
    pub(super) service_id: u64,
    pub(super) out_contract_code: &'a str,
}

impl Names<'_> {
    /// Returns an error if `received` differs. A `sub_mchid` is compared if both have one.
    pub(super) fn check(&self, received: &Self) -> Result<(), Mismatch> {
        Mismatch::check("mchid", self.mchid, received.mchid)?;
        if let (Some(sent), Some(received)) = (self.sub_mchid, received.sub_mchid) {
            Mismatch::check("sub_mchid", sent, received)?;
        }
        Mismatch::check("service_id", &self.service_id, &received.service_id)?;
        Mismatch::check(
            "out_contract_code",
            self.out_contract_code,
            received.out_contract_code,
        )
    }
}
