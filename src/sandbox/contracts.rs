//! The contracts that the sandbox keeps, and its answers to the calls about them.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::fields;
use crate::keys;

/// All contracts by `out_contract_code`.
#[derive(Default)]
pub(super) struct Contracts {
    by_code: HashMap<String, Contract>,
}

struct Contract {
    service_id: u64,
}

impl Contracts {
    /// Pre-signing for a mini program.
    pub(super) fn pre_sign_mini_program(
        &mut self,
        mchid: &str,
        body: &Value,
    ) -> Result<Answer, Refusal> {
        fields::text(body, "appid", 32)?;
        let service_id = fields::number(body, "service_id")?;
        let code = fields::out_contract_code(body)?;
        fields::notify_url(body, 256)?;
        fields::text(body, "contract_display_account", 32)?;
        fields::text(body, "openid", 128)?;
        self.by_code
            .insert(code.to_owned(), Contract { service_id });
        let session =
            keys::random_nonce().map_err(|_| Refusal::new(500, "SYSTEM_ERROR", "no randomness"))?;
        Ok(Answer::ok(json!({
            "pre_entrustweb_id": session,
            "mchid": mchid,
            "service_id": service_id,
            "out_contract_code": code,
            "sign_mp_appid": "wxbd687630cd02ce1d",
            "sign_mp_path": "pages/PwdExemptContract/index",
        })))
    }
}
