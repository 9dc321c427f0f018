//! What pre-signing for a mini program gives: the session in which the user signs.

use std::time::{Duration, SystemTime};

use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

/// A session 预签约会话 in which the user can sign the contract, for two hours.
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/partner/4013369177> and the other three modes' pages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct MiniProgramSession {
    /// The session's id 预签约会话ID, up to 128 characters, valid for [`LIFETIME`](Self::LIFETIME).
    pub pre_entrustweb_id: String,
    /// The merchant id 商户号 that the contract is made with.
    pub mchid: String,
    /// The password-exempt service 免密支付服务ID.
    #[serde(deserialize_with = "number_or_text")]
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号.
    pub out_contract_code: String,
    /// AppID of the mini program in which WeChat lets the user sign.
    pub sign_mp_appid: String,
    /// Path of the page in that mini program.
    pub sign_mp_path: String,
}

impl MiniProgramSession {
    /// How long the session is valid: two hours.
    pub const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

    /// When the session ends, for an answer received at `received`.
    pub fn expires_at(&self, received: SystemTime) -> SystemTime {
        // The end of all time is early enough for a time that cannot be added to.
        received.checked_add(Self::LIFETIME).unwrap_or(received)
    }

    /// The argument for `wx.navigateToMiniProgram` in the merchant's mini program.
    ///
    /// This follows WeChat Pay's sister products that use the same signing mini program; for password-exempt
    /// contracts the page is not public. `sign_mp_appid` must be listed in `navigateToMiniProgramAppIdList` of
    /// `app.json`. What the mini program hands back is no proof of anything: the outcome comes from the notification
    /// or the query.
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

/// The argument for `wx.navigateToMiniProgram`; serialized as `{appId, path, extraData: {pre_entrustweb_id}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LaunchParameters<'a> {
    /// The signing mini program.
    pub app_id: &'a str,
    /// The page to open.
    pub path: &'a str,
    /// What the page needs to know.
    pub extra_data: LaunchExtraData<'a>,
}

/// What the signing mini program needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LaunchExtraData<'a> {
    /// The session's id.
    pub pre_entrustweb_id: &'a str,
}

/// Reads `service_id` as a number or as a numeric text, since peers have met both.
pub(crate) fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct NumberOrText;

    impl Visitor<'_> for NumberOrText {
        type Value = u64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a whole number, or a text of digits")
        }

        fn visit_u64<E>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<u64, E> {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            match value.parse() {
                Ok(number) if digits => Ok(number),
                // Not `Unexpected::Str`, which would repeat in the error what came.
                _ => Err(E::invalid_value(Unexpected::Other("string"), &self)),
            }
        }
    }

    deserializer.deserialize_any(NumberOrText)
}
