//! The contracts that the sandbox keeps, and its responses to the contract APIs.
//!
//! A contract is pre-signed for two hours, then signed by the user, then terminated by the user or the merchant. Its
//! code can be pre-signed again, with a new session, until the user signs, but not after that.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::credentials::new_id;
use super::fields::{self, Field, Rule, pick, present, put, text};
use super::pre_sign::{self, Mode, SigningFlow};
use super::response::{Refusal, Response};
use crate::time::format_rfc_3339;

/// The lifetime of a session, in seconds.
const SESSION_LIFETIME: u64 = 2 * 60 * 60;

/// The OpenID that responses and notifications show if the pre-signing request has none under the caller's AppID.
const SOME_OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012472858>.
const TERMINATION: &[Field] = &[Field::required(
    "contract_termination_remark",
    Rule::Text(256),
)];

/// All contracts by `out_contract_code`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Contracts {
    by_code: BTreeMap<String, Contract>,
}

/// A contract: its merchant, the body of the pre-signing request, and its state. Times are in Unix seconds.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Contract {
    mchid: String,
    flow: SigningFlow,
    request: Value,
    state: State,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum State {
    PreSigned {
        at: u64,
    },
    GivenUp,
    Signed {
        contract_id: String,
        at: u64,
    },
    Terminated {
        contract_id: String,
        signed_at: u64,
        /// `contract_terminate_info` as the query shows it.
        info: Value,
    },
}

/// The reason why an action of the user failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserError {
    /// No contract was pre-signed under this code.
    Unknown,
    /// The contract is signed after a payment, not in the mini program. Use
    /// [`Sandbox::user_pays_and_signs`](super::Sandbox::user_pays_and_signs).
    PaysFirst,
    /// The contract is signed in the mini program, not after a payment. Use
    /// [`Sandbox::user_signs`](super::Sandbox::user_signs).
    SignsInMiniProgram,
    /// The session has ended: two hours have passed, or the user gave up. The merchant has to pre-sign again.
    SessionEnded,
    /// The contract is signed already.
    AlreadySigned,
    /// The contract is not signed yet.
    NotSigned,
    /// The contract was terminated.
    Terminated,
    /// No order was placed under this number.
    UnknownOrder,
    /// The order is paid already.
    OrderPaid,
    /// The order is closed.
    OrderClosed,
    /// The order's `time_expire` has passed, or the newest `prepay_id` is two hours old.
    OrderExpired,
    /// No refund was created under this number.
    UnknownRefund,
    /// The refund has ended, or cannot change to this status.
    RefundSettled,
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no contract was pre-signed under this code",
            Self::PaysFirst => "this contract is signed after a payment, not in the mini program",
            Self::SignsInMiniProgram => {
                "this contract is signed in the mini program, not after a payment"
            }
            Self::SessionEnded => {
                "the session has ended: two hours have passed, or the user gave up"
            }
            Self::AlreadySigned => "the contract is signed already",
            Self::NotSigned => "the contract is not signed yet",
            Self::Terminated => "the contract was terminated",
            Self::UnknownOrder => "no order was placed under this number",
            Self::OrderPaid => "the order is paid already",
            Self::OrderClosed => "the order is closed",
            Self::OrderExpired => {
                "the time to pay is over, or the newest prepay_id is two hours old"
            }
            Self::UnknownRefund => "no refund was created under this number",
            Self::RefundSettled => "the refund has ended, or cannot go to this status",
        })
    }
}

impl std::error::Error for UserError {}

impl Contracts {
    /// Pre-signs a contract, for the first time or again.
    pub(super) fn pre_sign(
        &mut self,
        mode: Mode,
        flow: SigningFlow,
        mchid: &str,
        body: Value,
        now: u64,
    ) -> Result<Response, Refusal> {
        pre_sign::check(mode, flow, &body)?;
        let code = text(&body, "out_contract_code")
            .unwrap_or_default()
            .to_owned();
        self.check_reusable(&code)?;
        let response = pre_sign_response(mode, flow, mchid, &body);
        let contract = Contract {
            mchid: mchid.to_owned(),
            flow,
            request: body,
            state: State::PreSigned { at: now },
        };
        self.by_code.insert(code, contract);
        Ok(response)
    }

    /// Refuses a code that cannot be used again, as documented. The status and the error code are inferred.
    fn check_reusable(&self, code: &str) -> Result<(), Refusal> {
        let problem = match self.by_code.get(code).map(|contract| &contract.state) {
            None | Some(State::PreSigned { .. } | State::GivenUp) => return Ok(()),
            Some(State::Signed { .. }) => "a contract is signed under this out_contract_code",
            Some(State::Terminated { .. }) => {
                "the out_contract_code of a terminated contract cannot be used again"
            }
        };
        Err(Refusal::invalid_request(problem))
    }

    /// Returns the response to a query. The 404 for an unknown or unsigned contract is inferred.
    pub(super) fn query(&self, service_id: &str, code: &str) -> Result<Response, Refusal> {
        self.by_code
            .get(code)
            .filter(|contract| contract.has_service_id(service_id))
            .filter(|contract| contract.contract_id().is_some())
            .map(|contract| Response::ok(contract.public()))
            .ok_or_else(|| Refusal::not_found("no contract is signed under this out_contract_code"))
    }

    /// Terminates a contract for the merchant. Returns the response and the terminated contract.
    pub(super) fn terminate(
        &mut self,
        service_id: &str,
        code: &str,
        body: &Value,
        now: u64,
    ) -> Result<(Response, &Contract), Refusal> {
        fields::check(body, TERMINATION)?;
        let contract = self
            .by_code
            .get_mut(code)
            .filter(|contract| contract.has_service_id(service_id))
            .ok_or_else(|| Refusal::invalid_request("there is no such contract"))?;
        // The field's name is that of the sister products.
        let remark = text(body, "contract_termination_remark");
        contract
            .terminate("MCH_API_TERMINATE", remark, now)
            .map_err(|error| Refusal::invalid_request(&error.to_string()))?;
        let response = Response::ok(json!({
            "mchid": contract.mchid,
            "service_id": contract.request.get("service_id"),
            "out_contract_code": code,
        }));
        Ok((response, contract))
    }

    /// Signs a contract as the user, in this flow.
    pub(super) fn sign(
        &mut self,
        code: &str,
        flow: SigningFlow,
        now: u64,
    ) -> Result<&Contract, UserError> {
        let contract = self.find(code)?;
        contract.check_session(now)?;
        match contract.flow {
            other if other == flow => {}
            SigningFlow::PayRedirectSign => return Err(UserError::PaysFirst),
            SigningFlow::MiniProgram => return Err(UserError::SignsInMiniProgram),
        }
        contract.state = State::Signed {
            contract_id: new_id(),
            at: now,
        };
        Ok(contract)
    }

    /// Gives up signing as the user. No notification is sent. The session ends, which is inferred.
    pub(super) fn give_up(&mut self, code: &str, now: u64) -> Result<(), UserError> {
        let contract = self.find(code)?;
        contract.check_session(now)?;
        contract.state = State::GivenUp;
        Ok(())
    }

    /// Terminates a contract as the user.
    pub(super) fn terminate_by_user(
        &mut self,
        code: &str,
        now: u64,
    ) -> Result<&Contract, UserError> {
        let contract = self.find(code)?;
        contract.terminate("USER_TERMINATE", None, now)?;
        Ok(contract)
    }

    /// Checks whether a signed contract has this id.
    pub(super) fn is_in_force(&self, id: &str) -> bool {
        self.by_code.values().any(|contract| {
            matches!(&contract.state, State::Signed { contract_id, .. } if contract_id == id)
        })
    }

    /// Returns all contracts with their states, including the unsigned ones.
    pub(super) fn list(&self) -> Vec<Value> {
        self.by_code.values().map(Contract::public).collect()
    }

    fn find(&mut self, code: &str) -> Result<&mut Contract, UserError> {
        self.by_code.get_mut(code).ok_or(UserError::Unknown)
    }
}

impl Contract {
    pub(super) fn contract_id(&self) -> Option<&str> {
        let (State::Signed { contract_id, .. } | State::Terminated { contract_id, .. }) =
            &self.state
        else {
            return None;
        };
        Some(contract_id)
    }

    fn has_service_id(&self, service_id: &str) -> bool {
        let own = self.request.get("service_id").and_then(Value::as_u64);
        own.is_some_and(|own| service_id == own.to_string())
    }

    fn check_session(&self, now: u64) -> Result<(), UserError> {
        match &self.state {
            State::PreSigned { at } if now.saturating_sub(*at) < SESSION_LIFETIME => Ok(()),
            State::PreSigned { .. } | State::GivenUp => Err(UserError::SessionEnded),
            State::Signed { .. } => Err(UserError::AlreadySigned),
            State::Terminated { .. } => Err(UserError::Terminated),
        }
    }

    fn terminate(&mut self, mode: &str, remark: Option<&str>, now: u64) -> Result<(), UserError> {
        let (contract_id, signed_at) = match &self.state {
            State::PreSigned { .. } | State::GivenUp => return Err(UserError::NotSigned),
            State::Terminated { .. } => return Err(UserError::Terminated),
            State::Signed { contract_id, at } => (contract_id.clone(), *at),
        };
        let info = present(json!({
            "contract_termination_mode": mode,
            "contract_terminated_time": format_rfc_3339(now),
            "contract_termination_remark": remark,
        }));
        self.state = State::Terminated {
            contract_id,
            signed_at,
            info,
        };
        Ok(())
    }

    /// Returns the contract as a notification shows it: the fields of the sister product, with `service_id` instead of
    /// `plan_id`.
    pub(super) fn notified(&self) -> Value {
        let mut notified = self.public();
        put(&mut notified, pick(&self.request, "sub_mchid"));
        notified
    }

    /// Returns the contract as the query shows it.
    fn public(&self) -> Value {
        let request = |name| text(&self.request, name);
        let (state, signed_at, info) = match &self.state {
            // The gateway's responses never contain these two states. They appear under the sandbox's own paths only.
            State::PreSigned { .. } => ("PRE_SIGNED", None, None),
            State::GivenUp => ("GIVEN_UP", None, None),
            State::Signed { at, .. } => ("SIGNED", Some(*at), None),
            State::Terminated {
                signed_at, info, ..
            } => ("TERMINATED", Some(*signed_at), Some(info)),
        };
        let openid = request("openid").or_else(|| request("sp_openid"));
        let fields = json!({
            "mchid": self.mchid,
            "contract_id": self.contract_id(),
            "appid": request("appid").or_else(|| request("sp_appid")),
            "openid": openid.unwrap_or(SOME_OPENID),
            "service_id": self.request.get("service_id"),
            "out_contract_code": request("out_contract_code"),
            "sub_appid": request("sub_appid"),
            "sub_openid": request("sub_openid"),
            "contract_display_account": request("contract_display_account"),
            "contract_state": state,
            "contract_signed_time": signed_at.map(format_rfc_3339),
            "contract_terminate_info": info,
        });
        present(fields)
    }
}

fn pre_sign_response(mode: Mode, flow: SigningFlow, mchid: &str, body: &Value) -> Response {
    let is_session = flow == SigningFlow::MiniProgram;
    let sub_mchid = body
        .get("sub_mchid")
        .filter(|_| mode == Mode::ServiceProvider);
    Response::ok(present(json!({
        "mchid": mchid,
        "service_id": body.get("service_id"),
        "out_contract_code": body.get("out_contract_code"),
        "sub_mchid": sub_mchid,
        "pre_entrustweb_id": is_session.then(new_id),
        "sign_mp_appid": is_session.then_some("wxbd687630cd02ce1d"),
        "sign_mp_path": is_session.then_some("pages/PwdExemptContract/index"),
    })))
}
