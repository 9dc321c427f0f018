//! The two pre-sign calls of a mode, and the rules for the fields that all modes have.
//!
//! Each mode's module declares the requests `MiniProgramPreSign` and `PayRedirectPreSign`, and checks the rules of its own
//! pages in `check_rules`.

use crate::error::InvalidField;
use crate::rules;

/// Implements [`Endpoint`](crate::Endpoint) for both requests of a mode. `mode` is its segment of the path. `max` is
/// the documented length of `prepay_id`. If the requests have a `sub_mchid`, `sub_mchid_is_always_repeated` says whether every
/// response does.
macro_rules! pre_sign_calls {
    (mode: $mode:literal, max: $max:expr $(, sub_mchid_is_always_repeated: $repeated:literal)?) => {
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
                response: &Self::Response,
                mchid: &str,
            ) -> Result<(), $crate::error::Mismatch> {
                pre_sign_calls!(@check self, response, mchid $(, $repeated)?)
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
                response: &Self::Response,
                mchid: &str,
            ) -> Result<(), $crate::error::Mismatch> {
                let sent = &self.contract;
                pre_sign_calls!(@check sent, response, mchid $(, $repeated)?)
            }
        }
    };
    (@check $sent:ident, $response:ident, $mchid:ident $(, $repeated:literal)?) => {{
        $($crate::contract::id::check_sub_mchid(
            $sent.sub_mchid,
            $response.sub_mchid.as_deref(),
            $repeated,
        )?;)?
        $crate::contract::id::check_names(
            ($mchid, $sent.service_id, $sent.out_contract_code),
            ($response.mchid.as_str(), $response.service_id, $response.out_contract_code.as_str()),
        )
    }};
}
pub(super) use pre_sign_calls;

/// Checks the fields that every mode has, and their lengths if the mode's pages state them.
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
