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

use super::pre_sign::pre_sign_requests;
use crate::rules;

pre_sign_requests! {
    mode: "service-provider",
    lengths_are_documented: false,
    sub_mchid_is_always_repeated: true,

    /// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012471269>. The lengths are those of the direct merchant's page.
    /// For this mode they are inferred and not enforced.
    MiniProgramPreSign {
        /// AppID of the service provider's official account, mini program or app 服务商AppID, up to 32 characters.
        sp_appid: &'a str => rules::id,
        /// The sub-merchant's id 子商户号, up to 32 characters.
        sub_mchid: &'a str => rules::id,
        /// AppID of the sub-merchant's official account, mini program or app 子商户AppID, up to 32 characters.
        sub_appid: &'a str => rules::id,
        ..
        /// The user's openid under `sp_appid` 用户标识, up to 128 characters. Inferred and not enforced: this
        /// or `sub_openid` is required.
        #[serde(skip_serializing_if = "Option::is_none")]
        sp_openid: Option<&'a str> => rules::optional_id,
        /// The user's openid under `sub_appid` 用户子标识, up to 128 characters.
        #[serde(skip_serializing_if = "Option::is_none")]
        sub_openid: Option<&'a str> => rules::optional_id,
    }

    /// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012471272>. The lengths are those of the direct merchant's page.
    /// For this mode they are inferred and not enforced.
    PayRedirectPreSign
}
