//! The list of platform certificates, opened without any network: what is accepted, and each reason for a refusal.
//! Certificates made by OpenSSL, encryption by another crate than ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wechatpay_contract::{
    ApiV3Key, Authenticity, CertificateError, Error, KeyError, Merchant, Outcome, PrivateKey,
    PublicKey, SignatureHeaders, Signer, Verifier, VerifyError, certificates,
};

use crate::support::wrong_signature;

/// The key of [`OLD`].
const OLD_KEY: &str = include_str!("../../src/sandbox/keys/platform_key.pem");
/// The key of [`NEW`].
const NEW_KEY: &str = include_str!("../../src/sandbox/keys/platform_key_2.pem");
/// Valid from 2019-03-27 03:59:25 to 2024-03-25 03:59:25.
const OLD: &str = include_str!("fixtures/certificate_old.pem");
/// Valid from 2024-03-15 03:59:25 to 2029-03-14 03:59:25.
const NEW: &str = include_str!("fixtures/certificate_new.pem");
const OLD_SERIAL: &str = "1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
const NEW_SERIAL: &str = "2E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
const API_V3_KEY: &[u8; 32] = b"a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";
/// 2024-03-20 00:00:00, when both are valid.
const BOTH_VALID: u64 = 1710892800;
/// The last second of [`OLD`].
const OLD_END: u64 = 1711339165;
/// The last second that [`early_entry`] gives to [`NEW`].
const EARLY_END: u64 = BOTH_VALID + 3600;

fn encrypt(key: &[u8], nonce: &str, associated_data: &str, plaintext: &str) -> String {
    let payload = Payload {
        msg: plaintext.as_bytes(),
        aad: associated_data.as_bytes(),
    };
    let ciphertext = Aes256Gcm::new_from_slice(key)
        .unwrap()
        .encrypt(&Nonce::try_from(nonce.as_bytes()).unwrap(), payload)
        .unwrap();
    STANDARD.encode(ciphertext)
}

fn entry(serial_no: &str, effective: &str, expire: &str, pem: &str) -> Value {
    json!({
        "serial_no": serial_no,
        "effective_time": effective,
        "expire_time": expire,
        "encrypt_certificate": {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": "61f9c719728a",
            "associated_data": "certificate",
            "ciphertext": encrypt(API_V3_KEY, "61f9c719728a", "certificate", pem),
        },
    })
}

fn old_entry() -> Value {
    entry(
        OLD_SERIAL,
        "2019-03-27T11:59:25+08:00",
        "2024-03-25T11:59:25+08:00",
        OLD,
    )
}

fn new_entry() -> Value {
    entry(
        NEW_SERIAL,
        "2024-03-15T11:59:25+08:00",
        "2029-03-14T11:59:25+08:00",
        NEW,
    )
}

fn list(entries: impl Into<Vec<Value>>) -> Vec<u8> {
    json!({"data": entries.into()}).to_string().into_bytes()
}

/// The headers of a response, signed with this key under this id.
fn headers(serial: &str, key_pem: &str, timestamp: u64, body: &[u8]) -> Vec<(String, String)> {
    let nonce = "c5ac7061fccab6bf3e254dcf98995b8c";
    let mut message = format!("{timestamp}\n{nonce}\n").into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    let key = PrivateKey::from_pem(key_pem).unwrap();
    let signature = Signer::new("1", "1", key).unwrap().sign(&message).unwrap();
    [
        ("Request-ID", "08F78BB5AF0610D302"),
        ("Wechatpay-Serial", serial),
        ("Wechatpay-Timestamp", &timestamp.to_string()),
        ("Wechatpay-Nonce", nonce),
        ("Wechatpay-Signature", &signature),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn at(unix_seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_seconds)
}

fn accept_with(
    held: &Verifier,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
    now: u64,
) -> Result<Vec<PublicKey>, Error> {
    let api_v3_key = ApiV3Key::new(API_V3_KEY).unwrap();
    let headers = headers.iter().map(|(name, value)| (name, value));
    certificates::accept(status, headers, body, at(now), &api_v3_key, held)
}

/// Accepts a list that is signed with the new certificate. The verifier holds no key yet.
fn accept(entries: impl Into<Vec<Value>>, now: u64) -> Result<Vec<PublicKey>, Error> {
    let body = list(entries);
    let headers = headers(NEW_SERIAL, NEW_KEY, now, &body);
    accept_with(&Verifier::without_keys(), 200, &headers, &body, now)
}

fn ids(keys: &[PublicKey]) -> Vec<&str> {
    keys.iter().map(PublicKey::id).collect()
}

fn refused(entries: impl Into<Vec<Value>>) -> CertificateError {
    list_error(accept(entries, BOTH_VALID).expect_err("the list must be refused"))
}

/// Returns the reason for which no certificate of the list was taken over.
fn list_error(error: Error) -> CertificateError {
    assert_eq!(error.request_id(), Some("08F78BB5AF0610D302"));
    match error {
        Error::Certificates { source, .. } => *source,
        other => panic!("{other:?}"),
    }
}

/// What is wrong with an unusable list.
fn problem(error: CertificateError) -> String {
    match error {
        CertificateError::Unusable { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_request_is_the_documented_one() {
    let request = certificates::request();
    assert_eq!(request.method().as_str(), "GET");
    assert_eq!(request.target().unwrap(), "/v3/certificates");
    assert_eq!(request.body(), None);
}

#[test]
fn the_first_list_is_believed_because_it_decrypts_and_verifies_with_its_own_certificate() {
    let keys = accept([old_entry(), new_entry()], BOTH_VALID).unwrap();
    assert_eq!(ids(&keys), [OLD_SERIAL, NEW_SERIAL]);
    let validity = keys[0].validity().unwrap();
    assert_eq!(
        (validity.not_before, validity.not_after),
        (1553659165, OLD_END)
    );
}

#[test]
fn an_expired_certificate_is_dropped_after_its_last_second() {
    let entries = [old_entry(), new_entry()];
    let keys = accept(entries.clone(), OLD_END).unwrap();
    assert_eq!(ids(&keys), [OLD_SERIAL, NEW_SERIAL]);
    let keys = accept(entries, OLD_END + 1).unwrap();
    assert_eq!(ids(&keys), [NEW_SERIAL]);
}

/// "更换平台证书前，会提前24小时修改老证书的弃用时间" of WeChat Pay's page: the list ends the old one early.
#[test]
fn the_list_may_end_a_certificate_early_and_then_it_is_dropped_early() {
    let early = entry(
        OLD_SERIAL,
        "2019-03-27T11:59:25+08:00",
        "2024-03-20T08:00:00+08:00",
        OLD,
    );
    let keys = accept([early.clone(), new_entry()], BOTH_VALID).unwrap();
    assert_eq!(ids(&keys), [OLD_SERIAL, NEW_SERIAL]);
    let keys = accept([early, new_entry()], BOTH_VALID + 1).unwrap();
    assert_eq!(ids(&keys), [NEW_SERIAL]);
}

/// The new certificate, which the list ends at [`EARLY_END`].
fn early_entry() -> Value {
    entry(
        NEW_SERIAL,
        "2024-03-15T11:59:25+08:00",
        "2024-03-20T09:00:00+08:00",
        NEW,
    )
}

#[test]
fn a_certificate_verifies_nothing_after_the_end_that_the_list_sets() {
    let verdict = |entry: Value, now| {
        let verifier = Verifier::new(accept([entry], BOTH_VALID).unwrap()).unwrap();
        let signed = headers(NEW_SERIAL, NEW_KEY, now, b"{}");
        let pairs = signed.iter().map(|(name, value)| (name, value));
        verifier.verify(&SignatureHeaders::from_pairs(pairs)?, b"{}", at(now))
    };
    assert_eq!(verdict(early_entry(), EARLY_END), Ok(()));
    assert_eq!(
        verdict(early_entry(), EARLY_END + 1),
        Err(VerifyError::OutsideValidity {
            serial: NEW_SERIAL.to_owned(),
            not_before: 1710475165,
            not_after: EARLY_END,
            now: EARLY_END + 1,
        })
    );
    assert_eq!(verdict(new_entry(), EARLY_END + 1), Ok(()));
    let keys = accept([early_entry()], BOTH_VALID).unwrap();
    assert_eq!(keys[0].validity().unwrap().not_after, EARLY_END);
}

#[test]
fn no_request_names_a_certificate_after_the_end_that_the_list_sets() {
    let named = |entries: &[Value], now| {
        let key = PrivateKey::from_pem(crate::support::OTHER_PRIVATE).unwrap();
        let signer = Signer::new("1900000109", "5157F09E", key).unwrap();
        let keys = accept(entries, BOTH_VALID).unwrap();
        let merchant = Merchant::new(signer, Verifier::new(keys).unwrap()).unwrap();
        let request = wechatpay_contract::Request::get("/v3/other");
        let signed = merchant.prepare(&request, at(now), "abc")?;
        let serial = signed
            .headers()
            .find(|(name, _)| *name == "Wechatpay-Serial");
        Ok::<_, Error>(serial.unwrap().1.to_owned())
    };
    let alone = [early_entry()];
    assert_eq!(named(&alone, EARLY_END).unwrap(), NEW_SERIAL);
    assert!(matches!(
        named(&alone, EARLY_END + 1),
        Err(Error::NoPlatformKey { .. })
    ));
    let past = EARLY_END + 1;
    assert_eq!(
        named(&[old_entry(), new_entry()], past).unwrap(),
        NEW_SERIAL
    );
    assert_eq!(
        named(&[old_entry(), early_entry()], past).unwrap(),
        OLD_SERIAL
    );
}

#[test]
fn the_documented_stray_space_after_effective_time_and_unknown_members_are_tolerated() {
    let mut listed = new_entry();
    let object = listed.as_object_mut().unwrap();
    let time = object.remove("effective_time").unwrap();
    object.insert("effective_time ".to_owned(), time);
    object.insert("future".to_owned(), json!({"a": [1]}));
    object.insert(
        "serial_no".to_owned(),
        json!(NEW_SERIAL.to_ascii_lowercase()),
    );
    assert_eq!(ids(&accept([listed], BOTH_VALID).unwrap()), [NEW_SERIAL]);
}

#[test]
fn a_list_signed_with_a_key_that_is_held_is_accepted() {
    let body = list([new_entry()]);
    let public_key = "PUB_KEY_ID_0000000000000024101100397200000006";
    let held = {
        // The public half of the old certificate's key, as a WeChat Pay public key.
        let pem = crate::support::public_half(OLD_KEY);
        Verifier::new([PublicKey::from_pem(public_key, pem).unwrap()]).unwrap()
    };
    let headers = headers(public_key, OLD_KEY, BOTH_VALID, &body);
    let keys = accept_with(&held, 200, &headers, &body, BOTH_VALID).unwrap();
    assert_eq!(ids(&keys), [NEW_SERIAL]);

    let error = accept_with(&Verifier::without_keys(), 200, &headers, &body, BOTH_VALID);
    match error.unwrap_err() {
        Error::Unverified {
            source: VerifyError::UnknownSerial { received, known },
            request_id,
            ..
        } => {
            assert_eq!(received, public_key);
            assert_eq!(known, [NEW_SERIAL]);
            assert_eq!(request_id.as_deref(), Some("08F78BB5AF0610D302"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_entry_with_another_serial_number_than_its_certificate_is_refused() {
    let listed = entry(
        OLD_SERIAL,
        "2024-03-15T11:59:25+08:00",
        "2029-03-14T11:59:25+08:00",
        NEW,
    );
    assert_eq!(
        problem(refused([listed])),
        format!("it gives platform certificate {NEW_SERIAL} the serial_no \"{OLD_SERIAL}\"")
    );
}

#[test]
fn a_key_has_the_validity_of_its_certificate_and_ends_no_later_than_the_list_says() {
    const END: u64 = 1868155165;
    for (effective, expire, end) in [
        (
            "2024-03-15T11:59:24+08:00",
            "2029-03-14T11:59:25+08:00",
            END,
        ),
        (
            "2024-03-15T11:59:26+08:00",
            "2029-03-14T11:59:25+08:00",
            END,
        ),
        ("not a time", "2029-03-14T11:59:25+08:00", END),
        (
            "2024-03-15T11:59:25+08:00",
            "2029-03-14T11:59:26+08:00",
            END,
        ),
        (
            "2024-03-15T11:59:25+08:00",
            "2029-03-14T11:59:24+08:00",
            END - 1,
        ),
    ] {
        let keys = accept([entry(NEW_SERIAL, effective, expire, NEW)], BOTH_VALID).unwrap();
        let validity = keys[0].validity().unwrap();
        assert_eq!((validity.not_before, validity.not_after), (1710475165, end));
    }
}

#[test]
fn what_does_not_decrypt_is_refused_though_the_rest_of_the_list_is_right() {
    let other_key = {
        let mut listed = old_entry();
        listed["encrypt_certificate"]["ciphertext"] =
            json!(encrypt(&[7; 32], "61f9c719728a", "certificate", OLD));
        listed
    };
    let changed = |field: &str, value: &str| {
        let mut listed = old_entry();
        listed["encrypt_certificate"][field] = json!(value);
        listed
    };
    for listed in [
        other_key,
        changed("nonce", "61f9c719728b"),
        changed("nonce", "61f9c719728"),
        changed("ciphertext", ""),
        changed("ciphertext", "AAAA"),
    ] {
        match refused([new_entry(), listed.clone()]) {
            CertificateError::Undecryptable { serial_no } => assert_eq!(serial_no, OLD_SERIAL),
            other => panic!("{listed}: {other:?}"),
        }
    }
}

#[test]
fn what_decrypts_to_no_certificate_is_refused() {
    let listed = entry(
        NEW_SERIAL,
        "2024-03-15T11:59:25+08:00",
        "2029-03-14T11:59:25+08:00",
        NEW_KEY,
    );
    let error = refused([listed]);
    assert!(!format!("{error:?}{error}").contains("MII"));
    match error {
        CertificateError::Unusable {
            problem,
            source: Some(KeyError::WrongKind { found, .. }),
        } => {
            assert!(problem.contains(NEW_SERIAL), "{problem}");
            assert_eq!(found, "PRIVATE KEY");
        }
        other => panic!("{other:?}"),
    }
}

/// Notifications are encrypted with the same key and may contain text of the merchant or the user. So a notification's
/// ciphertext could be passed off as a certificate.
#[test]
fn a_certificate_within_another_text_is_refused() {
    let in_json = json!({"attach": NEW}).to_string();
    let valid = |plaintext: &str| {
        entry(
            NEW_SERIAL,
            "2024-03-15T11:59:25+08:00",
            "2029-03-14T11:59:25+08:00",
            plaintext,
        )
    };
    for right in [
        NEW.to_owned(),
        format!("\n{NEW}\n"),
        NEW.replace('\n', "\r\n"),
    ] {
        assert_eq!(
            ids(&accept([valid(&right)], BOTH_VALID).unwrap()),
            [NEW_SERIAL]
        );
    }
    for wrong in [
        in_json,
        format!("{{\"attach\":\"{NEW}\"}}"),
        format!("Certificate:\n{NEW}"),
        format!("{NEW}}}"),
        format!("{NEW}{OLD}"),
        format!("{NEW}{{}}-----"),
        format!("{NEW}{{}}-----END CERTIFICATE-----"),
        format!("{}\n{NEW}", "-----BEGIN CERTIFICATE-----"),
        NEW.replacen("-----BEGIN", "x-----BEGIN", 1),
        String::new(),
    ] {
        let said = problem(refused([valid(&wrong)]));
        assert_eq!(
            said,
            format!("its entry \"{NEW_SERIAL}\" is not a usable certificate")
        );
    }
}

/// 202 says that something is still to be done.
#[test]
fn a_list_with_status_202_is_not_taken_over() {
    let body = list([new_entry()]);
    let headers = headers(NEW_SERIAL, NEW_KEY, BOTH_VALID, &body);
    let answer = |status| {
        accept_with(
            &Verifier::without_keys(),
            status,
            &headers,
            &body,
            BOTH_VALID,
        )
    };
    assert_eq!(ids(&answer(200).unwrap()), [NEW_SERIAL]);
    let error = answer(202).unwrap_err();
    assert!(matches!(error, Error::Accepted { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[test]
fn a_body_that_is_no_list_is_refused_with_the_name_of_the_wrong_field() {
    let without = |field: &str| {
        let mut listed = new_entry();
        listed.as_object_mut().unwrap().remove(field);
        json!({"data": [listed]})
    };
    let with = |field: &str, value: Value| {
        let mut listed = new_entry();
        listed[field] = value;
        json!({"data": [listed]})
    };
    let encrypted = |field: &str, value: Value| {
        let mut listed = new_entry();
        listed["encrypt_certificate"][field] = value;
        json!({"data": [listed]})
    };
    for (body, wanted) in [
        (json!({}), "missing field `data`"),
        (
            json!({"data": {}}),
            "data: invalid type: map, expected a sequence",
        ),
        (json!([]), "invalid type: sequence, expected struct List"),
        (
            json!({"data": [1]}),
            "data[0]: invalid type: integer, expected struct Entry",
        ),
        (without("serial_no"), "data[0]: missing field `serial_no`"),
        (
            with("expire_time", json!("2029-03-14")),
            "data[0].expire_time: wanted a time after 1970 such as 2018-06-08T10:34:56+08:00",
        ),
        (
            without("encrypt_certificate"),
            "data[0]: missing field `encrypt_certificate`",
        ),
        (
            encrypted("algorithm", json!("AEAD_SM4_GCM")),
            "data[0].algorithm: wanted AEAD_AES_256_GCM, found \"AEAD_SM4_GCM\"",
        ),
        (
            encrypted("ciphertext", json!("%")),
            "data[0].ciphertext: wanted base64",
        ),
        (
            encrypted("nonce", json!(1)),
            "data[0].encrypt_certificate.nonce: invalid type: integer, expected a string",
        ),
        (
            encrypted("associated_data", json!("certificatf")),
            "data[0].associated_data: wanted certificate",
        ),
        (
            encrypted("associated_data", json!("")),
            "data[0].associated_data: wanted certificate",
        ),
        (
            encrypted("associated_data", Value::Null),
            "data[0].encrypt_certificate.associated_data: invalid type: null, expected a string",
        ),
    ] {
        let body = body.to_string().into_bytes();
        let headers = headers(NEW_SERIAL, NEW_KEY, BOTH_VALID, &body);
        let held = Verifier::without_keys();
        let error = accept_with(&held, 200, &headers, &body, BOTH_VALID).unwrap_err();
        let problem = problem(list_error(error));
        // Without line and column.
        assert_eq!(problem.split(" at line").next(), Some(wanted));
    }
    let body = b"<html>";
    let headers = headers(NEW_SERIAL, NEW_KEY, BOTH_VALID, body);
    let error = accept_with(&Verifier::without_keys(), 200, &headers, body, BOTH_VALID);
    assert_eq!(
        problem(list_error(error.unwrap_err())),
        "expected value at line 1 column 1"
    );
}

#[test]
fn a_certificate_listed_twice_is_refused() {
    assert_eq!(
        problem(refused([new_entry(), old_entry(), new_entry()])),
        format!("it has platform certificate {NEW_SERIAL} twice")
    );
}

#[test]
fn a_list_without_a_valid_certificate_is_refused() {
    let not_yet = 1710475164;
    for (entries, now, count) in [
        (vec![new_entry()], not_yet, 1),
        (vec![old_entry()], OLD_END + 1, 1),
    ] {
        match list_error(accept(entries, now).unwrap_err()) {
            CertificateError::NoneValid { listed, now: at } => {
                assert_eq!((listed, at), (count, now));
            }
            other => panic!("{other:?}"),
        }
    }
    // One second later the new one is valid.
    assert_eq!(
        ids(&accept([new_entry()], not_yet + 1).unwrap()),
        [NEW_SERIAL]
    );
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_kept_for_later() {
    let before_new = 1710475164;
    let body = list([old_entry(), new_entry()]);
    let headers = headers(OLD_SERIAL, OLD_KEY, before_new, &body);
    let keys = accept_with(&Verifier::without_keys(), 200, &headers, &body, before_new).unwrap();
    assert_eq!(ids(&keys), [OLD_SERIAL, NEW_SERIAL]);
}

#[test]
fn a_list_whose_own_signature_is_wrong_is_refused() {
    let body = list([old_entry(), new_entry()]);
    let right = headers(NEW_SERIAL, NEW_KEY, BOTH_VALID, &body);
    let empty = Verifier::without_keys();
    let knowing = Verifier::new([PublicKey::from_certificate_pem(NEW).unwrap()]).unwrap();
    let reason = |held: &Verifier, headers: &[(String, String)], body: &[u8]| match accept_with(
        held, 200, headers, body, BOTH_VALID,
    ) {
        Ok(_) => None,
        Err(Error::Unverified { source, .. }) => Some(source),
        Err(other) => panic!("{other:?}"),
    };
    let other_key = headers(NEW_SERIAL, OLD_KEY, BOTH_VALID, &body);
    let unsigned: Vec<_> = right.iter().take(1).cloned().collect();
    let stale = headers(NEW_SERIAL, NEW_KEY, BOTH_VALID - 300, &body);
    let mut probe = right.clone();
    probe[4].1 = "WECHATPAY/SIGNTEST/abc".to_owned();
    let mut altered = body.clone();
    altered.push(b' ');
    for held in [&empty, &knowing] {
        assert_eq!(reason(held, &right, &body), None);
        assert_eq!(
            reason(held, &other_key, &body),
            Some(wrong_signature(NEW_SERIAL))
        );
        assert_eq!(
            reason(held, &right, &altered),
            Some(wrong_signature(NEW_SERIAL))
        );
        assert_eq!(
            reason(held, &unsigned, &body),
            Some(VerifyError::MissingHeader {
                name: "Wechatpay-Serial"
            })
        );
        assert_eq!(
            reason(held, &stale, &body),
            Some(VerifyError::Stale {
                timestamp: BOTH_VALID - 300,
                now: BOTH_VALID
            })
        );
        assert_eq!(reason(held, &probe, &body), Some(VerifyError::Probe));
    }
}

#[test]
fn a_list_signed_with_a_certificate_that_is_not_in_it_is_refused() {
    let body = list([new_entry()]);
    let headers = headers(OLD_SERIAL, OLD_KEY, BOTH_VALID, &body);
    let old = Verifier::new([PublicKey::from_certificate_pem(OLD).unwrap()]).unwrap();
    assert_eq!(
        ids(&accept_with(&old, 200, &headers, &body, BOTH_VALID).unwrap()),
        [NEW_SERIAL]
    );
    match accept_with(&Verifier::without_keys(), 200, &headers, &body, BOTH_VALID).unwrap_err() {
        Error::Unverified {
            source: VerifyError::UnknownSerial { received, .. },
            ..
        } => assert_eq!(received, OLD_SERIAL),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_404_with_not_found_or_resource_not_exists_means_no_certificates() {
    for (status, code, is_none) in [
        (404, "RESOURCE_NOT_EXISTS", true),
        (404, "NOT_FOUND", true),
        (404, "NO_AUTH", false),
        (403, "NOT_FOUND", false),
    ] {
        let body = format!(r#"{{"code":"{code}","message":"m"}}"#);
        let body = body.as_bytes();
        let error = accept_with(&Verifier::without_keys(), status, &[], body, BOTH_VALID);
        match error.unwrap_err() {
            Error::Certificates { source, .. } => {
                assert!(is_none, "{status} {code}");
                let right = matches!(*source, CertificateError::NoCertificates { .. });
                assert!(right, "{source:?}");
            }
            Error::Api(error) => assert!(!is_none, "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_merchant_without_certificates_is_told_what_to_configure() {
    let body = br#"{"code":"RESOURCE_NOT_EXISTS","message":"no certificates"}"#;
    let public_key = "PUB_KEY_ID_0000000000000024101100397200000006";
    let signed = headers(public_key, OLD_KEY, BOTH_VALID, body);
    let error = accept_with(&Verifier::without_keys(), 404, &signed, body, BOTH_VALID).unwrap_err();
    let error = list_error(error);
    let text = error.to_string();
    assert!(text.contains("WeChat Pay public key, id PUB_KEY_ID_0000000000000024101100397200000006 and file pub_key.pem"), "{text}");
    match error {
        CertificateError::NoCertificates {
            response,
            public_key_id,
        } => {
            assert_eq!(response.authenticity, Authenticity::Unsigned);
            assert_eq!(public_key_id.as_deref(), Some(public_key));
        }
        other => panic!("{other:?}"),
    }

    match accept_with(&Verifier::without_keys(), 404, &[], body, BOTH_VALID).unwrap_err() {
        Error::Certificates { source, request_id } => match *source {
            CertificateError::NoCertificates { public_key_id, .. } => {
                assert_eq!((public_key_id, request_id), (None, None));
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    // A proxy's page says nothing about the merchant's certificates.
    let error = accept_with(&Verifier::without_keys(), 404, &[], b"<html>", BOTH_VALID);
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Api(_)), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[test]
fn an_empty_list_means_no_certificates_unless_its_signature_is_wrong_or_missing() {
    let body = list([]);
    let public_key = "PUB_KEY_ID_0000000000000024101100397200000006";
    let told = |held: &Verifier, headers: &[(String, String)]| {
        let error = accept_with(held, 200, headers, &body, BOTH_VALID).unwrap_err();
        assert_eq!(error.request_id(), Some("08F78BB5AF0610D302"));
        let error = match error {
            Error::Unverified { source, .. } => return Err(source),
            error => list_error(error),
        };
        let text = error.to_string();
        match error {
            CertificateError::NoCertificates {
                response,
                public_key_id,
            } => {
                assert!(
                    text.contains("no platform certificates (HTTP 200): configure"),
                    "{text}"
                );
                assert_eq!((response.status, &*response.code), (200, ""));
                Ok((response.authenticity, public_key_id))
            }
            other => panic!("{other:?}"),
        }
    };
    let empty = Verifier::without_keys();
    let knowing = Verifier::new([PublicKey::from_certificate_pem(NEW).unwrap()]).unwrap();
    let by_certificate = headers(NEW_SERIAL, NEW_KEY, BOTH_VALID, &body);
    let by_public_key = headers(public_key, NEW_KEY, BOTH_VALID, &body);
    assert_eq!(
        told(&knowing, &by_certificate),
        Ok((Authenticity::Signed, None))
    );
    // There is nothing to verify it with.
    assert_eq!(
        told(&empty, &by_certificate),
        Ok((Authenticity::Unsigned, None))
    );
    assert_eq!(
        told(&empty, &by_public_key),
        Ok((Authenticity::Unsigned, Some(public_key.to_owned())))
    );

    let forged = headers(NEW_SERIAL, OLD_KEY, BOTH_VALID, &body);
    assert_eq!(told(&knowing, &forged), Err(wrong_signature(NEW_SERIAL)));
    let unsigned: Vec<_> = by_certificate.iter().take(1).cloned().collect();
    let missing = VerifyError::MissingHeader {
        name: "Wechatpay-Serial",
    };
    assert_eq!(told(&empty, &unsigned), Err(missing.clone()));
    assert_eq!(told(&knowing, &unsigned), Err(missing));
}

#[test]
fn another_error_is_handed_on_unless_its_signature_is_wrong() {
    let body = br#"{"code":"SYSTEM_ERROR","message":"busy"}"#;
    let held = Verifier::new([PublicKey::from_certificate_pem(NEW).unwrap()]).unwrap();
    let signed = headers(NEW_SERIAL, NEW_KEY, BOTH_VALID, body);
    match accept_with(&held, 500, &signed, body, BOTH_VALID).unwrap_err() {
        Error::Api(error) => {
            assert_eq!((error.status, &*error.code), (500, "SYSTEM_ERROR"));
            assert_eq!(error.authenticity, Authenticity::Signed);
        }
        other => panic!("{other:?}"),
    }
    let forged = headers(NEW_SERIAL, OLD_KEY, BOTH_VALID, body);
    match accept_with(&held, 500, &forged, body, BOTH_VALID).unwrap_err() {
        Error::Unverified { source, .. } => {
            assert_eq!(source, wrong_signature(NEW_SERIAL));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_merchant_without_keys_prepares_only_the_download_until_it_has_certificates() {
    let key = PrivateKey::from_pem(crate::support::OTHER_PRIVATE).unwrap();
    let signer = Signer::new(
        "1900000109",
        "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
        key,
    )
    .unwrap();
    let public_key =
        PublicKey::from_pem("PUB_KEY_ID_1", crate::support::public_half(OLD_KEY)).unwrap();
    let merchant = Merchant::new(signer, Verifier::without_keys()).unwrap();
    let now = at(BOTH_VALID);
    let names_key = |request: &wechatpay_contract::Request| {
        let signed = merchant.prepare(request, now, "abc")?;
        let serial = signed
            .headers()
            .find(|(name, _)| *name == "Wechatpay-Serial")
            .map(|(_, value)| value.to_owned());
        Ok::<_, Error>(serial)
    };
    let other = wechatpay_contract::Request::get("/v3/other");
    assert_eq!(names_key(&certificates::request()).unwrap(), None);
    assert!(matches!(
        names_key(&other),
        Err(Error::NoPlatformKey { .. })
    ));

    let both = [OLD, NEW].map(|pem| PublicKey::from_certificate_pem(pem).unwrap());
    merchant.replace_certificates(both).unwrap();
    assert_eq!(merchant.verifier().key_ids(), [OLD_SERIAL, NEW_SERIAL]);
    for request in [&certificates::request(), &other] {
        assert_eq!(names_key(request).unwrap().as_deref(), Some(NEW_SERIAL));
    }

    let old = PublicKey::from_certificate_pem(OLD).unwrap();
    merchant.verifier().replace([public_key, old]).unwrap();
    assert_eq!(names_key(&other).unwrap().as_deref(), Some("PUB_KEY_ID_1"));
    let new = PublicKey::from_certificate_pem(NEW).unwrap();
    // Replaces the certificate only.
    merchant.replace_certificates([new]).unwrap();
    assert_eq!(merchant.verifier().key_ids(), ["PUB_KEY_ID_1", NEW_SERIAL]);
    assert_eq!(names_key(&other).unwrap().as_deref(), Some("PUB_KEY_ID_1"));
}

#[test]
fn the_merchants_own_certificate_is_not_taken_over() {
    for own in [NEW_SERIAL.to_owned(), NEW_SERIAL.to_ascii_lowercase()] {
        let key = PrivateKey::from_pem(NEW_KEY).unwrap();
        let signer = Signer::new("1900000109", own, key).unwrap();
        let old = || PublicKey::from_certificate_pem(OLD).unwrap();
        let merchant = Merchant::new(signer, Verifier::new([old()]).unwrap()).unwrap();
        merchant.replace_certificates([old()]).unwrap();
        let new = PublicKey::from_certificate_pem(NEW).unwrap();
        let error = merchant.replace_certificates([old(), new]).unwrap_err();
        assert!(
            matches!(&error, KeyError::OwnKey { id } if id.eq_ignore_ascii_case(NEW_SERIAL)),
            "{error}"
        );
        assert_eq!(merchant.verifier().key_ids(), [OLD_SERIAL]);
    }
}
