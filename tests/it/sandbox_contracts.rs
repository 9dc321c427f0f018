//! The states of a contract in the sandbox.

use std::time::{Duration, SystemTime};

use serde_json::json;
use wechatpay_contract::sandbox::{Sandbox, UserError};

use crate::fixture::{
    CONTRACTS, Fixture, assert_param_error, invalid_request, service_provider_body, with,
};
use crate::raw_client::pre_sign_body;

const TWO_HOURS: Duration = Duration::from_secs(2 * 60 * 60);

#[test]
fn a_contract_lives_from_session_to_termination() {
    let mut fixture = Fixture::open();
    let not_there = (404, "RESOURCE_NOT_EXISTS".to_owned());
    assert_eq!(fixture.query("code1").refusal(), not_there);
    assert_eq!(
        fixture.terminate("code1", "bye").refusal(),
        invalid_request()
    );

    fixture.pre_signed("code1");
    assert_eq!(fixture.query("code1").refusal(), not_there);
    assert_eq!(
        fixture.terminate("code1", "bye").refusal(),
        invalid_request()
    );
    assert_eq!(
        fixture.sandbox.user_terminates("code1"),
        Err(UserError::NotSigned)
    );

    let contract_id = fixture.sandbox.user_signs("code1").unwrap();
    let contract = fixture.query("code1").json();
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
        fixture.sandbox.user_signs("code1"),
        Err(UserError::AlreadySigned)
    );
    let body = pre_sign_body("code1");
    let again = fixture.pre_sign("ecommerce", "mini-program", &body);
    assert_eq!(again.refusal(), invalid_request());

    let response = fixture.terminate("code1", "用户解约");
    assert_eq!(response.status, 200);
    assert_eq!(
        response.json(),
        json!({"mchid": Sandbox::MCHID, "service_id": 12535, "out_contract_code": "code1"})
    );
    let contract = fixture.query("code1").json();
    assert_eq!(contract["contract_state"], "TERMINATED");
    assert_eq!(contract["contract_id"], contract_id);
    assert_eq!(contract["contract_signed_time"], signed_time);
    let info = &contract["contract_terminate_info"];
    assert_eq!(info["contract_termination_mode"], "MCH_API_TERMINATE");
    assert_eq!(info["contract_termination_remark"], "用户解约");
    assert!(info["contract_terminated_time"].is_string());

    assert_eq!(
        fixture.terminate("code1", "bye").refusal(),
        invalid_request()
    );
    assert_eq!(
        fixture.sandbox.user_terminates("code1"),
        Err(UserError::Terminated)
    );
    assert_eq!(
        fixture.sandbox.user_signs("code1"),
        Err(UserError::Terminated)
    );
    let again = fixture.pre_sign("ecommerce", "mini-program", &body);
    assert_eq!(again.refusal(), invalid_request());
}

#[test]
fn a_user_terminates_a_contract() {
    let mut fixture = Fixture::open();
    fixture.signed("code1");
    fixture.sandbox.user_terminates("code1").unwrap();
    let contract = fixture.query("code1").json();
    let info = &contract["contract_terminate_info"];
    assert_eq!(info["contract_termination_mode"], "USER_TERMINATE");
    assert_eq!(info.get("contract_termination_remark"), None);
    assert_eq!(
        fixture.terminate("code1", "bye").refusal(),
        invalid_request()
    );
}

#[test]
fn a_contract_belongs_to_its_service() {
    let mut fixture = Fixture::open();
    fixture.signed("code1");
    let other = format!("{CONTRACTS}/service-id/12536/out-contract-code/code1");
    fixture.raw.request("GET", &other, b"");
    assert_eq!(fixture.raw.response().status, 404);
    let remark = json!({"contract_termination_remark": "bye"});
    let response = fixture.post(&format!("{other}/terminate"), &remark);
    assert_eq!(response.refusal(), invalid_request());
    assert_eq!(fixture.query("code1").json()["contract_state"], "SIGNED");
}

#[test]
fn a_termination_needs_a_remark() {
    let mut fixture = Fixture::open();
    fixture.signed("code1");
    let target = format!("{CONTRACTS}/service-id/12535/out-contract-code/code1/terminate");
    let field = "contract_termination_remark";
    assert_param_error(&fixture.post(&target, &json!({})), field, "is required");
    assert_param_error(&fixture.terminate("code1", ""), field, "is empty");
    let response = fixture.terminate("code1", &"因".repeat(257));
    assert_param_error(&response, field, "is too long");
    assert_eq!(fixture.query("code1").json()["contract_state"], "SIGNED");
    assert_eq!(fixture.terminate("code1", &"因".repeat(256)).status, 200);
}

#[test]
fn a_session_lasts_two_hours() {
    let mut fixture = Fixture::open();
    fixture.pre_signed("code1");
    fixture.sandbox.advance_clock(TWO_HOURS);
    assert_eq!(
        fixture.sandbox.user_signs("code1"),
        Err(UserError::SessionEnded)
    );
    assert_eq!(
        fixture.sandbox.user_gives_up("code1"),
        Err(UserError::SessionEnded)
    );
    fixture.pre_signed("code1");
    // A margin of ten minutes, in case the test machine is slow.
    fixture
        .sandbox
        .advance_clock(TWO_HOURS - Duration::from_secs(600));
    fixture.sandbox.user_signs("code1").unwrap();
}

/// The session would end after the last time that the clock can show.
#[test]
fn a_contract_is_signed_and_terminated_close_to_the_clocks_last_time() {
    let mut fixture = Fixture::open();
    fixture.sandbox.advance_clock(just_before_the_end_of_time());
    let contract_id = fixture.signed("code1");
    assert_eq!(fixture.query("code1").json()["contract_id"], contract_id);
    assert_eq!(fixture.terminate("code1", "bye").status, 200);
    // Past the end the clock stands as if it had not been advanced.
    fixture.sandbox.advance_clock(Duration::MAX);
    fixture.signed("code2");
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
    let mut fixture = Fixture::open();
    let body = pre_sign_body("code1");
    let mut session = || {
        let response = fixture.pre_sign("ecommerce", "mini-program", &body).json();
        response["pre_entrustweb_id"].as_str().unwrap().to_owned()
    };
    assert_ne!(session(), session());
    fixture.sandbox.user_gives_up("code1").unwrap();
    assert_eq!(
        fixture.sandbox.user_signs("code1"),
        Err(UserError::SessionEnded)
    );
    fixture.pre_signed("code1");
    fixture.sandbox.user_signs("code1").unwrap();
}

#[test]
fn the_user_signs_where_the_contract_says() {
    let mut fixture = Fixture::open();
    assert_eq!(fixture.sandbox.user_signs("code1"), Err(UserError::Unknown));
    assert_eq!(
        fixture.sandbox.user_gives_up("code1"),
        Err(UserError::Unknown)
    );
    assert_eq!(
        fixture.sandbox.user_terminates("code1"),
        Err(UserError::Unknown)
    );
    fixture.pre_signed("code1");
    assert_eq!(
        fixture.sandbox.user_pays_and_signs("code1"),
        Err(UserError::SignsInMiniProgram)
    );
    let body = with(
        &pre_sign_body("code2"),
        "prepay_id",
        Some("wx2014102".into()),
    );
    fixture.pre_sign("ecommerce", "pay-redirect-sign", &body);
    assert_eq!(
        fixture.sandbox.user_signs("code2"),
        Err(UserError::PaysFirst)
    );
    let contract_id = fixture.sandbox.user_pays_and_signs("code2").unwrap();
    assert_eq!(fixture.query("code2").json()["contract_id"], contract_id);
}

#[test]
fn a_service_providers_contract_shows_both_sides() {
    let mut fixture = Fixture::open();
    let mut body = service_provider_body("code1");
    body["sp_openid"] = "sp-user".into();
    body["sub_openid"] = "sub-user".into();
    fixture.pre_sign("service-provider", "mini-program", &body);
    fixture.sandbox.user_signs("code1").unwrap();
    let contract = fixture.query("code1").json();
    assert_eq!(contract["appid"], body["sp_appid"]);
    assert_eq!(contract["sub_appid"], body["sub_appid"]);
    assert_eq!(contract["openid"], "sp-user");
    assert_eq!(contract["sub_openid"], "sub-user");
}
