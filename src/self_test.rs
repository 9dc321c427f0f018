//! A live check of the merchant's credentials that moves no money, with a remedy for each failure.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::client::{Client, Exchange};
use crate::error::{ApiError, Authenticity, CertificateError, Error, Shown, VerifyError};
use crate::keys::random_nonce;
use crate::request::Request;
use crate::time::unix_seconds;

/// WeChat Pay and this crate refuse a message whose time differs from the clock by this much, in seconds.
const CLOCK_LIMIT: u64 = 300;
/// A difference that is not a failure yet, in seconds.
const CLOCK_DOUBTFUL: u64 = 60;
/// How many digits the serial numbers of merchants' API certificates have in practice.
const SERIAL_DIGITS: usize = 40;

/// The result of [`Client::self_test`], written for the person who sets the credentials up.
///
/// `{}` writes one line for each check, and below it the remedy where one is needed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// The merchant id 商户号.
    pub mchid: String,
    /// The serial number of the merchant's API certificate.
    pub serial_no: String,
    /// The checks in the order in which they were made.
    pub findings: Vec<Finding>,
    /// The seconds by which the server's clock is ahead of the client's, from the header `Date` of the response. Negative
    /// if it is behind, absent without that header.
    pub clock_difference: Option<i64>,
    /// The id of the platform key with which the response was verified.
    pub verified_by: Option<String>,
    /// `Request-ID` of the response, which WeChat Pay's support asks for.
    pub request_id: Option<String>,
    /// The error of the call, if it failed.
    pub error: Option<Error>,
}

/// One check and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The verdict.
    pub verdict: Verdict,
    /// The finding, in words.
    pub found: String,
    /// The likely cause and the remedy, if there is something to do.
    pub remedy: Option<String>,
}

/// The checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// The merchant's private key can sign.
    PrivateKey,
    /// The merchant's serial number looks like one.
    SerialNumber,
    /// The platform certificates can be downloaded; only for a client that downloads them.
    PlatformCertificates,
    /// There is a platform key that is valid now.
    PlatformKeys,
    /// The server can be reached and responds.
    Connection,
    /// The client's clock agrees with the server's.
    Clock,
    /// WeChat Pay accepts the signature of requests.
    RequestSignature,
    /// The signature of responses can be verified.
    ResponseSignature,
    /// The response belongs to the request.
    Echo,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrivateKey => "private key",
            Self::SerialNumber => "serial number",
            Self::PlatformCertificates => "platform certificates",
            Self::PlatformKeys => "platform keys",
            Self::Connection => "connection",
            Self::Clock => "clock",
            Self::RequestSignature => "request signature",
            Self::ResponseSignature => "response signature",
            Self::Echo => "echo",
        })
    }
}

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// All is well.
    Passed,
    /// It works, but something is unusual.
    Doubtful,
    /// It does not work.
    Failed,
    /// An earlier failure leaves it open.
    Unknown,
}

impl Report {
    /// Returns whether every check passed, or is doubtful at most.
    pub fn is_success(&self) -> bool {
        let is_well = |one: &Finding| matches!(one.verdict, Verdict::Passed | Verdict::Doubtful);
        self.findings.iter().all(is_well)
    }

    /// Returns the finding of one check, or `None` if it was not made.
    pub fn finding(&self, check: Check) -> Option<&Finding> {
        self.findings.iter().find(|one| one.check == check)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "self-test of merchant {}", self.mchid)?;
        for finding in &self.findings {
            let verdict = match finding.verdict {
                Verdict::Passed => "ok",
                Verdict::Doubtful => "doubtful",
                Verdict::Failed => "FAILED",
                Verdict::Unknown => "unknown",
            };
            write!(f, "\n{verdict:<9} {}: {}", finding.check, finding.found)?;
            if let Some(remedy) = &finding.remedy {
                write!(f, "\n          -> {remedy}")?;
            }
        }
        match &self.request_id {
            Some(id) => write!(f, "\nRequest-ID {id}"),
            None => Ok(()),
        }
    }
}

impl Client {
    /// Checks the merchant's credentials with real calls that move no money and leave nothing behind.
    ///
    /// Signs a text with the private key, downloads the platform certificates if the client does so, and sends
    /// `POST /v3/security/echo`. The report has a verdict for each step, and for a failure the likely cause and the
    /// remedy. Blocks for the time of two calls, or of three if another thread downloads. A service may do this when it
    /// starts. A probe signature of WeChat Pay makes it fail now and then, and the report says so.
    ///
    /// ```
    /// # fn test(client: &wechatpay_contract::Client) {
    /// let report = client.self_test();
    /// println!("{report}");
    /// assert!(report.is_success());
    /// # }
    /// ```
    ///
    /// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4014551946>,
    /// <https://pay.weixin.qq.com/doc/v3/partner/4015139289>.
    pub fn self_test(&self) -> Report {
        SelfTest::new(self).run()
    }
}

#[derive(Serialize)]
struct Echo<'a> {
    echo_message: &'a str,
}

#[derive(Deserialize)]
struct Echoed {
    echo_message: String,
}

/// A self-test under way.
struct SelfTest {
    client: Client,
    report: Report,
    last: Arc<Mutex<Seen>>,
}

/// The last response that was observed, verified or not.
#[derive(Default)]
struct Seen {
    has_response: bool,
    host: String,
    status: u16,
    serial: Option<String>,
    request_id: Option<String>,
    clock_difference: Option<i64>,
}

impl SelfTest {
    fn new(client: &Client) -> Self {
        let signer = client.merchant().signer();
        let last = Arc::default();
        Self {
            client: client.observed_by(observer(client.clone(), Arc::clone(&last))),
            report: Report {
                mchid: signer.mchid().to_owned(),
                serial_no: signer.serial_no().to_owned(),
                findings: Vec::new(),
                clock_difference: None,
                verified_by: None,
                request_id: None,
                error: None,
            },
            last,
        }
    }

    fn run(mut self) -> Report {
        self.check_private_key();
        self.check_serial_number();
        let downloaded = self.check_certificates();
        self.check_platform_keys();
        let result = match downloaded {
            // Nothing could be verified.
            Err(error) if !self.has_platform_key() => Err(error),
            _ => self.echo(),
        };
        let seen = self.take_seen();
        self.report.request_id.clone_from(&seen.request_id);
        self.report.clock_difference = seen.clock_difference;
        let error = result.as_ref().err();
        let cause = error.map(innermost);
        self.check_connection(&seen, cause);
        self.check_clock(&seen);
        self.check_request_signature(&seen, cause);
        self.check_response_signature(&seen, cause);
        self.check_echo(result.as_ref());
        self.report.error = result.err();
        self.report
    }

    fn check_private_key(&mut self) {
        let signed = self.client.merchant().signer().sign(b"self-test");
        match signed {
            Ok(_) => self.passed(Check::PrivateKey, "it can be read and it signs"),
            Err(error) => self.failed(
                Check::PrivateKey,
                with_causes(&error),
                "mend the function that signs, or take the key file apiclient_key.pem anew from the tool that made it",
            ),
        }
    }

    fn check_serial_number(&mut self) {
        let serial_no = self.report.serial_no.clone();
        match serial_no.len() {
            SERIAL_DIGITS => self.passed(Check::SerialNumber, serial_no),
            count => self.add(
                Check::SerialNumber,
                Verdict::Doubtful,
                format!("{serial_no} has {count} digits, those of merchants' API certificates usually have 40"),
                Some("compare it with the merchant platform: 账户中心 › API安全 › 商户API证书".to_owned()),
            ),
        }
    }

    fn check_certificates(&mut self) -> Result<(), Error> {
        if !self.client.downloads_certificates() {
            return Ok(());
        }
        let result = self.client.refresh_certificates();
        match &result {
            Ok(()) => {
                let ids = self.key_ids(|is_certificate| is_certificate);
                self.passed(Check::PlatformCertificates, format!("downloaded {ids}"));
            }
            Err(error) => {
                let (found, remedy) = (with_causes(error), certificate_remedy(error));
                let verdict = match self.has_platform_key() {
                    true => Verdict::Doubtful,
                    false => Verdict::Failed,
                };
                self.add(Check::PlatformCertificates, verdict, found, Some(remedy));
            }
        }
        result
    }

    fn check_platform_keys(&mut self) {
        if self.has_platform_key() {
            let ids = self.key_ids(|_| true);
            return self.passed(Check::PlatformKeys, ids);
        }
        let ids = self.client.merchant().verifier().key_ids().join(", ");
        let found = match ids.as_str() {
            "" => "there is none".to_owned(),
            ids => format!("none is valid now: {ids}"),
        };
        self.failed(
            Check::PlatformKeys,
            found,
            "configure the WeChat Pay public key, its id PUB_KEY_ID_… and pub_key.pem, from the merchant platform: \
             账户中心 › API安全 › 微信支付公钥; a merchant without one downloads the platform certificates with the APIv3 key",
        );
    }

    /// Returns whether the response repeats the text that was sent.
    fn echo(&mut self) -> Result<bool, Error> {
        self.take_seen();
        let text = random_nonce().map_err(Error::Sign)?;
        let request = Request::post("/v3/security/echo").json(&Echo {
            echo_message: &text,
        });
        let echoed: Echoed = self.client.execute(request)?;
        Ok(echoed.echo_message == text)
    }

    fn check_connection(&mut self, seen: &Seen, cause: Option<&Error>) {
        if seen.has_response {
            let found = format!("{} responds, HTTP {}", seen.host, seen.status);
            return self.passed(Check::Connection, found);
        }
        match cause {
            Some(error @ Error::Connect { .. }) => self.failed(
                Check::Connection,
                with_causes(error),
                "check that this machine finds the host's name and may connect to it (WeChat Pay's port is 443), directly \
                 or through the proxy that is configured; the proxy's environment variables are not read",
            ),
            Some(error @ Error::Transport { .. }) => self.failed(
                Check::Connection,
                with_causes(error),
                "check the proxy or firewall between this machine and the host, and whether the timeout is long enough",
            ),
            _ => self.unknown(Check::Connection, "nothing was sent"),
        }
    }

    fn check_clock(&mut self, seen: &Seen) {
        let Some(difference) = seen.clock_difference else {
            return self.unknown(Check::Clock, "no response with a time");
        };
        let found = match difference {
            0 => "agrees with the server's".to_owned(),
            1.. => format!("{difference} s behind the server's"),
            _ => format!("{} s ahead of the server's", difference.unsigned_abs()),
        };
        let remedy =
            "set this machine's clock, with NTP for example; from 300 s on messages are refused";
        match difference.unsigned_abs() {
            CLOCK_LIMIT.. => self.failed(Check::Clock, found, remedy),
            CLOCK_DOUBTFUL.. => {
                self.add(
                    Check::Clock,
                    Verdict::Doubtful,
                    found,
                    Some(remedy.to_owned()),
                );
            }
            _ => self.passed(Check::Clock, found),
        }
    }

    fn check_request_signature(&mut self, seen: &Seen, cause: Option<&Error>) {
        match cause {
            None => self.passed(Check::RequestSignature, "accepted"),
            Some(Error::Sign(_)) => self.unknown(Check::RequestSignature, "nothing was signed"),
            Some(Error::Api(error)) if error.status == 401 => {
                let remedy = self.sign_error_remedy(seen);
                self.failed(Check::RequestSignature, error.to_string(), remedy);
            }
            Some(Error::Api(error)) => self.check_refusal(error),
            Some(Error::Decode { .. } | Error::Accepted { .. }) => {
                self.passed(Check::RequestSignature, "accepted");
            }
            _ if seen.has_response => {
                let found = format!("probably accepted: the response is HTTP {}", seen.status);
                self.unknown(Check::RequestSignature, found);
            }
            _ => self.unknown(Check::RequestSignature, "no response"),
        }
    }

    fn sign_error_remedy(&self, seen: &Seen) -> String {
        let is_late = |difference: i64| difference.unsigned_abs() >= CLOCK_LIMIT;
        if seen.clock_difference.is_some_and(is_late) {
            return "first set this machine's clock, see above".to_owned();
        }
        format!(
            "check that apiclient_key.pem and serial number {} are of the same certificate (openssl x509 -in \
             apiclient_cert.pem -noout -serial), that the certificate is merchant {}'s own and neither expired nor \
             revoked (账户中心 › API安全 › 商户API证书), and the clock",
            self.report.serial_no, self.report.mchid
        )
    }

    /// An error other than 401: the signature was accepted if WeChat Pay itself wrote the error.
    fn check_refusal(&mut self, error: &ApiError) {
        match (error.authenticity, error.status) {
            (Authenticity::Signed, 403) => self.add(
                Check::RequestSignature,
                Verdict::Passed,
                error.to_string(),
                Some("the signature is right, the permission is missing: see the merchant platform".to_owned()),
            ),
            (Authenticity::Signed, _) => {
                self.passed(Check::RequestSignature, format!("accepted, but: {error}"));
            }
            (Authenticity::Unsigned, _) => self.add(
                Check::RequestSignature,
                Verdict::Unknown,
                format!("{error}, unsigned"),
                Some("try again later; if it stays, look for a proxy that responds in WeChat Pay's place".to_owned()),
            ),
        }
    }

    fn check_response_signature(&mut self, seen: &Seen, cause: Option<&Error>) {
        let key = seen.serial.as_deref().unwrap_or_default();
        match cause {
            Some(Error::Unverified { source, .. }) => {
                let remedy = verify_remedy(source);
                self.failed(Check::ResponseSignature, source.to_string(), remedy);
            }
            Some(Error::Certificates { .. }) => {
                self.unknown(
                    Check::ResponseSignature,
                    "no response that could be verified",
                );
            }
            Some(Error::Api(error)) if error.authenticity == Authenticity::Unsigned => {
                match &error.unknown_key {
                    Some(key) => self.failed(
                        Check::ResponseSignature,
                        error.to_string(),
                        unknown_key_remedy(key),
                    ),
                    None => self.unknown(Check::ResponseSignature, "the error is not signed"),
                }
            }
            Some(Error::Connect { .. } | Error::Transport { .. } | Error::Sign(_)) => {
                self.unknown(Check::ResponseSignature, "no response");
            }
            Some(Error::NoPlatformKey { .. }) => {
                self.unknown(Check::ResponseSignature, "no key to verify with");
            }
            _ if seen.has_response => {
                self.report.verified_by.clone_from(&seen.serial);
                self.passed(Check::ResponseSignature, format!("verified with {key}"));
            }
            _ => self.unknown(Check::ResponseSignature, "no response"),
        }
    }

    fn check_echo(&mut self, result: Result<&bool, &Error>) {
        let remedy = "the credentials are right; ask WeChat Pay's support, with the Request-ID";
        match result {
            Ok(true) => self.passed(Check::Echo, "the text that was sent came back"),
            Ok(false) => self.failed(Check::Echo, "another text came back", remedy),
            Err(error @ (Error::Decode { .. } | Error::Accepted { .. })) => {
                self.failed(Check::Echo, with_causes(error), remedy);
            }
            Err(_) => self.unknown(Check::Echo, "no verified response"),
        }
    }

    fn take_seen(&self) -> Seen {
        std::mem::take(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has_platform_key(&self) -> bool {
        let verifier = self.client.merchant().verifier();
        verifier.keys().preferred(self.now()).is_some()
    }

    /// Returns the ids of the keys that are valid now and of the wanted kind.
    fn key_ids(&self, is_wanted: impl Fn(bool) -> bool) -> String {
        let now = unix_seconds(self.now());
        let keys = self.client.merchant().verifier().keys().current();
        let ids: Vec<_> = keys
            .iter()
            .filter(|key| key.is_valid_at(now) && is_wanted(key.is_certificate()))
            .map(|key| key.id())
            .collect();
        ids.join(", ")
    }

    fn now(&self) -> SystemTime {
        self.client.now()
    }

    fn passed(&mut self, check: Check, found: impl Into<String>) {
        self.add(check, Verdict::Passed, found.into(), None);
    }

    fn failed(&mut self, check: Check, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Verdict::Failed, found.into(), Some(remedy.into()));
    }

    fn unknown(&mut self, check: Check, found: impl Into<String>) {
        self.add(check, Verdict::Unknown, found.into(), None);
    }

    fn add(&mut self, check: Check, verdict: Verdict, found: String, remedy: Option<String>) {
        self.report.findings.push(Finding {
            check,
            verdict,
            found,
            remedy,
        });
    }
}

/// Keeps in `last` what a client's exchange with a response shows.
fn observer(client: Client, last: Arc<Mutex<Seen>>) -> impl Fn(&Exchange<'_>) {
    move |exchange| {
        let Some(status) = exchange.status else {
            return;
        };
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Seen {
            has_response: true,
            host: exchange.host.to_owned(),
            status,
            serial: exchange.serial.map(str::to_owned),
            request_id: exchange.request_id.map(str::to_owned),
            clock_difference: exchange.date.and_then(|date| {
                let [date, now] = [date, client.now()].map(|time| unix_seconds(time).try_into());
                let (date, now): (i64, i64) = (date.ok()?, now.ok()?);
                Some(date - now)
            }),
        };
    }
}

/// Returns the error of the exchange itself, if a download failed.
fn innermost(error: &Error) -> &Error {
    match error {
        Error::Download(error) => innermost(error),
        _ => error,
    }
}

fn certificate_remedy(error: &Error) -> String {
    let Error::Certificates { source, .. } = innermost(error) else {
        return "see the checks below".to_owned();
    };
    match &**source {
        CertificateError::NoCertificates { .. } => {
            "configure the WeChat Pay public key, and no longer the download of certificates"
        }
        CertificateError::Undecryptable { .. } => {
            "compare the APIv3 key with the one set in the merchant platform: 账户中心 › API安全 › APIv3密钥"
        }
        CertificateError::NoneValid { .. } => "check this machine's clock",
        CertificateError::StillRunning { .. } => {
            "find out what holds the other download up, such as the DNS lookup of the host's name, and test again"
        }
        _ => "nothing was taken over from the list; if it stays, ask WeChat Pay's support",
    }
    .to_owned()
}

fn unknown_key_remedy(id: &str) -> String {
    let is_public_key = id.starts_with("PUB_KEY_ID_");
    let id = Shown::id(id);
    match is_public_key {
        true => format!(
            "download the WeChat Pay public key with the id {id} from the merchant platform (账户中心 › API安全 › \
             微信支付公钥) and configure it beside the other keys"
        ),
        false => format!(
            "{id} is a platform certificate: configure the download of the platform certificates with the APIv3 key; \
             while WeChat Pay moves a merchant to the public key both kinds are needed"
        ),
    }
}

fn verify_remedy(error: &VerifyError) -> String {
    match error {
        VerifyError::UnknownSerial { received, .. } => unknown_key_remedy(received),
        VerifyError::Stale { .. } => "set this machine's clock, with NTP for example".to_owned(),
        VerifyError::OutsideValidity { .. } => {
            "check this machine's clock; if it is right, give the verifier the certificate that took this one's place"
                .to_owned()
        }
        VerifyError::Probe => {
            "nothing is wrong: WeChat Pay sends such a signature now and then to see that it is refused; test again"
                .to_owned()
        }
        VerifyError::MissingHeader { .. } => {
            "look for a proxy that responds in WeChat Pay's place or removes headers; do not believe the response".to_owned()
        }
        _ => "check that the platform key under this id is the one of the merchant platform, and look for a proxy that \
              alters responses; do not believe the response"
            .to_owned(),
    }
}

/// Returns the message of an error and those of its causes.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
