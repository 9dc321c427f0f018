//! The responses of the product's calls: the documented values, and the deviations that are tolerated.

use serde_json::{Value, json};
use wechatpay_contract::{
    Contract, ContractId, ContractState, Endpoint, MiniProgramSession, QueryContract,
    TerminateContract, TerminationMode, ecommerce, normal, qs, service_provider,
};

/// Reads a response as the call's `Endpoint::Response`.
fn response<E: Endpoint>(body: &Value) -> Result<E::Response, String> {
    serde_json::from_str(&body.to_string()).map_err(|error| error.to_string())
}

fn session() -> Value {
    json!({
        "pre_entrustweb_id": "5778aadY9nltAsZzXixCkFIGYnV2V",
        "mchid": "1900000109",
        "service_id": 12535,
        "out_contract_code": "wxwtdk20200910100000",
        "sign_mp_appid": "wxbd687630cd02ce1d",
        "sign_mp_path": "pages/PwdExemptContract/index",
    })
}

fn key() -> Value {
    json!({
        "mchid": "1900000109",
        "service_id": 12535,
        "out_contract_code": "wxwtdk20200910100000",
    })
}

fn contract() -> Value {
    json!({
        "mchid": "1900000109",
        "contract_id": "201710180325670965",
        "appid": "wxd678efh567hg6787",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        "sub_appid": "wxd678efh567hg6999",
        "sub_openid": "oYobu0MVnQfWpSMOYJz2AHPG_gQw",
        "service_id": 12535,
        "out_contract_code": "wxwtdk20200910100000",
        "contract_display_account": "微信代扣用户A",
        "contract_state": "SIGNED",
        "contract_signed_time": "2020-09-10T13:29:35+08:00",
        "contract_terminate_info": {
            "contract_termination_mode": "USER_TERMINATE",
            "contract_terminated_time": "2020-09-11T13:29:35+08:00",
            "contract_termination_remark": "用户解约",
        },
    })
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

fn without(mut body: Value, key: &str) -> Value {
    body.as_object_mut().unwrap().remove(key).unwrap();
    body
}

#[track_caller]
fn assert_session(session: &MiniProgramSession) {
    assert_eq!(session.pre_entrustweb_id, "5778aadY9nltAsZzXixCkFIGYnV2V");
    assert_eq!(session.mchid, "1900000109");
    assert_eq!(session.service_id, 12535);
    assert_eq!(session.out_contract_code, "wxwtdk20200910100000");
    assert_eq!(session.sign_mp_appid, "wxbd687630cd02ce1d");
    assert_eq!(session.sign_mp_path, "pages/PwdExemptContract/index");
}

#[track_caller]
fn assert_key(key: &ContractId) {
    assert_eq!(key.mchid, "1900000109");
    assert_eq!(key.service_id, 12535);
    assert_eq!(key.out_contract_code, "wxwtdk20200910100000");
}

#[test]
fn every_mode_returns_a_session() {
    assert_session(&response::<normal::MiniProgramPreSign<'_>>(&session()).unwrap());
    assert_session(&response::<ecommerce::MiniProgramPreSign<'_>>(&session()).unwrap());
    assert_session(&response::<qs::MiniProgramPreSign<'_>>(&session()).unwrap());

    let body = with(session(), "sub_mchid", json!("1900000110"));
    let response = response::<service_provider::MiniProgramPreSign<'_>>(&body).unwrap();
    assert_eq!(response.sub_mchid.as_deref(), Some("1900000110"));
    assert_session(&response);
    assert_eq!(
        serde_json::to_value(response.launch()).unwrap(),
        json!({
            "appId": "wxbd687630cd02ce1d",
            "path": "pages/PwdExemptContract/index",
            "extraData": {"pre_entrustweb_id": "5778aadY9nltAsZzXixCkFIGYnV2V"},
        })
    );
}

#[test]
fn pay_redirect_sign_and_termination_return_the_contracts_id() {
    assert_key(&response::<normal::PayRedirectPreSign<'_>>(&key()).unwrap());
    assert_key(&response::<ecommerce::PayRedirectPreSign<'_>>(&key()).unwrap());
    assert_key(&response::<qs::PayRedirectPreSign<'_>>(&key()).unwrap());
    assert_key(&response::<TerminateContract<'_>>(&key()).unwrap());

    let body = with(key(), "sub_mchid", json!("1900000110"));
    let response = response::<service_provider::PayRedirectPreSign<'_>>(&body).unwrap();
    assert_eq!(response.sub_mchid.as_deref(), Some("1900000110"));
    assert_key(&response);
}

#[test]
fn the_query_returns_every_documented_field() {
    let contract = response::<QueryContract<'_>>(&contract()).unwrap();
    assert_eq!(contract.mchid, "1900000109");
    assert_eq!(contract.contract_id, "201710180325670965");
    assert_eq!(contract.appid, "wxd678efh567hg6787");
    assert_eq!(
        contract.openid.as_deref(),
        Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")
    );
    assert_eq!(contract.sub_appid.as_deref(), Some("wxd678efh567hg6999"));
    assert_eq!(
        contract.sub_openid.as_deref(),
        Some("oYobu0MVnQfWpSMOYJz2AHPG_gQw")
    );
    assert_eq!(contract.service_id, 12535);
    assert_eq!(contract.out_contract_code, "wxwtdk20200910100000");
    assert_eq!(
        contract.contract_display_account.as_deref(),
        Some("微信代扣用户A")
    );
    assert_eq!(contract.contract_state, ContractState::Signed);
    assert_eq!(
        contract.contract_signed_time.as_deref(),
        Some("2020-09-10T13:29:35+08:00")
    );
    let info = contract.contract_terminate_info.unwrap();
    assert_eq!(
        info.contract_termination_mode,
        Some(TerminationMode::UserTerminate)
    );
    assert_eq!(
        info.contract_terminated_time.as_deref(),
        Some("2020-09-11T13:29:35+08:00")
    );
    assert_eq!(
        info.contract_termination_remark.as_deref(),
        Some("用户解约")
    );
}

/// The query's fields that may be absent, beside those within `contract_terminate_info`.
const OPTIONAL: [&str; 6] = [
    "openid",
    "sub_appid",
    "sub_openid",
    "contract_display_account",
    "contract_signed_time",
    "contract_terminate_info",
];

fn optional(contract: &Contract, field: &str) -> bool {
    match field {
        "openid" => contract.openid.is_some(),
        "sub_appid" => contract.sub_appid.is_some(),
        "sub_openid" => contract.sub_openid.is_some(),
        "contract_display_account" => contract.contract_display_account.is_some(),
        "contract_signed_time" => contract.contract_signed_time.is_some(),
        "contract_terminate_info" => contract.contract_terminate_info.is_some(),
        _ => panic!("not optional: {field}"),
    }
}

#[test]
fn optional_fields_may_be_absent_or_null() {
    for missing in OPTIONAL {
        for body in [
            without(contract(), missing),
            with(contract(), missing, Value::Null),
        ] {
            let contract = response::<QueryContract<'_>>(&body).unwrap();
            for field in OPTIONAL {
                assert_eq!(optional(&contract, field), field != missing, "{field}");
            }
        }
    }
    let mode = Some(TerminationMode::Api);
    for (info, mode) in [
        (json!({}), None),
        (json!({"contract_termination_mode": null}), None),
        (json!({"contract_termination_mode": "API"}), mode.clone()),
        (
            json!({
                "contract_termination_mode": "API",
                "contract_terminated_time": null,
                "contract_termination_remark": null,
            }),
            mode,
        ),
    ] {
        let body = with(contract(), "contract_terminate_info", info);
        let info = response::<QueryContract<'_>>(&body)
            .unwrap()
            .contract_terminate_info
            .unwrap();
        assert_eq!(info.contract_termination_mode, mode);
        assert_eq!(info.contract_terminated_time, None);
        assert_eq!(info.contract_termination_remark, None);
    }
}

/// The error of a response that lacks `field`.
fn missing(field: &str) -> String {
    format!("missing field `{field}`")
}

/// Asserts that `body` is read, and that it is refused if any field is missing that is not optional.
#[track_caller]
fn assert_requires_all<E: Endpoint>(body: &Value, optional: &[&str]) {
    assert!(response::<E>(body).is_ok());
    for field in body.as_object().unwrap().keys() {
        if optional.contains(&field.as_str()) {
            continue;
        }
        let error = response::<E>(&without(body.clone(), field)).err().unwrap();
        assert!(error.starts_with(&missing(field)), "{field}: {error}");
    }
}

#[test]
fn a_response_without_a_required_field_is_refused() {
    assert_requires_all::<ecommerce::MiniProgramPreSign<'_>>(&session(), &[]);
    assert_requires_all::<ecommerce::PayRedirectPreSign<'_>>(&key(), &[]);
    assert_requires_all::<TerminateContract<'_>>(&key(), &[]);
    assert_requires_all::<QueryContract<'_>>(&contract(), &OPTIONAL);
}

#[test]
fn unknown_fields_are_ignored() {
    let more = |body| with(body, "a_new_field", json!({"of": ["any", "shape", null]}));
    assert_session(&response::<normal::MiniProgramPreSign<'_>>(&more(session())).unwrap());
    assert_key(&response::<normal::PayRedirectPreSign<'_>>(&more(key())).unwrap());
    assert_key(&response::<TerminateContract<'_>>(&more(key())).unwrap());
    assert!(response::<QueryContract<'_>>(&more(contract())).is_ok());
    let body = more(with(session(), "sub_mchid", json!("1900000110")));
    let response = response::<service_provider::MiniProgramPreSign<'_>>(&body).unwrap();
    assert_session(&response);
}

#[test]
fn service_ids_may_be_numeric_texts() {
    let text = |body| with(body, "service_id", json!("12535"));
    assert_session(&response::<qs::MiniProgramPreSign<'_>>(&text(session())).unwrap());
    assert_key(&response::<qs::PayRedirectPreSign<'_>>(&text(key())).unwrap());
    assert_key(&response::<TerminateContract<'_>>(&text(key())).unwrap());
    let queried = response::<QueryContract<'_>>(&text(contract())).unwrap();
    assert_eq!(queried.service_id, 12535);
    let body = text(with(session(), "sub_mchid", json!("1900000110")));
    let provider = response::<service_provider::MiniProgramPreSign<'_>>(&body).unwrap();
    assert_session(&provider);

    for wrong in [json!("12a"), json!(""), json!(-1), json!(1.5), json!(null)] {
        let body = with(key(), "service_id", wrong.clone());
        let error = response::<TerminateContract<'_>>(&body).err().unwrap();
        assert!(
            error.contains("wanted digits") || error.contains("expected a whole number"),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn states_are_known_or_kept() {
    let rows = [
        ("SIGNED", ContractState::Signed),
        ("TERMINATED", ContractState::Terminated),
        ("SIGN_FAILED", ContractState::SignFailed),
        ("TO_BE_RENEWED", ContractState::ToBeRenewed),
        ("TERMINATE_PENDING", ContractState::TerminatePending),
        ("FROZEN", ContractState::Other("FROZEN".to_owned())),
        // States are compared with regard to case.
        ("signed", ContractState::Other("signed".to_owned())),
    ];
    for (text, state) in rows {
        let body = with(contract(), "contract_state", json!(text));
        let contract = response::<QueryContract<'_>>(&body).unwrap();
        assert_eq!(contract.contract_state, state);
        assert_eq!(state.as_str(), text);
        assert_eq!(state.to_string(), text);
    }
}

#[test]
fn termination_modes_are_known_or_kept() {
    let rows = [
        ("USER_TERMINATE", TerminationMode::UserTerminate),
        ("MCH_API_TERMINATE", TerminationMode::MchApiTerminate),
        ("API", TerminationMode::Api),
        ("WEPAY_WEB_TERMINATE", TerminationMode::WepayWebTerminate),
        (
            "CUSTOMER_SERVICE_TERMINATE",
            TerminationMode::CustomerServiceTerminate,
        ),
        ("SYSTEM_TERMINATE", TerminationMode::SystemTerminate),
        (
            "BY_A_COURT",
            TerminationMode::Other("BY_A_COURT".to_owned()),
        ),
    ];
    for (text, mode) in rows {
        let info = json!({"contract_termination_mode": text});
        let body = with(contract(), "contract_terminate_info", info);
        let contract = response::<QueryContract<'_>>(&body).unwrap();
        let info = contract.contract_terminate_info.unwrap();
        assert_eq!(info.contract_termination_mode.as_ref(), Some(&mode));
        assert_eq!(mode.as_str(), text);
        assert_eq!(mode.to_string(), text);
    }
}

#[test]
fn what_is_stored_is_read_back() {
    fn assert_same<T>(body: &Value)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let value: T = serde_json::from_value(body.clone()).unwrap();
        let written = serde_json::to_value(&value).unwrap();
        assert_eq!(&crate::support::present(written.clone()), body);
        assert_eq!(serde_json::from_value::<T>(written).unwrap(), value);
    }
    assert_same::<MiniProgramSession>(&session());
    assert_same::<MiniProgramSession>(&with(session(), "sub_mchid", json!("1900000110")));
    assert_same::<ContractId>(&key());
    assert_same::<Contract>(&contract());
    let prepay = json!({"prepay_id": "wx201410272009395522657a690389285100"});
    assert_same::<wechatpay_contract::order::Prepay>(&prepay);
}

#[test]
fn a_contract_is_in_force_while_it_is_signed() {
    for (state, is_in_force) in [
        ("SIGNED", true),
        ("TERMINATED", false),
        ("TERMINATE_PENDING", false),
        ("NEW", false),
    ] {
        let body = with(contract(), "contract_state", json!(state));
        let contract = response::<QueryContract<'_>>(&body).unwrap();
        assert_eq!(contract.is_in_force(), is_in_force, "{state}");
    }
}
