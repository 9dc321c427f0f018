//! The user's part, and the notifications that come of it.

use std::time::Duration;

use super::Sandbox;
use super::contracts::UserError;
use super::notifier::SentNotification;
use super::pre_sign::Way;
use super::signing::Signing;
use crate::error::InvalidField;

impl Sandbox {
    /// The user signs in the mini program; gives the contract's id.
    ///
    /// Fails when there is no session for this code in which the user could sign: see [`UserError`].
    ///
    /// ```
    /// # use wechatpay_contract::ecommerce;
    /// # use wechatpay_contract::sandbox::{Sandbox, UserError};
    /// # let sandbox = Sandbox::start()?;
    /// assert_eq!(sandbox.user_signs("wxwtdk20200910100000"), Err(UserError::Unknown));
    /// # sandbox.client().send(&ecommerce::MiniProgramPreSign {
    /// #     appid: "wxd678efh567hg6787",
    /// #     service_id: 12535,
    /// #     out_contract_code: "wxwtdk20200910100000",
    /// #     notify_url: "https://yourapp.com/notify",
    /// #     contract_display_account: "微信代扣用户A",
    /// #     openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    /// # })?;
    /// // After pre-signing:
    /// let contract_id = sandbox.user_signs("wxwtdk20200910100000")?;
    /// let notification = &sandbox.notifications()[0];
    /// assert_eq!(notification.event_type, "ENTRUST.SIGN");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn user_signs(&self, out_contract_code: &str) -> Result<String, UserError> {
        self.gateway.user_signs(out_contract_code, Way::MiniProgram)
    }

    /// The user pays and signs on the page after that; gives the contract's id. For contracts that were pre-signed with
    /// `pay-redirect-sign`.
    ///
    /// Fails as [`user_signs`](Self::user_signs) does.
    pub fn user_pays_and_signs(&self, out_contract_code: &str) -> Result<String, UserError> {
        self.gateway.user_signs(out_contract_code, Way::PayRedirect)
    }

    /// The user gives up signing. Nothing is sent, as documented; that the session ends with it is inferred.
    ///
    /// Fails when there is no session for this code.
    pub fn user_gives_up(&self, out_contract_code: &str) -> Result<(), UserError> {
        self.gateway.user_gives_up(out_contract_code)
    }

    /// The user terminates the contract in WeChat.
    ///
    /// Fails when it is not signed.
    pub fn user_terminates(&self, out_contract_code: &str) -> Result<(), UserError> {
        self.gateway.user_terminates(out_contract_code)
    }

    /// Lets time pass for contracts alone: sessions end after two hours. Signatures are made and checked by the clock
    /// ([`set_clock`](Self::set_clock)) all the same, so that clients need not know.
    pub fn advance_clock(&self, by: Duration) {
        self.gateway.advance_clock(by);
    }

    /// Delivers notifications to this URL from now on, whatever `notify_url` the requests name: `http://`, a loopback
    /// address, a port and a path. Until then they are only recorded.
    ///
    /// A notification is sent from a thread of its own, and again until it is answered with 200 or 204: 15 s, 15 s,
    /// 30 s, 3 m, 10 m, 20 m, 30 m, 30 m, 30 m, 60 m, 3 h, 3 h, 3 h, 6 h and 6 h after the attempt before.
    ///
    /// Fails when it is another kind of URL.
    pub fn deliver_notifications_to(&self, url: &str) -> Result<(), InvalidField> {
        self.gateway.notifier().deliver_to(url)
    }

    /// Other pauses between the attempts to deliver, for notifications that are set out from now on; there is one
    /// attempt more than pauses. A pause is a year at most.
    pub fn retry_schedule(&self, pauses: impl IntoIterator<Item = Duration>) {
        let pauses = pauses.into_iter().collect();
        self.gateway.notifier().set_schedule(pauses);
    }

    /// How long the receiver of a notification may take to answer: 5 seconds at first, a year at most.
    pub fn answer_limit(&self, limit: Duration) {
        self.gateway.notifier().set_answer_limit(limit);
    }

    /// How notifications are signed from now on.
    pub fn sign_notifications(&self, signing: Signing) {
        self.gateway.notifier().set_signing(signing);
    }

    /// All notifications until now, oldest first, delivered or not: a test can hand them to its receiver directly.
    pub fn notifications(&self) -> Vec<SentNotification> {
        self.gateway.notifier().sent()
    }

    /// Delivers a notification once more, at the same time as any delivery under way: duplicates are normal. `false` when
    /// there is none with this id, or no URL to deliver to.
    pub fn notify_again(&self, id: &str) -> bool {
        self.gateway.notifier().send_again(id)
    }

    /// Waits until each delivery has been acknowledged or come to the end of its schedule; `false` if one has not after
    /// `patience`.
    pub fn wait_for_deliveries(&self, patience: Duration) -> bool {
        self.gateway.notifier().wait(patience)
    }
}
