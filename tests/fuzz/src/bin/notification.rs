//! Notifications that count as signed. The input is once the whole body, and once the decrypted content of each kind
//! that has a Rust type. The content of an opened notification is the text that was encrypted. If it was read into a
//! type, it is a JSON object.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use wechatpay_contract::{
    Event, Notification, NotificationError, NotificationReceiver, SignatureHeaders,
};
use wechatpay_contract_fuzz::{api_v3_key, assert_printable, encrypted, headers, now, verifier};

static RECEIVER: LazyLock<NotificationReceiver> =
    LazyLock::new(|| NotificationReceiver::new(verifier(), api_v3_key()));

fuzz_target!(|data: &[u8]| {
    if open(data).is_ok() {
        assert_object(data);
    }
    for (event_type, original_type) in [
        ("ENTRUST.SIGN", "entrust"),
        ("TRANSACTION.SUCCESS", "transaction"),
        ("REFUND.SUCCESS", "refund"),
    ] {
        let body = json!({
            "id": "EV-2018022511223320873",
            "create_time": "2015-05-20T13:29:35+08:00",
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": "签约成功",
            "resource": {
                "original_type": original_type,
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": encrypted(data),
                "associated_data": original_type,
                "nonce": "uluk4a9R25RW",
            },
        });
        if let Ok(notification) = open(body.to_string().as_bytes()) {
            assert_eq!(notification.json().as_bytes(), data);
            // Content without a type may be any JSON.
            if !matches!(notification.content, Event::Other(_)) {
                assert_object(data);
            }
        }
    }
});

fn open(body: &[u8]) -> Result<Notification, NotificationError> {
    let pairs = headers();
    let headers = SignatureHeaders::from_pairs(pairs.iter().map(|(name, value)| (*name, *value)));
    let opened = RECEIVER.open(&headers.unwrap(), body, now());
    if let Err(error) = &opened {
        assert!(!matches!(error, NotificationError::Verify(_)), "{error:?}");
        assert_printable(error);
    }
    opened
}

fn assert_object(json: &[u8]) {
    let value: Value = serde_json::from_slice(json).unwrap();
    assert!(value.is_object(), "{value}");
}
