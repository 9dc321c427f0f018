//! Properties of any input: nothing panics, nothing that WeChat Pay did not sign is accepted, and others can read back
//! what is encoded. The targets in `tests/fuzz` look for inputs by coverage.
//!
//! Each property has 256 cases, or as many as the environment variable `PROPTEST_CASES` says:
//! `PROPTEST_CASES=100000 cargo test --test it properties::`. A failure prints the smallest input found.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    ApiV3Key, Client, Error, KeyError, Method, Notification, NotificationError,
    NotificationReceiver, Outcome, PrivateKey, PublicKey, Request, SignatureHeaders, Signer,
    VerifyError,
};

use crate::support::{
    self, Headers, KEY_ID, NONCE, NOW, at, merchant, merchant_signer, signature_by, verifier,
    wrong_signature,
};

/// Failures are not kept in a file. They become tests of their own.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A change of bytes.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, Vec<u8>),
    Cut(Index),
    Repeat(Index, Index),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Set(at, value) => bytes[at.index(length)] = *value,
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Remove(at) => drop(bytes.remove(at.index(length))),
            Self::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(from..from, part);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Change::Set(at, value)),
        3 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        1 => any::<Index>().prop_map(Change::Remove),
        1 => (any::<Index>(), vec(any::<u8>(), 1..5)).prop_map(|(at, b)| Change::Insert(at, b)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

/// One to three changes after which the bytes differ from `original`.
fn changed(original: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let before = original.clone();
    vec(change(), 1..4)
        .prop_map(move |changes| {
            let mut bytes = before.clone();
            changes.iter().for_each(|change| change.apply(&mut bytes));
            bytes
        })
        .prop_filter("is not changed", move |bytes| *bytes != original)
}

mod keys {
    use super::*;

    const PKCS8: &str = include_str!("../keys/rsa2048_pkcs8.pem");
    const PKCS1: &str = include_str!("../keys/rsa2048_pkcs1.pem");
    const CERTIFICATE: &str = include_str!("../platform/certificate_current.pem");

    fn der(pem: &str) -> Vec<u8> {
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        STANDARD.decode(lines.collect::<String>()).unwrap()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let body = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    fn all_readers(input: &[u8]) -> [Result<(), KeyError>; 3] {
        [
            PrivateKey::from_pem(input).map(drop),
            PublicKey::from_pem(KEY_ID, input).map(drop),
            PublicKey::from_certificate_pem(input).map(drop),
        ]
    }

    fn label() -> impl Strategy<Value = &'static str> {
        select(vec![
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "PUBLIC KEY",
            "RSA PUBLIC KEY",
            "CERTIFICATE",
            "EC PARAMETERS",
            "",
        ])
    }

    /// Nested elements. Most of their lengths are right.
    fn nested_der() -> impl Strategy<Value = Vec<u8>> {
        let tag = || {
            select(vec![
                0x02_u8, 0x03, 0x04, 0x05, 0x06, 0x30, 0x31, 0xA0, 0xA3, 0x17,
            ])
        };
        let leaf = (tag(), vec(any::<u8>(), 0..40)).prop_map(|(tag, value)| element(tag, &value));
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                4 => (tag(), vec(inner.clone(), 0..6))
                    .prop_map(|(tag, parts)| element(tag, &parts.concat())),
                1 => (tag(), any::<[u8; 3]>(), inner)
                    .prop_map(|(tag, lie, part)| [&[tag, 0x80 | (lie[0] & 7)], &lie[1..], &part].concat()),
            ]
        })
    }

    fn element(tag: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
        let mut bytes = match value.len() {
            0..=0x7F => vec![tag, length[1]],
            0x80..=0xFF => vec![tag, 0x81, length[1]],
            _ => vec![tag, 0x82, length[0], length[1]],
        };
        bytes.extend(value);
        bytes
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn no_key_is_read_from_arbitrary_bytes(input in vec(any::<u8>(), 0..300)) {
            for read in all_readers(&input) {
                prop_assert!(read.is_err());
            }
        }

        #[test]
        fn no_key_is_read_from_an_arbitrary_block(
            label in label(),
            der in prop_oneof![vec(any::<u8>(), 0..400), nested_der()],
        ) {
            for read in all_readers(pem(label, &der).as_bytes()) {
                prop_assert!(read.is_err());
            }
        }

        #[test]
        fn a_key_of_changed_text_is_the_same_or_refused(text in changed(PKCS8.as_bytes().to_vec())) {
            if let Ok(key) = PrivateKey::from_pem(&text) {
                // Either the key itself is unchanged, or its numbers do not fit each other and it cannot sign.
                let signer = Signer::new("1", "1", key).unwrap();
                if let Ok(signature) = signer.sign(b"message") {
                    prop_assert_eq!(signature, signature_by(PKCS8, b"message"));
                }
            }
        }

        #[test]
        fn a_key_of_changed_numbers_never_signs_wrongly(
            (label, der) in prop_oneof![
                changed(der(PKCS8)).prop_map(|der| ("PRIVATE KEY", der)),
                changed(der(PKCS1)).prop_map(|der| ("RSA PRIVATE KEY", der)),
            ],
        ) {
            if let Ok(key) = PrivateKey::from_pem(pem(label, &der)) {
                let signer = Signer::new("1", "1", key).unwrap();
                if let Ok(signature) = signer.sign(b"message") {
                    prop_assert_eq!(signature, signature_by(PKCS8, b"message"));
                }
            }
        }

        #[test]
        fn a_key_of_changed_public_numbers_verifies_nothing(der in changed(der(support::PUBLIC))) {
            if let Ok(key) = PublicKey::from_pem(KEY_ID, pem("PUBLIC KEY", &der)) {
                let verifier = wechatpay_contract::Verifier::new([key]).unwrap();
                let headers = Headers::signed(b"body");
                let headers = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
                let verified = verifier.verify(&headers, b"body", at(NOW));
                prop_assert_eq!(verified, Err(wrong_signature(KEY_ID)));
            }
        }

        #[test]
        fn a_changed_certificate_is_read_or_refused(der in changed(der(CERTIFICATE))) {
            if let Ok(key) = PublicKey::from_certificate_pem(pem("CERTIFICATE", &der)) {
                prop_assert!(key.id().bytes().all(|byte| byte.is_ascii_hexdigit()));
                prop_assert!(key.validity().is_some());
            }
        }
    }
}

mod messages {
    use super::*;

    fn verify(headers: &Headers, body: &[u8]) -> Result<(), VerifyError> {
        let headers = SignatureHeaders::from_pairs(headers.pairs())?;
        verifier().verify(&headers, body, at(NOW))
    }

    fn header_name() -> impl Strategy<Value = String> {
        let known = select(vec![
            "Wechatpay-Serial",
            "wechatpay-timestamp",
            "WECHATPAY-NONCE",
            "Wechatpay-Signature",
            "Wechatpay-Signature-Type",
            "request-id",
        ]);
        prop_oneof![known.prop_map(str::to_owned), ".{0,20}"]
    }

    fn header_value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(NOW.to_string().into_bytes()),
            Just(KEY_ID.as_bytes().to_vec()),
            Just(NONCE.as_bytes().to_vec()),
            Just(b"WECHATPAY2-SHA256-RSA2048".to_vec()),
            "[A-Za-z0-9+/]{0,400}={0,2}".prop_map(String::into_bytes),
            vec(any::<u8>(), 0..50),
        ]
    }

    /// Visible ASCII, as nonces are.
    fn nonce() -> impl Strategy<Value = String> {
        "[!-~]{1,40}"
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_message_with_any_headers_is_refused(
            pairs in vec((header_name(), header_value()), 0..8),
            body in vec(any::<u8>(), 0..50),
        ) {
            prop_assert!(verify(&Headers(pairs), &body).is_err());
        }

        #[test]
        fn a_signed_message_with_any_body_and_nonce_is_verified(
            body in vec(any::<u8>(), 0..2_000),
            nonce in nonce(),
            other in vec(any::<u8>(), 0..2_000),
        ) {
            let headers = Headers::signed_as(&NOW.to_string(), &nonce, &body);
            prop_assert_eq!(verify(&headers, &body), Ok(()));
            if other != body {
                // The field `check` is not compared, since it depends on whether the body is empty.
                let is_refused = matches!(
                    verify(&headers, &other),
                    Err(VerifyError::WrongSignature { key_id, .. }) if key_id == KEY_ID
                );
                prop_assert!(is_refused);
            }
        }

        #[test]
        fn a_message_with_a_changed_header_is_refused(
            name in select(vec!["Wechatpay-Nonce", "Wechatpay-Timestamp", "Wechatpay-Signature", "Wechatpay-Serial"]),
            changes in vec(change(), 1..3),
        ) {
            let headers = Headers::signed(b"body");
            let mut value = headers.get(name).as_bytes().to_vec();
            changes.iter().for_each(|change| change.apply(&mut value));
            prop_assume!(value != headers.get(name).as_bytes());
            prop_assert!(verify(&headers.set(name, value), b"body").is_err());
        }

        /// The border between nonce and body cannot be moved.
        #[test]
        fn a_message_cannot_be_read_in_two_ways(body in "[a-z\n]{0,30}", cut in any::<Index>()) {
            let whole = format!("{NONCE}\n{body}");
            let cut = cut.index(whole.len());
            let (nonce, rest) = whole.split_at(cut);
            let rest = rest.strip_prefix('\n').unwrap_or(rest);
            prop_assume!(nonce != NONCE);
            let headers = Headers::signed(body.as_bytes()).set("Wechatpay-Nonce", nonce);
            prop_assert!(verify(&headers, rest.as_bytes()).is_err());
        }

        #[test]
        fn an_error_response_is_told_in_one_line(
            status in select(vec![0_u16, 100, 301, 400, 404, 429, 500, 599, 999]),
            body in prop_oneof![
                vec(any::<u8>(), 0..100),
                (".{0,50}", ".{0,50}", ".{0,50}").prop_map(|(code, message, detail)| {
                    json!({"code": code, "message": message, "detail": {"field": detail}})
                        .to_string()
                        .into_bytes()
                }),
            ],
        ) {
            let headers = Headers::unsigned();
            let result: Result<Value, _> = merchant().accept(status, headers.pairs(), &body, at(NOW));
            let error = result.unwrap_err();
            let text = error.to_string();
            prop_assert!(matches!(error, Error::Api(_)), "{}", text);
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
        }
    }
}

mod requests {
    use super::*;

    fn segment() -> impl Strategy<Value = String> {
        any::<String>().prop_filter("names another path", |text| {
            !matches!(text.as_str(), "" | "." | "..")
        })
    }

    fn request() -> impl Strategy<Value = (String, Vec<(String, String)>)> {
        (segment(), vec((any::<String>(), any::<String>()), 0..4))
    }

    fn get(value: &str, query: &[(String, String)]) -> Request {
        let request = Request::get("/v3/a/{value}/b").path("value", value);
        query.iter().fold(request, |request, (name, value)| {
            request.query(name.clone(), value)
        })
    }

    fn decoded(text: &str) -> String {
        percent_decode_str(text).decode_utf8().unwrap().into_owned()
    }

    static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::start().unwrap());

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_request_can_be_read_back((value, query) in request()) {
            let request = get(&value, &query);
            let target = request.target().unwrap();
            prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
            let (path, rest) = target.split_once('?').unwrap_or((&target, ""));
            let segments: Vec<_> = path.split('/').map(decoded).collect();
            prop_assert_eq!(segments, ["", "v3", "a", value.as_str(), "b"]);
            let pairs: Vec<_> = rest
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap())
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect();
            prop_assert_eq!(pairs, query);
        }

        /// The sandbox checks the signature over what it received. Its 404 shows that the signature was right.
        #[test]
        fn a_request_arrives_as_it_was_signed((value, query) in request()) {
            let request = get(&value, &query);
            let error = SANDBOX.client().execute::<Value>(request).unwrap_err();
            let Error::Api(error) = error else {
                panic!("{error:?}");
            };
            prop_assert_eq!((error.status, error.code.as_str()), (404, "RESOURCE_NOT_EXISTS"));
        }

        #[test]
        fn a_template_makes_a_path_or_is_refused(template in prop_oneof![".{0,30}", "/[a-z./{}%?#\\\\ ]{0,20}"]) {
            let request = Request::get(template).path("a", "x/../y");
            if let Ok(target) = request.target() {
                prop_assert!(target.starts_with('/') && !target.starts_with("//"));
                prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
                let other = target.contains(['?', '#', '\\', '{', '}']);
                prop_assert!(!other, "{}", target);
                prop_assert!(target.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }

        /// The signature is over the five lines of the message.
        #[test]
        fn a_request_with_any_body_is_signed_as_it_is_sent(
            text in any::<String>(),
            number in any::<u64>(),
            nonce in "[A-Za-z0-9]{1,32}",
            now in 0..4_000_000_000_u64,
        ) {
            let body = json!({"text": text, "number": number});
            let request = Request::post("/v3/x").json(&body);
            let merchant = merchant();
            let signed = merchant.prepare(&request, at(now), &nonce);
            if text.chars().any(|c| c.len_utf8() > 3) {
                prop_assert!(matches!(signed, Err(Error::InvalidField(_))));
                return Ok(());
            }
            let signed = signed.unwrap();
            let sent: Value = serde_json::from_slice(signed.body().unwrap()).unwrap();
            prop_assert_eq!(sent, body);
            let sent = std::str::from_utf8(signed.body().unwrap()).unwrap();
            let lines = format!("POST\n/v3/x\n{now}\n{nonce}\n{sent}\n");
            let signature = merchant_signer().sign(lines.as_bytes()).unwrap();
            let (_, authorization) = signed.headers().find(|(name, _)| *name == "Authorization").unwrap();
            let wanted = format!(
                "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"{nonce}\",signature=\"{signature}\",timestamp=\"{now}\",serial_no=\"{}\"",
                merchant.signer().mchid(),
                merchant.signer().serial_no(),
            );
            prop_assert_eq!(authorization, wanted);
        }

        #[test]
        fn a_nonce_of_any_text_is_one_header_or_refused(nonce in any::<String>()) {
            let request = Request::get("/v3/x");
            match merchant().prepare(&request, at(NOW), &nonce) {
                Ok(_) => prop_assert!(
                    (1..=32).contains(&nonce.len()) && nonce.bytes().all(|b| b.is_ascii_alphanumeric())
                ),
                Err(error) => prop_assert!(matches!(error, Error::InvalidField(_))),
            }
        }
    }
}

mod notifications {
    use super::*;

    const KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";
    const SIGNED: &[u8] = include_bytes!("../notification/signed.json");
    const SIGNATURE: &str = include_str!("../notification/signature.txt");
    const CONTENT: &str = include_str!("../notification/content.json");

    fn open(headers: &Headers, body: &[u8]) -> Result<Notification, NotificationError> {
        let headers = SignatureHeaders::from_pairs(headers.pairs())?;
        NotificationReceiver::new(verifier(), ApiV3Key::new(KEY).unwrap()).open(
            &headers,
            body,
            at(NOW),
        )
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            "[A-Za-z0-9+/]{0,40}={0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z_]{0,12}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn pointer() -> impl Strategy<Value = &'static str> {
        select(vec![
            "",
            "/id",
            "/create_time",
            "/resource_type",
            "/event_type",
            "/summary",
            "/resource",
            "/resource/original_type",
            "/resource/algorithm",
            "/resource/ciphertext",
            "/resource/associated_data",
            "/resource/nonce",
        ])
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_changed_notification_is_not_verified(body in changed(SIGNED.to_vec())) {
            let headers = Headers::of(&NOW.to_string(), NONCE, SIGNATURE);
            let error = open(&headers, &body).unwrap_err();
            let is_wrong = matches!(
                error,
                NotificationError::Verify(VerifyError::WrongSignature { .. })
            );
            prop_assert!(is_wrong);
        }

        /// As if WeChat Pay itself had signed it.
        #[test]
        fn a_signed_body_of_any_bytes_is_refused(body in vec(any::<u8>(), 0..300)) {
            let error = open(&Headers::signed(&body), &body).unwrap_err();
            prop_assert!(matches!(error, NotificationError::Envelope(_)), "{:?}", error);
        }

        #[test]
        fn a_changed_signed_envelope_has_the_same_content_or_none(body in changed(SIGNED.to_vec())) {
            if let Ok(event) = open(&Headers::signed(&body), &body) {
                prop_assert_eq!(event.json(), CONTENT);
            }
        }

        #[test]
        fn an_envelope_with_any_value_in_a_field_has_the_same_content_or_none(pointer in pointer(), value in any_json()) {
            let mut envelope: Value = serde_json::from_slice(SIGNED).unwrap();
            if let Some(field) = envelope.pointer_mut(pointer) {
                *field = value;
            }
            let body = envelope.to_string();
            match open(&Headers::signed(body.as_bytes()), body.as_bytes()) {
                Ok(event) => prop_assert_eq!(event.json(), CONTENT),
                Err(NotificationError::Verify(error)) => prop_assert!(false, "{}", error),
                Err(_) => {}
            }
        }
    }
}

mod responses {
    use super::*;

    const BODY: &[u8] = br#"{"a":1,"b":"text"}"#;

    /// A whole response as bytes, rightly signed.
    fn response() -> Vec<u8> {
        let length = BODY.len();
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n").into_bytes();
        for (name, value) in Headers::signed(BODY).pairs() {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        [bytes.as_slice(), b"\r\n", BODY].concat()
    }

    /// Makes a call to a server that responds to every request with `bytes`.
    fn call(bytes: &[u8]) -> Result<Value, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                    head.push(byte[0]);
                }
                // The client may have seen enough before the end.
                let _ = stream.write_all(bytes);
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            });
            let client = Client::builder(merchant_signer(), verifier())
                .host(url)
                .clock(|| at(NOW))
                .build()
                .unwrap();
            client.execute(Request::new(Method::Delete, "/v3/x"))
        })
    }

    #[test]
    fn the_unchanged_response_is_accepted() {
        let value: Value = serde_json::from_slice(BODY).unwrap();
        assert_eq!(call(&response()).unwrap(), value);
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_changed_response_is_the_same_or_refused(bytes in changed(response())) {
            match call(&bytes) {
                Ok(value) => {
                    let original: Value = serde_json::from_slice(BODY).unwrap();
                    prop_assert_eq!(value, original);
                }
                // The request was sent.
                Err(error) => prop_assert_ne!(error.outcome(), Outcome::NotSent, "{:?}", error),
            }
        }

        #[test]
        fn a_response_of_any_bytes_is_refused(
            start in select(vec!["", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
            rest in prop_oneof![vec(any::<u8>(), 0..200), "[0-9a-f:;\r\n -]{0,100}".prop_map(String::into_bytes)],
        ) {
            let error = call(&[start.as_bytes(), &rest].concat()).unwrap_err();
            prop_assert_ne!(error.outcome(), Outcome::NotSent, "{:?}", error);
        }
    }
}

mod settings {
    use super::*;

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn a_setting_of_any_text_is_taken_or_refused_by_name(
            text in prop_oneof![any::<String>(), "(https?|HTTP|socks5)://[a-z0-9.:@\\[\\]/?#%_-]{0,30}"],
        ) {
            let builder = || Client::builder(merchant_signer(), verifier());
            for (field, built) in [
                ("host", builder().host(&text).build()),
                ("backup_host", builder().backup_host(Some(&text)).build()),
                ("proxy", builder().proxy(&text).build()),
                ("accept_language", builder().accept_language(&text).build()),
                ("root_certificates", builder().root_certificates(text.as_bytes()).build()),
            ] {
                match built {
                    Ok(_) => prop_assert!(field == "host" || field == "backup_host" || field == "proxy"),
                    Err(Error::InvalidSetting(error)) => prop_assert_eq!(error.setting(), field),
                    Err(error) => prop_assert!(false, "{:?}", error),
                }
            }
        }
    }
}
