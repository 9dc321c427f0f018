//! The blocking HTTP client of one merchant: its methods, the certificates it downloads, and its connections.

mod builder;
mod exchange;
mod host;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::DeserializeOwned;

use self::exchange::{Http, Response};
use crate::certificates::{self, DownloadPermit, PlatformCertificates};
use crate::error::{CertificateError, Error, InvalidSetting, VerifyError};
use crate::keys::{ApiV3Key, random_nonce};
use crate::merchant::{Merchant, Verified};
use crate::order::PayParameters;
use crate::request::{Endpoint, Request};
use crate::signer::Signer;
use crate::verifier::Verifier;

pub use self::builder::ClientBuilder;
pub use self::exchange::Exchange;

/// A blocking client for one merchant.
///
/// ```
/// use wechatpay_contract::{Client, PrivateKey, PublicKey, Signer, Verifier};
///
/// /// `key` is the content of apiclient_key.pem, and `public_key` that of pub_key.pem.
/// fn client(key: &[u8], public_key: &[u8]) -> Result<Client, wechatpay_contract::Error> {
///     let key = PrivateKey::from_pem(key)?;
///     let signer = Signer::new("1900000109", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", key)?;
///     let id = "PUB_KEY_ID_0000000000000024101100397200000006";
///     let verifier = Verifier::new([PublicKey::from_pem(id, public_key)?])?;
///     Client::new(signer, verifier)
/// }
/// ```
///
/// [`Client::with_certificates`] is for a merchant without a WeChat Pay public key, and [`Client::builder`] for other
/// settings. For many merchants, make one client, and the others from it with [`Client::for_merchant`].
///
/// # Threads, connections and processes
///
/// A client is `Send` and `Sync`. Clones are cheap and share keys and connections, so that one client serves all threads
/// of a service. A client starts no thread, and does no I/O before the first call.
///
/// A connection that has been idle for 5 seconds is not used again. Since there is no thread to close it, it stays open
/// until the next call of any client that shares it, or until
/// [`close_idle_connections`](Self::close_idle_connections). After a fork, the child makes connections of its own and
/// never uses those of its parent.
///
/// [`ClientBuilder::timeout`] limits the time of a call. It does not interrupt a DNS lookup by the operating system, or
/// a function that the application has set, such as an observer. A download of platform certificates has a timeout of
/// its own.
#[derive(Clone)]
pub struct Client {
    merchant: Arc<Merchant>,
    /// `Some` if the client downloads platform certificates.
    certificates: Option<Arc<PlatformCertificates>>,
    http: Arc<Http>,
}

impl Client {
    /// Checks, signs and sends a typed request, and returns the verified response.
    ///
    /// Blocks until the response has arrived. [`ClientBuilder::timeout`] describes what limits this time.
    ///
    /// ```
    /// use wechatpay_contract::{Outcome, QueryContract};
    ///
    /// # fn query(client: &wechatpay_contract::Client) {
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
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Every [`Error`] says whether the request may have taken effect. [`Outcome`](crate::Outcome) lists all failures.
    pub fn send<E: Endpoint + ?Sized>(&self, endpoint: &E) -> Result<E::Response, Error> {
        let request = endpoint.request()?;
        self.refresh_if_due()?;
        let response = self.http.exchange(&self.merchant, &request)?;
        let result = self.merchant.read_for(endpoint, self.verify(&response));
        response.finish(result)
    }

    /// Does the same as [`send`](Self::send), and returns the `Request-ID` of the response as well, if it has one.
    ///
    /// The Request-ID identifies the call for WeChat Pay's support. It is not signed. For a failed call,
    /// [`Error::request_id`] returns it.
    pub fn send_with_request_id<E: Endpoint + ?Sized>(
        &self,
        endpoint: &E,
    ) -> Result<(E::Response, Option<String>), Error> {
        let request = endpoint.request()?;
        self.refresh_if_due()?;
        let response = self.http.exchange(&self.merchant, &request)?;
        let request_id = response.request_id().map(str::to_owned);
        let result = self.merchant.read_for(endpoint, self.verify(&response));
        Ok((response.finish(result)?, request_id))
    }

    /// Signs and sends any APIv3 request, and returns the verified response as any type: a struct of the caller's,
    /// [`serde_json::Value`], or `()` for a response without a body.
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
    ///
    /// The client does not compare the response with the request. It therefore sends each request as
    /// [`Request::uncorrelated`] describes, on a connection on which no late response to another request is expected.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn execute<R: DeserializeOwned>(&self, request: Request) -> Result<R, Error> {
        let request = request.uncorrelated();
        self.refresh_if_due()?;
        let response = self.http.exchange(&self.merchant, &request)?;
        let result = self.verify(&response).and_then(Verified::read);
        response.finish(result)
    }

    /// Signs the parameters with which the user pays the order `prepay_id` in the mini program `appid`, with the current
    /// time and a new nonce, as [`PayParameters`] describes. Sends nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] if a value is invalid, [`Error::Sign`] if signing fails.
    pub fn pay_parameters(&self, appid: &str, prepay_id: &str) -> Result<PayParameters, Error> {
        let nonce_str = random_nonce().map_err(Error::Sign)?;
        PayParameters::sign(
            self.merchant.signer(),
            appid,
            prepay_id,
            self.now(),
            &nonce_str,
        )
    }

    /// Returns the merchant: signer and platform keys.
    ///
    /// Clones of its verifier share the platform keys with this client. Give one to the receiver of notifications,
    /// which then also has the certificates that the client downloads.
    pub fn merchant(&self) -> &Merchant {
        &self.merchant
    }

    /// Returns a client that signs with another certificate of the same merchant, and shares connections, platform keys
    /// and settings with this one. Use it to renew the merchant's own API certificate 商户API证书.
    ///
    /// No request is lost if both certificates are valid while one client replaces the other. Calls in progress
    /// finish with the certificate that they started with.
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
    ///     /// Returns a client for one call. The lock is not held during the call.
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
    /// [`Error::InvalidSetting`] if the signer is another merchant's, [`Error::Key`] if its certificate is among the
    /// platform keys.
    pub fn with_signer(&self, signer: Signer) -> Result<Self, Error> {
        let (found, wanted) = (signer.mchid(), self.merchant.signer().mchid());
        if found != wanted {
            let problem = format!(
                "found {found:?}: wanted {wanted:?} (for another merchant, use Client::for_merchant)"
            );
            return Err(InvalidSetting::new("mchid", problem).into());
        }
        let merchant = Merchant::new(signer, self.merchant.verifier().clone())?;
        Ok(Self {
            merchant: Arc::new(merchant),
            ..self.clone()
        })
    }

    /// Returns a client of another merchant that shares connections and settings with this one: hosts, timeouts, proxy,
    /// root certificates, clock and observer. The two share no keys.
    ///
    /// Use it for a platform or a service provider with many merchants. Connections carry no merchant's identity, so
    /// their number depends on the number of concurrent calls, not of merchants. Use [`builder`](Self::builder) instead
    /// for a merchant that needs another host, proxy or timeout, or whose traffic must be separate, for example
    /// because it leaves through another network.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if a key among the platform keys is the merchant's own.
    pub fn for_merchant(&self, signer: Signer, verifier: Verifier) -> Result<Self, Error> {
        Self::over(Arc::clone(&self.http), signer, verifier, None)
    }

    /// Returns a client as [`for_merchant`](Self::for_merchant) does, which also downloads the merchant's platform
    /// certificates 平台证书 by itself, as [`ClientBuilder::platform_certificates`] describes.
    ///
    /// `verifier` holds the merchant's WeChat Pay public key. If the merchant has none, pass
    /// [`Verifier::without_keys`].
    ///
    /// # Errors
    ///
    /// As for [`for_merchant`](Self::for_merchant).
    pub fn for_merchant_with_certificates(
        &self,
        signer: Signer,
        verifier: Verifier,
        api_v3_key: impl Into<Arc<ApiV3Key>>,
    ) -> Result<Self, Error> {
        let http = Arc::clone(&self.http);
        Self::over(http, signer, verifier, Some(api_v3_key.into()))
    }

    /// Returns a client that sends by `http`, and downloads platform certificates if there is an APIv3 key.
    fn over(
        http: Arc<Http>,
        signer: Signer,
        verifier: Verifier,
        api_v3_key: Option<Arc<ApiV3Key>>,
    ) -> Result<Self, Error> {
        let certificates = api_v3_key.map(|key| {
            Arc::new(PlatformCertificates::new(
                key,
                verifier.clone(),
                http.timeout,
            ))
        });
        Ok(Self {
            merchant: Arc::new(Merchant::new(signer, verifier)?),
            certificates,
            http,
        })
    }

    /// Closes the idle connections of this client and of all that share them.
    ///
    /// Otherwise an idle connection stays open until the first call after 5 idle seconds, since no thread closes it.
    /// Call this before a long time without calls, and before a fork. It does not affect calls in progress.
    pub fn close_idle_connections(&self) {
        self.http.transport.close_idle();
    }

    /// Downloads the platform certificates now and replaces those held, even if the last download was less than a
    /// minute ago.
    ///
    /// Rarely needed, since a client made with [`ClientBuilder::platform_certificates`] downloads them by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Download`] if the download fails. The client then keeps the keys that it holds.
    /// [`Error::InvalidSetting`] if the client has no APIv3 key. The outcome of both is
    /// [`Outcome::NotSent`](crate::Outcome::NotSent): the download changes nothing at WeChat Pay and can be repeated.
    pub fn refresh_certificates(&self) -> Result<(), Error> {
        let Some(certificates) = &self.certificates else {
            let problem =
                "found none: wanted the APIv3 key, with ClientBuilder::platform_certificates";
            return Err(InvalidSetting::new("platform_certificates", problem).into());
        };
        certificates
            .on_demand(self.now())
            .and_then(|permit| self.download(permit))
            .map_err(Error::Download)
    }

    /// Downloads the platform certificates if a notification is signed with an unknown one, and returns `true` if the
    /// notification should be verified again.
    ///
    /// Returns `true` if `error` names an unknown platform certificate and the verifier holds it now. Only a client
    /// made with [`ClientBuilder::platform_certificates`] downloads, at most once a minute while a key is valid, and
    /// not while another thread downloads. Without a download, this returns at once. A slow download or forged
    /// notifications therefore block one thread only.
    ///
    /// The download counts towards the 5 seconds in which a notification must get its reply. WeChat Pay sends a
    /// notification again if it is not acknowledged in time.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use wechatpay_contract::{Client, Notification, NotificationError, NotificationReceiver, SignatureHeaders};
    /// fn open(
    ///     client: &Client,
    ///     receiver: &NotificationReceiver,
    ///     headers: &SignatureHeaders<'_>,
    ///     body: &[u8],
    /// ) -> Result<Notification, NotificationError> {
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
            VerifyError::UnknownSerial { received, .. } => self.fetch_certificate(received, false),
            _ => false,
        }
    }

    /// Returns the error of the last download of platform certificates, or `None` if it succeeded or if there was none.
    ///
    /// While a valid key is held, a failed download does not fail a call. It is reported here and to
    /// [`ClientBuilder::on_exchange`].
    pub fn last_certificate_error(&self) -> Option<Arc<Error>> {
        self.certificates.as_ref()?.last_error()
    }

    pub(crate) fn downloads_certificates(&self) -> bool {
        self.certificates.is_some()
    }

    /// Returns `true` if a platform key is valid now.
    pub(crate) fn has_platform_key(&self) -> bool {
        let keys = self.merchant.verifier().keys();
        keys.preferred(self.now()).is_some()
    }

    /// Returns the time by the client's clock.
    pub(crate) fn now(&self) -> SystemTime {
        (self.http.clock)()
    }

    /// Returns a client that reports each exchange to `observer` too.
    pub(crate) fn observed_by(
        &self,
        observer: impl Fn(&Exchange<'_>) + Send + Sync + 'static,
    ) -> Self {
        let mut http = (*self.http).clone();
        http.observers.push(Arc::new(observer));
        Self {
            http: Arc::new(http),
            ..self.clone()
        }
    }

    /// Verifies a response. If it is signed with an unknown certificate, downloads the certificate, or waits for a
    /// running download, and verifies again. The request may have taken effect, so it is not sent again.
    fn verify<'r>(&self, response: &'r Response<'_>) -> Result<Verified<'r, 'r>, Error> {
        let verify = || {
            let (status, headers) = (response.status(), response.headers());
            self.merchant
                .verify(status, headers, response.body(), self.now())
        };
        let result = verify();
        let unknown_key = match &result {
            Err(Error::Unverified {
                source: VerifyError::UnknownSerial { received, .. },
                ..
            }) => Some(received),
            Err(Error::Api(error)) => error.unknown_key.as_ref(),
            _ => None,
        };
        match unknown_key {
            Some(key) if self.fetch_certificate(key, true) => verify(),
            _ => result,
        }
    }

    /// Downloads the platform certificates if they are due. A failed download is an error only if no key is valid.
    fn refresh_if_due(&self) -> Result<(), Error> {
        let Some(certificates) = &self.certificates else {
            return Ok(());
        };
        let permit = certificates.before_use(self.now());
        if let Some(permit) = permit.map_err(Error::Download)? {
            let result = self.download(permit);
            if !self.has_platform_key() {
                result.map_err(Error::Download)?;
            }
        }
        Ok(())
    }

    /// Downloads the platform certificates if the one with this serial number is not held and a download is allowed now.
    /// Returns `true` if it is held afterwards. Waits for the download of another thread only if `can_wait`.
    fn fetch_certificate(&self, serial: &str, can_wait: bool) -> bool {
        let Some(certificates) = &self.certificates else {
            return false;
        };
        if let Some(permit) = certificates.for_serial(serial, self.now(), can_wait) {
            // The error is recorded.
            let _ = self.download(permit);
        }
        self.merchant.verifier().keys().contains(serial)
    }

    /// Downloads the platform certificates and replaces those held. A failed download keeps them.
    fn download(&self, permit: DownloadPermit<'_>) -> Result<(), Arc<Error>> {
        let request = certificates::request();
        let response = self.http.exchange(&self.merchant, &request);
        let result = response.and_then(|response| {
            let result = self.accept_certificates(&response, permit.api_v3_key());
            response.finish(result)
        });
        permit.finish(result)
    }

    fn accept_certificates(
        &self,
        response: &Response<'_>,
        api_v3_key: &ApiV3Key,
    ) -> Result<(), Error> {
        let downloaded = certificates::accept(
            response.status(),
            response.headers(),
            response.body(),
            self.now(),
            api_v3_key,
            self.merchant.verifier(),
        )?;
        let replaced = self.merchant.replace_certificates(downloaded);
        replaced.map_err(|source| Error::Certificates {
            request_id: response.request_id().map(str::to_owned),
            source: Box::new(CertificateError::unusable(
                "it has a wrong key",
                Some(source),
            )),
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("merchant", &self.merchant)
            .field("host", &self.http.hosts.main)
            .field("backup_host", &self.http.hosts.backup)
            .finish_non_exhaustive()
    }
}
