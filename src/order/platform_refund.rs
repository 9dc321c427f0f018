//! Refunds of an e-commerce platform's sub-merchants 电商收付通.

use serde::{Deserialize, Serialize};

use super::OrderNumber;
use super::refund::{
    Refund, RefundAmount, RefundOptions, RefundedAmount, RefundedPromotion, check_refund,
};
use crate::error::{ApiError, InvalidField, Mismatch};
use crate::json::null_as_default;
use crate::request::{Endpoint, Request};
use crate::rules;

/// Refunds a sub-merchant's paid order in part or in whole, as an e-commerce platform 申请退款.
///
/// A response of success means only that the refund was accepted. [`QueryPlatformRefund`] or the notification has its
/// status.
///
/// **After an unknown outcome, and after 429, never take a new `out_refund_no`**: that may refund twice. Query, and send the
/// same number again with the same fields, as for [`CreateRefund`](super::CreateRefund). Wait a minute before that, since one
/// request per order and minute is allowed.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012476892>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CreatePlatformRefund<'a> {
    /// The sub-merchant 二级商户号, up to 32 characters.
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
    /// After an unknown outcome, this keeps another refund under the same number from counting as this one. For
    /// [`CreateRefund`](super::CreateRefund), [`Endpoint::check`] does the same.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] with the first field that differs.
    pub fn check_refund(&self, refund: &Refund) -> Result<(), Mismatch> {
        Mismatch::check("out_refund_no", self.out_refund_no, &refund.out_refund_no)?;
        self.order
            .compare(&refund.out_trade_no, Some(&refund.transaction_id))?;
        self.amount.compare(&refund.amount, false)
    }
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

/// Queries a refund by either of its numbers, as an e-commerce platform 查询退款.
///
/// The query changes nothing, so it can be repeated after any outcome. 404 `RESOURCE_NOT_EXISTS` means that there is no such refund.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/partner/4012476911>, <https://pay.weixin.qq.com/doc/v3/partner/4012476908>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryPlatformRefund<'a> {
    /// The sub-merchant 二级商户号, up to 32 characters.
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
