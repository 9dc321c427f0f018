//! The errors of a body that does not fit its type: they name fields, types and places, and contain no value of the
//! body.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wechatpay_contract::{
    ApiV3Key, Contract, ContractEvent, ContractId, Error, MiniProgramSession, NotificationError,
    NotificationReceiver, SignatureHeaders, order::Prepay,
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
    inner: Option<Box<Self>>,
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

/// Accepts a verified response with this body.
fn accepted<R: DeserializeOwned>(body: &str) -> Result<R, Error> {
    let headers = Headers::signed(body.as_bytes());
    merchant().accept(200, headers.pairs(), body.as_bytes(), at(NOW))
}

/// Opens a verified notification with this content.
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

/// Returns the text of the last cause, after a check that no text of the error contains the secret.
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
    let response = accepted::<Shape>(body).unwrap_err();
    assert!(matches!(response, Error::Decode { .. }), "{response:?}");
    assert_eq!(told(&response), wanted, "{body}");
    let content = notified::<Shape>(body).unwrap_err();
    assert!(
        matches!(content, NotificationError::Content { .. }),
        "{content:?}"
    );
    assert_eq!(told(&content), wanted, "{body}");
}

#[test]
fn a_value_that_does_not_fit_is_not_in_the_error() {
    const VALID: &str = r#"{"number":5,"kind":"Known","pair":[1,2],"one":"x","own":"right","counts":{"1":2},"either":true}"#;
    accepted::<Shape>(VALID).unwrap();
    notified::<Shape>(VALID).unwrap();
    let fields = "unknown field, expected one of `number`, `kind`, `pair`, `one`, `own`, `counts`, `either`, `inner`";
    let custom = "a value was refused by the type that reads it";
    // The secret takes the place of `_`.
    let table = [
        (
            r#"{"number":"_"}"#,
            "number: invalid type: string, expected u64",
        ),
        (
            r#"{"number":-395}"#,
            "number: invalid value: integer, expected u64",
        ),
        (
            r#"{"number":39.5}"#,
            "number: invalid type: floating point, expected u64",
        ),
        (
            r#"{"number":true}"#,
            "number: invalid type: boolean, expected u64",
        ),
        (
            r#"{"number":null}"#,
            "number: invalid type: null, expected u64",
        ),
        (
            r#"{"number":["_"]}"#,
            "number: invalid type: sequence, expected u64",
        ),
        (
            r#"{"number":{"_":"_"}}"#,
            "number: invalid type: map, expected u64",
        ),
        (r#"{"kind":"Known"}"#, "missing field `number`"),
        (r#"{"number":1,"number":2}"#, "duplicate field `number`"),
        (r#"{"number":1,"_":2}"#, fields),
        (
            r#"{"number":1,"kind":"_"}"#,
            "kind: unknown variant, expected one of `Known`",
        ),
        (
            r#"{"number":1,"pair":[1]}"#,
            "pair: invalid length 1, expected an array of length 2",
        ),
        (
            r#"{"number":1,"pair":[1,"_"]}"#,
            "pair[1]: invalid type: string, expected u8",
        ),
        (
            r#"{"number":1,"one":"_"}"#,
            "one: invalid value: string, expected a character",
        ),
        (r#"{"number":1,"own":"_"}"#, &format!("own: {custom}")),
        (
            r#"{"number":1,"own":"imitate _"}"#,
            &format!("own: {custom}"),
        ),
        (
            r#"{"number":1,"counts":{"_":1}}"#,
            "invalid value: expected key to be a number in quotes",
        ),
        (
            r#"{"number":1,"counts":{"7":"_"}}"#,
            "counts.*: invalid type: string, expected u8",
        ),
        (r#"{"number":1,"either":"_"}"#, &format!("either: {custom}")),
        (
            r#"{"number":1,"inner":{"number":"_"}}"#,
            "inner.number: invalid type: string, expected u64",
        ),
        (
            r#"{"number":1,"inner":{"number":1,"inner":{}}}"#,
            "inner.inner: missing field `number`",
        ),
        (r#""_""#, "invalid type: string, expected struct Shape"),
        (r#"{"number":1,"own":"_"#, "EOF while parsing a string"),
        (r#"{"number":_}"#, "expected value"),
        (r#"{"number":1}_"#, "trailing characters"),
        (r#"{"number":1"_"}"#, "expected `,` or `}`"),
    ];
    for (body, wanted) in table {
        let body = body.replace('_', SECRET);
        let response = accepted::<Shape>(&body).unwrap_err();
        let said = told(&response);
        let column = said
            .strip_prefix(wanted)
            .and_then(|rest| rest.strip_prefix(" at line 1 column "))
            .unwrap_or_else(|| panic!("{body}: {said}"));
        assert!(column.parse::<usize>().is_ok(), "{said}");
        assert_told(&body, &said);
    }
}

/// A type that derives `Deserialize` would read an array as the object's fields in their order.
#[test]
fn an_array_in_place_of_an_object_is_refused() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        list: Vec<Inner>,
        pair: (u8, u8),
    }
    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        number: u64,
    }
    #[track_caller]
    fn assert_refused<T: DeserializeOwned + fmt::Debug>(body: &str, wanted: &str) {
        let error = accepted::<T>(body).unwrap_err();
        let said = told(&error);
        assert!(said.starts_with(wanted), "{said}");
        let error = notified::<T>(body).unwrap_err();
        assert_eq!(told(&error), said);
    }
    accepted::<Outer>(r#"{"list":[{"number":1}],"pair":[1,2]}"#).unwrap();
    accepted::<Vec<Inner>>(r#"[{"number":1}]"#).unwrap();
    accepted::<Value>("[1]").unwrap();
    assert_refused::<Outer>(
        "[[],[1,2]]",
        "invalid type: sequence, expected struct Outer",
    );
    assert_refused::<Outer>(
        r#"{"list":[{"number":1},[1]],"pair":[1,2]}"#,
        "list[1]: invalid type: sequence, expected struct Inner",
    );
    assert_refused::<Vec<Inner>>(
        "[[1]]",
        "[0]: invalid type: sequence, expected struct Inner",
    );
    assert_refused::<Option<Inner>>("[1]", "invalid type: sequence, expected struct Inner");
    let list = r#"["5778aadY9nltAsZzXixCkFIGYnV2V","1900007291",null,1,"a","b","c","d","e","f"]"#;
    assert_refused::<MiniProgramSession>(list, "invalid type: sequence, expected struct");
    assert_refused::<ContractId>(list, "invalid type: sequence, expected struct");
    assert_refused::<Contract>(list, "invalid type: sequence, expected struct");
    assert_refused::<Prepay>(
        r#"["wx201410272009395522657a690389285100"]"#,
        "invalid type: sequence",
    );
    assert_refused::<ContractEvent>(r#"["code1"]"#, "invalid type: sequence, expected struct");
    let Value::Object(envelope) = sealed(r#"{"out_contract_code":"a"}"#) else {
        panic!("no object");
    };
    let resource = &envelope["resource"];
    opened::<ContractEvent>(&Value::Object(envelope.clone()).to_string()).unwrap();
    for body in [
        json!([
            "EV-1",
            "2020-09-10T13:29:36+08:00",
            "ENTRUST.SIGN",
            resource
        ]),
        json!({
            "id": "EV-1", "create_time": "2020-09-10T13:29:36+08:00", "event_type": "ENTRUST.SIGN",
            "resource": [resource["algorithm"], resource["ciphertext"], resource["nonce"], ""],
        }),
    ] {
        let error = opened::<ContractEvent>(&body.to_string()).unwrap_err();
        assert!(matches!(error, NotificationError::Envelope(_)), "{error:?}");
        let said = told(&error);
        assert!(
            said.contains("invalid type: sequence, expected struct"),
            "{said}"
        );
    }
}

/// Types of every shape that a caller may have.
#[derive(Debug, Deserialize)]
#[allow(dead_code)]
enum Variants {
    Unit,
    Newtype(u64),
    Pair(u8, String),
    Fields { number: u64 },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", content = "content")]
#[allow(dead_code)]
enum Tagged {
    One(Named),
    Two { id: i32 },
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Flat {
    #[serde(flatten)]
    tagged: Tagged,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Unit;

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Named(String);

#[test]
fn a_type_of_any_shape_is_read_as_serde_json_reads_it() {
    #[track_caller]
    fn assert_same<T: DeserializeOwned + fmt::Debug>(bodies: &[&str]) {
        for body in bodies {
            let wanted: T = serde_json::from_str(body).unwrap();
            let found: T = accepted(body).unwrap();
            assert_eq!(format!("{found:?}"), format!("{wanted:?}"), "{body}");
        }
    }
    assert_same::<Value>(&[
        r#" { "a" : [ 1 , -2, 3.5, 1e3, true, false, null, {} , [] ] , "\u0062\"" : "\u6570\n\ud83d\ude00" } "#,
        "18446744073709551615",
        "-9223372036854775808",
        "\"\"",
    ]);
    assert_same::<Vec<Variants>>(&[
        r#"["Unit", {"Unit":null}, {"Newtype":5}, {"Pair":[1,"x"]}, {"Fields":{"number":5,"other":[{}]}}]"#,
    ]);
    assert_same::<Tagged>(&[
        r#"{"kind":"One","content":"x"}"#,
        r#"{"content":{"id":-4},"kind":"Two"}"#,
    ]);
    assert_same::<Flat>(&[r#"{"a":[1],"kind":"Two","content":{"id":4},"b":{"c":null}}"#]);
    assert_same::<BTreeMap<i64, f32>>(&[r#"{"-5":1.5,"7":2}"#]);
    assert_same::<BTreeMap<bool, char>>(&[r#"{"true":"x","false":"\u6570"}"#]);
    assert_same::<(Unit, Named, Option<Option<u8>>, i128, f64)>(&[
        r#"[null,"x",null,-5,-0.5]"#,
        r#"[null,"\\",5,18446744073709551615,1]"#,
    ]);
    assert_same::<Box<RawValue>>(&[r#"{"a" : 1e400}"#]);
}

#[test]
fn nesting_deeper_than_serde_json_allows_is_refused() {
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    accepted::<Value>(&nested(127)).unwrap();
    for depth in [128, 100_000] {
        let error = told(&accepted::<Value>(&nested(depth)).unwrap_err());
        assert_eq!(error, "recursion limit exceeded at line 1 column 128");
    }
}

#[test]
fn an_array_in_place_of_the_fields_of_a_variant_is_refused() {
    accepted::<Variants>(r#"{"Fields":{"number":5}}"#).unwrap();
    let error = told(&accepted::<Variants>(r#"{"Fields":[5]}"#).unwrap_err());
    let wanted = "invalid type: sequence, expected struct variant Variants::Fields";
    assert!(error.contains(wanted), "{error}");
}

/// The type of these fields is not documented, so a wrong value leaves the others readable.
#[test]
fn an_optional_number_that_does_not_fit_counts_as_absent() {
    for number in [
        "1e400",
        "-1e400",
        "1E+999",
        "99999999999999999999999999",
        "1.5",
        "-1",
    ] {
        for body in [
            format!(r#"{{"out_contract_code":"a","service_id":{number},"mchid":"1"}}"#),
            format!(
                r#"{{"service_id":{number},"plan_id":{number},"out_contract_code":"a","mchid":"1"}}"#
            ),
        ] {
            let event = notified::<ContractEvent>(&body).unwrap();
            assert_eq!(
                (&*event.out_contract_code, event.service_id),
                ("a", None),
                "{body}"
            );
            assert_eq!(event.mchid.as_deref(), Some("1"));
        }
    }
    let event = notified::<ContractEvent>(r#"{"out_contract_code":"a","mchid":1e400}"#).unwrap();
    assert_eq!(event.mchid, None);
    let right = r#"{"out_contract_code":"a","service_id":"12535","plan_id":7}"#;
    let event = notified::<ContractEvent>(right).unwrap();
    assert_eq!((event.service_id, event.plan_id), (Some(12535), Some(7)));
    // A stored event is read back in this way.
    let stored = serde_json::to_value(&event).unwrap();
    assert_eq!(
        serde_json::from_value::<ContractEvent>(stored).unwrap(),
        event
    );
}

#[test]
fn an_empty_body_is_reported_as_empty() {
    let error = accepted::<ContractId>("").unwrap_err();
    assert_eq!(told(&error), "the body is empty");
    accepted::<()>("").unwrap();
    accepted::<Option<ContractId>>("").unwrap();
    let error = accepted::<ContractId>("null").unwrap_err();
    assert!(told(&error).starts_with("invalid type: null"), "{error:?}");
}

#[test]
fn the_error_names_field_line_and_column() {
    let Error::Decode { source, .. } = accepted::<Shape>("{\n\"number\":\n  \"x\"}").unwrap_err()
    else {
        panic!("was accepted");
    };
    assert_eq!(
        (source.field(), source.line(), source.column()),
        ("number", 3, 5)
    );
    assert_eq!(
        source.to_string(),
        "number: invalid type: string, expected u64 at line 3 column 5"
    );
    assert_eq!(
        format!("{source:?}"),
        "DecodeError(Problem { field: \"number\", problem: \"invalid type: string, expected u64\", line: 3, column: 5 })"
    );
}

/// A type may replace a value that does not fit. Only a later error of the syntax ends the reading then.
#[test]
fn an_error_of_the_syntax_is_not_reported_as_a_replaced_value() {
    fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
        Ok(u8::deserialize(deserializer).ok())
    }
    #[derive(Debug, Deserialize)]
    struct Lenient {
        #[serde(deserialize_with = "lenient")]
        number: Option<u8>,
    }

    let read = accepted::<Lenient>;
    assert_eq!(read(r#"{"number":"x"}"#).unwrap().number, None);
    let error = told(&read(r#"{"number":"x"}]"#).unwrap_err());
    assert_eq!(error, "trailing characters at line 1 column 15");
}

/// Gives every field of every response and of the notification a value of each wrong type.
#[test]
fn no_value_of_any_body_is_in_the_error() {
    let response = json!({
        "pre_entrustweb_id": MARK, "mchid": MARK, "service_id": 12535, "out_contract_code": MARK,
        "sign_mp_appid": MARK, "sign_mp_path": MARK, "contract_id": MARK, "appid": MARK, "openid": MARK,
        "sub_appid": MARK, "sub_openid": MARK, "contract_display_account": MARK, "contract_state": MARK,
        "contract_signed_time": MARK, "contract_terminate_info": {"contract_termination_mode": MARK},
    });
    let mut seen = 0;
    for name in response.as_object().unwrap().keys() {
        for wrong in [
            json!([MARK]),
            json!({MARK: MARK}),
            json!(MARK),
            json!(395.5),
            json!(true),
        ] {
            let mut body = response.clone();
            body[name] = wrong;
            let body = body.to_string();
            let errors = [
                accepted::<MiniProgramSession>(&body).map(drop).err(),
                accepted::<ContractId>(&body).map(drop).err(),
                accepted::<Contract>(&body).map(drop).err(),
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
fn no_value_of_the_envelope_is_in_the_error() {
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
