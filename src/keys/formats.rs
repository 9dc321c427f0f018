//! The formats inside PEM blocks: RSA keys as PKCS#1, PKCS#8 and SubjectPublicKeyInfo, and X.509 certificates.

use super::der::{
    self, BIT_STRING, CONTEXT_0, Element, GENERALIZED_TIME, INTEGER, NULL, OBJECT_IDENTIFIER,
    OCTET_STRING, SEQUENCE, UTC_TIME,
};
use super::id::whole_bytes;
use super::pem::{CERTIFICATE, Kind, PRIVATE_KEY, PUBLIC_KEY};
use super::{Validity, upper_hex};
use crate::error::KeyError;
use crate::time::{Civil, decimal};

/// Reads a private key that ring can sign with, PKCS#8 or PKCS#1. Returns it as PKCS#1.
pub(super) fn private_key(input: &[u8]) -> Result<&[u8], KeyError> {
    match der::sequence(input)[..] {
        // RFC 5208 or RFC 5958. Attributes and the public key may follow. They are not needed.
        [
            (INTEGER, [0 | 1]),
            (SEQUENCE, algorithm),
            (OCTET_STRING, pkcs1),
            ..,
        ] => {
            require_rsa(algorithm, PRIVATE_KEY)?;
            rsa_private_key(pkcs1)
        }
        [(INTEGER, _), (SEQUENCE, _), (OCTET_STRING, _), ..] => {
            Err(PRIVATE_KEY.malformed("it does not hold a complete PKCS#8 private key"))
        }
        [(INTEGER, _), (INTEGER, _), _, ..] => rsa_private_key(input),
        [(INTEGER, _), (OCTET_STRING, _), ..] => Err(KeyError::NotRsa { found: "an EC key" }),
        [(SEQUENCE, _), (OCTET_STRING, _)] => Err(KeyError::Encrypted),
        _ => Err(PRIVATE_KEY.malformed(content(input))),
    }
}

/// Reads a public key, SubjectPublicKeyInfo (RFC 5280, 4.1) or PKCS#1. Returns it as PKCS#1.
pub(super) fn public_key(input: &[u8]) -> Result<&[u8], KeyError> {
    let elements = der::sequence(input);
    match elements[..] {
        [(SEQUENCE, _), (BIT_STRING, _)] => public_key_info(&elements, PUBLIC_KEY),
        [(INTEGER, _), (INTEGER, _)] => rsa_public_key(input),
        _ => Err(PUBLIC_KEY.malformed(content(input))),
    }
}

/// Reads a `Certificate` (RFC 5280, 4.1). Returns its serial number, its validity, and its key as PKCS#1.
pub(super) fn certificate(input: &[u8]) -> Result<(String, Validity, &[u8]), KeyError> {
    let malformed = |what| CERTIFICATE.malformed(what);
    let (serial, period, key) = outline(input).ok_or_else(|| malformed(content(input)))?;
    let no_serial = "its serial number is negative or longer than 32 bytes";
    let no_period = "its validity is not a period between two times since 1970";
    Ok((
        serial_number(serial).ok_or_else(|| malformed(no_serial))?,
        validity(period).ok_or_else(|| malformed(no_period))?,
        public_key_info(&der::elements(key), CERTIFICATE)?,
    ))
}

/// Checks whether DER has the outline of an X.509 certificate, with a key of any kind.
#[cfg(feature = "client")]
pub(crate) fn is_certificate(input: &[u8]) -> bool {
    outline(input).is_some()
}

/// Describes the content of a PEM block.
fn content(input: &[u8]) -> &'static str {
    match der::sequence(input)[..] {
        [(INTEGER, _), (SEQUENCE, _), (OCTET_STRING, _), ..] => "it holds a private key (PKCS#8)",
        [(INTEGER, _), (INTEGER, _)] => "it holds a public key (PKCS#1)",
        [(INTEGER, _), (INTEGER, _), ..] => "it holds a private key (PKCS#1)",
        [(SEQUENCE, _), (BIT_STRING, _)] => "it holds a public key",
        [(SEQUENCE, _), (OCTET_STRING, _)] => "it holds an encrypted private key",
        [(INTEGER, _), (OCTET_STRING, _), ..] => "it holds an EC private key",
        [(SEQUENCE, _), (SEQUENCE, _), (BIT_STRING, _)] => match outline(input) {
            Some(_) => "it holds an X.509 certificate",
            None => "it holds a certificate request, or a damaged certificate",
        },
        _ => match input {
            [] => "it holds nothing",
            [SEQUENCE, ..] => {
                "it holds data that is cut off, damaged, or followed by something else"
            }
            _ => "it holds no DER",
        },
    }
}

/// Returns the content of a certificate's serial number, validity and key.
fn outline(input: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let [(SEQUENCE, signed), (SEQUENCE, _), (BIT_STRING, [0, ..])] = der::sequence(input)[..]
    else {
        return None;
    };
    let signed = der::elements(signed);
    let fields = match &signed[..] {
        [(CONTEXT_0, _version), fields @ ..] => fields,
        fields => fields,
    };
    let [
        (INTEGER, serial),
        (SEQUENCE, _algorithm),
        (SEQUENCE, _issuer),
        (SEQUENCE, validity),
        (SEQUENCE, _subject),
        (SEQUENCE, key),
        ..,
    ] = *fields
    else {
        return None;
    };
    Some((serial, validity, key))
}

/// Reads the elements of a `SubjectPublicKeyInfo`. Returns the key as PKCS#1.
fn public_key_info<'a>(info: &[Element<'a>], kind: Kind) -> Result<&'a [u8], KeyError> {
    match *info {
        [(SEQUENCE, algorithm), (BIT_STRING, [0, pkcs1 @ ..])] => {
            require_rsa(algorithm, kind)?;
            rsa_public_key(pkcs1)
        }
        _ => Err(kind.malformed("it does not hold a complete public key")),
    }
}

/// Returns an error if the content of an `AlgorithmIdentifier` is not `rsaEncryption`. The error names the algorithm if
/// it is one that is often used by mistake.
fn require_rsa(algorithm: &[u8], kind: Kind) -> Result<(), KeyError> {
    const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
    const RSA_PSS: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A];
    const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
    const SM2: &[u8] = &[0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D];
    const ED25519: &[u8] = &[0x2B, 0x65, 0x70];
    let found = match der::elements(algorithm)[..] {
        [(OBJECT_IDENTIFIER, RSA), (NULL, [])] => return Ok(()),
        [(OBJECT_IDENTIFIER, RSA_PSS), ..] => "an RSA-PSS key",
        [(OBJECT_IDENTIFIER, EC), (OBJECT_IDENTIFIER, SM2)] => "an SM2 key",
        [(OBJECT_IDENTIFIER, EC), ..] => "an EC key",
        [(OBJECT_IDENTIFIER, ED25519), ..] => "an Ed25519 key",
        [(OBJECT_IDENTIFIER, other), ..] if other != RSA => "a key of another algorithm",
        _ => return Err(kind.malformed("its algorithm is malformed")),
    };
    Err(KeyError::NotRsa { found })
}

/// Checks an `RSAPublicKey` of PKCS#1 (RFC 8017, A.1.1), and returns it.
fn rsa_public_key(pkcs1: &[u8]) -> Result<&[u8], KeyError> {
    match der::sequence(pkcs1)[..] {
        [modulus, exponent] => check_numbers(modulus, exponent, PUBLIC_KEY)?,
        _ => return Err(incomplete(PUBLIC_KEY)),
    }
    Ok(pkcs1)
}

/// Checks an `RSAPrivateKey` of PKCS#1 (RFC 8017, A.1.2), and returns it. Leaves d, p, q, dP, dQ and qInv to ring.
fn rsa_private_key(pkcs1: &[u8]) -> Result<&[u8], KeyError> {
    match der::sequence(pkcs1)[..] {
        [(INTEGER, [0]), modulus, exponent, _, _, _, _, _, _] => {
            check_numbers(modulus, exponent, PRIVATE_KEY)?;
        }
        [(INTEGER, [1]), ..] => return Err(PRIVATE_KEY.malformed("it has more than two primes")),
        _ => return Err(incomplete(PRIVATE_KEY)),
    }
    Ok(pkcs1)
}

fn incomplete(kind: Kind) -> KeyError {
    kind.malformed(format!("it does not hold a complete RSA {}", kind.name))
}

/// Returns an error if the modulus or the exponent is not supported. Unlike ring's, it says why.
fn check_numbers(modulus: Element<'_>, exponent: Element<'_>, kind: Kind) -> Result<(), KeyError> {
    match (der::unsigned(modulus), der::unsigned(exponent)) {
        (Some(modulus), Some(exponent)) => {
            check_modulus(modulus, kind)?;
            check_exponent(exponent, kind)
        }
        _ => Err(incomplete(kind)),
    }
}

fn check_modulus(modulus: &[u8], kind: Kind) -> Result<(), KeyError> {
    let (step, wanted) = match kind.is_private() {
        true => (1024, "2048, 3072 or 4096"),
        false => (1, "2048 to 4096"),
    };
    let unused = modulus.first().map_or(0, |first| first.leading_zeros());
    let bits = modulus.len() * 8 - usize::try_from(unused).unwrap_or_default();
    if !(2048..=4096).contains(&bits) || bits % step != 0 {
        return Err(KeyError::UnsupportedSize { bits, wanted });
    }
    if modulus.last().is_some_and(|last| last % 2 == 0) {
        return Err(KeyError::Malformed {
            key: "RSA key",
            what: "its modulus is even".to_owned(),
        });
    }
    Ok(())
}

/// ring limits the exponent to 33 bits.
fn check_exponent(exponent: &[u8], kind: Kind) -> Result<(), KeyError> {
    let (least, wanted) = match kind.is_private() {
        true => (65537, "65537 or another odd number up to 8589934591"),
        false => (3, "an odd number from 3 to 8589934591"),
    };
    let append = |value: u64, byte: &u8| Some(value.checked_mul(256)? + u64::from(*byte));
    match exponent.iter().try_fold(0, append) {
        Some(value) if (least..1 << 33).contains(&value) && value % 2 == 1 => Ok(()),
        _ => Err(KeyError::UnsupportedExponent { wanted }),
    }
}

/// Returns the serial number in hexadecimal. Returns `None` if it is empty, longer than 32 bytes, or negative. A
/// negative one has no standard text form.
fn serial_number(content: &[u8]) -> Option<String> {
    let is_negative = *content.first()? >= 0x80;
    let serial = whole_bytes(&upper_hex(content));
    (!is_negative && serial.len() <= 64).then_some(serial)
}

fn validity(content: &[u8]) -> Option<Validity> {
    let [not_before, not_after] = der::elements(content)[..] else {
        return None;
    };
    let validity = Validity {
        not_before: time(not_before)?,
        not_after: time(not_after)?,
    };
    (validity.not_before <= validity.not_after).then_some(validity)
}

/// Reads `UTCTime` or `GeneralizedTime` in the form of RFC 5280, 4.1.2.5.1 and 4.1.2.5.2. Returns Unix seconds.
fn time((tag, text): Element<'_>) -> Option<u64> {
    let century: &[u8] = match (tag, text) {
        (UTC_TIME, [b'5'..=b'9', ..]) => b"19",
        (UTC_TIME, _) => b"20",
        (GENERALIZED_TIME, _) => b"",
        _ => return None,
    };
    let digits = [century, text.strip_suffix(b"Z")?].concat();
    let part = |range| decimal(digits.get(range)?);
    let civil = Civil {
        date: [part(0..4)?, part(4..6)?, part(6..8)?],
        time: [part(8..10)?, part(10..12)?, part(12..14)?],
    };
    (digits.len() == 14).then(|| civil.unix_seconds())?
}
