//! The sandbox's contracts and orders, asked by a raw client: the fields of each call, and the states of a contract.

use std::time::Duration;

use serde_json::{Value, json};
use wechatpay_contract::sandbox::{Sandbox, UserError};

use crate::raw::{Answer, Raw, pre_sign_body};

const CONTRACTS: &str = "/v3/password-exempt-contract/contracts";
const TWO_HOURS: Duration = Duration::from_secs(2 * 60 * 60);

/// A sandbox and a connection to it.
struct Desk {
    sandbox: Sandbox,
    raw: Raw,
}

impl Desk {
    fn open() -> Self {
        let sandbox = Sandbox::start().unwrap();
        let raw = Raw::connect(&sandbox);
        Self { sandbox, raw }
    }

    fn post(&mut self, target: &str, body: &Value) -> Answer {
        self.raw
            .request("POST", target, body.to_string().as_bytes());
        self.raw.answer()
    }

    fn pre_sign(&mut self, mode: &str, way: &str, body: &Value) -> Answer {
        self.post(&format!("{CONTRACTS}/{mode}/pre-entrust-sign/{way}"), body)
    }

    fn pre_signed(&mut self, code: &str) {
        let answer = self.pre_sign("ecommerce", "mini-program", &pre_sign_body(code));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn signed(&mut self, code: &str) -> String {
        self.pre_signed(code);
        self.sandbox.user_signs(code).unwrap()
    }

    fn query(&mut self, code: &str) -> Answer {
        let target = format!("{CONTRACTS}/service-id/12535/out-contract-code/{code}");
        self.raw.request("GET", &target, b"");
        self.raw.answer()
    }

    fn terminate(&mut self, code: &str, remark: &str) -> Answer {
        let target = format!("{CONTRACTS}/service-id/12535/out-contract-code/{code}/terminate");
        self.post(&target, &json!({"contract_termination_remark": remark}))
    }
}

/// `body` without a field, or with another value in a field; `pointer` is a JSON pointer without its first slash.
fn with(body: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut body = body.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    let parent = match parent {
        "" => &mut body,
        parent => body.pointer_mut(&format!("/{parent}")).unwrap(),
    };
    match (parent, value) {
        (Value::Array(entries), Some(value)) => entries[name.parse::<usize>().unwrap()] = value,
        (Value::Object(members), Some(value)) => _ = members.insert(name.to_owned(), value),
        (Value::Object(members), None) => _ = members.remove(name).expect(pointer),
        (parent, value) => panic!("{pointer}: {parent:?} {value:?}"),
    }
    body
}

fn assert_param_error(answer: &Answer, field: &str, issue: &str) {
    assert_eq!(answer.refusal(), (400, "PARAM_ERROR".to_owned()), "{field}");
    let body = answer.json();
    assert_eq!(body["detail"]["field"], format!("/body/{field}"), "{body}");
    assert_eq!(body["detail"]["issue"], issue, "{body}");
    assert_eq!(body["detail"]["location"], "body", "{body}");
    assert!(answer.header("wechatpay-signature").is_some());
}

fn invalid_request() -> (u16, String) {
    (400, "INVALID_REQUEST".to_owned())
}

/// Each mode with a body in which all is well, and whether its page gives lengths.
fn modes() -> [(&'static str, Value, bool); 4] {
    let direct = pre_sign_body("code1");
    let service_provider = json!({
        "sp_appid": "wxcbda96de0b165486",
        "sub_mchid": "1900000110",
        "sub_appid": "wxcbda96de0b165489",
        "service_id": 12535,
        "out_contract_code": "code1",
        "notify_url": "https://yourapp.com/notify",
        "contract_display_account": "微信代扣用户A",
    });
    let qs = json!({
        "appid": "wxcbda96de0b165486",
        "sub_mchid": "1900000110",
        "sub_appid": "wxcbda96de0b165489",
        "service_id": 12535,
        "out_contract_code": "code1",
        "notify_url": "https://yourapp.com/notify",
        "contract_display_account": "微信代扣用户A",
        "sub_openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    });
    [
        ("normal", direct.clone(), true),
        ("ecommerce", direct, false),
        ("service-provider", service_provider, false),
        ("qs", qs, true),
    ]
}

#[test]
fn each_mode_answers_as_its_page_says() {
    for (mode, body, _) in modes() {
        let mut desk = Desk::open();
        let answer = desk.pre_sign(mode, "mini-program", &body).json();
        let mut names: Vec<_> = answer.as_object().unwrap().keys().collect();
        names.sort();
        let mut expected = vec![
            "mchid",
            "out_contract_code",
            "pre_entrustweb_id",
            "service_id",
            "sign_mp_appid",
            "sign_mp_path",
        ];
        if mode == "service-provider" {
            expected.push("sub_mchid");
        }
        assert_eq!(names, expected, "{mode}");
        assert_eq!(answer["mchid"], Sandbox::MCHID);
        assert_eq!(answer["service_id"], 12535);
        assert_eq!(answer["out_contract_code"], "code1");
        assert_eq!(answer["sign_mp_appid"], "wxbd687630cd02ce1d");
        assert_eq!(answer["sign_mp_path"], "pages/PwdExemptContract/index");

        let body = with(&body, "prepay_id", Some("wx2014102".into()));
        let answer = desk.pre_sign(mode, "pay-redirect-sign", &body).json();
        let mut expected = json!({
            "mchid": Sandbox::MCHID,
            "service_id": 12535,
            "out_contract_code": "code1",
        });
        if mode == "service-provider" {
            expected["sub_mchid"] = "1900000110".into();
        }
        assert_eq!(answer, expected, "{mode}");
    }
}

#[test]
fn each_required_field_of_each_mode_is_required() {
    let mut desk = Desk::open();
    for (mode, body, _) in modes() {
        for way in ["mini-program", "pay-redirect-sign"] {
            let mut body = body.clone();
            if way == "pay-redirect-sign" {
                body["prepay_id"] = "wx2014102".into();
            }
            assert_eq!(desk.pre_sign(mode, way, &body).status, 200, "{mode}");
            let fields: Vec<String> = body.as_object().unwrap().keys().cloned().collect();
            for field in fields.iter().filter(|field| *field != "sub_openid") {
                let answer = desk.pre_sign(mode, way, &with(&body, field, None));
                assert_param_error(&answer, field, "is required");
                let null = desk.pre_sign(mode, way, &with(&body, field, Some(Value::Null)));
                assert_param_error(&null, field, "is null");
                let wrong = desk.pre_sign(mode, way, &with(&body, field, Some(json!([]))));
                let issue = match field.as_str() {
                    "service_id" => "is not a whole number",
                    _ => "is not a string",
                };
                assert_param_error(&wrong, field, issue);
                if field != "service_id" {
                    let empty = desk.pre_sign(mode, way, &with(&body, field, Some("".into())));
                    assert_param_error(&empty, field, "is empty");
                }
            }
        }
    }
    assert!(
        desk.sandbox
            .requests()
            .iter()
            .all(|request| request.took_effect == (request.status == 200))
    );
}

#[test]
fn fields_that_are_not_known_do_no_harm() {
    let mut desk = Desk::open();
    let body = with(
        &pre_sign_body("code1"),
        "new_field",
        Some(json!({"a": [1, "b"]})),
    );
    let answer = desk.pre_sign("normal", "mini-program", &body);
    assert_eq!(answer.status, 200);
}

#[test]
fn documented_lengths_are_checked_and_inferred_ones_not() {
    let lengths = [
        ("appid", 32),
        ("sub_appid", 32),
        ("sub_mchid", 32),
        ("out_contract_code", 32),
        ("contract_display_account", 32),
        ("openid", 128),
        ("sub_openid", 128),
        ("prepay_id", 64),
    ];
    let mut desk = Desk::open();
    for (mode, mut body, documented) in modes() {
        body["prepay_id"] = "wx2014102".into();
        for (field, max) in lengths {
            if body.get(field).is_none() {
                continue;
            }
            let fill = match field {
                "contract_display_account" => "用",
                _ => "a",
            };
            let longest = with(&body, field, Some(fill.repeat(max).into()));
            let answer = desk.pre_sign(mode, "pay-redirect-sign", &longest);
            assert_eq!(answer.status, 200, "{mode} {field}");
            let longer = with(&body, field, Some(fill.repeat(max + 1).into()));
            let answer = desk.pre_sign(mode, "pay-redirect-sign", &longer);
            if documented || field == "prepay_id" {
                assert_param_error(&answer, field, "is too long");
            } else {
                assert_eq!(answer.status, 200, "{mode} {field}");
            }
        }
        let url = |length: usize| {
            let start = "https://yourapp.com/";
            format!("{start}{}", "n".repeat(length - start.len()))
        };
        let longest = with(&body, "notify_url", Some(url(256).into()));
        assert_eq!(desk.pre_sign(mode, "mini-program", &longest).status, 200);
        let longer = with(&body, "notify_url", Some(url(257).into()));
        let answer = desk.pre_sign(mode, "mini-program", &longer);
        assert_eq!(answer.status == 400, documented, "{mode}");
    }
}

#[test]
fn values_are_of_their_documented_form() {
    let not_a_url = "is not an https URL with a path and without a query";
    let not_a_code = "has characters other than digits and letters";
    let four_bytes = "has a character of four UTF-8 bytes";
    let mut desk = Desk::open();
    for (field, value, issue) in [
        ("notify_url", json!("http://yourapp.com/notify"), not_a_url),
        ("notify_url", json!("https://yourapp.com"), not_a_url),
        ("notify_url", json!("https:///notify"), not_a_url),
        (
            "notify_url",
            json!("https://yourapp.com/notify?a=1"),
            not_a_url,
        ),
        ("notify_url", json!("https://yourapp.com?a=/"), not_a_url),
        (
            "notify_url",
            json!("https://yourapp.com/notify#a"),
            not_a_url,
        ),
        ("out_contract_code", json!("code_1"), not_a_code),
        ("out_contract_code", json!("code 1"), not_a_code),
        ("out_contract_code", json!("编号1"), not_a_code),
        ("contract_display_account", json!("A😀"), four_bytes),
        ("openid", json!("😀"), four_bytes),
        ("service_id", json!("12535"), "is not a whole number"),
        ("service_id", json!(-1), "is not a whole number"),
        ("service_id", json!(1.5), "is not a whole number"),
        ("appid", json!(1), "is not a string"),
    ] {
        for mode in ["normal", "ecommerce"] {
            let body = with(&pre_sign_body("code1"), field, Some(value.clone()));
            let answer = desk.pre_sign(mode, "mini-program", &body);
            assert_param_error(&answer, field, issue);
            assert_eq!(answer.json()["detail"]["value"], value);
        }
    }
    let qs = with(&modes()[3].1, "sub_openid", None);
    let answer = desk.pre_sign("qs", "mini-program", &qs);
    assert_param_error(&answer, "openid", "is required unless sub_openid is given");
}

#[test]
fn bodies_that_are_no_json_object_are_refused() {
    let mut desk = Desk::open();
    let target = format!("{CONTRACTS}/normal/pre-entrust-sign/mini-program");
    for body in ["", "{", "not json", "\u{FEFF}{}", "{}{}"] {
        desk.raw.request("POST", &target, body.as_bytes());
        let answer = desk.raw.answer();
        assert_eq!(answer.refusal(), (400, "PARAM_ERROR".to_owned()), "{body}");
        assert_eq!(answer.json()["message"], "the body is not JSON");
    }
    for body in ["[]", "\"text\"", "1"] {
        desk.raw.request("POST", &target, body.as_bytes());
        assert_param_error(&desk.raw.answer(), "", "is not an object");
    }
    desk.raw.request("POST", &target, b"{\"appid\":\"\xff\"}");
    assert_eq!(desk.raw.answer().status, 400);
}

#[test]
fn a_contract_lives_from_session_to_termination() {
    let mut desk = Desk::open();
    let not_there = (404, "RESOURCE_NOT_EXISTS".to_owned());
    assert_eq!(desk.query("code1").refusal(), not_there);
    assert_eq!(desk.terminate("code1", "bye").refusal(), invalid_request());

    desk.pre_signed("code1");
    assert_eq!(desk.query("code1").refusal(), not_there);
    assert_eq!(desk.terminate("code1", "bye").refusal(), invalid_request());
    assert_eq!(
        desk.sandbox.user_terminates("code1"),
        Err(UserError::NotSigned)
    );

    let contract_id = desk.sandbox.user_signs("code1").unwrap();
    let contract = desk.query("code1").json();
    let signed_time = contract["contract_signed_time"].as_str().unwrap();
    assert_eq!(signed_time.len(), "2020-09-10T13:29:35+08:00".len());
    assert_eq!(
        contract,
        json!({
            "mchid": Sandbox::MCHID,
            "contract_id": contract_id,
            "appid": "wxd678efh567hg6787",
            "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            "service_id": 12535,
            "out_contract_code": "code1",
            "contract_display_account": "微信代扣用户A",
            "contract_state": "SIGNED",
            "contract_signed_time": signed_time,
        })
    );
    assert_eq!(
        desk.sandbox.user_signs("code1"),
        Err(UserError::AlreadySigned)
    );
    let body = pre_sign_body("code1");
    let again = desk.pre_sign("ecommerce", "mini-program", &body);
    assert_eq!(again.refusal(), invalid_request());

    let answer = desk.terminate("code1", "用户解约");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"mchid": Sandbox::MCHID, "service_id": 12535, "out_contract_code": "code1"})
    );
    let contract = desk.query("code1").json();
    assert_eq!(contract["contract_state"], "TERMINATED");
    assert_eq!(contract["contract_id"], contract_id);
    assert_eq!(contract["contract_signed_time"], signed_time);
    let info = &contract["contract_terminate_info"];
    assert_eq!(info["contract_termination_mode"], "MCH_API_TERMINATE");
    assert_eq!(info["contract_termination_remark"], "用户解约");
    assert!(info["contract_terminated_time"].is_string());

    assert_eq!(desk.terminate("code1", "bye").refusal(), invalid_request());
    assert_eq!(
        desk.sandbox.user_terminates("code1"),
        Err(UserError::Terminated)
    );
    assert_eq!(desk.sandbox.user_signs("code1"), Err(UserError::Terminated));
    let again = desk.pre_sign("ecommerce", "mini-program", &body);
    assert_eq!(again.refusal(), invalid_request());
}

#[test]
fn the_user_can_terminate_too() {
    let mut desk = Desk::open();
    desk.signed("code1");
    desk.sandbox.user_terminates("code1").unwrap();
    let contract = desk.query("code1").json();
    let info = &contract["contract_terminate_info"];
    assert_eq!(info["contract_termination_mode"], "USER_TERMINATE");
    assert_eq!(info.get("contract_termination_remark"), None);
    assert_eq!(desk.terminate("code1", "bye").refusal(), invalid_request());
}

#[test]
fn a_contract_belongs_to_its_service() {
    let mut desk = Desk::open();
    desk.signed("code1");
    let other = format!("{CONTRACTS}/service-id/12536/out-contract-code/code1");
    desk.raw.request("GET", &other, b"");
    assert_eq!(desk.raw.answer().status, 404);
    let remark = json!({"contract_termination_remark": "bye"});
    let answer = desk.post(&format!("{other}/terminate"), &remark);
    assert_eq!(answer.refusal(), invalid_request());
    assert_eq!(desk.query("code1").json()["contract_state"], "SIGNED");
}

#[test]
fn a_termination_needs_a_remark() {
    let mut desk = Desk::open();
    desk.signed("code1");
    let target = format!("{CONTRACTS}/service-id/12535/out-contract-code/code1/terminate");
    let field = "contract_termination_remark";
    assert_param_error(&desk.post(&target, &json!({})), field, "is required");
    assert_param_error(&desk.terminate("code1", ""), field, "is empty");
    let answer = desk.terminate("code1", &"因".repeat(257));
    assert_param_error(&answer, field, "is too long");
    assert_eq!(desk.query("code1").json()["contract_state"], "SIGNED");
    assert_eq!(desk.terminate("code1", &"因".repeat(256)).status, 200);
}

#[test]
fn a_session_lasts_two_hours() {
    let mut desk = Desk::open();
    desk.pre_signed("code1");
    desk.sandbox.advance_clock(TWO_HOURS);
    assert_eq!(
        desk.sandbox.user_signs("code1"),
        Err(UserError::SessionEnded)
    );
    assert_eq!(
        desk.sandbox.user_gives_up("code1"),
        Err(UserError::SessionEnded)
    );
    desk.pre_signed("code1");
    // Ten minutes are left to the machine that runs the test.
    desk.sandbox
        .advance_clock(TWO_HOURS - Duration::from_secs(600));
    desk.sandbox.user_signs("code1").unwrap();
}

#[test]
fn pre_signing_again_gives_a_new_session() {
    let mut desk = Desk::open();
    let body = pre_sign_body("code1");
    let mut session = || {
        let answer = desk.pre_sign("ecommerce", "mini-program", &body).json();
        answer["pre_entrustweb_id"].as_str().unwrap().to_owned()
    };
    assert_ne!(session(), session());
    desk.sandbox.user_gives_up("code1").unwrap();
    assert_eq!(
        desk.sandbox.user_signs("code1"),
        Err(UserError::SessionEnded)
    );
    desk.pre_signed("code1");
    desk.sandbox.user_signs("code1").unwrap();
}

#[test]
fn the_user_signs_where_the_contract_says() {
    let mut desk = Desk::open();
    assert_eq!(desk.sandbox.user_signs("code1"), Err(UserError::Unknown));
    assert_eq!(desk.sandbox.user_gives_up("code1"), Err(UserError::Unknown));
    assert_eq!(
        desk.sandbox.user_terminates("code1"),
        Err(UserError::Unknown)
    );
    desk.pre_signed("code1");
    assert_eq!(
        desk.sandbox.user_pays_and_signs("code1"),
        Err(UserError::SignsInMiniProgram)
    );
    let body = with(
        &pre_sign_body("code2"),
        "prepay_id",
        Some("wx2014102".into()),
    );
    desk.pre_sign("ecommerce", "pay-redirect-sign", &body);
    assert_eq!(desk.sandbox.user_signs("code2"), Err(UserError::PaysFirst));
    let contract_id = desk.sandbox.user_pays_and_signs("code2").unwrap();
    assert_eq!(desk.query("code2").json()["contract_id"], contract_id);
}

#[test]
fn a_service_providers_contract_shows_both_sides() {
    let mut desk = Desk::open();
    let mut body = modes()[2].1.clone();
    body["sp_openid"] = "sp-user".into();
    body["sub_openid"] = "sub-user".into();
    desk.pre_sign("service-provider", "mini-program", &body);
    desk.sandbox.user_signs("code1").unwrap();
    let contract = desk.query("code1").json();
    assert_eq!(contract["appid"], body["sp_appid"]);
    assert_eq!(contract["sub_appid"], body["sub_appid"]);
    assert_eq!(contract["openid"], "sp-user");
    assert_eq!(contract["sub_openid"], "sub-user");
}

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

fn direct_order(contract_id: &str) -> Value {
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
        let mut desk = Desk::open();
        let answer = desk.post(path, &order);
        assert_eq!(answer.refusal(), invalid_request());
        let contract_id = desk.signed("code1");
        let answer = desk.post(path, &naming(&contract_id));
        assert_eq!(answer.status, 200, "{answer:?}");
        let prepay_id = answer.json()["prepay_id"].as_str().unwrap().to_owned();
        assert!(prepay_id.starts_with("wx") && prepay_id.len() <= 64);

        let mut body = pre_sign_body("code2");
        body["prepay_id"] = prepay_id.into();
        let answer = desk.pre_sign("ecommerce", "pay-redirect-sign", &body);
        assert_eq!(answer.status, 200);

        desk.sandbox.user_terminates("code1").unwrap();
        let answer = desk.post(path, &naming(&contract_id));
        assert_eq!(answer.refusal(), invalid_request());
    }
}

#[test]
fn each_required_field_of_an_order_is_required() {
    let mut desk = Desk::open();
    let contract_id = desk.signed("code1");
    let both = [
        "description",
        "out_trade_no",
        "notify_url",
        "amount",
        "amount/total",
        "payer",
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
        (PARTNER, partner_order(&contract_id), partner),
    ] {
        assert_eq!(desk.post(path, &order).status, 200);
        for field in both.into_iter().chain(own) {
            let answer = desk.post(path, &with(&order, field, None));
            assert_param_error(&answer, field, "is required");
        }
        for field in [
            "attach",
            "goods_tag",
            "support_fapiao",
            "amount/currency",
            "detail",
            "detail/goods_detail",
            "scene_info",
            "scene_info/store_info",
            "settle_info",
        ] {
            let answer = desk.post(path, &with(&order, field, None));
            assert_eq!(answer.status, 200, "{field}");
        }
    }
}

#[test]
fn the_values_of_an_order_are_of_their_documented_form() {
    let mut desk = Desk::open();
    let contract_id = desk.signed("code1");
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
            "is not an https URL with a path and without a query",
        ),
        ("support_fapiao", json!("true"), "is not a boolean"),
        ("amount", json!(100), "is not an object"),
        ("amount/total", json!("100"), "is not a whole number"),
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
        let answer = desk.post(DIRECT, &with(&order, field, Some(value)));
        assert_param_error(&answer, field, issue);
    }
    let partner = partner_order(&contract_id);
    let short = with(&partner, "out_trade_no", Some("_-*1".into()));
    assert_eq!(desk.post(PARTNER, &short).status, 200);
    let answer = desk.post(PARTNER, &with(&partner, "sub_appid", None));
    assert_param_error(&answer, "sub_appid", "is required with payer/sub_openid");
    let answer = desk.post(PARTNER, &with(&partner, "payer", Some(json!({}))));
    let issue = "is required unless payer/sub_openid is given";
    assert_param_error(&answer, "payer/sp_openid", issue);
}

#[test]
fn an_order_may_expire_soon() {
    let mut desk = Desk::open();
    let contract_id = desk.signed("code1");
    let in_an_hour = crate::raw::now() + 3600;
    let time = crate::raw::command(
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
    assert_eq!(desk.post(DIRECT, &order).status, 200);
}
