//! The orders: placing them with a contract, paying them as the user, querying and closing them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::contracts::{Contracts, UserError};
use super::credentials::new_id;
use super::fields::{self, Field, Rule, merged, pick, put, text};
use super::response::{Refusal, Response};
use crate::time::{format_rfc_3339, parse_rfc_3339};

/// One minute, in seconds.
const MINUTE: u64 = 60;
const FIFTEEN_DAYS: u64 = 15 * 24 * 60 * 60;
const PREPAY_LIFETIME: u64 = 2 * 60 * 60;

/// The kind of merchant that calls, which the path tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[serde(transparent)]
pub(super) struct Orders {
    by_number: BTreeMap<String, Order>,
}

/// An order. Times are in Unix seconds.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Order {
    role: Role,
    request: Value,
    /// The time at which the newest `prepay_id` was returned.
    prepaid_at: u64,
    /// The order as queries and notifications show it.
    pub(super) shown: Value,
}

impl Orders {
    /// Places an order, or returns a new `prepay_id` for the same one. The contract must be in force. This rule is
    /// inferred, and so are the status and the error code if it is broken.
    pub(super) fn place(
        &mut self,
        role: Role,
        mchid: &str,
        body: Value,
        contracts: &Contracts,
        (now, contract_time): (u64, u64),
    ) -> Result<Response, Refusal> {
        check(role, mchid, &body, now)?;
        let contract_id = body.pointer("/contract_info/password_free_contract_id");
        let contract_id = contract_id.and_then(Value::as_str).unwrap_or_default();
        if !contracts.is_in_force(contract_id) {
            let problem = "password_free_contract_id names no contract that is in force";
            return Err(Refusal::invalid_request(problem));
        }
        let number = text(&body, "out_trade_no").unwrap_or_default().to_owned();
        if let Some(order) = self.by_number.get(&number) {
            order.check_same(&body)?;
        }
        let order = Order::new(role, body, contract_time);
        self.by_number.insert(number, order);
        let prepay_id = format!("wx{}", new_id());
        Ok(Response::ok(json!({"prepay_id": prepay_id})))
    }

    /// Returns the order whose field `name` has this value.
    ///
    /// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012791900>,
    /// <https://pay.weixin.qq.com/doc/v3/partner/4012760115>.
    pub(super) fn query(
        &mut self,
        role: Role,
        sub_mchid: Option<&str>,
        name: &str,
        number: &str,
    ) -> Result<Response, Refusal> {
        let order = self.find(role, sub_mchid, name, number)?;
        Ok(Response::ok(order.shown.clone()))
    }

    /// Closes an order. The error code for a paid order is inferred.
    ///
    /// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012791901>,
    /// <https://pay.weixin.qq.com/doc/v3/partner/4012760108>.
    pub(super) fn close(
        &mut self,
        role: Role,
        sub_mchid: Option<&str>,
        number: &str,
    ) -> Result<Response, Refusal> {
        let order = self.find(role, sub_mchid, "out_trade_no", number)?;
        if order.is_paid() {
            return Err(Refusal::new(400, "ORDER_PAID", "the order is paid"));
        }
        order.set_state("CLOSED", "订单已关闭");
        Ok(Response::no_content())
    }

    /// Pays an order as the user. Returns the order as the notification shows it.
    pub(super) fn pay(&mut self, number: &str, now: u64) -> Result<&Value, UserError> {
        let order = self.by_number.get_mut(number);
        let order = order.ok_or(UserError::UnknownOrder)?;
        match order.state() {
            "NOTPAY" if order.has_expired(now) => Err(UserError::OrderExpired),
            "NOTPAY" => Ok(order.pay(now)),
            "CLOSED" => Err(UserError::OrderClosed),
            _ => Err(UserError::OrderPaid),
        }
    }

    /// Returns the paid order that a refund names by either of its numbers.
    pub(super) fn paid_by(&mut self, refund: &Value) -> Option<&mut Order> {
        self.by_number.values_mut().find(|order| {
            let is_named = |name| {
                text(refund, name).is_some_and(|number| text(&order.shown, name) == Some(number))
            };
            order.is_paid() && (is_named("transaction_id") || is_named("out_trade_no"))
        })
    }

    /// Returns all orders as queries show them.
    pub(super) fn list(&self) -> Vec<&Value> {
        self.by_number.values().map(|order| &order.shown).collect()
    }

    fn find(
        &mut self,
        role: Role,
        sub_mchid: Option<&str>,
        name: &str,
        number: &str,
    ) -> Result<&mut Order, Refusal> {
        let is_it = |order: &&mut Order| {
            order.role == role
                && text(&order.shown, "sub_mchid") == sub_mchid
                && text(&order.shown, name) == Some(number)
        };
        let unknown = || Refusal::new(404, "ORDER_NOT_EXIST", "there is no order of this number");
        self.by_number.values_mut().find(is_it).ok_or_else(unknown)
    }
}

impl Order {
    fn new(role: Role, request: Value, prepaid_at: u64) -> Self {
        const NAMES: &str = "appid mchid sp_appid sp_mchid sub_appid sub_mchid out_trade_no";
        let device_id = request.pointer("/scene_info/device_id");
        let shown = merged([
            pick(&request, NAMES),
            json!({
                "amount": {"total": request.pointer("/amount/total"), "payer_currency": "CNY"},
                "scene_info": {"device_id": device_id.and_then(Value::as_str).unwrap_or_default()},
                "promotion_detail": [],
            }),
        ]);
        let mut order = Self {
            role,
            request,
            prepaid_at,
            shown,
        };
        order.set_state("NOTPAY", "订单未支付");
        order
    }

    fn pay(&mut self, now: u64) -> &Value {
        let transaction_id: String = new_id().chars().take(28).collect();
        let total = self.total();
        put(&mut self.shown, pick(&self.request, "attach payer"));
        put(
            &mut self.shown,
            json!({
                "transaction_id": transaction_id,
                "trade_type": "JSAPI",
                "bank_type": "OTHERS",
                "success_time": format_rfc_3339(now),
                "amount": {"total": total, "payer_total": total, "currency": "CNY", "payer_currency": "CNY"},
            }),
        );
        self.set_state("SUCCESS", "支付成功");
        &self.shown
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

    /// Checks that an order is placed again with the same fields and is not paid yet. The error code for a paid order is
    /// inferred.
    fn check_same(&self, body: &Value) -> Result<(), Refusal> {
        match self.state() {
            "CLOSED" => Err(Refusal::new(400, "ORDER_CLOSED", "the order is closed")),
            "NOTPAY" if self.request == *body => Ok(()),
            "NOTPAY" => Err(Refusal::new(
                403,
                "OUT_TRADE_NO_USED",
                "the order was placed with other parameters",
            )),
            _ => Err(Refusal::new(400, "ORDER_PAID", "the order is paid")),
        }
    }

    fn has_expired(&self, now: u64) -> bool {
        let end = text(&self.request, "time_expire").and_then(parse_rfc_3339);
        end.is_some_and(|end| now >= end) || now.saturating_sub(self.prepaid_at) >= PREPAY_LIFETIME
    }
}

/// Checks the merchant ids of a query or a close request, which `get` reads. Returns the sub-merchant's id.
pub(super) fn check_ids<'a>(
    role: Role,
    mchid: &str,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<&'a str>, Refusal> {
    let (name, sub_mchid) = match role {
        Role::Direct => ("mchid", None),
        Role::Partner => ("sp_mchid", Some(get("sub_mchid"))),
    };
    let refuse = |name: &str, given: Option<&str>, issue| {
        Err(Refusal::param_error(name, &given.into(), issue))
    };
    match (get(name), sub_mchid) {
        (None, _) => refuse(name, None, "is required"),
        (given, _) if given != Some(mchid) => refuse(name, given, "is not the caller's"),
        (_, Some(None)) => refuse("sub_mchid", None, "is required"),
        (_, sub_mchid) => Ok(sub_mchid.flatten()),
    }
}

fn check(role: Role, mchid: &str, body: &Value, now: u64) -> Result<(), Refusal> {
    let (own_fields, own_mchid) = match role {
        Role::Direct => (DIRECT, "mchid"),
        Role::Partner => (PARTNER, "sp_mchid"),
    };
    fields::check(body, own_fields)?;
    fields::check(body, BOTH)?;
    if text(body, own_mchid) != Some(mchid) {
        let (value, issue) = (&text(body, own_mchid).into(), "is not the caller's");
        return Err(Refusal::param_error(own_mchid, value, issue));
    }
    if role == Role::Partner {
        check_partner_payer(body)?;
    }
    check_expiry(body, now)
}

fn check_partner_payer(body: &Value) -> Result<(), Refusal> {
    let given = |pointer| body.pointer(pointer).is_some();
    let refuse = |field, issue| Err(Refusal::param_error(field, &Value::Null, issue));
    if !given("/payer/sp_openid") && !given("/payer/sub_openid") {
        let issue = "is required unless payer/sub_openid is given";
        return refuse("payer/sp_openid", issue);
    }
    if given("/payer/sub_openid") && !given("/sub_appid") {
        return refuse("sub_appid", "is required with payer/sub_openid");
    }
    Ok(())
}

fn check_expiry(body: &Value, now: u64) -> Result<(), Refusal> {
    let Some(time) = text(body, "time_expire") else {
        return Ok(());
    };
    let ahead = parse_rfc_3339(time).and_then(|expiry| expiry.checked_sub(now));
    if ahead.is_some_and(|ahead| (MINUTE..=FIFTEEN_DAYS).contains(&ahead)) {
        return Ok(());
    }
    let issue = "is not from 1 minute to 15 days after now";
    Err(Refusal::param_error("time_expire", &time.into(), issue))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_expires_from_a_minute_to_15_days_after_now() {
        let expiry = parse_rfc_3339("2018-06-08T10:34:56+08:00").unwrap();
        let body = json!({"time_expire": "2018-06-08T10:34:56+08:00"});
        for (now, is_in_range) in [
            (expiry - MINUTE, true),
            (expiry - MINUTE + 1, false),
            (expiry - FIFTEEN_DAYS, true),
            (expiry - FIFTEEN_DAYS - 1, false),
            (expiry + 1, false),
            (u64::MAX, false),
        ] {
            assert_eq!(check_expiry(&body, now).is_ok(), is_in_range, "{now:?}");
        }
    }
}
