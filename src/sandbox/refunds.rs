//! The refunds of paid orders: created, queried, and settled on demand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::contracts::UserError;
use super::credentials::new_id;
use super::fields::{self, Field, Rule, present, text};
use super::orders::{Order, Orders};
use super::response::{Refusal, Response};
use crate::order::RefundStatus;
use crate::time::format_rfc_3339;

const MOST_REFUNDS: usize = 50;

/// The two families of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Family {
    /// `/v3/refund/domestic/`, for direct merchants and service providers.
    Domestic,
    /// `/v3/ecommerce/`, for platforms.
    Platform,
}

/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012791903>.
const DOMESTIC: &[Field] = &[
    Field::optional("sub_mchid", Rule::Text(32)),
    Field::required("amount", Rule::Object(AMOUNT)),
    Field::optional("goods_detail", Rule::List(GOODS)),
];

const AMOUNT: &[Field] = &[
    Field::required("refund", Rule::Positive),
    Field::required("total", Rule::Positive),
    Field::required("currency", Rule::AnyText),
    Field::optional("from", Rule::List(FROM)),
];

const FROM: &[Field] = &[
    Field::required("account", Rule::AnyText),
    Field::required("amount", Rule::Positive),
];

const GOODS: &[Field] = &[
    Field::required("merchant_goods_id", Rule::Text(32)),
    Field::optional("wechatpay_goods_id", Rule::Text(32)),
    Field::optional("goods_name", Rule::Text(256)),
    Field::required("unit_price", Rule::Number),
    Field::required("refund_amount", Rule::Number),
    Field::required("refund_quantity", Rule::Number),
];

/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012476892>.
const PLATFORM: &[Field] = &[
    Field::required("sub_mchid", Rule::Text(32)),
    Field::required("sp_appid", Rule::Text(32)),
    Field::optional("sub_appid", Rule::Text(32)),
    Field::required("amount", Rule::Object(PLATFORM_AMOUNT)),
    Field::optional("refund_account", Rule::Text(32)),
];

const PLATFORM_AMOUNT: &[Field] = &[
    Field::required("refund", Rule::Positive),
    Field::required("total", Rule::Positive),
    Field::optional("currency", Rule::AnyText),
    Field::optional("from", Rule::List(FROM)),
];

const BOTH: &[Field] = &[
    Field::optional("transaction_id", Rule::Text(32)),
    Field::optional("out_trade_no", Rule::Text(32)),
    Field::required("out_refund_no", Rule::RefundNumber),
    Field::optional("reason", Rule::Bytes(80)),
    Field::optional("notify_url", Rule::NotifyUrl(256)),
    Field::optional("funds_account", Rule::AnyText),
];

/// All refunds by `out_refund_no`.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Refunds {
    by_number: BTreeMap<String, Refund>,
}

/// A refund: the body that it was created with, what it needs of its order, and how far it has come. Times are in Unix
/// seconds.
#[derive(Serialize, Deserialize)]
struct Refund {
    family: Family,
    request: Value,
    refund_id: String,
    /// The merchant ids of the order, and its two numbers.
    order: Value,
    total: u64,
    at: u64,
    status: RefundStatus,
    settled_at: u64,
}

impl Refunds {
    /// Creates a refund, or returns the same one again. The code for a number with other parameters is inferred.
    pub(super) fn create(
        &mut self,
        orders: &mut Orders,
        family: Family,
        body: Value,
        now: u64,
    ) -> Result<Response, Refusal> {
        check(family, &body)?;
        let number = text(&body, "out_refund_no").unwrap_or_default().to_owned();
        match self.by_number.get(&number) {
            Some(refund) if refund.request == body => return Ok(refund.created()),
            Some(_) => {
                return Err(Refusal::invalid_request(
                    "the out_refund_no was used with other parameters",
                ));
            }
            None => {}
        }
        let order = orders
            .paid_by(&body)
            .filter(|order| order.sub_mchid() == text(&body, "sub_mchid"))
            .ok_or_else(|| not_exists("there is no paid order of this number"))?;
        self.check_amount(order, &body)?;
        order.set_refunded();
        let refund = Refund {
            family,
            refund_id: new_id(),
            order: order_of(order),
            total: order.total(),
            at: now,
            status: RefundStatus::Processing,
            settled_at: now,
            request: body,
        };
        let response = refund.created();
        self.by_number.insert(number, refund);
        Ok(response)
    }

    pub(super) fn query(
        &self,
        sub_mchid: Option<&str>,
        find: impl Fn(&str, &str) -> bool,
    ) -> Result<Response, Refusal> {
        self.by_number
            .iter()
            .find(|(number, refund)| find(number, &refund.refund_id))
            .filter(|(_, refund)| text(&refund.request, "sub_mchid") == sub_mchid)
            .map(|(_, refund)| Response::ok(refund.public()))
            .ok_or_else(|| not_exists("there is no refund of this number"))
    }

    /// Ends a refund, also one that was abnormal. Returns the content of the notification.
    pub(super) fn settle(
        &mut self,
        number: &str,
        status: RefundStatus,
        now: u64,
    ) -> Result<Value, UserError> {
        use RefundStatus::{Abnormal, Closed, Processing, Success};
        let refund = self
            .by_number
            .get_mut(number)
            .ok_or(UserError::UnknownRefund)?;
        match (&refund.status, &status) {
            (Processing, Success | Closed | Abnormal) | (Abnormal, Success | Closed) => {}
            _ => return Err(UserError::RefundSettled),
        }
        refund.status = status;
        refund.settled_at = now;
        Ok(refund.notified())
    }

    /// All refunds as the query shows them.
    pub(super) fn list(&self) -> Vec<Value> {
        self.by_number.values().map(Refund::public).collect()
    }

    fn check_amount(&self, order: &Order, body: &Value) -> Result<(), Refusal> {
        let of_order = || {
            let id = order.transaction_id();
            self.by_number.values().filter(move |refund| {
                text(&refund.order, "transaction_id") == id && refund.status != RefundStatus::Closed
            })
        };
        let refunded: u64 = of_order()
            .map(|refund| amount(&refund.request, "refund"))
            .sum();
        let total = order.total();
        if amount(body, "total") != total {
            return Err(Refusal::invalid_request(
                "amount.total is not the total of the order",
            ));
        }
        if amount(body, "refund") > total - refunded || of_order().count() >= MOST_REFUNDS {
            return Err(Refusal::invalid_request(
                "amount.refund is more than what is left, or 50 refunds were made",
            ));
        }
        Ok(())
    }
}

impl Refund {
    fn created(&self) -> Response {
        let mut body = self.public();
        if let (Family::Platform, Some(body)) = (self.family, body.as_object_mut()) {
            const SHORT: [&str; 6] = [
                "refund_id",
                "out_refund_no",
                "create_time",
                "amount",
                "promotion_detail",
                "refund_account",
            ];
            body.retain(|name, _| SHORT.contains(&name.as_str()));
        }
        Response::ok(body)
    }

    /// Returns the refund as the query shows it.
    fn public(&self) -> Value {
        let request = |name| self.request.get(name);
        let is_platform = self.family == Family::Platform;
        let is_domestic = !is_platform;
        let refund = amount(&self.request, "refund");
        let total = is_domestic.then_some(self.total);
        let account = || request("refund_account").cloned();
        present(json!({
            "refund_id": self.refund_id,
            "out_refund_no": request("out_refund_no"),
            "transaction_id": self.order.get("transaction_id"),
            "out_trade_no": self.order.get("out_trade_no"),
            "channel": "ORIGINAL",
            "user_received_account": "支付用户零钱",
            "success_time": self.success_time(),
            "create_time": format_rfc_3339(self.at),
            "status": self.status,
            "funds_account": request("funds_account").cloned().unwrap_or_else(|| "AVAILABLE".into()),
            "refund_account": is_platform.then(|| account().unwrap_or_else(|| "REFUND_SOURCE_SUB_MERCHANT".into())),
            "amount": present(json!({
                "total": total,
                "refund": refund,
                "from": self.request.pointer("/amount/from"),
                "payer_total": total,
                "payer_refund": refund,
                "settlement_refund": is_domestic.then_some(refund),
                "settlement_total": total,
                "discount_refund": 0,
                "currency": "CNY",
            })),
            "promotion_detail": [],
        }))
    }

    /// Returns the refund as a notification shows it.
    fn notified(&self) -> Value {
        let refund = amount(&self.request, "refund");
        let mut content = self.order.clone();
        let more = present(json!({
            "out_refund_no": self.request.get("out_refund_no"),
            "refund_id": self.refund_id,
            "refund_status": self.status,
            "success_time": self.success_time(),
            "user_received_account": "支付用户零钱",
            "amount": {
                "total": self.total, "refund": refund, "payer_total": self.total, "payer_refund": refund,
            },
            "refund_account": self.public().get("refund_account"),
        }));
        if let (Some(content), Value::Object(more)) = (content.as_object_mut(), more) {
            content.extend(more);
        }
        content
    }

    fn success_time(&self) -> Option<String> {
        let is_success = self.status == RefundStatus::Success;
        is_success.then(|| format_rfc_3339(self.settled_at))
    }
}

/// What a refund repeats of its order.
fn order_of(order: &Order) -> Value {
    let request = |name| order.request.get(name);
    present(json!({
        "mchid": request("mchid"),
        "sp_mchid": request("sp_mchid"),
        "sub_mchid": request("sub_mchid"),
        "out_trade_no": request("out_trade_no"),
        "transaction_id": order.transaction_id(),
    }))
}

fn amount(body: &Value, name: &str) -> u64 {
    let amount = body.get("amount").and_then(|amount| amount.get(name));
    amount.and_then(Value::as_u64).unwrap_or_default()
}

fn check(family: Family, body: &Value) -> Result<(), Refusal> {
    let own_fields = match family {
        Family::Domestic => DOMESTIC,
        Family::Platform => PLATFORM,
    };
    fields::check(body, own_fields)?;
    fields::check(body, BOTH)?;
    let numbers = ["transaction_id", "out_trade_no"].map(|name| text(body, name));
    if numbers.iter().flatten().count() != 1 {
        let issue = "or out_trade_no is required, and not both";
        return Err(Refusal::param_error("transaction_id", &Value::Null, issue));
    }
    Ok(())
}

fn not_exists(message: &str) -> Refusal {
    Refusal::new(404, "RESOURCE_NOT_EXISTS", message)
}
