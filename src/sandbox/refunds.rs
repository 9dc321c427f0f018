//! The refunds of paid orders: creating, querying and settling them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::credentials::new_id;
use super::error::UserError;
use super::fields::{self, Field, Rule, pick, put, text};
use super::orders::{Order, Orders};
use super::response::{Refusal, Response};
use crate::order::RefundStatus;
use crate::time::format_rfc_3339;

const MOST_REFUNDS: usize = 50;

/// The two families of refund APIs.
#[derive(Clone, Copy)]
pub(super) enum Family {
    /// `/v3/refund/domestic/`, for direct merchants and service providers.
    Domestic,
    /// `/v3/ecommerce/`, for platforms.
    Platform,
}

/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012791903>.
const DOMESTIC: &[Field] = &[
    Field::optional("sub_mchid", Rule::Text(32)),
    Field::required("amount", Rule::Object(CURRENCY)),
    Field::optional("goods_detail", Rule::List(GOODS)),
];

const AMOUNT: &[Field] = &[
    Field::required("refund", Rule::Positive),
    Field::required("total", Rule::Positive),
    Field::optional("currency", Rule::AnyText),
    Field::optional("from", Rule::List(FROM)),
];

const CURRENCY: &[Field] = &[Field::required("currency", Rule::AnyText)];

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
    Field::optional("refund_account", Rule::Text(32)),
];

const BOTH: &[Field] = &[
    Field::optional("transaction_id", Rule::Text(32)),
    Field::optional("out_trade_no", Rule::Text(32)),
    Field::required("out_refund_no", Rule::RefundNumber),
    Field::required("amount", Rule::Object(AMOUNT)),
    Field::optional("reason", Rule::Bytes(80)),
    Field::optional("notify_url", Rule::NotifyUrl(256)),
    Field::optional("funds_account", Rule::AnyText),
];

/// All refunds by `out_refund_no`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Refunds(BTreeMap<String, Refund>);

#[derive(Clone, Serialize, Deserialize)]
struct Refund {
    request: Value,
    /// The refund as queries show it.
    shown: Value,
    /// The fields that only notifications contain.
    only_notified: Value,
}

impl Refunds {
    /// Creates a refund, or returns the existing one. The error code for a number used with other fields is inferred.
    pub(super) fn create(
        &mut self,
        orders: &mut Orders,
        family: Family,
        body: Value,
        now: u64,
    ) -> Result<Response, Refusal> {
        check(family, &body)?;
        let number = text(&body, "out_refund_no").unwrap_or_default().to_owned();
        if let Some(refund) = self.0.get(&number) {
            let problem = "the out_refund_no was used with other parameters";
            return match refund.request == body {
                true => Ok(refund.created(family)),
                false => Err(Refusal::invalid_request(problem)),
            };
        }
        let unknown = || Refusal::not_found("there is no paid order of this number");
        let order = orders.paid_by(&body).ok_or_else(unknown)?;
        self.check_amount(order, &body)?;
        order.set_state("REFUND", "转入退款");
        let refund = Refund::new(family, order, body, now);
        let response = refund.created(family);
        self.0.insert(number, refund);
        Ok(response)
    }

    /// Returns the refund whose field `name` has this value.
    pub(super) fn query(
        &self,
        sub_mchid: Option<&str>,
        name: &str,
        number: &str,
    ) -> Result<Response, Refusal> {
        self.0
            .values()
            .find(|refund| text(&refund.shown, name) == Some(number))
            .filter(|refund| text(&refund.request, "sub_mchid") == sub_mchid)
            .map(|refund| Response::ok(refund.shown.clone()))
            .ok_or_else(|| Refusal::not_found("there is no refund of this number"))
    }

    /// Settles a refund that is processing or abnormal. Returns the content of the notification.
    pub(super) fn settle(
        &mut self,
        number: &str,
        status: &RefundStatus,
        now: u64,
    ) -> Result<Value, UserError> {
        use RefundStatus::{Abnormal, Closed, Success};
        let refund = self.0.get_mut(number).ok_or(UserError::UnknownRefund)?;
        match (text(&refund.shown, "status"), status) {
            (Some("PROCESSING"), Success | Closed | Abnormal)
            | (Some("ABNORMAL"), Success | Closed) => {}
            _ => return Err(UserError::RefundSettled),
        }
        put(&mut refund.shown, json!({"status": status}));
        if *status == Success {
            let time = json!({"success_time": format_rfc_3339(now)});
            put(&mut refund.shown, time);
        }
        Ok(refund.notified())
    }

    /// Returns all refunds as queries show them.
    pub(super) fn list(&self) -> Vec<&Value> {
        self.0.values().map(|refund| &refund.shown).collect()
    }

    fn check_amount(&self, order: &Order, body: &Value) -> Result<(), Refusal> {
        let id = text(&order.shown, "transaction_id");
        let before = self.0.values().filter(|refund| {
            text(&refund.shown, "transaction_id") == id
                && text(&refund.shown, "status") != Some("CLOSED")
        });
        let amounts: Vec<u64> = before
            .map(|refund| amount(&refund.request, "refund"))
            .collect();
        // A loaded snapshot may hold refunds of more than the total.
        let refunded = amounts
            .iter()
            .fold(0, |sum: u64, one| sum.saturating_add(*one));
        let left = order.total().saturating_sub(refunded);
        let problem = if amount(body, "total") != order.total() {
            "amount.total is not the total of the order"
        } else if amount(body, "refund") > left || amounts.len() >= MOST_REFUNDS {
            "amount.refund is more than what is left, or 50 refunds were made"
        } else {
            return Ok(());
        };
        Err(Refusal::invalid_request(problem))
    }
}

impl Refund {
    fn new(family: Family, order: &Order, request: Value, now: u64) -> Self {
        let (refund, total) = (amount(&request, "refund"), order.total());
        let mut amounts = json!({"refund": refund, "payer_refund": refund, "discount_refund": 0, "currency": "CNY"});
        if let Some(given) = request.get("amount") {
            put(&mut amounts, pick(given, "from"));
        }
        let mut shown = pick(&order.shown, "out_trade_no transaction_id");
        put(&mut shown, pick(&request, "out_refund_no"));
        match family {
            Family::Domestic => put(
                &mut amounts,
                json!({"total": total, "payer_total": total, "settlement_total": total, "settlement_refund": refund}),
            ),
            Family::Platform => {
                let account = text(&request, "refund_account");
                let account = account.unwrap_or("REFUND_SOURCE_SUB_MERCHANT");
                put(&mut shown, json!({"refund_account": account}));
            }
        }
        let fields = json!({
            "refund_id": new_id(),
            "user_received_account": "支付用户零钱",
            "channel": "ORIGINAL",
            "create_time": format_rfc_3339(now),
            "status": "PROCESSING",
            "funds_account": text(&request, "funds_account").unwrap_or("AVAILABLE"),
            "promotion_detail": [],
            "amount": amounts,
        });
        put(&mut shown, fields);
        Self {
            request,
            shown,
            only_notified: pick(&order.shown, "mchid sp_mchid sub_mchid"),
        }
    }

    fn created(&self, family: Family) -> Response {
        const OF_PLATFORM: &str =
            "refund_id out_refund_no create_time amount promotion_detail refund_account";
        Response::ok(match family {
            Family::Domestic => self.shown.clone(),
            Family::Platform => pick(&self.shown, OF_PLATFORM),
        })
    }

    fn notified(&self) -> Value {
        const NAMES: &str = "out_trade_no transaction_id out_refund_no refund_id user_received_account refund_account success_time";
        let (refund, total) = (
            amount(&self.request, "refund"),
            amount(&self.request, "total"),
        );
        let fields = json!({
            "refund_status": self.shown.get("status"),
            "amount": {"total": total, "refund": refund, "payer_total": total, "payer_refund": refund},
        });
        let mut notified = pick(&self.shown, NAMES);
        put(&mut notified, self.only_notified.clone());
        put(&mut notified, fields);
        notified
    }
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
    fields::check(body, &[own_fields, BOTH])?;
    let numbers = ["transaction_id", "out_trade_no"].map(|name| text(body, name));
    if numbers.iter().flatten().count() != 1 {
        let issue = "is required unless out_trade_no is given, and not allowed with it";
        return Err(Refusal::param_error("transaction_id", &Value::Null, issue));
    }
    Ok(())
}
