//! The termination of a contract by the merchant.

use serde::Serialize;

use super::ContractId;
use super::id::check_names;
use crate::error::{InvalidField, Mismatch};
use crate::request::{Endpoint, Request};
use crate::rules;

/// Ends a contract that is in force 商户通过商户协议号解约协议, for merchants of all four modes.
///
/// It is not documented as idempotent. After an unknown outcome, send [`QueryContract`](super::QueryContract) first. The code
/// of a terminated contract can never be used again.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012472858>,
/// <https://pay.weixin.qq.com/doc/v3/partner/4012715383>.
///
/// ```
/// use wechatpay_contract::{Endpoint, TerminateContract};
///
/// let request = TerminateContract {
///     service_id: 12535,
///     out_contract_code: "wxwtdk20200910100000",
///     contract_termination_remark: "用户解约",
/// }
/// .request()?;
/// // The code and the service are in the path, and the body holds only the remark.
/// assert_eq!(request.body(), Some(r#"{"contract_termination_remark":"用户解约"}"#.as_bytes()));
/// # Ok::<(), wechatpay_contract::InvalidField>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TerminateContract<'a> {
    /// The password-exempt service 免密支付服务ID.
    #[serde(skip)]
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号: ASCII digits and letters. The length of up to 32 is documented for
    /// direct merchants and clearing institutions only, so it is not enforced.
    #[serde(skip)]
    pub out_contract_code: &'a str,
    /// The reason of the termination 解约备注, up to 256 characters.
    pub contract_termination_remark: &'a str,
}

impl Endpoint for TerminateContract<'_> {
    type Response = ContractId;

    fn request(&self) -> Result<Request, InvalidField> {
        rules::digits_and_letters("out_contract_code", self.out_contract_code)?;
        let remark = self.contract_termination_remark;
        rules::required_up_to("contract_termination_remark", remark, 256)?;
        Ok(Request::post(
            "/v3/password-exempt-contract/contracts/service-id/{service_id}/out-contract-code/{out_contract_code}/terminate",
        )
        .path("service_id", self.service_id)
        .path("out_contract_code", self.out_contract_code)
        .json(self))
    }

    fn check(&self, response: &ContractId, mchid: &str) -> Result<(), Mismatch> {
        check_names!(mchid, self, response)
    }
}
