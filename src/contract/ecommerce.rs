//! Contracts signed through an e-commerce platform 电商收付通.
//!
//! ```
//! use wechatpay_contract::{Endpoint, ecommerce};
//!
//! let contract = ecommerce::MiniProgramPreSign {
//!     appid: "wxd678efh567hg6787",
//!     service_id: 12535,
//!     out_contract_code: "wxwtdk20200910100000",
//!     notify_url: "https://yourapp.com/notify",
//!     contract_display_account: "微信代扣用户A",
//!     openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
//! };
//! assert_eq!(
//!     contract.request()?.target()?,
//!     "/v3/password-exempt-contract/contracts/ecommerce/pre-entrust-sign/mini-program",
//! );
//!
//! // The same contract, offered after an order is paid.
//! let after_payment = ecommerce::PayRedirectPreSign {
//!     prepay_id: "wx201410272009395522657a690389285100",
//!     contract,
//! };
//! assert_eq!(
//!     after_payment.request()?.target()?,
//!     "/v3/password-exempt-contract/contracts/ecommerce/pre-entrust-sign/pay-redirect-sign",
//! );
//! # Ok::<(), wechatpay_contract::InvalidField>(())
//! ```

use super::pre_sign::pre_sign_requests;
use crate::rules;

pre_sign_requests! {
    mode: "ecommerce",
    lengths_are_documented: false,

    /// Source: <https://pay.weixin.qq.com/doc/v3/partner/4013369177>. The lengths are those of the direct merchant's page.
    /// For this mode they are inferred and not enforced.
    MiniProgramPreSign {
        /// AppID of the caller's official account, mini program or app 商户AppID, up to 32 characters.
        appid: &'a str => rules::id,
        ..
        /// The user's openid under `appid` 用户标识, up to 128 characters.
        openid: &'a str => rules::id,
    }

    /// Source: <https://pay.weixin.qq.com/doc/v3/partner/4013369191>. The lengths are those of the direct merchant's page.
    /// For this mode they are inferred and not enforced.
    PayRedirectPreSign
}
