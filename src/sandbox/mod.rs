//! A local gateway that simulates WeChat Pay, for tests and development. WeChat Pay offers no sandbox for this product.
//!
//! It listens on loopback. It checks requests as WeChat Pay does: the form and the signature of `Authorization`, the
//! timestamp, the headers and the fields. Its responses are signed. All keys, including the private ones, are published
//! with this crate and protect nothing.
//!
//! ```
//! use wechatpay_contract::ecommerce;
//! use wechatpay_contract::sandbox::Sandbox;
//!
//! let sandbox = Sandbox::start()?;
//! let session = sandbox.client().send(&ecommerce::MiniProgramPreSign {
//!     appid: "wxd678efh567hg6787",
//!     service_id: 12535,
//!     out_contract_code: "wxwtdk20200910100000",
//!     notify_url: "https://yourapp.com/notify",
//!     contract_display_account: "微信代扣用户A",
//!     openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
//! })?;
//! assert_eq!(session.out_contract_code, "wxwtdk20200910100000");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The sandbox serves the ten contract APIs, the list of platform certificates ([`Sandbox::platform`]) and the echo API
//! that [`Client::self_test`] calls. For direct merchants, partners and platforms it also serves orders with a
//! contract: placing, querying, closing and refunding them.
//!
//! A pre-signing session lasts two hours. The user signs the contract in it ([`Sandbox::user_signs`]), and the user or the
//! merchant terminates the contract later. The user pays an order ([`Sandbox::user_pays`]), and the test settles a refund
//! ([`Sandbox::settle_refund`]).
//!
//! The sandbox sends a signed and encrypted notification when a contract is signed or terminated, an order is paid or a
//! refund is settled ([`Sandbox::notifications`], [`Sandbox::deliver_notifications_to`]). A test can send a
//! notification of any kind ([`Sandbox::notify`]), or make one without a server ([`Platform::notification`],
//! [`Platform::sign`]). [`Sandbox::fault`] injects a fault, and [`Sandbox::requests`] returns each request with its
//! status and whether it took effect.
//!
//! # Inferred behaviour
//!
//! Where WeChat Pay does not document the behaviour, the sandbox does the following.
//!
//! - A query for a contract that was not signed returns 404 `RESOURCE_NOT_EXISTS`.
//! - Pre-signing under an `out_contract_code` that cannot be used again, terminating a contract that is not signed, and
//!   placing an order with a contract that is not in force return 400 `INVALID_REQUEST`.
//! - Placing an order under the number of a paid order, or closing a paid order, returns 400 `ORDER_PAID`. Placing an order
//!   under the number of an unpaid order with other fields returns 403 `OUT_TRADE_NO_USED`.
//! - Creating a refund returns 400 `INVALID_REQUEST` if its number was used with other fields, if its total is not the
//!   order's total, if its amount is more than what is left to refund, or if the order has fifty refunds that are not
//!   closed. The minimum of one minute between two refunds and the limit of one year after the payment are not checked.
//! - A paid order has no field for its contract. Its `trade_type` is `JSAPI` and its `bank_type` is `OTHERS`.
//! - A `Wechatpay-Serial` that names no platform key returns 400 `PARAM_ERROR`.
//! - The session ends when the user gives up.
//! - Contract notifications have the event types of the sister product 委托代扣, `ENTRUST.SIGN` and `ENTRUST.TERMINATE`.
//! - Lengths that are not documented are not checked.
//! - Error messages are in English, whatever `Accept-Language` says.
//!
//! # Web pages and limits
//!
//! The sandbox refuses the requests of web pages that are not its own. It returns 421 unless `Host` is the sandbox's
//! address, or `localhost` with the sandbox's port. It returns 403 if `Origin` or `Sec-Fetch-Site` names another origin.
//!
//! The sandbox speaks HTTP/1.1 and HTTP/1.0.
//!
//! | limit | status beyond it |
//! |---|---|
//! | another version of HTTP | 505 |
//! | a request line of 16 KiB | 414 |
//! | a head of 64 KiB, or 100 headers | 431 |
//! | a body of 8 MiB | 413 |
//! | 60 seconds for a request to arrive | 408 |
//! | 512 connections at the same time | 503 |
//!
//! [`Sandbox::requests`] and [`Sandbox::notifications`] keep the newest 64 MiB each.
//!
//! # From other languages
//!
//! `cargo run --example sandbox` runs a sandbox as a program. The paths below take JSON without a signature. They return
//! 200 with JSON, or 400, 404 or 409 with `code` and `message`.
//!
//! | path | body | effect |
//! |---|---|---|
//! | `GET /sandbox/` | | returns a web page that shows contracts, orders, requests and notifications, and lets a person act as the user |
//! | `GET /sandbox/health` | | returns `mchid`, and `status`, which is `ok` |
//! | `POST /sandbox/reset` | | restores the initial state |
//! | `GET /sandbox/snapshot` | | returns contracts, orders, refunds, keys and clock |
//! | `POST /sandbox/snapshot` | a snapshot | loads the snapshot |
//! | `POST /sandbox/sign` | `out_contract_code` | the user signs, returns `contract_id` |
//! | `POST /sandbox/pay-and-sign` | `out_contract_code` | the user pays and signs, returns `contract_id` |
//! | `POST /sandbox/give-up` | `out_contract_code` | the user gives up |
//! | `POST /sandbox/terminate` | `out_contract_code` | the user terminates |
//! | `POST /sandbox/pay` | `out_trade_no` | the user pays an order, returns `transaction_id` |
//! | `POST /sandbox/refund` | `out_refund_no`, `status`: `SUCCESS`, `ABNORMAL` or `CLOSED` | settles a refund with this status |
//! | `POST /sandbox/clock` | `advance_seconds`, `offset_seconds` | advances the clock of contracts by `advance_seconds`, and sets the clock of signatures to the system's time plus `offset_seconds` |
//! | `POST /sandbox/notify-url` | `url` | delivers notifications to this URL on loopback |
//! | `POST /sandbox/notify` | `event_type`, `original_type`, `content`, `summary` (optional) | sends a notification of any kind, returns `id` |
//! | `POST /sandbox/notify-again` | `id` | sends a notification once more, returns `sent` |
//! | `POST /sandbox/notify-schedule` | `seconds`, a list | sets the pauses between delivery attempts |
//! | `POST /sandbox/notify-timeout` | `milliseconds` | sets the timeout for a receiver's reply |
//! | `POST /sandbox/notify-signing` | `signing` | sets how notifications are signed |
//! | `POST /sandbox/sign-body` | `body`, `signing` | returns the signature `headers` for the text `body`, sends nothing |
//! | `POST /sandbox/public-key` | `offered` | sets whether the merchant has the WeChat Pay public key |
//! | `POST /sandbox/issue-certificate` | `serial_no`, `not_before`, `not_after` in Unix seconds | issues and lists a platform certificate, returns `pem` |
//! | `POST /sandbox/withdraw-certificate` | `serial_no` | removes a platform certificate from the list |
//! | `POST /sandbox/forge-list` | `forgery`: `other_api_v3_key`, `other_serial_no`, `no_certificate`, `merchants_own` or `null` | forges the list of platform certificates, see [`Forgery`] |
//! | `POST /sandbox/sign-with` | `key`, or `moving_permille`, or nothing | sets the key that signs, see [`SignsWith`] |
//! | `POST /sandbox/revoke-merchant-certificate` | | revokes the merchant's first certificate, see [`Sandbox::revoke_first_certificate`] |
//! | `POST /sandbox/fault` | see below | injects a fault |
//! | `POST /sandbox/clear-faults` | | removes all faults that are not used up |
//! | `POST /sandbox/hang-up` | `connections`, up to 1000 | accepts this number of connections and closes each at once |
//! | `POST /sandbox/close-connections` | | closes all connections |
//! | `POST /sandbox/refuse-connections` | `milliseconds`, up to 3600000 | refuses connections for that time |
//! | `GET /sandbox/contracts` | | returns all contracts, with the states `PRE_SIGNED` and `GIVEN_UP` in addition to the documented ones |
//! | `GET /sandbox/orders`, `GET /sandbox/refunds` | | returns all orders, or all refunds |
//! | `GET /sandbox/requests` | | returns all requests, with `status` and `took_effect` |
//! | `GET /sandbox/notifications` | | returns all notifications, with headers, body and the statuses of the replies |
//! | `GET /sandbox/connections` | | returns how many connections were `accepted` and are `open` |
//!
//! The body of `/sandbox/fault` has the name of a [`Fault`] and its parameters. `times` is the number of requests, 1 if
//! absent. `method` and `path` limit the fault to requests with this method and a path that starts with `path`. They are
//! given together or not at all.
//!
//! | `fault` | parameters |
//! |---|---|
//! | `close` | `took_effect` |
//! | `close_after_head`, `cut_body`, `close_after_response`, `chunked`, `accepted`, `gzip`, `invalid_utf8`, `duplicate_keys` | |
//! | `slow_body`, `late` | `milliseconds` |
//! | `informational` | `status` |
//! | `redirect` | `status`, `location` |
//! | `error` | `status`, `code`, `signing`, `took_effect` |
//! | `html_page`, `empty_body` | `status`, `took_effect` |
//! | `signature` | `signing` |
//! | `duplicate_header` | `name` |
//! | `header` | `name`, `value` |
//! | `large_body` | `length` |
//! | `deep_json` | `depth` |
//! | `body` | `body` |
//! | `raw` | `raw` |
//!
//! `signing` is `right` (also when absent), `missing`, `wrong`, `probe`, `foreign`, `unknown_serial`, `stale` or
//! `future`. `took_effect` is `false` when absent.

// The files, from the ground up. A file imports only from those before it.
//
// sync.rs            Locks a mutex, waits for a condition, and starts a thread.
// http/              The HTTP server, the client that posts notifications, and the sockets of both.
// credentials.rs     The published keys and ids.
// error.rs           The errors of a sandbox, and of an action of the user.
// clock.rs           The clocks of signatures and of contracts.
// record.rs          The requests received, and a limit on the memory that they take.
// response.rs        Responses before they are signed.
// browser.rs         Refuses requests that a foreign web page could send.
// x509.rs            Certificates made at run time.
// platform.rs        The platform's keys, and which of them signs.
// signing.rs         Signs a message, correctly or with a fault.
// faults.rs          Fault injection.
// fields.rs          The rules for the fields of a body.
// authorization.rs   Checks the merchant's signature.
// pre_sign.rs        The fields of the eight pre-signing calls.
// contracts.rs       The contracts.
// orders.rs          The orders.
// refunds.rs         The refunds of orders.
// notification.rs    A notification and the attempts to deliver it.
// notifier.rs        Delivers notifications.
// gateway.rs         Authenticates and dispatches a request, and signs the response.
// snapshot.rs        The state as JSON.
// control.rs         The paths under /sandbox/.

mod authorization;
mod browser;
mod clock;
mod contracts;
mod control;
mod credentials;
mod error;
mod faults;
mod fields;
mod gateway;
mod http;
mod notification;
mod notifier;
mod orders;
mod platform;
mod pre_sign;
mod record;
mod refunds;
mod response;
mod signing;
mod snapshot;
mod sync;
mod x509;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use self::authorization::Identity;
use self::gateway::Gateway;
use self::http::HttpServer;
use self::notification::Event;
use self::pre_sign::SigningFlow;
use self::response::Refusal;
use self::sync::lock;
use crate::client::{Client, ClientBuilder};
use crate::error::Error;
use crate::keys::ApiV3Key;
use crate::order::RefundStatus;
use crate::signer::Signer;
use crate::verifier::Verifier;

pub use self::error::{SandboxError, UserError};
pub use self::faults::{Fault, FaultInjection};
pub use self::notification::{DeliveryAttempt, SentNotification};
pub use self::platform::{Forgery, Platform, SignsWith};
pub use self::record::RecordedRequest;
pub use self::signing::Signing;

/// A running sandbox. It stops when it is dropped.
pub struct Sandbox {
    gateway: Arc<Gateway>,
    server: HttpServer,
    url: String,
    client: Client,
}

impl Sandbox {
    /// The merchant id (商户号) of [`Sandbox::start`].
    pub const MCHID: &str = credentials::MCHID;
    /// The serial number of the sandbox merchant's certificate.
    pub const MERCHANT_SERIAL_NO: &str = credentials::MERCHANT_SERIAL_NO;
    /// The serial number of the sandbox merchant's renewed certificate, which is accepted from the start too.
    pub const RENEWED_SERIAL_NO: &str = credentials::RENEWED_SERIAL_NO;
    /// The sandbox merchant's private key as PEM, which protects nothing.
    pub const MERCHANT_KEY_PEM: &str = credentials::MERCHANT_KEY_PEM;
    /// The APIv3 key (APIv3密钥) that encrypts notifications and platform certificates.
    pub const API_V3_KEY: &str = credentials::API_V3_KEY;
    /// The id of the sandbox's WeChat Pay public key.
    pub const PUBLIC_KEY_ID: &str = credentials::PUBLIC_KEY_ID;
    /// The sandbox's WeChat Pay public key as PEM.
    pub const PUBLIC_KEY_PEM: &str = credentials::PUBLIC_KEY_PEM;

    /// Starts a sandbox for the merchant [`MCHID`](Self::MCHID).
    ///
    /// # Errors
    ///
    /// Fails if no port of the loopback interface can be opened.
    pub fn start() -> io::Result<Self> {
        Self::start_with(Self::MCHID.to_owned(), 0)
    }

    /// Starts a sandbox for another merchant.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_for(mchid: impl Into<String>) -> io::Result<Self> {
        Self::start_with(mchid.into(), 0)
    }

    /// Starts a sandbox on the given port.
    ///
    /// # Errors
    ///
    /// Fails if this port of the loopback interface cannot be opened.
    pub fn start_on(port: u16) -> io::Result<Self> {
        Self::start_with(Self::MCHID.to_owned(), port)
    }

    fn start_with(mchid: String, port: u16) -> io::Result<Self> {
        let unusable = |error: Error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let platform = Platform::new().map_err(unusable)?;
        let verifier = platform.verifier().map_err(unusable)?;
        let identity = Identity::new(mchid.clone()).map_err(|error| unusable(error.into()))?;
        let gateway = Arc::new(Gateway::new(identity, platform));
        let handler = Arc::clone(&gateway);
        let server = HttpServer::start(port, move |request, server| {
            if let Err(Refusal(refusal)) = browser::check(&request, server.address()) {
                return *refusal;
            }
            control::handle(&handler, server, &request).unwrap_or_else(|| handler.handle(request))
        })?;
        let url = format!("http://{}", server.address());
        let client = credentials::merchant_key()
            .map_err(Error::from)
            .and_then(|key| Ok(Signer::new(mchid, Self::MERCHANT_SERIAL_NO, key)?))
            .and_then(|signer| Client::builder(signer, verifier).host(&url).build())
            .map_err(unusable)?;
        Ok(Self {
            gateway,
            server,
            url,
            client,
        })
    }

    /// Returns the sandbox's address as a host for [`ClientBuilder::host`]: `http://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a client that is ready to talk to this sandbox. All such clients share their connections.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns a builder with the settings of [`client`](Self::client), so that a test can change some of them.
    pub fn client_builder(&self) -> ClientBuilder {
        Client::builder(self.signer(), self.verifier()).host(&self.url)
    }

    /// Returns the merchant's signer.
    pub fn signer(&self) -> Signer {
        self.client.merchant().signer().clone()
    }

    /// Returns the same merchant's signer with the renewed certificate, [`RENEWED_SERIAL_NO`](Self::RENEWED_SERIAL_NO).
    ///
    /// # Errors
    ///
    /// Does not fail in practice: the key is a part of this crate.
    pub fn renewed_signer(&self) -> Result<Signer, Error> {
        let mchid = self.client.merchant().signer().mchid();
        let key = credentials::renewed_key()?;
        Ok(Signer::new(mchid, Self::RENEWED_SERIAL_NO, key)?)
    }

    /// Refuses requests signed with the merchant's first certificate from now on, as WeChat Pay does when a certificate
    /// has expired or was revoked.
    pub fn revoke_first_certificate(&self) {
        self.gateway.revoke_first_certificate();
    }

    /// Returns a builder for a client that starts without platform keys and downloads the platform certificates.
    ///
    /// The list has no certificates until [`Platform::issue_certificate`] is called.
    ///
    /// # Errors
    ///
    /// Does not fail in practice: the APIv3 key is a part of this crate.
    pub fn certificate_client_builder(&self) -> Result<ClientBuilder, Error> {
        Ok(Client::builder(self.signer(), Verifier::without_keys())
            .platform_certificates(ApiV3Key::new(Self::API_V3_KEY)?)
            .host(&self.url))
    }

    /// Returns a handle to the platform keys, which a test can change while the sandbox runs.
    pub fn platform(&self) -> Platform {
        self.gateway.platform.clone()
    }

    /// Replaces the system's clock in the sandbox. This sets both the clock of signatures and the clock of contracts.
    pub fn set_clock(&self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) {
        self.gateway.clock.replace(Some(Arc::new(clock)));
    }

    /// Returns a verifier with the sandbox's public key.
    pub fn verifier(&self) -> Verifier {
        self.client.merchant().verifier().clone()
    }

    /// Returns the requests received until now, oldest first, with their status and whether they took effect.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.gateway.requests()
    }

    /// Signs a contract as the user, in the mini program. Returns the contract's id.
    ///
    /// # Errors
    ///
    /// [`UserError`] if the contract has no open session in the mini program.
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
        self.gateway
            .user_signs(out_contract_code, SigningFlow::MiniProgram)
    }

    /// Pays as the user, and then signs a contract on the page that follows the payment. Returns the contract's id.
    ///
    /// This is for contracts that were pre-signed with `pay-redirect-sign`.
    ///
    /// # Errors
    ///
    /// [`UserError`] if the contract has no open session for signing after a payment.
    pub fn user_pays_and_signs(&self, out_contract_code: &str) -> Result<String, UserError> {
        self.gateway
            .user_signs(out_contract_code, SigningFlow::PayRedirectSign)
    }

    /// Gives up signing as the user. As documented, no notification is sent. The session ends, which is inferred.
    ///
    /// # Errors
    ///
    /// [`UserError`] if there is no session for this code.
    pub fn user_gives_up(&self, out_contract_code: &str) -> Result<(), UserError> {
        self.gateway.user_gives_up(out_contract_code)
    }

    /// Terminates a contract as the user, in WeChat.
    ///
    /// # Errors
    ///
    /// [`UserError`] if the contract is not signed.
    pub fn user_terminates(&self, out_contract_code: &str) -> Result<(), UserError> {
        self.gateway.user_terminates(out_contract_code)
    }

    /// Pays an order as the user. Returns the `transaction_id`.
    ///
    /// # Errors
    ///
    /// [`UserError`] if the order cannot be paid: it is unknown, paid, closed or expired.
    pub fn user_pays(&self, out_trade_no: &str) -> Result<String, UserError> {
        self.gateway.user_pays(out_trade_no)
    }

    /// Settles a refund as `Success`, `Abnormal` or `Closed`. An abnormal refund can still succeed or be closed.
    ///
    /// # Errors
    ///
    /// [`UserError`] if the refund is unknown, has ended, or cannot change to this status.
    pub fn settle_refund(
        &self,
        out_refund_no: &str,
        status: RefundStatus,
    ) -> Result<(), UserError> {
        self.gateway.settle_refund(out_refund_no, status)
    }

    /// Advances the clock of contracts and payments, so that a test can let a session of two hours end. The clock of
    /// requests and signatures does not change, so a client's clock still agrees with it.
    pub fn advance_clock(&self, by: Duration) {
        self.gateway.clock.advance(by.as_secs());
    }

    /// Delivers notifications to this URL from now on, whatever `notify_url` the requests name.
    ///
    /// The URL is `http://`, a loopback address, a port and a path. Before this call, notifications are only recorded.
    ///
    /// Each notification is sent from a thread of its own. It is retried until the reply is 200 or 204, with pauses of
    /// 15 s, 15 s, 30 s, 3 m, 10 m, 20 m, 30 m, 30 m, 30 m, 60 m, 3 h, 3 h, 3 h, 6 h and 6 h.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] if the URL is of another form.
    pub fn deliver_notifications_to(&self, url: &str) -> Result<(), SandboxError> {
        self.gateway.notifier.deliver_to(url)
    }

    /// Sets the pauses between delivery attempts, for deliveries that start from now on. There is one attempt more
    /// than there are pauses. A pause is limited to a year.
    pub fn retry_schedule(&self, pauses: impl IntoIterator<Item = Duration>) {
        self.gateway.notifier.set_schedule(pauses);
    }

    /// Sets the timeout for the reply to a notification. It is 5 seconds by default and a year at most.
    pub fn reply_timeout(&self, timeout: Duration) {
        self.gateway.notifier.set_reply_timeout(timeout);
    }

    /// Sets how notifications are signed from now on.
    pub fn sign_notifications(&self, signing: Signing) {
        self.gateway.notifier.set_signing(signing);
    }

    /// Sends a notification with any event type, `original_type` and content, signed and encrypted, and returns its id.
    ///
    /// WeChat Pay does not document the events of this product. If you have received one, reproduce it with this
    /// method.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use wechatpay_contract::sandbox::Sandbox;
    /// let sandbox = Sandbox::start()?;
    /// let content = json!({"out_contract_code": "wxwtdk20200910100000", "new_field": 1});
    /// let id = sandbox.notify("CONTRACT.RENEWED", "contract", &content);
    /// assert_eq!(sandbox.notifications()[0].id, id);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn notify(&self, event_type: &str, original_type: &str, content: &Value) -> String {
        let event = Event::new(event_type, original_type, event_type);
        self.gateway
            .notify(event, content, self.gateway.clock.times())
    }

    /// Returns all notifications until now, oldest first, delivered or not. A test can pass them to its receiver.
    pub fn notifications(&self) -> Vec<SentNotification> {
        self.gateway.notifier.sent()
    }

    /// Delivers a notification once more, even while another delivery of it is under way, since duplicates are normal.
    /// Returns `false` if there is no notification with this id, or no URL to deliver to.
    pub fn notify_again(&self, id: &str) -> bool {
        self.gateway.notifier.send_again(id)
    }

    /// Waits until each delivery is acknowledged or has used up its schedule. Returns `false` if this takes longer than
    /// `timeout`.
    pub fn wait_for_deliveries(&self, timeout: Duration) -> bool {
        self.gateway.notifier.wait(timeout)
    }

    /// Returns contracts, orders, refunds, keys and clocks as JSON that [`load`](Self::load) takes. A clock that was set with
    /// [`set_clock`](Self::set_clock) is not included.
    pub fn snapshot(&self) -> Value {
        snapshot::take(&self.gateway)
    }

    /// Replaces the state with a snapshot that [`snapshot`](Self::snapshot) returned.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] if the value is not a snapshot. The state is unchanged then.
    pub fn load(&self, snapshot: Value) -> Result<(), SandboxError> {
        snapshot::load(&self.gateway, snapshot)
    }

    /// Restores the initial state. Contracts, orders, notifications, recorded requests and faults are removed, keys, clock
    /// and settings are reset, and connections are accepted again. Open connections stay open.
    pub fn reset(&self) {
        snapshot::reset(&self.gateway);
        self.server.reset();
    }

    /// Injects a fault into the next request, or as the [`FaultInjection`] says.
    ///
    /// If several faults apply to a request, it gets the oldest one.
    ///
    /// ```
    /// use wechatpay_contract::sandbox::{Fault, Sandbox};
    ///
    /// let sandbox = Sandbox::start()?;
    /// sandbox.fault(Fault::CutBody);
    /// sandbox.fault(Fault::error(503, "SERVICE_UNAVAILABLE").on("GET", "/v3/").times(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fault(&self, injection: impl Into<FaultInjection>) {
        lock(&self.gateway.faults).push(injection.into());
    }

    /// Removes all faults that are not used up.
    pub fn clear_faults(&self) {
        lock(&self.gateway.faults).clear();
    }

    /// Refuses new connections if `on` is `true`, or accepts them again. Open connections stay open.
    ///
    /// # Errors
    ///
    /// Fails if another process took the port meanwhile.
    pub fn refuse_connections(&self, on: bool) -> io::Result<()> {
        self.server.set_refusing(on)
    }

    /// Accepts the next `connections` connections and closes each at once, before anything is read.
    ///
    /// If a client writes its request before it notices the close, the write can succeed.
    pub fn hang_up(&self, connections: usize) {
        self.server.hang_up(connections);
    }

    /// Closes all open connections, as a server closes idle ones. A call under way gets its response first.
    pub fn close_connections(&self) {
        self.server.close_connections();
    }

    /// Returns how many connections were accepted since the start.
    pub fn connections_accepted(&self) -> usize {
        self.server.connections_accepted()
    }

    /// Returns how many connections are open now.
    pub fn connections_open(&self) -> usize {
        self.server.connections_open()
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("address", &self.server.address())
            .finish_non_exhaustive()
    }
}
