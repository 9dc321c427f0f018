//! Private keys, public keys and certificates from any text, and from any DER under each label. With an accepted
//! private key, signing does not panic. An accepted certificate has a serial number and a validity.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use wechatpay_contract::{PrivateKey, PublicKey, Signer};
use wechatpay_contract_fuzz::{KEY_ID, assert_printable};

const LABELS: [&str; 5] = [
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
    "CERTIFICATE",
];

fuzz_target!(|data: &[u8]| {
    read(data);
    let text = STANDARD.encode(data);
    for label in LABELS {
        read(format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n").as_bytes());
    }
});

fn read(pem: &[u8]) {
    match PrivateKey::from_pem(pem) {
        Ok(key) => drop(Signer::new("1", "1", key).unwrap().sign(b"message")),
        Err(error) => assert_printable(&error),
    }
    match PublicKey::from_pem(KEY_ID, pem) {
        Ok(key) => assert!(key.id() == KEY_ID && !key.is_certificate()),
        Err(error) => assert_printable(&error),
    }
    match PublicKey::from_certificate_pem(pem) {
        Ok(key) => {
            let is_upper_hex = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
            assert!(!key.id().is_empty() && key.id().bytes().all(is_upper_hex));
            assert!(key.validity().is_some());
        }
        Err(error) => assert_printable(&error),
    }
}
