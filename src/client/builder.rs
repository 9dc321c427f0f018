//! The settings of a client, their defaults and limits.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Client;
use super::exchange::{Clock, Exchange, Http, Observer};
use super::host::{Host, Hosts};
use crate::error::{Error, InvalidSetting};
use crate::keys::ApiV3Key;
use crate::rules;
use crate::signer::Signer;
use crate::transport::{Proxy, Roots, Transport, TransportOptions};
use crate::verifier::Verifier;

const HOST: &str = "https://api.mch.weixin.qq.com";
const BACKUP_HOST: &str = "https://api2.mch.weixin.qq.com";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Client {
    /// Returns a client with the default settings, for a merchant that has a WeChat Pay public key 微信支付公钥.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if the merchant's own certificate is among the platform keys.
    pub fn new(signer: Signer, verifier: Verifier) -> Result<Self, Error> {
        Self::builder(signer, verifier).build()
    }

    /// Returns a client that downloads the platform certificates 平台证书 by itself, for a merchant that has no WeChat
    /// Pay public key. See [`ClientBuilder::platform_certificates`].
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

    /// Returns a builder with the default settings. Change them, then call [`build`](ClientBuilder::build).
    pub fn builder(signer: Signer, verifier: Verifier) -> ClientBuilder {
        ClientBuilder {
            signer,
            verifier,
            api_v3_key: None,
            host: Host::main(HOST),
            backup_host: Host::backup(BACKUP_HOST).map(Some),
            accept_language: Ok(None),
            connect_timeout: None,
            proxy: Ok(None),
            roots: Ok(Roots::default()),
            transport: TransportOptions::default(),
            clock: Arc::new(SystemTime::now),
            observer: None,
        }
    }
}

/// The settings of a [`Client`], made by [`Client::builder`].
pub struct ClientBuilder {
    signer: Signer,
    verifier: Verifier,
    api_v3_key: Option<Arc<ApiV3Key>>,
    host: Result<Host, InvalidSetting>,
    backup_host: Result<Option<Host>, InvalidSetting>,
    accept_language: Result<Option<&'static str>, InvalidSetting>,
    connect_timeout: Option<Duration>,
    proxy: Result<Option<Proxy>, InvalidSetting>,
    roots: Result<Roots, InvalidSetting>,
    /// The other settings of connections.
    transport: TransportOptions,
    clock: Arc<Clock>,
    observer: Option<Arc<Observer>>,
}

impl ClientBuilder {
    /// Lets the client download the platform certificates 平台证书 with the merchant's APIv3 key and keep them fresh.
    ///
    /// Use it for a merchant without a WeChat Pay public key, and during the migration from certificates to the public
    /// key, when WeChat Pay signs messages with either. A download replaces the verifier's certificates and keeps its
    /// public keys.
    ///
    /// A call first downloads the certificates if they are older than 10 hours or if no key is valid. Nothing is
    /// downloaded before the first call. A response signed with an unknown certificate also causes a download, and is
    /// then verified again. One thread downloads. The others wait for it only if no key is valid, or to verify a
    /// response that is signed with an unknown certificate. A download, a wait and the request have the
    /// [`timeout`](Self::timeout) each, so a call can take up to three times the timeout.
    ///
    /// While a valid key is held, downloads start at most once a minute. Without one, a download that was sent and
    /// failed is retried after 1 s, 2 s, 4 s … 60 s: at most 6 requests in the first minute and one in each further
    /// minute, for any number of threads. A download that could not be sent is retried by the next call, 10 times in a
    /// row, and then once a second.
    ///
    /// A failed download leaves the keys as they are. It fails the call, with [`Error::Download`], only if no key is
    /// valid. If any part of a downloaded list is wrong, no certificate of the list is used.
    ///
    /// Each request names the key that is to sign its response: the public key if there is one, otherwise the valid
    /// certificate that expires last.
    ///
    /// `api_v3_key` is an [`ApiV3Key`], or an `Arc` of one that is shared, for example with a
    /// [`NotificationReceiver`](crate::NotificationReceiver).
    #[must_use]
    pub fn platform_certificates(mut self, api_v3_key: impl Into<Arc<ApiV3Key>>) -> Self {
        self.api_v3_key = Some(api_v3_key.into());
        self
    }

    /// Sets the host to send to, instead of `https://api.mch.weixin.qq.com`, and removes the backup host. To have one,
    /// call [`backup_host`](Self::backup_host) afterwards.
    ///
    /// The URL has a scheme, a name, and optionally a port and the path of a relay. Plain `http` is refused except for
    /// loopback. The path, as in `https://relay.internal/wechatpay`, is put before the path of each request and is not
    /// signed. The relay must remove it, set the header `Host` to WeChat Pay's host, and forward everything else
    /// unchanged.
    #[must_use]
    pub fn host(mut self, url: impl Into<String>) -> Self {
        self.host = Host::main(&url.into());
        self.backup_host = Ok(None);
        self
    }

    /// Sets the backup host, instead of `https://api2.mch.weixin.qq.com`. `None` disables it.
    ///
    /// A call tries it once if no connection to the main host can be made. For the next 10 seconds calls start with the
    /// backup host and do not wait for the main host. Then one call probes the main host, and after a success all calls
    /// use the main host again. While both hosts are down, a call tries one of them. It also tries the other host, unless
    /// the last attempt there took half a second or longer and failed less than 10 seconds ago.
    #[must_use]
    pub fn backup_host(mut self, url: Option<&str>) -> Self {
        self.backup_host = url.map(Host::backup).transpose();
        self
    }

    /// Sets the language of error messages, `Accept-Language`: `en`, `zh-CN`, `zh-HK` or `zh-TW`.
    #[must_use]
    pub fn accept_language(mut self, language: impl Into<String>) -> Self {
        self.accept_language = read_language(&language.into()).map(Some);
        self
    }

    /// Sets the timeout for making one connection: DNS lookup, TCP, proxy and TLS together. The default is 5 seconds,
    /// or half of the [`timeout`](Self::timeout) if that is less.
    ///
    /// A DNS lookup by the operating system cannot be interrupted. If it takes longer, the attempt fails when the lookup
    /// returns.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Sets the timeout of a call, from the start of connecting to the last byte of the response, including a second
    /// attempt. The default is 15 seconds.
    ///
    /// The timeout does not interrupt a DNS lookup by the operating system, or a function of the application such as a
    /// signing function or an observer. A download of platform certificates has a timeout of its own, of the same
    /// length.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.transport.timeout = timeout;
        self
    }

    /// Sets an HTTP proxy, `http://[user:password@]host:port`, with user and password percent-encoded. By default
    /// there is no proxy. Environment variables are not read.
    #[must_use]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Proxy::parse(&url.into()).map(Some);
        self
    }

    /// Sets the certificate authorities to trust, as PEM, instead of the public ones, for example for an
    /// internal gateway.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Roots::from_pem(&pem.into());
        self
    }

    /// Sets the function that finds the addresses of a host and port, instead of the operating system, for example for
    /// pinned addresses, a custom resolver, or tests.
    ///
    /// It is called when a connection is made, at most once in 60 seconds for each host as long as connections to the
    /// returned addresses succeed. Threads that connect at the same moment may each call it. It is not called for a
    /// literal address. Its time counts towards the connect timeout, but it cannot be interrupted.
    ///
    /// The certificate is still checked against the name, and plain `http` still goes to loopback only. With a
    /// [`proxy`](Self::proxy) the function is called for the proxy's name.
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
        self.transport.lookup = Some(Arc::new(resolver));
        self
    }

    /// Sets whether each connection is kept for the next call, for at most 5 seconds. The default is `true`.
    ///
    /// `false` costs a TLS handshake for each call. It is for a gateway or proxy that closes each connection after its
    /// response. With `true`, a request sent while such a connection closes is lost, and its outcome is unknown.
    ///
    /// No thread closes an idle connection. It stays open until the next call of any client that shares it, or
    /// [`Client::close_idle_connections`]. A process that was forked never uses a connection of its parent.
    #[must_use]
    pub fn keep_connections(mut self, keep: bool) -> Self {
        let default = TransportOptions::default().max_idle;
        self.transport.max_idle = if keep { default } else { 0 };
        self
    }

    /// Sets the clock for signing and verifying, instead of the system clock, for tests. Timeouts do not use it.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the function that is called after each exchange, for logs and metrics. Each attempt of
    /// a call or of a download of platform certificates is one exchange. The function must not use this client.
    ///
    /// It runs on the thread of the call, which waits for it. A panic in it is not caught: it propagates through the
    /// call, the response is lost, and no second attempt is made. The client can be used afterwards.
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
    ///     Some(error) => log::warn!("{} {} {:?}: {error:#}", exchange.method, exchange.template, exchange.request_id),
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
    ///         error = exchange.error.map(|error| format!("{error:#}")),
    ///     );
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn on_exchange(mut self, observer: impl Fn(&Exchange<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Returns the client. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] if a setting cannot be used, [`Error::Key`] if the merchant's own certificate is among
    /// the platform keys.
    pub fn build(self) -> Result<Client, Error> {
        let timeout = self.transport.timeout;
        let (connect_timeout, retry_until) = limits(self.connect_timeout, timeout)?;
        let accept_language = self.accept_language?;
        let hosts = Hosts {
            main: self.host?,
            backup: self.backup_host?,
        };
        let proxy = self.proxy?;
        // Requests of plain http must not leave the machine.
        if proxy.is_some() && hosts.iter().any(|host| host.url.starts_with("http://")) {
            let problem = "found with a plain http host: wanted https hosts, since plain http must not leave this machine";
            return Err(InvalidSetting::new("proxy", problem).into());
        }
        let transport = Transport::new(TransportOptions {
            connect_timeout,
            second_timeout: timeout - retry_until,
            proxy,
            roots: self.roots?,
            ..self.transport
        });
        let http = Http {
            hosts: Arc::new(hosts),
            transport,
            timeout,
            retry_until,
            accept_language,
            clock: self.clock,
            observers: self.observer.into_iter().collect(),
        };
        Client::over(Arc::new(http), self.signer, self.verifier, self.api_v3_key)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("signer", &self.signer)
            .field("verifier", &self.verifier)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.transport.timeout)
            .finish_non_exhaustive()
    }
}

/// Returns the connect timeout, and the time after the start of a call until which a `GET` is retried if its connection
/// broke. The second attempt has the rest of the timeout, so that both attempts stay within it.
fn limits(
    connect: Option<Duration>,
    timeout: Duration,
) -> Result<(Duration, Duration), InvalidSetting> {
    let connect = connect.unwrap_or_else(|| CONNECT_TIMEOUT.min(timeout / 2));
    for (setting, time) in [("timeout", timeout), ("connect_timeout", connect)] {
        if time.is_zero() {
            return Err(InvalidSetting::new(
                setting,
                "found 0: wanted a longer time",
            ));
        }
    }
    let rest = timeout.saturating_sub(connect);
    if rest.is_zero() {
        let problem = format!(
            "found {timeout:?}: wanted more than the connect timeout, {connect:?}, which is a part of it"
        );
        return Err(InvalidSetting::new("timeout", problem));
    }
    // If the first attempt cannot connect, the second begins a little after the connect timeout. A tenth of the rest
    // allows for this delay.
    Ok((connect, connect + rest / 10))
}

fn read_language(text: &str) -> Result<&'static str, InvalidSetting> {
    let mut known = ["en", "zh-CN", "zh-HK", "zh-TW"].into_iter();
    known.find(|known| *known == text).ok_or_else(|| {
        let found = rules::describe(text, |c| c.is_ascii_alphabetic() || c == '-');
        let problem = format!("{found}: wanted en, zh-CN, zh-HK or zh-TW");
        InvalidSetting::new("accept_language", problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_default_connect_timeout_is_five_seconds_but_at_most_half_of_the_timeout() {
        for (set, whole, connect) in [
            (None, seconds(15), seconds(5)),
            (None, seconds(10), seconds(5)),
            (None, seconds(9), Duration::from_millis(4_500)),
            (None, seconds(600), seconds(5)),
            (Some(seconds(8)), seconds(9), seconds(8)),
            (Some(seconds(60)), seconds(61), seconds(60)),
        ] {
            let (found, _) = limits(set, whole).unwrap();
            assert_eq!(found, connect, "{set:?} of {whole:?}");
        }
    }

    #[test]
    fn the_limit_for_retries_lies_between_the_connect_timeout_and_the_timeout() {
        for (connect, whole) in [(5, 15), (5, 6), (1, 600)] {
            let (connect, retry_until) = limits(Some(seconds(connect)), seconds(whole)).unwrap();
            assert!(connect < retry_until && retry_until < seconds(whole));
        }
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let key =
            crate::keys::PrivateKey::from_pem(include_bytes!("../sandbox/keys/merchant_key.pem"));
        let signer = Signer::new(
            "1900000109",
            "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
            key.unwrap(),
        );
        let builder = Client::builder(signer.unwrap(), Verifier::without_keys());
        let options = builder.transport;
        let (connect, _) = limits(builder.connect_timeout, options.timeout).unwrap();
        assert_eq!(connect, seconds(5));
        assert_eq!(options.timeout, seconds(15));
        assert_eq!(options.idle, seconds(5));
        assert_eq!(options.max_idle, 64);
    }
}
