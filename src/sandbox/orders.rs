//! The orders: placing them with a contract, paying them as the user, querying and closing them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::contracts::Contracts;
use super::credentials::new_id;
use super::error::UserError;
use super::fields::{self, Field, Rule, pick, put, text};
use super::response::{Refusal, Response};
use crate::time::{format_rfc_3339, parse_rfc_3339};

/// One minute, in seconds.
const MINUTE: u64 = 60;
const FIFTEEN_DAYS: u64 = 15 * 24 * 60 * 60;
const PREPAY_LIFETIME: u64 = 2 * 60 * 60;

/// The kind of merchant that calls, named by a part of the path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A direct merchant.
    Direct,
    /// A service provider or an e-commerce platform.
    Partner,
}

/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012526910>.
const DIRECT: &[Field] = &[
    Field::required("appid", Rule::Text(32)),
    Field::required("mchid", Rule::Text(32)),
    Field::required("out_trade_no", Rule::OrderNumber { from: 6 }),
    Field::required("notify_url", Rule::NotifyUrl(255)),
    Field::required("payer", Rule::Object(PAYER)),
];

const PAYER: &[Field] = &[Field::required("openid", Rule::Text(128))];

/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012526951>.
const PARTNER: &[Field] = &[
    Field::required("sp_appid", Rule::Text(32)),
    Field::required("sp_mchid", Rule::Text(32)),
    Field::required("sub_mchid", Rule::Text(32)),
    Field::optional("sub_appid", Rule::Text(32)),
    Field::required("out_trade_no", Rule::OrderNumber { from: 1 }),
    Field::required("notify_url", Rule::PartnerNotifyUrl(255)),
    Field::required("payer", Rule::Object(PARTNER_PAYER)),
];

const PARTNER_PAYER: &[Field] = &[
    Field::optional("sp_openid", Rule::Text(128)),
    Field::optional("sub_openid", Rule::Text(128)),
];

const BOTH: &[Field] = &[
    Field::required("description", Rule::Text(127)),
    Field::optional("time_expire", Rule::Time),
    Field::optional("attach", Rule::Text(128)),
    Field::optional("goods_tag", Rule::Text(32)),
    Field::optional("support_fapiao", Rule::Boolean),
    Field::required("amount", Rule::Object(AMOUNT)),
    Field::optional("detail", Rule::Object(DETAIL)),
    Field::optional("scene_info", Rule::Object(SCENE_INFO)),
    Field::optional("settle_info", Rule::Object(SETTLE_INFO)),
    Field::required("contract_info", Rule::Object(CONTRACT_INFO)),
];

const AMOUNT: &[Field] = &[
    Field::required("total", Rule::Positive),
    Field::optional("currency", Rule::AnyText),
];

const DETAIL: &[Field] = &[
    Field::optional("cost_price", Rule::Number),
    Field::optional("invoice_id", Rule::AnyText),
    Field::required("goods_detail", Rule::List(GOODS)),
];

const GOODS: &[Field] = &[
    Field::required("merchant_goods_id", Rule::AnyText),
    Field::optional("wechatpay_goods_id", Rule::AnyText),
    Field::optional("goods_name", Rule::AnyText),
    Field::required("quantity", Rule::Number),
    Field::required("unit_price", Rule::Number),
];

const SCENE_INFO: &[Field] = &[
    Field::required("payer_client_ip", Rule::AnyText),
    Field::optional("device_id", Rule::AnyText),
    Field::optional("store_info", Rule::Object(STORE_INFO)),
];

const STORE_INFO: &[Field] = &[
    Field::required("id", Rule::AnyText),
    Field::optional("name", Rule::AnyText),
    Field::optional("area_code", Rule::AnyText),
    Field::optional("address", Rule::AnyText),
];

const SETTLE_INFO: &[Field] = &[Field::optional("profit_sharing", Rule::Boolean)];

const CONTRACT_INFO: &[Field] = &[Field::required("password_free_contract_id", Rule::AnyText)];

/// All orders by `out_trade_no`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Orders(BTreeMap<String, Order>);

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Order {
    request: Value,
    /// The end of the time to pay, by the clock of contracts, in Unix seconds.
    payable_until: u64,
    /// The order as queries and notifications show it.
    pub(super) shown: Value,
}

impl Orders {
    /// Places an order, or returns a new `prepay_id` if the order was placed before with the same fields. Refuses a
    /// contract that is not in force. This rule, its status and its error code are inferred.
    pub(super) fn place(
        &mut self,
        role: Role,
        mchid: &str,
        body: Value,
        contracts: &Contracts,
        (now, contract_time): (u64, u64),
    ) -> Result<Response, Refusal> {
        let time_to_pay = check(role, mchid, &body, now)?;
        let contract_id = body.pointer("/contract_info/password_free_contract_id");
        if !contracts.is_in_force(contract_id.and_then(Value::as_str)) {
            let problem = "password_free_contract_id names no contract that is in force";
            return Err(Refusal::invalid_request(problem));
        }
        let number = text(&body, "out_trade_no").unwrap_or_default().to_owned();
        if let Some(order) = self.0.get(&number) {
            order.check_same(&body)?;
        }
        let payable_until = contract_time.saturating_add(time_to_pay);
        self.0.insert(number, Order::new(body, payable_until));
        let prepay_id = format!("wx{}", new_id());
        Ok(Response::ok(json!({"prepay_id": prepay_id})))
    }

    /// Returns the order whose field `name` has this value, if `ids` are the merchant ids that it was placed with.
    pub(super) fn find(
        &mut self,
        role: Role,
        mchid: &str,
        ids: &Value,
        name: &str,
        number: &str,
    ) -> Result<&mut Order, Refusal> {
        check_ids(role, mchid, ids)?;
        let is_it = |order: &&mut Order| {
            let has_same = |name: &&str| text(&order.shown, name) == text(ids, name);
            text(&order.shown, name) == Some(number) && role.ids().iter().all(has_same)
        };
        let unknown = || Refusal::new(404, "ORDER_NOT_EXIST", "there is no order of this number");
        self.0.values_mut().find(is_it).ok_or_else(unknown)
    }

    /// Returns the order on which the user acts.
    pub(super) fn of_user(&mut self, number: &str) -> Result<&mut Order, UserError> {
        self.0.get_mut(number).ok_or(UserError::UnknownOrder)
    }

    /// Returns the paid order that a refund names by either of its numbers.
    pub(super) fn paid_by(&mut self, refund: &Value) -> Option<&mut Order> {
        self.0.values_mut().find(|order| {
            let has_same = |name| text(&order.shown, name) == text(refund, name);
            let is_named = |name| text(refund, name).is_some() && has_same(name);
            let is_named = is_named("transaction_id") || is_named("out_trade_no");
            order.is_paid() && is_named && has_same("sub_mchid")
        })
    }

    /// Returns all orders as queries show them.
    pub(super) fn list(&self) -> Vec<&Value> {
        self.0.values().map(|order| &order.shown).collect()
    }
}

impl Order {
    fn new(request: Value, payable_until: u64) -> Self {
        const NAMES: &str = "appid mchid sp_appid sp_mchid sub_appid sub_mchid out_trade_no";
        let device_id = request.pointer("/scene_info/device_id");
        let mut shown = pick(&request, NAMES);
        let fields = json!({
            "amount": {"total": request.pointer("/amount/total"), "payer_currency": "CNY"},
            "scene_info": {"device_id": device_id.and_then(Value::as_str).unwrap_or_default()},
            "promotion_detail": [],
        });
        put(&mut shown, fields);
        let mut order = Self {
            request,
            payable_until,
            shown,
        };
        order.set_state("NOTPAY", "订单未支付");
        order
    }

    /// Pays the order as the user. Returns its `transaction_id`.
    pub(super) fn pay(&mut self, now: u64) -> Result<String, UserError> {
        match self.state() {
            "NOTPAY" if now >= self.payable_until => return Err(UserError::OrderExpired),
            "NOTPAY" => {}
            "CLOSED" => return Err(UserError::OrderClosed),
            _ => return Err(UserError::OrderPaid),
        }
        let transaction_id: String = new_id().chars().take(28).collect();
        let total = self.total();
        let fields = json!({
            "transaction_id": transaction_id,
            "trade_type": "JSAPI",
            "bank_type": "OTHERS",
            "success_time": format_rfc_3339(now),
            "amount": {"total": total, "payer_total": total, "currency": "CNY", "payer_currency": "CNY"},
        });
        put(&mut self.shown, pick(&self.request, "attach payer"));
        put(&mut self.shown, fields);
        self.set_state("SUCCESS", "支付成功");
        Ok(transaction_id)
    }

    /// Closes the order. The error code for a paid order is inferred.
    ///
    /// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012791901>,
    /// <https://pay.weixin.qq.com/doc/v3/partner/4012760108>.
    pub(super) fn close(&mut self) -> Result<Response, Refusal> {
        if self.is_paid() {
            return Err(Refusal::new(400, "ORDER_PAID", "the order is paid"));
        }
        self.set_state("CLOSED", "订单已关闭");
        Ok(Response::no_content())
    }

    pub(super) fn set_state(&mut self, state: &str, description: &str) {
        let state = json!({"trade_state": state, "trade_state_desc": description});
        put(&mut self.shown, state);
    }

    fn state(&self) -> &str {
        text(&self.shown, "trade_state").unwrap_or_default()
    }

    fn is_paid(&self) -> bool {
        matches!(self.state(), "SUCCESS" | "REFUND")
    }

    pub(super) fn total(&self) -> u64 {
        let total = self.shown.pointer("/amount/total");
        total.and_then(Value::as_u64).unwrap_or_default()
    }

    /// Checks that an order is placed again with the same fields, and is neither paid nor closed. The error code for a
    /// paid order is inferred.
    fn check_same(&self, body: &Value) -> Result<(), Refusal> {
        let (status, code, problem) = match self.state() {
            "CLOSED" => (400, "ORDER_CLOSED", "the order is closed"),
            "NOTPAY" if self.request == *body => return Ok(()),
            "NOTPAY" => {
                let problem = "the order was placed with other parameters";
                (403, "OUT_TRADE_NO_USED", problem)
            }
            _ => (400, "ORDER_PAID", "the order is paid"),
        };
        Err(Refusal::new(status, code, problem))
    }
}

impl Role {
    /// Returns the names of the merchant ids, the caller's first.
    fn ids(self) -> &'static [&'static str] {
        match self {
            Self::Direct => &["mchid"],
            Self::Partner => &["sp_mchid", "sub_mchid"],
        }
    }
}

/// Checks the merchant ids. `ids` is the body or the query of a request.
fn check_ids(role: Role, mchid: &str, ids: &Value) -> Result<(), Refusal> {
    for (position, name) in role.ids().iter().enumerate() {
        let issue = match text(ids, name) {
            None => "is required",
            Some(id) if position == 0 && id != mchid => "is not the caller's",
            Some(_) => continue,
        };
        return Err(Refusal::param_error(name, &text(ids, name).into(), issue));
    }
    Ok(())
}

/// Checks the fields of an order. Returns the time to pay it.
fn check(role: Role, mchid: &str, body: &Value, now: u64) -> Result<u64, Refusal> {
    let own_fields = match role {
        Role::Direct => DIRECT,
        Role::Partner => PARTNER,
    };
    fields::check(body, &[own_fields, BOTH])?;
    check_ids(role, mchid, body)?;
    if role == Role::Partner {
        check_partner_payer(body)?;
    }
    time_to_pay(body, now)
}

fn check_partner_payer(body: &Value) -> Result<(), Refusal> {
    let given = |pointer| body.pointer(pointer).is_some();
    let (field, issue) = match (given("/payer/sp_openid"), given("/payer/sub_openid")) {
        (false, false) => {
            let issue = "is required unless payer/sub_openid is given";
            ("payer/sp_openid", issue)
        }
        (_, true) if !given("/sub_appid") => ("sub_appid", "is required with payer/sub_openid"),
        _ => return Ok(()),
    };
    Err(Refusal::param_error(field, &Value::Null, issue))
}

/// Returns the number of seconds until the order's `time_expire`, or until its `prepay_id` ends if that is earlier.
///
/// `now` is the time of the clock of signatures, because `time_expire` comes from the caller's clock.
fn time_to_pay(body: &Value, now: u64) -> Result<u64, Refusal> {
    let Some(time) = text(body, "time_expire") else {
        return Ok(PREPAY_LIFETIME);
    };
    match parse_rfc_3339(time).and_then(|expiry| expiry.checked_sub(now)) {
        Some(ahead @ MINUTE..=FIFTEEN_DAYS) => Ok(ahead.min(PREPAY_LIFETIME)),
        _ => {
            let issue = "is not from 1 minute to 15 days after now";
            Err(Refusal::param_error("time_expire", &time.into(), issue))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_expires_from_a_minute_to_15_days_after_now() {
        let expiry = parse_rfc_3339("2018-06-08T10:34:56+08:00").unwrap();
        let body = json!({"time_expire": "2018-06-08T10:34:56+08:00"});
        for (now, time) in [
            (expiry - MINUTE, Some(MINUTE)),
            (expiry - MINUTE + 1, None),
            (expiry - PREPAY_LIFETIME + 1, Some(PREPAY_LIFETIME - 1)),
            (expiry - PREPAY_LIFETIME - 1, Some(PREPAY_LIFETIME)),
            (expiry - FIFTEEN_DAYS, Some(PREPAY_LIFETIME)),
            (expiry - FIFTEEN_DAYS - 1, None),
            (expiry + 1, None),
            (u64::MAX, None),
        ] {
            assert_eq!(time_to_pay(&body, now).ok(), time, "{now:?}");
        }
    }
}
