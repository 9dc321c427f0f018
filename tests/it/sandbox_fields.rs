//! The fields of each pre-signing call in the sandbox.

use serde_json::{Value, json};
use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::sandbox::Sandbox;

use crate::fixture::{CONTRACTS, Fixture, assert_param_error, service_provider_body, with};
use crate::pre_sign::PRE_SIGN;
use crate::raw_client::pre_sign_body;

/// Each mode with a body in which all is well, and whether its page gives lengths.
fn modes() -> [(&'static str, Value, bool); 4] {
    let direct = pre_sign_body("code1");
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
        ("service-provider", service_provider_body("code1"), false),
        ("qs", qs, true),
    ]
}

#[test]
fn each_mode_responds_as_its_page_says() {
    for (mode, body, _) in modes() {
        let mut fixture = Fixture::open();
        let response = fixture.pre_sign(mode, "mini-program", &body).json();
        let mut names: Vec<_> = response.as_object().unwrap().keys().collect();
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
        assert_eq!(response["mchid"], Sandbox::MCHID);
        assert_eq!(response["service_id"], 12535);
        assert_eq!(response["out_contract_code"], "code1");
        assert_eq!(response["sign_mp_appid"], "wxbd687630cd02ce1d");
        assert_eq!(response["sign_mp_path"], "pages/PwdExemptContract/index");

        let body = with(&body, "prepay_id", Some("wx2014102".into()));
        let response = fixture.pre_sign(mode, "pay-redirect-sign", &body).json();
        let mut expected = json!({
            "mchid": Sandbox::MCHID,
            "service_id": 12535,
            "out_contract_code": "code1",
        });
        if mode == "service-provider" {
            expected["sub_mchid"] = "1900000110".into();
        }
        assert_eq!(response, expected, "{mode}");
    }
}

#[test]
fn each_required_field_of_each_mode_is_required() {
    let mut fixture = Fixture::open();
    for (mode, body, _) in modes() {
        for way in ["mini-program", "pay-redirect-sign"] {
            let mut body = body.clone();
            if way == "pay-redirect-sign" {
                body["prepay_id"] = "wx2014102".into();
            }
            assert_eq!(fixture.pre_sign(mode, way, &body).status, 200, "{mode}");
            let fields: Vec<String> = body.as_object().unwrap().keys().cloned().collect();
            for field in fields.iter().filter(|field| *field != "sub_openid") {
                let response = fixture.pre_sign(mode, way, &with(&body, field, None));
                assert_param_error(&response, field, "is required");
                let null = fixture.pre_sign(mode, way, &with(&body, field, Some(Value::Null)));
                assert_param_error(&null, field, "is null");
                let wrong = fixture.pre_sign(mode, way, &with(&body, field, Some(json!([]))));
                let issue = match field.as_str() {
                    "service_id" => "is not a whole number",
                    _ => "is not a string",
                };
                assert_param_error(&wrong, field, issue);
                if field != "service_id" {
                    let empty = fixture.pre_sign(mode, way, &with(&body, field, Some("".into())));
                    assert_param_error(&empty, field, "is empty");
                }
            }
        }
    }
    assert!(
        fixture
            .sandbox
            .requests()
            .iter()
            .all(|request| request.took_effect == (request.status == 200))
    );
}

#[test]
fn unknown_fields_are_ignored() {
    let mut fixture = Fixture::open();
    let body = with(
        &pre_sign_body("code1"),
        "new_field",
        Some(json!({"a": [1, "b"]})),
    );
    let response = fixture.pre_sign("normal", "mini-program", &body);
    assert_eq!(response.status, 200);
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
    let mut fixture = Fixture::open();
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
            let response = fixture.pre_sign(mode, "pay-redirect-sign", &longest);
            assert_eq!(response.status, 200, "{mode} {field}");
            let longer = with(&body, field, Some(fill.repeat(max + 1).into()));
            let response = fixture.pre_sign(mode, "pay-redirect-sign", &longer);
            if documented || field == "prepay_id" {
                assert_param_error(&response, field, "is too long");
            } else {
                assert_eq!(response.status, 200, "{mode} {field}");
            }
        }
        let url = |length: usize| {
            let start = "https://yourapp.com/";
            format!("{start}{}", "n".repeat(length - start.len()))
        };
        let longest = with(&body, "notify_url", Some(url(256).into()));
        assert_eq!(fixture.pre_sign(mode, "mini-program", &longest).status, 200);
        let longer = with(&body, "notify_url", Some(url(257).into()));
        let response = fixture.pre_sign(mode, "mini-program", &longer);
        assert_eq!(response.status == 400, documented, "{mode}");
    }
}

#[test]
fn each_notify_url_that_the_client_takes_is_taken() {
    let sandbox = Sandbox::start().unwrap();
    for notify_url in [
        "https://yourapp.com/",
        "HTTPS://yourapp.com:8443/notify",
        "https://[2001:db8::1]:443/notify",
        "https://user:secret@yourapp.com/@/:/notify",
        "https://yourapp.com/notify#a?b",
    ] {
        let pre_sign = MiniProgramPreSign {
            notify_url,
            ..PRE_SIGN
        };
        sandbox.client().send(&pre_sign).unwrap();
    }
}

#[test]
fn values_that_break_their_documented_form_are_refused() {
    let not_a_url = "is not an https URL with a path and without a query";
    let not_a_code = "has characters other than digits and letters";
    let four_bytes = "has a character of four UTF-8 bytes";
    let mut fixture = Fixture::open();
    for (field, value, issue) in [
        ("notify_url", json!("http://yourapp.com/notify"), not_a_url),
        ("notify_url", json!("https://yourapp.com"), not_a_url),
        ("notify_url", json!("https:///notify"), not_a_url),
        ("notify_url", json!("https://user@/notify"), not_a_url),
        ("notify_url", json!("https://user@:443/notify"), not_a_url),
        (
            "notify_url",
            json!("https://yourapp.com/notify?a=1"),
            not_a_url,
        ),
        ("notify_url", json!("https://yourapp.com?a=/"), not_a_url),
        (
            "notify_url",
            json!("https://yourapp.com/notify?#a"),
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
            let response = fixture.pre_sign(mode, "mini-program", &body);
            assert_param_error(&response, field, issue);
            assert_eq!(response.json()["detail"]["value"], value);
        }
    }
    let qs = with(&modes()[3].1, "sub_openid", None);
    let response = fixture.pre_sign("qs", "mini-program", &qs);
    assert_param_error(
        &response,
        "openid",
        "is required unless sub_openid is given",
    );
}

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    let mut fixture = Fixture::open();
    let target = format!("{CONTRACTS}/normal/pre-entrust-sign/mini-program");
    for body in ["", "{", "not json", "\u{FEFF}{}", "{}{}"] {
        fixture.raw.request("POST", &target, body.as_bytes());
        let response = fixture.raw.response();
        assert_eq!(
            response.refusal(),
            (400, "PARAM_ERROR".to_owned()),
            "{body}"
        );
        assert_eq!(response.json()["message"], "the body is not JSON");
    }
    for body in ["[]", "\"text\"", "1"] {
        fixture.raw.request("POST", &target, body.as_bytes());
        assert_param_error(&fixture.raw.response(), "", "is not an object");
    }
    fixture
        .raw
        .request("POST", &target, b"{\"appid\":\"\xff\"}");
    assert_eq!(fixture.raw.response().status, 400);
}
