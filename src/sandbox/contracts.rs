//! The contracts that the sandbox keeps, and its responses to the contract APIs.
//!
//! Pre-signing a contract starts a session of two hours, in which the user can sign it. The user or the merchant can
//! terminate a signed contract. Until the user signs, the contract can be pre-signed again, which starts a new session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::credentials::new_id;
use super::error::UserError;
use super::fields::{self, Field, Rule, pick, put, text};
use super::pre_sign::{self, Mode, SigningFlow};
use super::response::{Refusal, Response};
use crate::time::format_rfc_3339;

/// The lifetime of a session, in seconds.
const SESSION_LIFETIME: u64 = 2 * 60 * 60;

/// The `openid` of a contract whose pre-signing request has neither `openid` nor `sp_openid`.
const SOME_OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012472858>.
const TERMINATION: &[Field] = &[Field::required(
    "contract_termination_remark",
    Rule::Text(256),
)];

/// All contracts by `out_contract_code`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Contracts(BTreeMap<String, Contract>);

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Contract {
    flow: SigningFlow,
    /// The start of the session, in Unix seconds.
    pre_signed_at: u64,
    state: State,
    /// The contract as the query returns it.
    shown: Value,
    /// The fields that only notifications contain.
    only_notified: Value,
}

/// The gateway's responses never contain the first two states. They appear under the sandbox's own paths only.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum State {
    PreSigned,
    GivenUp,
    Signed,
    Terminated,
}

impl Contracts {
    /// Pre-signs a contract, for the first time or again.
    pub(super) fn pre_sign(
        &mut self,
        mode: Mode,
        flow: SigningFlow,
        mchid: &str,
        body: &Value,
        now: u64,
    ) -> Result<Response, Refusal> {
        pre_sign::check(mode, flow, body)?;
        let code = text(body, "out_contract_code").unwrap_or_default();
        self.check_reusable(code)?;
        let contract = Contract::new(flow, mchid, body, now);
        self.0.insert(code.to_owned(), contract);
        Ok(pre_sign_response(mode, flow, mchid, body))
    }

    /// Refuses a code that cannot be used again, as documented. The status and the error code are inferred.
    fn check_reusable(&self, code: &str) -> Result<(), Refusal> {
        let problem = match self.0.get(code).map(|contract| contract.state) {
            None | Some(State::PreSigned | State::GivenUp) => return Ok(()),
            Some(State::Signed) => "a contract is signed under this out_contract_code",
            Some(State::Terminated) => {
                "the out_contract_code of a terminated contract cannot be used again"
            }
        };
        Err(Refusal::invalid_request(problem))
    }

    /// Returns the response to a query. The 404 for an unknown or unsigned contract is inferred.
    pub(super) fn query(&mut self, service_id: &str, code: &str) -> Result<Response, Refusal> {
        self.of_service(service_id, code)
            .filter(|contract| contract.contract_id().is_some())
            .map(|contract| Response::ok(contract.shown.clone()))
            .ok_or_else(|| Refusal::not_found("no contract is signed under this out_contract_code"))
    }

    /// Terminates a contract for the merchant.
    pub(super) fn terminate(
        &mut self,
        service_id: &str,
        code: &str,
        body: &Value,
        now: u64,
    ) -> Result<&Contract, Refusal> {
        fields::check(body, &[TERMINATION])?;
        let contract = self
            .of_service(service_id, code)
            .ok_or_else(|| Refusal::invalid_request("there is no such contract"))?;
        let remark = pick(body, "contract_termination_remark");
        // This `contract_termination_mode` is that of the sister products.
        contract
            .terminate("MCH_API_TERMINATE", remark, now)
            .map_err(|error| Refusal::invalid_request(&error.to_string()))?;
        Ok(contract)
    }

    fn of_service(&mut self, service_id: &str, code: &str) -> Option<&mut Contract> {
        self.0.get_mut(code).filter(|contract| {
            let own = contract.shown.get("service_id").and_then(Value::as_u64);
            own.is_some_and(|own| service_id == own.to_string())
        })
    }

    /// Returns the contract on which the user acts.
    pub(super) fn find(&mut self, code: &str) -> Result<&mut Contract, UserError> {
        self.0.get_mut(code).ok_or(UserError::Unknown)
    }

    /// Checks whether a signed contract has this id.
    pub(super) fn is_in_force(&self, id: Option<&str>) -> bool {
        let mut contracts = self.0.values();
        contracts.any(|contract| contract.state == State::Signed && contract.contract_id() == id)
    }

    /// Returns all contracts with their states, including the unsigned ones.
    pub(super) fn list(&self) -> Vec<&Value> {
        self.0.values().map(|contract| &contract.shown).collect()
    }
}

impl Contract {
    fn new(flow: SigningFlow, mchid: &str, request: &Value, now: u64) -> Self {
        const NAMES: &str =
            "service_id out_contract_code sub_appid sub_openid contract_display_account";
        let openid = text(request, "openid").or_else(|| text(request, "sp_openid"));
        let mut contract = Self {
            flow,
            pre_signed_at: now,
            state: State::PreSigned,
            shown: pick(request, NAMES),
            only_notified: pick(request, "sub_mchid"),
        };
        let fields = json!({
            "mchid": mchid,
            "appid": text(request, "appid").or_else(|| text(request, "sp_appid")),
            "openid": openid.unwrap_or(SOME_OPENID),
        });
        contract.enter(State::PreSigned, fields);
        contract
    }

    pub(super) fn contract_id(&self) -> Option<&str> {
        text(&self.shown, "contract_id")
    }

    /// Signs the contract as the user, in this flow.
    pub(super) fn sign(&mut self, flow: SigningFlow, now: u64) -> Result<(), UserError> {
        self.check_session(now)?;
        match self.flow {
            own if own == flow => {}
            SigningFlow::PayRedirectSign => return Err(UserError::PaysFirst),
            SigningFlow::MiniProgram => return Err(UserError::SignsInMiniProgram),
        }
        let time = format_rfc_3339(now);
        let fields = json!({"contract_id": new_id(), "contract_signed_time": time});
        self.enter(State::Signed, fields);
        Ok(())
    }

    /// Gives up signing as the user. No notification is sent. The session ends, which is inferred.
    pub(super) fn give_up(&mut self, now: u64) -> Result<(), UserError> {
        self.check_session(now)?;
        self.enter(State::GivenUp, json!({}));
        Ok(())
    }

    fn check_session(&self, now: u64) -> Result<(), UserError> {
        match self.state {
            State::PreSigned if now.saturating_sub(self.pre_signed_at) < SESSION_LIFETIME => Ok(()),
            State::PreSigned | State::GivenUp => Err(UserError::SessionEnded),
            State::Signed => Err(UserError::AlreadySigned),
            State::Terminated => Err(UserError::Terminated),
        }
    }

    /// Terminates the contract. `info` has further fields of `contract_terminate_info`.
    pub(super) fn terminate(&mut self, mode: &str, info: Value, now: u64) -> Result<(), UserError> {
        match self.state {
            State::PreSigned | State::GivenUp => return Err(UserError::NotSigned),
            State::Terminated => return Err(UserError::Terminated),
            State::Signed => {}
        }
        let time = format_rfc_3339(now);
        let mut all = json!({"contract_termination_mode": mode, "contract_terminated_time": time});
        put(&mut all, info);
        self.enter(State::Terminated, json!({"contract_terminate_info": all}));
        Ok(())
    }

    /// Changes the state, and adds these fields.
    fn enter(&mut self, state: State, fields: Value) {
        self.state = state;
        put(&mut self.shown, json!({"contract_state": state}));
        put(&mut self.shown, fields);
    }

    /// Returns the contract as a notification shows it. The fields are inferred: they are those of the sister product
    /// 委托代扣, with `service_id` instead of `plan_id`.
    pub(super) fn notified(&self) -> Value {
        let mut notified = self.shown.clone();
        put(&mut notified, self.only_notified.clone());
        notified
    }
}

fn pre_sign_response(mode: Mode, flow: SigningFlow, mchid: &str, body: &Value) -> Response {
    let mut response = pick(body, "service_id out_contract_code");
    put(&mut response, json!({"mchid": mchid}));
    if mode == Mode::ServiceProvider {
        put(&mut response, pick(body, "sub_mchid"));
    }
    if flow == SigningFlow::MiniProgram {
        let session = json!({
            "pre_entrustweb_id": new_id(),
            "sign_mp_appid": "wxbd687630cd02ce1d",
            "sign_mp_path": "pages/PwdExemptContract/index",
        });
        put(&mut response, session);
    }
    Response::ok(response)
}
