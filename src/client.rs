//! The blocking HTTP client: hosts, time-outs, pool and failover. Beside `transport`, the only file that names ureq and
//! the clock.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::uri::Authority;
use ureq::http::{self, HeaderMap, Uri};

use crate::certificates::{self, ForSerial, PlatformCertificates, Refresh};
use crate::endpoint::{Endpoint, Method, Request};
use crate::error::{Cause, CertificateError, Error, InvalidField, Outcome, VerifyError};
use crate::keys::{ApiV3Key, random_nonce};
use crate::merchant::{Merchant, SignedRequest, USER_AGENT};
use crate::order::PayParameters;
use crate::signer::Signer;
use crate::transport::{self, Failure, Lookup, Proxy, Roots, TransportOptions};
use crate::verifier::{SignatureHeaders, Verifier};

const HOST: &str = "https://api.mch.weixin.qq.com";
const BACKUP_HOST: &str = "https://api2.mch.weixin.qq.com";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Tells WeChat Pay that the main host could not be reached.
const BACKUP_USER_AGENT: &str = concat!(
    "wechatpay-contract/",
    env!("CARGO_PKG_VERSION"),
    " (backup-host)"
);
/// The longest path with query, in bytes, as encoded.
const MAX_TARGET: usize = 8 * 1024;
/// Answers are small; a larger one is not WeChat Pay's.
const MAX_BODY: usize = 1024 * 1024;

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
    /// For second attempts, with what the first leaves of the time.
    second_agent: Agent,
    /// A second attempt is made only when the first took no longer than this.
    second_attempt_until: Duration,
    accept_language: Option<String>,
    clock: Arc<Clock>,
    observer: Option<Arc<Observer>>,
}

type Clock = dyn Fn() -> SystemTime + Send + Sync;
type Observer = dyn Fn(&Exchange<'_>) + Send + Sync;

impl Client {
    /// A client with the default settings; see [`ClientBuilder`].
    ///
    /// Fails when the merchant's own certificate is among the platform keys.
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
        ClientBuilder {
            signer,
            verifier,
            api_v3_key: None,
            host: HOST.to_owned(),
            backup_host: Some(BACKUP_HOST.to_owned()),
            accept_language: None,
            connect_timeout: None,
            timeout: Duration::from_secs(15),
            proxy: None,
            root_certificates: None,
            resolver: None,
            clock: Arc::new(SystemTime::now),
            observer: None,
        }
    }

    /// Checks, signs and sends a typed request, and gives the verified answer.
    ///
    /// Blocks until the answer is there, at most for the time-out. Every [`Error`] says whether the request may have
    /// taken effect.
    pub fn send<E: Endpoint>(&self, endpoint: &E) -> Result<E::Response, Error> {
        let request = endpoint.request()?;
        let inner = &*self.inner;
        inner.refresh_if_due()?;
        inner.call(&request, |answer| {
            let response = inner.accept(answer)?;
            match endpoint.check(&response) {
                Ok(()) => Ok(response),
                Err(source) => Err(Error::Mismatch {
                    request_id: answer.request_id().map(str::to_owned),
                    source,
                }),
            }
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
    /// [`Error::Certificates`], and the keys held are kept; [`Error::InvalidField`] for a client without APIv3 key.
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
        let permit = certificates.on_demand((self.inner.clock)());
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
    /// says that the verifier holds the key now. Anything else is `false` at once. The download counts in the 5
    /// seconds in which a notification is to be answered; if they do not suffice, WeChat Pay sends it again.
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
            VerifyError::UnknownSerial { received, .. } => self.inner.learn(received),
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

impl Inner {
    fn first_route(&self) -> Route<'_> {
        Route {
            agent: &self.agent,
            host: &self.host,
            user_agent: USER_AGENT,
            attempt: 1,
        }
    }

    /// Where to try again, if that cannot carry anything out twice: at the backup host when no connection could be
    /// made, at the same host when the connection of a GET broke.
    fn second_route(
        &self,
        request: &Request,
        error: &Error,
        elapsed: Duration,
    ) -> Option<Route<'_>> {
        if elapsed > self.second_attempt_until {
            return None;
        }
        let (host, user_agent) = match error {
            Error::Connect { .. } => (self.backup.as_ref()?, BACKUP_USER_AGENT),
            Error::Transport { source, .. }
                if request.method() == Method::Get && is_broken(source) =>
            {
                (&self.host, USER_AGENT)
            }
            _ => return None,
        };
        Some(Route {
            agent: &self.second_agent,
            host,
            user_agent,
            attempt: 2,
        })
    }

    /// One call: a second attempt follows a first where that cannot carry anything out twice.
    fn call<R>(
        &self,
        request: &Request,
        accept: impl Fn(&Answer<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let started = Instant::now();
        let first = self.attempt(request, &self.first_route(), &accept);
        let Err(error) = first else {
            return first;
        };
        let Some(route) = self.second_route(request, &error, started.elapsed()) else {
            return Err(error);
        };
        match self.attempt(request, &route, &accept) {
            // That the second attempt was not sent says nothing about the first.
            Err(second) if was_not_sent(&second) && !was_not_sent(&error) => Err(error),
            second => second,
        }
    }

    /// One exchange: signed afresh, sent, verified, and reported.
    fn attempt<R>(
        &self,
        request: &Request,
        route: &Route<'_>,
        accept: impl Fn(&Answer<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let began = Instant::now();
        let answer = self.exchange(request, route);
        let (answer, result) = match answer {
            Ok(answer) => {
                let result = accept(&answer);
                (Some(answer), result)
            }
            Err(error) => (None, Err(error)),
        };
        if let Some(observer) = &self.observer {
            observer(&Exchange {
                method: request.method(),
                template: request.template(),
                host: &route.host.name,
                attempt: route.attempt,
                status: answer.as_ref().map(|answer| answer.status),
                request_id: answer.as_ref().and_then(Answer::request_id),
                elapsed: began.elapsed(),
                error: result.as_ref().err(),
            });
        }
        result
    }

    /// An answer signed with an unknown certificate is verified once more when the certificate could be downloaded; the
    /// request is not sent again.
    fn accept<R: DeserializeOwned>(&self, answer: &Answer<'_>) -> Result<R, Error> {
        let now = (self.clock)();
        match self.accept_at(answer, now) {
            Err(Error::Unverified {
                source: VerifyError::UnknownSerial { received, .. },
                ..
            }) if self.learn(&received) => self.accept_at(answer, now),
            result => result,
        }
    }

    fn accept_at<R: DeserializeOwned>(
        &self,
        answer: &Answer<'_>,
        now: SystemTime,
    ) -> Result<R, Error> {
        self.merchant
            .accept(answer.status, answer.headers.iter(), &answer.body, now)
    }

    fn head<'a>(&self, answer: &'a Answer<'_>) -> AnswerHead<'a> {
        let text = |name| answer.headers.get(name)?.to_str().ok();
        AnswerHead {
            host: answer.host,
            status: answer.status,
            received: (self.clock)(),
            date: text("Date"),
            serial: text("Wechatpay-Serial"),
            request_id: text("Request-ID"),
        }
    }

    /// Downloads the platform certificates when they are due. A failure matters only to those without a valid key.
    fn refresh_if_due(&self) -> Result<(), Error> {
        let Some(certificates) = &self.certificates else {
            return Ok(());
        };
        let now = (self.clock)();
        if let Some(permit) = certificates.before_use(now)? {
            let result = self.download(certificates, permit, &|_| ());
            if self.merchant.verifier().preferred(now).is_none() {
                result?;
            }
        }
        Ok(())
    }

    /// Tries to get the platform certificate with this serial number; whether it is held now.
    fn learn(&self, serial: &str) -> bool {
        let Some(certificates) = &self.certificates else {
            return false;
        };
        match certificates.for_serial(serial, (self.clock)()) {
            ForSerial::Held => true,
            ForSerial::Refresh(permit) => {
                self.download(certificates, permit, &|_| ()).is_ok()
                    && self.merchant.verifier().holds(serial)
            }
            ForSerial::Leave => false,
        }
    }

    /// Downloads the platform certificates and takes them over, or keeps the old ones.
    fn download(
        &self,
        certificates: &PlatformCertificates,
        permit: Refresh<'_>,
        watch: &Watch<'_>,
    ) -> Result<(), Arc<CertificateError>> {
        let result = self.call(&certificates::request(), |answer| {
            watch(&self.head(answer));
            self.take_over(certificates.api_v3_key(), answer)
                .map_err(|error| Arc::new(error).into())
        });
        permit.finish(result.map_err(|error| match error {
            Error::Certificates(error) => error,
            error => Arc::new(CertificateError::Download(Box::new(error))),
        }))
    }

    fn take_over(
        &self,
        api_v3_key: &ApiV3Key,
        answer: &Answer<'_>,
    ) -> Result<(), CertificateError> {
        let downloaded = certificates::accept(
            answer.status,
            answer.headers.iter(),
            &answer.body,
            (self.clock)(),
            api_v3_key,
            self.merchant.verifier(),
        )?;
        self.merchant
            .replace_certificates(downloaded)
            .map_err(CertificateError::OwnCertificate)
    }

    /// Sends a request and reads the answer, which is not verified yet.
    fn exchange<'c>(&self, request: &Request, route: &Route<'c>) -> Result<Answer<'c>, Error> {
        let nonce = random_nonce().map_err(Error::Sign)?;
        let signed = self.merchant.prepare(request, (self.clock)(), &nonce)?;
        let request = self.http_request(&signed, route)?;
        let failed = |failure| match failure {
            Failure::Connect(source) => Error::Connect {
                host: route.host.name.clone(),
                source,
            },
            Failure::Exchange(source) => Error::Transport {
                host: route.host.name.clone(),
                source,
            },
        };
        let response = route
            .agent
            .run(request)
            .map_err(|error| failed(error.into()))?;
        let (head, mut body) = response.into_parts();
        Ok(Answer {
            host: &route.host.name,
            status: head.status.as_u16(),
            body: transport::read_body(&mut body, MAX_BODY).map_err(failed)?,
            headers: head.headers,
        })
    }

    fn http_request<'s>(
        &self,
        signed: &'s SignedRequest<'_>,
        route: &Route<'_>,
    ) -> Result<http::Request<&'s [u8]>, Error> {
        // Longer than the transport's buffer it could not be sent, and the gateway would not take it.
        if signed.target().len() > MAX_TARGET {
            let problem = format!(
                "found {} bytes: wanted at most {MAX_TARGET}",
                signed.target().len()
            );
            return Err(InvalidField::new("path", problem).into());
        }
        let mut builder = http::Request::builder()
            .method(signed.method().as_str())
            .uri(format!("{}{}", route.host.url, signed.target()));
        for (name, value) in signed.headers() {
            let value = if name == "User-Agent" {
                route.user_agent
            } else {
                value
            };
            builder = builder.header(name, value);
        }
        if let Some(language) = &self.accept_language {
            builder = builder.header("Accept-Language", language.as_str());
        }
        builder
            .body(signed.body().unwrap_or_default())
            .map_err(|error| InvalidField::new("path", error.to_string()).into())
    }
}

/// How one attempt is made.
struct Route<'c> {
    agent: &'c Agent,
    host: &'c Host,
    user_agent: &'static str,
    attempt: u8,
}

/// What came back, not verified.
struct Answer<'c> {
    host: &'c str,
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer<'_> {
    fn request_id(&self) -> Option<&str> {
        let (headers, _) = SignatureHeaders::read(self.headers.iter());
        headers.request_id()
    }
}

/// Looks at an answer before it is verified.
pub(crate) type Watch<'w> = dyn Fn(&AnswerHead<'_>) + 'w;

/// What the self-test wants to know of an answer; not verified.
pub(crate) struct AnswerHead<'a> {
    pub(crate) host: &'a str,
    pub(crate) status: u16,
    /// By the client's clock.
    pub(crate) received: SystemTime,
    pub(crate) date: Option<&'a str>,
    pub(crate) serial: Option<&'a str>,
    pub(crate) request_id: Option<&'a str>,
}

/// A host that requests go to.
#[derive(Clone)]
struct Host {
    /// Scheme and authority, to which the target is appended.
    url: String,
    /// The authority, for messages.
    name: String,
}

impl Host {
    fn parse(field: &'static str, url: &str) -> Result<Self, InvalidField> {
        let refuse = |problem: &str| {
            InvalidField::new(
                field,
                format!("{problem}: wanted https://name or https://name:port"),
            )
        };
        let uri: Uri = url.parse().map_err(|_| refuse("not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(refuse("found no scheme or no name"));
        };
        let has_more = uri.path() != "/" || uri.query().is_some() || url.contains(['#', '@']);
        if has_more {
            return Err(refuse("found a path, a query, a fragment or a user"));
        }
        if !has_usable_port(authority) {
            return Err(refuse("found a port that is none"));
        }
        match scheme {
            "https" => {}
            "http" if is_loopback(authority.host()) => {}
            "http" => {
                return Err(refuse(
                    "found plain http, which is accepted for loopback only",
                ));
            }
            _ => return Err(refuse("found an unknown scheme")),
        }
        Ok(Self {
            url: format!("{scheme}://{authority}"),
            name: authority.to_string(),
        })
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// One exchange with WeChat Pay, as told to [`ClientBuilder::on_exchange`]: never a body, a path's values or a secret.
///
/// Only [`error`](Self::error) may quote what WeChat Pay's answer, or a check, says about a single value.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exchange<'a> {
    /// The HTTP method.
    pub method: Method,
    /// The path's template, without values.
    pub template: &'a str,
    /// The host and, if it was given, the port.
    pub host: &'a str,
    /// 1, or 2 for the second attempt of a call.
    pub attempt: u8,
    /// The HTTP status, if there was a complete answer; to be believed only as far as [`error`](Self::error) says.
    pub status: Option<u16>,
    /// `Request-ID` of the answer, which WeChat Pay's support asks for, if it had one; on success too.
    pub request_id: Option<&'a str>,
    /// From before signing to after verifying.
    pub elapsed: Duration,
    /// The error in which the exchange ended, if it did. When a second attempt follows it is not the call's.
    pub error: Option<&'a Error>,
}

impl Exchange<'_> {
    /// Whether a failed exchange may have taken effect; `None` for a success.
    pub fn outcome(&self) -> Option<Outcome> {
        self.error.map(Error::outcome)
    }
}

/// Settings of a [`Client`].
pub struct ClientBuilder {
    signer: Signer,
    verifier: Verifier,
    api_v3_key: Option<Arc<ApiV3Key>>,
    host: String,
    backup_host: Option<String>,
    accept_language: Option<String>,
    connect_timeout: Option<Duration>,
    timeout: Duration,
    proxy: Option<String>,
    root_certificates: Option<Vec<u8>>,
    resolver: Option<Lookup>,
    clock: Arc<Clock>,
    observer: Option<Arc<Observer>>,
}

impl ClientBuilder {
    /// Downloads the platform certificates 平台证书 with the merchant's APIv3 key and keeps them fresh, beside the keys
    /// that the verifier holds already: for a merchant without a WeChat Pay public key, or for the time of moving from
    /// certificates to the public key, when messages come signed with either. Not needed with the public key alone.
    ///
    /// Nothing is downloaded before the first call. From then on a call downloads them first when they are older than
    /// 10 hours or none of the keys is valid, and after an answer that is signed with an unknown certificate, which is
    /// then verified again; at most once a minute, and while one thread does it the others go on with the keys they
    /// have. Such a call takes the time of two. A list of which a part is wrong is not taken over. A failed download leaves the keys as they are; only
    /// without any valid key it fails the call, with [`Error::Certificates`]. Public keys of the verifier stay,
    /// certificates are replaced.
    ///
    /// Requests ask for answers signed with the public key if there is one, else with the certificate that is valid
    /// and ends last.
    ///
    /// `api_v3_key` is an [`ApiV3Key`], or an `Arc` of one that is needed elsewhere too, as by a
    /// [`NotificationReceiver`](crate::NotificationReceiver).
    #[must_use]
    pub fn platform_certificates(mut self, api_v3_key: impl Into<Arc<ApiV3Key>>) -> Self {
        self.api_v3_key = Some(api_v3_key.into());
        self
    }

    /// The host to send to, instead of `https://api.mch.weixin.qq.com`: scheme, name and optionally a port. Plain
    /// `http` is refused except for loopback. Unless [`backup_host`](Self::backup_host) is set afterwards, there is
    /// no backup host then.
    #[must_use]
    pub fn host(mut self, url: impl Into<String>) -> Self {
        self.host = url.into();
        self.backup_host = None;
        self
    }

    /// The host that is tried once when no connection can be made, instead of `https://api2.mch.weixin.qq.com`; `None`
    /// for none.
    #[must_use]
    pub fn backup_host(mut self, url: Option<&str>) -> Self {
        self.backup_host = url.map(str::to_owned);
        self
    }

    /// The language of error messages, `Accept-Language`: `en`, `zh-CN`, `zh-HK` or `zh-TW`.
    #[must_use]
    pub fn accept_language(mut self, language: impl Into<String>) -> Self {
        self.accept_language = Some(language.into());
        self
    }

    /// How long making a connection may take, TLS included; by default 5 seconds, but no more than half of the whole.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// How long a whole call may take, from the start of connecting to the last byte of the answer; 15 seconds by
    /// default. The look-up of a name by the operating system cannot be cut short.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// An HTTP proxy, `http://[user:password@]host:port`. None by default; the environment is not asked.
    #[must_use]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// The certificate authorities to trust, as PEM, instead of the public ones: for a gateway of one's own.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates = Some(pem.into());
        self
    }

    /// Finds the addresses of a host and port, instead of the operating system: for pinned addresses, a resolver of
    /// one's own, or tests.
    ///
    /// It is asked when a connection has to be made, at most once in 60 seconds per host while that leads to
    /// connections; a literal address is never asked for. It counts as a part of connecting, but cannot be cut short.
    /// The certificate is still checked against the name. With a [`proxy`](Self::proxy) it is asked for the proxy's
    /// name.
    ///
    /// ```
    /// # use wechatpay_contract::ClientBuilder;
    /// # fn pinned(builder: ClientBuilder) -> ClientBuilder {
    /// builder.resolver(|_host, port| Ok(vec![([203, 0, 113, 7], port).into()]))
    /// # }
    /// ```
    #[must_use]
    pub fn resolver(
        mut self,
        resolver: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// The clock for signing and verifying, instead of the system's: for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Is called after each exchange, for logs and metrics; a call that is tried twice is two exchanges, and a download
    /// of platform certificates is one by itself. It must not use this client.
    ///
    /// It runs on the thread of the call, which waits for it. A panic in it is not caught: it leaves through the call,
    /// whose answer is lost then, and a second attempt is not made; the client can be used afterwards.
    ///
    /// ```
    /// # use wechatpay_contract::ClientBuilder;
    /// # fn with_log(builder: ClientBuilder) -> ClientBuilder {
    /// builder.on_exchange(|exchange| {
    ///     eprintln!(
    ///         "{} {} at {}: HTTP {:?} in {:?}, {:?}",
    ///         exchange.method, exchange.template, exchange.host, exchange.status, exchange.elapsed, exchange.outcome(),
    ///     );
    /// })
    /// # }
    /// ```
    ///
    /// With `log` or `tracing`, which this crate does not depend on:
    ///
    /// ```
    /// # use wechatpay_contract::ClientBuilder;
    /// # fn with_log(builder: ClientBuilder) -> ClientBuilder {
    /// builder.on_exchange(|exchange| match exchange.error {
    ///     None => log::info!("{} {} {:?}", exchange.method, exchange.template, exchange.request_id),
    ///     Some(error) => log::warn!("{} {} {:?}: {error}", exchange.method, exchange.template, exchange.request_id),
    /// })
    /// # }
    /// ```
    ///
    /// ```
    /// # use wechatpay_contract::ClientBuilder;
    /// # fn with_tracing(builder: ClientBuilder) -> ClientBuilder {
    /// builder.on_exchange(|exchange| {
    ///     tracing::info!(
    ///         method = %exchange.method,
    ///         path = exchange.template,
    ///         host = exchange.host,
    ///         attempt = exchange.attempt,
    ///         status = exchange.status,
    ///         request_id = exchange.request_id,
    ///         elapsed = ?exchange.elapsed,
    ///         outcome = ?exchange.outcome(),
    ///         error = exchange.error.map(tracing::field::display),
    ///     );
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn on_exchange(mut self, observer: impl Fn(&Exchange<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Makes the client; no I/O is done.
    ///
    /// Fails with [`Error::InvalidField`] when a setting cannot be used.
    pub fn build(self) -> Result<Client, Error> {
        let limits = Limits::new(self.connect_timeout, self.timeout)?;
        check_accept_language(self.accept_language.as_deref())?;
        let host = Host::parse("host", &self.host)?;
        let backup = self
            .backup_host
            .as_deref()
            .map(|url| Host::parse("backup_host", url))
            .transpose()?;
        check_proxy(self.proxy.as_deref(), [Some(&host), backup.as_ref()])?;
        let options = TransportOptions {
            connect_timeout: limits.connect,
            total_timeout: self.timeout,
            proxy: self.proxy.as_deref().map(Proxy::parse).transpose()?,
            roots: self
                .root_certificates
                .as_deref()
                .map(Roots::from_pem)
                .transpose()?
                .unwrap_or_default(),
            lookup: self.resolver.unwrap_or_else(transport::system_lookup),
            ..TransportOptions::default()
        };
        let second_options = TransportOptions {
            total_timeout: limits.second_attempt,
            ..options.clone()
        };
        let verifier = self.verifier.clone();
        Ok(Client {
            inner: Arc::new(Inner {
                merchant: Merchant::new(self.signer, self.verifier)?,
                certificates: self
                    .api_v3_key
                    .map(|key| Arc::new(PlatformCertificates::new(key, verifier))),
                host,
                backup,
                agent: transport::agent(&options),
                second_agent: transport::agent(&second_options),
                second_attempt_until: limits.second_attempt_until,
                accept_language: self.accept_language,
                clock: self.clock,
                observer: self.observer,
            }),
        })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("signer", &self.signer)
            .field("verifier", &self.verifier)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// How the time of a call is shared out, so that both attempts together stay within the whole.
struct Limits {
    connect: Duration,
    /// How old a call may be when its second attempt begins: a first that used up its time for connecting ends a little
    /// late.
    second_attempt_until: Duration,
    second_attempt: Duration,
}

impl Limits {
    fn new(connect: Option<Duration>, whole: Duration) -> Result<Self, InvalidField> {
        let connect = connect.unwrap_or_else(|| CONNECT_TIMEOUT.min(whole / 2));
        for (field, time) in [("timeout", whole), ("connect_timeout", connect)] {
            if time.is_zero() {
                return Err(InvalidField::new(field, "found 0: wanted some time"));
            }
        }
        let rest = whole.saturating_sub(connect);
        if rest.is_zero() {
            return Err(InvalidField::new(
                "timeout",
                format!(
                    "found {whole:?}: wanted more than the {connect:?} for connecting, which are a part of it"
                ),
            ));
        }
        let late = rest / 10;
        Ok(Self {
            connect,
            second_attempt_until: connect + late,
            second_attempt: rest - late,
        })
    }
}

/// Through a proxy, plain http would leave the machine.
fn check_proxy(proxy: Option<&str>, hosts: [Option<&Host>; 2]) -> Result<(), InvalidField> {
    let is_plain = |host: &Host| host.url.starts_with("http://");
    if proxy.is_none() || !hosts.into_iter().flatten().any(is_plain) {
        return Ok(());
    }
    Err(InvalidField::new(
        "proxy",
        "found together with a host of plain http, which is for loopback: wanted https hosts",
    ))
}

fn check_accept_language(language: Option<&str>) -> Result<(), InvalidField> {
    match language {
        None | Some("en" | "zh-CN" | "zh-HK" | "zh-TW") => Ok(()),
        Some(found) => Err(InvalidField::new(
            "Accept-Language",
            format!("found {found:?}: wanted en, zh-CN, zh-HK or zh-TW"),
        )),
    }
}

/// A port that is too large would otherwise be taken for none, and the scheme's used.
fn has_usable_port(authority: &Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => true,
        Some(_) => authority.port_u16().is_some_and(|port| port > 0),
        None => false,
    }
}

fn is_loopback(host: &str) -> bool {
    let v6 = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: Ipv4Addr| address.is_loopback())
        || v6
            .parse()
            .is_ok_and(|address: Ipv6Addr| address.is_loopback())
}

/// Whether an attempt ended before anything was sent. Not so when certificates came that cannot be used.
fn was_not_sent(error: &Error) -> bool {
    error.outcome() == Outcome::NotSent && !matches!(error, Error::Certificates(_))
}

/// Whether the connection broke, as opposed to a time-out or an answer that cannot be read.
fn is_broken(source: &Cause) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    source.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        )
    })
}
