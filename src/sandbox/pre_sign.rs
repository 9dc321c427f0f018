//! The eight pre-signing APIs: the fields that each of the four kinds of callers must send.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{self, Field, Rule};
use super::response::Refusal;

/// The kind of caller, named by a part of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    Normal,
    ServiceProvider,
    Ecommerce,
    Qs,
}

/// The place where the user signs, named by a part of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SigningFlow {
    /// In the signing mini program, with a session.
    MiniProgram,
    /// On the page after a payment.
    PayRedirectSign,
}

/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012472870>.
const NORMAL: &[Field] = &[
    Field::required("appid", Rule::Text(32)),
    Field::required("service_id", Rule::Number),
    Field::required("out_contract_code", Rule::Code(32)),
    Field::required("notify_url", Rule::NotifyUrlWithPath(256)),
    Field::required("contract_display_account", Rule::Text(32)),
    Field::required("openid", Rule::Text(128)),
];

/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4013369177>. It gives no lengths.
const ECOMMERCE: &[Field] = &[
    Field::required("appid", Rule::AnyText),
    Field::required("service_id", Rule::Number),
    Field::required("out_contract_code", Rule::Code(usize::MAX)),
    Field::required("notify_url", Rule::NotifyUrlWithPath(usize::MAX)),
    Field::required("contract_display_account", Rule::AnyText),
    Field::required("openid", Rule::AnyText),
];

/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012471269>. It gives no lengths and does not say that
/// `sp_openid` or `sub_openid` is required.
const SERVICE_PROVIDER: &[Field] = &[
    Field::required("sp_appid", Rule::AnyText),
    Field::required("sub_mchid", Rule::AnyText),
    Field::required("sub_appid", Rule::AnyText),
    Field::required("service_id", Rule::Number),
    Field::required("out_contract_code", Rule::Code(usize::MAX)),
    Field::required("notify_url", Rule::NotifyUrlWithPath(usize::MAX)),
    Field::required("contract_display_account", Rule::AnyText),
    Field::optional("sp_openid", Rule::AnyText),
    Field::optional("sub_openid", Rule::AnyText),
];

/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012471282>.
const QS: &[Field] = &[
    Field::required("appid", Rule::Text(32)),
    Field::required("sub_appid", Rule::Text(32)),
    Field::required("sub_mchid", Rule::Text(32)),
    Field::required("service_id", Rule::Number),
    Field::required("out_contract_code", Rule::Code(32)),
    Field::required("notify_url", Rule::NotifyUrlWithPath(256)),
    Field::required("contract_display_account", Rule::Text(32)),
    Field::optional("openid", Rule::Text(128)),
    Field::optional("sub_openid", Rule::Text(128)),
];

/// Any `prepay_id` of at most 64 characters is accepted, because the order may have been placed through an API that the
/// sandbox does not serve.
const PREPAY_ID: &[Field] = &[Field::required("prepay_id", Rule::Text(64))];

/// Refuses a body that breaks a rule documented for the mode.
pub(super) fn check(mode: Mode, flow: SigningFlow, body: &Value) -> Result<(), Refusal> {
    let fields = match mode {
        Mode::Normal => NORMAL,
        Mode::ServiceProvider => SERVICE_PROVIDER,
        Mode::Ecommerce => ECOMMERCE,
        Mode::Qs => QS,
    };
    match flow {
        SigningFlow::MiniProgram => fields::check(body, &[fields])?,
        SigningFlow::PayRedirectSign => fields::check(body, &[fields, PREPAY_ID])?,
    }
    if mode == Mode::Qs && body.get("openid").is_none() && body.get("sub_openid").is_none() {
        let issue = "is required unless sub_openid is given";
        return Err(Refusal::param_error("openid", &Value::Null, issue));
    }
    Ok(())
}
