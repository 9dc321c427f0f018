//! A live check of the merchant's credentials that moves no money and names a remedy for each failure.

use std::fmt;
use std::sync::mpsc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::client::{Client, Exchange};
use crate::error::{ApiError, Authenticity, CertificateError, Error, Shown, VerifyError};
use crate::keys::{PublicKey, random_nonce};
use crate::request::Request;
use crate::signer::Signer;
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
    /// The serial number of the merchant's API certificate has the usual length.
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
    /// The check came to no result, for example because an earlier one failed.
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
    /// failure. Blocks for these two calls, and before them for the download of another thread if one is running. A
    /// service may call it when it starts. Occasionally it fails because WeChat Pay sends a
    /// [probe signature](crate::VerifyError::Probe), and the report says so.
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
        let signer = self.merchant().signer();
        let mut report = Report {
            mchid: signer.mchid().to_owned(),
            serial_no: signer.serial_no().to_owned(),
            findings: Vec::new(),
            clock_difference: None,
            verified_by: None,
            request_id: None,
            error: None,
        };
        report.add(Check::PrivateKey, private_key(signer));
        report.add(Check::SerialNumber, serial_number(&report.serial_no));

        let (observed, exchanges) = mpsc::channel();
        let clock = self.clone();
        let client = self.observed_by(move |exchange| {
            // Sending fails only after the end of the test.
            let _ = observed.send(Seen::new(exchange, clock.now()));
        });
        let downloads = self.downloads_certificates();
        let downloaded = downloads.then(|| client.refresh_certificates());
        if let Some(downloaded) = &downloaded {
            report.add(Check::PlatformCertificates, certificates(self, downloaded));
        }
        report.add(Check::PlatformKeys, platform_keys(self));
        let result = match downloaded {
            // Without a platform key no response could be verified.
            Some(Err(error)) if !self.has_platform_key() => Err(error),
            _ => echo(&client),
        };
        report.conclude(exchanges.try_iter().last().flatten(), result);
        report
    }
}

impl Report {
    fn add(&mut self, check: Check, (verdict, found, remedy): Judgement) {
        self.findings.push(Finding {
            check,
            verdict,
            found,
            remedy,
        });
    }

    /// Adds the findings about the last exchange, and its response if there was one.
    fn conclude(&mut self, seen: Option<Seen>, result: Result<bool, Error>) {
        let cause = result.as_ref().err().map(innermost);
        self.clock_difference = seen.as_ref().and_then(|seen| seen.clock_difference);
        self.add(Check::Connection, connection(seen.as_ref(), cause));
        self.add(Check::Clock, clock(self.clock_difference));
        let (request, response) = self.signatures(seen.as_ref(), cause);
        let is_verified = response.0 == Verdict::Passed;
        self.add(Check::RequestSignature, request);
        self.add(Check::ResponseSignature, response);
        self.add(Check::Echo, echoed(result.as_ref()));
        self.error = result.err();
        if let Some(seen) = seen {
            self.verified_by = seen.serial.filter(|_| is_verified);
            self.request_id = seen.request_id;
        }
    }

    /// Judges the signatures of the request and of the response.
    fn signatures(&self, seen: Option<&Seen>, cause: Option<&Error>) -> (Judgement, Judgement) {
        let request = match seen {
            Some(Seen { status, .. }) if (200..300).contains(status) => unknown(format!(
                "probably accepted: the response is HTTP {status}, but not verified"
            )),
            Some(Seen { status, .. }) => {
                unknown(format!("the response is HTTP {status}, but not verified"))
            }
            None => unknown("no response"),
        };
        let serial = seen.and_then(|seen| seen.serial.as_deref());
        let verified = passed(format!("verified with {}", serial.unwrap_or_default()));
        match cause {
            None | Some(Error::Decode { .. } | Error::Accepted { .. }) => {
                (passed("accepted"), verified)
            }
            Some(Error::Api(error)) => {
                let response = match (&error.unknown_key, error.authenticity) {
                    (Some(key), _) => failed(error.to_string(), unknown_key_remedy(key)),
                    (_, Authenticity::Unsigned) => unknown("the error is not signed"),
                    (_, Authenticity::Signed) => verified,
                };
                (self.refusal(error), response)
            }
            Some(Error::Unverified { source, .. }) => {
                (request, failed(source.to_string(), verify_remedy(source)))
            }
            Some(Error::Sign(_)) => (unknown("nothing was signed"), unknown("no response")),
            Some(Error::NoPlatformKey { .. }) => (request, unknown("no key to verify with")),
            Some(_) => (request, unknown("no response that could be verified")),
        }
    }

    /// Judges the signature of a request from an error response. WeChat Pay accepted the signature if it signed the
    /// error and the status is not 401.
    fn refusal(&self, error: &ApiError) -> Judgement {
        match (error.authenticity, error.status) {
            (_, 401) => failed(error.to_string(), self.sign_error_remedy()),
            (Authenticity::Signed, 403) => judged(
                Verdict::Passed,
                error.to_string(),
                "the signature is right, the permission is missing: see the merchant platform",
            ),
            (Authenticity::Signed, _) => passed(format!("accepted, but: {error}")),
            (Authenticity::Unsigned, _) => judged(
                Verdict::Unknown,
                format!("{error}, unsigned"),
                "try again later, and if the error persists, look for a proxy that responds in WeChat Pay's place",
            ),
        }
    }

    fn sign_error_remedy(&self) -> String {
        let difference = self.clock_difference.unwrap_or_default();
        if difference.unsigned_abs() >= CLOCK_LIMIT {
            return "first set this machine's clock, see above".to_owned();
        }
        format!(
            "check that apiclient_key.pem and serial number {} are of the same certificate (openssl x509 -in \
             apiclient_cert.pem -noout -serial), check that the certificate is merchant {}'s own and neither expired \
             nor revoked (账户中心 › API安全 › 商户API证书), and check the clock",
            self.serial_no, self.mchid
        )
    }
}

/// A response that was observed, verified or not.
struct Seen {
    host: String,
    status: u16,
    serial: Option<String>,
    request_id: Option<String>,
    clock_difference: Option<i64>,
}

impl Seen {
    /// Returns `None` for an exchange without a response.
    fn new(exchange: &Exchange<'_>, now: SystemTime) -> Option<Self> {
        let ahead = |date| i128::from(unix_seconds(date)) - i128::from(unix_seconds(now));
        Some(Self {
            host: exchange.host.to_owned(),
            status: exchange.status?,
            serial: exchange.serial.map(str::to_owned),
            request_id: exchange.request_id.map(str::to_owned),
            clock_difference: exchange.date.and_then(|date| ahead(date).try_into().ok()),
        })
    }
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Echo {
    echo_message: String,
}

/// Returns `true` if the response repeats the text that was sent.
fn echo(client: &Client) -> Result<bool, Error> {
    let echo = Echo {
        echo_message: random_nonce().map_err(Error::Sign)?,
    };
    let request = Request::post("/v3/security/echo").json(&echo);
    Ok(client.execute::<Echo>(request)? == echo)
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
    judged(Verdict::Failed, found, remedy)
}

fn judged(verdict: Verdict, found: impl Into<String>, remedy: impl Into<String>) -> Judgement {
    (verdict, found.into(), Some(remedy.into()))
}

fn private_key(signer: &Signer) -> Judgement {
    match signer.sign(b"self-test") {
        Ok(_) => passed("it can be read and it signs"),
        Err(error) => failed(
            format!("{error:#}"),
            "mend the function that signs, or copy the key file apiclient_key.pem again from the tool that made it",
        ),
    }
}

fn serial_number(serial_no: &str) -> Judgement {
    let count = serial_no.len();
    if count == SERIAL_DIGITS {
        return passed(serial_no);
    }
    judged(
        Verdict::Doubtful,
        format!(
            "{serial_no} has {count} digits, but serial numbers of merchants' API certificates usually have 40"
        ),
        "compare it with the merchant platform: 账户中心 › API安全 › 商户API证书",
    )
}

fn certificates(client: &Client, downloaded: &Result<(), Error>) -> Judgement {
    let Err(error) = downloaded else {
        let ids = key_ids(client, PublicKey::is_certificate);
        return passed(format!("downloaded {ids}"));
    };
    let verdict = match client.has_platform_key() {
        true => Verdict::Doubtful,
        false => Verdict::Failed,
    };
    judged(verdict, format!("{error:#}"), certificate_remedy(error))
}

fn platform_keys(client: &Client) -> Judgement {
    if client.has_platform_key() {
        return passed(key_ids(client, |_| true));
    }
    let ids = client.merchant().verifier().key_ids().join(", ");
    let found = match ids.as_str() {
        "" => "there is none".to_owned(),
        ids => format!("none is valid now: {ids}"),
    };
    failed(
        found,
        "configure the WeChat Pay public key (pub_key.pem and its id PUB_KEY_ID_… from the merchant platform: 账户中心 › \
         API安全 › 微信支付公钥) or, for a merchant without one, the download of the platform certificates with the APIv3 key",
    )
}

/// Returns the ids of the keys that are valid now and of the wanted kind.
fn key_ids(client: &Client, is_wanted: fn(&PublicKey) -> bool) -> String {
    let now = unix_seconds(client.now());
    let keys = client.merchant().verifier().platform_keys();
    let usable = keys
        .iter()
        .filter(|key| key.is_valid_at(now) && is_wanted(key));
    let ids: Vec<_> = usable.map(PublicKey::id).collect();
    ids.join(", ")
}

fn connection(seen: Option<&Seen>, cause: Option<&Error>) -> Judgement {
    match (seen, cause) {
        (Some(seen), _) => passed(format!("{} responds, HTTP {}", seen.host, seen.status)),
        (None, Some(error @ Error::Connect { .. })) => failed(
            format!("{error:#}"),
            "check that this machine can resolve the host's name and connect to it (WeChat Pay's port is 443), directly \
             or through the configured proxy (environment variables are not read)",
        ),
        (None, Some(error @ Error::Transport { .. })) => failed(
            format!("{error:#}"),
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
    judged(
        verdict,
        found,
        "set this machine's clock, with NTP for example: a message that is 300 s off is refused",
    )
}

fn echoed(result: Result<&bool, &Error>) -> Judgement {
    let remedy = "the credentials are right: send the Request-ID to WeChat Pay's support";
    match result {
        Ok(true) => passed("the text that was sent came back"),
        Ok(false) => failed("another text came back", remedy),
        Err(error @ (Error::Decode { .. } | Error::Accepted { .. })) => {
            failed(format!("{error:#}"), remedy)
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
    let remedy = match error {
        VerifyError::UnknownSerial { received, .. } => return unknown_key_remedy(received),
        VerifyError::Stale { .. } => "set this machine's clock, with NTP for example",
        VerifyError::OutsideValidity { .. } => {
            "check this machine's clock, and if it is right, give the verifier the certificate that replaced this one"
        }
        VerifyError::Probe => {
            "nothing is wrong: WeChat Pay occasionally sends such a signature to check that it is refused, so test again"
        }
        VerifyError::MissingHeader { .. } => {
            "look for a proxy that responds in WeChat Pay's place or removes headers, and do not trust the response"
        }
        _ => {
            "check that the platform key under this id is the one of the merchant platform, and look for a proxy that \
             alters responses, and do not trust the response"
        }
    };
    remedy.to_owned()
}
