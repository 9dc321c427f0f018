//! Notifications: the contents that are read, and everything that is refused, with the reason and the reply.
//!
//! `tests/notification/signed.json` was encrypted by Python's `cryptography` (`AESGCM(key).encrypt(b"uluk4a9R25RW",
//! content, b"entrust")`) and signed by `openssl dgst -sha256 -sign tests/platform/private.pem`. The other
//! notifications are encrypted here, by RustCrypto.

use std::collections::HashMap;
use std::sync::Arc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wechatpay_contract::{
    ApiV3Key, ContractEvent, ContractState, EventKind, Notification, NotificationError,
    NotificationReceiver, NotificationReply, SignatureHeaders, TerminationMode, Verifier,
    VerifyError,
};

use crate::support::{
    CURRENT, EXPIRED, Headers, KEY_ID, NONCE, NOW, at, certificate, chain, platform_public_key,
    verifier, wrong_signature,
};

/// A notification about a contract.
type ContractNotification = Notification<ContractEvent>;

/// The key of Tencent's published vector.
const KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";
const GCM_NONCE: &str = "uluk4a9R25RW";

const SIGNED: &[u8] = include_bytes!("../notification/signed.json");
const SIGNED_SIGNATURE: &str = include_str!("../notification/signature.txt");
const SIGNED_CONTENT: &str = include_str!("../notification/content.json");

fn receiver() -> NotificationReceiver {
    NotificationReceiver::new(verifier(), ApiV3Key::new(KEY).unwrap())
}

/// The headers of the notification that Python and OpenSSL made.
fn signed_by_openssl() -> Headers {
    Headers::of(&NOW.to_string(), NONCE, SIGNED_SIGNATURE)
}

/// Opens a body with any headers.
fn open_with(
    headers: &Headers,
    body: &[u8],
    now: u64,
) -> Result<ContractNotification, NotificationError> {
    let headers = SignatureHeaders::from_pairs(headers.pairs())?;
    receiver().open_as(&headers, body, at(now))
}

/// Opens any body, signed correctly.
fn open(body: impl AsRef<[u8]>) -> Result<ContractNotification, NotificationError> {
    let body = body.as_ref();
    open_with(&Headers::signed(body), body, NOW)
}

fn encrypt(content: &[u8], associated_data: &str) -> Vec<u8> {
    let payload = Payload {
        msg: content,
        aad: associated_data.as_bytes(),
    };
    Aes256Gcm::new_from_slice(KEY.as_bytes())
        .unwrap()
        .encrypt(&Nonce::try_from(GCM_NONCE.as_bytes()).unwrap(), payload)
        .unwrap()
}

/// The envelope of any content.
fn sealed_bytes(event_type: &str, content: &[u8]) -> Value {
    json!({
        "id": "EV-2018022511223320873",
        "create_time": "2020-09-10T13:29:36+08:00",
        "resource_type": "encrypt-resource",
        "event_type": event_type,
        "summary": "签约结果通知",
        "resource": {
            "original_type": "entrust",
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": STANDARD.encode(encrypt(content, "entrust")),
            "associated_data": "entrust",
            "nonce": GCM_NONCE,
        },
    })
}

fn sealed(event_type: &str, content: &Value) -> Value {
    sealed_bytes(event_type, content.to_string().as_bytes())
}

fn minimal() -> Value {
    json!({"out_contract_code": "wxwtdk20200910100000"})
}

/// The messages of an error and its causes, and the status and body of the reply.
#[track_caller]
fn refused<T>(result: Result<T, NotificationError>) -> (String, u16, String) {
    let Err(error) = result else {
        panic!("was accepted");
    };
    let reply = error.reply();
    assert!(reply.headers().eq([("Content-Type", "application/json")]));
    let body: Value = serde_json::from_str(reply.body()).unwrap();
    assert_eq!(body["code"], "FAIL");
    let message = body["message"].as_str().unwrap().to_owned();
    (chain(&error).join(": "), reply.status(), message)
}

#[track_caller]
fn assert_refused<T>(
    what: &str,
    result: Result<T, NotificationError>,
    (reason, status, message): (&str, u16, &str),
) {
    let refused = refused(result);
    assert_eq!(
        refused,
        (reason.to_owned(), status, message.to_owned()),
        "{what}"
    );
}

mod opens {
    use super::*;

    #[test]
    fn a_notification_made_by_python_and_openssl_is_opened() {
        let event = open_with(&signed_by_openssl(), SIGNED, NOW).unwrap();
        assert_eq!(event.id, "EV-2018022511223320873");
        assert_eq!(event.create_time, "2020-09-10T13:29:36+08:00");
        assert_eq!(event.event_type, "ENTRUST.SIGN");
        assert_eq!(event.kind, EventKind::Signed);
        assert_eq!(event.json(), SIGNED_CONTENT);
        let contract = event.content;
        assert_eq!(contract.mchid.as_deref(), Some("1900000109"));
        assert_eq!(contract.contract_id.as_deref(), Some("123124412412423431"));
        assert_eq!(contract.appid.as_deref(), Some("wxd678efh567hg6787"));
        assert_eq!(
            contract.openid.as_deref(),
            Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")
        );
        assert_eq!(contract.service_id, Some(12535));
        assert_eq!(contract.out_contract_code, "wxwtdk20200910100000");
        assert_eq!(
            contract.contract_display_account.as_deref(),
            Some("微信代扣用户A")
        );
        assert_eq!(contract.contract_state, Some(ContractState::Signed));
        assert_eq!(
            contract.contract_signed_time.as_deref(),
            Some("2020-09-10T13:29:35+08:00")
        );
        assert_eq!(contract.contract_terminate_info, None);
    }

    /// <https://pay.weixin.qq.com/doc/v3/partner/4012160323>
    #[test]
    fn an_entrust_sign_is_opened() {
        let content = json!({
            "contract_display_account": "微信代扣用户A",
            "contract_expired_time": "2021-09-10T13:29:35+08:00",
            "contract_id": "123124412412423431",
            "contract_signed_time": "2020-09-10T13:29:35+08:00",
            "contract_state": "SIGNED",
            "deduct_schedule": {"deduct_amount": {"currency": "CNY", "total": 1}, "deduct_date": "2019-11-22"},
            "out_contract_code": "wxwtdk20200910100000",
            "out_user_code": "用户A",
            "plan_id": 12535,
            "sp_appid": "wxd678efh567hg6787",
            "sp_mchid": "1900000109",
            "sp_openid": "o-MYE42l80oelYMDE34nYD456Xoy",
            "sub_appid": "wxd678efh567hg6788",
            "sub_mchid": "1900000110",
            "sub_openid": "o-MYE42l80oelYMDE34nYD456Xoz",
        });
        let event = open(sealed("ENTRUST.SIGN", &content).to_string()).unwrap();
        assert_eq!(event.kind, EventKind::Signed);
        let contract = &event.content;
        assert_eq!(
            contract.contract_expired_time.as_deref(),
            Some("2021-09-10T13:29:35+08:00")
        );
        assert_eq!(contract.out_user_code.as_deref(), Some("用户A"));
        assert_eq!(contract.plan_id, Some(12535));
        assert_eq!(contract.sp_appid.as_deref(), Some("wxd678efh567hg6787"));
        assert_eq!(contract.sp_mchid.as_deref(), Some("1900000109"));
        assert_eq!(
            contract.sp_openid.as_deref(),
            Some("o-MYE42l80oelYMDE34nYD456Xoy")
        );
        assert_eq!(contract.sub_appid.as_deref(), Some("wxd678efh567hg6788"));
        assert_eq!(contract.sub_mchid.as_deref(), Some("1900000110"));
        assert_eq!(
            contract.sub_openid.as_deref(),
            Some("o-MYE42l80oelYMDE34nYD456Xoz")
        );
        assert_eq!(contract.mchid, None);
        // A value without a field of its own is in the JSON.
        let json: Value = event.parse().unwrap();
        assert_eq!(json["deduct_schedule"]["deduct_date"], "2019-11-22");
        assert_eq!(json, content);
    }

    #[test]
    fn an_entrust_terminate_is_opened() {
        let content = json!({
            "mchid": "1900000109",
            "contract_id": "123124412412423431",
            "out_contract_code": "wxwtdk20200910100000",
            "contract_state": "TERMINATED",
            "contract_terminate_info": {
                "contract_termination_mode": "USER_TERMINATE",
                "contract_terminated_time": "2020-10-10T13:29:35+08:00",
                "contract_termination_remark": "解约备注",
            },
        });
        let event = open(sealed("ENTRUST.TERMINATE", &content).to_string()).unwrap();
        assert_eq!(event.kind, EventKind::Terminated);
        let contract = event.content;
        assert_eq!(contract.contract_state, Some(ContractState::Terminated));
        assert_eq!(
            contract.termination_mode(),
            Some(&TerminationMode::UserTerminate)
        );
        let info = contract.contract_terminate_info.unwrap();
        assert_eq!(
            info.contract_terminated_time.as_deref(),
            Some("2020-10-10T13:29:35+08:00")
        );
        assert_eq!(
            info.contract_termination_remark.as_deref(),
            Some("解约备注")
        );
    }

    /// Without `contract_id`.
    #[test]
    fn an_ecommerce_entrust_is_opened() {
        let mut content = json!({
            "mchid": "1900000109",
            "out_contract_code": "wxwtdk20200910100000",
            "plan_id": "12535",
            "appid": "wxd678efh567hg6787",
            "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            "contract_expired_time": "2021-09-10T13:29:35+08:00",
            "operate_time": "2020-09-10T13:29:35+08:00",
            "attach": "附加数据",
        });
        let event = open(sealed("ECOMMERCE_ENTRUST.SIGN", &content).to_string()).unwrap();
        assert_eq!(event.kind, EventKind::Signed);
        assert_eq!(event.content.contract_id, None);
        assert_eq!(event.content.plan_id, Some(12535));
        assert_eq!(event.content.attach.as_deref(), Some("附加数据"));
        assert_eq!(
            event.content.operate_time.as_deref(),
            Some("2020-09-10T13:29:35+08:00")
        );
        assert_eq!(event.content.termination_mode(), None);

        content["contract_termination_mode"] = json!("MCH_API_TERMINATE");
        let event = open(sealed("ECOMMERCE_ENTRUST.TERMINATE", &content).to_string()).unwrap();
        assert_eq!(event.kind, EventKind::Terminated);
        assert_eq!(
            event.content.termination_mode(),
            Some(&TerminationMode::MchApiTerminate)
        );

        // If the object is empty, `contract_termination_mode` is read.
        content["contract_terminate_info"] = json!({});
        let event = open(sealed("ECOMMERCE_ENTRUST.TERMINATE", &content).to_string()).unwrap();
        assert!(event.content.contract_terminate_info.is_some());
        assert_eq!(
            event.content.termination_mode(),
            Some(&TerminationMode::MchApiTerminate)
        );
    }

    /// <https://pay.weixin.qq.com/doc/global/v3/zh/4013015481>
    #[test]
    fn a_papay_notification_is_opened() {
        let content = json!({
            "sp_mchid": "1900000109",
            "sub_mchid": "1900000110",
            "sp_appid": "wxd678efh567hg6787",
            "sp_openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            "out_contract_code": "100001256",
            "plan_id": 123,
            "contract_id": "Wx15463511252015071056489715",
            "operate_time": "2020-09-10T13:29:35+08:00",
            "contract_expired_time": "2021-09-10T13:29:35+08:00",
            "contract_termination_mode": "A_NEW_WAY",
        });
        let event = open(sealed("PAPAY.TERMINATE", &content).to_string()).unwrap();
        assert_eq!(event.kind, EventKind::Terminated);
        assert_eq!(
            event.content.termination_mode(),
            Some(&TerminationMode::Other("A_NEW_WAY".to_owned()))
        );
    }

    #[test]
    fn an_event_of_any_type_is_opened() {
        let other = |text: &str| EventKind::Other(text.to_owned());
        for (event_type, kind) in [
            ("PASSWORD_EXEMPT.CONTRACT.SIGN", EventKind::Signed),
            ("TERMINATE", EventKind::Terminated),
            ("ENTRUST.TERMINATE_INQUIRY", other("TERMINATE_INQUIRY")),
            (
                "CREDIT_REPAYMENT.SIGN_CONTRACT",
                EventKind::Other("SIGN_CONTRACT".to_owned()),
            ),
            ("ENTRUST.sign", other("sign")),
            ("SIGN.", other("")),
            ("", other("")),
        ] {
            let event = open(sealed(event_type, &minimal()).to_string()).unwrap();
            assert_eq!(event.event_type, event_type);
            assert_eq!(event.kind, kind, "{event_type}");
            let last = event_type.rsplit('.').next().unwrap();
            assert_eq!(event.kind.as_str(), last);
            assert_eq!(event.kind.to_string(), last);
        }
    }

    #[test]
    fn another_product_is_opened_into_the_users_own_type() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Echo {
            echo_message: String,
        }

        let body = sealed(
            "SECURITY_ECHO.SUCCESS",
            &json!({"echo_message": "hello\n\"你好\""}),
        )
        .to_string();
        let headers = Headers::signed(body.as_bytes());
        let headers = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
        let notification = receiver()
            .open_as::<Echo>(&headers, body.as_bytes(), at(NOW))
            .unwrap();
        assert_eq!(notification.kind, EventKind::Other("SUCCESS".to_owned()));
        assert_eq!(notification.content.echo_message, "hello\n\"你好\"");

        assert_refused(
            "opened as a contract's",
            open(&body),
            (
                "the content of notification \"EV-2018022511223320873\" of type \"SECURITY_ECHO.SUCCESS\" \
                 is not of the type asked for: missing field `out_contract_code` at line 1 column 36",
                500,
                "the content could not be read",
            ),
        );
    }

    #[test]
    fn one_url_serves_several_products() {
        #[derive(serde::Deserialize)]
        struct Transaction<'a> {
            out_trade_no: &'a str,
        }

        let body = sealed(
            "TRANSACTION.SUCCESS",
            &json!({"out_trade_no": "1217752501201407033233368018"}),
        )
        .to_string();
        let headers = Headers::signed(body.as_bytes());
        let headers = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
        let notification = receiver()
            .open_as::<serde::de::IgnoredAny>(&headers, body.as_bytes(), at(NOW))
            .unwrap();
        assert_eq!(notification.event_type, "TRANSACTION.SUCCESS");
        let transaction: Transaction<'_> = notification.parse().unwrap();
        assert_eq!(transaction.out_trade_no, "1217752501201407033233368018");
        assert_refused(
            "read as something else",
            notification.parse::<u64>(),
            (
                "the content of notification \"EV-2018022511223320873\" of type \"TRANSACTION.SUCCESS\" is not of \
                 the type asked for: invalid type: map, expected u64 at line 1 column 1",
                500,
                "the content could not be read",
            ),
        );
    }

    #[test]
    fn an_envelope_of_the_needed_fields_alone_is_opened() {
        let sealed = STANDARD.encode(encrypt(minimal().to_string().as_bytes(), ""));
        let mut envelope = json!({
            "id": "EV",
            "create_time": "20180225112233",
            "event_type": "ENTRUST.SIGN",
            "resource": {"algorithm": "AEAD_AES_256_GCM", "ciphertext": sealed, "nonce": GCM_NONCE},
        });
        for associated_data in [None, Some(json!("")), Some(Value::Null)] {
            if let Some(associated_data) = associated_data {
                envelope["resource"]["associated_data"] = associated_data;
            }
            let event = open(envelope.to_string()).unwrap();
            assert_eq!(event.create_time, "20180225112233");
        }
    }

    #[test]
    fn an_envelope_with_unknown_fields_is_opened() {
        let mut envelope = sealed("ENTRUST.SIGN", &minimal());
        envelope["summary"] = json!({"not": ["a", "text"]});
        envelope["resource"]["new"] = json!([1, 2, 3]);
        // Nested deeper than a recursive parser could read.
        let deep = format!("{{\"deep\":{}{},", "[".repeat(100_000), "]".repeat(100_000));
        let body = envelope.to_string().replacen('{', &deep, 1);
        assert_eq!(
            open(body).unwrap().content.out_contract_code,
            "wxwtdk20200910100000"
        );
    }

    #[test]
    fn escaped_texts_are_read() {
        let body = sealed("ENTRUST.SIGN", &minimal())
            .to_string()
            .replace("ENTRUST.SIGN", r"ENTRUST\u002eSIGN")
            .replace("\"entrust\"", r#""\u0065ntrust""#)
            .replace("AEAD_AES", r"AEAD\u005fAES")
            .replace(GCM_NONCE, r"\u0075luk4a9R25RW");
        assert_eq!(open(body).unwrap().event_type, "ENTRUST.SIGN");
    }

    /// None of these fields is documented, so no value of another type may make the notification unreadable.
    #[test]
    fn optional_fields_of_unexpected_types_are_absent() {
        for (field, value) in [
            ("service_id", json!("12536")),
            ("service_id", json!(12536)),
            ("mchid", Value::Null),
            ("mchid", json!(1_900_000_109)),
            ("service_id", json!("twelve")),
            ("service_id", json!(-1)),
            ("service_id", json!(1.5)),
            ("plan_id", json!(["12535"])),
            ("contract_state", json!({"state": "SIGNED"})),
            (
                "contract_terminate_info",
                json!({"contract_termination_mode": 7}),
            ),
            ("contract_terminate_info", json!("USER_TERMINATE")),
            ("attach", json!(true)),
        ] {
            let mut content = minimal();
            content[field] = value.clone();
            let event = open(sealed("ENTRUST.SIGN", &content).to_string()).unwrap();
            let is_number = ["12536", "\"12536\""].contains(&value.to_string().as_str());
            assert_eq!(
                event.content.service_id,
                is_number.then_some(12536),
                "{value}"
            );
            assert_eq!(event.content.mchid, None);
            assert_eq!(event.content.plan_id, None);
            assert_eq!(event.content.contract_state, None);
            assert_eq!(event.content.contract_terminate_info, None);
            assert_eq!(event.content.attach, None);
            assert_eq!(event.parse::<Value>().unwrap()[field], value);
        }
    }

    #[test]
    fn headers_are_read_in_any_case_and_by_lookup() {
        let headers = signed_by_openssl();
        for change in [str::to_lowercase, str::to_uppercase] {
            let pairs = headers.0.iter().cloned();
            let changed = Headers(pairs.map(|(n, v)| (change(&n), v)).collect());
            assert_eq!(
                open_with(&changed, SIGNED, NOW).unwrap().kind,
                EventKind::Signed
            );
        }
        let map: HashMap<String, &str> = headers
            .0
            .iter()
            .map(|(name, _)| (name.to_lowercase(), headers.get(name)))
            .collect();
        let headers = SignatureHeaders::from_lookup(|name| map.get(&name.to_lowercase()).copied());
        let event = receiver()
            .open_as::<ContractEvent>(&headers, SIGNED, at(NOW))
            .unwrap();
        assert_eq!(event.kind, EventKind::Signed);
    }

    #[test]
    fn a_body_of_the_largest_size_is_opened() {
        let mut body = sealed("ENTRUST.SIGN", &minimal()).to_string().into_bytes();
        body.resize(NotificationReceiver::MAX_BODY, b' ');
        assert_eq!(open(&body).unwrap().kind, EventKind::Signed);
        body.push(b' ');
        let too_large = (
            "the notification's body has 1048577 bytes: wanted at most 1048576",
            413,
            "the body is too long",
        );
        assert_refused("one byte more", open(&body), too_large);
        // Its length is checked first.
        let unsigned = open_with(&Headers::unsigned(), &body, NOW);
        assert_refused("not signed", unsigned, too_large);
    }

    #[test]
    fn a_message_less_than_300_seconds_old_or_early_is_opened() {
        for now in [NOW - 299, NOW, NOW + 299] {
            let event = open_with(&signed_by_openssl(), SIGNED, now).unwrap();
            assert_eq!(event.kind, EventKind::Signed);
        }
    }
}

mod refuses {
    use super::*;

    const NOT_ACCEPTED: &str = "the signature was not accepted";

    fn verify_error(result: Result<ContractNotification, NotificationError>) -> VerifyError {
        match result {
            Err(NotificationError::Verify(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_header_that_is_missing_doubled_or_altered_is_refused() {
        open_with(&signed_by_openssl(), SIGNED, NOW).unwrap();
        let signature_of_other_body = Headers::signed(b"{}").get("Wechatpay-Signature").to_owned();
        let table = [
            ("Wechatpay-Serial", CURRENT),
            ("Wechatpay-Timestamp", "1700000001"),
            ("Wechatpay-Nonce", "593BEC0C930BF1AFEB40B4A08C8FB243"),
            ("Wechatpay-Signature", &signature_of_other_body),
        ];
        for (name, other) in table {
            let missing = signed_by_openssl().without(name);
            assert_eq!(
                verify_error(open_with(&missing, SIGNED, NOW)),
                VerifyError::MissingHeader { name }
            );
            let twice = signed_by_openssl().with(&name.to_lowercase(), other);
            assert_eq!(
                verify_error(open_with(&twice, SIGNED, NOW)),
                VerifyError::DuplicateHeader { name }
            );
            let altered = verify_error(open_with(
                &signed_by_openssl().set(name, other),
                SIGNED,
                NOW,
            ));
            let wanted = match name {
                "Wechatpay-Serial" => VerifyError::UnknownSerial {
                    received: CURRENT.to_owned(),
                    known: vec![KEY_ID.to_owned()],
                },
                _ => wrong_signature(KEY_ID),
            };
            assert_eq!(altered, wanted);
        }
        let other_type = signed_by_openssl().set("Wechatpay-Signature-Type", "WECHATPAY2-SM2");
        assert_eq!(
            verify_error(open_with(&other_type, SIGNED, NOW)),
            VerifyError::UnsupportedSignatureType {
                found: "WECHATPAY2-SM2".to_owned()
            }
        );
    }

    #[test]
    fn every_altered_byte_of_the_body_is_refused() {
        for position in 0..SIGNED.len() {
            let mut body = SIGNED.to_vec();
            body[position] ^= 1;
            assert_eq!(
                verify_error(open_with(&signed_by_openssl(), &body, NOW)),
                wrong_signature(KEY_ID)
            );
        }
        // The same JSON in other bytes, as a framework would write it again.
        let reserialized = serde_json::from_slice::<Value>(SIGNED).unwrap().to_string();
        assert_eq!(
            verify_error(open_with(
                &signed_by_openssl(),
                reserialized.as_bytes(),
                NOW
            )),
            wrong_signature(KEY_ID)
        );
    }

    #[test]
    fn a_message_300_seconds_old_or_early_is_refused() {
        for now in [NOW - 300, NOW + 300] {
            assert_eq!(
                verify_error(open_with(&signed_by_openssl(), SIGNED, now)),
                VerifyError::Stale {
                    timestamp: NOW,
                    now
                }
            );
        }
    }

    #[test]
    fn a_probe_signature_is_refused_and_can_be_told_apart() {
        let probe = signed_by_openssl().set("Wechatpay-Signature", "WECHATPAY/SIGNTEST/abc");
        let error = open_with(&probe, SIGNED, NOW).unwrap_err();
        assert!(error.is_probe());
        assert_eq!(error.reply().status(), 401);
        let forged = signed_by_openssl().set("Wechatpay-Signature", "abcd");
        assert!(!open_with(&forged, SIGNED, NOW).unwrap_err().is_probe());
        assert!(!open("{}").unwrap_err().is_probe());
    }

    #[test]
    fn an_expired_certificate_is_refused() {
        let receiver = NotificationReceiver::new(
            Verifier::new([platform_public_key(), certificate(EXPIRED)]).unwrap(),
            ApiV3Key::new(KEY).unwrap(),
        );
        let open = |headers: &Headers| {
            let headers = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
            receiver.open_as(&headers, SIGNED, at(NOW))
        };
        open(&signed_by_openssl()).unwrap();
        let error = verify_error(open(&signed_by_openssl().set("Wechatpay-Serial", EXPIRED)));
        assert!(
            matches!(&error, VerifyError::OutsideValidity { serial, .. } if serial == EXPIRED),
            "{error}"
        );
    }

    #[test]
    fn a_forger_learns_nothing_from_the_reply() {
        let replies: Vec<NotificationReply> = [
            open_with(&Headers::unsigned(), SIGNED, NOW),
            open_with(&signed_by_openssl(), b"not JSON", NOW),
            open_with(&signed_by_openssl(), SIGNED, NOW + 300),
            open_with(
                &signed_by_openssl().set("Wechatpay-Serial", CURRENT),
                SIGNED,
                NOW,
            ),
            open_with(
                &signed_by_openssl().with("wechatpay-serial", CURRENT),
                SIGNED,
                NOW,
            ),
            open_with(
                &signed_by_openssl().set("Wechatpay-Signature", "WECHATPAY/SIGNTEST/abc"),
                SIGNED,
                NOW,
            ),
        ]
        .into_iter()
        .map(|result| result.unwrap_err().reply())
        .collect();
        for reply in replies {
            assert_eq!(reply.status(), 401);
            assert_eq!(
                reply.body(),
                format!(r#"{{"code":"FAIL","message":"{NOT_ACCEPTED}"}}"#)
            );
        }
    }

    #[test]
    fn a_body_that_is_no_notification_is_refused() {
        const REASON: &str = "the notification is verified, but its body is not a notification";
        let valid = sealed("ENTRUST.SIGN", &minimal()).to_string();
        open(&valid).unwrap();
        let mut not_utf8 = valid.clone().into_bytes();
        let summary = valid.find("签约").unwrap();
        not_utf8[summary] = 0xFF;
        let length = valid.len();
        for (body, cause) in [
            (Vec::new(), "EOF while parsing a value at line 1 column 0"),
            (b"garbage".to_vec(), "expected value at line 1 column 1"),
            (
                b"null".to_vec(),
                "invalid type: null, expected struct Envelope at line 1 column 4",
            ),
            (b"{}".to_vec(), "missing field `id` at line 1 column 2"),
            (
                valid.as_bytes()[..length - 1].to_vec(),
                &format!(
                    "EOF while parsing an object at line 1 column {}",
                    length - 1
                ),
            ),
            (
                format!("{valid}x").into_bytes(),
                &format!("trailing characters at line 1 column {}", length + 1),
            ),
            (
                format!("\u{FEFF}{valid}").into_bytes(),
                "expected value at line 1 column 1",
            ),
            (
                not_utf8,
                &format!("invalid utf-8 sequence of 1 bytes from index {summary}"),
            ),
        ] {
            let reason = format!("{REASON}: {cause}");
            let what = String::from_utf8_lossy(&body).into_owned();
            let wanted = (&*reason, 400, "the body is not a notification");
            assert_refused(&what, open(body), wanted);
        }
    }

    #[test]
    fn an_envelope_with_a_field_missing_doubled_or_of_another_type_is_refused() {
        let valid = sealed("ENTRUST.SIGN", &minimal());
        open(valid.to_string()).unwrap();
        for path in [
            "/id",
            "/create_time",
            "/event_type",
            "/resource",
            "/resource/algorithm",
            "/resource/ciphertext",
            "/resource/nonce",
        ] {
            let (parent, field) = path.rsplit_once('/').unwrap();
            let mut missing = valid.clone();
            let object = missing.pointer_mut(parent).unwrap();
            let value = object.as_object_mut().unwrap().remove(field).unwrap();
            assert_envelope(
                path,
                &missing.to_string(),
                &format!("missing field `{field}`"),
            );

            for other in [json!(1), json!(true), Value::Null] {
                let mut changed = valid.clone();
                *changed.pointer_mut(path).unwrap() = other;
                assert_envelope(path, &changed.to_string(), "invalid type: ");
            }

            let once = format!("\"{field}\":{value}");
            let twice = valid.to_string().replace(&once, &format!("{once},{once}"));
            assert_envelope(path, &twice, &format!("duplicate field `{field}`"));
        }
        let mut wrong = valid;
        wrong["resource"]["associated_data"] = json!(7);
        assert_envelope("associated_data", &wrong.to_string(), "invalid type: ");
    }

    #[track_caller]
    fn assert_envelope(what: &str, body: &str, cause: &str) {
        let error = open(body).unwrap_err();
        let NotificationError::Envelope(source) = &error else {
            panic!("{what}: {error:?}");
        };
        let said = source.to_string();
        let said = said.strip_prefix(source.field()).unwrap();
        let said = said.trim_start_matches(": ");
        assert!(said.starts_with(cause), "{what}: {source}");
        assert_eq!(error.reply().status(), 400);
    }

    /// Asserts the reason and the reply for a changed field of `resource`. The unchanged one is accepted.
    #[track_caller]
    fn assert_resource(field: &str, value: Value, wanted: (&str, u16, &str)) {
        let mut envelope = sealed("ENTRUST.SIGN", &minimal());
        open(envelope.to_string()).unwrap();
        let what = format!("{field}: {value}");
        match value {
            Value::Null => drop(envelope["resource"].as_object_mut().unwrap().remove(field)),
            value => envelope["resource"][field] = value,
        }
        assert_refused(&what, open(envelope.to_string()), wanted);
    }

    const DECRYPT: (&str, u16, &str) = (
        "the notification does not decrypt: the APIv3 key is wrong or the ciphertext damaged",
        500,
        "the content could not be decrypted",
    );

    #[test]
    fn another_algorithm_is_refused() {
        for found in ["AEAD_SM4_GCM", "aead_aes_256_gcm", ""] {
            let reason = format!(
                "the notification's resource.algorithm is {found:?}: wanted AEAD_AES_256_GCM"
            );
            let wanted = (&*reason, 400, "the algorithm is not supported");
            assert_resource("algorithm", json!(found), wanted);
        }
    }

    #[test]
    fn a_nonce_of_another_length_or_value_is_refused() {
        for nonce in ["uluk4a9R25R", "uluk4a9R25RW0", "", "数数数数数"] {
            let wanted = (
                "the notification's resource.nonce is malformed: wanted 12 bytes",
                400,
                "the body is not a notification",
            );
            assert_resource("nonce", json!(nonce), wanted);
        }
        assert_resource("nonce", json!("uluk4a9R25RX"), DECRYPT);
        assert_resource("nonce", json!("数数数数"), DECRYPT);
    }

    #[test]
    fn a_damaged_ciphertext_is_refused() {
        let sealed = encrypt(minimal().to_string().as_bytes(), "entrust");
        for position in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[position] ^= 0x80;
            assert_resource("ciphertext", json!(STANDARD.encode(flipped)), DECRYPT);
        }
        let without_tag = &sealed[..sealed.len() - 16];
        for cut in [&sealed[..sealed.len() - 1], without_tag, &sealed[..15], &[]] {
            assert_resource("ciphertext", json!(STANDARD.encode(cut)), DECRYPT);
        }
    }

    #[test]
    fn a_ciphertext_that_is_not_base64_is_refused() {
        let sealed = STANDARD.encode(encrypt(b"{\"a\":1}", "entrust"));
        assert!(sealed.ends_with('='));
        let wanted = (
            "the notification's resource.ciphertext is malformed: wanted base64",
            400,
            "the body is not a notification",
        );
        for text in [
            sealed.trim_end_matches('=').to_owned(),
            format!("{sealed}\n"),
            format!("-{}", &sealed[1..]),
            "数".to_owned(),
        ] {
            assert_resource("ciphertext", json!(text), wanted);
        }
    }

    #[test]
    fn different_associated_data_are_refused() {
        for value in [json!("entrusT"), json!(""), json!("entrust "), Value::Null] {
            assert_resource("associated_data", value, DECRYPT);
        }
    }

    #[test]
    fn another_apiv3_key_is_refused() {
        let headers = signed_by_openssl();
        let headers = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
        let open = |key: &str| {
            NotificationReceiver::new(verifier(), ApiV3Key::new(key).unwrap())
                .open_as::<ContractEvent>(&headers, SIGNED, at(NOW))
        };
        open(KEY).unwrap();
        assert_refused("other key", open(&KEY.to_lowercase()), DECRYPT);
    }

    #[test]
    fn a_content_that_does_not_fit_is_refused() {
        const VALID: &str = r#"{"out_contract_code":"a"}"#;
        open(sealed_bytes("ENTRUST.SIGN", VALID.as_bytes()).to_string()).unwrap();
        let table: [(&[u8], &str); 8] = [
            (b"", "EOF while parsing a value at line 1 column 0"),
            (b"plain text", "expected value at line 1 column 1"),
            (
                b"{}",
                "missing field `out_contract_code` at line 1 column 2",
            ),
            (
                br#"{"out_contract_code":1}"#,
                "out_contract_code: invalid type: integer, expected a string at line 1 column 22",
            ),
            (
                br#"{"out_contract_code":null}"#,
                "out_contract_code: invalid type: null, expected a string at line 1 column 25",
            ),
            (
                br#"{"out_contract_code":"a","out_contract_code":"b"}"#,
                "duplicate field `out_contract_code` at line 1 column 44",
            ),
            (
                br#"{"out_contract_code":"a"}{}"#,
                "trailing characters at line 1 column 26",
            ),
            (
                b"{\"out_contract_code\":\"\xFF\"}",
                "invalid utf-8 sequence of 1 bytes from index 22",
            ),
        ];
        for (content, cause) in table {
            let reason = format!(
                "the content of notification \"EV-2018022511223320873\" of type \"ENTRUST.SIGN\" is not of the \
                 type asked for: {cause}"
            );
            let body = sealed_bytes("ENTRUST.SIGN", content).to_string();
            let wanted = (&*reason, 500, "the content could not be read");
            assert_refused(&String::from_utf8_lossy(content), open(body), wanted);
        }
    }

    #[test]
    fn a_content_of_deep_nesting_is_refused() {
        let nested = |depth| {
            let content = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let body = sealed_bytes("DEEP", content.as_bytes()).to_string();
            let headers = Headers::signed(body.as_bytes());
            let headers = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
            receiver().open_as::<Value>(&headers, body.as_bytes(), at(NOW))
        };
        assert_eq!(nested(100).unwrap().kind, EventKind::Other("DEEP".into()));
        let wanted = (
            "the content of notification \"EV-2018022511223320873\" of type \"DEEP\" is not of the type asked for: \
             recursion limit exceeded at line 1 column 128",
            500,
            "the content could not be read",
        );
        assert_refused("deep", nested(100_000), wanted);
    }
}

#[test]
fn a_receiver_uses_the_keys_replaced_in_its_verifier() {
    let verifier = Verifier::new([certificate(CURRENT)]).unwrap();
    let key = Arc::new(ApiV3Key::new(KEY).unwrap());
    let receiver = NotificationReceiver::new(verifier.clone(), Arc::clone(&key)).clone();
    let headers = signed_by_openssl();
    let headers = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
    let error = receiver
        .open_as::<ContractEvent>(&headers, SIGNED, at(NOW))
        .unwrap_err();
    let unknown = VerifyError::UnknownSerial {
        received: KEY_ID.to_owned(),
        known: vec![CURRENT.to_owned()],
    };
    assert!(matches!(error, NotificationError::Verify(error) if error == unknown));

    verifier.replace([platform_public_key()]).unwrap();
    let event = receiver
        .open_as::<ContractEvent>(&headers, SIGNED, at(NOW))
        .unwrap();
    assert_eq!(event.kind, EventKind::Signed);
}

#[test]
fn replies_have_the_documented_status_and_body() {
    let success = NotificationReply::success();
    assert_eq!((success.status(), success.body()), (204, ""));
    assert_eq!(success.headers().next(), None);

    let failure = NotificationReply::failure("no \"database\"\n数据库");
    assert_eq!(failure.status(), 500);
    assert!(failure.headers().eq([("Content-Type", "application/json")]));
    assert_eq!(
        failure.body(),
        r#"{"code":"FAIL","message":"no \"database\"\n数据库"}"#
    );
}

#[test]
fn debug_shows_no_key_and_no_json() {
    let receiver = format!("{:?}", receiver());
    assert!(receiver.contains(KEY_ID), "{receiver}");
    assert!(!receiver.contains(KEY), "{receiver}");

    let event = open(
        sealed(
            "ENTRUST.SIGN",
            &json!({"out_contract_code": "a", "more": "b"}),
        )
        .to_string(),
    );
    let event = format!("{:?}", event.unwrap());
    assert!(
        event.starts_with("Notification { id: \"EV-2018022511223320873\""),
        "{event}"
    );
    assert!(!event.contains("more"), "{event}");
}

#[test]
fn a_receiver_can_be_shared_among_threads() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    is_shared(&receiver());
}

mod kinds {
    use wechatpay_contract::order::{RefundStatus, TradeState};
    use wechatpay_contract::{Event, Notification};

    use super::*;
    use crate::support::present;

    const PAID: &str = include_str!("../orders/paid_notification.json");
    const PAID_PARTNER: &str = include_str!("../orders/paid_notification_partner.json");
    const REFUNDED: &str = include_str!("../orders/refund_notification.json");

    /// Opens a content of any kind. With `original_type` null the field is absent.
    fn open(
        event_type: &str,
        original_type: Value,
        content: &Value,
    ) -> Result<Notification, NotificationError> {
        let mut body = sealed(event_type, content);
        match original_type {
            Value::Null => drop(
                body["resource"]
                    .as_object_mut()
                    .unwrap()
                    .remove("original_type"),
            ),
            text => body["resource"]["original_type"] = text,
        }
        let body = body.to_string().into_bytes();
        let headers = Headers::signed(&body);
        let headers = SignatureHeaders::from_pairs(headers.pairs())?;
        receiver().open(&headers, &body, at(NOW))
    }

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_payment_is_opened_for_direct_merchants_and_partners() {
        for (json, mchid, sub_mchid) in [
            (PAID, Some("1230000109"), None),
            (PAID_PARTNER, None, Some("1900000109")),
        ] {
            for original_type in [json!("transaction"), json!(null)] {
                let event = open("TRANSACTION.SUCCESS", original_type, &value(json)).unwrap();
                let Event::Payment(paid) = &event.content else {
                    panic!("{event:?}");
                };
                assert_eq!(paid.trade_state, TradeState::Success);
                assert_eq!(paid.mchid.as_deref(), mchid);
                assert_eq!(paid.sub_mchid.as_deref(), sub_mchid);
                // All that was read is written again.
                assert_eq!(present(serde_json::to_value(paid).unwrap()), value(json));
            }
        }
    }

    #[test]
    fn a_refund_is_opened_in_each_state_and_for_each_kind_of_merchant() {
        let mut partner = value(REFUNDED);
        partner.as_object_mut().unwrap().remove("mchid");
        partner["sp_mchid"] = json!("1900000100");
        partner["sub_mchid"] = json!("1900000109");
        let mut platform = partner.clone();
        platform["refund_account"] = json!("REFUND_SOURCE_SUB_MERCHANT");
        for content in [value(REFUNDED), partner, platform] {
            for (state, status) in [
                ("SUCCESS", RefundStatus::Success),
                ("ABNORMAL", RefundStatus::Abnormal),
                ("CLOSED", RefundStatus::Closed),
            ] {
                let mut content = content.clone();
                content["refund_status"] = json!(state);
                let event_type = format!("REFUND.{state}");
                let event = open(&event_type, json!("refund"), &content).unwrap();
                let Event::Refund(refund) = &event.content else {
                    panic!("{event:?}");
                };
                assert_eq!(refund.refund_status, status);
                assert_eq!(refund.amount.refund, 999);
                assert_eq!(present(serde_json::to_value(refund).unwrap()), content);
            }
        }
    }

    #[test]
    fn a_contract_is_known_by_its_code_whatever_its_event_type() {
        for event_type in ["ENTRUST.SIGN", "PAPAY.TERMINATE", "NEW.THING"] {
            let event = open(event_type, json!("entrust"), &minimal()).unwrap();
            let Event::Contract(contract) = event.content else {
                panic!("{event:?}");
            };
            assert_eq!(contract.out_contract_code, "wxwtdk20200910100000");
        }
    }

    #[test]
    fn an_unknown_content_is_other() {
        let in_state = |state| {
            let mut content = value(PAID);
            content["trade_state"] = json!(state);
            content
        };
        let combined = json!({"combine_out_trade_no": "1", "sub_orders": [value(PAID)]});
        let sharing = json!({"mchid": "1900000100", "transaction_id": "4200", "order_id": "1"});
        for (event_type, original_type, content) in [
            ("TRANSACTION.SUCCESS", "profitsharing", sharing),
            // The same content is a payment and a refund only under their own types.
            ("TRANSACTION.SUCCESS", "refund", value(PAID)),
            ("REFUND.SUCCESS", "transaction", value(REFUNDED)),
            ("TRANSACTION.NEW", "transaction", value(PAID)),
            ("TRANSACTION.SUCCESS", "transaction", combined),
            // Only what is paid is a payment.
            ("TRANSACTION.SUCCESS", "transaction", in_state("NOTPAY")),
            ("TRANSACTION.SUCCESS", "transaction", in_state("CLOSED")),
            ("TRANSACTION.SUCCESS", "transaction", in_state("NEW")),
            (
                "SECURITY_ECHO.SUCCESS",
                "echo",
                json!({"echo_message": "a"}),
            ),
        ] {
            let event = open(event_type, json!(original_type), &content).unwrap();
            assert_eq!(event.content, Event::Other(content), "{event_type}");
        }
    }

    #[test]
    fn a_payment_without_its_number_is_refused() {
        let mut content = value(PAID);
        content.as_object_mut().unwrap().remove("out_trade_no");
        let error = open("TRANSACTION.SUCCESS", json!("transaction"), &content).unwrap_err();
        let reasons = chain(&error).join(": ");
        assert!(
            reasons.contains("missing field `out_trade_no`"),
            "{reasons}"
        );
    }

    #[test]
    fn a_kind_is_made_from_text() {
        for kind in [
            EventKind::Signed,
            EventKind::Terminated,
            EventKind::Other("RENEW".to_owned()),
        ] {
            assert_eq!(EventKind::from(kind.as_str()), kind);
            let json = serde_json::to_value(&kind).unwrap();
            assert_eq!(json, json!(kind.as_str()));
            assert_eq!(serde_json::from_value::<EventKind>(json).unwrap(), kind);
        }
    }
}
