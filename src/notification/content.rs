//! What a notification says about a contract.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;

use crate::contract::{ContractState, TerminateInfo, TerminationMode};
use crate::json::number_or_text;

/// What a notification says about a contract.
///
/// None of this is documented for password-exempt contracts 免密支付: the names are those of the sister products
/// 委托代扣, 收付通合单代扣 and their cross-border form, which do not all have the same ones. So every field but the
/// code is optional, and one of an unexpected JSON type counts as absent rather than costing the news;
/// [`Notification::json`](super::Notification::json) has it as it came. The query is the authority for all of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ContractEvent {
    /// The merchant's code for the contract 商户签约协议号, as it was pre-signed.
    pub out_contract_code: String,
    /// WeChat Pay's id of the contract 协议ID. Some sister products leave it out; the query has it.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_id: Option<String>,
    /// The state that the contract is in now 协议状态.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_state: Option<ContractState>,
    /// The merchant id 商户号 that the contract is made with.
    #[serde(default, deserialize_with = "lenient")]
    pub mchid: Option<String>,
    /// The merchant's AppID 应用ID.
    #[serde(default, deserialize_with = "lenient")]
    pub appid: Option<String>,
    /// The user under `appid` 用户标识.
    #[serde(default, deserialize_with = "lenient")]
    pub openid: Option<String>,
    /// The password-exempt service 免密支付服务ID.
    #[serde(default, deserialize_with = "lenient_number")]
    pub service_id: Option<u64>,
    /// The template 模板ID, which in the sister products stands in the place of the service.
    #[serde(default, deserialize_with = "lenient_number")]
    pub plan_id: Option<u64>,
    /// The user's name as the signing page showed it 签约用户的名称.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_display_account: Option<String>,
    /// When the contract was signed 协议签署时间, RFC 3339.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_signed_time: Option<String>,
    /// When the contract ends 协议到期时间, RFC 3339.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_expired_time: Option<String>,
    /// When it was signed or terminated 操作时间, RFC 3339.
    #[serde(default, deserialize_with = "lenient")]
    pub operate_time: Option<String>,
    /// How the contract ended 协议解约信息.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_terminate_info: Option<TerminateInfo>,
    /// How the contract ended 解约方式, in the sister products without `contract_terminate_info`;
    /// [`termination_mode`](Self::termination_mode) reads both.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_termination_mode: Option<TerminationMode>,
    /// The service provider's merchant id 服务商商户号.
    #[serde(default, deserialize_with = "lenient")]
    pub sp_mchid: Option<String>,
    /// The service provider's AppID 服务商应用ID.
    #[serde(default, deserialize_with = "lenient")]
    pub sp_appid: Option<String>,
    /// The user under `sp_appid`.
    #[serde(default, deserialize_with = "lenient")]
    pub sp_openid: Option<String>,
    /// The sub-merchant's id 子商户号.
    #[serde(default, deserialize_with = "lenient")]
    pub sub_mchid: Option<String>,
    /// The sub-merchant's AppID 子商户应用ID.
    #[serde(default, deserialize_with = "lenient")]
    pub sub_appid: Option<String>,
    /// The user under `sub_appid`.
    #[serde(default, deserialize_with = "lenient")]
    pub sub_openid: Option<String>,
    /// The merchant's own name for the user 商户侧用户标识.
    #[serde(default, deserialize_with = "lenient")]
    pub out_user_code: Option<String>,
    /// What the merchant attached when pre-signing 附加数据.
    #[serde(default, deserialize_with = "lenient")]
    pub attach: Option<String>,
}

impl ContractEvent {
    /// How the contract ended, wherever the notification says it.
    pub fn termination_mode(&self) -> Option<&TerminationMode> {
        self.contract_terminate_info
            .as_ref()
            .and_then(|info| info.contract_termination_mode.as_ref())
            .or(self.contract_termination_mode.as_ref())
    }
}

/// Reads a field whose type nobody has promised: `None` when it is of another one.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    // A text is moved from the value to `T`: this costs no copy.
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).ok())
}

fn lenient_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(number_or_text(value).ok())
}
