//! The query of an order, and the transaction that it returns, which a payment notification holds too.

use serde::{Deserialize, Serialize};

use crate::contract::check_optional;
use crate::error::{InvalidField, Mismatch};
use crate::json::null_as_default;
use crate::open_enum::open_enum;
use crate::request::{Endpoint, Request};
use crate::rules;

/// Queries an order by either of its numbers 查询订单.
///
/// The query changes nothing, so it can be repeated after any outcome. 404 `ORDER_NOT_EXIST` (`ORDERNOTEXIST` on older
/// pages) means that the order was never placed. [`ApiError::has_code`](crate::ApiError::has_code) matches both spellings.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012526919>, <https://pay.weixin.qq.com/doc/v3/merchant/4012526922>,
/// for partners <https://pay.weixin.qq.com/doc/v3/partner/4012526944>,
/// <https://pay.weixin.qq.com/doc/v3/partner/4012526943>.
///
/// ```
/// use wechatpay_contract::Endpoint;
/// use wechatpay_contract::order::{OrderNumber, Payee, QueryOrder};
///
/// let query = QueryOrder {
///     payee: Payee::Merchant { mchid: "1230000109" },
///     order: OrderNumber::OutTradeNo("1217752501201407033233368018"),
/// };
/// assert_eq!(
///     query.request()?.target()?,
///     "/v3/pay/transactions/out-trade-no/1217752501201407033233368018?mchid=1230000109",
/// );
/// # Ok::<(), wechatpay_contract::InvalidField>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryOrder<'a> {
    /// The merchant who receives the payment.
    pub payee: Payee<'a>,
    /// The order. An order that is not paid can only be queried by its `out_trade_no`.
    pub order: OrderNumber<'a>,
}

impl Endpoint for QueryOrder<'_> {
    type Response = Transaction;

    fn request(&self) -> Result<Request, InvalidField> {
        self.payee.check()?;
        self.order.check()?;
        let call = match self.order {
            OrderNumber::OutTradeNo(_) => "out-trade-no/{out_trade_no}",
            OrderNumber::TransactionId(_) => "id/{transaction_id}",
        };
        let (name, number) = self.order.field();
        let request = Request::get(self.payee.template(call)).path(name, number);
        let ids = self.payee.fields();
        Ok(ids.fold(request, |request, (name, id)| request.query(name, id)))
    }

    fn check(&self, response: &Transaction, _: &str) -> Result<(), Mismatch> {
        response.check_payee(self.payee)?;
        // Only an order that is not paid has none.
        let transaction_id = response.transaction_id.as_deref().unwrap_or_default();
        self.order.compare(&response.out_trade_no, transaction_id)
    }
}

/// The merchant who receives the payment. A query or a closing takes the merchant ids that the order has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Payee<'a> {
    /// A direct merchant 直连商户.
    Merchant {
        /// The merchant id 直连商户号, up to 32 characters.
        mchid: &'a str,
    },
    /// A sub-merchant of a service provider 服务商 or of an e-commerce platform 电商收付通.
    SubMerchant {
        /// The service provider's merchant id 服务商户号, up to 32 characters.
        sp_mchid: &'a str,
        /// The sub-merchant id 子商户号, up to 32 characters.
        sub_mchid: &'a str,
    },
}

impl<'a> Payee<'a> {
    fn fields(self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let (first, second) = match self {
            Self::Merchant { mchid } => (("mchid", mchid), None),
            Self::SubMerchant {
                sp_mchid,
                sub_mchid,
            } => (("sp_mchid", sp_mchid), Some(("sub_mchid", sub_mchid))),
        };
        std::iter::once(first).chain(second)
    }

    /// Returns the path template of a call about an order.
    pub(super) fn template(self, call: &str) -> String {
        match self {
            Self::Merchant { .. } => format!("/v3/pay/transactions/{call}"),
            Self::SubMerchant { .. } => format!("/v3/pay/partner/transactions/{call}"),
        }
    }

    pub(super) fn check(self) -> Result<(), InvalidField> {
        self.fields()
            .try_for_each(|(field, id)| rules::id(field, id, 32))
    }
}

/// The number of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderNumber<'a> {
    /// The merchant's number 商户订单号, up to 32 characters.
    OutTradeNo(&'a str),
    /// WeChat Pay's number 微信支付订单号, up to 32 characters. Only paid orders have it.
    TransactionId(&'a str),
}

impl OrderNumber<'_> {
    fn field(&self) -> (&'static str, &str) {
        match self {
            Self::OutTradeNo(number) => ("out_trade_no", number),
            Self::TransactionId(id) => ("transaction_id", id),
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidField> {
        let (field, number) = self.field();
        rules::id(field, number, 32)
    }

    /// Compares with the number of the same kind in a response.
    pub(super) fn compare(self, out_trade_no: &str, transaction_id: &str) -> Result<(), Mismatch> {
        match self {
            Self::OutTradeNo(sent) => Mismatch::check("out_trade_no", sent, out_trade_no),
            Self::TransactionId(sent) => Mismatch::check("transaction_id", sent, transaction_id),
        }
    }
}

/// An order in WeChat Pay's records: the response to [`QueryOrder`], and the content of a payment notification.
///
/// Before you deliver, check [`is_paid`](Self::is_paid) and compare this with your own record by
/// [`check_order`](Self::check_order).
///
/// Sources: the pages of [`QueryOrder`], for the notification <https://pay.weixin.qq.com/doc/v3/merchant/4012791902>,
/// <https://pay.weixin.qq.com/doc/v3/partner/4012085801>. Inferred: an order with a contract has the same fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Transaction {
    /// The direct merchant's AppID 公众账号ID.
    pub appid: Option<String>,
    /// The direct merchant's id 商户号.
    pub mchid: Option<String>,
    /// The service provider's AppID 服务商应用ID.
    pub sp_appid: Option<String>,
    /// The service provider's merchant id 服务商户号.
    pub sp_mchid: Option<String>,
    /// The sub-merchant's AppID 子商户应用ID, if the order named it.
    pub sub_appid: Option<String>,
    /// The sub-merchant's id 子商户号.
    pub sub_mchid: Option<String>,
    /// The merchant's order number 商户订单号, up to 32 characters.
    pub out_trade_no: String,
    /// WeChat Pay's order number 微信支付订单号, up to 32 characters. Only paid orders have it.
    pub transaction_id: Option<String>,
    /// The trade type 交易类型. Only paid orders have it.
    pub trade_type: Option<TradeType>,
    /// The state of the order 交易状态.
    pub trade_state: TradeState,
    /// The state as text 交易状态描述, up to 256 characters.
    pub trade_state_desc: Option<String>,
    /// The user's bank 银行类型, such as `CMB_DEBIT`, or `OTHERS`. Only paid orders have it.
    pub bank_type: Option<String>,
    /// The merchant's own data of the order 商户数据包, up to 128 characters. Only paid orders have it.
    pub attach: Option<String>,
    /// The time of the payment 支付完成时间, in the form of RFC 3339: `2018-06-08T10:34:56+08:00`.
    pub success_time: Option<String>,
    /// The user who paid 支付者. Only paid orders have it.
    pub payer: Option<TransactionPayer>,
    /// The amounts 订单金额.
    pub amount: Option<TransactionAmount>,
    /// The place of the payment 场景信息.
    pub scene_info: Option<TransactionScene>,
    /// The coupons that were used 优惠功能.
    #[serde(default, deserialize_with = "null_as_default")]
    pub promotion_detail: Vec<Promotion>,
}

impl Transaction {
    /// Returns `true` if the user paid the order, even if it was refunded later.
    pub fn is_paid(&self) -> bool {
        matches!(self.trade_state, TradeState::Success | TradeState::Refund)
    }

    /// Compares this with the merchant's own record of the order: the `out_trade_no`, the merchant ids, the AppIDs, the
    /// total and the currency.
    ///
    /// It ignores the state, and `payer_total`, which is below the total if the user has a coupon. Before the payment,
    /// WeChat Pay may leave out the total and the currency.
    ///
    /// ```
    /// use wechatpay_contract::order::{OwnOrder, Payee, Transaction};
    ///
    /// let paid: Transaction = serde_json::from_str(
    ///     r#"{
    ///         "appid": "wxd678efh567hg6787", "mchid": "1230000109", "trade_state": "SUCCESS",
    ///         "out_trade_no": "1217752501201407033233368018",
    ///         "amount": {"total": 100, "payer_total": 90, "currency": "CNY", "payer_currency": "CNY"}
    ///     }"#,
    /// )?;
    /// let own = OwnOrder {
    ///     payee: Payee::Merchant { mchid: "1230000109" },
    ///     appid: "wxd678efh567hg6787",
    ///     sub_appid: None,
    ///     out_trade_no: "1217752501201407033233368018",
    ///     total: 100,
    ///     currency: "CNY",
    /// };
    /// assert!(paid.is_paid() && paid.check_order(&own).is_ok());
    /// let difference = paid.check_order(&OwnOrder { total: 101, ..own }).unwrap_err();
    /// assert_eq!(difference.field, "amount.total");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Mismatch`] with the first field that differs. A missing id counts as different. So does a missing total or currency
    /// of a paid order.
    pub fn check_order(&self, order: &OwnOrder<'_>) -> Result<(), Mismatch> {
        Mismatch::check("out_trade_no", order.out_trade_no, &self.out_trade_no)?;
        self.check_payee(order.payee)?;
        match order.payee {
            Payee::Merchant { .. } => same("appid", order.appid, self.appid.as_deref())?,
            Payee::SubMerchant { .. } => same("sp_appid", order.appid, self.sp_appid.as_deref())?,
        }
        if let Some(sub_appid) = order.sub_appid {
            same("sub_appid", sub_appid, self.sub_appid.as_deref())?;
        }
        let (amount, is_paid) = (self.amount.as_ref(), self.is_paid());
        let total = amount.and_then(|amount| amount.total.as_ref());
        check_optional("amount.total", &order.total, total, is_paid)?;
        let currency = amount.and_then(|amount| amount.currency.as_deref());
        check_optional("amount.currency", order.currency, currency, is_paid)
    }

    fn check_payee(&self, payee: Payee<'_>) -> Result<(), Mismatch> {
        match payee {
            Payee::Merchant { mchid } => same("mchid", mchid, self.mchid.as_deref()),
            Payee::SubMerchant {
                sp_mchid,
                sub_mchid,
            } => {
                same("sp_mchid", sp_mchid, self.sp_mchid.as_deref())?;
                same("sub_mchid", sub_mchid, self.sub_mchid.as_deref())
            }
        }
    }
}

/// Compares a value with the received one, which counts as empty if it is absent.
fn same(field: &'static str, sent: &str, received: Option<&str>) -> Result<(), Mismatch> {
    Mismatch::check(field, sent, received.unwrap_or_default())
}

/// The merchant's own record of an order, for [`Transaction::check_order`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnOrder<'a> {
    /// The merchant who receives the payment.
    pub payee: Payee<'a>,
    /// `appid` of the order, for a partner `sp_appid`.
    pub appid: &'a str,
    /// `sub_appid` of a partner's order, if it has one.
    pub sub_appid: Option<&'a str>,
    /// The merchant's order number.
    pub out_trade_no: &'a str,
    /// The total of the order, in fen 分.
    pub total: u64,
    /// The currency of the order: `CNY`, unless the order named another.
    pub currency: &'a str,
}

open_enum! {
    /// The state of an order 交易状态.
    ///
    /// `NOTPAY` becomes `SUCCESS` or `CLOSED`, and `SUCCESS` becomes `REFUND`. After a failed attempt to pay, the state
    /// stays `NOTPAY`.
    TradeState {
        /// The order is paid.
        Success = "SUCCESS",
        /// The order is paid, and a refund was started. The refund's query returns its amount and state.
        Refund = "REFUND",
        /// The order is not paid.
        NotPay = "NOTPAY",
        /// The order is closed and can never be paid.
        Closed = "CLOSED",
        /// The payment was revoked. Documented for payment codes only.
        Revoked = "REVOKED",
        /// The user is paying. Documented for payment codes only.
        UserPaying = "USERPAYING",
        /// The payment failed. Documented for payment codes only.
        PayError = "PAYERROR",
        /// The order is accepted and waits for the debit. Documented for platforms in 2021.
        Accept = "ACCEPT",
    }
}

open_enum! {
    /// The trade type of an order 交易类型.
    TradeType {
        /// Official account or mini program. Inferred: orders with a contract have it too.
        Jsapi = "JSAPI",
        /// QR code that the user scans.
        Native = "NATIVE",
        /// App.
        App = "APP",
        /// Payment code.
        MicroPay = "MICROPAY",
        /// Mobile web page.
        MWeb = "MWEB",
        /// Face recognition.
        FacePay = "FACEPAY",
    }
}

/// The user who paid an order 支付者.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransactionPayer {
    /// The user's openid under the direct merchant's `appid` 用户标识, up to 128 characters.
    pub openid: Option<String>,
    /// The user's openid under `sp_appid` 用户服务标识, up to 128 characters.
    pub sp_openid: Option<String>,
    /// The user's openid under `sub_appid` 用户子标识, up to 128 characters.
    pub sub_openid: Option<String>,
}

/// The amounts of an order 订单金额.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransactionAmount {
    /// The total 总金额, in fen 分.
    pub total: Option<u64>,
    /// The amount that the user paid 用户支付金额, in fen 分: the total minus coupons. Only paid orders have it.
    pub payer_total: Option<u64>,
    /// The currency 货币类型: `CNY`. Only paid orders have it.
    pub currency: Option<String>,
    /// The currency in which the user paid 用户支付币种.
    pub payer_currency: Option<String>,
}

/// The place of a payment 场景信息.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransactionScene {
    /// The merchant's device number 商户端设备号, up to 32 characters. It may be empty.
    pub device_id: Option<String>,
}

/// A coupon that was used for an order 优惠功能.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Promotion {
    /// The coupon's id 券ID, up to 32 characters.
    pub coupon_id: String,
    /// Its name 优惠名称.
    pub name: Option<String>,
    /// `GLOBAL` for the whole order or `SINGLE` for single goods 优惠范围.
    pub scope: Option<String>,
    /// `CASH` for a funded coupon, `NOCASH` for an unfunded one 优惠类型.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The discount 优惠券面额, in fen 分.
    pub amount: u64,
    /// The campaign's id 活动ID, up to 32 characters.
    pub stock_id: Option<String>,
    /// The part that WeChat Pay contributes 微信出资, in fen 分.
    pub wechatpay_contribute: Option<u64>,
    /// The part that the merchant contributes 商户出资, in fen 分.
    pub merchant_contribute: Option<u64>,
    /// The part that others contribute 其他出资, in fen 分.
    pub other_contribute: Option<u64>,
    /// The currency 优惠币种.
    pub currency: Option<String>,
    /// The goods of a `SINGLE` coupon 单品列表.
    #[serde(default, deserialize_with = "null_as_default")]
    pub goods_detail: Vec<PromotionGoods>,
}

/// The goods for which a coupon was used 单品.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PromotionGoods {
    /// The merchant's code for the goods 商品编码, up to 32 characters.
    pub goods_id: Option<String>,
    /// The quantity 商品数量.
    pub quantity: Option<u64>,
    /// The unit price 商品单价, in fen 分.
    pub unit_price: Option<u64>,
    /// The discount 商品优惠金额, in fen 分.
    pub discount_amount: Option<u64>,
    /// A remark 商品备注, up to 128 characters.
    pub goods_remark: Option<String>,
}
