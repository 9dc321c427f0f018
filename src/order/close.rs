//! The call that closes an order that is not paid.

use super::{OrderNumber, Payee};
use crate::error::{ApiError, InvalidField};
use crate::request::{Endpoint, Request};

/// Closes an order that is not paid, so that it can never be paid 关闭订单.
///
/// Close it when the user cancels or the payment deadline has passed. An order cannot be closed while the user pays. A paid
/// order cannot be closed: refund it. A closed `out_trade_no` can never be used again. Closing an order twice does no harm,
/// but an older page documents the error `ORDER_CLOSED` for it.
///
/// After an unknown outcome, query the order. If it is `CLOSED`, the closing is done. If it is `NOTPAY`, close it again. If it
/// is paid, deliver or refund it. Only a response with status 204 means that the order is closed. 202 with `USER_PAYING` is
/// [`Error::Accepted`](crate::Error::Accepted), and 429 can mean that the user has just paid. The outcome of both is
/// [`Unknown`](crate::Outcome::Unknown).
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012526915>, for partners
/// <https://pay.weixin.qq.com/doc/v3/partner/4012526949>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseOrder<'a> {
    /// The merchant who receives the payment.
    pub payee: Payee<'a>,
    /// The merchant's order number 商户订单号, up to 32 characters.
    pub out_trade_no: &'a str,
}

impl Endpoint for CloseOrder<'_> {
    type Response = ();

    fn request(&self) -> Result<Request, InvalidField> {
        self.payee.check()?;
        OrderNumber::OutTradeNo(self.out_trade_no).check()?;
        let template = self.payee.template("out-trade-no/{out_trade_no}/close");
        Ok(Request::post(template)
            .path("out_trade_no", self.out_trade_no)
            .json(&self.payee)
            .uncorrelated())
    }

    /// 429 or `FREQUENCY_LIMITED` can mean that the user has just paid.
    fn is_inconclusive(&self, error: &ApiError) -> bool {
        error.is_rate_limited()
    }
}
