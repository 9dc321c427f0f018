//! Contracts signed through a service provider 服务商.
//!
//! ```
//! use wechatpay_contract::{Endpoint, service_provider};
//!
//! let contract = service_provider::MiniProgramPreSign {
//!     sp_appid: "wxd678efh567hg6787",
//!     sub_mchid: "1900000109",
//!     sub_appid: "wxd678efh567hg6787",
//!     service_id: 12535,
//!     out_contract_code: "wxwtdk20200910100000",
//!     notify_url: "https://yourapp.com/notify",
//!     contract_display_account: "微信代扣用户A",
//!     sp_openid: Some("oYobu0MVnQfWpSMOYJz2AHPG_gQw"),
//!     sub_openid: None,
//! };
//! assert_eq!(
//!     contract.request()?.target()?,
//!     "/v3/password-exempt-contract/contracts/service-provider/pre-entrust-sign/mini-program",
//! );
//!
//! // The same contract, offered after an order is paid.
//! let after_payment = service_provider::PayRedirectPreSign {
//!     prepay_id: "wx201410272009395522657a690389285100",
//!     contract,
//! };
//! assert_eq!(
//!     after_payment.request()?.target()?,
//!     "/v3/password-exempt-contract/contracts/service-provider/pre-entrust-sign/pay-redirect-sign",
//! );
//! # Ok::<(), wechatpay_contract::InvalidField>(())
//! ```

use serde::Serialize;

use super::pre_sign::{self, pre_sign_calls};
use crate::error::InvalidField;
use crate::rules;

/// Pre-signs a contract that the user signs in a mini program 小程序场景预签约.
///
/// After an unknown outcome, see [`MiniProgramSession`](crate::MiniProgramSession#after-an-unknown-outcome).
///
/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012471269>. The lengths are those of the direct merchant's page.
/// For this mode they are inferred and not enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MiniProgramPreSign<'a> {
    /// AppID of the service provider's official account, mini program or app 服务商AppID, up to 32 characters.
    pub sp_appid: &'a str,
    /// The sub-merchant 子商户号, up to 32 characters.
    pub sub_mchid: &'a str,
    /// AppID of the sub-merchant's official account, mini program or app 子商户AppID, up to 32 characters.
    pub sub_appid: &'a str,
    /// The password-exempt service 免密支付服务ID.
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号: ASCII digits and letters, up to 32, unique for the merchant.
    /// A terminated contract's code can never be used again.
    pub out_contract_code: &'a str,
    /// The URL to which WeChat Pay sends the notification of the signing 回调通知地址: HTTPS, reachable from the internet,
    /// with a path and without a query, up to 256 characters.
    pub notify_url: &'a str,
    /// The user's name as the signing page shows it 用户账户展示名称, up to 32 characters. No emoji: each character has at most
    /// three UTF-8 bytes.
    pub contract_display_account: &'a str,
    /// The user's openid under `sp_appid` 用户标识, up to 128 characters. Inferred and not enforced: this
    /// or `sub_openid` is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sp_openid: Option<&'a str>,
    /// The user's openid under `sub_appid` 用户子标识, up to 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_openid: Option<&'a str>,
}

impl MiniProgramPreSign<'_> {
    fn check_rules(&self) -> Result<(), InvalidField> {
        rules::id("sp_appid", self.sp_appid, usize::MAX)?;
        rules::id("sub_mchid", self.sub_mchid, usize::MAX)?;
        rules::id("sub_appid", self.sub_appid, usize::MAX)?;
        pre_sign::check_common(
            self.out_contract_code,
            self.notify_url,
            self.contract_display_account,
            false,
        )?;
        rules::optional_id("sp_openid", self.sp_openid, usize::MAX)?;
        rules::optional_id("sub_openid", self.sub_openid, usize::MAX)
    }
}

/// Pre-signs a contract that the user can sign after paying an order 支付后场景预签约.
///
/// Place the order first. WeChat Pay offers the contract only if the user pays within two hours. If this call fails,
/// WeChat Pay offers nothing.
///
/// After an unknown outcome, see [`MiniProgramSession`](crate::MiniProgramSession#after-an-unknown-outcome).
///
/// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012471272>. The lengths are those of the direct merchant's page.
/// For this mode they are inferred and not enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PayRedirectPreSign<'a> {
    /// The order's prepay_id 预支付交易会话标识, up to 64 characters, valid for two hours.
    pub prepay_id: &'a str,
    /// The contract, with the same fields as for a mini program. They are sent beside `prepay_id`.
    #[serde(flatten)]
    pub contract: MiniProgramPreSign<'a>,
}

pre_sign_calls!(mode: "service-provider", max: usize::MAX, sub_mchid_is_always_repeated: true);
