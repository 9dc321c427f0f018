//! The session in which the user signs a contract, as pre-signing for a mini program returns it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::json::number_or_text;

/// A session 预签约会话 in which the user can sign the contract, for two hours.
///
/// # After an unknown outcome
///
/// Pre-signing is not documented as idempotent. After an unknown outcome, send it again with the same fields. That should do
/// no harm: a contract exists only after the user signs, and at most one exists for each code. Both statements are inferred.
/// [`QueryContract`](crate::QueryContract) shows if a contract exists.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/partner/4013369177> and the other three modes' pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MiniProgramSession {
    /// The session's id 预签约会话ID, up to 128 characters, valid for [`LIFETIME`](Self::LIFETIME).
    pub pre_entrustweb_id: String,
    /// The merchant id 商户号 that the contract is made with.
    pub mchid: String,
    /// The sub-merchant 子商户号 that the contract is made with. Only responses to service providers have it.
    pub sub_mchid: Option<String>,
    /// The password-exempt service 免密支付服务ID.
    #[serde(deserialize_with = "number_or_text")]
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号.
    pub out_contract_code: String,
    /// AppID of WeChat's signing mini program.
    pub sign_mp_appid: String,
    /// Path of the page to open in that mini program.
    pub sign_mp_path: String,
}

impl MiniProgramSession {
    /// The time for which the session is valid: two hours.
    pub const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

    /// Returns the time at which the session ends, for a response received at `received`.
    pub fn expires_at(&self, received: SystemTime) -> SystemTime {
        // On overflow, returns `received`.
        received.checked_add(Self::LIFETIME).unwrap_or(received)
    }

    /// Returns the argument for `wx.navigateToMiniProgram` in the merchant's mini program.
    ///
    /// This follows WeChat Pay's sister products with the same signing mini program, since the page for password-exempt
    /// contracts is not public. List `sign_mp_appid` in `navigateToMiniProgramAppIdList` of `app.json`. The data that the
    /// signing mini program returns proves nothing. Only the notification or the query does.
    pub fn launch(&self) -> LaunchParameters<'_> {
        LaunchParameters {
            app_id: &self.sign_mp_appid,
            path: &self.sign_mp_path,
            extra_data: LaunchExtraData {
                pre_entrustweb_id: &self.pre_entrustweb_id,
            },
        }
    }
}

/// The argument for `wx.navigateToMiniProgram`, serialized as `{appId, path, extraData: {pre_entrustweb_id}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LaunchParameters<'a> {
    /// The signing mini program.
    pub app_id: &'a str,
    /// The page to open.
    pub path: &'a str,
    /// The data for the page.
    pub extra_data: LaunchExtraData<'a>,
}

/// The data for the signing mini program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LaunchExtraData<'a> {
    /// The session's id.
    pub pre_entrustweb_id: &'a str,
}
