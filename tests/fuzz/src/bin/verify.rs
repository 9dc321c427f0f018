//! A message as lines of headers, an empty line, and a body. With another signature than `fuzzing`, only the message
//! that OpenSSL signed (`tests/platform/answer_signature.txt`) is accepted, with its headers in any order and case.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use wechatpay_contract::{SignatureHeaders, Verifier};
use wechatpay_contract_fuzz::{NONCE, NOW, SIGNATURE, assert_printable, now, verifier};

const BODY: &[u8] = include_bytes!("../../../platform/answer.json");
const RIGHT: &str = include_str!("../../../platform/answer_signature.txt");

static VERIFIER: LazyLock<Verifier> = LazyLock::new(verifier);

fuzz_target!(|data: &[u8]| {
    let (head, body) = split(data, b"\n\n").unwrap_or((data, b""));
    let pairs: Vec<(&str, &[u8])> = head
        .split(|byte| *byte == b'\n')
        .filter_map(|line| split(line, b": "))
        .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)))
        .collect();
    let verified = SignatureHeaders::from_pairs(pairs.iter().copied())
        .and_then(|headers| VERIFIER.verify(&headers, body, now()));
    if let Err(error) = verified {
        return assert_printable(&error);
    }
    let value = |wanted: &str| {
        let mut found = pairs
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let (_, value) = found.next().expect(wanted);
        assert!(found.next().is_none(), "{wanted} twice");
        *value
    };
    let signature = value("Wechatpay-Signature");
    if signature != SIGNATURE.as_bytes() {
        assert_eq!(signature, RIGHT.trim().as_bytes());
        assert_eq!(value("Wechatpay-Nonce"), NONCE.as_bytes());
        assert_eq!(value("Wechatpay-Timestamp"), NOW.to_string().as_bytes());
        assert_eq!(body, BODY);
    }
});

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let position = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..position], &bytes[position + at.len()..]))
}
