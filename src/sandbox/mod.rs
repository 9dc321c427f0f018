//! A local gateway that plays WeChat Pay, for tests and development: WeChat Pay offers no sandbox for this product.
//!
//! It listens on loopback on a port of the system's choice and checks requests as WeChat Pay does: form and signature
//! of `Authorization`, the clock, the headers and the fields. Its answers are signed. The keys are published with this
//! crate and protect nothing.
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
//! What it plays: the ten calls about contracts; the two that order with one, and for direct merchants the query and the
//! closing of an order, which nobody pays; the list of platform certificates ([`Sandbox::platform`]) and the self-test. A
//! contract is pre-signed for two hours, then signed by the user ([`Sandbox::user_signs`]), then terminated; each change
//! is notified, signed and encrypted ([`Sandbox::notifications`], [`Sandbox::deliver_notifications_to`]). Anything can be
//! made to go wrong ([`Sandbox::fault`]), and [`Sandbox::requests`] tells what really happened.
//!
//! Where WeChat Pay's pages are silent, this is inferred: a query for a contract that nobody signed gives
//! 404 `RESOURCE_NOT_EXISTS`; a code that cannot be used any more, a termination without a signed contract, and an order
//! with a contract that is not in force give 400 `INVALID_REQUEST`; a user who gives up ends the session; the
//! notifications are those of the sister product 委托代扣, `ENTRUST.SIGN` and `ENTRUST.TERMINATE`. Lengths that no page
//! gives are not checked. Messages are in English, whatever `Accept-Language` asks for.
//!
//! # Web pages and limits
//!
//! A web page must not drive the sandbox. A request gets the status 421 unless `Host` is the sandbox's own address or
//! `localhost`, with its port, and 403 if `Origin` or `Sec-Fetch-Site` names another origin.
//!
//! The sandbox speaks HTTP/1.1 and HTTP/1.0; another version gets 505. A request line of more than 16 KiB gets 414, a head
//! of more than 64 KiB or 100 headers 431, a body of more than 8 MiB 413, an incomplete request after 60 seconds 408, and
//! a connection beyond 512 at the same time 503. [`Sandbox::requests`] keeps the newest 64 MiB.
//!
//! # From other languages
//!
//! `cargo run --example sandbox` runs a sandbox by itself. The user's part and faults are taken through these paths,
//! unsigned, as JSON. The answer is 200 with JSON, or 400, 404 or 409 with `code` and `message`.
//!
//! | path | body | does |
//! |---|---|---|
//! | `POST /sandbox/sign` | `out_contract_code` | the user signs; gives `contract_id` |
//! | `POST /sandbox/pay-and-sign` | `out_contract_code` | the user pays and signs; gives `contract_id` |
//! | `POST /sandbox/give-up` | `out_contract_code` | the user gives up |
//! | `POST /sandbox/terminate` | `out_contract_code` | the user terminates |
//! | `POST /sandbox/clock` | `advance_seconds` | time passes for contracts |
//! | `POST /sandbox/notify-url` | `url` | notifications go to this URL on loopback |
//! | `POST /sandbox/notify-again` | `id` | a notification is sent once more; gives `sent` |
//! | `POST /sandbox/public-key` | `offered` | whether the merchant has the WeChat Pay public key |
//! | `POST /sandbox/issue-certificate` | `serial_no`, `not_before`, `not_after` in Unix seconds | a platform certificate is listed; gives `pem` |
//! | `POST /sandbox/withdraw-certificate` | `serial_no` | it is listed no longer |
//! | `POST /sandbox/sign-with` | `key`, or `moving_permille`, or nothing | which key signs, see [`SignsWith`] |
//! | `POST /sandbox/fault` | see below | orders a fault |
//! | `POST /sandbox/clear-faults` | | takes back all orders |
//! | `GET /sandbox/contracts` | | all contracts; states `PRE_SIGNED` and `GIVEN_UP` beside the documented ones |
//! | `GET /sandbox/requests` | | all requests, with `status` and `took_effect` |
//! | `GET /sandbox/notifications` | | all notifications, with headers, body and the statuses answered |
//!
//! The body of `/sandbox/fault` has the name of a [`Fault`] and what belongs to it. `times` and, together, `method` and
//! `path` (the start of one) say for which requests; without them it is the next one.
//!
//! | `fault` | beside it |
//! |---|---|
//! | `close` | `took_effect` |
//! | `close_after_head`, `cut_body`, `close_after_answer`, `chunked`, `accepted`, `gzip`, `invalid_utf8`, `duplicate_keys` | |
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
//! `future`; `took_effect` is `false` when absent.

mod answer;
mod authorization;
mod browser;
mod clock;
mod contracts;
mod control;
mod faults;
mod fields;
mod gateway;
mod http;
mod notification;
mod notifier;
mod orders;
mod platform;
mod post;
mod pre_sign;
mod record;
mod signing;
mod spoil;
mod user;
mod x509;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::SystemTime;

use self::authorization::Identity;
use self::gateway::Gateway;
use self::http::HttpServer;
use crate::client::{Client, ClientBuilder};
use crate::error::Error;
use crate::keys::{ApiV3Key, PrivateKey};
use crate::signer::Signer;
use crate::verifier::Verifier;

pub use self::contracts::UserError;
pub use self::faults::{Fault, FaultOrder};
pub use self::notifier::{DeliveryAttempt, SentNotification};
pub use self::platform::{Forgery, Platform, SignsWith};
pub use self::record::RecordedRequest;
pub use self::signing::Signing;

const RENEWED_KEY: &str = include_str!("keys/merchant_key_2.pem");

/// A running sandbox; it stops when it is dropped.
pub struct Sandbox {
    gateway: Arc<Gateway>,
    server: HttpServer,
    url: String,
    client: Client,
}

impl Sandbox {
    /// The merchant id 商户号 of [`Sandbox::start`].
    pub const MCHID: &str = "1900000109";
    /// The serial number of the sandbox merchant's certificate.
    pub const MERCHANT_SERIAL_NO: &str = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1";
    /// The serial number of the certificate that renews it, accepted as well from the start.
    pub const RENEWED_SERIAL_NO: &str = "6A3C9D2E17F04B58A1C2D3E4F5061728394A5B6C";
    /// The sandbox merchant's private key as PEM; it protects nothing.
    pub const MERCHANT_KEY_PEM: &str = include_str!("keys/merchant_key.pem");
    /// The APIv3 key APIv3密钥 with which notifications and platform certificates are encrypted.
    pub const API_V3_KEY: &str = "SandboxApiV3KeyOf32BytesExactly!";
    /// The id of the sandbox's WeChat Pay public key.
    pub const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0000000000000024101100397200000006";
    /// The sandbox's WeChat Pay public key as PEM.
    pub const PUBLIC_KEY_PEM: &str = include_str!("keys/platform_public_key.pem");

    /// Starts a sandbox for the merchant [`MCHID`](Self::MCHID).
    ///
    /// Fails when no port of the loopback interface can be opened.
    pub fn start() -> io::Result<Self> {
        Self::start_for(Self::MCHID)
    }

    /// Starts a sandbox for another merchant.
    pub fn start_for(mchid: impl Into<String>) -> io::Result<Self> {
        let mchid = mchid.into();
        let platform = Platform::new().map_err(unusable)?;
        let verifier = platform.verifier().map_err(unusable)?;
        let identity = merchant_key()
            .and_then(|key| Ok(Identity::new(&mchid, &key, &renewed_key()?)?))
            .map_err(unusable)?;
        let gateway = Arc::new(Gateway::new(identity, platform));
        let handler = Arc::clone(&gateway);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let server = HttpServer::start(listener, move |request| {
            match browser::check(&request, address) {
                Ok(()) => handler.handle(request),
                Err((status, message)) => control::refuse(status, &message),
            }
        })?;
        let url = format!("http://{address}");
        let client = merchant_key()
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

    /// The sandbox's address as a host for [`ClientBuilder::host`]: `http://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client that is ready to talk to this sandbox; all such clients share their connections.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The settings of [`client`](Self::client), to be changed before building a client of one's own.
    pub fn client_builder(&self) -> ClientBuilder {
        Client::builder(self.signer(), self.verifier()).host(&self.url)
    }

    /// The merchant's signer.
    pub fn signer(&self) -> Signer {
        self.client.merchant().signer().clone()
    }

    /// The same merchant's signer with the renewed certificate, [`RENEWED_SERIAL_NO`](Self::RENEWED_SERIAL_NO).
    ///
    /// # Errors
    ///
    /// Does not fail in practice: the key is a part of this crate.
    pub fn renewed_signer(&self) -> Result<Signer, Error> {
        let mchid = self.client.merchant().signer().mchid();
        Ok(Signer::new(mchid, Self::RENEWED_SERIAL_NO, renewed_key()?)?)
    }

    /// Refuses requests that are signed with the merchant's first certificate from now on, as WeChat Pay does when it
    /// has expired or was revoked.
    pub fn revoke_first_certificate(&self) {
        self.gateway.identity().revoke_first();
    }

    /// The settings of a client that knows no platform key yet and downloads the platform certificates.
    ///
    /// It finds some only after [`Platform::issue_certificate`].
    ///
    /// # Errors
    ///
    /// Does not fail in practice: the APIv3 key is a part of this crate.
    pub fn certificate_client_builder(&self) -> Result<ClientBuilder, Error> {
        Ok(Client::builder(self.signer(), Verifier::without_keys())
            .platform_certificates(ApiV3Key::new(Self::API_V3_KEY)?)
            .host(&self.url))
    }

    /// The platform keys, to be changed while the sandbox runs.
    pub fn platform(&self) -> Platform {
        self.gateway.platform().clone()
    }

    /// The clock by which the sandbox checks requests and signs answers, instead of the system's.
    pub fn set_clock(&self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) {
        self.gateway.clock().set(Arc::new(clock));
    }

    /// A verifier with the sandbox's platform keys.
    pub fn verifier(&self) -> Verifier {
        self.client.merchant().verifier().clone()
    }

    /// The requests received until now, oldest first, with what became of them.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.gateway.record().requests()
    }

    /// Orders a fault: for the next request, or as the [`FaultOrder`] says.
    ///
    /// Orders are served in turn, one for each request.
    ///
    /// ```
    /// use wechatpay_contract::sandbox::{Fault, Sandbox};
    ///
    /// let sandbox = Sandbox::start()?;
    /// sandbox.fault(Fault::CutBody);
    /// sandbox.fault(Fault::error(503, "SERVICE_UNAVAILABLE").on("GET", "/v3/").times(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fault(&self, order: impl Into<FaultOrder>) {
        self.gateway.faults().add(order.into());
    }

    /// Takes back all orders that are not used up.
    pub fn clear_faults(&self) {
        self.gateway.faults().clear();
    }

    /// Stops or starts listening: while connections are refused, nothing can be sent. Connections that are open stay
    /// open.
    ///
    /// Fails when the port was taken by another process meanwhile.
    pub fn refuse_connections(&self, on: bool) -> io::Result<()> {
        self.server.set_refusing(on)
    }

    /// Accepts the next `connections` connections and closes each at once, before anything is read.
    ///
    /// To a client that writes quickly it looks as if its request had been sent.
    pub fn hang_up(&self, connections: usize) {
        self.server.hang_up(connections);
    }

    /// Closes all connections that are open, as a server does that has kept them long enough. A call under way is
    /// answered first.
    pub fn close_connections(&self) {
        self.server.close_connections();
    }

    /// How many connections were accepted since the start.
    pub fn connections_accepted(&self) -> usize {
        self.server.connections_accepted()
    }

    /// How many connections are open now.
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

fn merchant_key() -> Result<PrivateKey, Error> {
    Ok(PrivateKey::from_pem(Sandbox::MERCHANT_KEY_PEM)?)
}

fn renewed_key() -> Result<PrivateKey, Error> {
    Ok(PrivateKey::from_pem(RENEWED_KEY)?)
}

fn unusable(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
