//! Lists of platform certificates that count as signed. The input is once the whole body, and once the decrypted
//! certificate of the only entry. An accepted list contains a certificate that is valid now.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use wechatpay_contract::{ApiV3Key, Verifier, certificates};
use wechatpay_contract_fuzz::{
    NOW, api_v3_key, assert_printable, encrypted, headers, now, verifier,
};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(verifier);
static KEY: LazyLock<ApiV3Key> = LazyLock::new(api_v3_key);

fuzz_target!(|data: &[u8]| {
    if accept(data) {
        let list: Value = serde_json::from_slice(data).unwrap();
        assert!(list.is_object(), "{list}");
    }
    let entry = json!({
        "serial_no": "11111111111111111111111111111111111111AA",
        "effective_time": "2023-01-01T08:00:00+08:00",
        "expire_time": "2028-01-01T08:00:00+08:00",
        "encrypt_certificate": {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": "61f9c719728a",
            "associated_data": "certificate",
            "ciphertext": encrypted(data),
        },
    });
    if accept(json!({"data": [entry]}).to_string().as_bytes()) {
        let text = std::str::from_utf8(data).unwrap().trim();
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----"), "{text:?}");
        assert!(text.ends_with("-----END CERTIFICATE-----"), "{text:?}");
    }
});

fn accept(body: &[u8]) -> bool {
    let pairs = headers();
    let pairs = pairs.iter().map(|(name, value)| (*name, *value));
    match certificates::accept(200, pairs, body, now(), &KEY, &VERIFIER) {
        Ok(list) => {
            let validity = list.iter().filter_map(|key| key.validity());
            let mut valid = validity.map(|it| (it.not_before..=it.not_after).contains(&NOW));
            assert!(valid.any(|is_valid| is_valid));
            assert!(list.iter().all(|key| key.is_certificate()));
            true
        }
        Err(error) => {
            assert_printable(&error);
            false
        }
    }
}
