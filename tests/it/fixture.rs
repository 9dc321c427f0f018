//! A sandbox and a raw client that is connected to it, for the tests of fields, contracts and orders.

use serde_json::{Value, json};
use wechatpay_contract::sandbox::Sandbox;

use crate::raw_client::{RawClient, RawResponse, pre_sign_body};

pub(crate) const CONTRACTS: &str = "/v3/password-exempt-contract/contracts";

/// A sandbox and a connection to it.
pub(crate) struct Fixture {
    pub(crate) sandbox: Sandbox,
    pub(crate) raw: RawClient,
}

impl Fixture {
    pub(crate) fn open() -> Self {
        let sandbox = Sandbox::start().unwrap();
        let raw = RawClient::connect(&sandbox);
        Self { sandbox, raw }
    }

    pub(crate) fn post(&mut self, target: &str, body: &Value) -> RawResponse {
        self.raw
            .request("POST", target, body.to_string().as_bytes());
        self.raw.response()
    }

    pub(crate) fn pre_sign(&mut self, mode: &str, way: &str, body: &Value) -> RawResponse {
        self.post(&format!("{CONTRACTS}/{mode}/pre-entrust-sign/{way}"), body)
    }

    pub(crate) fn pre_signed(&mut self, code: &str) {
        let response = self.pre_sign("ecommerce", "mini-program", &pre_sign_body(code));
        assert_eq!(response.status, 200, "{response:?}");
    }

    pub(crate) fn signed(&mut self, code: &str) -> String {
        self.pre_signed(code);
        self.sandbox.user_signs(code).unwrap()
    }

    pub(crate) fn query(&mut self, code: &str) -> RawResponse {
        let target = format!("{CONTRACTS}/service-id/12535/out-contract-code/{code}");
        self.raw.request("GET", &target, b"");
        self.raw.response()
    }

    pub(crate) fn terminate(&mut self, code: &str, remark: &str) -> RawResponse {
        let target = format!("{CONTRACTS}/service-id/12535/out-contract-code/{code}/terminate");
        self.post(&target, &json!({"contract_termination_remark": remark}))
    }
}

/// Returns `body` without a field or with another value in it. `pointer` is a JSON pointer without its first slash.
pub(crate) fn with(body: &Value, pointer: &str, value: Option<Value>) -> Value {
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

pub(crate) fn assert_param_error(response: &RawResponse, field: &str, issue: &str) {
    assert_eq!(
        response.refusal(),
        (400, "PARAM_ERROR".to_owned()),
        "{field}"
    );
    let body = response.json();
    assert_eq!(body["detail"]["field"], format!("/body/{field}"), "{body}");
    assert_eq!(body["detail"]["issue"], issue, "{body}");
    assert_eq!(body["detail"]["location"], "body", "{body}");
    assert!(response.header("wechatpay-signature").is_some());
}

pub(crate) fn invalid_request() -> (u16, String) {
    (400, "INVALID_REQUEST".to_owned())
}

/// A service provider's pre-signing in which all is well.
pub(crate) fn service_provider_body(code: &str) -> Value {
    json!({
        "sp_appid": "wxcbda96de0b165486",
        "sub_mchid": "1900000110",
        "sub_appid": "wxcbda96de0b165489",
        "service_id": 12535,
        "out_contract_code": code,
        "notify_url": "https://yourapp.com/notify",
        "contract_display_account": "微信代扣用户A",
    })
}
