//! A live check of the merchant's credentials that moves no money and names a remedy for each failure.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::client::{Client, Exchange};
use crate::error::{ApiError, Authenticity, CertificateError, Error, Shown, VerifyError};
use crate::keys::random_nonce;
use crate::request::Request;
use crate::time::unix_seconds;

/// WeChat Pay and this crate refuse a message whose time differs from the clock by this much, in seconds.
const CLOCK_LIMIT: u64 = 300;
/// The difference from which the clock is reported as doubtful, in seconds.
const CLOCK_DOUBTFUL: u64 = 60;
/// The number of digits that serial numbers of merchants' API certificates have in practice.
const SERIAL_DIGITS: usize = 40;

/// The result of [`Client::self_test`], for the person who sets up the credentials.
///
/// `{}` writes one line for each check, and the remedy below it if there is one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// The merchant id 商户号.
    pub mchid: String,
    /// The serial number of the merchant's API certificate.
    pub serial_no: String,
    /// The findings, in the order of the checks.
    pub findings: Vec<Finding>,
    /// The seconds by which the server's clock is ahead of the client's, from the header `Date` of the response. Negative
    /// if it is behind, `None` without that header.
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
    /// The likely cause and the remedy, if any.
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
    /// The platform certificates can be downloaded. Checked only for a client that downloads them.
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
    /// No problem was found.
    Passed,
    /// It works, but something is unusual.
    Doubtful,
    /// It does not work.
    Failed,
    /// An earlier failure made the check impossible.
    Unknown,
}

impl Report {
    /// Returns `true` if every check passed or is doubtful.
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
    /// `POST /v3/security/echo`. The report has a verdict for each step, and the likely cause and the remedy for a
    /// failure. Blocks for the time of two calls, or of three if another thread downloads. A service may call it when it
    /// starts. Occasionally it fails because WeChat Pay sends a probe signature, and the report says so.
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

/// A self-test in progress.
struct SelfTest {
    client: Client,
    report: Report,
    last: Arc<Mutex<Option<Seen>>>,
}

/// The last response that was observed, verified or not.
struct Seen {
    host: String,
    status: u16,
    serial: Option<String>,
    request_id: Option<String>,
    clock_difference: Option<i64>,
}

/// The result of a check: verdict, finding and remedy.
type Judgement = (Verdict, String, Option<String>);

fn passed(found: impl Into<String>) -> Judgement {
    (Verdict::Passed, found.into(), None)
}

fn unknown(found: impl Into<String>) -> Judgement {
    (Verdict::Unknown, found.into(), None)
}

fn failed(found: impl Into<String>, remedy: impl Into<String>) -> Judgement {
    (Verdict::Failed, found.into(), Some(remedy.into()))
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
        self.add(Check::PrivateKey, self.private_key());
        self.add(Check::SerialNumber, serial_number(&self.report.serial_no));
        let downloaded = match self.client.downloads_certificates() {
            true => self.client.refresh_certificates(),
            false => Ok(()),
        };
        if self.client.downloads_certificates() {
            self.add(Check::PlatformCertificates, self.certificates(&downloaded));
        }
        self.add(Check::PlatformKeys, self.platform_keys());
        let result = match downloaded {
            // Without a platform key no response could be verified.
            Err(error) if !self.has_platform_key() => Err(error),
            _ => self.echo(),
        };
        let seen = self.take_seen();
        let seen = seen.as_ref();
        let cause = result.as_ref().err().map(innermost);
        self.add(Check::Connection, connection(seen, cause));
        self.report.clock_difference = seen.and_then(|seen| seen.clock_difference);
        self.add(Check::Clock, clock(self.report.clock_difference));
        self.add(Check::RequestSignature, self.request_signature(seen, cause));
        let signature = response_signature(seen, cause);
        if let (Some(seen), Verdict::Passed) = (seen, signature.0) {
            self.report.verified_by.clone_from(&seen.serial);
        }
        self.add(Check::ResponseSignature, signature);
        self.add(Check::Echo, echoed(result.as_ref()));
        self.report.request_id = seen.and_then(|seen| seen.request_id.clone());
        self.report.error = result.err();
        self.report
    }

    fn add(&mut self, check: Check, (verdict, found, remedy): Judgement) {
        self.report.findings.push(Finding {
            check,
            verdict,
            found,
            remedy,
        });
    }

    fn private_key(&self) -> Judgement {
        match self.client.merchant().signer().sign(b"self-test") {
            Ok(_) => passed("it can be read and it signs"),
            Err(error) => failed(
                with_causes(&error),
                "mend the function that signs, or copy the key file apiclient_key.pem again from the tool that made it",
            ),
        }
    }

    fn certificates(&self, downloaded: &Result<(), Error>) -> Judgement {
        let Err(error) = downloaded else {
            let ids = self.key_ids(|is_certificate| is_certificate);
            return passed(format!("downloaded {ids}"));
        };
        let verdict = match self.has_platform_key() {
            true => Verdict::Doubtful,
            false => Verdict::Failed,
        };
        let remedy = certificate_remedy(error).to_owned();
        (verdict, with_causes(error), Some(remedy))
    }

    fn platform_keys(&self) -> Judgement {
        if self.has_platform_key() {
            return passed(self.key_ids(|_| true));
        }
        let ids = self.client.merchant().verifier().key_ids().join(", ");
        let found = match ids.as_str() {
            "" => "there is none".to_owned(),
            ids => format!("none is valid now: {ids}"),
        };
        failed(
            found,
            "configure the WeChat Pay public key, its id PUB_KEY_ID_… and pub_key.pem, from the merchant platform: \
             账户中心 › API安全 › 微信支付公钥, or, for a merchant without one, the download of the platform certificates with the APIv3 key",
        )
    }

    /// Returns `true` if the response repeats the text that was sent.
    fn echo(&self) -> Result<bool, Error> {
        self.take_seen();
        let text = random_nonce().map_err(Error::Sign)?;
        let request = Request::post("/v3/security/echo").json(&Echo {
            echo_message: &text,
        });
        let echoed: Echoed = self.client.execute(request)?;
        Ok(echoed.echo_message == text)
    }

    fn request_signature(&self, seen: Option<&Seen>, cause: Option<&Error>) -> Judgement {
        match (cause, seen) {
            (None | Some(Error::Decode { .. } | Error::Accepted { .. }), _) => passed("accepted"),
            (Some(Error::Sign(_)), _) => unknown("nothing was signed"),
            (Some(Error::Api(error)), _) if error.status == 401 => {
                failed(error.to_string(), self.sign_error_remedy())
            }
            (Some(Error::Api(error)), _) => refusal(error),
            (_, Some(seen)) => unknown(format!(
                "probably accepted: the response is HTTP {}",
                seen.status
            )),
            (_, None) => unknown("no response"),
        }
    }

    fn sign_error_remedy(&self) -> String {
        let difference = self.report.clock_difference.unwrap_or_default();
        if difference.unsigned_abs() >= CLOCK_LIMIT {
            return "first set this machine's clock, see above".to_owned();
        }
        format!(
            "check that apiclient_key.pem and serial number {} are of the same certificate (openssl x509 -in \
             apiclient_cert.pem -noout -serial), that the certificate is merchant {}'s own and neither expired nor \
             revoked (账户中心 › API安全 › 商户API证书), and the clock",
            self.report.serial_no, self.report.mchid
        )
    }

    fn take_seen(&self) -> Option<Seen> {
        lock(&self.last).take()
    }

    fn has_platform_key(&self) -> bool {
        let keys = self.client.merchant().verifier().keys();
        keys.preferred(self.client.now()).is_some()
    }

    /// Returns the ids of the keys that are valid now and of the wanted kind.
    fn key_ids(&self, is_wanted: impl Fn(bool) -> bool) -> String {
        let now = unix_seconds(self.client.now());
        let keys = self.client.merchant().verifier().keys().current();
        let ids: Vec<_> = keys
            .iter()
            .filter(|key| key.is_valid_at(now) && is_wanted(key.is_certificate()))
            .map(|key| key.id())
            .collect();
        ids.join(", ")
    }
}

/// Returns an observer that keeps the last response in `last`.
fn observer(client: Client, last: Arc<Mutex<Option<Seen>>>) -> impl Fn(&Exchange<'_>) {
    move |exchange| {
        let Some(status) = exchange.status else {
            return;
        };
        *lock(&last) = Some(Seen {
            host: exchange.host.to_owned(),
            status,
            serial: exchange.serial.map(str::to_owned),
            request_id: exchange.request_id.map(str::to_owned),
            clock_difference: exchange.date.and_then(|date| {
                let [date, now] = [date, client.now()].map(|time| unix_seconds(time).try_into());
                let (date, now): (i64, i64) = (date.ok()?, now.ok()?);
                Some(date - now)
            }),
        });
    }
}

fn lock(last: &Mutex<Option<Seen>>) -> MutexGuard<'_, Option<Seen>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serial_number(serial_no: &str) -> Judgement {
    match serial_no.len() {
        SERIAL_DIGITS => passed(serial_no),
        count => (
            Verdict::Doubtful,
            format!(
                "{serial_no} has {count} digits, but serial numbers of merchants' API certificates usually have 40"
            ),
            Some(
                "compare it with the merchant platform: 账户中心 › API安全 › 商户API证书"
                    .to_owned(),
            ),
        ),
    }
}

fn connection(seen: Option<&Seen>, cause: Option<&Error>) -> Judgement {
    match (seen, cause) {
        (Some(seen), _) => passed(format!("{} responds, HTTP {}", seen.host, seen.status)),
        (None, Some(error @ Error::Connect { .. })) => failed(
            with_causes(error),
            "check that this machine can resolve the host's name and connect to it (WeChat Pay's port is 443), directly \
             or through the configured proxy (environment variables are not read)",
        ),
        (None, Some(error @ Error::Transport { .. })) => failed(
            with_causes(error),
            "check the proxy or firewall between this machine and the host, and whether the timeout is long enough",
        ),
        _ => unknown("nothing was sent"),
    }
}

fn clock(difference: Option<i64>) -> Judgement {
    let Some(difference) = difference else {
        return unknown("no response with a header Date");
    };
    let found = match difference {
        0 => "agrees with the server's".to_owned(),
        1.. => format!("{difference} s behind the server's"),
        _ => format!("{} s ahead of the server's", difference.unsigned_abs()),
    };
    let verdict = match difference.unsigned_abs() {
        CLOCK_LIMIT.. => Verdict::Failed,
        CLOCK_DOUBTFUL.. => Verdict::Doubtful,
        _ => return passed(found),
    };
    let remedy =
        "set this machine's clock, with NTP for example: a message that is 300 s off is refused";
    (verdict, found, Some(remedy.to_owned()))
}

/// Judges an error other than 401. The signature was accepted if the error itself is signed by WeChat Pay.
fn refusal(error: &ApiError) -> Judgement {
    match (error.authenticity, error.status) {
        (Authenticity::Signed, 403) => (
            Verdict::Passed,
            error.to_string(),
            Some("the signature is right, the permission is missing: see the merchant platform".to_owned()),
        ),
        (Authenticity::Signed, _) => passed(format!("accepted, but: {error}")),
        (Authenticity::Unsigned, _) => (
            Verdict::Unknown,
            format!("{error}, unsigned"),
            Some("try again later, and if the error persists, look for a proxy that responds in WeChat Pay's place".to_owned()),
        ),
    }
}

fn response_signature(seen: Option<&Seen>, cause: Option<&Error>) -> Judgement {
    match (cause, seen) {
        (Some(Error::Unverified { source, .. }), _) => {
            failed(source.to_string(), verify_remedy(source))
        }
        (Some(Error::Certificates { .. }), _) => unknown("no response that could be verified"),
        (Some(Error::Api(error)), _) if error.authenticity == Authenticity::Unsigned => {
            match &error.unknown_key {
                Some(key) => failed(error.to_string(), unknown_key_remedy(key)),
                None => unknown("the error is not signed"),
            }
        }
        (Some(Error::NoPlatformKey { .. }), _) => unknown("no key to verify with"),
        (Some(Error::Connect { .. } | Error::Transport { .. } | Error::Sign(_)), _) | (_, None) => {
            unknown("no response")
        }
        (_, Some(seen)) => {
            let key = seen.serial.as_deref().unwrap_or_default();
            passed(format!("verified with {key}"))
        }
    }
}

fn echoed(result: Result<&bool, &Error>) -> Judgement {
    let remedy = "the credentials are right: send the Request-ID to WeChat Pay's support";
    match result {
        Ok(true) => passed("the text that was sent came back"),
        Ok(false) => failed("another text came back", remedy),
        Err(error @ (Error::Decode { .. } | Error::Accepted { .. })) => {
            failed(with_causes(error), remedy)
        }
        Err(_) => unknown("no verified response"),
    }
}

/// Returns the error of the exchange inside the error of a download.
fn innermost(error: &Error) -> &Error {
    match error {
        Error::Download(error) => innermost(error),
        _ => error,
    }
}

fn certificate_remedy(error: &Error) -> &'static str {
    let Error::Certificates { source, .. } = innermost(error) else {
        return "see the checks below";
    };
    match &**source {
        CertificateError::NoCertificates { .. } => {
            "configure the WeChat Pay public key instead of the download of certificates"
        }
        CertificateError::Undecryptable { .. } => {
            "compare the APIv3 key with the one set in the merchant platform: 账户中心 › API安全 › APIv3密钥"
        }
        CertificateError::NoneValid { .. } => "check this machine's clock",
        CertificateError::StillRunning { .. } => {
            "find out what holds the other download up, such as the DNS lookup of the host's name, and test again"
        }
        _ => "no certificate of the list is used: if the error persists, ask WeChat Pay's support",
    }
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
            "{id} is a platform certificate: configure the download of the platform certificates with the APIv3 key \
             (both kinds are needed while WeChat Pay moves a merchant to the public key)"
        ),
    }
}

fn verify_remedy(error: &VerifyError) -> String {
    match error {
        VerifyError::UnknownSerial { received, .. } => unknown_key_remedy(received),
        VerifyError::Stale { .. } => "set this machine's clock, with NTP for example".to_owned(),
        VerifyError::OutsideValidity { .. } => {
            "check this machine's clock, and if it is right, give the verifier the certificate that replaced this one"
                .to_owned()
        }
        VerifyError::Probe => {
            "nothing is wrong: WeChat Pay occasionally sends such a signature to check that it is refused, so test again"
                .to_owned()
        }
        VerifyError::MissingHeader { .. } => {
            "look for a proxy that responds in WeChat Pay's place or removes headers, and do not trust the response".to_owned()
        }
        _ => "check that the platform key under this id is the one of the merchant platform, and look for a proxy that \
              alters responses, and do not trust the response"
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
