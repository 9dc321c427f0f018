//! Contracts signed with a direct merchant 普通商户.
//!
//! Pre-signing is not documented as idempotent. After an unknown outcome, sending it again with the same fields, the code
//! among them, should do no harm: a contract comes into being only when the user signs it, and the code lets there be
//! one at most. That is inferred, not documented; the query shows whether there is a contract.
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
//! // The same contract, offered after the payment of an order.
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

use serde::Serialize;

use super::id::check_same;
use super::pre_sign::Terms;
use super::{ContractId, MiniProgramSession};
use crate::error::InvalidField;
use crate::request::{Endpoint, Request};
use crate::rules;

/// Pre-signs a contract that the user signs in a mini program 小程序场景预签约.
///
/// After an unknown outcome, see [the module](self).
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012472870>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MiniProgramPreSign<'a> {
    /// AppID of the caller's official account, mini program or app 商户AppID, up to 32 characters.
    pub appid: &'a str,
    /// The password-exempt service 免密支付服务ID.
    pub service_id: u64,
    /// The merchant's code for the contract 商户签约协议号: ASCII digits and letters, up to 32, unique for the merchant.
    /// A terminated contract's code can never be used again.
    pub out_contract_code: &'a str,
    /// Where WeChat Pay notifies of the signing 回调通知地址: HTTPS, reachable from the internet, with a path and without
    /// a query, up to 256 characters.
    pub notify_url: &'a str,
    /// The user's name as the signing page shows it 用户账户展示名称, up to 32 characters of at most three UTF-8 bytes, so
    /// no emoji.
    pub contract_display_account: &'a str,
    /// The user under `appid` 用户标识, up to 128 characters.
    pub openid: &'a str,
}

impl Endpoint for MiniProgramPreSign<'_> {
    type Response = MiniProgramSession;

    fn request(&self) -> Result<Request, InvalidField> {
        self.check_rules()?;
        Ok(Request::post(
            "/v3/password-exempt-contract/contracts/normal/pre-entrust-sign/mini-program",
        )
        .json(self))
    }

    fn check(&self, response: &MiniProgramSession) -> Result<(), InvalidField> {
        check_same(
            (self.service_id, self.out_contract_code),
            (response.service_id, &response.out_contract_code),
        )
    }
}

impl MiniProgramPreSign<'_> {
    fn check_rules(&self) -> Result<(), InvalidField> {
        rules::required_up_to("appid", self.appid, 32)?;
        Terms {
            out_contract_code: self.out_contract_code,
            notify_url: self.notify_url,
            contract_display_account: self.contract_display_account,
        }
        .check_with_lengths()?;
        rules::required_up_to("openid", self.openid, 128)
    }
}

/// Pre-signs a contract that the user is offered to sign on the page after a payment 支付后场景预签约.
///
/// The order is made first. Only when the user pays within two hours are they offered to sign; when this call fails
/// nothing is offered.
///
/// After an unknown outcome, see [the module](self).
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012472874>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PayRedirectPreSign<'a> {
    /// The order's prepay_id 预支付交易会话标识, up to 64 characters, valid for two hours.
    pub prepay_id: &'a str,
    /// The contract, described as for the other scene; sent beside `prepay_id`, not inside of anything.
    #[serde(flatten)]
    pub contract: MiniProgramPreSign<'a>,
}

impl Endpoint for PayRedirectPreSign<'_> {
    type Response = ContractId;

    fn request(&self) -> Result<Request, InvalidField> {
        self.contract.check_rules()?;
        rules::required_up_to("prepay_id", self.prepay_id, 64)?;
        Ok(Request::post(
            "/v3/password-exempt-contract/contracts/normal/pre-entrust-sign/pay-redirect-sign",
        )
        .json(self))
    }

    fn check(&self, response: &ContractId) -> Result<(), InvalidField> {
        check_same(
            (self.contract.service_id, self.contract.out_contract_code),
            (response.service_id, &response.out_contract_code),
        )
    }
}
