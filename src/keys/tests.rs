//! Tests of reading and refusing keys: keys made by OpenSSL, and published vectors.
//!
//! The files in `tests/keys/` protect nothing. They were made like this, `KIND` being the file's name without `.pem`:
//!
//! - `rsa<bits>_pkcs8`: `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:<bits> -out KIND.pem`, with
//!   `-pkeyopt rsa_keygen_pubexp:3` for `exponent3_pkcs8` and `-pkeyopt rsa_keygen_primes:3` for `multiprime_pkcs8`.
//! - From `rsa2048_pkcs8.pem`: `rsa2048_pkcs1` with `openssl rsa -traditional`, `rsa2048_public` with `openssl pkey
//!   -pubout`, `rsa2048_rsa_public` with `openssl rsa -RSAPublicKey_out`, `encrypted_pkcs8` with `openssl pkcs8 -topk8
//!   -passout pass:secret`, `encrypted_pkcs1` with `openssl rsa -traditional -aes128 -passout pass:secret`.
//! - `swapped_primes_pkcs1`: the numbers of `rsa2048_pkcs1` with p and q, and dP and dQ, exchanged, and qInv
//!   recomputed. `openssl rsa -check` accepts it.
//! - `ec_sec1`: `openssl ecparam -name prime256v1 -genkey`. `ec_pkcs8` from it with `openssl pkcs8 -topk8 -nocrypt`.
//! - `sm2_pkcs8`, `ed25519_pkcs8`, `x25519_pkcs8`, `rsa_pss_pkcs8`: `openssl genpkey -algorithm <name>`.
//! - `certificate_*`: `openssl ca -selfsign -notext -startdate … -enddate …` with the serial number in the serial file.
//!   The key is `rsa2048_pkcs8`, except for `certificate_generalized_time` (`rsa3072_pkcs8`), `certificate_rsa1024`
//!   (`rsa1024_pkcs8`) and `certificate_ec` (`ec_pkcs8`). They are of version 3, with `x509_extensions` configured, but
//!   `certificate_high_bit_serial` is of version 1. `request`: `openssl req -new`.
//! - `certificate_serial_of_16_bytes`: `openssl req -new -x509 -set_serial 0x1A2B3C4D5E6F708192A3B4C5D6E7F809`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::der::{self, Element};
use super::*;

use self::installed::installed;

#[path = "../../tests/support/installed.rs"]
mod installed;

const ID: &str = "PUB_KEY_ID_0000000000000024101100397200000006";
const MESSAGE: &[u8] = "POST\n/v3/pay\n1554208460\nnonce\n{\"名\":1}\n".as_bytes();

const WANTED_PRIVATE: &str =
    "the merchant's private key (apiclient_key.pem), BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY";
const WANTED_PUBLIC: &str = "WeChat Pay's public key (pub_key.pem), BEGIN PUBLIC KEY or BEGIN RSA PUBLIC KEY (for a certificate, \
     PublicKey::from_certificate_pem)";
const WANTED_CERTIFICATE: &str = "BEGIN CERTIFICATE (for a public key, PublicKey::from_pem)";

fn path(kind: &str) -> String {
    format!("{}/tests/keys/{kind}.pem", env!("CARGO_MANIFEST_DIR"))
}

fn pem(kind: &str) -> String {
    fs::read_to_string(path(kind)).unwrap()
}

/// Runs OpenSSL with `input` on its standard input and returns its standard output.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the openssl command is needed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// The public half of a private key, as OpenSSL writes it.
fn public_pem(kind: &str) -> Vec<u8> {
    openssl(&["pkey", "-in", &path(kind), "-pubout"], b"")
}

fn openssl_sign(kind: &str, message: &[u8]) -> Vec<u8> {
    openssl(&["dgst", "-sha256", "-sign", &path(kind)], message)
}

/// A file for OpenSSL to read, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let name = format!("wechatpay-contract-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn base64_of(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}

fn der_of(pem: &str) -> Vec<u8> {
    STANDARD.decode(base64_of(pem)).unwrap()
}

fn armour(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

/// The same DER with the first occurrence of `old` replaced.
fn replaced(der: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = der.windows(old.len()).position(|window| window == old);
    let at = at.expect("the part to be replaced is there");
    [&der[..at], new, &der[at + old.len()..]].concat()
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let header = match content.len() {
        ..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}

fn sequence(elements: &[Element<'_>]) -> Vec<u8> {
    let content: Vec<u8> = elements
        .iter()
        .flat_map(|(tag, content)| element(*tag, content))
        .collect();
    element(der::SEQUENCE, &content)
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/official.json")).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn private(pem: impl AsRef<[u8]>) -> Result<(), KeyError> {
    PrivateKey::from_pem(pem).map(drop)
}

fn public(pem: impl AsRef<[u8]>) -> Result<(), KeyError> {
    PublicKey::from_pem(ID, pem).map(drop)
}

fn certificate(pem: impl AsRef<[u8]>) -> Result<(), KeyError> {
    PublicKey::from_certificate_pem(pem).map(drop)
}

fn malformed(key: &'static str, what: &str) -> Result<(), KeyError> {
    let what = what.to_owned();
    Err(KeyError::Malformed { key, what })
}

// Signing and verifying

#[test]
fn the_published_messages_get_the_published_signatures() {
    let vectors = vectors();
    let key = PrivateKey::from_pem(text(&vectors, "private_key_pem")).unwrap();
    let public = key.public_key(ID).unwrap();
    let signed = vectors["sign"].as_array().unwrap();
    assert_eq!(signed.len(), 2);
    for vector in signed {
        let message = text(vector, "message").as_bytes();
        let signature = key.sign(message).unwrap();
        assert_eq!(STANDARD.encode(&signature), text(vector, "signature"));
        assert!(public.verify(message, &signature));
    }
}

#[test]
fn openssl_accepts_our_signatures_and_makes_the_same() {
    if !installed("openssl") {
        return;
    }
    for (kind, len) in [
        ("rsa2048_pkcs8", 256),
        ("rsa2048_pkcs1", 256),
        ("swapped_primes_pkcs1", 256),
        ("rsa3072_pkcs8", 384),
        ("rsa4096_pkcs8", 512),
    ] {
        let signature = PrivateKey::from_pem(pem(kind))
            .unwrap()
            .sign(MESSAGE)
            .unwrap();
        assert_eq!(signature.len(), len, "{kind}");
        let file = Scratch::new(&format!("{kind}.sig"), &signature);
        let file = file.0.to_str().unwrap();
        let key = path(kind);
        let said = openssl(
            &["dgst", "-sha256", "-prverify", &key, "-signature", file],
            MESSAGE,
        );
        assert_eq!(said, b"Verified OK\n", "{kind}");
        assert_eq!(signature, openssl_sign(kind, MESSAGE), "{kind}");
    }
}

#[test]
fn a_public_key_accepts_signatures_of_openssl_and_nothing_else() {
    if !installed("openssl") {
        return;
    }
    let public = |pem: &[u8]| PublicKey::from_pem(ID, pem).unwrap();
    let of_certificate = |kind| PublicKey::from_certificate_pem(pem(kind)).unwrap();
    let other = public(&public_pem("rsa4096_pkcs8"));
    for (kind, key) in [
        ("rsa2048_pkcs8", public(pem("rsa2048_public").as_bytes())),
        (
            "rsa2048_pkcs8",
            public(pem("rsa2048_rsa_public").as_bytes()),
        ),
        ("rsa2048_pkcs8", of_certificate("certificate_utc_time")),
        ("rsa2560_pkcs8", public(&public_pem("rsa2560_pkcs8"))),
        (
            "rsa3072_pkcs8",
            of_certificate("certificate_generalized_time"),
        ),
        ("rsa4096_pkcs8", public(&public_pem("rsa4096_pkcs8"))),
        ("exponent3_pkcs8", public(&public_pem("exponent3_pkcs8"))),
    ] {
        let signature = openssl_sign(kind, MESSAGE);
        assert!(key.verify(MESSAGE, &signature), "{kind}");

        assert!(
            !key.verify(&MESSAGE[1..], &signature),
            "{kind}: other message"
        );
        assert!(!key.verify(b"", &signature), "{kind}: empty message");
        assert!(!key.verify(MESSAGE, b""), "{kind}: no signature");
        assert!(!key.verify(MESSAGE, &signature[1..]), "{kind}: short");
        assert!(
            !key.verify(MESSAGE, &[&signature[..], &[0]].concat()),
            "{kind}: long"
        );
        assert!(
            !key.verify(MESSAGE, &vec![0; signature.len()]),
            "{kind}: zeros"
        );
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut altered = signature.clone();
            altered[at] ^= 1;
            assert!(!key.verify(MESSAGE, &altered), "{kind}: byte {at}");
        }
        let foreign = PrivateKey::from_pem(text(&vectors(), "private_key_pem")).unwrap();
        let foreign = foreign.sign(MESSAGE).unwrap();
        assert!(!key.verify(MESSAGE, &foreign), "{kind}: foreign key");
        if kind != "rsa4096_pkcs8" {
            assert!(
                !other.verify(MESSAGE, &signature),
                "{kind}: under another key"
            );
        }
    }
}

#[test]
fn sha1_and_pss_signatures_are_not_accepted() {
    if !installed("openssl") {
        return;
    }
    let key = PublicKey::from_pem(ID, pem("rsa2048_public")).unwrap();
    let file = path("rsa2048_pkcs8");
    let sign =
        |arguments: &[&str]| openssl(&[&["dgst"], arguments, &["-sign", &file]].concat(), MESSAGE);
    assert!(key.verify(MESSAGE, &sign(&["-sha256"])));
    assert!(!key.verify(MESSAGE, &sign(&["-sha1"])));
    assert!(!key.verify(
        MESSAGE,
        &sign(&["-sha256", "-sigopt", "rsa_padding_mode:pss"])
    ));
}

#[test]
fn a_key_with_inconsistent_components_never_signs() {
    let der = der_of(&pem("rsa2048_pkcs1"));
    assert_eq!(private(armour("RSA PRIVATE KEY", &der)), Ok(()));

    let numbers = der::sequence(&der).into_iter();
    let numbers: Vec<&[u8]> = numbers.filter_map(der::unsigned).collect();
    let [_version, _modulus, _e, _d, p, q, d_p, d_q, q_inverse] = numbers[..] else {
        panic!("{} numbers", numbers.len());
    };
    let altered = |number: &[u8]| {
        let mut new = number.to_vec();
        new[number.len() / 2] ^= 0x10;
        armour("RSA PRIVATE KEY", &replaced(&der, number, &new))
    };
    for number in [p, q, q_inverse] {
        assert_eq!(
            private(altered(number)),
            malformed("private key", "its components are inconsistent")
        );
    }
    for number in [d_p, d_q] {
        let key = PrivateKey::from_pem(altered(number)).unwrap();
        assert_eq!(
            key.sign(MESSAGE).unwrap_err().to_string(),
            "the components of the RSA private key are inconsistent"
        );
    }
}

// Certificates

/// Returns the Unix seconds of a time such as `2049-12-31 23:59:59Z`, counted day by day.
fn seconds_of(iso: &str) -> u64 {
    let numbers: Vec<u64> = iso
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap())
        .collect();
    let [year, month, day, hour, minute, second] = numbers[..] else {
        panic!("{iso}");
    };
    let (mut at, mut days) = ((1970, 1, 1), 0);
    while at != (year, month, day) {
        let (y, m, d) = at;
        let last = match m {
            4 | 6 | 9 | 11 => 30,
            2 if y % 400 == 0 || (y % 4 == 0 && y % 100 != 0) => 29,
            2 => 28,
            _ => 31,
        };
        at = match (m, d) {
            (12, 31) => (y + 1, 1, 1),
            (_, d) if d == last => (y, m + 1, 1),
            _ => (y, m, d + 1),
        };
        days += 1;
    }
    days * 86400 + hour * 3600 + minute * 60 + second
}

#[test]
fn serial_number_and_validity_are_those_that_openssl_prints() {
    if !installed("openssl") {
        return;
    }
    for kind in [
        "certificate_utc_time",
        "certificate_generalized_time",
        "certificate_high_bit_serial",
    ] {
        let file = path(kind);
        let arguments = [
            "x509", "-in", &file, "-noout", "-serial", "-dates", "-dateopt", "iso_8601",
        ];
        let printed = String::from_utf8(openssl(&arguments, b"")).unwrap();
        let value = |name: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().to_owned()
        };
        let key = PublicKey::from_certificate_pem(pem(kind)).unwrap();
        let validity = key.validity().unwrap();
        assert_eq!(key.id(), value("serial="), "{kind}");
        assert_eq!(
            validity.not_before,
            seconds_of(&value("notBefore=")),
            "{kind}"
        );
        assert_eq!(
            validity.not_after,
            seconds_of(&value("notAfter=")),
            "{kind}"
        );
        assert!(key.is_certificate(), "{kind}");
    }
}

#[test]
fn serial_numbers_are_upper_case_in_whole_bytes() {
    let id = |kind| {
        PublicKey::from_certificate_pem(pem(kind))
            .unwrap()
            .id()
            .to_owned()
    };
    assert_eq!(id("certificate_generalized_time"), "0A");
    assert_eq!(
        id("certificate_high_bit_serial"),
        "F157F09EFDC096DE15EBE81A47057A7232F1B8E1"
    );

    let der = der_of(&pem("certificate_utc_time"));
    let outer = der::sequence(&der);
    let signed = element(der::SEQUENCE, outer[0].1);
    let rest = [
        element(outer[1].0, outer[1].1),
        element(outer[2].0, outer[2].1),
    ]
    .concat();
    let with = |serial: &[u8]| {
        let mut signed = der::sequence(&signed);
        assert_eq!((signed[1].0, signed[1].1.len()), (der::INTEGER, 20));
        signed[1].1 = serial;
        let signed = sequence(&signed);
        let pem = armour(
            "CERTIFICATE",
            &element(der::SEQUENCE, &[signed, rest.clone()].concat()),
        );
        PublicKey::from_certificate_pem(pem).map(|key| key.id().to_owned())
    };
    assert_eq!(with(&[0x00]).as_deref(), Ok("00"));
    assert_eq!(with(&[0x0A, 0x00]).as_deref(), Ok("0A00"));
    assert_eq!(with(&[0x00, 0x80]).as_deref(), Ok("80"));
    assert_eq!(with(&[0x00, 0x00, 0x01]).as_deref(), Ok("01"));
    assert_eq!(with(&[0x7F; 32]), Ok("7F".repeat(32)));
    let what = "its serial number is negative or longer than 32 bytes";
    for serial in [&[0x7F; 33][..], &[0x80], &[0xFF, 0xFF], &[]] {
        let error = malformed("certificate", what).err();
        assert_eq!(with(serial).err(), error, "{serial:02X?}");
    }
}

#[test]
fn validity_includes_both_ends_and_a_public_key_has_none() {
    let certificate = PublicKey::from_certificate_pem(pem("certificate_utc_time")).unwrap();
    let Validity {
        not_before,
        not_after,
    } = certificate.validity().unwrap();
    assert!(!certificate.is_valid_at(0));
    assert!(!certificate.is_valid_at(not_before - 1));
    assert!(certificate.is_valid_at(not_before));
    assert!(certificate.is_valid_at(not_after));
    assert!(!certificate.is_valid_at(not_after + 1));
    assert!(!certificate.is_valid_at(u64::MAX));

    let public = PublicKey::from_pem(ID, pem("rsa2048_public")).unwrap();
    assert_eq!(public.id(), ID);
    assert_eq!(public.validity(), None);
    assert!(!public.is_certificate());
    assert!(public.is_valid_at(0));
    assert!(public.is_valid_at(u64::MAX));
}

#[test]
fn a_certificate_has_a_period_between_two_valid_times_since_1970() {
    // Of certificate_utc_time: from 240229235959Z to 290227000000Z.
    let der = der_of(&pem("certificate_utc_time"));
    let not_before = |new: &[u8]| armour("CERTIFICATE", &replaced(&der, b"240229235959Z", new));
    for (time, seconds) in [
        (b"240229235959Z", 1_709_251_199),
        (b"700101000000Z", 0),
        (b"000229000000Z", 951_782_400),
        (b"001231235959Z", 978_307_199),
        (b"281231235959Z", 1_861_919_999),
    ] {
        let key = PublicKey::from_certificate_pem(not_before(time)).unwrap();
        assert_eq!(key.validity().unwrap().not_before, seconds);
    }
    let has_no_period = |pem: String| {
        let what = "its validity is not a period between two times since 1970";
        assert_eq!(certificate(&pem), malformed("certificate", what), "{pem}");
    };
    for time in [
        b"230229235959Z", // no leap year
        b"240230235959Z",
        b"240431235959Z",
        b"240200235959Z",
        b"240029235959Z",
        b"241329235959Z",
        b"240229245959Z",
        b"240229236059Z",
        b"240229235960Z",
        b"691231235959Z", // 1969
        b"500101000000Z", // 1950
        b"24022923595 Z",
        b"24022923-959Z",
        b"2402292359590",
        b"24022923+0800",
        b"290227000001Z", // after the end
    ] {
        has_no_period(not_before(time));
    }
    // Two digits mean the years from 1950 to 2049.
    let not_after = |new: &[u8]| armour("CERTIFICATE", &replaced(&der, b"290227000000Z", new));
    assert_eq!(certificate(not_after(b"491231235959Z")), Ok(()));
    has_no_period(not_after(b"500101000000Z"));
    // Four digits, in centuries with and without a leap year.
    let far = der_of(&pem("certificate_generalized_time"));
    let not_after = |new: &[u8]| armour("CERTIFICATE", &replaced(&far, b"20600229120000Z", new));
    for (time, iso) in [
        (b"21000228120000Z", "2100-02-28 12:00:00Z"),
        (b"21000301000000Z", "2100-03-01 00:00:00Z"),
        (b"24000229235959Z", "2400-02-29 23:59:59Z"),
        (b"24010101000000Z", "2401-01-01 00:00:00Z"),
        (b"99991231235959Z", "9999-12-31 23:59:59Z"),
    ] {
        let key = PublicKey::from_certificate_pem(not_after(time)).unwrap();
        assert_eq!(key.validity().unwrap().not_after, seconds_of(iso), "{iso}");
    }
    for time in [
        b"21000229120000Z",
        b"20610229120000Z",
        b"2060022912000.0",
        b"19691231235959Z",
    ] {
        has_no_period(not_after(time));
    }
    // The same digits announced as the other type of time.
    let as_generalized = replaced(&der, b"\x17\x0D240229235959Z", b"\x18\x0D240229235959Z");
    has_no_period(armour("CERTIFICATE", &as_generalized));
}

// Variations accepted around and inside a block

#[test]
fn a_key_is_read_in_every_form_in_which_it_is_passed_on() {
    if !installed("openssl") {
        return;
    }
    let plain = pem("rsa2048_pkcs8");
    let one_line: String = plain.replace('\n', " ");
    let unwrapped = armour("PRIVATE KEY", &der_of(&plain));
    let bare = |kind| base64_of(&pem(kind));
    let escaped = plain.replace('\n', "\\n");
    let json = serde_json::json!({"key": plain}).to_string();
    let php = json.replace('/', "\\/");
    let encoded = STANDARD.encode(&plain);
    let wrapped = encoded
        .as_bytes()
        .chunks(76)
        .collect::<Vec<_>>()
        .join(&b'\n');
    for form in [
        plain.clone(),
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        plain.trim_end().to_owned(),
        format!("\u{feff}{plain}"),
        format!("\n \t{plain}\n\n "),
        format!("商户API证书私钥\n{plain}请妥善保管\n"),
        plain.replace('\n', "\n    "),
        plain.replace('\n', "  \n"),
        unwrapped,
        one_line,
        // As in environment variables, and in JSON inside of JSON.
        escaped.clone(),
        plain.replace('\n', "\\r\\n"),
        plain.replace('\n', "\\\\n"),
        plain.replace('\n', "\\\n"),
        format!("WECHATPAY_KEY=\"{escaped}\""),
        json.replace('+', "\\u002B").replace('=', "\\u003d"),
        escaped.replace("\\n", "\\u000a"),
        json,
        php,
        // As in a Kubernetes secret.
        STANDARD.encode(&escaped),
        encoded,
        String::from_utf8(wrapped).unwrap(),
        // Copied without the first and the last line.
        bare("rsa2048_pkcs8"),
        bare("rsa2048_pkcs1"),
        format!("\"{}\"\n", bare("rsa2048_pkcs8")),
        format!("\u{feff}{}", bare("rsa2048_pkcs8")),
        // PKCS#8 under the label of PKCS#1, which PHP, Node and OpenSSL read as well.
        plain.replace("PRIVATE KEY", "RSA PRIVATE KEY"),
    ] {
        let key = PrivateKey::from_pem(&form).unwrap();
        let signature = key.sign(MESSAGE).unwrap();
        assert_eq!(
            signature,
            openssl_sign("rsa2048_pkcs8", MESSAGE),
            "{form:?}"
        );
    }
    // A sign is no digit of an escape.
    assert_eq!(
        private(plain.replace('\n', "\\u00+A")),
        malformed(
            "private key",
            "it is not valid base64, it has the character '\\\\'"
        )
    );
    let not_utf8 = [b"\xFF\xFE\xC9\xCC\n", plain.as_bytes()].concat();
    assert_eq!(private(not_utf8), Ok(()));
    for kind in ["rsa2048_public", "rsa2048_rsa_public"] {
        let key = PublicKey::from_pem(ID, bare(kind)).unwrap();
        assert!(
            key.verify(MESSAGE, &openssl_sign("rsa2048_pkcs8", MESSAGE)),
            "{kind}"
        );
    }
    assert_eq!(certificate(bare("certificate_utc_time")), Ok(()));
    // Without a label, the content shows the kind of key.
    assert_eq!(
        public(bare("rsa2048_pkcs8")),
        malformed("public key", "it holds a private key (PKCS#8)")
    );

    let file = path("certificate_utc_time");
    let with_text = openssl(&["x509", "-in", &file, "-text"], b"");
    assert!(with_text.starts_with(b"Certificate:"));
    let key = PublicKey::from_certificate_pem(with_text).unwrap();
    assert_eq!(key.id(), "5157F09EFDC096DE15EBE81A47057A7232F1B8E1");
}

#[test]
fn an_id_is_kept_and_a_serial_number_is_written_as_whole_bytes() {
    let key = pem("rsa2048_public");
    let longest = format!("PUB_KEY_ID_{}", "1".repeat(53));
    let padded = format!("{:0>64}", "5157F09E");
    for (id, held) in [
        (ID, ID),
        ("PUB_KEY_ID_1", "PUB_KEY_ID_1"),
        ("PUB_KEY_ID_a1", "PUB_KEY_ID_a1"),
        (&longest, &longest),
        (
            "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
            "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
        ),
        (
            "005157f09efdc096de15ebe81a47057a7232f1b8e1",
            "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
        ),
        (&padded, "5157F09E"),
        ("5157F09EFDC096DE", "5157F09EFDC096DE"),
        ("a1b", "0A1B"),
        ("00a1b", "0A1B"),
        ("a", "0A"),
        ("0", "00"),
        ("000", "00"),
    ] {
        assert_eq!(PublicKey::from_pem(id, &key).unwrap().id(), held, "{id}");
    }
}

#[test]
fn an_invalid_id_is_described_and_not_shown() {
    let key = pem("rsa2048_public");
    let wanted = "wanted PUB_KEY_ID_ and digits, as shown beside the key in the merchant platform, or a certificate's \
                  serial number in hexadecimal";
    let misplaced = "a malformed or misplaced PUB_KEY_ID_";
    let spaces = "spaces or line breaks around a value";
    let like_an_api_v3_key = "32 letters and digits, as many as an APIv3 key has";
    let secret = pem("rsa2048_pkcs8");
    for (id, found) in [
        ("", "nothing"),
        ("PUB_KEY_ID_", misplaced),
        ("PUB_KEY_ID_1_", misplaced),
        ("PUB_KEY_ID_1\r\nX: y", misplaced),
        ("pub_key_id_1", misplaced),
        ("PUB_KEY_ID-1", misplaced),
        (&format!("PUB_KEY_ID_{}", "1".repeat(54)), misplaced),
        ("PUB KEY", "the character 'P'"),
        ("PUB_KEY_ID_1\n", spaces),
        (" 5157F09E", spaces),
        (" ", spaces),
        ("公钥", "the character '公'"),
        ("51:57:F0:9E", "the character ':'"),
        (
            "serial=5157F09E",
            "a label such as serial= in front of a value",
        ),
        (
            "Serial Number: 5157F09E",
            "a label such as serial= in front of a value",
        ),
        ("0x5157F09E", "0x in front of a value"),
        (&"A".repeat(41), "41 digits"),
        (
            "0117000000002025010100000000000001",
            "34 digits, as a public key's id has behind PUB_KEY_ID_",
        ),
        // An APIv3 key in the id's place, of letters and digits, of hexadecimal digits, of decimal digits.
        ("a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb", like_an_api_v3_key),
        (&"0a".repeat(16), like_an_api_v3_key),
        (&"12".repeat(16), like_an_api_v3_key),
        // Both arguments exchanged.
        (&secret, "spaces or line breaks around a value"),
        (secret.trim(), "PEM text"),
    ] {
        let error = PublicKey::from_pem(id, &key).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("found {found} in place of a key's id: {wanted}")
        );
    }
}

#[test]
fn serial_numbers_name_the_same_key_in_either_case_and_with_leading_zeros() {
    for (one, other) in [
        (ID, ID),
        ("PUB_KEY_ID_a", "PUB_KEY_ID_a"),
        ("5157F09E", "5157f09e"),
        ("5157F09E", "05157F09E"),
        ("00A0", "a0"),
        ("0", "00"),
    ] {
        assert!(is_same_id(one, other) && is_same_id(other, one), "{other}");
    }
    for (one, other) in [
        (ID, "PUB_KEY_ID_1"),
        (ID, &ID.to_ascii_lowercase()),
        ("PUB_KEY_ID_a", "PUB_KEY_ID_A"),
        (ID, &format!("0{ID}")),
        ("PUB_KEY_ID_1", "PUB_KEY_ID_01"),
        ("PUB_KEY_ID_1", "1"),
        ("5157F09E", "5157F09"),
        ("5157F09E", "5157F09E0"),
        ("5157F09E", "5157F09E "),
        ("5157F09E", "0x5157F09E"),
        ("5157F09E", "x"),
        ("0", ""),
        ("0", "x"),
    ] {
        assert!(
            !is_same_id(one, other) && !is_same_id(other, one),
            "{other}"
        );
    }
}

// Files

#[test]
fn a_file_of_more_than_1_mib_is_refused() {
    let mut content = fs::read(path("rsa2048_pkcs8")).unwrap();
    let file = std::env::temp_dir().join(format!("large-{}.pem", std::process::id()));
    let mut read = |length| {
        content.resize(length, b'\n');
        fs::write(&file, &content).unwrap();
        PrivateKey::from_file(&file)
    };
    let (largest, larger) = (read(1 << 20), read((1 << 20) + 1));
    fs::remove_file(&file).unwrap();
    assert!(largest.is_ok());
    assert_eq!(
        larger.unwrap_err().to_string(),
        format!("{file:?}: longer than 1 MiB, so no key file")
    );
}

#[test]
fn an_error_of_a_file_names_it_and_shows_nothing_of_its_content() {
    let key = path("rsa2048_pkcs8");
    let public = path("rsa2048_public");
    let certificate = path("certificate_utc_time");
    assert!(PrivateKey::from_file(&key).is_ok());
    assert!(PublicKey::from_file(ID, &public).is_ok());
    let read = PublicKey::from_certificate_file(&certificate).unwrap();
    assert_eq!(read.id(), "5157F09EFDC096DE15EBE81A47057A7232F1B8E1");

    let wrong = [
        (
            PrivateKey::from_file(&public).unwrap_err(),
            &public,
            WANTED_PRIVATE,
        ),
        (
            PublicKey::from_file(ID, &key).unwrap_err(),
            &key,
            WANTED_PUBLIC,
        ),
        (
            PublicKey::from_certificate_file(&key).unwrap_err(),
            &key,
            WANTED_CERTIFICATE,
        ),
    ];
    for (error, path, wanted) in wrong {
        let found = if path == &key {
            "PRIVATE KEY"
        } else {
            "PUBLIC KEY"
        };
        assert_eq!(
            error.to_string(),
            format!("{path:?}: found BEGIN {found}: wanted {wanted}")
        );
    }
    for missing in [
        "/no/such/apiclient_key.pem",
        "no_such_file",
        "/",
        "",
        "${KEY_FILE}",
        "/run/secrets/0123456789abcdef0123456789abcdef",
        "0123456789abcdef_0123456789abcdef.pem",
        &format!("/{}apiclient_key.pem", "directory/".repeat(30)),
    ] {
        let error = PrivateKey::from_file(missing).unwrap_err();
        assert!(
            matches!(error, KeyError::UnreadableFile { .. }),
            "{error:?}"
        );
        assert!(
            error.to_string().starts_with(&format!("{missing:?}: ")),
            "{error}"
        );
    }
    // Without its leading zeros the id has 32 digits, so a second check would refuse it.
    let id = "007F09EFDC096DE15EBE81A47057A7232F";
    let key = PublicKey::from_file(id, &public).unwrap();
    assert_eq!(
        key.id(),
        PublicKey::from_pem(id, pem("rsa2048_public")).unwrap().id()
    );
    // The id is checked before the file is read.
    let error = PublicKey::from_file("", "/no/such/pub_key.pem").unwrap_err();
    assert!(matches!(error, KeyError::InvalidId { .. }), "{error:?}");
}

#[test]
fn a_key_in_place_of_a_file_name_is_not_shown() {
    let key = pem("rsa2048_pkcs8");
    let bare = base64_of(&key);
    for secret in [
        key.as_str(),
        &key.replace('\n', "\\n"),
        &key.replace('\n', " "),
        &bare,
        "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb",
        // Cut off, with a slash as paths have.
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj/abc",
    ] {
        let error = PrivateKey::from_file(secret).unwrap_err();
        assert_eq!(error, KeyError::NotAPath);
        assert_eq!(
            error.to_string(),
            "found a key in place of a file's name: wanted a name (from_pem and from_certificate_pem take the content)"
        );
    }
}

// The wrong kind of PEM

type Read = fn(&[u8]) -> Result<(), KeyError>;

/// The three ways to read a key, each with the kind it wants and a file that it accepts.
const READERS: [(Read, &str, &str); 3] = [
    (|pem| private(pem), WANTED_PRIVATE, "rsa2048_pkcs8"),
    (|pem| public(pem), WANTED_PUBLIC, "rsa2048_public"),
    (
        |pem| certificate(pem),
        WANTED_CERTIFICATE,
        "certificate_utc_time",
    ),
];

#[test]
fn another_kind_of_block_is_named() {
    let openssh = armour("OPENSSH PRIVATE KEY", b"openssh-key-v1");
    let blocks = [
        (pem("rsa2048_pkcs8"), "PRIVATE KEY"),
        (pem("rsa2048_pkcs1"), "RSA PRIVATE KEY"),
        (pem("encrypted_pkcs8"), "ENCRYPTED PRIVATE KEY"),
        (pem("rsa2048_public"), "PUBLIC KEY"),
        (pem("rsa2048_rsa_public"), "RSA PUBLIC KEY"),
        (pem("certificate_utc_time"), "CERTIFICATE"),
        (pem("request"), "CERTIFICATE REQUEST"),
        (pem("ec_sec1"), "EC PRIVATE KEY"),
        (openssh, "OPENSSH PRIVATE KEY"),
    ];
    // `own` are the blocks that the reader accepts, and for private keys also the encrypted one.
    for ((read, wanted, _), own) in READERS.into_iter().zip([0..3, 3..5, 5..6]) {
        let others = blocks.iter().enumerate();
        for (_, (pem, found)) in others.filter(|(at, _)| !own.contains(at)) {
            let error = read(pem.as_bytes()).unwrap_err();
            let expected = KeyError::WrongKind {
                found: (*found).to_owned(),
                wanted,
            };
            assert_eq!(error, expected);
            assert_eq!(
                error.to_string(),
                format!("found BEGIN {found}: wanted {wanted}")
            );
        }
    }
}

#[test]
fn an_encrypted_private_key_is_refused_as_encrypted() {
    assert_eq!(private(pem("rsa2048_pkcs8")), Ok(()));
    assert_eq!(private(pem("rsa2048_pkcs1")), Ok(()));
    for kind in ["encrypted_pkcs8", "encrypted_pkcs1"] {
        assert_eq!(private(pem(kind)), Err(KeyError::Encrypted), "{kind}");
    }
    assert_eq!(
        KeyError::Encrypted.to_string(),
        "the private key is encrypted with a passphrase: wanted an unencrypted PKCS#8 or PKCS#1 key"
    );
}

#[test]
fn several_blocks_are_named_with_the_one_to_keep() {
    let [(private, ..), (public, ..), (certificate, ..)] = READERS;
    let (key, certificate_pem) = (pem("rsa2048_pkcs8"), pem("certificate_utc_time"));
    let (encrypted, public_pem) = (pem("encrypted_pkcs8"), pem("rsa2048_public"));
    let one = "keep only one block (of a certificate chain, the first)";
    let bundle = key.clone() + &certificate_pem;
    for (read, input, said) in [
        (
            private,
            bundle.clone(),
            "2 PEM blocks (PRIVATE KEY, CERTIFICATE): keep only BEGIN PRIVATE KEY".to_owned(),
        ),
        (
            certificate,
            bundle.clone(),
            "2 PEM blocks (PRIVATE KEY, CERTIFICATE): keep only BEGIN CERTIFICATE".to_owned(),
        ),
        (
            public,
            bundle,
            format!("2 PEM blocks (PRIVATE KEY, CERTIFICATE): {one}: wanted {WANTED_PUBLIC}"),
        ),
        (
            private,
            encrypted + &public_pem,
            format!(
                "2 PEM blocks (ENCRYPTED PRIVATE KEY, PUBLIC KEY): {one}: wanted {WANTED_PRIVATE}"
            ),
        ),
        (
            certificate,
            certificate_pem.repeat(3),
            format!(
                "3 PEM blocks (CERTIFICATE, CERTIFICATE, CERTIFICATE): {one}: wanted {WANTED_CERTIFICATE}"
            ),
        ),
        (
            certificate,
            certificate_pem.repeat(11),
            format!(
                "11 PEM blocks ({}…): {one}: wanted {WANTED_CERTIFICATE}",
                "CERTIFICATE, ".repeat(10)
            ),
        ),
        (
            private,
            key.clone() + "-----BEGIN secret-----",
            "2 PEM blocks (PRIVATE KEY, malformed): keep only BEGIN PRIVATE KEY".to_owned(),
        ),
    ] {
        let error = read(input.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), format!("found {said}"));
    }
    assert_eq!(private(key.as_bytes()), Ok(()));
    assert_eq!(certificate(certificate_pem.as_bytes()), Ok(()));
}

#[test]
fn input_without_a_pem_block_is_described() {
    let utf16 = |text: &str, to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    };
    let path =
        "a file's name instead of its content (from_file and from_certificate_file read files)";
    let variable = "a variable that was not replaced by its value";
    let dashes = "text with typographic dashes in place of ----- before BEGIN";
    let wide = "UTF-16 text (save the file as UTF-8)";
    let damaged = "damaged base64 without its BEGIN and END lines";
    let no_begin = "text that has an END line but no BEGIN line";
    let few_dashes = "text with a BEGIN line that does not start with five dashes";
    let like_an_api_v3_key = "32 letters and digits, as many as an APIv3 key has";
    for (read, wanted, kind) in READERS {
        let pem = pem(kind);
        assert_eq!(read(pem.as_bytes()), Ok(()), "{kind}");
        let marked = format!("\u{feff}{pem}");
        let bare = base64_of(&pem);
        let (_, without_begin) = pem.split_once('\n').unwrap();
        for (input, found) in [
            (&b""[..], "an empty input"),
            (b" \r\n\t", "an empty input"),
            (b"\"\"", "an empty input"),
            (&der_of(&pem), "binary data, such as DER or PKCS#12"),
            (b"text\0", "binary data, such as DER or PKCS#12"),
            (&utf16(&marked, u16::to_le_bytes), wide),
            (&utf16(&marked, u16::to_be_bytes), wide),
            (&utf16(&pem, u16::to_le_bytes), wide),
            (&utf16(&pem, u16::to_be_bytes), wide),
            (&bare.as_bytes()[..bare.len() - 4], damaged),
            (without_begin.as_bytes(), no_begin),
            (b"/etc/wechatpay/apiclient_key.pem", path),
            (b"apiclient_key.PEM\n", path),
            (b"/run/secrets/wechatpay_key", path),
            (b"C:\\certs\\new", path),
            (b"file:///etc/key", path),
            (b"${WECHATPAY_KEY}", variable),
            (b"\"$WECHATPAY_KEY\"", variable),
            (b"{{ .Values.wechatpay.key }}", variable),
            (b"%WECHATPAY_KEY%", variable),
            (b"<your key>", variable),
            (b"$env:WECHATPAY_KEY", variable),
            (b"#{wechatpay_key}", variable),
            (b"{wechatpay_key}", variable),
            (b"@@KEY@@", variable),
            (b"__KEY__", variable),
            (b"YOUR_PRIVATE_KEY", variable),
            (b"keys\\wechatpay_key", path),
            (b"keys/wechatpay_key", path),
            (b"<RSAKeyValue><Modulus>abc</Modulus>", "XML or HTML"),
            (b"<!DOCTYPE html>", "XML or HTML"),
            ("\u{AD}\u{FE63}BEGIN CERTIFICATE".as_bytes(), dashes),
            ("\u{2014}-BEGIN PRIVATE KEY\u{2014}-".as_bytes(), dashes),
            ("\u{2013}\u{2013}BEGIN CERTIFICATE".as_bytes(), dashes),
            (b"---- BEGIN SSH2 PUBLIC KEY ----", few_dashes),
            (b"a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb", like_an_api_v3_key),
            (b"-----BEGIN%20PRIVATE%20KEY-----%0AMII", "URL-encoded text"),
            (b"-----BEGIN+PRIVATE+KEY-----", "URL-encoded text"),
            (b"hello, world", "text without a PEM block"),
        ] {
            let error = read(input).unwrap_err();
            assert_eq!(error, KeyError::NotPem { wanted, found }, "{kind}");
            assert_eq!(error.to_string(), format!("found {found}: wanted {wanted}"));
        }
    }
}

#[test]
fn damage_to_a_pem_block_is_described() {
    let not_base64 = "it is not valid base64, characters are missing or too many";
    for ((read, _, kind), key) in
        READERS
            .into_iter()
            .zip(["private key", "public key", "certificate"])
    {
        let pem = pem(kind);
        let (begin, _) = pem.split_once('\n').unwrap();
        let (middle, _) = pem.rsplit_once("-----END").unwrap();
        assert_eq!(read(pem.as_bytes()), Ok(()), "{kind}");
        for (input, what) in [
            (middle.to_owned(), "it has no END line"),
            (begin.to_owned(), "it has no END line"),
            (
                format!("{middle}\u{2014}\u{2014}-END"),
                "its END line has typographic dashes in place of -----",
            ),
            (format!("{middle}-----END "), "its END line is malformed"),
            (
                format!("{middle}-----END DH PARAMETERS-----"),
                "its END line is of another kind than its BEGIN line",
            ),
            (
                pem.replacen("-----\n", "\n", 1),
                "its BEGIN line is malformed",
            ),
            (
                pem.to_lowercase().replace("-----begin", "-----BEGIN"),
                "its BEGIN line is malformed",
            ),
            ("-----BEGIN ".to_owned(), "its BEGIN line is malformed"),
            (
                pem.replacen("MII", "MI*", 1),
                "it is not valid base64, it has the character '*'",
            ),
            (
                pem.replacen("MII", "M\\xII", 1),
                "it is not valid base64, it has the character '\\\\'",
            ),
            (
                pem.replacen("MII", "M\u{feff}II", 1),
                "it is not valid base64, it has the character '\\u{feff}'",
            ),
            (pem.replacen("MII", "MI", 1), not_base64),
            (pem.replacen("\n-----END", "=\n-----END", 1), not_base64),
            (
                format!("{begin}\n{}", begin.replace("BEGIN", "END")),
                "it holds nothing",
            ),
        ] {
            let error = read(input.as_bytes());
            assert_eq!(error, malformed(key, what), "{input}");
            assert_eq!(
                error.unwrap_err().to_string(),
                format!("the {key} cannot be read: {what}")
            );
        }
    }
}

// The wrong content of the right kind of block

#[test]
fn content_that_is_cut_or_longer_is_refused() {
    let [(private, ..), (public, ..), (certificate, ..)] = READERS;
    for (read, label, kind, key) in [
        (private, "PRIVATE KEY", "rsa2048_pkcs8", "private key"),
        (private, "RSA PRIVATE KEY", "rsa2048_pkcs1", "private key"),
        (public, "PUBLIC KEY", "rsa2048_public", "public key"),
        (public, "RSA PUBLIC KEY", "rsa2048_rsa_public", "public key"),
        (
            certificate,
            "CERTIFICATE",
            "certificate_utc_time",
            "certificate",
        ),
    ] {
        let der = der_of(&pem(kind));
        let read = |der: &[u8]| read(armour(label, der).as_bytes());
        let damaged = malformed(
            key,
            "it holds data that is cut off, damaged, or followed by something else",
        );
        assert_eq!(read(&der), Ok(()), "{kind}");
        for len in 1..der.len() {
            assert_eq!(read(&der[..len]), damaged, "{kind}, {len} bytes");
        }
        for garbage in [&[0][..], &[5, 0], &der] {
            assert_eq!(read(&[&der, garbage].concat()), damaged, "{kind}, longer");
        }
        assert_eq!(read(b"text"), malformed(key, "it holds no DER"));
    }
}

#[test]
fn a_key_in_another_format_than_its_label_says_is_read() {
    let relabelled = |label, kind| armour(label, &der_of(&pem(kind)));
    assert_eq!(private(relabelled("PRIVATE KEY", "rsa2048_pkcs1")), Ok(()));
    assert_eq!(
        private(relabelled("RSA PRIVATE KEY", "rsa2048_pkcs8")),
        Ok(())
    );
    assert_eq!(
        public(relabelled("PUBLIC KEY", "rsa2048_rsa_public")),
        Ok(())
    );
    assert_eq!(
        public(relabelled("RSA PUBLIC KEY", "rsa2048_public")),
        Ok(())
    );
}

#[test]
fn content_of_another_kind_than_the_label_is_named() {
    let relabelled = |label, kind| {
        let pem = pem(kind);
        let last = pem.rfind("-----BEGIN").unwrap();
        armour(label, &der_of(&pem[last..]))
    };
    for (kind, found) in [
        ("rsa2048_pkcs8", "a private key (PKCS#8)"),
        ("rsa2048_pkcs1", "a private key (PKCS#1)"),
        ("rsa2048_public", "a public key"),
        ("rsa2048_rsa_public", "a public key (PKCS#1)"),
        ("certificate_utc_time", "an X.509 certificate"),
        ("request", "a certificate request, or a damaged certificate"),
        ("encrypted_pkcs8", "an encrypted private key"),
        ("ec_sec1", "an EC private key"),
    ] {
        let what = format!("it holds {found}");
        if !found.contains("private key") {
            let error = private(relabelled("PRIVATE KEY", kind));
            assert_eq!(error, malformed("private key", &what));
        }
        if !found.starts_with("a public key") {
            let error = public(relabelled("PUBLIC KEY", kind));
            assert_eq!(error, malformed("public key", &what));
        }
        if found != "an X.509 certificate" {
            let error = certificate(relabelled("CERTIFICATE", kind));
            assert_eq!(error, malformed("certificate", &what));
        }
    }
    let encrypted = private(relabelled("PRIVATE KEY", "encrypted_pkcs8"));
    assert_eq!(encrypted, Err(KeyError::Encrypted));
    let found = "an EC key";
    let ec = private(relabelled("PRIVATE KEY", "ec_sec1"));
    assert_eq!(ec, Err(KeyError::NotRsa { found }));
}

#[test]
fn surplus_or_malformed_elements_are_refused() {
    let said = |result: Result<(), KeyError>| result.map_err(|error| error.to_string());
    let not = |key: &str, what: &str| Err(format!("the {key} cannot be read: it {what}"));
    let damaged = "holds data that is cut off, damaged, or followed by something else";
    let incomplete = "does not hold a complete public key";
    let attributes = (der::CONTEXT_0, &b"\x30\x00"[..]);

    let pkcs8 = der_of(&pem("rsa2048_pkcs8"));
    let info = |edit: fn(&mut Vec<Element<'_>>)| {
        let mut info = der::sequence(&pkcs8);
        edit(&mut info);
        said(private(armour("PRIVATE KEY", &sequence(&info))))
    };
    assert_eq!(info(|info| assert_eq!(info.len(), 3)), Ok(()));
    assert_eq!(info(|info| info[0].1 = &[1]), Ok(()));
    assert_eq!(
        info(|info| info[0].1 = &[2]),
        not("private key", "does not hold a complete PKCS#8 private key")
    );
    let with_attributes = [&der::sequence(&pkcs8)[..], &[attributes]].concat();
    assert_eq!(
        private(armour("PRIVATE KEY", &sequence(&with_attributes))),
        Ok(())
    );
    let in_one = element(der::SEQUENCE, &pkcs8);
    let (_, content) = der::sequence(&in_one)[0];
    let with_garbage = element(der::SEQUENCE, &[content, &[0xA0, 0x05]].concat());
    assert_eq!(
        said(private(armour("PRIVATE KEY", &with_garbage))),
        not("private key", damaged)
    );

    let spki = der_of(&pem("rsa2048_public"));
    let [algorithm, (tag, bits)] = der::sequence(&spki)[..] else {
        panic!("two elements");
    };
    let info = |info: &[Element<'_>]| said(public(armour("PUBLIC KEY", &sequence(info))));
    assert_eq!(info(&[algorithm, (tag, bits)]), Ok(()));
    assert_eq!(
        info(&[algorithm, (tag, bits), attributes]),
        not("public key", damaged)
    );
    assert_eq!(
        info(&[algorithm, (tag, &[&[1], &bits[1..]].concat())]),
        not("public key", incomplete)
    );
    assert_eq!(
        info(&[algorithm, (der::OCTET_STRING, bits)]),
        not("public key", "holds an encrypted private key")
    );

    let pkcs1 = der_of(&pem("rsa2048_rsa_public"));
    let numbers = der::sequence(&pkcs1);
    let key = |numbers: &[Element<'_>]| said(public(armour("RSA PUBLIC KEY", &sequence(numbers))));
    assert_eq!(key(&numbers), Ok(()));
    assert_eq!(
        key(&[numbers[0], numbers[1], numbers[1]]),
        not("public key", "holds a private key (PKCS#1)")
    );

    let x509 = der_of(&pem("certificate_utc_time"));
    let outer = der::sequence(&x509);
    let of = |outer: &[Element<'_>]| said(certificate(armour("CERTIFICATE", &sequence(outer))));
    assert_eq!(of(&outer), Ok(()));
    assert_eq!(
        of(&[outer[0], outer[1], outer[2], attributes]),
        not("certificate", damaged)
    );
    let garbage = [outer[0].1, &[0xA3, 0x05]].concat();
    assert_eq!(
        of(&[(der::SEQUENCE, &garbage), outer[1], outer[2]]),
        not(
            "certificate",
            "holds a certificate request, or a damaged certificate"
        )
    );
}

/// Each byte is replaced by each of four values. Not every altered key is refused, since another modulus may be valid.
#[test]
fn no_altered_byte_causes_a_panic() {
    for (read, label, kind) in [
        (READERS[0].0, "PRIVATE KEY", "rsa2048_pkcs8"),
        (READERS[1].0, "PUBLIC KEY", "rsa2048_public"),
        (READERS[2].0, "CERTIFICATE", "certificate_generalized_time"),
    ] {
        let der = der_of(&pem(kind));
        let mut refused = 0;
        for at in 0..der.len() {
            for with in [0x00, 0x7F, 0x82, 0xFF] {
                let mut altered = der.clone();
                altered[at] = with;
                refused += usize::from(read(armour(label, &altered).as_bytes()).is_err());
            }
        }
        assert!(refused > 0, "{kind}");
    }
}

#[test]
fn keys_of_other_algorithms_are_named() {
    if !installed("openssl") {
        return;
    }
    for (error, found) in [
        (private(pem("ec_pkcs8")), "an EC key"),
        (private(pem("sm2_pkcs8")), "an SM2 key"),
        (private(pem("ed25519_pkcs8")), "an Ed25519 key"),
        (private(pem("x25519_pkcs8")), "a key of another algorithm"),
        (private(pem("rsa_pss_pkcs8")), "an RSA-PSS key"),
        (public(public_pem("ec_pkcs8")), "an EC key"),
        (public(public_pem("sm2_pkcs8")), "an SM2 key"),
        (public(public_pem("ed25519_pkcs8")), "an Ed25519 key"),
        (public(public_pem("rsa_pss_pkcs8")), "an RSA-PSS key"),
        (certificate(pem("certificate_ec")), "an EC key"),
    ] {
        assert_eq!(error, Err(KeyError::NotRsa { found }));
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("found {found}: wanted an RSA key")
        );
    }
}

#[test]
fn parameters_of_the_algorithm_other_than_null_are_refused() {
    const RSA: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x01\x01\x05\x00";
    let der = der_of(&pem("rsa2048_public"));
    let with = |new: &[u8]| public(armour("PUBLIC KEY", &replaced(&der, RSA, new)));
    assert_eq!(with(RSA), Ok(()));
    for parameters in [&b"\x30\x00"[..], b"\x05\x01"] {
        let algorithm = [&RSA[..9], parameters].concat();
        assert_eq!(
            with(&algorithm),
            malformed("public key", "its algorithm is malformed")
        );
    }
}

#[test]
fn an_unsupported_size_is_reported_in_bits() {
    if !installed("openssl") {
        return;
    }
    const PRIVATE: &str = "2048, 3072 or 4096";
    const PUBLIC: &str = "2048 to 4096";
    for kind in ["rsa2048_pkcs8", "rsa3072_pkcs8", "rsa4096_pkcs8"] {
        assert_eq!(private(pem(kind)), Ok(()), "{kind}");
        assert_eq!(public(public_pem(kind)), Ok(()), "{kind}");
    }
    for (error, bits, wanted) in [
        (private(pem("rsa1024_pkcs8")), 1024, PRIVATE),
        (private(pem("rsa2560_pkcs8")), 2560, PRIVATE),
        (private(pem("rsa8192_pkcs8")), 8192, PRIVATE),
        (public(public_pem("rsa1024_pkcs8")), 1024, PUBLIC),
        (public(public_pem("rsa8192_pkcs8")), 8192, PUBLIC),
        (certificate(pem("certificate_rsa1024")), 1024, PUBLIC),
    ] {
        assert_eq!(error, Err(KeyError::UnsupportedSize { bits, wanted }));
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("found an RSA key of {bits} bits: wanted {wanted}")
        );
    }
}

/// A PKCS#1 public key of these numbers, each with its leading zero where it needs one.
fn rsa_public(modulus: &[u8], exponent: &[u8]) -> String {
    let numbers = [(der::INTEGER, modulus), (der::INTEGER, exponent)];
    armour("RSA PUBLIC KEY", &sequence(&numbers))
}

#[test]
fn an_unsupported_modulus_or_exponent_is_refused() {
    let der = der_of(&pem("rsa2048_rsa_public"));
    let (_, modulus) = der::sequence(&der)[0];
    let with = |exponent: &[u8]| public(rsa_public(modulus, exponent));
    for exponent in [&[1, 0, 1][..], &[3], &[17], &[1, 0xFF, 0xFF, 0xFF, 0xFF]] {
        assert_eq!(with(exponent), Ok(()), "{exponent:?}");
    }
    let wanted = "an odd number from 3 to 8589934591";
    for exponent in [
        &[0][..],
        &[1],
        &[2],
        &[1, 0, 0],
        &[2, 0, 0, 0, 1],
        &[1; 8],
        &[1; 9],
    ] {
        let error = with(exponent);
        assert_eq!(
            error,
            Err(KeyError::UnsupportedExponent { wanted }),
            "{exponent:?}"
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("found an RSA key with an unsupported public exponent: wanted {wanted}")
        );
    }
    let not_der = malformed("public key", "it does not hold a complete RSA public key");
    for exponent in [&[][..], &[0, 1, 0, 1], &[0xFF]] {
        assert_eq!(with(exponent), not_der, "{exponent:?}");
    }

    let mut even = modulus.to_vec();
    even[256] &= 0xFE;
    assert_eq!(
        public(rsa_public(&even, &[1, 0, 1])),
        malformed("RSA key", "its modulus is even")
    );
    let mut smaller = modulus[1..].to_vec();
    smaller[0] = 0x7F;
    let wanted = "2048 to 4096";
    let error = Err(KeyError::UnsupportedSize { bits: 2047, wanted });
    assert_eq!(public(rsa_public(&smaller, &[1, 0, 1])), error);
}

#[test]
fn a_private_key_that_ring_does_not_support_is_refused_with_the_reason() {
    let wanted = "65537 or another odd number up to 8589934591";
    assert_eq!(
        private(pem("exponent3_pkcs8")),
        Err(KeyError::UnsupportedExponent { wanted })
    );
    assert_eq!(
        private(pem("multiprime_pkcs8")),
        malformed("private key", "it has more than two primes")
    );
}

#[test]
fn der_is_read_strictly() {
    let short = [0x04, 0x01, 0xAA];
    assert_eq!(der::first(&short), Some(((0x04, &[0xAA][..]), &[][..])));
    assert_eq!(der::elements(&short.repeat(2)), [(0x04, &[0xAA][..]); 2]);
    let filled = |header: &[u8], len: usize| [header, &vec![0xAA; len]].concat();
    for (header, len) in [
        (&[0x04, 0x7F][..], 0x7F),
        (&[0x04, 0x81, 0x80], 0x80),
        (&[0x04, 0x81, 0xFF], 0xFF),
        (&[0x04, 0x82, 0x01, 0x00], 0x100),
        (&[0x04, 0x82, 0xFF, 0xFF], 0xFFFF),
    ] {
        let element = filled(header, len);
        let content = &element[header.len()..];
        assert_eq!(content.len(), len);
        assert_eq!(der::elements(&element), [(0x04, content)]);
        assert_eq!(der::first(&element[..element.len() - 1]), None, "cut");
    }
    for (header, len) in [
        (&[0x04, 0x80][..], 2),                      // indefinite
        (&[0x04, 0x81, 0x7F], 0x7F),                 // longer than needed
        (&[0x04, 0x82, 0x00, 0xFF], 0xFF),           // longer than needed
        (&[0x04, 0x83, 0x01, 0x00, 0x00], 0x1_0000), // too large for a key
        (
            &[0x04, 0x88, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            8,
        ),
        (&[0x04, 0xFF], 0x7F), // reserved
        (&[0x1F, 0x01], 1),    // tag of two bytes
        (&[0x04], 0),
        (&[], 0),
    ] {
        assert_eq!(der::first(&filled(header, len)), None, "{header:?}");
    }
    assert_eq!(der::elements(&[&short[..], &short[..2]].concat()), []);
    let in_sequence = element(der::SEQUENCE, &short);
    assert_eq!(der::sequence(&in_sequence), [(0x04, &[0xAA][..])]);
    assert_eq!(der::sequence(&[&in_sequence[..], &[5, 0]].concat()), []);
    assert_eq!(der::sequence(&short), []);
}

// The APIv3 key

#[test]
fn an_api_v3_key_decrypts_the_published_message_and_nothing_altered() {
    let vectors = vectors();
    let vector = &vectors["aes_256_gcm"];
    let key = ApiV3Key::new(text(vector, "key")).unwrap();
    let nonce = text(vector, "nonce").as_bytes();
    let associated = text(vector, "associated_data").as_bytes();
    let ciphertext = STANDARD.decode(text(vector, "ciphertext")).unwrap();
    let decrypt = |key: &ApiV3Key, nonce: &[u8], associated: &[u8], ciphertext: &[u8]| {
        let mut in_place = ciphertext.to_vec();
        key.decrypt(nonce, associated, &mut in_place)
            .map(<[u8]>::to_vec)
    };
    let plaintext = text(vector, "plaintext").as_bytes().to_vec();
    assert_eq!(
        decrypt(&key, nonce, associated, &ciphertext),
        Some(plaintext)
    );

    for at in 0..ciphertext.len() {
        let mut altered = ciphertext.clone();
        altered[at] ^= 1;
        assert_eq!(
            decrypt(&key, nonce, associated, &altered),
            None,
            "byte {at}"
        );
    }
    for len in 0..ciphertext.len() {
        assert_eq!(
            decrypt(&key, nonce, associated, &ciphertext[..len]),
            None,
            "{len} bytes"
        );
    }
    assert_eq!(decrypt(&key, nonce, b"", &ciphertext), None);
    assert_eq!(decrypt(&key, nonce, b"AssociatedData", &ciphertext), None);
    assert_eq!(
        decrypt(&key, b"uluk4a9R25RX", associated, &ciphertext),
        None
    );
    for nonce in [&b""[..], &nonce[..11], b"uluk4a9R25RW0", &[0; 16]] {
        assert_eq!(
            decrypt(&key, nonce, associated, &ciphertext),
            None,
            "{nonce:?}"
        );
    }
    let other = ApiV3Key::new([b'a'; 32]).unwrap();
    assert_eq!(decrypt(&other, nonce, associated, &ciphertext), None);
}

#[cfg(feature = "sandbox")]
#[test]
fn an_api_v3_key_encrypts_to_the_published_ciphertext() {
    let vectors = vectors();
    let vector = &vectors["aes_256_gcm"];
    let key = ApiV3Key::new(text(vector, "key")).unwrap();
    let nonce = text(vector, "nonce").as_bytes().try_into().unwrap();
    let associated = text(vector, "associated_data").as_bytes();
    let ciphertext = key.encrypt(nonce, associated, text(vector, "plaintext").as_bytes());
    assert_eq!(STANDARD.encode(ciphertext), text(vector, "ciphertext"));
}

#[test]
fn an_api_v3_key_has_32_bytes() {
    assert!(ApiV3Key::new([b'k'; 32]).is_ok());
    let key = |bytes: usize, end: &str| "k".repeat(bytes) + end;
    for (key, ends_with_line_break) in [
        (key(0, ""), false),
        (key(16, ""), false),
        (key(31, ""), false),
        (key(33, ""), false),
        (key(64, ""), false),
        (key(32, " "), false),
        (key(32, "\n"), true),
        (key(32, "\r"), true),
        (key(32, "\r\n"), true),
    ] {
        let bytes = key.len();
        let error = ApiV3Key::new(&key).err().unwrap();
        assert_eq!(
            error,
            KeyError::ApiV3KeyLength {
                bytes,
                ends_with_line_break,
            }
        );
        let told = if ends_with_line_break {
            "; it ends with a line break"
        } else {
            ""
        };
        assert_eq!(
            error.to_string(),
            format!("found an APIv3 key of {bytes} bytes: wanted exactly 32{told}")
        );
    }
}

// Secrets

#[test]
fn debug_shows_no_key() {
    let bits = |kind| format!("{:?}", PrivateKey::from_pem(pem(kind)).unwrap());
    assert_eq!(bits("rsa2048_pkcs8"), "PrivateKey { bits: 2048, .. }");
    assert_eq!(bits("rsa4096_pkcs8"), "PrivateKey { bits: 4096, .. }");
    assert_eq!(
        format!("{:?}", ApiV3Key::new([b'k'; 32]).unwrap()),
        "ApiV3Key { .. }"
    );
    assert_eq!(
        format!(
            "{:?}",
            PublicKey::from_pem("PUB_KEY_ID_01", pem("rsa2048_public")).unwrap()
        ),
        "PublicKey { id: \"PUB_KEY_ID_01\", validity: None, .. }"
    );
    assert_eq!(
        format!(
            "{:?}",
            PublicKey::from_certificate_pem(pem("certificate_utc_time")).unwrap()
        ),
        "PublicKey { id: \"5157F09EFDC096DE15EBE81A47057A7232F1B8E1\", \
         validity: Some(Validity { not_before: 1709251199, not_after: 1866844800 }), .. }"
    );
}

#[test]
fn keys_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync + 'static>() {}
    shareable::<PrivateKey>();
    shareable::<PublicKey>();
    shareable::<ApiV3Key>();
}
