//! The blocking HTTP client for one merchant. Beside `transport`, the only place that names ureq and the clock.

mod answer;
mod attempt;
mod builder;
mod certificates;
mod host;
mod observer;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use ureq::Agent;

use self::host::Host;
use self::observer::Observer;
use crate::certificates::PlatformCertificates;
use crate::error::{CertificateError, Error, InvalidField, VerifyError};
use crate::keys::{ApiV3Key, random_nonce};
use crate::merchant::{Merchant, check_answer};
use crate::order::PayParameters;
use crate::request::{Endpoint, Request};
use crate::signer::Signer;
use crate::verifier::Verifier;

pub(crate) use self::answer::{AnswerHead, Watch};
pub use self::builder::ClientBuilder;
pub use self::observer::Exchange;

/// A blocking client for one merchant.
///
/// `Send`, `Sync` and cheap to clone; the clones share keys and connections, so that one client serves all threads of
/// a service. Many merchants in one process are many clients. No thread is started and no I/O is done before the first
/// call.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    merchant: Merchant,
    /// In certificate mode.
    certificates: Option<Arc<PlatformCertificates>>,
    host: Host,
    backup: Option<Host>,
    /// For first attempts.
    agent: Agent,
    /// For second attempts, with what connecting leaves of the time.
    second_agent: Agent,
    /// How old a call may be when a `GET` whose connection broke is sent once more.
    repeat_until: Duration,
    accept_language: Option<String>,
    clock: Arc<Clock>,
    observer: Option<Arc<Observer>>,
}

type Clock = dyn Fn() -> SystemTime + Send + Sync;

impl Client {
    /// A client with the default settings; see [`ClientBuilder`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] when the merchant's own certificate is among the platform keys.
    pub fn new(signer: Signer, verifier: Verifier) -> Result<Self, Error> {
        Self::builder(signer, verifier).build()
    }

    /// A client that downloads the platform certificates 平台证书 by itself, for a merchant that has no WeChat Pay public
    /// key; see [`ClientBuilder::platform_certificates`].
    ///
    /// # Errors
    ///
    /// As for [`Client::new`].
    pub fn with_certificates(
        signer: Signer,
        api_v3_key: impl Into<Arc<ApiV3Key>>,
    ) -> Result<Self, Error> {
        Self::builder(signer, Verifier::without_keys())
            .platform_certificates(api_v3_key)
            .build()
    }

    /// A client with other settings.
    pub fn builder(signer: Signer, verifier: Verifier) -> ClientBuilder {
        ClientBuilder::new(signer, verifier)
    }

    /// Checks, signs and sends a typed request, and gives the verified answer.
    ///
    /// Blocks until the answer is there, at most for the time-out, not counting a download of platform certificates; see
    /// [`ClientBuilder::platform_certificates`].
    ///
    /// ```
    /// use wechatpay_contract::sandbox::Sandbox;
    /// use wechatpay_contract::{Outcome, QueryContract};
    ///
    /// # let sandbox = Sandbox::start()?;
    /// # let client = sandbox.client();
    /// let query = QueryContract {
    ///     service_id: 12535,
    ///     out_contract_code: "wxwtdk20200910100000",
    /// };
    /// match client.send(&query) {
    ///     Ok(contract) => println!("{}", contract.contract_state),
    ///     Err(error) => match error.outcome() {
    ///         Outcome::NotSent => println!("mend it, then send it again: {error}"),
    ///         Outcome::Refused => println!("WeChat Pay refuses: {error}"),
    ///         Outcome::Unknown => println!("query before sending anything again: {error}"),
    ///     },
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Every [`Error`] says whether the request may have taken effect: [`Outcome`](crate::Outcome) has the table.
    pub fn send<E: Endpoint + ?Sized>(&self, endpoint: &E) -> Result<E::Response, Error> {
        let request = endpoint.request()?;
        let inner = &*self.inner;
        inner.refresh_if_due()?;
        inner.call(&request, |answer| {
            let response = inner.accept(answer)?;
            check_answer(endpoint, response, answer.request_id())
        })
    }

    /// Signs and sends any APIv3 request, and gives the verified answer as any type: a struct of the caller's,
    /// [`serde_json::Value`], or `()` for an answer without a body.
    ///
    /// ```no_run
    /// # fn call(client: wechatpay_contract::Client) -> Result<(), wechatpay_contract::Error> {
    /// use wechatpay_contract::Request;
    ///
    /// let order: serde_json::Value = client.execute(
    ///     Request::get("/v3/pay/transactions/id/{transaction_id}")
    ///         .path("transaction_id", "1217752501201407033233368018")
    ///         .query("mchid", "1900000109"),
    /// )?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn execute<R: DeserializeOwned>(&self, request: Request) -> Result<R, Error> {
        let inner = &*self.inner;
        inner.refresh_if_due()?;
        inner.call(&request, |answer| inner.accept(answer))
    }

    /// [`execute`](Self::execute) that shows the head of the answer, before it is verified.
    pub(crate) fn execute_watched<R: DeserializeOwned>(
        &self,
        request: &Request,
        watch: &Watch<'_>,
    ) -> Result<R, Error> {
        let inner = &*self.inner;
        inner.refresh_if_due()?;
        inner.call(request, |answer| {
            watch(&inner.head(answer));
            inner.accept(answer)
        })
    }

    /// Signs the parameters with which the user pays the order `prepay_id` in the mini program `appid`, for now and
    /// with a new nonce; see [`PayParameters`].
    ///
    /// Nothing is sent. Fails with [`Error::InvalidField`] or [`Error::Sign`].
    pub fn pay_parameters(&self, appid: &str, prepay_id: &str) -> Result<PayParameters, Error> {
        let nonce_str = random_nonce().map_err(Error::Sign)?;
        let signer = self.inner.merchant.signer();
        PayParameters::sign(signer, appid, prepay_id, (self.inner.clock)(), &nonce_str)
    }

    /// The merchant: signer and platform keys.
    ///
    /// Clones of its verifier share the platform keys with this client: give one to whatever receives notifications,
    /// so that what one learns the other knows.
    pub fn merchant(&self) -> &Merchant {
        &self.inner.merchant
    }

    /// A client that signs with another certificate of the same merchant, and shares connections, platform keys and
    /// settings with this one: for the time when the merchant's own API certificate 商户API证书 is renewed.
    ///
    /// No request is lost when both certificates are valid while one client takes the other's place: calls that are
    /// under way end as they began.
    ///
    /// ```
    /// use std::sync::RwLock;
    /// # use wechatpay_contract::{Client, Error, Signer};
    ///
    /// struct Service {
    ///     client: RwLock<Client>,
    /// }
    ///
    /// impl Service {
    ///     /// For each call; cheap, and the lock is not held during the call.
    ///     fn client(&self) -> Client {
    ///         self.client.read().unwrap().clone()
    ///     }
    ///
    ///     fn renew(&self, signer: Signer) -> Result<(), Error> {
    ///         let renewed = self.client().with_signer(signer)?;
    ///         *self.client.write().unwrap() = renewed;
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] when the signer is another merchant's, or when its certificate is among the platform
    /// keys.
    pub fn with_signer(&self, signer: Signer) -> Result<Self, Error> {
        let mchid = self.merchant().signer().mchid();
        if signer.mchid() != mchid {
            let problem = format!(
                "found {:?}: wanted {mchid:?}, since another merchant has other platform keys",
                signer.mchid()
            );
            return Err(InvalidField::new("mchid", problem).into());
        }
        let merchant = Merchant::new(signer, self.merchant().verifier().clone())?;
        Ok(Self {
            inner: Arc::new(Inner {
                merchant,
                ..(*self.inner).clone()
            }),
        })
    }

    /// Downloads the platform certificates now and puts them in the place of those held. Rarely needed: a client made
    /// with [`ClientBuilder::platform_certificates`] does so by itself. Not limited to once a minute.
    ///
    /// # Errors
    ///
    /// [`Error::Certificates`], and the keys held are kept; [`Error::InvalidField`] for a client without APIv3 key. The
    /// outcome of both, [`Outcome::NotSent`](crate::Outcome::NotSent), says that no call was made. The download itself
    /// may have been sent and answered; it changes nothing at WeChat Pay and can be repeated.
    pub fn refresh_certificates(&self) -> Result<(), Error> {
        self.refresh_certificates_watched(&|_| ())
    }

    /// [`refresh_certificates`](Self::refresh_certificates) that shows the head of the answer, before it is verified.
    pub(crate) fn refresh_certificates_watched(&self, watch: &Watch<'_>) -> Result<(), Error> {
        let Some(certificates) = &self.inner.certificates else {
            let problem =
                "found none: wanted the APIv3 key, with ClientBuilder::platform_certificates";
            return Err(InvalidField::new("api_v3_key", problem).into());
        };
        let permit = certificates.on_demand((self.inner.clock)())?;
        Ok(self.inner.download(certificates, permit, watch)?)
    }

    /// Whether it was made with [`ClientBuilder::platform_certificates`].
    pub(crate) fn downloads_certificates(&self) -> bool {
        self.inner.certificates.is_some()
    }

    /// The time by the client's clock.
    pub(crate) fn now(&self) -> SystemTime {
        (self.inner.clock)()
    }

    /// To be asked when a notification could not be verified: whether it is worth verifying once more.
    ///
    /// When the message names an unknown platform certificate, and the client was made with
    /// [`ClientBuilder::platform_certificates`], the certificates are downloaded, at most once a minute, and `true`
    /// says that the verifier holds the key now. Anything else is `false` at once. So it is while another thread
    /// downloads them, which is not waited for: a download that hangs, or forged notifications, hold up one thread
    /// only. The download counts in the 5 seconds in which a notification is to be answered. WeChat Pay sends again
    /// what is not acknowledged in time.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use wechatpay_contract::{Client, Event, NotificationError, NotificationReceiver, SignatureHeaders};
    /// fn open(
    ///     client: &Client,
    ///     receiver: &NotificationReceiver,
    ///     headers: &SignatureHeaders<'_>,
    ///     body: &[u8],
    /// ) -> Result<Event, NotificationError> {
    ///     match receiver.open(headers, body, SystemTime::now()) {
    ///         Err(NotificationError::Verify(error)) if client.refresh_for(&error) => {
    ///             receiver.open(headers, body, SystemTime::now())
    ///         }
    ///         result => result,
    ///     }
    /// }
    /// ```
    pub fn refresh_for(&self, error: &VerifyError) -> bool {
        match error {
            VerifyError::UnknownSerial { received, .. } => self.inner.learn(received, false),
            _ => false,
        }
    }

    /// Why the last download of platform certificates failed; `None` when it succeeded, or when there was none.
    ///
    /// A download that fails while valid keys are held does not fail the call that started it: this, and
    /// [`ClientBuilder::on_exchange`], are where it shows.
    pub fn last_certificate_error(&self) -> Option<Arc<CertificateError>> {
        self.inner.certificates.as_ref()?.last_error()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("merchant", &self.inner.merchant)
            .field("host", &self.inner.host)
            .field("backup_host", &self.inner.backup)
            .finish_non_exhaustive()
    }
}
