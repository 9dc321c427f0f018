//! The fields of orders and refunds, sent to the sandbox by a raw client.

use std::time::Duration;

use serde_json::{Value, json};
use wechatpay_contract::sandbox::Sandbox;

use crate::fixture::{Fixture, assert_param_error, invalid_request, with};
use crate::raw_client::pre_sign_body;
use crate::support::installed;

const DIRECT: &str = "/v3/pay/transactions/jsapi-with-contract";
const PARTNER: &str = "/v3/pay/partner/transactions/jsapi-with-contract";

fn order(contract_id: &str) -> Value {
    json!({
        "description": "Image形象店-深圳腾大-QQ公仔",
        "out_trade_no": "1217752501201407033233368018",
        "attach": "自定义数据说明",
        "notify_url": "https://www.weixin.qq.com/wxpay/pay.php",
        "goods_tag": "WXG",
        "support_fapiao": false,
        "amount": {"total": 100, "currency": "CNY"},
        "detail": {
            "cost_price": 608800,
            "invoice_id": "微信123",
            "goods_detail": [{
                "merchant_goods_id": "1246464644",
                "wechatpay_goods_id": "1001",
                "goods_name": "iPhoneX 256G",
                "quantity": 1,
                "unit_price": 528800,
            }],
        },
        "scene_info": {
            "payer_client_ip": "14.23.150.211",
            "device_id": "013467007045764",
            "store_info": {"id": "0001", "name": "腾讯大厦分店", "area_code": "440305", "address": "广东省深圳市"},
        },
        "settle_info": {"profit_sharing": false},
        "contract_info": {"password_free_contract_id": contract_id},
    })
}

pub(crate) fn direct_order(contract_id: &str) -> Value {
    let mut order = order(contract_id);
    order["appid"] = "wxd678efh567hg6787".into();
    order["mchid"] = Sandbox::MCHID.into();
    order["payer"] = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"});
    order
}

fn partner_order(contract_id: &str) -> Value {
    let mut order = order(contract_id);
    order["sp_appid"] = "wxd678efh567hg6787".into();
    order["sp_mchid"] = Sandbox::MCHID.into();
    order["sub_mchid"] = "1900000110".into();
    order["sub_appid"] = "wxcbda96de0b165489".into();
    order["payer"] = json!({"sub_openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"});
    order
}

#[test]
fn an_order_needs_a_contract_that_is_in_force() {
    for (path, order) in [
        (DIRECT, direct_order("unknown")),
        (PARTNER, partner_order("unknown")),
    ] {
        let naming = |id: &str| {
            let field = "contract_info/password_free_contract_id";
            with(&order, field, Some(id.into()))
        };
        let mut fixture = Fixture::open();
        let response = fixture.post(path, &order);
        assert_eq!(response.refusal(), invalid_request());
        let contract_id = fixture.signed("code1");
        let response = fixture.post(path, &naming(&contract_id));
        assert_eq!(response.status, 200, "{response:?}");
        let prepay_id = response.json()["prepay_id"].as_str().unwrap().to_owned();
        assert!(prepay_id.starts_with("wx") && prepay_id.len() <= 64);

        let mut body = pre_sign_body("code2");
        body["prepay_id"] = prepay_id.into();
        let response = fixture.pre_sign("ecommerce", "pay-redirect-sign", &body);
        assert_eq!(response.status, 200);

        fixture.sandbox.user_terminates("code1").unwrap();
        let response = fixture.post(path, &naming(&contract_id));
        assert_eq!(response.refusal(), invalid_request());
    }
}

#[test]
fn each_required_field_of_an_order_is_required() {
    let mut fixture = Fixture::open();
    let contract_id = fixture.signed("code1");
    let both = [
        "description",
        "out_trade_no",
        "notify_url",
        "amount",
        "amount/total",
        "payer",
        "detail/goods_detail",
        "detail/goods_detail/0/merchant_goods_id",
        "detail/goods_detail/0/quantity",
        "detail/goods_detail/0/unit_price",
        "scene_info/payer_client_ip",
        "scene_info/store_info/id",
        "contract_info",
        "contract_info/password_free_contract_id",
    ];
    let direct = ["appid", "mchid", "payer/openid"];
    let partner = ["sp_appid", "sp_mchid", "sub_mchid"];
    for (path, order, own) in [
        (DIRECT, direct_order(&contract_id), direct),
        (
            PARTNER,
            with(
                &partner_order(&contract_id),
                "out_trade_no",
                Some("of-the-partner".into()),
            ),
            partner,
        ),
    ] {
        assert_eq!(fixture.post(path, &order).status, 200);
        for field in both.into_iter().chain(own) {
            let response = fixture.post(path, &with(&order, field, None));
            assert_param_error(&response, field, "is required");
        }
        let optional = [
            "attach",
            "goods_tag",
            "support_fapiao",
            "amount/currency",
            "detail",
            "scene_info",
            "scene_info/store_info",
            "settle_info",
        ];
        for (position, field) in optional.into_iter().enumerate() {
            // Another number, since an order is placed again only unchanged.
            let number = format!("{}-{position}", own[0]);
            let order = with(&order, "out_trade_no", Some(number.into()));
            let response = fixture.post(path, &with(&order, field, None));
            assert_eq!(response.status, 200, "{field}");
        }
    }
}

#[test]
fn the_values_of_an_order_are_of_their_documented_form() {
    let mut fixture = Fixture::open();
    let contract_id = fixture.signed("code1");
    let order = direct_order(&contract_id);
    let not_a_time = "is not a time in the form of RFC 3339";
    let out_of_range = "is not from 1 minute to 15 days after now";
    for (field, value, issue) in [
        ("description", json!("a".repeat(128)), "is too long"),
        ("attach", json!("a".repeat(129)), "is too long"),
        ("goods_tag", json!("a".repeat(33)), "is too long"),
        (
            "out_trade_no",
            json!("a".repeat(33)),
            "is too short or too long",
        ),
        ("out_trade_no", json!("12345"), "is too short or too long"),
        (
            "out_trade_no",
            json!("123 456"),
            "has characters other than digits, letters, _, - and *",
        ),
        (
            "notify_url",
            json!("http://a.com/b"),
            "is not an https URL without a query",
        ),
        ("support_fapiao", json!("true"), "is not a boolean"),
        ("amount", json!(100), "is not an object"),
        ("amount/total", json!("100"), "is not a whole number"),
        ("amount/total", json!(0), "is 0"),
        ("detail/goods_detail", json!([]), "is empty"),
        ("detail/goods_detail", json!({}), "is not a list"),
        ("detail/goods_detail/0", json!(1), "is not an object"),
        ("settle_info/profit_sharing", json!(1), "is not a boolean"),
        ("mchid", json!("1900000110"), "is not the caller's"),
        ("time_expire", json!("tomorrow"), not_a_time),
        (
            "time_expire",
            json!("2018-06-08T10:34:56+08:00"),
            out_of_range,
        ),
        (
            "time_expire",
            json!("9999-06-08T10:34:56+08:00"),
            out_of_range,
        ),
    ] {
        let response = fixture.post(DIRECT, &with(&order, field, Some(value)));
        assert_param_error(&response, field, issue);
    }
    let without_path = with(&order, "notify_url", Some("https://example.com".into()));
    assert_eq!(fixture.post(DIRECT, &without_path).status, 200);
    let partner = partner_order(&contract_id);
    let short = with(&partner, "out_trade_no", Some("_-*1".into()));
    assert_eq!(fixture.post(PARTNER, &short).status, 200);
    for (url, is_right) in [("http://10.0.0.1/paid", true), ("ftp://a.com/b", false)] {
        let number = format!("to-{is_right}");
        let order = with(&partner, "out_trade_no", Some(number.into()));
        let response = fixture.post(PARTNER, &with(&order, "notify_url", Some(url.into())));
        assert_eq!(response.status == 200, is_right, "{url}");
    }
    let response = fixture.post(PARTNER, &with(&partner, "sub_appid", None));
    assert_param_error(&response, "sub_appid", "is required with payer/sub_openid");
    let response = fixture.post(PARTNER, &with(&partner, "payer", Some(json!({}))));
    let issue = "is required unless payer/sub_openid is given";
    assert_param_error(&response, "payer/sp_openid", issue);
}

#[test]
fn an_order_may_expire_soon() {
    if !installed("date") {
        return;
    }
    let mut fixture = Fixture::open();
    let contract_id = fixture.signed("code1");
    let in_an_hour = crate::raw_client::now() + 3600;
    let time = crate::support::command(
        "date",
        &["-u", "-d", &format!("@{in_an_hour}"), "+%FT%TZ"],
        b"",
    );
    let time = String::from_utf8(time).unwrap();
    let order = with(
        &direct_order(&contract_id),
        "time_expire",
        Some(time.trim().into()),
    );
    // The time to pay starts when the order is placed, however far a test has advanced the clock of contracts before.
    fixture.sandbox.advance_clock(Duration::from_secs(86400));
    for (advance, is_paid) in [(3590, true), (3600, false)] {
        let number = format!("after-{advance}");
        let order = with(&order, "out_trade_no", Some(number.as_str().into()));
        assert_eq!(fixture.post(DIRECT, &order).status, 200);
        fixture.sandbox.advance_clock(Duration::from_secs(advance));
        assert_eq!(fixture.sandbox.user_pays(&number).is_ok(), is_paid);
    }
}

#[test]
fn the_fields_of_a_refund_are_of_their_documented_form() {
    let mut fixture = Fixture::open();
    let domestic = json!({
        "out_trade_no": "1217752501201407033233368018",
        "out_refund_no": "aZ9_-|*@",
        "reason": "商品已售完",
        "notify_url": "https://yourapp.com/refund",
        "amount": {"refund": 1, "total": 100, "currency": "CNY"},
    });
    let mut platform = domestic.clone();
    platform["sub_mchid"] = "1900000110".into();
    platform["sp_appid"] = "wxd678efh567hg6787".into();
    let (refunds, apply) = ("/v3/refund/domestic/refunds", "/v3/ecommerce/refunds/apply");
    for (path, body) in [(refunds, &domestic), (apply, &platform)] {
        // All fields are right: only the order is missing.
        assert_eq!(fixture.post(path, body).refusal().1, "RESOURCE_NOT_EXISTS");
        for (field, value, issue) in [
            (
                "out_refund_no",
                Some(json!("a b")),
                "has characters other than digits, letters, _, -, |, * and @",
            ),
            ("out_refund_no", Some(json!("n".repeat(65))), "is too long"),
            ("out_refund_no", None, "is required"),
            ("reason", Some(json!("号".repeat(27))), "is too long"),
            (
                "notify_url",
                Some(json!("https://a.com/?b")),
                "is not an https URL without a query",
            ),
            ("amount", None, "is required"),
            ("amount/refund", Some(json!(0)), "is 0"),
            ("amount/refund", Some(json!(-1)), "is not a whole number"),
            ("amount/total", None, "is required"),
        ] {
            let response = fixture.post(path, &with(body, field, value));
            assert_param_error(&response, field, issue);
        }
        let issue = "is required unless out_trade_no is given, and not allowed with it";
        for number in [None, Some(json!("4200"))] {
            let body = match number {
                None => with(body, "out_trade_no", None),
                number => with(body, "transaction_id", number),
            };
            assert_param_error(&fixture.post(path, &body), "transaction_id", issue);
        }
    }
    let currency = "amount/currency";
    let response = fixture.post(refunds, &with(&domestic, currency, None));
    assert_param_error(&response, currency, "is required");
    let response = fixture.post(apply, &with(&platform, currency, None));
    assert_eq!(response.refusal().1, "RESOURCE_NOT_EXISTS");
    for field in ["sub_mchid", "sp_appid"] {
        let response = fixture.post(apply, &with(&platform, field, None));
        assert_param_error(&response, field, "is required");
    }
}
