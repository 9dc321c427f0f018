//! The rules for the fields that the pre-sign calls of all four modes have in common.

use crate::error::InvalidField;
use crate::rules;

/// The fields that every mode's pre-sign has, for their rules to be written once.
pub(super) struct Terms<'a> {
    pub(super) out_contract_code: &'a str,
    pub(super) notify_url: &'a str,
    pub(super) contract_display_account: &'a str,
}

impl Terms<'_> {
    /// The rules of every mode.
    pub(super) fn check(&self) -> Result<(), InvalidField> {
        rules::digits_and_letters("out_contract_code", self.out_contract_code)?;
        rules::notify_url_with_path("notify_url", self.notify_url)?;
        rules::no_four_byte_characters("contract_display_account", self.contract_display_account)
    }

    /// The rules of the modes whose pages state lengths as well.
    pub(super) fn check_with_lengths(&self) -> Result<(), InvalidField> {
        self.check()?;
        rules::up_to("out_contract_code", self.out_contract_code, 32)?;
        rules::up_to("notify_url", self.notify_url, 256)?;
        rules::up_to(
            "contract_display_account",
            self.contract_display_account,
            32,
        )
    }
}
