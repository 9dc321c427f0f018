//! The query of a contract. Its response is the reliable source of the contract's state.

use serde::{Deserialize, Serialize};

use super::id::check_names;
use crate::error::{InvalidField, Mismatch};
use crate::json::number_or_text;
use crate::open_enum::open_enum;
use crate::request::{Endpoint, Request};
use crate::rules;

/// Queries a contract by the merchant's code 商户通过商户协议号查询协议, for merchants of all four modes.
///
/// Changes nothing, so it can be repeated after any outcome. Send it after a pre-sign or a termination with an unknown
/// outcome, and when a notification did not arrive.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012472855>,
/// <https://pay.weixin.qq.com/doc/v3/partner/4012715321>.
///
/// ```
/// use wechatpay_contract::{Endpoint, QueryContract};
///
/// let query = QueryContract {
///     service_id: 12535,
///     out_contract_code: "wxwtdk20200910100000",
/// };
/// assert_eq!(
///     query.request()?.target()?,
///     "/v3/password-exempt-contract/contracts/service-id/12535/out-contract-code/wxwtdk20200910100000",
/// );
/// # Ok::<(), wechatpay_contract::InvalidField>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryContract<'a> {
    /// The password-exempt service 免密支付服务ID.
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号: ASCII digits and letters. The length of up to 32 is documented for
    /// direct merchants and clearing institutions only, so it is not enforced.
    pub out_contract_code: &'a str,
}

impl Endpoint for QueryContract<'_> {
    type Response = Contract;

    fn request(&self) -> Result<Request, InvalidField> {
        rules::digits_and_letters("out_contract_code", self.out_contract_code)?;
        Ok(Request::get(
            "/v3/password-exempt-contract/contracts/service-id/{service_id}/out-contract-code/{out_contract_code}",
        )
        .path("service_id", self.service_id)
        .path("out_contract_code", self.out_contract_code))
    }

    fn check(&self, response: &Contract, mchid: &str) -> Result<(), Mismatch> {
        check_names!(mchid, self, response)
    }
}

/// A contract 免密支付协议, as the query returns it.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012472855>,
/// <https://pay.weixin.qq.com/doc/v3/partner/4012715321>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Contract {
    /// The merchant id 商户号 that the contract is made with, up to 32 characters.
    pub mchid: String,
    /// WeChat Pay's id of the contract 免密支付协议ID, up to 32 characters. Inferred from the names: an
    /// order takes it as `password_free_contract_id`.
    pub contract_id: String,
    /// The merchant's AppID 商户AppID, up to 32 characters.
    pub appid: String,
    /// The user's openid under `appid` 用户标识, up to 64 characters. Documented as always present, but a response
    /// without it is accepted.
    pub openid: Option<String>,
    /// The sub-merchant's AppID 子商户AppID, up to 32 characters.
    pub sub_appid: Option<String>,
    /// The user's openid under `sub_appid` 用户子标识, up to 64 characters.
    pub sub_openid: Option<String>,
    /// The password-exempt service 免密支付服务ID.
    #[serde(deserialize_with = "number_or_text")]
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号, up to 32 characters.
    pub out_contract_code: String,
    /// The user's name as the signing page showed it 用户账户展示名称.
    pub contract_display_account: Option<String>,
    /// The contract's state 协议状态.
    pub contract_state: ContractState,
    /// The time of signing 协议签署时间, in the form of RFC 3339: `2020-09-10T13:29:35+08:00`. Documented as always
    /// present, but a response without it is accepted.
    pub contract_signed_time: Option<String>,
    /// The end of the contract 协议解约信息, absent while it is in force. Only `contract_state` proves that the contract has
    /// ended.
    pub contract_terminate_info: Option<TerminateInfo>,
}

impl Contract {
    /// Returns `true` if the contract is signed and has not ended, so that an order can use it.
    pub fn is_in_force(&self) -> bool {
        self.contract_state == ContractState::Signed
    }
}

open_enum! {
    /// The state of a contract 协议状态.
    ///
    /// Only `SIGNED` is documented for password-exempt contracts. The other names are those of WeChat Pay's sister
    /// products.
    ContractState {
        /// The contract is in force. Documented.
        Signed = "SIGNED",
        /// The contract has ended. Known from sister products.
        Terminated = "TERMINATED",
        /// The signing failed. Known from sister products.
        SignFailed = "SIGN_FAILED",
        /// The contract must be signed again. Known from sister products.
        ToBeRenewed = "TO_BE_RENEWED",
        /// The termination is under way. Known from sister products.
        TerminatePending = "TERMINATE_PENDING",
    }
}

/// The end of a contract 协议解约信息.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TerminateInfo {
    /// The way in which the contract was ended 协议解约方式. Documented as always present, but a response
    /// without it is accepted.
    pub contract_termination_mode: Option<TerminationMode>,
    /// The time 协议解约时间, in the form of RFC 3339.
    pub contract_terminated_time: Option<String>,
    /// The reason 解约备注, up to 256 characters.
    pub contract_termination_remark: Option<String>,
}

open_enum! {
    /// The way in which a contract was ended 协议解约方式.
    ///
    /// Only `USER_TERMINATE` is documented for password-exempt contracts. The other names are those of WeChat Pay's sister
    /// products.
    TerminationMode {
        /// By the user. Documented.
        UserTerminate = "USER_TERMINATE",
        /// By the merchant through the API. Known from sister products.
        MchApiTerminate = "MCH_API_TERMINATE",
        /// Through the API. Known from sister products.
        Api = "API",
        /// On WeChat Pay's merchant platform. Known from sister products.
        WepayWebTerminate = "WEPAY_WEB_TERMINATE",
        /// By WeChat Pay's customer service. Known from sister products.
        CustomerServiceTerminate = "CUSTOMER_SERVICE_TERMINATE",
        /// By WeChat Pay's system. Known from sister products.
        SystemTerminate = "SYSTEM_TERMINATE",
    }
}
