//! Contracts signed with a direct merchant 普通商户.
//!
//! ```
//! use wechatpay_contract::{Endpoint, normal};
//!
//! let contract = normal::MiniProgramPreSign {
//!     appid: "wxd678efh567hg6787",
//!     service_id: 12535,
//!     out_contract_code: "wxwtdk20200910100000",
//!     notify_url: "https://yourapp.com/notify",
//!     contract_display_account: "微信代扣用户A",
//!     openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
//! };
//! assert_eq!(
//!     contract.request()?.target()?,
//!     "/v3/password-exempt-contract/contracts/normal/pre-entrust-sign/mini-program",
//! );
//!
//! // The same contract, offered after an order is paid.
//! let after_payment = normal::PayRedirectPreSign {
//!     prepay_id: "wx201410272009395522657a690389285100",
//!     contract,
//! };
//! assert_eq!(
//!     after_payment.request()?.target()?,
//!     "/v3/password-exempt-contract/contracts/normal/pre-entrust-sign/pay-redirect-sign",
//! );
//! # Ok::<(), wechatpay_contract::InvalidField>(())
//! ```

use super::pre_sign::pre_sign_requests;
use crate::rules;

pre_sign_requests! {
    mode: "normal",
    lengths_are_documented: true,

    /// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012472870>.
    MiniProgramPreSign {
        /// AppID of the caller's official account, mini program or app 商户AppID, up to 32 characters.
        appid: &'a str => rules::id,
        ..
        /// The user's openid under `appid` 用户标识, up to 128 characters.
        openid: &'a str => rules::id,
    }

    /// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012472874>.
    PayRedirectPreSign
}
