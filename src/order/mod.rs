//! The life of an order that is paid with a contract.
//!
//! | step | request | response |
//! |---|---|---|
//! | place it | [`JsapiOrder`], [`PartnerJsapiOrder`] | [`Prepay`] |
//! | let the user pay | none, [`PayParameters`] go to the mini program | |
//! | learn that it is paid | none, a notification arrives: [`Event::Payment`](crate::Event::Payment) | [`Transaction`] |
//! | query it | [`QueryOrder`] | [`Transaction`] |
//! | close it while it is not paid | [`CloseOrder`] | |
//! | refund it | [`CreateRefund`], for e-commerce platforms [`CreatePlatformRefund`] | [`Refund`], [`AcceptedRefund`] |
//! | query the refund | [`QueryRefund`], [`QueryPlatformRefund`] | [`Refund`] |
//! | learn that it is refunded | none, a notification arrives: [`Event::Refund`](crate::Event::Refund) | [`RefundEvent`](crate::RefundEvent) |
//!
//! After an [unknown outcome](crate::Outcome::Unknown), send the same request again or query first, as each type says.
//! The example `recovery.rs` has a tested function for each call that changes something.
//!
//! ```
//! use wechatpay_contract::Endpoint;
//! use wechatpay_contract::order::{Amount, ContractInfo, JsapiOrder, OrderOptions, Payer};
//!
//! let order = JsapiOrder {
//!     appid: "wxd678efh567hg6787",
//!     mchid: "1230000109",
//!     description: "Image形象店-深圳腾大-QQ公仔",
//!     out_trade_no: "1217752501201407033233368018",
//!     notify_url: "https://www.weixin.qq.com/wxpay/pay.php",
//!     amount: Amount::fen(100),
//!     payer: Payer { openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o" },
//!     contract_info: ContractInfo::PasswordFreeContractId("201710180325670965"),
//!     options: OrderOptions { attach: Some("自定义数据说明"), ..OrderOptions::default() },
//! };
//! assert_eq!(order.request()?.target()?, "/v3/pay/transactions/jsapi-with-contract");
//! # Ok::<(), wechatpay_contract::InvalidField>(())
//! ```
//!
//! `client.send(&order)` returns the `prepay_id`, and `client.pay_parameters` signs it for the mini program.

mod close;
mod options;
mod pay;
mod query;
mod refund;

pub use close::CloseOrder;
pub use options::{Detail, GoodsDetail, OrderOptions, SceneInfo, SettleInfo, StoreInfo};
pub use pay::PayParameters;
pub use query::{
    OrderNumber, OwnOrder, Payee, Promotion, PromotionGoods, QueryOrder, TradeState, TradeType,
    Transaction, TransactionAmount, TransactionPayer, TransactionScene,
};
pub use refund::{
    AcceptedRefund, CreatePlatformRefund, CreateRefund, QueryPlatformRefund, QueryRefund, Refund,
    RefundAmount, RefundChannel, RefundGoods, RefundNumber, RefundOptions, RefundSource,
    RefundStatus, RefundedAmount, RefundedFrom, RefundedGoods, RefundedPromotion,
};

use serde::{Deserialize, Serialize};

use crate::contract::one_identifier_of_two;
use crate::error::InvalidField;
use crate::request::{Endpoint, Request};
use crate::rules;

/// Places an order with a contract JSAPI下单并授权, as a direct merchant.
///
/// The order itself moves no money. The user pays with the `prepay_id`, within two hours.
///
/// After an unknown outcome, send the order again unchanged, which returns a `prepay_id` again, or query it by its
/// `out_trade_no`. Do not order under another number, since the user could pay both. To change an order, close it and place
/// it under a new number.
///
/// The response repeats no field of the order. If a broken gateway or proxy returns another order's response, the
/// client cannot detect it. So compare `amount` and `attach` of the notification or of [`QueryOrder`] with your own
/// record before you deliver. Query the order if the user sees another order on the payment page.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012526910>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct JsapiOrder<'a> {
    /// The merchant's AppID 公众号ID, up to 32 characters.
    pub appid: &'a str,
    /// The merchant id 直连商户号, up to 32 characters.
    pub mchid: &'a str,
    /// The description of the goods 商品描述, up to 127 characters.
    pub description: &'a str,
    /// The merchant's order number 商户订单号: 6 to 32 ASCII digits, letters, `_`, `-` and `*`, unique for the
    /// merchant.
    pub out_trade_no: &'a str,
    /// The URL to which WeChat Pay sends the notification of the payment 通知地址: HTTPS, without a query, up to 255
    /// characters.
    pub notify_url: &'a str,
    /// The amount to pay 订单金额.
    pub amount: Amount<'a>,
    /// The user who pays 支付者.
    pub payer: Payer<'a>,
    /// The contract 签约授权信息.
    pub contract_info: ContractInfo<'a>,
    /// The optional fields. `OrderOptions::default()` leaves all of them out.
    #[serde(flatten)]
    pub options: OrderOptions<'a>,
}

impl Endpoint for JsapiOrder<'_> {
    type Response = Prepay;

    fn request(&self) -> Result<Request, InvalidField> {
        rules::id("appid", self.appid, 32)?;
        rules::id("mchid", self.mchid, 32)?;
        check_order(self.description, self.out_trade_no, self.amount.total)?;
        rules::notify_url(self.notify_url, 255)?;
        rules::at_least("out_trade_no", self.out_trade_no, 6)?;
        rules::id("payer.openid", self.payer.openid, usize::MAX)?;
        self.contract_info.check()?;
        self.options.check()?;
        Ok(Request::post("/v3/pay/transactions/jsapi-with-contract")
            .json(self)
            .uncorrelated())
    }
}

/// Places an order with a contract JSAPI下单并授权, as a service provider 服务商 or an e-commerce platform 电商收付通.
///
/// The order itself moves no money. The user pays with the `prepay_id`, within two hours.
///
/// After an unknown outcome, send the order again unchanged, which returns a `prepay_id` again, or query it by its
/// `out_trade_no`. Do not order under another number, since the user could pay both. To change an order, close it and place
/// it under a new number.
///
/// The response repeats no field of the order. If a broken gateway or proxy returns another order's response, the
/// client cannot detect it. So compare `amount` and `attach` of the notification or of [`QueryOrder`] with your own
/// record before you deliver. Query the order if the user sees another order on the payment page.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012526951>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartnerJsapiOrder<'a> {
    /// The service provider's AppID 服务商应用ID, up to 32 characters.
    pub sp_appid: &'a str,
    /// The service provider's merchant id 服务商户号, up to 32 characters.
    pub sp_mchid: &'a str,
    /// The sub-merchant's AppID 子商户应用ID, up to 32 characters. Required if the payer is named by `sub_openid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_appid: Option<&'a str>,
    /// The sub-merchant's id 子商户号, up to 32 characters.
    pub sub_mchid: &'a str,
    /// The description of the goods 商品描述, up to 127 characters.
    pub description: &'a str,
    /// The number of the order 商户订单号: up to 32 ASCII digits, letters, `_`, `-` and `*`, unique for the merchant.
    pub out_trade_no: &'a str,
    /// The URL to which WeChat Pay sends the notification of the payment 通知地址: HTTPS, without a query, up to 255
    /// characters. A NAT address or private name on a dedicated line 专线 may use plain HTTP.
    pub notify_url: &'a str,
    /// The amount to pay 订单金额.
    pub amount: Amount<'a>,
    /// The user who pays 支付者.
    pub payer: PartnerPayer<'a>,
    /// The contract 签约授权信息.
    pub contract_info: ContractInfo<'a>,
    /// The optional fields. `OrderOptions::default()` leaves all of them out.
    #[serde(flatten)]
    pub options: OrderOptions<'a>,
}

impl Endpoint for PartnerJsapiOrder<'_> {
    type Response = Prepay;

    fn request(&self) -> Result<Request, InvalidField> {
        rules::id("sp_appid", self.sp_appid, 32)?;
        rules::id("sp_mchid", self.sp_mchid, 32)?;
        let is_right = self.sub_appid.is_some() || matches!(self.payer, PartnerPayer::SpOpenid(_));
        rules::ensure(is_right, "sub_appid", || {
            "is absent: wanted the AppID to which payer.sub_openid belongs".to_owned()
        })?;
        rules::optional_id("sub_appid", self.sub_appid, 32)?;
        rules::id("sub_mchid", self.sub_mchid, 32)?;
        check_order(self.description, self.out_trade_no, self.amount.total)?;
        rules::partner_notify_url(self.notify_url, 255)?;
        self.payer.check(usize::MAX)?;
        self.contract_info.check()?;
        self.options.check()?;
        Ok(
            Request::post("/v3/pay/partner/transactions/jsapi-with-contract")
                .json(self)
                .uncorrelated(),
        )
    }
}

/// The amount to pay 订单金额.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Amount<'a> {
    /// The total 总金额, in fen 分: 1 at least.
    pub total: u64,
    /// The currency 货币类型. If absent, it is `CNY`, the only one for merchants in mainland China.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<&'a str>,
}

impl Amount<'_> {
    /// Makes an amount in fen 分, hundredths of a yuan, without a currency.
    pub const fn fen(total: u64) -> Self {
        Self {
            total,
            currency: None,
        }
    }
}

/// The payer of a direct merchant's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Payer<'a> {
    /// The user's openid under the merchant's AppID 用户标识. Up to 128 characters, as inferred from orders without a
    /// contract.
    pub openid: &'a str,
}

one_identifier_of_two! {
    /// The payer of a sub-merchant's order, named by one of the two identifiers or by both.
    PartnerPayer, within: "payer.",
    /// `sp_openid` 用户服务标识: the user's openid under `sp_appid`. Up to 128 characters, as inferred from
    /// orders without a contract.
    SpOpenid: sp_openid,
    /// `sub_openid` 用户子标识: the user's openid under `sub_appid`, which is required then. Up to 128 characters, as
    /// inferred from orders without a contract.
    SubOpenid: sub_openid,
}

/// The contract that an order uses 签约授权信息: a password-exempt contract, or a token of another product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractInfo<'a> {
    /// The id of a password-exempt contract 免密协议ID. Inferred from the names: it is the
    /// [`contract_id`](crate::Contract::contract_id) that [`QueryContract`](crate::QueryContract) returns.
    PasswordFreeContractId(&'a str),
    /// The token of a pre-authorized deduction service 扣费服务预授权token, which belongs to another product.
    Token(&'a str),
}

impl ContractInfo<'_> {
    fn check(self) -> Result<(), InvalidField> {
        let (field, value) = match self {
            Self::PasswordFreeContractId(id) => ("contract_info.password_free_contract_id", id),
            Self::Token(token) => ("contract_info.token", token),
        };
        rules::id(field, value, usize::MAX)
    }
}

/// The response to an order.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012526910>,
/// <https://pay.weixin.qq.com/doc/v3/partner/4012526951>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Prepay {
    /// The id with which the user pays 预支付交易会话标识, up to 64 characters. It is valid for two hours.
    pub prepay_id: String,
}

/// Checks the fields that both kinds of order have.
fn check_order(description: &str, out_trade_no: &str, total: u64) -> Result<(), InvalidField> {
    rules::required_up_to("description", description, 127)?;
    rules::out_trade_no(out_trade_no)?;
    rules::ensure(total > 0, "amount.total", || {
        "is 0: wanted 1 at least".to_owned()
    })
}
