//! The contents of notifications: contracts, payments and refunds.

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::envelope::Envelope;
use crate::contract::{ContractState, TerminateInfo, TerminationMode};
use crate::json::{self, DecodeError, number_or_text};
use crate::order::{RefundStatus, RefundedAmount, Transaction};

/// The content of a notification, as one of the kinds that this crate knows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A contract was signed or terminated, as [`kind`](super::Notification::kind) says. Content with an
    /// `out_contract_code` is read as a contract whatever its event type, unless it is a payment or a refund.
    Contract(ContractEvent),
    /// An order was paid: `TRANSACTION.SUCCESS`, with [`is_paid`](Transaction::is_paid). Nothing is sent when a payment
    /// fails or an order is closed.
    ///
    /// Compare it with your own record by [`check_order`](Transaction::check_order). Deliver only once: the same
    /// notification can arrive again, even after the notification of a refund.
    Payment(Transaction),
    /// A refund ended, or the user's bank refused the money: `REFUND.SUCCESS`, `REFUND.CLOSED` or `REFUND.ABNORMAL`.
    /// Refunds made by hand in the merchant platform are notified too, with refund numbers that you did not choose.
    Refund(RefundEvent),
    /// Any other content, such as profit sharing 分账 and combined payments 合单支付, whose event type is
    /// `TRANSACTION.SUCCESS` too.
    Other(Value),
}

impl Event {
    /// Reads the decrypted content. Without an `original_type`, the event type alone decides.
    pub(super) fn read(envelope: &Envelope<'_>, json: &str) -> Result<Self, DecodeError> {
        let original_type = envelope.resource.original_type.as_deref();
        let is_of = |wanted| original_type.is_none_or(|found| found == wanted);
        match envelope.event_type.as_str() {
            "TRANSACTION.SUCCESS" if is_of("transaction") => Self::read_payment(json),
            "REFUND.SUCCESS" | "REFUND.ABNORMAL" | "REFUND.CLOSED" if is_of("refund") => {
                json::from_str(json).map(Self::Refund)
            }
            _ => json::from_str(json)
                .map(Self::Contract)
                .or_else(|_| json::from_str(json).map(Self::Other)),
        }
    }

    fn read_payment(json: &str) -> Result<Self, DecodeError> {
        let error = match json::from_str::<Transaction>(json) {
            Ok(paid) if paid.is_paid() => return Ok(Self::Payment(paid)),
            read => read.err(),
        };
        let content: Value = json::from_str(json)?;
        match error {
            Some(error) if content.get("combine_out_trade_no").is_none() => Err(error),
            _ => Ok(Self::Other(content)),
        }
    }
}

/// The content of a notification about a refund.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012791906>, <https://pay.weixin.qq.com/doc/v3/partner/4012085802>,
/// for e-commerce platforms <https://pay.weixin.qq.com/doc/v3/partner/4012124635>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefundEvent {
    /// The direct merchant's id 直连商户号.
    pub mchid: Option<String>,
    /// The service provider's merchant id 服务商户号.
    pub sp_mchid: Option<String>,
    /// The sub-merchant's id 子商户号.
    pub sub_mchid: Option<String>,
    /// The merchant's number of the order 商户订单号.
    pub out_trade_no: String,
    /// WeChat Pay's number of the order 微信支付订单号.
    pub transaction_id: String,
    /// The merchant's number of the refund 商户退款单号.
    pub out_refund_no: String,
    /// WeChat Pay's number of the refund 微信支付退款单号.
    pub refund_id: String,
    /// The state of the refund 退款状态. `SUCCESS` can follow `ABNORMAL`.
    pub refund_status: RefundStatus,
    /// The time at which the refund succeeded 退款成功时间, RFC 3339. Present only with `SUCCESS`.
    pub success_time: Option<String>,
    /// A description of the account that receives the refund 退款入账账户.
    pub user_received_account: Option<String>,
    /// The amounts 金额信息, without a currency.
    pub amount: RefundedAmount,
    /// The merchant who pays for the refund 退款出资商户, in notifications to e-commerce platforms.
    pub refund_account: Option<String>,
}

/// The content of a notification about a contract.
///
/// Tencent documents none of this for password-exempt contracts 免密支付. The fields are those of the sister products 委托代扣,
/// 收付通合单代扣 and their cross-border form, which differ from each other. So every field except `out_contract_code` is
/// optional, and a value of an unexpected JSON type counts as absent. [`Notification::json`](super::Notification::json)
/// returns the whole content as received. Query the contract for its authoritative state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContractEvent {
    /// The merchant's code for the contract 商户签约协议号, as it was pre-signed.
    pub out_contract_code: String,
    /// WeChat Pay's id of the contract 协议ID. Some sister products leave it out. The query returns it.
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
    /// The user's OpenID under `appid` 用户标识.
    #[serde(default, deserialize_with = "lenient")]
    pub openid: Option<String>,
    /// The password-exempt service 免密支付服务ID.
    #[serde(default, deserialize_with = "lenient_number")]
    pub service_id: Option<u64>,
    /// The template 模板ID, which the sister products have instead of a service.
    #[serde(default, deserialize_with = "lenient_number")]
    pub plan_id: Option<u64>,
    /// The user's name as the signing page showed it 签约用户的名称.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_display_account: Option<String>,
    /// The time of signing 协议签署时间, RFC 3339.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_signed_time: Option<String>,
    /// The expiry time of the contract 协议到期时间, RFC 3339.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_expired_time: Option<String>,
    /// The time of signing or termination 操作时间, RFC 3339.
    #[serde(default, deserialize_with = "lenient")]
    pub operate_time: Option<String>,
    /// The details of the contract's termination 协议解约信息.
    #[serde(default, deserialize_with = "lenient")]
    pub contract_terminate_info: Option<TerminateInfo>,
    /// The termination mode 解约方式, in the sister products without `contract_terminate_info`. Read it by
    /// [`termination_mode`](Self::termination_mode).
    #[serde(default, deserialize_with = "lenient")]
    pub contract_termination_mode: Option<TerminationMode>,
    /// The service provider's merchant id 服务商商户号.
    #[serde(default, deserialize_with = "lenient")]
    pub sp_mchid: Option<String>,
    /// The service provider's AppID 服务商应用ID.
    #[serde(default, deserialize_with = "lenient")]
    pub sp_appid: Option<String>,
    /// The user's OpenID under `sp_appid`.
    #[serde(default, deserialize_with = "lenient")]
    pub sp_openid: Option<String>,
    /// The sub-merchant's id 子商户号.
    #[serde(default, deserialize_with = "lenient")]
    pub sub_mchid: Option<String>,
    /// The sub-merchant's AppID 子商户应用ID.
    #[serde(default, deserialize_with = "lenient")]
    pub sub_appid: Option<String>,
    /// The user's OpenID under `sub_appid`.
    #[serde(default, deserialize_with = "lenient")]
    pub sub_openid: Option<String>,
    /// The merchant's own name for the user 商户侧用户标识.
    #[serde(default, deserialize_with = "lenient")]
    pub out_user_code: Option<String>,
    /// The merchant's own data, as given when pre-signing 附加数据.
    #[serde(default, deserialize_with = "lenient")]
    pub attach: Option<String>,
}

impl ContractEvent {
    /// Returns the termination mode, from either of the two fields for it.
    pub fn termination_mode(&self) -> Option<&TerminationMode> {
        self.contract_terminate_info
            .as_ref()
            .and_then(|info| info.contract_termination_mode.as_ref())
            .or(self.contract_termination_mode.as_ref())
    }
}

/// Reads a field whose type is not documented. Returns `None` if it is of another type.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    // Reads the raw text first, so that a value of another type, such as a huge number, affects only this field.
    let text = <Box<RawValue>>::deserialize(deserializer)?;
    Ok(json::from_str(text.get()).ok())
}

fn lenient_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = <Box<RawValue>>::deserialize(deserializer)?;
    Ok(number_or_text(&mut serde_json::Deserializer::from_str(text.get())).ok())
}
