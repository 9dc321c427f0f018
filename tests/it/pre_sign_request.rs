//! The e-commerce platform's pre-sign: the request, the values that are refused, and the session that is read.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::{Endpoint, InvalidField, Method, MiniProgramSession, Request};

use crate::support::{Headers, NONCE, NOW, at, chain, merchant};

/// The example of the documentation.
const EXAMPLE: MiniProgramPreSign<'_> = MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: "wxwtdk20200910100000",
    notify_url: "https://yourapp.com/notify",
    contract_display_account: "微信代扣用户A",
    openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
};

fn body(request: &Request) -> &str {
    std::str::from_utf8(request.body().unwrap()).unwrap()
}

mod sends {
    use super::*;

    #[test]
    fn the_documented_request_is_sent() {
        let request = EXAMPLE.request().unwrap();
        assert_eq!(request.method(), Method::Post);
        assert_eq!(
            request.target().unwrap(),
            "/v3/password-exempt-contract/contracts/ecommerce/pre-entrust-sign/mini-program"
        );
        assert_eq!(
            body(&request),
            "{\"appid\":\"wxd678efh567hg6787\",\"service_id\":12535,\"out_contract_code\":\"wxwtdk20200910100000\",\
             \"notify_url\":\"https://yourapp.com/notify\",\"contract_display_account\":\"微信代扣用户A\",\
             \"openid\":\"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o\"}"
        );
    }

    #[test]
    fn each_field_is_sent_under_its_own_name() {
        let fields = MiniProgramPreSign {
            appid: "a",
            service_id: u64::MAX,
            out_contract_code: "b",
            notify_url: "https://c/",
            contract_display_account: "d",
            openid: "e",
        };
        let sent: Value = serde_json::from_str(body(&fields.request().unwrap())).unwrap();
        assert_eq!(
            sent,
            json!({
                "appid": "a",
                "service_id": u64::MAX,
                "out_contract_code": "b",
                "notify_url": "https://c/",
                "contract_display_account": "d",
                "openid": "e",
            })
        );
    }

    #[test]
    fn the_body_that_is_signed_is_sent() {
        let request = EXAMPLE.request().unwrap();
        let merchant = merchant();
        let signed = merchant.prepare(&request, at(NOW), NONCE).unwrap();
        assert_eq!(signed.body(), request.body());
        assert_eq!(signed.target(), request.target().unwrap());
    }

    #[test]
    fn quotes_and_line_breaks_stay_inside_the_json() {
        let fields = MiniProgramPreSign {
            contract_display_account: "\"},\n\\\u{1}\u{2028}☺",
            ..EXAMPLE
        };
        let request = fields.request().unwrap();
        let sent: Value = serde_json::from_str(body(&request)).unwrap();
        assert_eq!(
            sent["contract_display_account"],
            fields.contract_display_account
        );
        assert!(!body(&request).contains('\n'));
    }
}

mod refuses {
    use super::*;

    /// The field changed, the value, and the whole error.
    #[test]
    fn a_field_that_breaks_a_documented_rule_is_refused() {
        let url = "wanted an https:// URL with a host and a path, without a query";
        let code = "wanted ASCII digits and letters only";
        let empty = "is empty: wanted a value";
        let table = [
            ("appid", "", empty.to_owned()),
            ("openid", "", empty.to_owned()),
            ("out_contract_code", "", empty.to_owned()),
            ("out_contract_code", "a-b", format!("found the character '-': {code}")),
            ("out_contract_code", "a_b", format!("found the character '_': {code}")),
            ("out_contract_code", "a b", format!("found the character ' ': {code}")),
            ("out_contract_code", "a/b", format!("found the character '/': {code}")),
            ("out_contract_code", "a\n", format!("found the character '\\n': {code}")),
            ("out_contract_code", "约", format!("found the character '约': {code}")),
            ("out_contract_code", "１", format!("found the character '１': {code}")),
            ("contract_display_account", "", empty.to_owned()),
            (
                "contract_display_account",
                "a😀",
                "found the character '😀' of four UTF-8 bytes: wanted characters of one to three bytes".to_owned(),
            ),
            ("notify_url", "", format!("found no URL: {url}")),
            ("notify_url", "yourapp.com/a", format!("found no URL: {url}")),
            ("notify_url", "https:/a/b", format!("found no URL: {url}")),
            ("notify_url", "http://a/b", format!("found a URL that is not https: {url}")),
            ("notify_url", "ftp://a/b", format!("found a URL that is not https: {url}")),
            ("notify_url", "https://a", format!("found a URL without a path: {url}")),
            ("notify_url", "https://", format!("found a URL without a host: {url}")),
            ("notify_url", "https:///a", format!("found a URL without a host: {url}")),
            ("notify_url", "https://a/b?c=d", format!("found a URL with a query: {url}")),
            ("notify_url", "https://a/b?", format!("found a URL with a query: {url}")),
            ("notify_url", "https://a?b/c", format!("found a URL with a query: {url}")),
            (
                "notify_url",
                "https://a/b c",
                format!("found a URL with the character ' ': {url}"),
            ),
            (
                "notify_url",
                "https://a/b\n",
                format!("found a URL with the character '\\n': {url}"),
            ),
            (
                "notify_url",
                "https://a/约",
                format!("found a URL with the character '约': {url}"),
            ),
        ];
        for (field, value, problem) in table {
            assert!(EXAMPLE.request().is_ok());
            let error = with(field, value).request().unwrap_err();
            assert_eq!(error, InvalidField::new(field, problem), "{value:?}");
        }
    }

    fn with<'a>(field: &str, value: &'a str) -> MiniProgramPreSign<'a> {
        let mut fields = EXAMPLE;
        let slot = match field {
            "appid" => &mut fields.appid,
            "out_contract_code" => &mut fields.out_contract_code,
            "notify_url" => &mut fields.notify_url,
            "contract_display_account" => &mut fields.contract_display_account,
            "openid" => &mut fields.openid,
            _ => panic!("no field {field}"),
        };
        *slot = value;
        fields
    }

    #[test]
    fn an_identifier_of_other_than_visible_ascii_characters_is_refused() {
        for field in ["appid", "openid"] {
            for (value, found) in [(" wx1", ' '), ("wx1\t", '\t'), ("w x1", ' '), ("😀", '😀')]
            {
                let problem =
                    format!("found the character {found:?}: wanted visible ASCII characters only");
                assert_eq!(
                    with(field, value).request().map(|_| ()),
                    Err(InvalidField::new(field, problem))
                );
            }
        }
    }

    #[test]
    fn a_field_that_breaks_an_inferred_rule_alone_is_sent() {
        let long = "a".repeat(1_000);
        let url = format!("https://a/{long}");
        for (field, value) in [
            ("appid", long.as_str()),
            ("appid", "no-wx_id"),
            ("openid", &long),
            ("out_contract_code", &long),
            ("out_contract_code", "0"),
            ("contract_display_account", &long),
            ("contract_display_account", "支付 ☺ \u{FFFF}"),
            ("notify_url", &url),
            ("notify_url", "https://a/"),
            ("notify_url", "HTTPS://a:8443/b//c%20d"),
            ("notify_url", "https://[::1]/a"),
        ] {
            let fields = with(field, value);
            let request = fields.request().unwrap();
            let sent: Value = serde_json::from_str(body(&request)).unwrap();
            assert_eq!(sent[field], value);
        }
    }
}

mod session {
    use super::*;

    fn response() -> Value {
        serde_json::from_slice(include_bytes!("../platform/answer.json")).unwrap()
    }

    /// Returns the session that is read from this body, or the error.
    fn session(response: &Value) -> Result<MiniProgramSession, String> {
        let body = response.to_string().into_bytes();
        let headers = Headers::signed(&body);
        merchant()
            .accept(200, headers.pairs(), &body, at(NOW))
            .map_err(|error| chain(&error).pop().unwrap())
    }

    #[test]
    fn a_session_has_every_documented_field() {
        let session = session(&response()).unwrap();
        assert_eq!(session.pre_entrustweb_id, "5778aadY9nltAsZzXixCkFIGYnV2V");
        assert_eq!(session.mchid, "1900000109");
        assert_eq!(session.service_id, 12535);
        assert_eq!(session.out_contract_code, "wxwtdk20200910100000");
        assert_eq!(session.sign_mp_appid, "wxbd687630cd02ce1d");
        assert_eq!(session.sign_mp_path, "pages/PwdExemptContract/index");
    }

    #[test]
    fn a_service_id_is_a_number_or_digits() {
        let service_id = |value: Value| {
            let mut response = response();
            response["service_id"] = value;
            session(&response).map(|session| session.service_id)
        };
        assert_eq!(service_id(json!(0)), Ok(0));
        assert_eq!(service_id(json!(u64::MAX)), Ok(u64::MAX));
        assert_eq!(service_id(json!("12535")), Ok(12535));
        assert_eq!(service_id(json!("0")), Ok(0));
        assert_eq!(service_id(json!(u64::MAX.to_string())), Ok(u64::MAX));
        let wanted = "expected a whole number, or a text of digits at line 1 column";
        for (value, found) in [
            (json!(""), "invalid value: string"),
            (json!("+1"), "invalid value: string"),
            (json!("-1"), "invalid value: string"),
            (json!(" 1"), "invalid value: string"),
            (json!("1.0"), "invalid value: string"),
            (json!("0x1"), "invalid value: string"),
            (json!("１"), "invalid value: string"),
            (json!("18446744073709551616"), "invalid value: string"),
            (json!(-1), "invalid type: integer"),
            (json!(1.5), "invalid type: floating point"),
            (json!(null), "invalid type: null"),
            (json!(true), "invalid type: boolean"),
            (json!([1]), "invalid type: sequence"),
        ] {
            let error = service_id(value).unwrap_err();
            assert!(
                error.starts_with(&format!("service_id: {found}, {wanted}")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_session_needs_every_field_and_ignores_others() {
        let mut more = response();
        more["sub_appid"] = json!("wxd678efh567hg6999");
        more["anything"] = json!({"deep": [1, 2]});
        assert_eq!(session(&more), session(&response()));
        let names: Vec<String> = response().as_object().unwrap().keys().cloned().collect();
        assert_eq!(names.len(), 6);
        for name in names {
            let mut less = response();
            less.as_object_mut().unwrap().remove(&name);
            let error = session(&less).unwrap_err();
            assert!(
                error.starts_with(&format!("missing field `{name}`")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_session_launches_the_signing_mini_program() {
        let session = session(&response()).unwrap();
        let launch = session.launch();
        assert_eq!(launch.app_id, "wxbd687630cd02ce1d");
        assert_eq!(launch.path, "pages/PwdExemptContract/index");
        assert_eq!(
            launch.extra_data.pre_entrustweb_id,
            "5778aadY9nltAsZzXixCkFIGYnV2V"
        );
        assert_eq!(
            serde_json::to_string(&launch).unwrap(),
            "{\"appId\":\"wxbd687630cd02ce1d\",\"path\":\"pages/PwdExemptContract/index\",\
             \"extraData\":{\"pre_entrustweb_id\":\"5778aadY9nltAsZzXixCkFIGYnV2V\"}}"
        );
    }

    #[test]
    fn a_session_lasts_two_hours() {
        let session = session(&response()).unwrap();
        assert_eq!(MiniProgramSession::LIFETIME, Duration::from_secs(7_200));
        assert_eq!(session.expires_at(at(NOW)), at(NOW + 7_200));
    }

    #[test]
    fn the_end_of_a_session_does_not_overflow() {
        let session = session(&response()).unwrap();
        let mut last = SystemTime::UNIX_EPOCH;
        for power in (0..63).rev() {
            let step = Duration::from_secs(1 << power);
            last = last.checked_add(step).unwrap_or(last);
        }
        assert_eq!(last.checked_add(MiniProgramSession::LIFETIME), None);
        assert_eq!(session.expires_at(last), last);
    }
}
