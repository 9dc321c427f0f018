//! Ordering with a contract: the fields of the two calls, the `prepay_id`, and the orders of direct merchants, which can
//! be queried and closed.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::contracts::Contracts;
use super::credentials::new_id;
use super::fields::{self, Field, Rule, text};
use super::response::{Refusal, Response};
use crate::time::parse_rfc_3339;

/// In seconds.
const MINUTE: u64 = 60;
const FIFTEEN_DAYS: u64 = 15 * 24 * 60 * 60;

/// The kind of merchant that orders, by the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    Field::required("notify_url", Rule::NotifyUrl(255)),
    Field::optional("goods_tag", Rule::Text(32)),
    Field::optional("support_fapiao", Rule::Boolean),
    Field::required("amount", Rule::Object(AMOUNT)),
    Field::optional("detail", Rule::Object(DETAIL)),
    Field::optional("scene_info", Rule::Object(SCENE_INFO)),
    Field::optional("settle_info", Rule::Object(SETTLE_INFO)),
    Field::required("contract_info", Rule::Object(CONTRACT_INFO)),
];

const AMOUNT: &[Field] = &[
    Field::required("total", Rule::Number),
    Field::optional("currency", Rule::AnyText),
];

const DETAIL: &[Field] = &[
    Field::optional("cost_price", Rule::Number),
    Field::optional("invoice_id", Rule::AnyText),
    Field::optional("goods_detail", Rule::List(GOODS)),
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

/// The orders of direct merchants by `out_trade_no`. Nobody pays them.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Orders {
    by_number: HashMap<String, Order>,
}

#[derive(Serialize, Deserialize)]
struct Order {
    appid: Value,
    amount: Value,
    is_closed: bool,
}

impl Orders {
    /// Keeps an order that was placed with `body`.
    pub(super) fn keep(&mut self, body: &Value) {
        let part = |name| body.get(name).cloned().unwrap_or_default();
        let order = Order {
            appid: part("appid"),
            amount: part("amount"),
            is_closed: false,
        };
        let number = text(body, "out_trade_no").unwrap_or_default();
        self.by_number.insert(number.to_owned(), order);
    }

    /// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012791859>.
    pub(super) fn query(&self, mchid: &str, number: &str) -> Result<Response, Refusal> {
        let order = self.by_number.get(number).ok_or_else(unknown_order)?;
        let (state, description) = match order.is_closed {
            false => ("NOTPAY", "订单未支付"),
            true => ("CLOSED", "订单已关闭"),
        };
        Ok(Response::ok(json!({
            "appid": order.appid,
            "mchid": mchid,
            "out_trade_no": number,
            "trade_state": state,
            "trade_state_desc": description,
            "amount": order.amount,
        })))
    }

    /// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012791860>.
    pub(super) fn close(&mut self, number: &str) -> Result<Response, Refusal> {
        let order = self.by_number.get_mut(number).ok_or_else(unknown_order)?;
        order.is_closed = true;
        Ok(Response::no_content())
    }
}

/// The merchant id of a query or a closing, which must be the caller's.
pub(super) fn check_mchid(mchid: &str, given: Option<&str>) -> Result<(), Refusal> {
    if given == Some(mchid) {
        return Ok(());
    }
    let issue = given.map_or("is required", |_| "is not the caller's");
    Err(Refusal::param_error("mchid", &given.into(), issue))
}

fn unknown_order() -> Refusal {
    Refusal::new(404, "ORDER_NOT_EXIST", "there is no order of this number")
}

/// Places an order. That the contract must be in force, and the status and code when it is not, are inferred.
pub(super) fn order(
    role: Role,
    mchid: &str,
    body: &Value,
    contracts: &Contracts,
    now: u64,
) -> Result<Response, Refusal> {
    let (own_fields, own_mchid) = match role {
        Role::Direct => (DIRECT, "mchid"),
        Role::Partner => (PARTNER, "sp_mchid"),
    };
    fields::check(body, own_fields)?;
    fields::check(body, BOTH)?;
    if text(body, own_mchid) != Some(mchid) {
        let value = body.get(own_mchid).unwrap_or(&Value::Null);
        return Err(Refusal::param_error(
            own_mchid,
            value,
            "is not the caller's",
        ));
    }
    if role == Role::Partner {
        check_partner_payer(body)?;
    }
    check_expiry(body, now)?;
    let contract_id = body
        .pointer("/contract_info/password_free_contract_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !contracts.is_in_force(contract_id) {
        return Err(Refusal::invalid_request(
            "password_free_contract_id names no contract that is in force",
        ));
    }
    let prepay_id = format!("wx{}", new_id());
    Ok(Response::ok(json!({"prepay_id": prepay_id})))
}

fn check_partner_payer(body: &Value) -> Result<(), Refusal> {
    let given = |pointer| body.pointer(pointer).is_some();
    let refuse = |field, issue| Err(Refusal::param_error(field, &Value::Null, issue));
    if !given("/payer/sp_openid") && !given("/payer/sub_openid") {
        return refuse(
            "payer/sp_openid",
            "is required unless payer/sub_openid is given",
        );
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
    Err(Refusal::param_error(
        "time_expire",
        &time.into(),
        "is not from 1 minute to 15 days after now",
    ))
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
