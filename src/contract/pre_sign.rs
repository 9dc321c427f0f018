//! The two pre-sign requests that each of the four merchant modes has, with the fields that are common to all modes.
//! The module of a mode adds its own fields and the links to its pages.

use crate::error::InvalidField;
use crate::rules;

/// Defines the requests `MiniProgramPreSign` and `PayRedirectPreSign` of a mode, with [`Endpoint`](crate::Endpoint).
/// `mode` is its segment of the path. Lengths are enforced only if the mode's pages document them. If the requests have
/// a `sub_mchid`, `sub_mchid_is_always_repeated` is `true` if every response repeats it. The common fields are inserted
/// at the `..`. Each field of the mode names the function that checks it. The limit is 32 characters for a field
/// before the `..` and 128 for a field after it.
macro_rules! pre_sign_requests {
    (
        mode: $mode:literal,
        lengths_are_documented: $documented:literal,
        $(sub_mchid_is_always_repeated: $repeated:literal,)?

        $(#[$mini_program_doc:meta])*
        MiniProgramPreSign {
            $($(#[$id_attr:meta])* $id:ident: $Id:ty => $check_id:path,)*
            ..
            $($(#[$user_attr:meta])* $user:ident: $User:ty => $check_user:expr,)*
        }

        $(#[$pay_redirect_doc:meta])*
        PayRedirectPreSign
    ) => {
        use serde::Serialize;

        use crate::contract::id::check_names;
        use crate::contract::pre_sign::{check_common, limit};
        use crate::contract::{ContractId, MiniProgramSession};
        use crate::error::{InvalidField, Mismatch};
        use crate::request::{Endpoint, Request};

        /// Pre-signs a contract that the user signs in a mini program 小程序场景预签约.
        ///
        /// After an unknown outcome, see [`MiniProgramSession`](crate::MiniProgramSession#after-an-unknown-outcome).
        ///
        $(#[$mini_program_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        pub struct MiniProgramPreSign<'a> {
            $($(#[$id_attr])* pub $id: $Id,)*
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
            $($(#[$user_attr])* pub $user: $User,)*
        }

        impl MiniProgramPreSign<'_> {
            fn check_fields(&self) -> Result<(), InvalidField> {
                $($check_id(stringify!($id), self.$id, limit($documented, 32))?;)*
                let account = self.contract_display_account;
                check_common($documented, self.out_contract_code, self.notify_url, account)?;
                $(($check_user)(stringify!($user), self.$user, limit($documented, 128))?;)*
                Ok(())
            }
        }

        impl Endpoint for MiniProgramPreSign<'_> {
            type Response = MiniProgramSession;

            fn request(&self) -> Result<Request, InvalidField> {
                self.check_fields()?;
                Ok(Request::post(concat!(
                    "/v3/password-exempt-contract/contracts/",
                    $mode,
                    "/pre-entrust-sign/mini-program"
                ))
                .json(self))
            }

            fn check(&self, response: &MiniProgramSession, mchid: &str) -> Result<(), Mismatch> {
                check_names!(mchid, self, response $(, $repeated)?)
            }
        }

        /// Pre-signs a contract that the user can sign after paying an order 支付后场景预签约.
        ///
        /// Place the order first. WeChat Pay offers the contract only if the user pays within two hours. If this call fails,
        /// WeChat Pay offers nothing.
        ///
        /// After an unknown outcome, see [`MiniProgramSession`](crate::MiniProgramSession#after-an-unknown-outcome).
        ///
        $(#[$pay_redirect_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        pub struct PayRedirectPreSign<'a> {
            /// The order's prepay_id 预支付交易会话标识, up to 64 characters, valid for two hours.
            pub prepay_id: &'a str,
            /// The contract, with the same fields as for a mini program. They are sent beside `prepay_id`.
            #[serde(flatten)]
            pub contract: MiniProgramPreSign<'a>,
        }

        impl Endpoint for PayRedirectPreSign<'_> {
            type Response = ContractId;

            fn request(&self) -> Result<Request, InvalidField> {
                self.contract.check_fields()?;
                crate::rules::prepay_id(self.prepay_id, limit($documented, 64))?;
                Ok(Request::post(concat!(
                    "/v3/password-exempt-contract/contracts/",
                    $mode,
                    "/pre-entrust-sign/pay-redirect-sign"
                ))
                .json(self))
            }

            fn check(&self, response: &ContractId, mchid: &str) -> Result<(), Mismatch> {
                check_names!(mchid, self.contract, response $(, $repeated)?)
            }
        }
    };
}
pub(super) use pre_sign_requests;

/// Returns the greatest length to enforce: `length` if it is documented for the mode, otherwise no limit, since it is
/// only inferred from the other modes.
pub(super) fn limit(is_documented: bool, length: usize) -> usize {
    if is_documented { length } else { usize::MAX }
}

/// Checks the fields that every mode has.
pub(super) fn check_common(
    lengths_are_documented: bool,
    out_contract_code: &str,
    notify_url: &str,
    contract_display_account: &str,
) -> Result<(), InvalidField> {
    let limit = |length| limit(lengths_are_documented, length);
    rules::digits_and_letters("out_contract_code", out_contract_code)?;
    rules::up_to("out_contract_code", out_contract_code, limit(32))?;
    rules::notify_url_with_path(notify_url, limit(256))?;
    let field = "contract_display_account";
    rules::no_four_byte_characters(field, contract_display_account)?;
    rules::up_to(field, contract_display_account, limit(32))
}
