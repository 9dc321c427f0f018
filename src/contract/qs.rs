//! Contracts signed through a clearing institution 从业机构.
//!
//! ```
//! use wechatpay_contract::{Endpoint, qs};
//!
//! let contract = qs::MiniProgramPreSign {
//!     appid: "wxd678efh567hg6787",
//!     sub_mchid: "1900000109",
//!     sub_appid: "wxd678efh567hg6787",
//!     service_id: 12535,
//!     out_contract_code: "wxwtdk20200910100000",
//!     notify_url: "https://yourapp.com/notify",
//!     contract_display_account: "微信代扣用户A",
//!     user: qs::User::SubOpenid("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"),
//! };
//! assert_eq!(
//!     contract.request()?.target()?,
//!     "/v3/password-exempt-contract/contracts/qs/pre-entrust-sign/mini-program",
//! );
//!
//! // The same contract, offered after an order is paid.
//! let after_payment = qs::PayRedirectPreSign {
//!     prepay_id: "wx201410272009395522657a690389285100",
//!     contract,
//! };
//! assert_eq!(
//!     after_payment.request()?.target()?,
//!     "/v3/password-exempt-contract/contracts/qs/pre-entrust-sign/pay-redirect-sign",
//! );
//! # Ok::<(), wechatpay_contract::InvalidField>(())
//! ```

use super::pre_sign::pre_sign_requests;
use super::user::one_identifier_of_two;
use crate::rules;

pre_sign_requests! {
    mode: "qs",
    lengths_are_documented: true,
    sub_mchid_is_always_repeated: false,

    /// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012471282>.
    MiniProgramPreSign {
        /// AppID of the caller's official account, mini program or app 商户AppID, up to 32 characters.
        appid: &'a str => rules::id,
        /// The sub-merchant's id 子商户号, up to 32 characters.
        sub_mchid: &'a str => rules::id,
        /// AppID of the sub-merchant's official account, mini program or app 子商户AppID, up to 32 characters.
        sub_appid: &'a str => rules::id,
        ..
        /// The user who signs, named by an openid under `appid`, under `sub_appid`, or under both.
        #[serde(flatten)]
        user: User<'a> => |_, user: User<'_>, max| user.check(max),
    }

    /// Call this before the `prepay_id` is handed to the merchant.
    ///
    /// Source: <https://pay.weixin.qq.com/doc/v3/partner/4012471286>.
    PayRedirectPreSign
}

one_identifier_of_two! {
    /// The user who signs, named by one of the two identifiers or by both.
    User, within: "",
    /// `openid` 用户标识: the user's openid under `appid`, up to 128 characters.
    Openid: openid,
    /// `sub_openid` 用户子标识: the user's openid under `sub_appid`, up to 128 characters.
    SubOpenid: sub_openid,
}
