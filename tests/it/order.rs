//! Ordering with a contract: the documented examples, the rules, and the published pay signature.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use wechatpay_contract::order::{
    Amount, ContractInfo, Detail, GoodsDetail, JsapiOrder, OrderOptions, PartnerJsapiOrder,
    PartnerPayer, PayParameters, Payer, Prepay, SceneInfo, SettleInfo, StoreInfo,
};
use wechatpay_contract::{Endpoint, Error, InvalidField, Method, Outcome, PrivateKey, Signer};

use crate::support::assert_refused;

/// Every optional field, with the documented values.
const ALL_OPTIONS: OrderOptions<'static> = OrderOptions {
    time_expire: Some("2018-06-08T10:34:56+08:00"),
    attach: Some("自定义数据说明"),
    goods_tag: Some("WXG"),
    support_fapiao: Some(true),
    detail: Some(Detail {
        cost_price: Some(608_800),
        invoice_id: Some("微信123"),
        goods_detail: &[GoodsDetail {
            merchant_goods_id: "1246464644",
            wechatpay_goods_id: Some("1001"),
            goods_name: Some("iPhoneX 256G"),
            quantity: 1,
            unit_price: 528_800,
        }],
    }),
    scene_info: Some(SceneInfo {
        payer_client_ip: "14.23.150.211",
        device_id: Some("013467007045764"),
        store_info: Some(StoreInfo {
            id: "0001",
            name: Some("腾讯大厦分店"),
            area_code: Some("440305"),
            address: Some("广东省深圳市南山区科技中一道10000号"),
        }),
    }),
    settle_info: Some(SettleInfo {
        profit_sharing: Some(true),
    }),
};

pub(crate) fn direct(options: OrderOptions<'_>) -> JsapiOrder<'_> {
    JsapiOrder {
        appid: "wxd678efh567hg6787",
        mchid: "1230000109",
        description: "Image形象店-深圳腾大-QQ公仔",
        out_trade_no: "1217752501201407033233368018",
        notify_url: "https://www.weixin.qq.com/wxpay/pay.php",
        amount: Amount::fen(100),
        payer: Payer {
            openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        },
        contract_info: ContractInfo::PasswordFreeContractId("201710180325670965"),
        options,
    }
}

fn partner(options: OrderOptions<'_>) -> PartnerJsapiOrder<'_> {
    PartnerJsapiOrder {
        sp_appid: "wx8888888888888888",
        sp_mchid: "1230000109",
        sub_appid: Some("wxd678efh567hg6999"),
        sub_mchid: "1900000109",
        description: "Image形象店-深圳腾大-QQ公仔",
        out_trade_no: "1217752501201407033233368018",
        notify_url: "https://www.weixin.qq.com/wxpay/pay.php",
        amount: Amount::fen(100),
        payer: PartnerPayer::SpOpenid("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"),
        contract_info: ContractInfo::PasswordFreeContractId("201710180325670965"),
        options,
    }
}

/// The fields that both pages' examples have in common, with every optional one.
fn full_body() -> Value {
    json!({
        "description": "Image形象店-深圳腾大-QQ公仔",
        "out_trade_no": "1217752501201407033233368018",
        "time_expire": "2018-06-08T10:34:56+08:00",
        "attach": "自定义数据说明",
        "notify_url": "https://www.weixin.qq.com/wxpay/pay.php",
        "goods_tag": "WXG",
        "support_fapiao": true,
        "amount": {"total": 100, "currency": "CNY"},
        "detail": {
            "cost_price": 608_800,
            "invoice_id": "微信123",
            "goods_detail": [{
                "merchant_goods_id": "1246464644",
                "wechatpay_goods_id": "1001",
                "goods_name": "iPhoneX 256G",
                "quantity": 1,
                "unit_price": 528_800,
            }],
        },
        "scene_info": {
            "payer_client_ip": "14.23.150.211",
            "device_id": "013467007045764",
            "store_info": {
                "id": "0001",
                "name": "腾讯大厦分店",
                "area_code": "440305",
                "address": "广东省深圳市南山区科技中一道10000号",
            },
        },
        "settle_info": {"profit_sharing": true},
    })
}

fn with_all(mut body: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[track_caller]
fn assert_posted(endpoint: &impl Endpoint, path: &str, body: &Value) {
    let request = endpoint.request().unwrap();
    assert_eq!(request.method(), Method::Post);
    assert_eq!(request.target().unwrap(), path);
    let sent: Value = serde_json::from_slice(request.body().unwrap()).unwrap();
    assert_eq!(&sent, body);
}

#[track_caller]
fn assert_accepted(endpoint: &impl Endpoint) {
    endpoint.request().unwrap().target().unwrap();
}

const CNY_100: Amount<'static> = Amount {
    total: 100,
    currency: Some("CNY"),
};

#[test]
fn a_direct_merchant_sends_the_documented_example() {
    let order = JsapiOrder {
        amount: CNY_100,
        contract_info: ContractInfo::Token("201710180325670965"),
        ..direct(ALL_OPTIONS)
    };
    let own = json!({
        "appid": "wxd678efh567hg6787",
        "mchid": "1230000109",
        "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        "contract_info": {"token": "201710180325670965"},
    });
    assert_posted(
        &order,
        "/v3/pay/transactions/jsapi-with-contract",
        &with_all(full_body(), &own),
    );
}

#[test]
fn a_partner_sends_the_documented_example() {
    let order = PartnerJsapiOrder {
        amount: CNY_100,
        payer: PartnerPayer::Both {
            sp_openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            sub_openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        },
        ..partner(ALL_OPTIONS)
    };
    let own = json!({
        "sp_appid": "wx8888888888888888",
        "sp_mchid": "1230000109",
        "sub_appid": "wxd678efh567hg6999",
        "sub_mchid": "1900000109",
        "payer": {
            "sp_openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            "sub_openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        },
        "contract_info": {"password_free_contract_id": "201710180325670965"},
    });
    assert_posted(
        &order,
        "/v3/pay/partner/transactions/jsapi-with-contract",
        &with_all(full_body(), &own),
    );
}

/// The fields that both kinds of order always send.
fn least_body() -> Value {
    json!({
        "description": "Image形象店-深圳腾大-QQ公仔",
        "out_trade_no": "1217752501201407033233368018",
        "notify_url": "https://www.weixin.qq.com/wxpay/pay.php",
        "amount": {"total": 100},
        "contract_info": {"password_free_contract_id": "201710180325670965"},
    })
}

#[test]
fn absent_fields_are_left_out() {
    let own = json!({
        "appid": "wxd678efh567hg6787",
        "mchid": "1230000109",
        "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
    });
    assert_posted(
        &direct(OrderOptions::default()),
        "/v3/pay/transactions/jsapi-with-contract",
        &with_all(least_body(), &own),
    );
    let order = PartnerJsapiOrder {
        sub_appid: None,
        ..partner(OrderOptions::default())
    };
    let own = json!({
        "sp_appid": "wx8888888888888888",
        "sp_mchid": "1230000109",
        "sub_mchid": "1900000109",
        "payer": {"sp_openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
    });
    assert_posted(
        &order,
        "/v3/pay/partner/transactions/jsapi-with-contract",
        &with_all(least_body(), &own),
    );
}

#[test]
fn absent_fields_are_left_out_of_nested_objects_too() {
    let order = direct(OrderOptions {
        detail: Some(Detail {
            goods_detail: &[GoodsDetail {
                merchant_goods_id: "1246464644",
                quantity: 2,
                unit_price: 528_800,
                wechatpay_goods_id: None,
                goods_name: None,
            }],
            ..Detail::default()
        }),
        scene_info: Some(SceneInfo {
            payer_client_ip: "14.23.150.211",
            store_info: Some(StoreInfo {
                id: "0001",
                ..StoreInfo::default()
            }),
            ..SceneInfo::default()
        }),
        settle_info: Some(SettleInfo::default()),
        ..OrderOptions::default()
    });
    let sent: Value = serde_json::from_slice(order.request().unwrap().body().unwrap()).unwrap();
    assert_eq!(
        sent["detail"],
        json!({"goods_detail": [
            {"merchant_goods_id": "1246464644", "quantity": 2, "unit_price": 528_800},
        ]})
    );
    assert_eq!(
        sent["scene_info"],
        json!({"payer_client_ip": "14.23.150.211", "store_info": {"id": "0001"}})
    );
    assert_eq!(sent["settle_info"], json!({}));
}

#[test]
fn both_kinds_of_order_return_a_prepay_id() {
    fn prepay<E: Endpoint<Response = Prepay>>(body: &str) -> Result<Prepay, String> {
        serde_json::from_str::<E::Response>(body).map_err(|error| error.to_string())
    }
    let body = r#"{"prepay_id":"wx201410272009395522657a690389285100","new":1}"#;
    for read in [prepay::<JsapiOrder<'_>>, prepay::<PartnerJsapiOrder<'_>>] {
        assert_eq!(
            read(body).unwrap().prepay_id,
            "wx201410272009395522657a690389285100"
        );
        let error = read(r#"{"new":1}"#).unwrap_err();
        assert!(error.starts_with("missing field `prepay_id`"), "{error}");
    }
}

const EMPTY: &str = "is empty: wanted a value";

/// A text of `count` characters of three bytes each, since lengths count characters.
fn chinese(count: usize) -> String {
    "公".repeat(count)
}

fn too_long(max: usize) -> String {
    format!("found {} characters: wanted at most {max}", max + 1)
}

#[test]
fn a_direct_merchants_own_fields_are_checked() {
    let order = direct(OrderOptions::default());
    let (at_32, over_32) = ("a".repeat(32), "a".repeat(33));

    let appid = |appid| JsapiOrder { appid, ..order };
    assert_accepted(&appid(&at_32));
    assert_refused(&appid(&over_32), "appid", &too_long(32));
    assert_refused(&appid(""), "appid", EMPTY);

    let mchid = |mchid| JsapiOrder { mchid, ..order };
    assert_accepted(&mchid(&at_32));
    assert_refused(&mchid(&over_32), "mchid", &too_long(32));
    assert_refused(&mchid(""), "mchid", EMPTY);

    let payer = |openid| JsapiOrder {
        payer: Payer { openid },
        ..order
    };
    assert_accepted(&payer("o"));
    assert_refused(&payer(""), "payer.openid", EMPTY);

    let contract = |id| JsapiOrder {
        contract_info: ContractInfo::PasswordFreeContractId(id),
        ..order
    };
    assert_accepted(&contract("c"));
    assert_refused(
        &contract(""),
        "contract_info.password_free_contract_id",
        EMPTY,
    );
}

#[test]
fn a_partners_own_fields_are_checked() {
    let order = partner(OrderOptions::default());
    let (at_32, over_32) = ("a".repeat(32), "a".repeat(33));

    let sp_appid = |sp_appid| PartnerJsapiOrder { sp_appid, ..order };
    assert_accepted(&sp_appid(&at_32));
    assert_refused(&sp_appid(&over_32), "sp_appid", &too_long(32));
    assert_refused(&sp_appid(""), "sp_appid", EMPTY);

    let sp_mchid = |sp_mchid| PartnerJsapiOrder { sp_mchid, ..order };
    assert_accepted(&sp_mchid(&at_32));
    assert_refused(&sp_mchid(&over_32), "sp_mchid", &too_long(32));
    assert_refused(&sp_mchid(""), "sp_mchid", EMPTY);

    let sub_mchid = |sub_mchid| PartnerJsapiOrder { sub_mchid, ..order };
    assert_accepted(&sub_mchid(&at_32));
    assert_refused(&sub_mchid(&over_32), "sub_mchid", &too_long(32));
    assert_refused(&sub_mchid(""), "sub_mchid", EMPTY);

    let sub_appid = |sub_appid| PartnerJsapiOrder {
        sub_appid: Some(sub_appid),
        ..order
    };
    assert_accepted(&sub_appid(&at_32));
    assert_refused(&sub_appid(&over_32), "sub_appid", &too_long(32));
    assert_refused(&sub_appid(""), "sub_appid", EMPTY);

    let contract = |password_free_contract_id| PartnerJsapiOrder {
        contract_info: ContractInfo::PasswordFreeContractId(password_free_contract_id),
        ..order
    };
    assert_accepted(&contract("c"));
    assert_refused(
        &contract(""),
        "contract_info.password_free_contract_id",
        EMPTY,
    );
}

#[test]
fn a_sub_openid_needs_its_sub_appid() {
    let order = |sub_appid, payer| PartnerJsapiOrder {
        sub_appid,
        payer,
        ..partner(OrderOptions::default())
    };
    let absent = "is absent: wanted the AppID to which payer.sub_openid belongs";
    let both = PartnerPayer::Both {
        sp_openid: "o1",
        sub_openid: "o2",
    };
    assert_accepted(&order(None, PartnerPayer::SpOpenid("o1")));
    for payer in [PartnerPayer::SubOpenid("o2"), both] {
        assert_accepted(&order(Some("wx1"), payer));
        assert_refused(&order(None, payer), "sub_appid", absent);
    }
}

#[test]
fn a_partners_payer_has_an_identifier() {
    let order = |payer| PartnerJsapiOrder {
        payer,
        ..partner(OrderOptions::default())
    };
    let both = |sp_openid, sub_openid| PartnerPayer::Both {
        sp_openid,
        sub_openid,
    };
    assert_accepted(&order(both("o1", "o2")));
    assert_refused(&order(both("", "o2")), "payer.sp_openid", EMPTY);
    assert_refused(&order(both("o1", "")), "payer.sub_openid", EMPTY);
    assert_refused(&order(PartnerPayer::SpOpenid("")), "payer.sp_openid", EMPTY);
    assert_refused(
        &order(PartnerPayer::SubOpenid("")),
        "payer.sub_openid",
        EMPTY,
    );
    let request = order(PartnerPayer::SubOpenid("o2")).request().unwrap();
    let sent: Value = serde_json::from_slice(request.body().unwrap()).unwrap();
    assert_eq!(sent["payer"], json!({"sub_openid": "o2"}));
}

/// The same fields in both kinds of order.
fn both_kinds<'a>(
    description: &'a str,
    out_trade_no: &'a str,
    notify_url: &'a str,
    options: OrderOptions<'a>,
) -> (JsapiOrder<'a>, PartnerJsapiOrder<'a>) {
    let direct = JsapiOrder {
        description,
        out_trade_no,
        notify_url,
        ..direct(options)
    };
    let partner = PartnerJsapiOrder {
        description,
        out_trade_no,
        notify_url,
        ..partner(options)
    };
    (direct, partner)
}

const NUMBER: &str = "1217752501201407033233368018";
const URL: &str = "https://www.weixin.qq.com/wxpay/pay.php";

#[track_caller]
fn assert_both_accepted((direct, partner): (JsapiOrder<'_>, PartnerJsapiOrder<'_>)) {
    assert_accepted(&direct);
    assert_accepted(&partner);
}

#[track_caller]
fn assert_both_refused(
    (direct, partner): (JsapiOrder<'_>, PartnerJsapiOrder<'_>),
    field: &str,
    problem: &str,
) {
    assert_refused(&direct, field, problem);
    assert_refused(&partner, field, problem);
}

#[test]
fn descriptions_have_1_to_127_characters() {
    let none = OrderOptions::default();
    let order = |description| both_kinds(description, NUMBER, URL, none);
    let (at_127, over_127) = (chinese(127), chinese(128));
    assert_both_accepted(order(&at_127));
    assert_both_refused(order(&over_127), "description", &too_long(127));
    assert_both_refused(order(""), "description", EMPTY);
}

#[test]
fn order_numbers_have_documented_characters_and_lengths() {
    let none = OrderOptions::default();
    let order = |number| both_kinds("d", number, URL, none);
    let (at_32, over_32) = ("a".repeat(32), "a".repeat(33));
    assert_both_accepted(order("aZ09_-*"));
    assert_both_accepted(order(&at_32));
    assert_both_refused(order(&over_32), "out_trade_no", &too_long(32));
    assert_both_refused(order(""), "out_trade_no", EMPTY);
    for (number, found) in [("1234567|", '|'), ("1234567 ", ' '), ("1234567号", '号')] {
        let problem = format!(
            "found the character {found:?}: wanted ASCII digits, letters, '_', '-' and '*' only"
        );
        assert_both_refused(order(number), "out_trade_no", &problem);
    }
    // The minimum length is documented only for direct merchants.
    let (direct, partner) = order("12345");
    assert_refused(
        &direct,
        "out_trade_no",
        "found 5 characters: wanted at least 6",
    );
    assert_accepted(&partner);
    assert_both_accepted(order("123456"));
}

#[test]
fn notify_urls_are_https_without_a_query_and_up_to_255_characters() {
    let none = OrderOptions::default();
    let order = |url| both_kinds("d", NUMBER, url, none);
    let start = "https://yourapp.com/";
    let url = |count: usize| format!("{start}{}", "n".repeat(count - start.len()));
    let (at_255, over_255) = (url(255), url(256));
    assert_both_accepted(order(&at_255));
    assert_both_refused(order(&over_255), "notify_url", &too_long(255));
    // A path is required only for contracts.
    assert_both_accepted(order("https://example.com"));
    assert_both_accepted(order("https://user@example.com:8443#a?b"));
    for (url, found) in [
        ("", "no URL"),
        ("ftp://yourapp.com/notify", "a URL that is not https"),
        ("https://yourapp.com/notify?a=b", "a URL with a query"),
        ("https://yourapp.com?a=b", "a URL with a query"),
        ("https://", "a URL without a host"),
        ("https://user@", "a URL without a host"),
        ("https://yourapp.com ", "a URL with the character ' '"),
    ] {
        let (direct, partner) = order(url);
        let problem = format!("found {found}: wanted an https:// URL with a host, without a query");
        assert_refused(&direct, "notify_url", &problem);
        // A partner may use plain HTTP on a dedicated line.
        let problem = format!("{problem} (http:// on a dedicated line)")
            .replace("that is not https", "that is not https or http");
        assert_refused(&partner, "notify_url", &problem);
    }
    for url in ["http://10.0.0.1/paid", "HTTP://pay.internal:8080"] {
        let (direct, partner) = order(url);
        let problem =
            "found a URL that is not https: wanted an https:// URL with a host, without a query";
        assert_refused(&direct, "notify_url", problem);
        assert_accepted(&partner);
    }
}

#[test]
fn end_times_have_the_form_of_rfc_3339() {
    let order = |time_expire| {
        let options = OrderOptions {
            time_expire: Some(time_expire),
            ..OrderOptions::default()
        };
        both_kinds("d", NUMBER, URL, options)
    };
    for time in [
        "2018-06-08T10:34:56+08:00",
        "2018-06-08T10:34:56-03:30",
        "2018-06-08T10:34:56Z",
        "2018-06-08T10:34:56.123+08:00",
    ] {
        assert_both_accepted(order(time));
    }
    let no_zone = "has no valid time zone after the seconds";
    for (time, found) in [
        ("", "is empty"),
        ("20180608103456", "has no valid date"),
        ("2018-06-08", "has no valid time of day"),
        ("2018-06-08T10:34+08:00", "has no valid time of day"),
        ("2018-06-08 10:34:56+08:00", "found the character ' '"),
        ("2018-06-08T10:34:56", no_zone),
        ("2018-06-08T10:34:56.+08:00", no_zone),
        ("2018-06-08T10:34:56+0800", no_zone),
        ("2018-06-08T10:34:56z", "found the character 'z'"),
        ("2018-06-08T10:34:56+08:00 ", "found the character ' '"),
        ("２018-06-08T10:34:56+08:00", "found the character '２'"),
    ] {
        let problem = format!("{found}: wanted a time like 2018-06-08T10:34:56+08:00");
        assert_both_refused(order(time), "time_expire", &problem);
    }
    let fraction = |digits| format!("2018-06-08T10:34:56.{}Z", "0".repeat(digits));
    let (at_64, over_64) = (fraction(43), fraction(44));
    assert_both_accepted(order(&at_64));
    assert_both_refused(order(&over_64), "time_expire", &too_long(64));
}

#[test]
fn attachments_and_tags_have_their_lengths() {
    let none = OrderOptions::default();
    let attach = |attach| {
        let options = OrderOptions {
            attach: Some(attach),
            ..none
        };
        both_kinds("d", NUMBER, URL, options)
    };
    let (at_128, over_128) = (chinese(128), chinese(129));
    assert_both_accepted(attach(&at_128));
    assert_both_refused(attach(&over_128), "attach", &too_long(128));

    let goods_tag = |goods_tag| {
        let options = OrderOptions {
            goods_tag: Some(goods_tag),
            ..none
        };
        both_kinds("d", NUMBER, URL, options)
    };
    let (at_32, over_32) = (chinese(32), chinese(33));
    assert_both_accepted(goods_tag(&at_32));
    assert_both_refused(goods_tag(&over_32), "goods_tag", &too_long(32));
}

#[test]
fn required_fields_of_nested_objects_are_checked() {
    let none = OrderOptions::default();
    let goods = |second| {
        let goods = ["1", second].map(|merchant_goods_id| GoodsDetail {
            merchant_goods_id,
            quantity: 1,
            unit_price: 1,
            ..GoodsDetail::default()
        });
        direct(OrderOptions {
            detail: Some(Detail {
                goods_detail: &goods,
                ..Detail::default()
            }),
            ..none
        })
        .request()
        .map(|_| ())
    };
    assert_eq!(goods("2"), Ok(()));
    assert_eq!(
        goods(""),
        Err(InvalidField::new(
            "detail.goods_detail[1].merchant_goods_id",
            EMPTY
        ))
    );

    let scene = |payer_client_ip, store| {
        let scene_info = SceneInfo {
            payer_client_ip,
            device_id: None,
            store_info: Some(StoreInfo {
                id: store,
                ..StoreInfo::default()
            }),
        };
        let options = OrderOptions {
            scene_info: Some(scene_info),
            ..none
        };
        both_kinds("d", NUMBER, URL, options)
    };
    assert_both_accepted(scene("::1", "0001"));
    assert_both_refused(scene("", "0001"), "scene_info.payer_client_ip", EMPTY);
    assert_both_refused(scene("::1", ""), "scene_info.store_info.id", EMPTY);
}

#[test]
fn a_total_is_at_least_one_fen() {
    let order = |total| {
        let (direct, partner) = both_kinds("d", NUMBER, URL, OrderOptions::default());
        let amount = Amount::fen(total);
        (
            JsapiOrder { amount, ..direct },
            PartnerJsapiOrder { amount, ..partner },
        )
    };
    assert_both_accepted(order(1));
    assert_both_refused(order(0), "amount.total", "is 0: wanted 1 at least");
}

#[test]
fn a_detail_needs_goods() {
    let order = |goods_detail| {
        let options = OrderOptions {
            detail: Some(Detail {
                cost_price: Some(1),
                goods_detail,
                ..Detail::default()
            }),
            ..OrderOptions::default()
        };
        both_kinds("d", NUMBER, URL, options)
    };
    let goods = [GoodsDetail {
        merchant_goods_id: "1246464644",
        ..GoodsDetail::default()
    }];
    assert_both_accepted(order(&goods));
    let problem = "is empty: wanted at least one entry, or no detail";
    assert_both_refused(order(&[]), "detail.goods_detail", problem);
}

#[test]
fn identifiers_are_visible_ascii_characters() {
    let order = direct(OrderOptions::default());
    for (openid, found) in [
        (" o", ' '),
        ("o\n", '\n'),
        ("o\u{a0}", '\u{a0}'),
        ("用", '用'),
    ] {
        let payer = Payer { openid };
        let problem =
            format!("found the character {found:?}: wanted visible ASCII characters only");
        assert_refused(&JsapiOrder { payer, ..order }, "payer.openid", &problem);
        let order = partner(OrderOptions::default());
        let payer = PartnerPayer::SpOpenid(openid);
        let order = PartnerJsapiOrder { payer, ..order };
        assert_refused(&order, "payer.sp_openid", &problem);
    }
    let token = |token| JsapiOrder {
        contract_info: ContractInfo::Token(token),
        ..order
    };
    assert_accepted(&token("201710180325670965"));
    assert_refused(&token(""), "contract_info.token", EMPTY);
}

#[test]
fn a_payer_is_converted_from_two_optional_identifiers() {
    let payer = |sp_openid, sub_openid| PartnerPayer::try_from((sp_openid, sub_openid));
    assert_eq!(payer(Some("o1"), None), Ok(PartnerPayer::SpOpenid("o1")));
    assert_eq!(payer(None, Some("o2")), Ok(PartnerPayer::SubOpenid("o2")));
    let both = PartnerPayer::Both {
        sp_openid: "o1",
        sub_openid: "o2",
    };
    assert_eq!(payer(Some("o1"), Some("o2")), Ok(both));
    let problem = "is absent: wanted it or payer.sub_openid";
    assert_eq!(
        payer(None, None),
        Err(InvalidField::new("payer.sp_openid", problem))
    );
}

#[test]
fn four_byte_characters_are_refused_anywhere() {
    let order = |attach| {
        let options = OrderOptions {
            attach: Some(attach),
            ..OrderOptions::default()
        };
        direct(options)
            .request()
            .and_then(|request| request.target().map(|_| ()))
            .map_err(|error| error.field().to_owned())
    };
    assert_eq!(order("微信"), Ok(()));
    assert_eq!(order("微信😀"), Err("body".to_owned()));
}

struct Vector {
    signer: Signer,
    appid: String,
    prepay_id: String,
    nonce: String,
    signature: String,
    now: SystemTime,
}

/// Tencent's published pay signature.
fn vector() -> Vector {
    let all: Value = serde_json::from_str(include_str!("../vectors/official.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let vector = all["sign"]
        .as_array()
        .unwrap()
        .iter()
        .find(|vector| vector["name"] == "paysign_jsapi_miniprogram")
        .unwrap();
    let message = text(&vector["message"]);
    let lines: Vec<&str> = message.lines().collect();
    let [appid, time, nonce, package] = lines.as_slice() else {
        panic!("{} lines", lines.len());
    };
    let key = PrivateKey::from_pem(text(&all["private_key_pem"]).as_bytes()).unwrap();
    Vector {
        signer: Signer::new(text(&all["mchid"]), text(&all["serial_no"]), key).unwrap(),
        appid: (*appid).to_owned(),
        prepay_id: package.strip_prefix("prepay_id=").unwrap().to_owned(),
        nonce: (*nonce).to_owned(),
        signature: text(&vector["signature"]),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(time.parse().unwrap()),
    }
}

#[test]
fn pay_parameters_are_the_published_ones() {
    let v = vector();
    let pay = PayParameters::sign(&v.signer, &v.appid, &v.prepay_id, v.now, &v.nonce).unwrap();
    assert_eq!(
        serde_json::to_value(&pay).unwrap(),
        json!({
            "timeStamp": "1554208460",
            "nonceStr": "593BEC0C930BF1AFEB40B4A08C8FB242",
            "package": "prepay_id=wx201410272009395522657a690389285100",
            "signType": "RSA",
            "paySign": v.signature,
        })
    );
}

#[test]
fn pay_parameters_with_characters_that_would_change_a_signed_line_are_refused() {
    let v = vector();
    let sign = |appid: &str, prepay_id: &str, nonce: &str| {
        PayParameters::sign(&v.signer, appid, prepay_id, v.now, nonce)
            .map(|pay| pay.pay_sign)
            .map_err(|error| {
                assert_eq!(error.outcome(), Outcome::NotSent);
                match error {
                    Error::InvalidField(error) => error.to_string(),
                    other => panic!("{other}"),
                }
            })
    };
    assert_eq!(sign(&v.appid, &v.prepay_id, &v.nonce), Ok(v.signature));
    let rows = [
        (("", "p", "n"), "appid: is empty: wanted a value"),
        (("a", "", "n"), "prepay_id: is empty: wanted a value"),
        (
            ("a\nb", "p", "n"),
            "appid: found the character '\\n': wanted visible ASCII characters only",
        ),
        (
            ("a", "p\n", "n"),
            "prepay_id: found the character '\\n': wanted visible ASCII characters only",
        ),
        (
            ("a", "prepay_id=p", "n"),
            "prepay_id: starts with \"prepay_id=\": wanted the id alone, as the order returned it",
        ),
        (
            ("a", "p", ""),
            "nonce_str: is empty: wanted 1 to 32 ASCII letters and digits",
        ),
        (
            ("a", "p", "n\n"),
            "nonce_str: found the character '\\n': wanted 1 to 32 ASCII letters and digits",
        ),
    ];
    for ((appid, prepay_id, nonce), problem) in rows {
        assert_eq!(sign(appid, prepay_id, nonce), Err(problem.to_owned()));
    }
}
