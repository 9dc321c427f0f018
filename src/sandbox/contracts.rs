//! The contracts that the sandbox keeps, and its answers to the calls about them.
//!
//! A contract is pre-signed for two hours, then signed by the user, then terminated by the user or the merchant. Its
//! code can be pre-signed again, with a new session, until the user signs; then never again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::answer::{Answer, Refusal, new_id};
use super::fields::{self, Field, Rule, text};
use super::pre_sign::{self, Mode, Way};
use crate::time::{format_rfc_3339, unix_seconds};

const SESSION_LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

/// The user under the caller's AppID, where the caller named another one.
const SOME_OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012472858>.
const TERMINATION: &[Field] = &[Field::required(
    "contract_termination_remark",
    Rule::Text(256),
)];

/// All contracts by `out_contract_code`.
#[derive(Default)]
pub(super) struct Contracts {
    by_code: BTreeMap<String, Contract>,
}

/// A contract: who made it, the fields that it was pre-signed with, and how far it has come.
pub(super) struct Contract {
    mchid: String,
    way: Way,
    request: Value,
    state: State,
}

enum State {
    PreSigned { at: SystemTime },
    GivenUp,
    Signed(Signature),
    Terminated(Signature, Termination),
}

struct Signature {
    contract_id: String,
    at: SystemTime,
}

struct Termination {
    at: SystemTime,
    mode: &'static str,
    remark: Option<String>,
}

/// Who ends a contract.
pub(super) enum Terminator<'a> {
    User,
    Merchant { remark: &'a str },
}

/// Why the user's part cannot be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserError {
    /// No contract was pre-signed under this code.
    Unknown,
    /// The contract is to be signed after a payment, not in the mini program: the user pays and signs.
    PaysFirst,
    /// The contract is to be signed in the mini program, not after a payment: the user signs.
    SignsInMiniProgram,
    /// The two hours have passed, or the user gave up: the merchant has to pre-sign again.
    SessionEnded,
    /// The contract is signed already.
    AlreadySigned,
    /// The contract is not signed yet.
    NotSigned,
    /// The contract was terminated.
    Terminated,
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
        })
    }
}

impl std::error::Error for UserError {}

impl Contracts {
    /// Pre-signs, for the first time or again.
    pub(super) fn pre_sign(
        &mut self,
        mode: Mode,
        way: Way,
        mchid: &str,
        body: Value,
        now: SystemTime,
    ) -> Result<Answer, Refusal> {
        pre_sign::check(mode, way, &body)?;
        let code = text(&body, "out_contract_code").unwrap_or_default();
        self.check_reusable(code)?;
        let answer = pre_sign_answer(mode, way, mchid, &body);
        let contract = Contract {
            mchid: mchid.to_owned(),
            way,
            state: State::PreSigned { at: now },
            request: body.clone(),
        };
        self.by_code.insert(code.to_owned(), contract);
        Ok(answer)
    }

    /// That these are refused is documented; status and code are inferred.
    fn check_reusable(&self, code: &str) -> Result<(), Refusal> {
        match self.by_code.get(code).map(|contract| &contract.state) {
            None | Some(State::PreSigned { .. } | State::GivenUp) => Ok(()),
            Some(State::Signed(_)) => Err(Refusal::invalid_request(
                "a contract is signed under this out_contract_code",
            )),
            Some(State::Terminated(..)) => Err(Refusal::invalid_request(
                "the out_contract_code of a terminated contract cannot be used again",
            )),
        }
    }

    /// The query. That an unknown or unsigned contract gives a 404 is inferred.
    pub(super) fn query(&self, service_id: &str, code: &str) -> Result<Answer, Refusal> {
        self.find(service_id, code)
            .filter(|contract| contract.contract_id().is_some())
            .map(|contract| Answer::ok(contract.public()))
            .ok_or_else(|| {
                Refusal::new(
                    404,
                    "RESOURCE_NOT_EXISTS",
                    "no contract is signed under this out_contract_code",
                )
            })
    }

    /// The merchant's termination. Gives the contract as it is now, beside the answer.
    pub(super) fn terminate(
        &mut self,
        service_id: &str,
        code: &str,
        body: &Value,
        now: SystemTime,
    ) -> Result<(Answer, &Contract), Refusal> {
        fields::check(body, TERMINATION)?;
        let remark = text(body, "contract_termination_remark").unwrap_or_default();
        let contract = self
            .by_code
            .get_mut(code)
            .filter(|contract| contract.has_service_id(service_id))
            .ok_or_else(|| Refusal::invalid_request("there is no such contract"))?;
        contract
            .end(Terminator::Merchant { remark }, now)
            .map_err(|error| Refusal::invalid_request(&error.to_string()))?;
        let answer = Answer::ok(json!({
            "mchid": contract.mchid,
            "service_id": contract.request.get("service_id"),
            "out_contract_code": code,
        }));
        Ok((answer, contract))
    }

    /// The user signs; `way` says where.
    pub(super) fn sign(
        &mut self,
        code: &str,
        way: Way,
        now: SystemTime,
    ) -> Result<&Contract, UserError> {
        let contract = self.by_code.get_mut(code).ok_or(UserError::Unknown)?;
        contract.sign(way, now)?;
        Ok(contract)
    }

    /// The user gives up, after which nothing is sent. That the session ends with it is inferred.
    pub(super) fn give_up(&mut self, code: &str, now: SystemTime) -> Result<(), UserError> {
        let contract = self.by_code.get_mut(code).ok_or(UserError::Unknown)?;
        contract.check_session(now)?;
        contract.state = State::GivenUp;
        Ok(())
    }

    /// The user terminates.
    pub(super) fn end_by_user(
        &mut self,
        code: &str,
        now: SystemTime,
    ) -> Result<&Contract, UserError> {
        let contract = self.by_code.get_mut(code).ok_or(UserError::Unknown)?;
        contract.end(Terminator::User, now)?;
        Ok(contract)
    }

    /// Whether a signed contract has this id.
    pub(super) fn is_in_force(&self, contract_id: &str) -> bool {
        self.by_code.values().any(|contract| {
            matches!(&contract.state, State::Signed(signature) if signature.contract_id == contract_id)
        })
    }

    /// All contracts with their states, the unsigned ones too.
    pub(super) fn list(&self) -> Vec<Value> {
        self.by_code.values().map(Contract::public).collect()
    }

    fn find(&self, service_id: &str, code: &str) -> Option<&Contract> {
        let contract = self.by_code.get(code)?;
        contract.has_service_id(service_id).then_some(contract)
    }
}

impl Contract {
    pub(super) fn contract_id(&self) -> Option<&str> {
        match &self.state {
            State::PreSigned { .. } | State::GivenUp => None,
            State::Signed(signature) | State::Terminated(signature, _) => {
                Some(&signature.contract_id)
            }
        }
    }

    pub(super) fn out_contract_code(&self) -> &str {
        text(&self.request, "out_contract_code").unwrap_or_default()
    }

    fn has_service_id(&self, service_id: &str) -> bool {
        let own = self.request.get("service_id").and_then(Value::as_u64);
        own.is_some_and(|own| service_id == own.to_string())
    }

    fn check_session(&self, now: SystemTime) -> Result<(), UserError> {
        match &self.state {
            State::PreSigned { at } if !session_has_ended(*at, now) => Ok(()),
            State::PreSigned { .. } | State::GivenUp => Err(UserError::SessionEnded),
            State::Signed(_) => Err(UserError::AlreadySigned),
            State::Terminated(..) => Err(UserError::Terminated),
        }
    }

    fn sign(&mut self, way: Way, now: SystemTime) -> Result<(), UserError> {
        self.check_session(now)?;
        match (self.way, way) {
            (Way::PayRedirect, Way::MiniProgram) => return Err(UserError::PaysFirst),
            (Way::MiniProgram, Way::PayRedirect) => return Err(UserError::SignsInMiniProgram),
            _ => {}
        }
        self.state = State::Signed(Signature {
            contract_id: new_id(),
            at: now,
        });
        Ok(())
    }

    fn end(&mut self, by: Terminator<'_>, now: SystemTime) -> Result<(), UserError> {
        let signature = match &self.state {
            State::PreSigned { .. } | State::GivenUp => return Err(UserError::NotSigned),
            State::Terminated(..) => return Err(UserError::Terminated),
            State::Signed(signature) => Signature {
                contract_id: signature.contract_id.clone(),
                at: signature.at,
            },
        };
        let (mode, remark) = match by {
            Terminator::User => ("USER_TERMINATE", None),
            // The name is that of the sister products.
            Terminator::Merchant { remark } => ("MCH_API_TERMINATE", Some(remark.to_owned())),
        };
        let termination = Termination {
            at: now,
            mode,
            remark,
        };
        self.state = State::Terminated(signature, termination);
        Ok(())
    }

    /// The contract as a notification shows it: the fields of the sister product.
    pub(super) fn notified(&self) -> Value {
        let mut notified = self.public();
        let sub_mchid = self.request.get("sub_mchid");
        if let (Some(notified), Some(sub_mchid)) = (notified.as_object_mut(), sub_mchid) {
            notified.insert("sub_mchid".to_owned(), sub_mchid.clone());
        }
        notified
    }

    /// The contract as the query shows it.
    pub(super) fn public(&self) -> Value {
        let request = |name| text(&self.request, name);
        let mut public = Map::new();
        let mut put = |name: &str, value: Option<&str>| {
            public.extend(value.map(|value| (name.to_owned(), value.into())));
        };
        put("mchid", Some(&self.mchid));
        put("contract_id", self.contract_id());
        put("appid", request("appid").or_else(|| request("sp_appid")));
        let openid = request("openid").or_else(|| request("sp_openid"));
        put("openid", openid.or(Some(SOME_OPENID)));
        put("out_contract_code", Some(self.out_contract_code()));
        for name in ["sub_appid", "sub_openid", "contract_display_account"] {
            put(name, request(name));
        }
        put("contract_state", Some(self.state.name()));
        let service_id = self.request.get("service_id").cloned();
        public.extend(service_id.map(|id| ("service_id".to_owned(), id)));
        if let State::Signed(signature) | State::Terminated(signature, _) = &self.state {
            let time = format_rfc_3339(unix_seconds(signature.at));
            public.insert("contract_signed_time".to_owned(), time.into());
        }
        if let State::Terminated(_, termination) = &self.state {
            let info = termination.public();
            public.insert("contract_terminate_info".to_owned(), info);
        }
        Value::Object(public)
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            // No answer of the gateway has these two names; they are for whoever looks into the sandbox.
            Self::PreSigned { .. } => "PRE_SIGNED",
            Self::GivenUp => "GIVEN_UP",
            Self::Signed(_) => "SIGNED",
            Self::Terminated(..) => "TERMINATED",
        }
    }
}

impl Termination {
    fn public(&self) -> Value {
        let mut info = json!({
            "contract_termination_mode": self.mode,
            "contract_terminated_time": format_rfc_3339(unix_seconds(self.at)),
        });
        if let (Some(remark), Some(info)) = (&self.remark, info.as_object_mut()) {
            let remark = Value::from(remark.as_str());
            info.insert("contract_termination_remark".to_owned(), remark);
        }
        info
    }
}

/// By the age, as the end may be later than a clock can show.
fn session_has_ended(began: SystemTime, now: SystemTime) -> bool {
    now.duration_since(began)
        .is_ok_and(|age| age >= SESSION_LIFETIME)
}

fn pre_sign_answer(mode: Mode, way: Way, mchid: &str, body: &Value) -> Answer {
    let mut answer = Map::new();
    let mut put = |name: &str, value: Option<&Value>| {
        answer.extend(value.map(|value| (name.to_owned(), value.clone())));
    };
    put("mchid", Some(&mchid.into()));
    put("service_id", body.get("service_id"));
    put("out_contract_code", body.get("out_contract_code"));
    if mode.answers_sub_mchid() {
        put("sub_mchid", body.get("sub_mchid"));
    }
    if way == Way::MiniProgram {
        put("pre_entrustweb_id", Some(&new_id().into()));
        put("sign_mp_appid", Some(&"wxbd687630cd02ce1d".into()));
        let path = "pages/PwdExemptContract/index";
        put("sign_mp_path", Some(&path.into()));
    }
    Answer::ok(Value::Object(answer))
}
