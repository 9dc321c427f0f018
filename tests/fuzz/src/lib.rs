//! Shared by the fuzz targets: the parties of an exchange, and messages that pass the cryptography.
//!
//! The crate is built with `--cfg fuzzing`. The word `fuzzing` then stands for a right signature and for the tag of a
//! plaintext that is not encrypted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wechatpay_contract::{ApiV3Key, Merchant, PrivateKey, PublicKey, Signer, Verifier};

/// The time at which messages are verified, in Unix seconds: that of `tests/platform/answer_signature.txt`.
pub const NOW: u64 = 1_700_000_000;
pub const NONCE: &str = "593BEC0C930BF1AFEB40B4A08C8FB242";
pub const KEY_ID: &str = "PUB_KEY_ID_0000000000000024101100397200000006";
pub const CERTIFICATE: &str = include_str!("../../platform/certificate_current.pem");
const PUBLIC: &str = include_str!("../../platform/public.pem");
const PRIVATE: &str = include_str!("../../keys/rsa2048_pkcs8.pem");
/// The word `fuzzing` in base64.
pub const SIGNATURE: &str = "ZnV6emluZw==";

pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

pub fn signer() -> Signer {
    let key = PrivateKey::from_pem(PRIVATE).unwrap();
    Signer::new(
        "1900000109",
        "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
        key,
    )
    .unwrap()
}

pub fn verifier() -> Verifier {
    let certificate = PublicKey::from_certificate_pem(CERTIFICATE).unwrap();
    Verifier::new([PublicKey::from_pem(KEY_ID, PUBLIC).unwrap(), certificate]).unwrap()
}

pub fn merchant() -> Merchant {
    Merchant::new(signer(), verifier()).unwrap()
}

pub fn api_v3_key() -> ApiV3Key {
    ApiV3Key::new("a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb").unwrap()
}

/// The headers of a message that counts as signed, whatever its body.
pub fn headers() -> [(&'static str, &'static str); 5] {
    [
        ("Wechatpay-Serial", KEY_ID),
        ("Wechatpay-Timestamp", "1700000000"),
        ("Wechatpay-Nonce", NONCE),
        ("Wechatpay-Signature", SIGNATURE),
        ("Request-ID", "08F78BB5AF0610D302189D9CC9"),
    ]
}

/// A ciphertext that decrypts to `plaintext`, in base64.
pub fn encrypted(plaintext: &[u8]) -> String {
    STANDARD.encode([plaintext, b"fuzzing"].concat())
}

/// Error texts end up in logs: they must not break a line or hide what follows.
pub fn assert_printable(error: &dyn std::error::Error) {
    for error in std::iter::successors(Some(error), |error| error.source()) {
        let text = error.to_string();
        let hides = |c: char| {
            c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!text.contains(hides), "{text:?}");
    }
}
