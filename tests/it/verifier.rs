//! The verification of messages: what is accepted, what is refused and why, and the replacement of platform keys.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use wechatpay_contract::{Merchant, PublicKey, SignatureHeaders, Verifier, VerifyError};

use crate::support::{
    CURRENT, EXPIRED, FUTURE, Headers, KEY_ID, NEXT, NONCE, NOW, OTHER_PRIVATE, PUBLIC, at,
    certificate, merchant_signer, message, platform_public_key, platform_signature, signature_by,
    verifier, wrong_signature,
};

const BODY: &[u8] = include_bytes!("../platform/answer.json");
const BODY_SIGNATURE: &str = include_str!("../platform/answer_signature.txt");
const EMPTY_BODY_SIGNATURE: &str = include_str!("../platform/empty_answer_signature.txt");

const SERIAL: &str = "Wechatpay-Serial";
const TIMESTAMP: &str = "Wechatpay-Timestamp";
const NONCE_NAME: &str = "Wechatpay-Nonce";
const SIGNATURE: &str = "Wechatpay-Signature";
const SIGNATURE_TYPE: &str = "Wechatpay-Signature-Type";

fn verify(headers: &Headers, body: &[u8]) -> Result<(), VerifyError> {
    verify_with(&verifier(), headers, body, NOW)
}

fn verify_with(
    verifier: &Verifier,
    headers: &Headers,
    body: &[u8],
    now: u64,
) -> Result<(), VerifyError> {
    let headers = SignatureHeaders::from_pairs(headers.pairs())?;
    verifier.verify(&headers, body, at(now))
}

/// What OpenSSL signed, as the platform sends it.
fn signed_by_openssl() -> Headers {
    Headers::of(&NOW.to_string(), NONCE, BODY_SIGNATURE)
}

fn malformed(name: &'static str, wanted: &'static str) -> VerifyError {
    VerifyError::MalformedHeader { name, wanted }
}

mod accepted {
    use super::*;

    #[test]
    fn a_message_signed_by_openssl_is_accepted() {
        assert_eq!(verify(&signed_by_openssl(), BODY), Ok(()));
        let without_body = signed_by_openssl().set(SIGNATURE, EMPTY_BODY_SIGNATURE);
        assert_eq!(verify(&without_body, b""), Ok(()));
    }

    #[test]
    fn a_body_of_any_bytes_is_accepted() {
        let large = vec![b'x'; 100_000];
        for body in [&b"\0\xFF\n\r\n"[..], b"\n", "数".as_bytes(), &large] {
            assert_eq!(verify(&Headers::signed(body), body), Ok(()));
        }
    }

    #[test]
    fn a_signature_of_4096_bits_is_accepted() {
        let public = include_str!("../platform/public_4096.pem");
        let verifier = Verifier::new([PublicKey::from_pem(KEY_ID, public).unwrap()]).unwrap();
        let signature = include_str!("../platform/answer_signature_4096.txt");
        let headers = signed_by_openssl().set(SIGNATURE, signature);
        assert_eq!(verify_with(&verifier, &headers, BODY, NOW), Ok(()));
        assert_eq!(
            verify_with(&verifier, &signed_by_openssl(), BODY, NOW),
            Err(wrong_signature(KEY_ID))
        );
    }

    #[test]
    fn a_missing_or_empty_signature_type_is_accepted() {
        let without = signed_by_openssl().without(SIGNATURE_TYPE);
        assert_eq!(verify(&without, BODY), Ok(()));
        let empty = signed_by_openssl().set(SIGNATURE_TYPE, "");
        assert_eq!(verify(&empty, BODY), Ok(()));
    }

    #[test]
    fn header_names_are_accepted_in_any_case() {
        let changed = |change: fn(&str) -> String| {
            let pairs = signed_by_openssl().0;
            Headers(pairs.into_iter().map(|(n, v)| (change(&n), v)).collect())
        };
        assert_eq!(verify(&changed(str::to_lowercase), BODY), Ok(()));
        assert_eq!(verify(&changed(str::to_uppercase), BODY), Ok(()));
    }

    #[test]
    fn headers_are_read_by_lookup() {
        let headers = signed_by_openssl();
        let map = |change: fn(&str) -> String| -> HashMap<String, &str> {
            let names = headers.pairs().map(|(name, _)| name);
            names
                .map(|name| (change(name), headers.get(name)))
                .collect()
        };
        for map in [map(str::to_owned), map(str::to_lowercase)] {
            let found = SignatureHeaders::from_lookup(|name| map.get(name).copied());
            assert!(found.is_signed());
            assert_eq!(found.request_id(), Some("08F78BB5AF0610D3"));
            assert_eq!(verifier().verify(&found, BODY, at(NOW)), Ok(()));
        }
        let none = SignatureHeaders::from_lookup(|_| None);
        assert!(!none.is_signed());
        assert_eq!(
            verifier().verify(&none, BODY, at(NOW)),
            Err(VerifyError::MissingHeader { name: SERIAL })
        );
    }

    #[test]
    fn headers_are_read_from_pairs_of_many_types() {
        let headers = signed_by_openssl();
        let texts: Vec<(String, String)> = headers
            .pairs()
            .map(|(name, _)| (name.to_owned(), headers.get(name).to_owned()))
            .collect();
        let map: HashMap<String, String> = texts.iter().cloned().collect();
        let slices: Vec<(&str, &str)> = texts
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        for headers in [
            SignatureHeaders::from_pairs(texts.iter().map(|(name, value)| (name, value))),
            SignatureHeaders::from_pairs(&map),
            SignatureHeaders::from_pairs(slices.iter().copied()),
        ] {
            assert_eq!(verifier().verify(&headers.unwrap(), BODY, at(NOW)), Ok(()));
        }
    }

    #[test]
    fn a_message_is_verified_with_the_key_that_it_names() {
        let both = Verifier::new([platform_public_key(), certificate(CURRENT)]).unwrap();
        let by_certificate = signed_by_openssl().set(SERIAL, CURRENT);
        assert_eq!(verify_with(&both, &signed_by_openssl(), BODY, NOW), Ok(()));
        assert_eq!(verify_with(&both, &by_certificate, BODY, NOW), Ok(()));
        // Under the other id is another key.
        let other = Verifier::new([other_public_key(KEY_ID), certificate(CURRENT)]).unwrap();
        assert_eq!(
            verify_with(&other, &signed_by_openssl(), BODY, NOW),
            Err(wrong_signature(KEY_ID))
        );
        assert_eq!(verify_with(&other, &by_certificate, BODY, NOW), Ok(()));
    }

    #[test]
    fn a_serial_number_is_found_in_either_case_and_with_leading_zeros() {
        let named = |held: &str, received: &str| {
            let verifier = Verifier::new([PublicKey::from_pem(held, PUBLIC).unwrap()]).unwrap();
            let headers = signed_by_openssl().set(SERIAL, received);
            verify_with(&verifier, &headers, BODY, NOW)
        };
        let lower = CURRENT.to_lowercase();
        assert_eq!(named(CURRENT, CURRENT), Ok(()));
        assert_eq!(named(&lower, CURRENT), Ok(()));
        assert_eq!(named(CURRENT, &lower), Ok(()));
        assert_eq!(named("0A1B", "a1b"), Ok(()));
        assert_eq!(named("A1B", "0A1B"), Ok(()));
        // One is shown as it was received, the other as it is sent.
        assert_eq!(
            named("0a1b", "0a1C"),
            Err(VerifyError::UnknownSerial {
                received: "0a1C".to_owned(),
                known: vec!["0A1B".to_owned()],
            })
        );
    }
}

fn other_public_key(id: &str) -> PublicKey {
    PublicKey::from_pem(id, include_str!("../keys/rsa2048_public.pem")).unwrap()
}

mod refused {
    use super::*;

    const RAW_BODY: &str = "pass the raw body as it was received, neither parsed and written again nor converted to \
                            another charset, and compare the key with the one shown under this id in the merchant platform";
    const EMPTY_BODY: &str =
        "the body is empty: pass the raw bytes, before the framework reads them";
    const NOT_BASE64: &str = "Wechatpay-Signature is not base64: pass it as it was received";
    const SPACES: &str =
        "Wechatpay-Signature has spaces, perhaps in place of '+': do not URL-decode headers";

    /// Each row: the header changed, its new value, and why the message is refused then.
    #[test]
    fn a_message_with_an_altered_header_is_refused() {
        let right = signed_by_openssl();
        assert_eq!(verify(&right, BODY), Ok(()));
        let digits = "Unix seconds, digits only";
        let visible = "visible ASCII characters";
        let missing = |name| VerifyError::MissingHeader { name };
        let unknown = |received: &str| VerifyError::UnknownSerial {
            received: received.to_owned(),
            known: vec![KEY_ID.to_owned()],
        };
        let unsupported = |found: &str| VerifyError::UnsupportedSignatureType {
            found: found.to_owned(),
        };
        let stale = |timestamp| VerifyError::Stale {
            timestamp,
            now: NOW,
        };
        let lower_id = KEY_ID.to_lowercase();
        let lower_nonce = NONCE.to_lowercase();
        let table: &[(&'static str, &[u8], VerifyError)] = &[
            (SERIAL, b"", missing(SERIAL)),
            (SERIAL, b" ", missing(SERIAL)),
            (SERIAL, b"PUB_KEY_ID_1", unknown("PUB_KEY_ID_1")),
            (SERIAL, CURRENT.as_bytes(), unknown(CURRENT)),
            (SERIAL, lower_id.as_bytes(), unknown(&lower_id)),
            (SERIAL, b"\xFF", malformed(SERIAL, "text")),
            (TIMESTAMP, b"", missing(TIMESTAMP)),
            (TIMESTAMP, b"1700000001", wrong_signature(KEY_ID)),
            (TIMESTAMP, b"01700000000", wrong_signature(KEY_ID)),
            (TIMESTAMP, b"+1700000000", malformed(TIMESTAMP, digits)),
            (TIMESTAMP, b"-1700000000", malformed(TIMESTAMP, digits)),
            (TIMESTAMP, b" 1700000000", malformed(TIMESTAMP, digits)),
            (TIMESTAMP, b"1700000000 ", malformed(TIMESTAMP, digits)),
            (TIMESTAMP, b"1700000000\n", malformed(TIMESTAMP, digits)),
            (TIMESTAMP, b"1700000000.0", malformed(TIMESTAMP, digits)),
            (TIMESTAMP, b"1.7e9", malformed(TIMESTAMP, digits)),
            (TIMESTAMP, b"0x6553F100", malformed(TIMESTAMP, digits)),
            (TIMESTAMP, "１７".as_bytes(), malformed(TIMESTAMP, digits)),
            (TIMESTAMP, b"\xFF", malformed(TIMESTAMP, "text")),
            (TIMESTAMP, b"0", stale(0)),
            (TIMESTAMP, b"1700000000000", stale(1_700_000_000_000)),
            (TIMESTAMP, b"18446744073709551615", stale(u64::MAX)),
            (
                TIMESTAMP,
                b"18446744073709551616",
                malformed(TIMESTAMP, digits),
            ),
            (
                TIMESTAMP,
                b"99999999999999999999",
                malformed(TIMESTAMP, digits),
            ),
            (NONCE_NAME, b"", missing(NONCE_NAME)),
            (NONCE_NAME, b"a\nb", malformed(NONCE_NAME, visible)),
            (NONCE_NAME, b"a\r", malformed(NONCE_NAME, visible)),
            (NONCE_NAME, b"a b", malformed(NONCE_NAME, visible)),
            (NONCE_NAME, b"a\0", malformed(NONCE_NAME, visible)),
            (NONCE_NAME, "数".as_bytes(), malformed(NONCE_NAME, visible)),
            (NONCE_NAME, b"\xFF", malformed(NONCE_NAME, "text")),
            (NONCE_NAME, lower_nonce.as_bytes(), wrong_signature(KEY_ID)),
            (
                SIGNATURE_TYPE,
                b"WECHATPAY2-SM2-WITH-SM3",
                unsupported("WECHATPAY2-SM2-WITH-SM3"),
            ),
            (SIGNATURE_TYPE, b"none", unsupported("none")),
            (SIGNATURE_TYPE, b"\xFF", malformed(SIGNATURE_TYPE, "text")),
            (SIGNATURE, b"", missing(SIGNATURE)),
            (SIGNATURE, b"\xFF", malformed(SIGNATURE, "text")),
        ];
        for (name, value, reason) in table {
            let headers = right.clone().set(name, value);
            assert_eq!(
                verify(&headers, BODY).as_ref(),
                Err(reason),
                "{name}: {}",
                value.escape_ascii()
            );
        }
    }

    #[test]
    fn a_message_without_one_of_the_headers_is_refused() {
        for name in [SERIAL, TIMESTAMP, NONCE_NAME, SIGNATURE] {
            assert_eq!(
                verify(&signed_by_openssl().without(name), BODY),
                Err(VerifyError::MissingHeader { name })
            );
        }
        assert_eq!(
            verify(&Headers::unsigned(), BODY),
            Err(VerifyError::MissingHeader { name: SERIAL })
        );
    }

    #[test]
    fn a_message_with_a_header_twice_is_refused() {
        for name in [SERIAL, TIMESTAMP, NONCE_NAME, SIGNATURE, SIGNATURE_TYPE] {
            let headers = signed_by_openssl();
            let same = headers.get(name).to_owned();
            for value in [same.as_str(), "", "another"] {
                for spelled in [name.to_owned(), name.to_lowercase()] {
                    assert_eq!(
                        verify(&headers.clone().with(&spelled, value), BODY),
                        Err(VerifyError::DuplicateHeader { name })
                    );
                }
            }
        }
        // Not part of what is signed.
        let twice = signed_by_openssl()
            .with("Request-ID", "2")
            .with("Server", b"\xFF");
        assert_eq!(verify(&twice, BODY), Ok(()));
    }

    #[test]
    fn a_wrong_signature_is_refused_with_what_to_check() {
        let right = platform_signature(&message(&NOW.to_string(), NONCE, BODY));
        assert_eq!(right, BODY_SIGNATURE);
        let altered = |position: usize| {
            let mut bytes = right.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        };
        let url_safe = right.replace('+', "-").replace('/', "_");
        assert_ne!(url_safe, right);
        let (front, back) = right.split_at(100);
        let table = [
            ("first digit", altered(0), RAW_BODY),
            ("middle digit", altered(170), RAW_BODY),
            ("last digit", altered(341), NOT_BASE64),
            // Only the first two bits of the last digit are used. The others must be zero.
            ("unused bits", right.replace("A==", "B=="), NOT_BASE64),
            (
                "no padding",
                right.trim_end_matches('=').to_owned(),
                NOT_BASE64,
            ),
            ("more padding", format!("{right}="), NOT_BASE64),
            ("URL-safe", url_safe, NOT_BASE64),
            ("plus signs decoded", right.replace('+', " "), SPACES),
            ("space in front", format!(" {right}"), SPACES),
            ("space behind", format!("{right} "), SPACES),
            ("line break inside", format!("{front}\n{back}"), NOT_BASE64),
            ("a byte less", signature_of_bytes(255), RAW_BODY),
            ("all zero", signature_of_bytes(256), RAW_BODY),
            ("a byte more", signature_of_bytes(257), RAW_BODY),
            ("4096 bits", signature_of_bytes(512), RAW_BODY),
            ("more than any key has", signature_of_bytes(513), RAW_BODY),
            ("far more", signature_of_bytes(6_000), RAW_BODY),
            ("twice", format!("{right}{right}"), NOT_BASE64),
            (
                "another key",
                signature_by(OTHER_PRIVATE, &message(&NOW.to_string(), NONCE, BODY)),
                RAW_BODY,
            ),
            (
                "another time",
                platform_signature(&message("1700000001", NONCE, BODY)),
                RAW_BODY,
            ),
            (
                "another nonce",
                platform_signature(&message(&NOW.to_string(), "N", BODY)),
                RAW_BODY,
            ),
            ("another body", EMPTY_BODY_SIGNATURE.to_owned(), RAW_BODY),
            ("only the body", platform_signature(BODY), RAW_BODY),
            (
                "no last line feed",
                {
                    let message = message(&NOW.to_string(), NONCE, BODY);
                    platform_signature(message.strip_suffix(b"\n").unwrap())
                },
                RAW_BODY,
            ),
            ("a word", "SUCCESS".to_owned(), NOT_BASE64),
        ];
        for (what, signature, check) in table {
            let headers = signed_by_openssl().set(SIGNATURE, &signature);
            let key_id = KEY_ID.to_owned();
            let reason = VerifyError::WrongSignature { key_id, check };
            assert_eq!(verify(&headers, BODY), Err(reason), "{what}");
        }
    }

    /// Base64 of this many zero bytes.
    fn signature_of_bytes(count: usize) -> String {
        let digits = (count * 8).div_ceil(6);
        let padding = (4 - digits % 4) % 4;
        "A".repeat(digits) + &"=".repeat(padding)
    }

    #[test]
    fn a_body_with_any_byte_altered_is_refused() {
        let headers = signed_by_openssl();
        for position in 0..BODY.len() {
            let mut body = BODY.to_vec();
            body[position] ^= 1 << (position % 8);
            assert_eq!(
                verify(&headers, &body),
                Err(wrong_signature(KEY_ID)),
                "{position}"
            );
        }
    }

    #[test]
    fn an_altered_body_is_refused() {
        let without_last = BODY.strip_suffix(b"}").unwrap();
        let spaced = [BODY, b" "].concat();
        let line_feed = [BODY, b"\n"].concat();
        let byte_order_mark = [b"\xEF\xBB\xBF", BODY].concat();
        let mut bit = BODY.to_vec();
        bit[30] ^= 1;
        let empty = VerifyError::WrongSignature {
            key_id: KEY_ID.to_owned(),
            check: EMPTY_BODY,
        };
        assert_eq!(verify(&signed_by_openssl(), b""), Err(empty));
        for body in [without_last, &spaced, &line_feed, &byte_order_mark, &bit] {
            assert_eq!(
                verify(&signed_by_openssl(), body),
                Err(wrong_signature(KEY_ID)),
                "{}",
                body.escape_ascii()
            );
        }
    }

    #[test]
    fn a_border_moved_between_nonce_and_body_is_refused() {
        let time = NOW.to_string();
        let body = b"first line\nsecond line";
        let right = Headers::signed(body);
        assert_eq!(verify(&right, body), Ok(()));

        let nonce = format!("{NONCE}\nfirst line");
        assert_eq!(
            message(&time, &nonce, b"second line"),
            message(&time, NONCE, body)
        );
        assert_eq!(
            verify(&right.set(NONCE_NAME, nonce), b"second line"),
            Err(malformed(NONCE_NAME, "visible ASCII characters"))
        );
    }

    #[test]
    fn a_border_moved_between_time_and_nonce_is_refused() {
        let right = Headers::signed(b"body\n");
        assert_eq!(verify(&right, b"body\n"), Ok(()));

        let time = format!("{NOW}\n{NONCE}");
        assert_eq!(
            message(&time, "body", b""),
            message(&NOW.to_string(), NONCE, b"body\n")
        );
        assert_eq!(
            verify(&right.set(TIMESTAMP, time).set(NONCE_NAME, "body"), b""),
            Err(malformed(TIMESTAMP, "Unix seconds, digits only"))
        );
    }

    #[test]
    fn a_time_that_differs_by_300_seconds_is_refused() {
        let headers = signed_by_openssl();
        for now in [NOW - 299, NOW - 1, NOW, NOW + 1, NOW + 299] {
            assert_eq!(
                verify_with(&verifier(), &headers, BODY, now),
                Ok(()),
                "{now}"
            );
        }
        for now in [0, NOW - 301, NOW - 300, NOW + 300, NOW + 301, 1 << 40] {
            let stale = VerifyError::Stale {
                timestamp: NOW,
                now,
            };
            assert_eq!(
                verify_with(&verifier(), &headers, BODY, now),
                Err(stale),
                "{now}"
            );
        }
        let almost = at(NOW + 299) + Duration::from_nanos(999_999_999);
        let signed = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
        assert_eq!(verifier().verify(&signed, BODY, almost), Ok(()));
    }

    #[test]
    fn a_clock_before_1970_counts_as_1970() {
        let headers = Headers::signed_as("1", NONCE, BODY);
        let signed = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
        let before = UNIX_EPOCH - Duration::from_secs(1_000);
        assert_eq!(verifier().verify(&signed, BODY, before), Ok(()));
        let today = signed_by_openssl();
        let signed = SignatureHeaders::from_pairs(today.pairs()).unwrap();
        assert_eq!(
            verifier().verify(&signed, BODY, before),
            Err(VerifyError::Stale {
                timestamp: NOW,
                now: 0
            })
        );
    }

    #[test]
    fn a_time_is_verified_in_the_digits_that_were_signed() {
        let zeros = Headers::signed_as("0001700000000", NONCE, BODY);
        assert_eq!(verify(&zeros, BODY), Ok(()));
        let without = zeros.set(TIMESTAMP, "1700000000");
        assert_eq!(verify(&without, BODY), Err(wrong_signature(KEY_ID)));
    }

    #[test]
    fn a_probe_signature_is_refused_and_told_apart() {
        for signature in [
            "WECHATPAY/SIGNTEST/",
            "WECHATPAY/SIGNTEST/LNTQ6H+kxbOQx/7zQ==",
            &format!("WECHATPAY/SIGNTEST/{BODY_SIGNATURE}"),
        ] {
            let headers = signed_by_openssl().set(SIGNATURE, signature);
            let error = verify(&headers, BODY).unwrap_err();
            assert_eq!(error, VerifyError::Probe);
            assert!(error.is_probe());
            // Under an unknown serial number it is not called a probe. Otherwise anybody could send messages that raise
            // no alarm.
            let error = verify(&headers.set(SERIAL, "ABC"), BODY).unwrap_err();
            assert!(!error.is_probe() && matches!(error, VerifyError::UnknownSerial { .. }));
        }
        for signature in [
            "wechatpay/signtest/",
            "WECHATPAY/SIGNTEST",
            "xWECHATPAY/SIGNTEST/",
        ] {
            let error = verify(&signed_by_openssl().set(SIGNATURE, signature), BODY).unwrap_err();
            let is_wrong = matches!(error, VerifyError::WrongSignature { .. });
            assert!(is_wrong && !error.is_probe(), "{error:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_ids_of_those_held() {
        let verifier = Verifier::new([certificate(CURRENT), platform_public_key()]).unwrap();
        let right = signed_by_openssl().set(SERIAL, CURRENT);
        assert_eq!(verify_with(&verifier, &right, BODY, NOW), Ok(()));
        let error = verify_with(&verifier, &right.set(SERIAL, NEXT), BODY, NOW).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("signed with the unknown platform key {NEXT:?}, known: {CURRENT}, {KEY_ID}")
        );
    }

    #[test]
    fn a_certificate_outside_its_validity_is_refused() {
        let all = [CURRENT, NEXT, EXPIRED, FUTURE].map(certificate);
        let verifier = Verifier::new(all).unwrap();
        for serial in [CURRENT, NEXT] {
            let headers = signed_by_openssl().set(SERIAL, serial);
            assert_eq!(
                verify_with(&verifier, &headers, BODY, NOW),
                Ok(()),
                "{serial}"
            );
        }
        // As `openssl x509 -dates` shows them: 2018-01-01 to 2023-11-01, 2023-12-01 to 2029-01-01.
        for (serial, not_before, not_after) in [
            (EXPIRED, 1_514_764_800, 1_698_796_800),
            (FUTURE, 1_701_388_800, 1_861_920_000),
        ] {
            let headers = signed_by_openssl().set(SERIAL, serial);
            assert_eq!(
                verify_with(&verifier, &headers, BODY, NOW),
                Err(VerifyError::OutsideValidity {
                    serial: serial.to_owned(),
                    not_before,
                    not_after,
                    now: NOW,
                })
            );
        }
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_second_to_its_last() {
        let verifier = Verifier::new([certificate(EXPIRED), certificate(FUTURE)]).unwrap();
        let at_time = |serial: &str, time: u64| {
            let headers = Headers::signed_as(&time.to_string(), NONCE, BODY).set(SERIAL, serial);
            verify_with(&verifier, &headers, BODY, time)
        };
        let outside = |serial: &str, not_before, not_after, now| {
            Err(VerifyError::OutsideValidity {
                serial: serial.to_owned(),
                not_before,
                not_after,
                now,
            })
        };
        let (start, end) = (1_514_764_800, 1_698_796_800);
        assert_eq!(
            at_time(EXPIRED, start - 1),
            outside(EXPIRED, start, end, start - 1)
        );
        assert_eq!(at_time(EXPIRED, start), Ok(()));
        assert_eq!(at_time(EXPIRED, end), Ok(()));
        assert_eq!(
            at_time(EXPIRED, end + 1),
            outside(EXPIRED, start, end, end + 1)
        );
    }
}

mod keys {
    use super::*;

    #[test]
    fn a_verifier_of_no_keys_is_refused() {
        let error = Verifier::new([]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "found no platform key: wanted at least one"
        );
    }

    #[test]
    fn two_keys_of_one_id_are_refused() {
        let keys = || {
            [
                platform_public_key(),
                certificate(CURRENT),
                certificate(NEXT),
            ]
        };
        assert_eq!(
            Verifier::new(keys()).unwrap().key_ids(),
            [KEY_ID, CURRENT, NEXT]
        );
        for id in [KEY_ID, CURRENT, NEXT] {
            let twice = keys().into_iter().chain([other_public_key(id)]);
            assert_eq!(
                Verifier::new(twice).unwrap_err().to_string(),
                format!("found two platform keys with the id {id}: wanted each once")
            );
        }
        let lower = CURRENT.to_lowercase();
        let twice = keys().into_iter().chain([other_public_key(&lower)]);
        assert_eq!(
            Verifier::new(twice).unwrap_err().to_string(),
            format!("found two platform keys with the id {CURRENT}: wanted each once")
        );
    }

    #[test]
    fn a_certificate_takes_the_place_of_the_public_key_under_its_serial_number() {
        let lower = CURRENT.to_lowercase();
        for id in [CURRENT, &lower] {
            let keys = [platform_public_key(), other_public_key(id)];
            let verifier = Verifier::new(keys).unwrap();
            let merchant = Merchant::new(merchant_signer(), verifier.clone()).unwrap();
            let new = [certificate(NEXT)];
            merchant.replace_certificates(new).unwrap();
            assert_eq!(verifier.key_ids(), [KEY_ID, CURRENT, NEXT]);
            let new = [certificate(CURRENT)];
            merchant.replace_certificates(new).unwrap();
            assert_eq!(verifier.key_ids(), [KEY_ID, CURRENT]);
        }
    }

    #[test]
    fn replaced_keys_are_gone_for_the_clones_too() {
        let verifier = verifier();
        let clone = verifier.clone();
        let by_certificate = signed_by_openssl().set(SERIAL, CURRENT);
        assert_eq!(verify_with(&clone, &signed_by_openssl(), BODY, NOW), Ok(()));

        verifier.replace([certificate(CURRENT)]).unwrap();
        assert_eq!(clone.key_ids(), [CURRENT]);
        assert_eq!(verify_with(&clone, &by_certificate, BODY, NOW), Ok(()));
        assert_eq!(
            verify_with(&clone, &signed_by_openssl(), BODY, NOW),
            Err(VerifyError::UnknownSerial {
                received: KEY_ID.to_owned(),
                known: vec![CURRENT.to_owned()],
            })
        );
    }

    #[test]
    fn replacing_public_keys_keeps_the_certificates() {
        let keys = [
            platform_public_key(),
            certificate(CURRENT),
            certificate(NEXT),
        ];
        let verifier = Verifier::new(keys).unwrap();
        let clone = verifier.clone();
        let by_certificate = signed_by_openssl().set(SERIAL, CURRENT);
        let new = ["PUB_KEY_ID_1", "PUB_KEY_ID_2"];
        verifier
            .replace_public_keys(new.map(other_public_key))
            .unwrap();
        let held = [CURRENT, NEXT, "PUB_KEY_ID_1", "PUB_KEY_ID_2"];
        assert_eq!(clone.key_ids(), held);
        assert_eq!(verify_with(&clone, &by_certificate, BODY, NOW), Ok(()));
        assert_eq!(
            verify_with(&clone, &signed_by_openssl(), BODY, NOW),
            Err(VerifyError::UnknownSerial {
                received: KEY_ID.to_owned(),
                known: held.map(str::to_owned).into(),
            })
        );

        // Each id stands for one key: that which was given last.
        verifier
            .replace_public_keys([other_public_key(CURRENT)])
            .unwrap();
        assert_eq!(clone.key_ids(), [NEXT, CURRENT]);
        assert_eq!(
            verify_with(&clone, &by_certificate, BODY, NOW),
            Err(wrong_signature(CURRENT))
        );
    }

    #[test]
    fn a_replacement_that_fails_keeps_the_old_keys() {
        let verifier = verifier();
        let all = |keys: Vec<PublicKey>| verifier.replace(keys);
        let public_keys = |keys: Vec<PublicKey>| verifier.replace_public_keys(keys);
        let ways: [&dyn Fn(_) -> _; 2] = [&all, &public_keys];
        for replace in ways {
            assert_eq!(
                replace(vec![]).unwrap_err().to_string(),
                "found no platform key: wanted at least one"
            );
            let twice = vec![other_public_key(CURRENT), certificate(CURRENT)];
            assert_eq!(
                replace(twice).unwrap_err().to_string(),
                format!("found two platform keys with the id {CURRENT}: wanted each once")
            );
        }
        assert_eq!(verifier.key_ids(), [KEY_ID]);
        assert_eq!(
            verify_with(&verifier, &signed_by_openssl(), BODY, NOW),
            Ok(())
        );
    }

    #[test]
    fn keys_are_replaced_while_messages_are_verified() {
        let verifier = Verifier::new([platform_public_key()]).unwrap();
        let headers = signed_by_openssl();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert_eq!(verify_with(&verifier, &headers, BODY, NOW), Ok(()));
                    }
                });
            }
            for _ in 0..50 {
                let keys = [platform_public_key(), certificate(CURRENT)];
                verifier.replace(keys).unwrap();
            }
        });
    }

    #[test]
    fn the_keys_held_are_shown_with_their_validity() {
        let verifier = Verifier::new([platform_public_key(), certificate(EXPIRED)]).unwrap();
        let held: Vec<_> = verifier
            .platform_keys()
            .iter()
            .map(|key| (key.id().to_owned(), key.validity().map(|v| v.not_after)))
            .collect();
        assert_eq!(
            held,
            [
                (KEY_ID.to_owned(), None),
                (EXPIRED.to_owned(), Some(1_698_796_800))
            ]
        );
    }

    #[test]
    fn debug_shows_the_ids_of_the_keys_and_no_more() {
        let verifier = Verifier::new([platform_public_key(), certificate(CURRENT)]).unwrap();
        let shown = format!("{verifier:?}");
        assert!(shown.contains(KEY_ID) && shown.contains(CURRENT), "{shown}");
        assert!(shown.len() < 400, "{shown}");
        assert!(PUBLIC.lines().all(|line| !shown.contains(line)), "{shown}");
    }
}
