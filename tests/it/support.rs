//! What several modules need: a merchant, the platform's keys, signed messages, and a fixed time.
//!
//! The keys in `tests/platform` were made by OpenSSL for these tests and are used nowhere else: `private.pem` is the
//! platform's, all `certificate_*.pem` but the merchant's hold its public half. The `*signature*.txt` were made by
//! `openssl dgst -sha256 -sign`. The merchant's key is the one that Tencent published for such tests.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::RsaKeyPair;
use serde_json::Value;
use wechatpay_contract::{
    Endpoint, Merchant, PrivateKey, PublicKey, Signer, Verifier, VerifyError,
};

#[path = "../support/installed.rs"]
mod installed;
pub(crate) use self::installed::installed;

/// The time of all tests that do not say another, in Unix seconds: 14 November 2023, 22:13:20 UTC.
pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const NONCE: &str = "593BEC0C930BF1AFEB40B4A08C8FB242";
/// The id of the platform's public key.
pub(crate) const KEY_ID: &str = "PUB_KEY_ID_0000000000000024101100397200000006";
/// The serial numbers of the platform's certificates.
pub(crate) const CURRENT: &str = "11111111111111111111111111111111111111AA";
pub(crate) const NEXT: &str = "22222222222222222222222222222222222222BB";
pub(crate) const EXPIRED: &str = "33333333333333333333333333333333333333CC";
pub(crate) const FUTURE: &str = "44444444444444444444444444444444444444DD";

pub(crate) const PRIVATE: &str = include_str!("../platform/private.pem");
pub(crate) const OTHER_PRIVATE: &str = include_str!("../platform/other_private.pem");
pub(crate) const PUBLIC: &str = include_str!("../platform/public.pem");

pub(crate) fn at(unix_seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_seconds)
}

pub(crate) fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/official.json")).unwrap()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The merchant of Tencent's published vectors.
pub(crate) fn merchant_signer() -> Signer {
    let vectors = vectors();
    let key = PrivateKey::from_pem(text(&vectors["private_key_pem"])).unwrap();
    Signer::new(text(&vectors["mchid"]), text(&vectors["serial_no"]), key).unwrap()
}

pub(crate) fn platform_public_key() -> PublicKey {
    PublicKey::from_pem(KEY_ID, PUBLIC).unwrap()
}

pub(crate) fn certificate(serial: &str) -> PublicKey {
    let pem = match serial {
        CURRENT => include_str!("../platform/certificate_current.pem"),
        NEXT => include_str!("../platform/certificate_next.pem"),
        EXPIRED => include_str!("../platform/certificate_expired.pem"),
        FUTURE => include_str!("../platform/certificate_future.pem"),
        _ => panic!("no such certificate: {serial}"),
    };
    let key = PublicKey::from_certificate_pem(pem).unwrap();
    assert_eq!(key.id(), serial);
    key
}

/// Knows the platform's public key alone.
pub(crate) fn verifier() -> Verifier {
    Verifier::new([platform_public_key()]).unwrap()
}

pub(crate) fn merchant() -> Merchant {
    Merchant::new(merchant_signer(), verifier()).unwrap()
}

/// Signs as the platform does, in base64. `signer.rs` tests that OpenSSL makes the same signatures.
pub(crate) fn platform_signature(message: &[u8]) -> String {
    // Read once, for tests that sign thousands of messages.
    static SIGNER: LazyLock<Signer> = LazyLock::new(|| signer_of(PRIVATE));
    SIGNER.sign(message).unwrap()
}

pub(crate) fn signature_by(private_pem: &str, message: &[u8]) -> String {
    signer_of(private_pem).sign(message).unwrap()
}

fn signer_of(private_pem: &str) -> Signer {
    let key = PrivateKey::from_pem(private_pem).unwrap();
    Signer::new("1", "1", key).unwrap()
}

/// The text that the platform signs.
pub(crate) fn message(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [
        timestamp.as_bytes(),
        b"\n",
        nonce.as_bytes(),
        b"\n",
        body,
        b"\n",
    ]
    .concat()
}

/// The headers of a message as pairs that can be changed by name.
#[derive(Clone)]
pub(crate) struct Headers(pub(crate) Vec<(String, Vec<u8>)>);

impl Headers {
    /// Returns the headers of `body`, rightly signed at [`NOW`] with the platform's public key.
    pub(crate) fn signed(body: &[u8]) -> Self {
        Self::signed_as(&NOW.to_string(), NONCE, body)
    }

    /// Returns headers with a right signature over this time, nonce and body, whatever they are.
    pub(crate) fn signed_as(timestamp: &str, nonce: &str, body: &[u8]) -> Self {
        let signature = platform_signature(&message(timestamp, nonce, body));
        Self::of(timestamp, nonce, &signature)
    }

    pub(crate) fn of(timestamp: &str, nonce: &str, signature: &str) -> Self {
        let pairs = [
            ("Server", "nginx"),
            ("Content-Type", "application/json; charset=utf-8"),
            ("Wechatpay-Nonce", nonce),
            ("Wechatpay-Signature", signature),
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Serial", KEY_ID),
            ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048"),
            ("Request-ID", "08F78BB5AF0610D3"),
        ];
        Self(Vec::new()).and(&pairs)
    }

    /// Returns the headers of a response without a signature.
    pub(crate) fn unsigned() -> Self {
        Self(Vec::new()).and(&[
            ("Content-Type", "text/html"),
            ("Request-ID", "08F78BB5AF0610D3"),
        ])
    }

    fn and(mut self, pairs: &[(&str, &str)]) -> Self {
        for (name, value) in pairs {
            self = self.with(name, value);
        }
        self
    }

    /// Adds a header, also when it is there already.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.0.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        let before = self.0.len();
        self.0.retain(|(known, _)| known != name);
        assert_eq!(
            self.0.len() + 1,
            before,
            "{name} was not there exactly once"
        );
        self
    }

    /// Puts another value in the place of a header that is there.
    pub(crate) fn set(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let (_, old) = self
            .0
            .iter_mut()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("no header {name}"));
        *old = value.as_ref().to_owned();
        self
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        let (_, value) = self.0.iter().find(|(known, _)| known == name).unwrap();
        std::str::from_utf8(value).unwrap()
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

/// Returns the error of a message that has a body and a wrong signature in valid base64.
pub(crate) fn wrong_signature(key_id: &str) -> VerifyError {
    VerifyError::WrongSignature {
        key_id: key_id.to_owned(),
        check: "pass the raw body as it was received, neither parsed and written again nor converted to another \
                charset, and compare the key with the one shown under this id in the merchant platform",
    }
}

/// The messages of an error and of all its causes, the outermost first.
pub(crate) fn chain(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect()
}

/// The public half of an RSA key, as `BEGIN RSA PUBLIC KEY`.
pub(crate) fn public_half(private_pem: &str) -> String {
    let pkcs8 = STANDARD
        .decode(
            private_pem
                .lines()
                .filter(|line| !line.starts_with("-----"))
                .collect::<String>(),
        )
        .unwrap();
    let pair = RsaKeyPair::from_pkcs8(&pkcs8).unwrap();
    let text = STANDARD.encode(pair.public().as_ref());
    format!("-----BEGIN RSA PUBLIC KEY-----\n{text}\n-----END RSA PUBLIC KEY-----\n")
}

/// Runs a program of the machine, and returns its output. See [`installed`].
pub(crate) fn command(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

pub(crate) fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    command("openssl", arguments, input)
}

/// The request is refused before anything is sent, for this field and reason.
#[track_caller]
pub(crate) fn assert_refused(endpoint: &impl Endpoint, field: &str, problem: &str) {
    let error = endpoint
        .request()
        .expect_err("refused before anything is sent");
    assert_eq!((error.field(), error.problem()), (field, problem));
}

/// The value without members that say nothing: `null` and empty lists.
pub(crate) fn present(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, present(value)))
            .filter(|(_, value)| !value.is_null() && *value != Value::Array(Vec::new()))
            .collect(),
        Value::Array(values) => values.into_iter().map(present).collect(),
        value => value,
    }
}
