//! X.509 certificates made at run time: just enough DER for the platform certificates of the sandbox.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::keys::PrivateKey;
use crate::time::Civil;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;

/// The `version` of a certificate: `[0] INTEGER 2`, which means version 3.
const VERSION_3: &[u8] = b"\xA0\x03\x02\x01\x02";
/// The `AlgorithmIdentifier` of `rsaEncryption`.
const RSA: &[u8] = b"\x30\x0D\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x01\x01\x05\x00";
/// The `AlgorithmIdentifier` of `sha256WithRSAEncryption`.
const SHA256_WITH_RSA: &[u8] = b"\x30\x0D\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0B\x05\x00";
/// The subject name of WeChat Pay's platform certificates, marked as the sandbox's: `C=CN, O=Sandbox, CN=Tenpay.com sign`.
const NAME: &[u8] = b"\x30\x39\
    \x31\x0B\x30\x09\x06\x03\x55\x04\x06\x13\x02CN\
    \x31\x10\x30\x0E\x06\x03\x55\x04\x0A\x0C\x07Sandbox\
    \x31\x18\x30\x16\x06\x03\x55\x04\x03\x0C\x0FTenpay.com sign";

/// Returns a self-signed certificate of this key as PEM. `serial` is big-endian, `validity` is the first and the last second.
pub(super) fn self_signed_pem(serial: &[u8], validity: [u64; 2], key: &PrivateKey) -> String {
    let [not_before, not_after] = validity.map(time);
    let signed = sequence(&[
        VERSION_3,
        &unsigned(serial),
        SHA256_WITH_RSA,
        NAME,
        &sequence(&[&not_before, &not_after]),
        NAME,
        &public_key_info(key),
    ]);
    // If signing fails, the certificate has an empty signature, which never verifies.
    let signature = key.sign(&signed).unwrap_or_default();
    pem(&sequence(&[
        &signed,
        SHA256_WITH_RSA,
        &bit_string(&signature),
    ]))
}

fn public_key_info(key: &PrivateKey) -> Vec<u8> {
    sequence(&[RSA, &bit_string(key.public_pkcs1())])
}

/// Returns a time as RFC 5280, section 4.1.2.5, requires: in the short form until 2049.
fn time(unix_seconds: u64) -> Vec<u8> {
    let Civil {
        date: [year, month, day],
        time: [hour, minute, second],
    } = Civil::at(unix_seconds);
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    match year {
        ..2050 => element(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes()),
        _ => element(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes()),
    }
}

/// Returns an unsigned integer, with a leading zero byte if it would be read as negative otherwise.
fn unsigned(big_endian: &[u8]) -> Vec<u8> {
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    let digits = big_endian.get(zeros..).unwrap_or_default();
    match digits.first() {
        Some(..0x80) => element(INTEGER, digits),
        _ => element(INTEGER, &[&[0], digits].concat()),
    }
}

fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes].concat())
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

/// Returns an element. A certificate's elements are shorter than 64 KiB.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let head: &[u8] = match (high, low) {
        (0, ..0x80) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, content].concat()
}

fn pem(der: &[u8]) -> String {
    let mut text = STANDARD.encode(der);
    for position in (1..=text.len() / 64).rev() {
        text.insert(position * 64, '\n');
    }
    let text = text.trim_end();
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
