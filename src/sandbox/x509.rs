//! X.509 certificates made at run time: just enough DER for the platform certificates of the sandbox.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::keys::{PrivateKey, Validity};
use crate::time::Civil;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0C;
const PRINTABLE_STRING: u8 = 0x13;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed: the version.
const CONTEXT_0: u8 = 0xA0;

const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
const SHA256_WITH_RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B];
const COUNTRY: &[u8] = &[0x55, 0x04, 0x06];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0A];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Returns a self-signed certificate of this key as PEM. `serial` is big-endian.
pub(super) fn self_signed_pem(serial: &[u8], validity: Validity, key: &PrivateKey) -> String {
    let signed = sequence(&[
        element(CONTEXT_0, &element(INTEGER, &[2])),
        unsigned(serial),
        algorithm(SHA256_WITH_RSA),
        name(),
        sequence(&[time(validity.not_before), time(validity.not_after)]),
        name(),
        public_key_info(key),
    ]);
    // If signing fails, the certificate has an empty signature, which never verifies.
    let signature = key.sign(&signed);
    let signature = signature.as_ref().map_or(&[][..], Vec::as_slice);
    let certificate = sequence(&[signed, algorithm(SHA256_WITH_RSA), bit_string(signature)]);
    pem(&certificate)
}

fn public_key_info(key: &PrivateKey) -> Vec<u8> {
    let (modulus, exponent) = key.public_numbers();
    let numbers = sequence(&[unsigned(&modulus), unsigned(&exponent)]);
    sequence(&[algorithm(RSA), bit_string(&numbers)])
}

/// Returns the subject name of WeChat Pay's platform certificates, marked as the sandbox's.
fn name() -> Vec<u8> {
    let attribute = |id, tag, value: &str| {
        element(
            SET,
            &sequence(&[
                element(OBJECT_IDENTIFIER, id),
                element(tag, value.as_bytes()),
            ]),
        )
    };
    sequence(&[
        attribute(COUNTRY, PRINTABLE_STRING, "CN"),
        attribute(ORGANIZATION, UTF8_STRING, "Sandbox"),
        attribute(COMMON_NAME, UTF8_STRING, "Tenpay.com sign"),
    ])
}

fn algorithm(id: &[u8]) -> Vec<u8> {
    sequence(&[element(OBJECT_IDENTIFIER, id), element(NULL, &[])])
}

/// Returns a time as RFC 5280, section 4.1.2.5, requires: in the short form until 2049.
fn time(unix_seconds: u64) -> Vec<u8> {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
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

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let digits = length.get(zeros..).unwrap_or_default();
    match (digits, u8::try_from(digits.len())) {
        ([], _) => element.push(0),
        ([short @ ..0x80], _) => element.push(*short),
        (digits, count) => {
            // A length has eight bytes at most.
            element.push(0x80 | count.unwrap_or_default());
            element.extend_from_slice(digits);
        }
    }
    element.extend_from_slice(content);
    element
}

fn pem(der: &[u8]) -> String {
    let mut text = STANDARD.encode(der);
    for position in (1..=text.len() / 64).rev() {
        text.insert(position * 64, '\n');
    }
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        text.trim_end()
    )
}
