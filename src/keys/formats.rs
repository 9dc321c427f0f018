//! The formats inside PEM blocks: RSA keys as PKCS#1, PKCS#8 and SubjectPublicKeyInfo, and X.509 certificates.

use super::Validity;
use super::der::{self, Reader};
use crate::error::KeyError;
use crate::time::{Civil, decimal};

/// Modulus and public exponent, big-endian without leading zeros.
pub(super) struct RsaNumbers<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) exponent: &'a [u8],
}

impl RsaNumbers<'_> {
    /// Checks that signatures can be verified with these numbers.
    pub(super) fn check_public(&self) -> Result<(), KeyError> {
        let is_supported = (2048..=4096).contains(&self.modulus_bits());
        self.check_modulus(is_supported, "2048 to 4096")?;
        self.check_exponent(3, "an odd number from 3 to 8589934591")
    }

    /// Checks that ring can sign with these numbers.
    pub(super) fn check_private(&self) -> Result<(), KeyError> {
        let is_supported = [2048, 3072, 4096].contains(&self.modulus_bits());
        self.check_modulus(is_supported, "2048, 3072 or 4096")?;
        self.check_exponent(65537, "65537 or another odd number up to 8589934591")
    }

    fn modulus_bits(&self) -> usize {
        let unused = self
            .modulus
            .first()
            .map_or(0, |first| first.leading_zeros());
        (self.modulus.len() * 8).saturating_sub(usize::try_from(unused).unwrap_or_default())
    }

    fn check_modulus(&self, is_supported: bool, wanted: &'static str) -> Result<(), KeyError> {
        if !is_supported {
            let bits = self.modulus_bits();
            return Err(KeyError::UnsupportedSize { bits, wanted });
        }
        match self.modulus.last() {
            Some(last) if last % 2 == 1 => Ok(()),
            _ => Err(malformed("RSA key", "its modulus is even")),
        }
    }

    /// ring limits the exponent to 33 bits.
    fn check_exponent(&self, least: u64, wanted: &'static str) -> Result<(), KeyError> {
        const MOST: u64 = (1 << 33) - 1;
        let shift = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
        let exponent = match self.exponent.len() {
            ..=8 => self.exponent.iter().fold(0, shift),
            _ => u64::MAX,
        };
        if (least..=MOST).contains(&exponent) && exponent % 2 == 1 {
            return Ok(());
        }
        Err(KeyError::UnsupportedExponent { wanted })
    }
}

/// The parts of a certificate that this crate needs.
pub(super) struct Certificate<'a> {
    /// Big-endian, without leading zeros.
    pub(super) serial: &'a [u8],
    pub(super) validity: Validity,
    pub(super) key: RsaNumbers<'a>,
}

/// Reads a private key, PKCS#8 or PKCS#1. Returns it as PKCS#1, with its public numbers.
pub(super) fn private_key(input: &[u8]) -> Result<(&[u8], RsaNumbers<'_>), KeyError> {
    let pkcs1 = match tags(input)[..] {
        [der::INTEGER, der::SEQUENCE, der::OCTET_STRING, ..] => pkcs8_content(input)?,
        [der::INTEGER, der::INTEGER, _, ..] => input,
        [der::INTEGER, der::OCTET_STRING, ..] => return Err(not_rsa("an EC key")),
        [der::SEQUENCE, der::OCTET_STRING] => return Err(KeyError::Encrypted),
        _ => return Err(malformed(PRIVATE_KEY, content(input))),
    };
    Ok((pkcs1, rsa_private_key(pkcs1)?))
}

/// Reads a public key, SubjectPublicKeyInfo (RFC 5280, 4.1) or PKCS#1.
pub(super) fn public_key(input: &[u8]) -> Result<RsaNumbers<'_>, KeyError> {
    match tags(input)[..] {
        [der::SEQUENCE, der::BIT_STRING] => {
            let info = Reader::whole(der::SEQUENCE, input);
            public_key_of(info.unwrap_or_else(|| Reader::new(&[])), PUBLIC_KEY)
        }
        [der::INTEGER, der::INTEGER] => rsa_public_key(input),
        _ => Err(malformed(PUBLIC_KEY, content(input))),
    }
}

/// Reads a `Certificate` (RFC 5280, 4.1).
pub(super) fn certificate(input: &[u8]) -> Result<Certificate<'_>, KeyError> {
    let malformed = |what: &str| malformed(CERTIFICATE, what);
    let outline = outline(input).ok_or_else(|| malformed(&content(input)))?;
    Ok(Certificate {
        serial: serial_number(outline.serial)
            .ok_or_else(|| malformed("its serial number is negative or longer than 32 bytes"))?,
        validity: validity_period(outline.validity).ok_or_else(|| {
            malformed("its validity is not a period between two times since 1970")
        })?,
        key: public_key_of(outline.key, CERTIFICATE)?,
    })
}

const PRIVATE_KEY: &str = "private key";
const PUBLIC_KEY: &str = "public key";
const CERTIFICATE: &str = "certificate";

/// Returns the tags of the elements of the outermost sequence, or no tags if it is not well-formed.
fn tags(input: &[u8]) -> Vec<u8> {
    let mut tags = Vec::new();
    let Some(mut outer) = Reader::whole(der::SEQUENCE, input) else {
        return tags;
    };
    while let Some((tag, _)) = outer.any() {
        tags.push(tag);
    }
    match outer.at_end() {
        true => tags,
        false => Vec::new(),
    }
}

/// Describes the content of a PEM block.
fn content(input: &[u8]) -> String {
    let starts_as_sequence = input.first() == Some(&der::SEQUENCE);
    let found = match tags(input)[..] {
        [der::INTEGER, der::SEQUENCE, der::OCTET_STRING, ..] => "a private key (PKCS#8)",
        [der::INTEGER, der::INTEGER] => "a public key (PKCS#1)",
        [der::INTEGER, der::INTEGER, ..] => "a private key (PKCS#1)",
        [der::SEQUENCE, der::BIT_STRING] => "a public key",
        [der::SEQUENCE, der::OCTET_STRING] => "an encrypted private key",
        [der::INTEGER, der::OCTET_STRING, ..] => "an EC private key",
        [der::SEQUENCE, der::SEQUENCE, der::BIT_STRING] if outline(input).is_some() => {
            "an X.509 certificate"
        }
        [der::SEQUENCE, der::SEQUENCE, der::BIT_STRING] => {
            "a certificate request, or a damaged certificate"
        }
        _ if input.is_empty() => "nothing",
        _ if starts_as_sequence => "data that is cut off, damaged, or followed by something else",
        _ => "no DER",
    };
    format!("it holds {found}")
}

/// Reads an `RSAPublicKey` of PKCS#1 (RFC 8017, A.1.1).
pub(super) fn rsa_public_key(input: &[u8]) -> Result<RsaNumbers<'_>, KeyError> {
    let read = || {
        let mut key = Reader::whole(der::SEQUENCE, input)?;
        let numbers = RsaNumbers {
            modulus: key.unsigned()?,
            exponent: key.unsigned()?,
        };
        key.at_end().then_some(numbers)
    };
    read().ok_or_else(|| malformed(PUBLIC_KEY, "it does not hold a complete RSA public key"))
}

/// Reads an `RSAPrivateKey` of PKCS#1 (RFC 8017, A.1.2). Returns its public numbers.
fn rsa_private_key(input: &[u8]) -> Result<RsaNumbers<'_>, KeyError> {
    let read = || {
        let mut key = Reader::whole(der::SEQUENCE, input)?;
        let version = key.unsigned()?;
        let numbers = RsaNumbers {
            modulus: key.unsigned()?,
            exponent: key.unsigned()?,
        };
        // ring checks the values of d, p, q, dP, dQ and qInv.
        for _ in 0..6 {
            key.unsigned()?;
        }
        match version {
            [0] => key.at_end().then_some(Ok(numbers)),
            _ => Some(Err(malformed(PRIVATE_KEY, "it has more than two primes"))),
        }
    };
    let incomplete = || malformed(PRIVATE_KEY, "it does not hold a complete RSA private key");
    read().unwrap_or_else(|| Err(incomplete()))
}

/// Returns the PKCS#1 key inside a `PrivateKeyInfo` of PKCS#8 (RFC 5208) or a `OneAsymmetricKey` (RFC 5958).
fn pkcs8_content(input: &[u8]) -> Result<&[u8], KeyError> {
    let read = || {
        let mut info = Reader::whole(der::SEQUENCE, input)?;
        let [0 | 1] = info.unsigned()? else {
            return None;
        };
        // Attributes and the public key may follow. They are not needed.
        Some((info.sequence()?, info.element(der::OCTET_STRING)?))
    };
    let incomplete = || {
        malformed(
            PRIVATE_KEY,
            "it does not hold a complete PKCS#8 private key",
        )
    };
    let (algorithm, content) = read().ok_or_else(incomplete)?;
    require_rsa(algorithm, PRIVATE_KEY)?;
    Ok(content)
}

/// Checks whether DER has the outline of an X.509 certificate, with a key of any kind.
#[cfg(feature = "client")]
pub(crate) fn is_certificate(input: &[u8]) -> bool {
    outline(input).is_some()
}

/// The unparsed parts of a certificate.
struct Outline<'a> {
    serial: &'a [u8],
    validity: Reader<'a>,
    key: Reader<'a>,
}

fn outline(input: &[u8]) -> Option<Outline<'_>> {
    let mut outer = Reader::whole(der::SEQUENCE, input)?;
    let mut signed = outer.sequence()?;
    let _algorithm = outer.sequence()?;
    let _signature = outer.bytes_of_bit_string()?;
    if signed.peek() == Some(der::CONTEXT_0) {
        let _version = signed.any()?;
    }
    let serial = signed.element(der::INTEGER)?;
    let _algorithm = signed.sequence()?;
    let _issuer = signed.sequence()?;
    let validity = signed.sequence()?;
    let _subject = signed.sequence()?;
    let key = signed.sequence()?;
    while !signed.at_end() {
        signed.any()?;
    }
    outer.at_end().then_some(Outline {
        serial,
        validity,
        key,
    })
}

fn malformed(key: &'static str, what: impl Into<String>) -> KeyError {
    KeyError::Malformed {
        key,
        what: what.into(),
    }
}

fn not_rsa(found: &'static str) -> KeyError {
    KeyError::NotRsa { found }
}

/// Reads the content of a `SubjectPublicKeyInfo`.
fn public_key_of<'a>(mut info: Reader<'a>, name: &'static str) -> Result<RsaNumbers<'a>, KeyError> {
    let mut read = || {
        let algorithm = info.sequence()?;
        let content = info.bytes_of_bit_string()?;
        info.at_end().then_some((algorithm, content))
    };
    let incomplete = || malformed(name, "it does not hold a complete public key");
    let (algorithm, content) = read().ok_or_else(incomplete)?;
    require_rsa(algorithm, name)?;
    rsa_public_key(content)
}

/// Returns an error unless the `AlgorithmIdentifier` is `rsaEncryption`. The error names the algorithms that are often
/// used by mistake.
fn require_rsa(mut algorithm: Reader<'_>, name: &'static str) -> Result<(), KeyError> {
    const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
    const RSA_PSS: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A];
    const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
    const SM2: &[u8] = &[0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D];
    const ED25519: &[u8] = &[0x2B, 0x65, 0x70];
    match algorithm.element(der::OBJECT_IDENTIFIER) {
        Some(RSA) if algorithm.element(der::NULL) == Some(&[]) && algorithm.at_end() => Ok(()),
        None | Some(RSA) => Err(malformed(name, "its algorithm is malformed")),
        Some(RSA_PSS) => Err(not_rsa("an RSA-PSS key")),
        Some(EC) if algorithm.element(der::OBJECT_IDENTIFIER) == Some(SM2) => {
            Err(not_rsa("an SM2 key"))
        }
        Some(EC) => Err(not_rsa("an EC key")),
        Some(ED25519) => Err(not_rsa("an Ed25519 key")),
        Some(_) => Err(not_rsa("a key of another algorithm")),
    }
}

/// Returns the serial number without leading zeros, at least one byte. Returns `None` for a negative one, which has no
/// standard text form.
fn serial_number(content: &[u8]) -> Option<&[u8]> {
    if *content.first()? >= 0x80 {
        return None;
    }
    let last = content.len() - 1;
    let zeros = content.iter().take_while(|byte| **byte == 0).count();
    let serial = content.get(zeros.min(last)..)?;
    (serial.len() <= 32).then_some(serial)
}

fn validity_period(mut period: Reader<'_>) -> Option<Validity> {
    let not_before = time(period.any()?)?;
    let not_after = time(period.any()?)?;
    (period.at_end() && not_before <= not_after).then_some(Validity {
        not_before,
        not_after,
    })
}

/// Reads `UTCTime` or `GeneralizedTime` as RFC 5280, 4.1.2.5 restricts them. Returns Unix seconds.
fn time((tag, text): (u8, &[u8])) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match (tag, digits.len()) {
        (der::UTC_TIME, 12) => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = decimal(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (der::GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at_checked(4)?;
            (decimal(year)?, rest)
        }
        _ => return None,
    };
    let mut pairs = rest.chunks_exact(2).map(decimal);
    let mut next = || pairs.next().flatten();
    let civil = Civil {
        year,
        month: next()?,
        day: next()?,
        hour: next()?,
        minute: next()?,
        second: next()?,
    };
    civil.unix_seconds()
}
