//! The identification of a contract: the whole response to pay-redirect-sign and to a termination. Every response
//! about a contract is compared with its request by these fields.

use serde::{Deserialize, Serialize};

use crate::error::Mismatch;
use crate::json::number_or_text;

/// The identification of a contract. As a response it confirms that the call was carried out.
///
/// Sources: the pages of [`normal::PayRedirectPreSign`](super::normal::PayRedirectPreSign) and of the other three
/// modes', and of [`TerminateContract`](super::TerminateContract).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContractId {
    /// The merchant id 商户号 that the contract is made with, up to 32 characters.
    pub mchid: String,
    /// The sub-merchant's id 子商户号, up to 32 characters. Only responses to service providers have it.
    pub sub_mchid: Option<String>,
    /// The password-exempt service 免密支付服务ID.
    #[serde(deserialize_with = "number_or_text")]
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号, up to 32 characters.
    pub out_contract_code: String,
}

/// Compares the names of a contract, `mchid`, `service_id` and `out_contract_code`, which every response repeats. Give
/// the last argument if the request has a `sub_mchid`: `true` if every response repeats that too, `false` if some may
/// not.
macro_rules! check_names {
    ($mchid:expr, $sent:expr, $received:expr $(, $sub_mchid_is_always_repeated:literal)?) => {{
        use $crate::error::Mismatch;
        $($crate::contract::check_optional(
            "sub_mchid",
            $sent.sub_mchid,
            $received.sub_mchid.as_deref(),
            $sub_mchid_is_always_repeated,
        )?;)?
        Mismatch::check("mchid", $mchid, &$received.mchid)?;
        Mismatch::check("service_id", &$sent.service_id, &$received.service_id)?;
        let (sent, received) = ($sent.out_contract_code, &$received.out_contract_code);
        Mismatch::check("out_contract_code", sent, received)
    }};
}
pub(super) use check_names;

/// Compares with a value of a response. A missing value counts as an empty one if it is required, and else is not
/// compared.
pub(crate) fn check_optional<T: ToString + ?Sized>(
    field: &'static str,
    sent: &T,
    received: Option<&T>,
    is_required: bool,
) -> Result<(), Mismatch> {
    if received.is_none() && !is_required {
        return Ok(());
    }
    let received = received.map(ToString::to_string).unwrap_or_default();
    Mismatch::check(field, &sent.to_string(), &received)
}
