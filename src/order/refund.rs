//! Refunds of direct merchants, of service providers and of e-commerce platforms 电商收付通. Platforms have calls of their
//! own.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::OrderNumber;
use crate::contract::check_optional;
use crate::error::{ApiError, InvalidField, Mismatch};
use crate::json::null_as_default;
use crate::open_enum::open_enum;
use crate::request::{Endpoint, Request};
use crate::rules;

/// Refunds a paid order in part or in whole 申请退款, as a direct merchant or a service provider. An e-commerce platform
/// has its own call, [`CreatePlatformRefund`].
///
/// A response of success means that the refund was accepted, not that the user has the money. The notification, or a
/// [`QueryRefund`] a minute later, has its [`status`](Refund::status).
///
/// **After an unknown outcome, never take a new `out_refund_no`**: that may refund twice. One number refunds once, however
/// often it is sent. Query the refund. If it is not found, or the query fails, send the same number again with the same fields.
/// After 429 the outcome is unknown too, since the refund may be under way. Only a refund that is `CLOSED` needs a new
/// number.
///
/// An order can be refunded within 365 days of the payment, at most 50 times, with a minute between two refunds.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012791903>, for service providers
/// <https://pay.weixin.qq.com/doc/v3/partner/4012760121>.
///
/// ```
/// use wechatpay_contract::Endpoint;
/// use wechatpay_contract::order::{CreateRefund, OrderNumber, RefundAmount, RefundOptions};
///
/// let refund = CreateRefund {
///     sub_mchid: None,
///     order: OrderNumber::OutTradeNo("1217752501201407033233368018"),
///     out_refund_no: "1217752501201407033233368018",
///     amount: RefundAmount::fen(888, 888),
///     goods_detail: &[],
///     options: RefundOptions { reason: Some("商品已售完"), ..RefundOptions::default() },
/// };
/// assert_eq!(refund.request()?.target()?, "/v3/refund/domestic/refunds");
/// # Ok::<(), wechatpay_contract::InvalidField>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CreateRefund<'a> {
    /// The sub-merchant's id 子商户号, up to 32 characters: for service providers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_mchid: Option<&'a str>,
    /// The paid order.
    #[serde(flatten)]
    pub order: OrderNumber<'a>,
    /// The merchant's refund number 商户退款单号: 1 to 64 ASCII digits, letters, `_`, `-`, `|`, `*` and `@`, unique
    /// for the merchant, or for the service provider if there is one.
    pub out_refund_no: &'a str,
    /// The amounts 金额信息.
    pub amount: RefundAmount<'a>,
    /// The goods that are refunded, as the order names them 退款商品. Empty if the refund is for no particular goods.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub goods_detail: &'a [RefundGoods<'a>],
    /// The optional fields. `RefundOptions::default()` leaves all of them out.
    #[serde(flatten)]
    pub options: RefundOptions<'a>,
}

impl Endpoint for CreateRefund<'_> {
    type Response = Refund;

    fn request(&self) -> Result<Request, InvalidField> {
        rules::optional_id("sub_mchid", self.sub_mchid, 32)?;
        check_refund(self.order, self.out_refund_no, &self.amount, &self.options)?;
        let ids = self.goods_detail.iter().map(|item| item.merchant_goods_id);
        rules::goods_ids("goods_detail", ids)?;
        Ok(Request::post("/v3/refund/domestic/refunds").json(self))
    }

    fn check(&self, response: &Refund, _: &str) -> Result<(), Mismatch> {
        Mismatch::check("out_refund_no", self.out_refund_no, &response.out_refund_no)?;
        self.order
            .compare(&response.out_trade_no, &response.transaction_id)?;
        self.amount.compare(&response.amount, true)
    }

    /// 429 or `FREQUENCY_LIMITED` can mean that the refund is under way.
    fn is_inconclusive(&self, error: &ApiError) -> bool {
        error.is_rate_limited()
    }
}

/// Refunds a sub-merchant's paid order in part or in whole 申请退款, as an e-commerce platform.
///
/// A response of success means only that the refund was accepted. [`QueryPlatformRefund`] or the notification has its
/// status.
///
/// **After an unknown outcome, and after 429, never take a new `out_refund_no`**: that may refund twice. Query the
/// refund. If it is not found, or the query fails, send the same number again with the same fields. Send it a minute
/// later at the earliest, since one refund request per order and minute is allowed.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012476892>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CreatePlatformRefund<'a> {
    /// The sub-merchant's id 二级商户号, up to 32 characters.
    pub sub_mchid: &'a str,
    /// The platform's AppID 电商平台APPID, up to 32 characters.
    pub sp_appid: &'a str,
    /// The sub-merchant's AppID 二级商户APPID, up to 32 characters, if one is bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_appid: Option<&'a str>,
    /// The paid order.
    #[serde(flatten)]
    pub order: OrderNumber<'a>,
    /// The platform's refund number 商户退款单号: 1 to 64 ASCII digits, letters, `_`, `-`, `|`, `*` and `@`, unique.
    pub out_refund_no: &'a str,
    /// The amounts 订单金额.
    pub amount: RefundAmount<'a>,
    /// The merchant who pays for the refund 退款出资商户. With `REFUND_SOURCE_SUB_MERCHANT`, the default, the sub-merchant
    /// pays. `REFUND_SOURCE_PARTNER_ADVANCE` lets the platform advance the money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_account: Option<&'a str>,
    /// The optional fields. `RefundOptions::default()` leaves all of them out.
    #[serde(flatten)]
    pub options: RefundOptions<'a>,
}

impl Endpoint for CreatePlatformRefund<'_> {
    type Response = AcceptedRefund;

    fn request(&self) -> Result<Request, InvalidField> {
        rules::id("sub_mchid", self.sub_mchid, 32)?;
        rules::id("sp_appid", self.sp_appid, 32)?;
        rules::optional_id("sub_appid", self.sub_appid, 32)?;
        check_refund(self.order, self.out_refund_no, &self.amount, &self.options)?;
        rules::optional_id("refund_account", self.refund_account, 32)?;
        Ok(Request::post("/v3/ecommerce/refunds/apply").json(self))
    }

    fn check(&self, response: &AcceptedRefund, _: &str) -> Result<(), Mismatch> {
        Mismatch::check("out_refund_no", self.out_refund_no, &response.out_refund_no)?;
        self.amount.compare(&response.amount, false)
    }

    /// 429 or `FREQUENCY_LIMITED` can mean that the refund is under way.
    fn is_inconclusive(&self, error: &ApiError) -> bool {
        error.is_rate_limited()
    }
}

impl CreatePlatformRefund<'_> {
    /// Compares a queried refund with this request: the numbers, and the amounts that the response has.
    ///
    /// Use this when you query after an unknown outcome: it detects that another refund was made under the same number.
    /// For a [`CreateRefund`], use [`Endpoint::check`].
    ///
    /// # Errors
    ///
    /// [`Mismatch`] with the first field that differs.
    pub fn check_refund(&self, refund: &Refund) -> Result<(), Mismatch> {
        Mismatch::check("out_refund_no", self.out_refund_no, &refund.out_refund_no)?;
        self.order
            .compare(&refund.out_trade_no, &refund.transaction_id)?;
        self.amount.compare(&refund.amount, false)
    }
}

/// Queries a refund by the merchant's number 查询单笔退款, as a direct merchant or a service provider.
///
/// Wait a minute after the creation of the refund before the first query. Then query once a minute, and less often
/// after 5 minutes. The query changes nothing, so it can be repeated after any outcome. 404 `RESOURCE_NOT_EXISTS` means
/// that there is no such refund.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012791904>, for service providers
/// <https://pay.weixin.qq.com/doc/v3/partner/4012760128>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryRefund<'a> {
    /// The sub-merchant's id 子商户号, up to 32 characters: for service providers only.
    pub sub_mchid: Option<&'a str>,
    /// The merchant's refund number 商户退款单号.
    pub out_refund_no: &'a str,
}

impl Endpoint for QueryRefund<'_> {
    type Response = Refund;

    fn request(&self) -> Result<Request, InvalidField> {
        rules::optional_id("sub_mchid", self.sub_mchid, 32)?;
        rules::out_refund_no(self.out_refund_no)?;
        let request = Request::get("/v3/refund/domestic/refunds/{out_refund_no}")
            .path("out_refund_no", self.out_refund_no);
        Ok(match self.sub_mchid {
            Some(sub_mchid) => request.query("sub_mchid", sub_mchid),
            None => request,
        })
    }

    fn check(&self, response: &Refund, _: &str) -> Result<(), Mismatch> {
        Mismatch::check("out_refund_no", self.out_refund_no, &response.out_refund_no)
    }
}

/// Queries a refund by either of its numbers 查询退款, as an e-commerce platform.
///
/// The query changes nothing, so it can be repeated after any outcome. 404 `RESOURCE_NOT_EXISTS` means that there is no
/// such refund.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/partner/4012476911>, <https://pay.weixin.qq.com/doc/v3/partner/4012476908>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryPlatformRefund<'a> {
    /// The sub-merchant's id 二级商户号, up to 32 characters.
    pub sub_mchid: &'a str,
    /// The refund.
    pub refund: RefundNumber<'a>,
}

/// The number of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundNumber<'a> {
    /// The platform's number 商户退款单号, up to 64 characters.
    OutRefundNo(&'a str),
    /// WeChat Pay's number 微信退款单号, up to 32 characters.
    RefundId(&'a str),
}

impl Endpoint for QueryPlatformRefund<'_> {
    type Response = Refund;

    fn request(&self) -> Result<Request, InvalidField> {
        rules::id("sub_mchid", self.sub_mchid, 32)?;
        let request = match self.refund {
            RefundNumber::OutRefundNo(number) => {
                rules::out_refund_no(number)?;
                Request::get("/v3/ecommerce/refunds/out-refund-no/{out_refund_no}")
                    .path("out_refund_no", number)
            }
            RefundNumber::RefundId(id) => {
                rules::id("refund_id", id, 32)?;
                Request::get("/v3/ecommerce/refunds/id/{refund_id}").path("refund_id", id)
            }
        };
        Ok(request.query("sub_mchid", self.sub_mchid))
    }

    fn check(&self, response: &Refund, _: &str) -> Result<(), Mismatch> {
        match self.refund {
            RefundNumber::OutRefundNo(number) => {
                Mismatch::check("out_refund_no", number, &response.out_refund_no)
            }
            RefundNumber::RefundId(id) => Mismatch::check("refund_id", id, &response.refund_id),
        }
    }
}

/// The amounts of a refund that is requested 金额信息.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RefundAmount<'a> {
    /// The amount to refund 退款金额, in fen 分: from 1 to the part of the total that is not refunded yet.
    pub refund: u64,
    /// The total of the **order** 原订单金额, in fen 分.
    pub total: u64,
    /// The currency 退款币种: `CNY`.
    pub currency: &'a str,
    /// The accounts that pay for the refund 退款出资账户及金额. Each is named once, and their sum is `refund`. Empty for the
    /// default account.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub from: &'a [RefundSource<'a>],
}

impl RefundAmount<'_> {
    /// Makes the amounts of a refund, in `CNY`, from the default account. `refund` and the order's `total` are in
    /// fen 分.
    pub const fn fen(refund: u64, total: u64) -> Self {
        Self {
            refund,
            total,
            currency: "CNY",
            from: &[],
        }
    }

    fn check(&self) -> Result<(), InvalidField> {
        let (refund, total) = (self.refund, self.total);
        rules::ensure((1..=total).contains(&refund), "amount.refund", || {
            format!("found {refund}: wanted 1 to amount.total, {total}")
        })?;
        rules::required("amount.currency", self.currency)?;
        let amounts = self.from.iter().map(|source| u128::from(source.amount));
        let adds_up = self.from.is_empty() || amounts.sum::<u128>() == u128::from(refund);
        rules::ensure(adds_up, "amount.from", || {
            format!("has the wrong sum: wanted amount.refund, {refund}")
        })?;
        let accounts: HashSet<_> = self.from.iter().map(|source| source.account).collect();
        rules::ensure(accounts.len() == self.from.len(), "amount.from", || {
            "has an account twice: wanted it once".to_owned()
        })
    }

    /// Compares with the amounts of a response. Unless `is_whole`, the response may lack the total and the currency, as
    /// responses to platforms do.
    fn compare(&self, received: &RefundedAmount, is_whole: bool) -> Result<(), Mismatch> {
        Mismatch::check("amount.refund", &self.refund, &received.refund)?;
        let (total, currency) = (received.total.as_ref(), received.currency.as_deref());
        check_optional("amount.total", &self.total, total, is_whole)?;
        check_optional("amount.currency", self.currency, currency, is_whole)
    }
}

/// An account that pays for a refund, and the part that it pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RefundSource<'a> {
    /// `AVAILABLE` 可用余额 or `UNAVAILABLE` 不可用余额.
    pub account: &'a str,
    /// The part that it pays, in fen 分.
    pub amount: u64,
}

/// The optional fields of a refund. `..RefundOptions::default()` leaves out the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RefundOptions<'a> {
    /// The reason that the user sees 退款原因, up to **80 bytes**, which are 26 Chinese characters. Not shown for a partial
    /// refund of 1 yuan or less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The URL to which WeChat Pay sends the notification of the refund 退款结果回调url: HTTPS, without a query, up to 256
    /// characters. It has priority over the one set in the merchant platform. Inferred: if neither is set, no
    /// notification is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_url: Option<&'a str>,
    /// The account that pays for the refund 退款资金来源: `AVAILABLE`, or `UNSETTLED` for travel deposits. Not together with
    /// [`RefundAmount::from`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub funds_account: Option<&'a str>,
}

/// Goods that are refunded 退款商品.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RefundGoods<'a> {
    /// The merchant's code for the goods 商户侧商品编码, up to 32 characters. Required.
    pub merchant_goods_id: &'a str,
    /// WeChat Pay's code for the goods 微信支付商品编码, up to 32 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wechatpay_goods_id: Option<&'a str>,
    /// The name of the goods 商品名称, up to 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goods_name: Option<&'a str>,
    /// The unit price 商品单价, in fen 分. Required.
    pub unit_price: u64,
    /// The amount to refund for the goods 商品退款金额, in fen 分. Required.
    pub refund_amount: u64,
    /// The quantity 商品退货数量. Required.
    pub refund_quantity: u64,
}

/// Checks the fields that the refunds of merchants and of platforms have in common.
fn check_refund(
    order: OrderNumber<'_>,
    out_refund_no: &str,
    amount: &RefundAmount<'_>,
    options: &RefundOptions<'_>,
) -> Result<(), InvalidField> {
    order.check()?;
    rules::out_refund_no(out_refund_no)?;
    amount.check()?;
    rules::up_to_bytes("reason", options.reason.unwrap_or_default(), 80)?;
    if let Some(notify_url) = options.notify_url {
        rules::notify_url(notify_url, 256)?;
    }
    let is_one = options.funds_account.is_none() || amount.from.is_empty();
    rules::ensure(is_one, "funds_account", || {
        "found it beside amount.from: wanted one of the two".to_owned()
    })
}

/// A refund in WeChat Pay's records: the response to [`CreateRefund`], [`QueryRefund`] and
/// [`QueryPlatformRefund`].
///
/// Sources: the pages of the three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refund {
    /// WeChat Pay's refund number 微信支付退款单号, up to 32 characters.
    pub refund_id: String,
    /// The merchant's refund number 商户退款单号, up to 64 characters.
    pub out_refund_no: String,
    /// WeChat Pay's order number 微信支付订单号, up to 32 characters.
    pub transaction_id: String,
    /// The merchant's order number 商户订单号, up to 32 characters.
    pub out_trade_no: String,
    /// The refund channel 退款渠道. Only the platforms' pages call it optional.
    pub channel: Option<RefundChannel>,
    /// The account that receives the money, as text 退款入账账户, up to 64 characters. Only the platforms' pages call it
    /// optional.
    pub user_received_account: Option<String>,
    /// The time of the success 退款成功时间, in the form of RFC 3339. Present only with the status `SUCCESS`.
    pub success_time: Option<String>,
    /// The time of the creation 退款创建时间, in the form of RFC 3339.
    pub create_time: String,
    /// The state of the refund 退款状态.
    pub status: RefundStatus,
    /// The kind of account that pays 资金账户, such as `UNSETTLED` or `AVAILABLE`.
    pub funds_account: Option<String>,
    /// The amounts 金额信息.
    pub amount: RefundedAmount,
    /// The discounts that are refunded 优惠退款信息.
    #[serde(default, deserialize_with = "null_as_default")]
    pub promotion_detail: Vec<RefundedPromotion>,
    /// The merchant who pays for a platform's refund 退款出资商户: `REFUND_SOURCE_SUB_MERCHANT` or
    /// `REFUND_SOURCE_PARTNER_ADVANCE`.
    pub refund_account: Option<String>,
}

/// A platform's refund that was accepted. It has no state yet.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012476892>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AcceptedRefund {
    /// WeChat Pay's refund number 微信退款单号, up to 32 characters.
    pub refund_id: String,
    /// The platform's refund number 商户退款单号, up to 64 characters.
    pub out_refund_no: String,
    /// The time of the creation 退款创建时间, in the form of RFC 3339.
    pub create_time: String,
    /// The amounts 订单金额.
    pub amount: RefundedAmount,
    /// The discounts that are refunded 优惠退款详情.
    #[serde(default, deserialize_with = "null_as_default")]
    pub promotion_detail: Vec<RefundedPromotion>,
    /// The merchant who pays for the refund 退款出资商户. Absent until that is decided.
    pub refund_account: Option<String>,
}

open_enum! {
    /// The state of a refund 退款状态.
    RefundStatus {
        /// The money is on the user's account.
        Success = "SUCCESS",
        /// The refund will not happen. Create it again under a new `out_refund_no`. The page of the
        /// platform's call also names `CLOSE`, which is read as `CLOSED`.
        Closed = "CLOSED" | "CLOSE",
        /// The refund is under way.
        Processing = "PROCESSING",
        /// The user's bank refused the money. Handle it in the merchant platform. `SUCCESS` can follow.
        Abnormal = "ABNORMAL",
    }
}

open_enum! {
    /// The channel of a refund 退款渠道.
    RefundChannel {
        /// Back to the original payment method.
        Original = "ORIGINAL",
        /// To the user's balance.
        Balance = "BALANCE",
        /// To another balance, after an abnormal refund.
        OtherBalance = "OTHER_BALANCE",
        /// To another card, after an abnormal refund.
        OtherBankcard = "OTHER_BANKCARD",
    }
}

/// The amounts of a refund 金额信息.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefundedAmount {
    /// The total of the order 订单金额, in fen 分. Absent for platforms.
    pub total: Option<u64>,
    /// The refund 退款金额, in fen 分.
    pub refund: u64,
    /// The accounts that pay for the refund 退款出资账户及金额.
    #[serde(default, deserialize_with = "null_as_default")]
    pub from: Vec<RefundedFrom>,
    /// The amount that the user paid for the order 用户支付金额, in fen 分. Absent for platforms.
    pub payer_total: Option<u64>,
    /// The amount that the user receives 用户退款金额, in fen 分.
    pub payer_refund: u64,
    /// The part of the refund that is settled 应结退款金额, in fen 分. Absent for platforms.
    pub settlement_refund: Option<u64>,
    /// The part of the order that is settled 应结订单金额, in fen 分. Absent for platforms.
    pub settlement_total: Option<u64>,
    /// The refund of discounts 优惠退款金额, in fen 分.
    pub discount_refund: Option<u64>,
    /// The currency 退款币种: `CNY`. Absent in notifications.
    pub currency: Option<String>,
    /// The fee that is refunded 手续费退款金额, in fen 分.
    pub refund_fee: Option<u64>,
    /// The amount that the platform advanced 垫付金额, in fen 分. Only for platforms.
    pub advance: Option<u64>,
}

/// An account that pays for a refund, and the part that it pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefundedFrom {
    /// `AVAILABLE` 可用余额 or `UNAVAILABLE` 不可用余额.
    pub account: String,
    /// The part that it pays, in fen 分.
    pub amount: u64,
}

/// A discount that is refunded 优惠退款信息.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefundedPromotion {
    /// The id of the coupon or discount 券ID, up to 32 characters.
    pub promotion_id: String,
    /// `GLOBAL` for the whole order or `SINGLE` for single goods 优惠范围.
    pub scope: Option<String>,
    /// `COUPON` or `DISCOUNT`, on newer pages `CASH` or `NOCASH` 优惠类型.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The discount 优惠券面额, in fen 分.
    pub amount: Option<u64>,
    /// The part of it that is refunded 优惠退款金额, in fen 分.
    pub refund_amount: Option<u64>,
    /// The goods 商品列表.
    #[serde(default, deserialize_with = "null_as_default")]
    pub goods_detail: Vec<RefundedGoods>,
}

/// Goods that were refunded 退款商品.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefundedGoods {
    /// The merchant's code for the goods 商户侧商品编码, up to 32 characters.
    pub merchant_goods_id: Option<String>,
    /// WeChat Pay's code for the goods 微信支付商品编码, up to 32 characters.
    pub wechatpay_goods_id: Option<String>,
    /// The name of the goods 商品名称, up to 256 characters.
    pub goods_name: Option<String>,
    /// The unit price 商品单价, in fen 分.
    pub unit_price: Option<u64>,
    /// The amount refunded for the goods 商品退款金额, in fen 分.
    pub refund_amount: Option<u64>,
    /// The quantity 商品退货数量.
    pub refund_quantity: Option<u64>,
}
