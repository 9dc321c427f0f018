//! What can go wrong, whether the request may have taken effect, and what to do next.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::decode::DecodeError;

/// The cause of an error that comes from outside this crate, such as a broken connection.
pub type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// Whether a request that ended in an error may have taken effect at WeChat Pay.
///
/// This is the first question after any failure of a payment call; [`Error::outcome`] answers it:
///
/// | failure | error | outcome |
/// |---|---|---|
/// | a field breaks a documented rule, or a variable of the path is unfilled | [`Error::InvalidField`] | [`NotSent`](Self::NotSent) |
/// | a key cannot be read | [`Error::Key`] | [`NotSent`](Self::NotSent) |
/// | no platform key is valid now | [`Error::NoPlatformKey`] | [`NotSent`](Self::NotSent) |
/// | no platform key is there, and no certificates to be downloaded | [`Error::Certificates`] | [`NotSent`](Self::NotSent) |
/// | a signing function fails | [`Error::Sign`] | [`NotSent`](Self::NotSent) |
/// | no connection to any host: name unknown, port or proxy closed, TLS refused, or not in time | [`Error::Connect`] | [`NotSent`](Self::NotSent) |
/// | the connection breaks before the whole answer is there | [`Error::Transport`] | [`Unknown`](Self::Unknown) |
/// | the time runs out after connecting | [`Error::Transport`] | [`Unknown`](Self::Unknown) |
/// | the answer is not HTTP, or longer than 1 MiB | [`Error::Transport`] | [`Unknown`](Self::Unknown) |
/// | 2xx without a signature | [`Error::Unverified`] | [`Unknown`](Self::Unknown) |
/// | any status with a signature that is wrong, a probe, too old or of an unknown key | [`Error::Unverified`] | [`Unknown`](Self::Unknown) |
/// | 202 | [`Error::Accepted`] | [`Unknown`](Self::Unknown) |
/// | another 2xx that names another contract than the request | [`Error::Mismatch`] | [`Unknown`](Self::Unknown) |
/// | another 2xx whose body is not of the expected shape | [`Error::Decode`] | [`Unknown`](Self::Unknown) |
/// | 400, 401, 403, 404 or 429 with a `code`, signed or not | [`Error::Api`] | [`Refused`](Self::Refused) |
/// | 405, 406, 411, 413, 414, 415, 417 or 431 with a `code`, signed or not | [`Error::Api`] | [`Refused`](Self::Refused) |
/// | 3xx, another 4xx, or any of these without a `code`: perhaps not WeChat Pay's words | [`Error::Api`] | [`Unknown`](Self::Unknown) |
/// | 5xx, signed or not | [`Error::Api`] | [`Unknown`](Self::Unknown) |
///
/// The client itself sends again only what cannot be carried out twice by that: to the backup host when no connection
/// could be made to the main one, and a `GET` whose connection broke, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was sent: the request certainly had no effect. It can be sent again as it is once the cause is mended.
    NotSent,
    /// WeChat Pay answered that it did not carry the request out. Mend the request, or wait, before sending it again.
    Refused,
    /// The request may have taken effect. Query before sending it again.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "nothing was sent",
            Self::Refused => "WeChat Pay refused the request",
            Self::Unknown => "the request may have taken effect",
        })
    }
}

/// Any failure of a call.
///
/// [`outcome`](Self::outcome) says whether the request may have taken effect, [`request_id`](Self::request_id) names
/// the exchange for WeChat Pay's support, and [`source`](StdError::source) leads to the cause.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A value breaks a documented rule. Nothing was sent; mend the named field.
    InvalidField(InvalidField),
    /// A key could not be read. Nothing was sent; the message names the kind of key found and the kind wanted.
    Key(KeyError),
    /// No platform key is valid any more, so that no answer could be verified. Nothing was sent; give the verifier a
    /// key that is valid.
    NoPlatformKey,
    /// There is no valid platform key, and the platform certificates could not be downloaded; or the download was asked
    /// for by itself. Nothing of the call was sent; see the source for what to do. It is shared by all threads that
    /// waited for the same download.
    Certificates(Arc<CertificateError>),
    /// The function that signs in place of a private key failed. Nothing was sent; see the source.
    Sign(Cause),
    /// No connection could be made: name look-up, TCP or TLS. Nothing was sent; try again later, or see the source for
    /// what is wrong with the network, the proxy or the certificate.
    Connect {
        /// The host that could not be reached; the last one tried.
        host: String,
        /// What the network or TLS said.
        source: Cause,
    },
    /// The connection broke, or the time ran out, after the request may have arrived. The outcome is unknown: query
    /// before sending again.
    Transport {
        /// The host that was talked to.
        host: String,
        /// What the network said.
        source: Cause,
    },
    /// An answer came but its signature could not be verified, so nothing in it is to be believed. The outcome is
    /// unknown: query before sending again.
    Unverified {
        /// The HTTP status of the answer; not to be believed either.
        status: u16,
        /// `Request-ID` of the answer, if it had one.
        request_id: Option<String>,
        /// Why the answer was not accepted.
        source: VerifyError,
    },
    /// WeChat Pay answered with an error. See [`ApiError::outcome`].
    Api(Box<ApiError>),
    /// A verified answer with status 202: accepted, but not carried out yet. The outcome is unknown: query later.
    Accepted {
        /// `Request-ID` of the answer, if it had one.
        request_id: Option<String>,
    },
    /// A verified answer of success that belongs to another request, by what it repeats of it; see
    /// [`Endpoint::check`](crate::Endpoint::check). The outcome is unknown: query before sending again, and look for
    /// what mixes up or repeats answers between this machine and WeChat Pay.
    Mismatch {
        /// `Request-ID` of the answer, if it had one.
        request_id: Option<String>,
        /// The first difference.
        source: InvalidField,
    },
    /// A verified answer of success whose body is not of the expected shape. The request has been carried out, or may
    /// have been: query, and do not send it again.
    Decode {
        /// The HTTP status of the answer.
        status: u16,
        /// `Request-ID` of the answer, if it had one.
        request_id: Option<String>,
        /// What did not fit, and where.
        source: DecodeError,
    },
}

impl Error {
    /// Whether the request may have taken effect.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::InvalidField(_)
            | Self::Key(_)
            | Self::NoPlatformKey
            | Self::Certificates(_)
            | Self::Sign(_)
            | Self::Connect { .. } => Outcome::NotSent,
            Self::Api(error) => error.outcome(),
            Self::Transport { .. }
            | Self::Unverified { .. }
            | Self::Accepted { .. }
            | Self::Mismatch { .. }
            | Self::Decode { .. } => Outcome::Unknown,
        }
    }

    /// `Request-ID` of the answer, which WeChat Pay's support asks for; absent when there was no answer.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Unverified { request_id, .. }
            | Self::Accepted { request_id }
            | Self::Mismatch { request_id, .. }
            | Self::Decode { request_id, .. } => request_id.as_deref(),
            Self::Api(error) => error.request_id.as_deref(),
            Self::Certificates(error) => error.request_id(),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidField(error) => error.fmt(f),
            Self::Key(error) => error.fmt(f),
            Self::NoPlatformKey => f.write_str(
                "none of the platform keys is valid now, so no answer could be verified; nothing was sent",
            ),
            Self::Certificates(_) => f.write_str(
                "the platform certificates could not be downloaded, so no answer could be verified; nothing was sent",
            ),
            Self::Sign(_) => f.write_str("the request could not be signed; nothing was sent"),
            Self::Connect { host, .. } => write!(f, "no connection to {host}; nothing was sent"),
            Self::Transport { host, .. } => {
                write!(f, "the exchange with {host} broke off; the request may have taken effect")
            }
            Self::Unverified { status, .. } => {
                write!(f, "the answer (HTTP {status}) could not be verified; the request may have taken effect")
            }
            Self::Api(error) => error.fmt(f),
            Self::Accepted { .. } => f.write_str("accepted but not carried out yet (HTTP 202); query later"),
            Self::Mismatch { .. } => f.write_str(
                "a verified answer belongs to another request; the request may have taken effect",
            ),
            Self::Decode { status, .. } => {
                write!(f, "a verified answer (HTTP {status}) has an unexpected body; the request may have taken effect")
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Sign(source) | Self::Connect { source, .. } | Self::Transport { source, .. } => {
                Some(&**source)
            }
            Self::Unverified { source, .. } => Some(source),
            Self::Mismatch { source, .. } => Some(source),
            Self::Decode { source, .. } => Some(source),
            Self::Certificates(source) => Some(&**source),
            Self::InvalidField(error) => error.source(),
            Self::Key(error) => error.source(),
            Self::Api(error) => error.source(),
            Self::NoPlatformKey | Self::Accepted { .. } => None,
        }
    }
}

impl From<InvalidField> for Error {
    fn from(error: InvalidField) -> Self {
        Self::InvalidField(error)
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<Arc<CertificateError>> for Error {
    fn from(error: Arc<CertificateError>) -> Self {
        Self::Certificates(error)
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Api(Box::new(error))
    }
}

/// A value that breaks a documented rule, found before anything was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    field: String,
    problem: String,
}

impl InvalidField {
    /// `field` is named as on the wire; `problem` says what was found, unless it is secret, and what is wanted.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// The field's name, as on the wire.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What was found and what is wanted.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl StdError for InvalidField {}

/// An error that WeChat Pay answered, with any status but 2xx.
///
/// Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012081714>.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// `code`, such as `PARAM_ERROR`; empty when the body has none.
    pub code: String,
    /// `message`, meant for people; empty when the body has none.
    pub message: String,
    /// `detail` as it came: usually `field`, `value`, `issue` and `location`.
    pub detail: Option<Value>,
    /// `Request-ID`, which WeChat Pay's support asks for.
    pub request_id: Option<String>,
    /// Whether the answer was signed. An unsigned one is only as trustworthy as the TLS connection.
    pub authenticity: Authenticity,
}

impl ApiError {
    /// Reads whatever came with the status; never fails.
    pub(crate) fn from_answer(
        status: u16,
        body: &[u8],
        request_id: Option<String>,
        authenticity: Authenticity,
    ) -> Self {
        // It may be anything, such as the error page of a proxy: then the status alone has to do.
        let mut failure: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        Self {
            status,
            code: text(failure.remove("code")),
            message: text(failure.remove("message")),
            detail: failure.remove("detail").filter(|detail| !detail.is_null()),
            request_id,
            authenticity,
        }
    }

    /// Whether the request may have taken effect: [`Outcome::Refused`] for the statuses with which WeChat Pay, or
    /// HTTP itself, turns a request away; [`Outcome::Unknown`] for all others, 5xx among them.
    ///
    /// An answer without a `code` is [`Outcome::Unknown`] whatever its status: something on the way may have written
    /// it, after the request had passed.
    pub fn outcome(&self) -> Outcome {
        if self.code.is_empty() {
            return Outcome::Unknown;
        }
        match self.status {
            // Documented by WeChat Pay.
            400 | 401 | 403 | 404 | 429 => Outcome::Refused,
            // RFC 9110 and RFC 6585: turned away because of the request's form, before it is acted upon.
            405 | 406 | 411 | 413 | 414 | 415 | 417 | 431 => Outcome::Refused,
            _ => Outcome::Unknown,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeChat Pay answered HTTP {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", OneLine(&self.code))?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", OneLine(&self.message))?;
        }
        let detail = |key| {
            self.detail
                .as_ref()
                .and_then(|detail| detail.get(key))
                .and_then(Value::as_str)
                .map(OneLine)
        };
        if let Some(field) = detail("field") {
            write!(f, " (field {field}")?;
            if let Some(issue) = detail("issue") {
                write!(f, ": {issue}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl StdError for ApiError {}

/// A text as it is; anything else that is there as JSON, so that nothing said about a failure is lost.
fn text(value: Option<Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        // Not `to_string`, which would link the way with line breaks and indents as well.
        Some(other) => serde_json::to_string(&other).unwrap_or_default(),
    }
}

/// Text from the network, which may be unsigned, made fit for one line of a log.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 512;
        for c in self.0.chars().take(LONGEST) {
            match c {
                // Line breaks that are no control characters.
                '\u{2028}' | '\u{2029}' => f.write_char(' ')?,
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        match self.0.chars().nth(LONGEST) {
            Some(_) => f.write_str("..."),
            None => Ok(()),
        }
    }
}

/// Whether an answer of failure was signed by WeChat Pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Authenticity {
    /// The signature of its body was verified. The HTTP status is not part of what is signed: it is only as
    /// trustworthy as the TLS connection, and so is what [`ApiError::outcome`] reads from it.
    Signed,
    /// It had no signature, as every 401 and some other errors: a proxy could have written it as well. So could the
    /// answer to a download of certificates whose signature names a key that is not held.
    Unsigned,
}

/// Why a message's signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// A header is missing. A message without these headers counts as forged.
    MissingHeader {
        /// The header's name.
        name: &'static str,
    },
    /// A header came more than once, so that it is not certain which one was signed.
    DuplicateHeader {
        /// The header's name.
        name: &'static str,
    },
    /// A header's value is not of its form.
    MalformedHeader {
        /// The header's name.
        name: &'static str,
        /// What is wanted.
        wanted: &'static str,
    },
    /// `Wechatpay-Signature-Type` names a scheme other than `WECHATPAY2-SHA256-RSA2048`.
    UnsupportedSignatureType {
        /// The scheme named.
        found: String,
    },
    /// The message is too old, or from the future, by 300 seconds or more. Check this machine's clock.
    Stale {
        /// The message's own time, in Unix seconds.
        timestamp: u64,
        /// The time it was compared with, in Unix seconds.
        now: u64,
    },
    /// The message is signed with a key that the verifier does not hold.
    UnknownSerial {
        /// `Wechatpay-Serial` of the message.
        received: String,
        /// The ids of the keys that the verifier holds.
        known: Vec<String>,
    },
    /// The message is signed with a certificate that is not valid now.
    OutsideValidity {
        /// The certificate's serial number.
        serial: String,
        /// First second of validity, in Unix seconds.
        not_before: u64,
        /// Last second of validity, in Unix seconds.
        not_after: u64,
        /// The time of the check, in Unix seconds.
        now: u64,
    },
    /// WeChat Pay's own probe, a signature that starts with `WECHATPAY/SIGNTEST/`, which must be refused. The message
    /// is refused like any forged one, but there is no need for an alarm.
    Probe,
    /// The signature does not belong to the message and the key.
    WrongSignature,
}

impl VerifyError {
    /// Whether this is WeChat Pay's own probe, so that alarms can stay quiet.
    pub fn is_probe(&self) -> bool {
        matches!(self, Self::Probe)
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingHeader { name } => write!(f, "header {name} is missing"),
            Self::DuplicateHeader { name } => write!(f, "header {name} came more than once"),
            Self::MalformedHeader { name, wanted } => {
                write!(f, "header {name} is malformed: wanted {wanted}")
            }
            Self::UnsupportedSignatureType { found } => write!(
                f,
                "signature type {found:?} is not supported: wanted WECHATPAY2-SHA256-RSA2048"
            ),
            Self::Stale { timestamp, now } => write!(
                f,
                "the message's time {timestamp} and this clock's {now} differ by {:?}, the limit is under 300s",
                Duration::from_secs(timestamp.abs_diff(*now))
            ),
            Self::UnknownSerial { received, known } => {
                write!(
                    f,
                    "signed with the unknown platform key {received:?}; known: {}",
                    known.join(", ")
                )
            }
            Self::OutsideValidity {
                serial,
                not_before,
                not_after,
                now,
            } => write!(
                f,
                "signed with platform certificate {serial}, valid from {not_before} to {not_after}, but now it is {now}"
            ),
            Self::Probe => {
                f.write_str("a signature probe by WeChat Pay, to be refused like a wrong signature")
            }
            Self::WrongSignature => f.write_str("the signature is wrong"),
        }
    }
}

impl StdError for VerifyError {}

/// Why a key could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// No PEM block was found.
    NotPem {
        /// The kind of block wanted.
        wanted: &'static str,
        /// What the input looks like instead.
        found: &'static str,
    },
    /// The PEM block is of another kind.
    WrongKind {
        /// The label found after `BEGIN`.
        found: String,
        /// The kind of block wanted.
        wanted: &'static str,
    },
    /// More than one PEM block was found, so that it is not certain which one is meant.
    SeveralBlocks {
        /// How many were found.
        count: usize,
    },
    /// The private key is encrypted with a passphrase.
    Encrypted,
    /// The PEM block is damaged, or what is in it is not of its kind.
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The key is of another algorithm than RSA.
    NotRsa {
        /// The kind of key found.
        found: &'static str,
    },
    /// The RSA key is of a size that is not supported.
    UnsupportedSize {
        /// The size found, in bits.
        bits: usize,
        /// The sizes wanted, in bits.
        wanted: &'static str,
    },
    /// The RSA key has a public exponent that is not supported.
    UnsupportedExponent {
        /// The exponents wanted.
        wanted: &'static str,
    },
    /// What was given as the id of a public key cannot be one. It is not shown: it may be a key in the wrong place.
    InvalidId {
        /// Its length, in bytes.
        bytes: usize,
        /// The first character that no id has, if there is one.
        character: Option<char>,
    },
    /// The APIv3 key is not of 32 bytes.
    ApiV3KeyLength {
        /// The length found, in bytes.
        bytes: usize,
        /// Whether what was found ends with a line break, as the content of a file does.
        ends_with_line_break: bool,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPem { wanted, found } => write!(f, "no PEM block found in {found}: wanted {wanted}"),
            Self::WrongKind { found, wanted } => write!(f, "found BEGIN {found}: wanted {wanted}"),
            Self::SeveralBlocks { count } => write!(f, "found {count} PEM blocks: wanted exactly one"),
            Self::Encrypted => f.write_str(
                "the private key is encrypted with a passphrase: wanted an unencrypted PKCS#8 or PKCS#1 key",
            ),
            Self::Malformed { what } => write!(f, "the key cannot be read: {what}"),
            Self::NotRsa { found } => write!(f, "found {found}: wanted an RSA key"),
            Self::UnsupportedSize { bits, wanted } => write!(f, "found an RSA key of {bits} bits: wanted {wanted}"),
            Self::UnsupportedExponent { wanted } => {
                write!(f, "found an RSA key with an unsupported public exponent: wanted {wanted}")
            }
            Self::InvalidId { bytes, character } => {
                write!(f, "found a key id of {bytes} bytes")?;
                match character {
                    Some(character) => write!(f, " with the character {character:?}")?,
                    None if *bytes == 32 => f.write_str(", as many as an APIv3 key has")?,
                    None => {}
                }
                f.write_str(
                    ": wanted the one shown beside the key in the merchant platform, PUB_KEY_ID_ and digits, or a \
                     certificate's serial number in hexadecimal",
                )
            }
            Self::ApiV3KeyLength { bytes, ends_with_line_break } => {
                write!(f, "found an APIv3 key of {bytes} bytes: wanted exactly 32")?;
                match ends_with_line_break {
                    true => f.write_str("; it ends with a line break"),
                    false => Ok(()),
                }
            }
        }
    }
}

impl StdError for KeyError {}

/// Why the platform certificates could not be downloaded or taken over. The keys held until then are kept, and nothing
/// is taken over from a list of which a part is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateError {
    /// There was no answer, or another error than [`NoCertificates`](Self::NoCertificates). See the source; the next
    /// attempt is made by itself, a minute later at the earliest.
    Download(Box<Error>),
    /// WeChat Pay has no platform certificates for this merchant (HTTP 404 `RESOURCE_NOT_EXISTS`): it only ever had the
    /// WeChat Pay public key 微信支付公钥. Configure that key with
    /// [`PublicKey::from_pem`](crate::PublicKey::from_pem): its id `PUB_KEY_ID_…` and the file `pub_key.pem` are in the
    /// merchant platform under account center, API security (账户中心 › API安全 › 微信支付公钥).
    NoCertificates {
        /// What WeChat Pay answered.
        answer: Box<ApiError>,
        /// The key that the answer says it is signed with, if that is a WeChat Pay public key: probably the one to
        /// configure. Not verified when the key is not held.
        public_key_id: Option<String>,
    },
    /// The list's own signature could not be verified, neither with a certificate in it nor with a key held.
    Unverified {
        /// `Request-ID` of the answer, if it had one.
        request_id: Option<String>,
        /// Why the answer was not accepted.
        source: VerifyError,
    },
    /// The answer is not a list of encrypted certificates.
    Malformed {
        /// What was found where, and what is wanted.
        problem: String,
    },
    /// A certificate of the list does not decrypt: the APIv3 key is not the one set in the merchant platform, or the
    /// list was altered.
    Undecryptable {
        /// The serial number that the list gives it.
        serial_no: String,
    },
    /// What decrypts is not a platform certificate.
    Unreadable {
        /// The serial number that the list gives it.
        serial_no: String,
        /// Why it could not be read.
        source: KeyError,
    },
    /// The list's serial number is not the certificate's.
    SerialMismatch {
        /// The serial number in the list.
        listed: String,
        /// The serial number in the certificate.
        certificate: String,
    },
    /// A time in the list is not the certificate's: `effective_time` is another one, or `expire_time` a later one. An
    /// earlier `expire_time` is documented for a certificate that is being replaced.
    ValidityMismatch {
        /// The certificate's serial number.
        serial_no: String,
        /// `effective_time` or `expire_time`.
        field: &'static str,
        /// The time in the list, in Unix seconds.
        listed: u64,
        /// The time in the certificate, in Unix seconds.
        certificate: u64,
    },
    /// Two certificates of the list have the same serial number.
    DuplicateSerial {
        /// The serial number.
        serial_no: String,
    },
    /// No certificate of the list is valid now. Check this machine's clock.
    NoneValid {
        /// How many certificates the list has.
        listed: usize,
        /// The time of the check, in Unix seconds.
        now: u64,
    },
    /// The merchant's own certificate is in the list. Answers are signed by WeChat Pay.
    OwnCertificate(InvalidField),
}

impl CertificateError {
    /// `Request-ID` of the answer, which WeChat Pay's support asks for; absent when there was none.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Download(error) => error.request_id(),
            Self::NoCertificates { answer, .. } => answer.request_id.as_deref(),
            Self::Unverified { request_id, .. } => request_id.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Download(_) => f.write_str("the download of the platform certificates failed"),
            Self::NoCertificates { public_key_id, .. } => {
                let id = public_key_id.as_deref().unwrap_or("PUB_KEY_ID_…");
                write!(
                    f,
                    "this merchant has no platform certificates (HTTP 404): configure the WeChat Pay public key, \
                     id {id} and file pub_key.pem, from the merchant platform (账户中心 › API安全 › 微信支付公钥)"
                )
            }
            Self::Unverified { .. } => {
                f.write_str("the list of platform certificates could not be verified")
            }
            Self::Malformed { problem } => {
                write!(
                    f,
                    "the list of platform certificates is malformed: {problem}"
                )
            }
            Self::Undecryptable { serial_no } => write!(
                f,
                "platform certificate {serial_no:?} of the list does not decrypt: the APIv3 key is not the one set in \
                 the merchant platform, or the list was altered"
            ),
            Self::Unreadable { serial_no, .. } => write!(
                f,
                "what the list gives as platform certificate {serial_no:?} is not one"
            ),
            Self::SerialMismatch {
                listed,
                certificate,
            } => write!(
                f,
                "the list gives the platform certificate {certificate} the serial_no {listed:?}"
            ),
            Self::ValidityMismatch {
                serial_no,
                field,
                listed,
                certificate,
            } => write!(
                f,
                "the list gives platform certificate {serial_no} the {field} {listed}, but in the certificate it is \
                 {certificate}"
            ),
            Self::DuplicateSerial { serial_no } => {
                write!(f, "the list has platform certificate {serial_no} twice")
            }
            Self::NoneValid { listed, now } => write!(
                f,
                "none of the {listed} platform certificates of the list is valid at {now}: check this machine's clock"
            ),
            Self::OwnCertificate(error) => error.fmt(f),
        }
    }
}

impl StdError for CertificateError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Download(source) => Some(&**source),
            Self::NoCertificates { answer, .. } => Some(&**answer),
            Self::Unverified { source, .. } => Some(source),
            Self::Unreadable { source, .. } => Some(source),
            Self::OwnCertificate(error) => error.source(),
            _ => None,
        }
    }
}
