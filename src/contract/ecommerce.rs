//! Contracts signed through an e-commerce platform 电商收付通.

use serde::Serialize;

use super::MiniProgramSession;
use crate::check;
use crate::endpoint::{Endpoint, Request};
use crate::error::InvalidField;

/// Pre-signs a contract that the user signs in a mini program 小程序预签约.
///
/// Not documented as idempotent. After an unknown outcome nothing is lost by pre-signing again with the same fields:
/// a contract exists only when the user signs it.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4013369177>. The lengths are those of the direct merchant's page;
/// for this mode they are inferred and not enforced.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MiniProgramPreSign<'a> {
    /// AppID of the caller's official account, mini program or app 应用ID, up to 32 characters.
    pub appid: &'a str,
    /// The password-exempt service 免密支付服务ID.
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号: ASCII digits and letters, up to 32, unique for the merchant.
    /// A terminated contract's code can never be used again.
    pub out_contract_code: &'a str,
    /// Where WeChat Pay notifies of the signing 回调通知地址: HTTPS, reachable from the internet, with a path and without
    /// a query, up to 256 characters.
    pub notify_url: &'a str,
    /// The user's name as the signing page shows it 签约用户的名称, up to 32 characters of at most three UTF-8 bytes, so
    /// no emoji.
    pub contract_display_account: &'a str,
    /// The user under `appid` 用户标识, up to 128 characters.
    pub openid: &'a str,
}

impl Endpoint for MiniProgramPreSign<'_> {
    type Response = MiniProgramSession;

    fn request(&self) -> Result<Request, InvalidField> {
        check::required("appid", self.appid)?;
        check::digits_and_letters("out_contract_code", self.out_contract_code)?;
        check::notify_url("notify_url", self.notify_url)?;
        check::no_four_byte_characters("contract_display_account", self.contract_display_account)?;
        check::required("openid", self.openid)?;
        Ok(Request::post(
            "/v3/password-exempt-contract/contracts/ecommerce/pre-entrust-sign/mini-program",
        )
        .json(self))
    }
}
