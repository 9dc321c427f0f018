//! The two pre-sign calls of a mode, and the rules for the fields that the requests of all modes have.
//!
//! Each mode's module declares its requests, `MiniProgramPreSign` and `PayRedirectPreSign`, with the rules of its own
//! pages as `check_rules`.

use crate::error::InvalidField;
use crate::rules;

/// Implements [`Endpoint`](crate::Endpoint) for both requests of a mode, which is named as in the path. `max` is the
/// documented length of `prepay_id`. `compared` names the field for the sub-merchant, if the request has one.
macro_rules! pre_sign_calls {
    (mode: $mode:literal, max: $max:expr, compared: [$($field:ident),*]) => {
        impl $crate::request::Endpoint for MiniProgramPreSign<'_> {
            type Response = $crate::contract::MiniProgramSession;

            fn request(&self) -> Result<$crate::request::Request, $crate::error::InvalidField> {
                self.check_rules()?;
                Ok($crate::request::Request::post(concat!(
                    "/v3/password-exempt-contract/contracts/",
                    $mode,
                    "/pre-entrust-sign/mini-program"
                ))
                .json(self))
            }

            fn check(
                &self,
                response: &$crate::contract::MiniProgramSession,
                mchid: &str,
            ) -> Result<(), $crate::error::Mismatch> {
                self.names(mchid).check(&$crate::contract::id::Names {
                    mchid: &response.mchid,
                    sub_mchid: response.sub_mchid.as_deref(),
                    service_id: response.service_id,
                    out_contract_code: &response.out_contract_code,
                })
            }
        }

        impl $crate::request::Endpoint for PayRedirectPreSign<'_> {
            type Response = $crate::contract::ContractId;

            fn request(&self) -> Result<$crate::request::Request, $crate::error::InvalidField> {
                self.contract.check_rules()?;
                $crate::rules::prepay_id(self.prepay_id, $max)?;
                Ok($crate::request::Request::post(concat!(
                    "/v3/password-exempt-contract/contracts/",
                    $mode,
                    "/pre-entrust-sign/pay-redirect-sign"
                ))
                .json(self))
            }

            fn check(
                &self,
                response: &$crate::contract::ContractId,
                mchid: &str,
            ) -> Result<(), $crate::error::Mismatch> {
                self.contract.names(mchid).check(&response.names())
            }
        }

        impl MiniProgramPreSign<'_> {
            fn names<'a>(&'a self, mchid: &'a str) -> $crate::contract::id::Names<'a> {
                $crate::contract::id::Names {
                    mchid,
                    sub_mchid: None$(.or(Some(self.$field)))*,
                    service_id: self.service_id,
                    out_contract_code: self.out_contract_code,
                }
            }
        }
    };
}
pub(super) use pre_sign_calls;

/// Checks the fields that every mode has, against the lengths too if the mode's pages state them.
pub(super) fn check_common(
    out_contract_code: &str,
    notify_url: &str,
    contract_display_account: &str,
    lengths_are_documented: bool,
) -> Result<(), InvalidField> {
    rules::digits_and_letters("out_contract_code", out_contract_code)?;
    rules::notify_url_with_path("notify_url", notify_url)?;
    rules::no_four_byte_characters("contract_display_account", contract_display_account)?;
    if lengths_are_documented {
        rules::up_to("out_contract_code", out_contract_code, 32)?;
        rules::up_to("notify_url", notify_url, 256)?;
        rules::up_to("contract_display_account", contract_display_account, 32)?;
    }
    Ok(())
}
