//! The parameters with which the user pays an order, signed by the merchant.

use std::time::SystemTime;

use serde::Serialize;

use crate::error::Error;
use crate::rules;
use crate::signer::{Signer, check_nonce_str};
use crate::time::unix_seconds;

/// The argument for `wx.requestPayment` in the merchant's mini program, serialized as `{timeStamp, nonceStr, package,
/// signType, paySign}`.
///
/// ```
/// use std::time::SystemTime;
/// use wechatpay_contract::order::{PayParameters, Prepay};
/// use wechatpay_contract::{Error, Signer};
///
/// /// Returns the JSON for the merchant's mini program after an order.
/// fn pay(signer: &Signer, prepay: &Prepay, nonce_str: &str) -> Result<String, Error> {
///     let appid = "wx2421b1c4370ec43b";
///     let pay = PayParameters::sign(signer, appid, &prepay.prepay_id, SystemTime::now(), nonce_str)?;
///     Ok(serde_json::json!(pay).to_string())
/// }
/// ```
///
/// Sources: <https://pay.weixin.qq.com/doc/v3/merchant/4012791898>, for partners
/// <https://pay.weixin.qq.com/doc/v3/partner/4012085827>, for the signature
/// <https://pay.weixin.qq.com/doc/v3/merchant/4012365341>.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PayParameters {
    /// `timeStamp` 时间戳, in Unix seconds.
    pub time_stamp: String,
    /// `nonceStr` 随机字符串.
    pub nonce_str: String,
    /// `package` 订单详情扩展字符串: `prepay_id=` and the id.
    pub package: String,
    /// `signType` 签名方式: `RSA`.
    pub sign_type: &'static str,
    /// `paySign` 签名, in base64.
    pub pay_sign: String,
}

impl PayParameters {
    /// Signs `prepay_id` for a mini program. `appid` is the order's AppID: for a partner's order, its `sp_appid` or
    /// `sub_appid`.
    ///
    /// `nonce_str` is 1 to 32 ASCII letters and digits from a cryptographic random source.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] if a value cannot be signed, and [`Error::Sign`] if the signer fails. Nothing is sent in
    /// any case.
    pub fn sign(
        signer: &Signer,
        appid: &str,
        prepay_id: &str,
        now: SystemTime,
        nonce_str: &str,
    ) -> Result<Self, Error> {
        rules::id("appid", appid, usize::MAX)?;
        rules::prepay_id(prepay_id, usize::MAX)?;
        check_nonce_str(nonce_str)?;
        let time_stamp = unix_seconds(now).to_string();
        let package = format!("prepay_id={prepay_id}");
        let message = pay_message(appid, &time_stamp, nonce_str, &package);
        Ok(Self {
            pay_sign: signer.sign(message.as_bytes())?,
            time_stamp,
            nonce_str: nonce_str.to_owned(),
            package,
            sign_type: "RSA",
        })
    }
}

/// Returns the text that is signed: AppID, time, nonce and package, each ended by a line feed.
fn pay_message(appid: &str, time_stamp: &str, nonce_str: &str, package: &str) -> String {
    format!("{appid}\n{time_stamp}\n{nonce_str}\n{package}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_the_published_one() {
        let message = pay_message(
            "wx2421b1c4370ec43b",
            "1554208460",
            "593BEC0C930BF1AFEB40B4A08C8FB242",
            "prepay_id=wx201410272009395522657a690389285100",
        );
        assert_eq!(
            message,
            "wx2421b1c4370ec43b\n1554208460\n593BEC0C930BF1AFEB40B4A08C8FB242\n\
             prepay_id=wx201410272009395522657a690389285100\n"
        );
    }
}
