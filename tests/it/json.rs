//! What errors tell of a body that does not fit: fields, types and places, and never what came in it.

use std::collections::HashMap;
use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use wechatpay_contract::{
    ApiV3Key, Contract, ContractEvent, ContractId, Error, MiniProgramSession, NotificationError,
    NotificationReceiver, SignatureHeaders,
};

use crate::support::{Headers, NOW, at, chain, merchant, verifier};

/// Stands for a name, an openid or a session's id, and tries to look like the end of a message.
const SECRET: &str = r#"QD6A95\", expected `QD6A95` at line QD6A95"#;
const MARK: &str = "QD6A95";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Shape {
    number: u64,
    kind: Option<Kind>,
    pair: Option<[u8; 2]>,
    one: Option<char>,
    own: Option<Own>,
    counts: Option<HashMap<u8, u8>>,
    either: Option<Either>,
}

#[derive(Debug, Deserialize)]
enum Kind {
    Known,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
enum Either {
    Number(u64),
    Flag(bool),
}

/// Quotes what it refuses, as types of callers may do.
struct Own;

impl<'de> Deserialize<'de> for Own {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "right" => Ok(Self),
            _ if text.starts_with("imitate") => {
                Err(D::Error::custom(format_args!("invalid value: {text}")))
            }
            _ => Err(D::Error::custom(format_args!("{text} is not right"))),
        }
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}

/// A verified answer with this body.
fn answered<R: DeserializeOwned>(body: &str) -> Result<R, Error> {
    let headers = Headers::signed(body.as_bytes());
    merchant().accept(200, headers.pairs(), body.as_bytes(), at(NOW))
}

/// A verified notification with this content.
fn notified<T: DeserializeOwned>(content: &str) -> Result<T, NotificationError> {
    opened(&sealed(content).to_string())
}

fn opened<T: DeserializeOwned>(body: &str) -> Result<T, NotificationError> {
    let headers = Headers::signed(body.as_bytes());
    let headers = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
    let receiver = NotificationReceiver::new(verifier(), ApiV3Key::new([b'k'; 32]).unwrap());
    receiver
        .open_as::<T>(&headers, body.as_bytes(), at(NOW))
        .map(|notification| notification.content)
}

fn sealed(content: &str) -> Value {
    let payload = Payload {
        msg: content.as_bytes(),
        aad: b"",
    };
    let nonce = "uluk4a9R25RW";
    let ciphertext = Aes256Gcm::new_from_slice(&[b'k'; 32])
        .unwrap()
        .encrypt(&Nonce::try_from(nonce.as_bytes()).unwrap(), payload)
        .unwrap();
    json!({
        "id": "EV-1",
        "create_time": "2020-09-10T13:29:36+08:00",
        "event_type": "ENTRUST.SIGN",
        "resource": {
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": STANDARD.encode(ciphertext),
            "nonce": nonce,
        },
    })
}

/// The last cause, after a look at everything that could be printed.
#[track_caller]
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = chain(error);
    for said in [
        chain.join(": "),
        format!("{error:?}"),
        format!("{error:#?}"),
    ] {
        assert!(!said.contains(MARK), "{said}");
    }
    chain.last().unwrap().clone()
}

#[track_caller]
fn assert_told(body: &str, wanted: &str) {
    let answer = answered::<Shape>(body).unwrap_err();
    assert!(matches!(answer, Error::Decode { .. }), "{answer:?}");
    assert_eq!(told(&answer), wanted, "{body}");
    let content = notified::<Shape>(body).unwrap_err();
    assert!(
        matches!(content, NotificationError::Content { .. }),
        "{content:?}"
    );
    assert_eq!(told(&content), wanted, "{body}");
}

#[test]
fn what_does_not_fit_is_told_without_its_value() {
    const VALID: &str = r#"{"number":5,"kind":"Known","pair":[1,2],"one":"x","own":"right","counts":{"1":2},"either":true}"#;
    answered::<Shape>(VALID).unwrap();
    notified::<Shape>(VALID).unwrap();
    let fields = "unknown field, expected one of `number`, `kind`, `pair`, `one`, `own`, `counts`, `either` at line 1 column";
    let custom = "a value was refused by the type that reads it at line 1 column";
    // What stands at `_` is the secret, once in the body and so never in the error.
    let table = [
        (
            r#"{"number":"_"}"#,
            "invalid type: string, expected u64 at line 1 column",
        ),
        (
            r#"{"number":-395}"#,
            "invalid value: integer, expected u64 at line 1 column",
        ),
        (
            r#"{"number":39.5}"#,
            "invalid type: floating point, expected u64 at line 1 column",
        ),
        (
            r#"{"number":true}"#,
            "invalid type: boolean, expected u64 at line 1 column",
        ),
        (
            r#"{"number":null}"#,
            "invalid type: null, expected u64 at line 1 column",
        ),
        (
            r#"{"number":["_"]}"#,
            "invalid type: sequence, expected u64 at line 1 column",
        ),
        (
            r#"{"number":{"_":"_"}}"#,
            "invalid type: map, expected u64 at line 1 column",
        ),
        (
            r#"{"kind":"Known"}"#,
            "missing field `number` at line 1 column",
        ),
        (
            r#"{"number":1,"number":2}"#,
            "duplicate field `number` at line 1 column",
        ),
        (r#"{"number":1,"_":2}"#, fields),
        (
            r#"{"number":1,"kind":"_"}"#,
            "unknown variant, expected `Known` at line 1 column",
        ),
        (
            r#"{"number":1,"pair":[1]}"#,
            "invalid length 1, expected an array of length 2 at line 1 column",
        ),
        (
            r#"{"number":1,"one":"_"}"#,
            "invalid value: string, expected a character at line 1 column",
        ),
        (r#"{"number":1,"own":"_"}"#, custom),
        (r#"{"number":1,"own":"imitate _"}"#, custom),
        (
            r#"{"number":1,"counts":{"_":1}}"#,
            "invalid value: expected key to be a number in quotes at line 1 column",
        ),
        (r#"{"number":1,"either":"_"}"#, custom),
        (
            r#""_""#,
            "invalid type: string, expected struct Shape at line 1 column",
        ),
        (
            r#"{"number":1,"own":"_"#,
            "EOF while parsing a string at line 1 column",
        ),
        (r#"{"number":_}"#, "expected value at line 1 column"),
        (r#"{"number":1}_"#, "trailing characters at line 1 column"),
        (r#"{"number":1"_"}"#, "expected `,` or `}` at line 1 column"),
    ];
    for (body, wanted) in table {
        let body = body.replace('_', SECRET);
        let answer = answered::<Shape>(&body).unwrap_err();
        let said = told(&answer);
        let column = said
            .strip_prefix(wanted)
            .unwrap_or_else(|| panic!("{body}: {said}"));
        assert!(column.trim_start().parse::<usize>().is_ok(), "{said}");
        assert_told(&body, &said);
    }
}

#[test]
fn the_place_is_told() {
    let Error::Decode { source, .. } = answered::<Shape>("{\n\"number\":\n  \"x\"}").unwrap_err()
    else {
        panic!("was accepted");
    };
    assert_eq!((source.line(), source.column()), (3, 5));
    assert_eq!(
        source.to_string(),
        "invalid type: string, expected u64 at line 3 column 5"
    );
    assert_eq!(
        format!("{source:?}"),
        "DecodeError { category: Data, problem: \"invalid type: string, expected u64\", line: 3, column: 5 }"
    );
}

/// Every field of every answer and of the notification is made wrong in every way.
#[test]
fn no_field_of_any_body_is_repeated() {
    let answer = json!({
        "pre_entrustweb_id": MARK, "mchid": MARK, "service_id": 12535, "out_contract_code": MARK,
        "sign_mp_appid": MARK, "sign_mp_path": MARK, "contract_id": MARK, "appid": MARK, "openid": MARK,
        "sub_appid": MARK, "sub_openid": MARK, "contract_display_account": MARK, "contract_state": MARK,
        "contract_signed_time": MARK, "contract_terminate_info": {"contract_termination_mode": MARK},
    });
    let mut seen = 0;
    for name in answer.as_object().unwrap().keys() {
        for wrong in [
            json!([MARK]),
            json!({MARK: MARK}),
            json!(MARK),
            json!(395.5),
            json!(true),
        ] {
            let mut body = answer.clone();
            body[name] = wrong;
            let body = body.to_string();
            let errors = [
                answered::<MiniProgramSession>(&body).map(drop).err(),
                answered::<ContractId>(&body).map(drop).err(),
                answered::<Contract>(&body).map(drop).err(),
            ];
            for error in errors.into_iter().flatten() {
                told(&error);
                seen += 1;
            }
            if let Err(error) = notified::<ContractEvent>(&body) {
                told(&error);
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn no_field_of_the_envelope_is_repeated() {
    let right = sealed(r#"{"out_contract_code":"a"}"#);
    opened::<ContractEvent>(&right.to_string()).unwrap();
    for name in ["id", "create_time", "event_type", "resource"] {
        let mut wrong = right.clone();
        wrong[name] = json!([SECRET]);
        let error = opened::<ContractEvent>(&wrong.to_string()).unwrap_err();
        assert!(matches!(error, NotificationError::Envelope(_)), "{error:?}");
        let said = told(&error);
        assert!(
            said.contains("expected a string") || said.contains("expected struct"),
            "{said}"
        );
    }
}
