//! The states of a contract, asked of the sandbox by a raw client.

use std::time::{Duration, SystemTime};

use serde_json::json;
use wechatpay_contract::sandbox::{Sandbox, UserError};

use crate::desk::{
    CONTRACTS, Desk, assert_param_error, invalid_request, service_provider_body, with,
};
use crate::raw::pre_sign_body;

const TWO_HOURS: Duration = Duration::from_secs(2 * 60 * 60);

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

/// No clock can show when a session ends that begins then.
#[test]
fn at_the_end_of_time_a_contract_lives_on() {
    let mut desk = Desk::open();
    desk.sandbox.advance_clock(just_before_the_end_of_time());
    let contract_id = desk.signed("code1");
    assert_eq!(desk.query("code1").json()["contract_id"], contract_id);
    assert_eq!(desk.terminate("code1", "bye").status, 200);
    // Past the end the clock stands as if it had not been advanced.
    desk.sandbox.advance_clock(Duration::MAX);
    desk.signed("code2");
}

/// So far from now that the system's time can be moved there, but not by an hour more.
fn just_before_the_end_of_time() -> Duration {
    let now = SystemTime::now();
    let mut ahead = 0;
    for bit in (0..64).rev() {
        let further = ahead | 1 << bit;
        if now.checked_add(Duration::from_secs(further)).is_some() {
            ahead = further;
        }
    }
    Duration::from_secs(ahead - 1800)
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
    let mut body = service_provider_body("code1");
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
