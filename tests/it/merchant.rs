//! `Merchant`: it signs a request, and reads a response as a value or an error.

use std::collections::HashSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::de::IgnoredAny;
use serde_json::{Value, json};
use wechatpay_contract::{
    ApiError, Authenticity, Endpoint, Error, InvalidField, KeyError, Merchant, Method,
    MiniProgramSession, Mismatch, Outcome, PublicKey, Request, SignedRequest, Signer,
    TerminateContract, Verifier, VerifyError,
};

use crate::support::{
    CURRENT, EXPIRED, FUTURE, Headers, KEY_ID, NEXT, NONCE, NOW, PUBLIC, at, certificate, chain,
    installed, merchant, merchant_signer, platform_public_key, text, vectors, verifier,
    wrong_signature,
};

const RESPONSE: &[u8] = include_bytes!("../platform/answer.json");
const RESPONSE_SIGNATURE: &str = include_str!("../platform/answer_signature.txt");
const REQUEST_ID: &str = "08F78BB5AF0610D3";

fn header<'s>(signed: &'s SignedRequest<'_>, name: &str) -> &'s str {
    let (_, value) = signed.headers().find(|(known, _)| *known == name).unwrap();
    value
}

mod new {
    use super::*;

    #[test]
    fn the_merchants_own_key_is_refused_among_the_platform_keys() {
        const OWN_SERIAL: &str = "408B07E79B8269FEC3D5D3E6AB8ED163A6A380DB";
        const OWN: &str = include_str!("../platform/merchant_public.pem");
        let pem = include_str!("../platform/certificate_merchant.pem");
        let certificate = PublicKey::from_certificate_pem(pem).unwrap();
        let own = |id: &str| PublicKey::from_pem(id, OWN).unwrap();
        for (keys, id) in [
            (vec![certificate.clone()], OWN_SERIAL),
            (vec![platform_public_key(), certificate], OWN_SERIAL),
            (vec![own(&OWN_SERIAL.to_lowercase())], OWN_SERIAL),
            // The merchant's public key under an id of WeChat Pay's.
            (vec![own(KEY_ID)], KEY_ID),
            (vec![platform_public_key(), own(CURRENT)], CURRENT),
            // WeChat Pay's key under the merchant's serial number.
            (
                vec![PublicKey::from_pem(OWN_SERIAL, PUBLIC).unwrap()],
                OWN_SERIAL,
            ),
        ] {
            let verifier = Verifier::new(keys).unwrap();
            let error = Merchant::new(merchant_signer(), verifier).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "the platform key {id} is the merchant's own: wanted WeChat Pay's public key or certificate as \
                     platform key, and the serial number of the merchant's certificate in the signer"
                )
            );
        }
        let merchant = Merchant::new(merchant_signer(), verifier()).unwrap();
        assert_eq!(merchant.verifier().key_ids(), [KEY_ID]);
        assert_eq!(merchant.signer().mchid(), "1900007291");
        // The same later on.
        let error = merchant.replace_certificates([own(CURRENT)]).unwrap_err();
        assert!(matches!(error, KeyError::OwnKey { id } if id == CURRENT));
        merchant.verifier().replace([own(KEY_ID)]).unwrap();
        let request = Request::get("/v3/certificates");
        let error = merchant.prepare(&request, at(NOW), NONCE).unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSent);
        assert!(matches!(error, Error::Key(KeyError::OwnKey { id }) if id == KEY_ID));
    }

    #[test]
    fn a_signing_function_with_a_platform_keys_serial_number_is_refused() {
        let signer = |serial_no| Signer::from_function("1900007291", serial_no, |_| Ok(vec![]));
        let verifier = Verifier::new([PublicKey::from_pem("a1b", PUBLIC).unwrap()]).unwrap();
        Merchant::new(signer("A1C").unwrap(), verifier.clone()).unwrap();
        let error = Merchant::new(signer("00a1b").unwrap(), verifier).unwrap_err();
        assert_eq!(
            error,
            KeyError::OwnKey {
                id: "0A1B".to_owned()
            }
        );
    }
}

mod prepare {
    use super::*;

    #[test]
    fn the_authorization_is_the_published_one_byte_for_byte() {
        let vectors = vectors();
        let message = text(&vectors["sign"][0]["message"]);
        let body = message
            .splitn(5, '\n')
            .nth(4)
            .unwrap()
            .trim_end_matches('\n');
        // Keeps the order of the keys, which a `Value` would not.
        let body: Box<Ordered> = serde_json::from_str(body).unwrap();
        let request = Request::post("/v3/pay/transactions/jsapi").json(&*body);
        let time = vectors["timestamp"].as_u64().unwrap();
        let merchant = merchant();
        let signed = merchant
            .prepare(&request, at(time), text(&vectors["nonce"]))
            .unwrap();
        let expected = format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"1900007291\",nonce_str=\"593BEC0C930BF1AFEB40B4A08C8FB242\",\
             signature=\"{}\",timestamp=\"1554208460\",serial_no=\"408B07E79B8269FEC3D5D3E6AB8ED163A6A380DB\"",
            text(&vectors["sign"][0]["signature"])
        );
        assert_eq!(header(&signed, "Authorization"), expected);
    }

    /// The body of the published vector.
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Ordered {
        appid: String,
        mchid: String,
        description: String,
        out_trade_no: String,
        notify_url: String,
        amount: Amount,
        payer: Payer,
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Amount {
        total: u32,
        currency: String,
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Payer {
        openid: String,
    }

    #[test]
    fn a_signed_request_has_all_headers() {
        let merchant = merchant();
        let agent = concat!("wechatpay-contract/", env!("CARGO_PKG_VERSION"));
        let expected = [
            ("Wechatpay-Serial", KEY_ID),
            ("Accept", "application/json"),
            ("User-Agent", agent),
            ("Content-Type", "application/json"),
        ];
        for request in [
            Request::get("/v3/certificates"),
            Request::delete("/v3/a"),
            Request::post("/v3/a"),
            Request::post("/v3/a").json(&json!({})),
            Request::put("/v3/a").json(&json!({})),
            Request::patch("/v3/a").json(&json!({})),
        ] {
            let signed = merchant.prepare(&request, at(NOW), NONCE).unwrap();
            let (first, _) = signed.headers().next().unwrap();
            assert_eq!(first, "Authorization");
            assert_eq!(signed.headers().skip(1).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn no_header_can_hold_a_line_break() {
        let merchant = merchant();
        let request = Request::post("/v3/a/{b}").path("b", "\r\n").json("\r\n");
        let signed = merchant.prepare(&request, at(NOW), NONCE).unwrap();
        for (name, value) in signed.headers() {
            assert!(
                value.bytes().all(|byte| (0x20..0x7F).contains(&byte)),
                "{name}: {value:?}"
            );
        }
        assert_eq!(signed.target(), "/v3/a/%0D%0A");
    }

    /// OpenSSL verifies the signature in the header over the bytes that are handed out for sending.
    #[test]
    fn the_bytes_that_are_signed_are_those_to_be_sent() {
        if !installed("openssl") {
            return;
        }
        let merchant = merchant();
        let requests = [
            Request::get("/v3/certificates"),
            Request::get("/v3/a/{b}")
                .path("b", "数 /?#%😀..%2f")
                .query("q", "a b&c=d")
                .query("q", ""),
            Request::post("/v3/a").json(&json!({"text": "数\n\"\u{1}"})),
            Request::delete("/v3/a/{b}").path("b", 12),
        ];
        for request in &requests {
            let signed = merchant.prepare(request, at(NOW), NONCE).unwrap();
            assert_eq!(signed.method(), request.method());
            assert_eq!(signed.body(), request.body());
            assert_eq!(signed.target(), request.target().unwrap());
            let fields = fields(header(&signed, "Authorization"));
            assert_eq!(fields[0], ("mchid", "1900007291"));
            assert_eq!(fields[1], ("nonce_str", NONCE));
            assert_eq!(fields[2].0, "signature");
            assert_eq!(fields[3], ("timestamp", "1700000000"));
            assert_eq!(
                fields[4],
                ("serial_no", "408B07E79B8269FEC3D5D3E6AB8ED163A6A380DB")
            );
            let head = format!("{}\n{}\n{NOW}\n{NONCE}\n", signed.method(), signed.target());
            let message = [head.as_bytes(), signed.body().unwrap_or_default(), b"\n"].concat();
            assert!(openssl_verifies(&message, fields[2].1), "{request:?}");
            assert!(!openssl_verifies(&message[1..], fields[2].1), "{request:?}");
        }
    }

    /// The fields of an `Authorization` header.
    fn fields(authorization: &str) -> [(&str, &str); 5] {
        let fields = authorization
            .strip_prefix("WECHATPAY2-SHA256-RSA2048 ")
            .unwrap();
        let split = |field: &'_ str| -> Option<(usize, usize)> {
            let name = field.find('=')?;
            field
                .get(name + 1..)?
                .starts_with('"')
                .then_some((name, name + 2))
        };
        let mut all = fields.split(',').map(|field| {
            let (name, value) = split(field).unwrap();
            (&field[..name], field[value..].strip_suffix('"').unwrap())
        });
        let fields = [(); 5].map(|()| all.next().unwrap());
        assert_eq!(all.next(), None);
        fields
    }

    fn openssl_verifies(message: &[u8], signature: &str) -> bool {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("prepared-{}-{count}.signature", std::process::id());
        let file = std::env::temp_dir().join(name);
        let raw = openssl(&["base64", "-d", "-A"], signature.as_bytes()).1;
        std::fs::write(&file, raw).unwrap();
        let key = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/platform/merchant_public.pem"
        );
        let path = file.to_str().unwrap();
        let (verified, output) = openssl(
            &["dgst", "-sha256", "-verify", key, "-signature", path],
            message,
        );
        std::fs::remove_file(&file).unwrap();
        let expected = if verified {
            "Verified OK"
        } else {
            "Verification failure"
        };
        assert_eq!(String::from_utf8_lossy(&output).trim(), expected);
        verified
    }

    fn openssl(args: &[&str], input: &[u8]) -> (bool, Vec<u8>) {
        let mut openssl = Command::new("openssl")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        openssl.stdin.take().unwrap().write_all(input).unwrap();
        let output = openssl.wait_with_output().unwrap();
        (output.status.success(), output.stdout)
    }

    #[test]
    fn a_nonce_that_is_not_letters_and_digits_is_refused() {
        let request = Request::get("/v3/certificates");
        let merchant = merchant();
        let prepared = |nonce: &str| merchant.prepare(&request, at(NOW), nonce).map(|_| ());
        assert!(matches!(prepared(NONCE), Ok(())));
        assert!(matches!(prepared("1"), Ok(())));
        for nonce in ["", "a\"", "a\n", "a\",mchid=\"1", "数", &"N".repeat(33)] {
            let error = prepared(nonce).unwrap_err();
            assert_eq!(error.outcome(), Outcome::NotSent);
            let Error::InvalidField(error) = error else {
                panic!("{error:?}");
            };
            assert_eq!(error.field(), "nonce_str");
            assert!(
                error
                    .problem()
                    .ends_with("wanted 1 to 32 ASCII letters and digits")
            );
        }
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_refused() {
        let request = Request::get("/v3/a/{b}");
        let error = merchant().prepare(&request, at(NOW), NONCE).unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSent);
        let problem = request.target().unwrap_err();
        assert!(matches!(error, Error::InvalidField(error) if error == problem));
    }

    fn named_key(keys: impl IntoIterator<Item = PublicKey>, now: u64) -> Result<String, Error> {
        let merchant = Merchant::new(merchant_signer(), Verifier::new(keys).unwrap()).unwrap();
        let request = Request::get("/v3/other");
        let signed = merchant.prepare(&request, at(now), NONCE)?;
        Ok(header(&signed, "Wechatpay-Serial").to_owned())
    }

    #[test]
    fn a_request_names_the_public_key_or_else_the_certificate_that_ends_last() {
        let certificates = || [FUTURE, CURRENT, NEXT, EXPIRED].map(certificate);
        let keys = |key: Option<PublicKey>| certificates().into_iter().chain(key);
        assert_eq!(
            named_key(keys(Some(platform_public_key())), NOW).unwrap(),
            KEY_ID
        );
        assert_eq!(named_key(keys(None), NOW).unwrap(), NEXT);
        // FUTURE begins on 1 December 2023 and NEXT on 10 November. EXPIRED ended with October 2023.
        assert_eq!(named_key(keys(None), 1_702_000_000).unwrap(), FUTURE);
        assert_eq!(named_key(keys(None), 1_698_000_000).unwrap(), CURRENT);
        assert_eq!(named_key(keys(None), 1_600_000_000).unwrap(), EXPIRED);
        assert_eq!(
            named_key([certificate(NEXT), certificate(CURRENT)], NOW).unwrap(),
            NEXT
        );
    }

    #[test]
    fn a_request_names_the_public_key_given_last() {
        let other = || {
            let pem = include_str!("../keys/rsa2048_public.pem");
            PublicKey::from_pem("PUB_KEY_ID_1", pem).unwrap()
        };
        let key = platform_public_key;
        assert_eq!(named_key([key(), other()], NOW).unwrap(), "PUB_KEY_ID_1");
        assert_eq!(named_key([other(), key()], NOW).unwrap(), KEY_ID);
        // Certificates after them change nothing.
        let keys = [key(), other(), certificate(CURRENT)];
        assert_eq!(named_key(keys, NOW).unwrap(), "PUB_KEY_ID_1");
    }

    #[test]
    fn a_request_names_a_key_that_the_verifier_received_since() {
        let merchant = merchant();
        let request = Request::get("/v3/certificates");
        let named = || {
            let signed = merchant.prepare(&request, at(NOW), NONCE).unwrap();
            header(&signed, "Wechatpay-Serial").to_owned()
        };
        assert_eq!(named(), KEY_ID);
        merchant.verifier().replace([certificate(CURRENT)]).unwrap();
        assert_eq!(named(), CURRENT);
    }

    #[test]
    fn a_request_without_a_valid_platform_key_is_not_signed() {
        let refused = |verifier| {
            let merchant = Merchant::new(merchant_signer(), verifier).unwrap();
            let request = Request::get("/v3/other");
            let error = merchant.prepare(&request, at(NOW), NONCE).unwrap_err();
            assert_eq!(error.outcome(), Outcome::NotSent);
            chain(&error)
        };
        let invalid = Verifier::new([EXPIRED, FUTURE].map(certificate)).unwrap();
        assert_eq!(
            refused(invalid),
            [format!(
                "none of the platform keys ({EXPIRED}, {FUTURE}) is valid at this clock's time, so no response could be \
                 verified; nothing was sent"
            )]
        );
        assert_eq!(
            refused(Verifier::without_keys()),
            ["there is no platform key, so no response could be verified; nothing was sent"]
        );
    }

    #[test]
    fn debug_shows_neither_authorization_nor_values() {
        let merchant = merchant();
        let request = Request::post("/v3/a/{b}")
            .path("b", "SECRET")
            .query("c", "SECRET")
            .json("SECRET");
        let signed = merchant.prepare(&request, at(NOW), NONCE).unwrap();
        assert_eq!(
            format!("{signed:?}"),
            format!(
                "SignedRequest {{ method: Post, platform_key: Some(PublicKey {{ id: {KEY_ID:?}, validity: None, .. }}), .. }}"
            )
        );
    }
}

mod accept {
    use super::*;

    fn accept(status: u16, headers: &Headers, body: &[u8]) -> Result<Value, Error> {
        merchant().accept(status, headers.pairs(), body, at(NOW))
    }

    fn api_error(status: u16, headers: &Headers, body: &[u8]) -> ApiError {
        match accept(status, headers, body) {
            Err(Error::Api(error)) => *error,
            other => panic!("{status}: {other:?}"),
        }
    }

    /// Asserts what holds for every response that cannot be verified, and returns the reason.
    fn unverified(status: u16, headers: &Headers, body: &[u8]) -> VerifyError {
        let error = accept(status, headers, body).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert_eq!(error.request_id(), Some(REQUEST_ID));
        match error {
            Error::Unverified {
                status: found,
                source,
                ..
            } if found == status => source,
            other => panic!("{status}: {other:?}"),
        }
    }

    #[test]
    fn a_verified_response_is_a_value() {
        let headers = Headers::of(&NOW.to_string(), NONCE, RESPONSE_SIGNATURE);
        let session: MiniProgramSession = merchant()
            .accept(200, headers.pairs(), RESPONSE, at(NOW))
            .unwrap();
        assert_eq!(session.pre_entrustweb_id, "5778aadY9nltAsZzXixCkFIGYnV2V");
        for status in [200, 201, 203, 206, 299] {
            let value = accept(status, &headers, RESPONSE).unwrap();
            assert_eq!(value["service_id"], 12535);
        }
    }

    #[test]
    fn a_success_without_a_right_signature_is_an_error() {
        let headers = Headers::signed(RESPONSE);
        assert!(accept(200, &headers, RESPONSE).is_ok());
        let name = "Wechatpay-Signature";
        let other = [RESPONSE, b" "].concat();
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(
                unverified(status, &Headers::unsigned(), RESPONSE),
                VerifyError::MissingHeader {
                    name: "Wechatpay-Serial"
                }
            );
            assert_eq!(
                unverified(status, &headers.clone().without(name), RESPONSE),
                VerifyError::MissingHeader { name }
            );
            assert_eq!(
                unverified(status, &headers, &other),
                wrong_signature(KEY_ID)
            );
            let probe = headers.clone().set(name, "WECHATPAY/SIGNTEST/abc");
            assert!(unverified(status, &probe, RESPONSE).is_probe());
        }
    }

    #[test]
    fn an_unverified_success_says_what_may_have_happened() {
        let error = accept(200, &Headers::signed(RESPONSE), b"").unwrap_err();
        assert_eq!(
            chain(&error),
            [
                "the response (HTTP 200) could not be verified; the request may have taken effect",
                "the signature is wrong for platform key PUB_KEY_ID_0000000000000024101100397200000006: the body is \
                 empty: pass the raw bytes, before the framework reads them",
            ]
        );
    }

    #[test]
    fn an_empty_body_is_read_as_unit_none_or_null() {
        let headers = Headers::signed(b"");
        let merchant = merchant();
        for status in [200, 204] {
            let pairs = || headers.pairs();
            let () = merchant.accept(status, pairs(), b"", at(NOW)).unwrap();
            let none: Option<MiniProgramSession> =
                merchant.accept(status, pairs(), b"", at(NOW)).unwrap();
            assert_eq!(none, None);
            let null: Value = merchant.accept(status, pairs(), b"", at(NOW)).unwrap();
            assert_eq!(null, Value::Null);
            let IgnoredAny = merchant.accept(status, pairs(), b"", at(NOW)).unwrap();
        }
        let headers = Headers::signed(RESPONSE);
        let IgnoredAny = merchant
            .accept(200, headers.pairs(), RESPONSE, at(NOW))
            .unwrap();
    }

    #[test]
    fn a_verified_body_of_another_shape_is_a_decode_error() {
        let undecoded = |status: u16, body: &[u8]| {
            let headers = Headers::signed(body);
            let answer = merchant().accept::<MiniProgramSession, _, _>(
                status,
                headers.pairs(),
                body,
                at(NOW),
            );
            let error = answer.unwrap_err();
            assert_eq!(error.outcome(), Outcome::Unknown);
            assert_eq!(error.request_id(), Some(REQUEST_ID));
            assert!(matches!(&error, Error::Decode { status: found, .. } if *found == status));
            let chain = chain(&error);
            assert_eq!(
                chain[0],
                format!(
                    "a verified response (HTTP {status}) has an unexpected body; the request may have taken effect"
                )
            );
            assert_eq!(chain.len(), 2, "{chain:?}");
            chain[1].clone()
        };
        let struct_wanted = "expected struct MiniProgramSession at line 1 column 4";
        assert_eq!(undecoded(204, b""), "the body is empty");
        assert_eq!(
            undecoded(200, b"null"),
            format!("invalid type: null, {struct_wanted}")
        );
        assert_eq!(
            undecoded(200, b"{}"),
            "missing field `pre_entrustweb_id` at line 1 column 2"
        );
        assert_eq!(
            undecoded(200, b"<html>"),
            "expected value at line 1 column 1"
        );
        assert_eq!(
            undecoded(200, &[RESPONSE, b"x"].concat()),
            format!(
                "trailing characters at line 1 column {}",
                RESPONSE.len() + 1
            )
        );
        assert_eq!(
            undecoded(200, b"\xEF\xBB\xBF{}"),
            "expected value at line 1 column 1"
        );
        assert_eq!(
            undecoded(200, b"{\"mchid\":\"\xFF\"}"),
            "invalid utf-8 sequence of 1 bytes from index 10"
        );
        assert!(undecoded(200, &RESPONSE[..100]).starts_with("EOF while parsing"));
    }

    #[test]
    fn a_verified_body_may_be_nested_deeply() {
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        let error = accept(200, &Headers::signed(deep.as_bytes()), deep.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Decode { .. }), "{error:?}");
        assert_eq!(
            chain(&error)[1],
            "recursion limit exceeded at line 1 column 128"
        );
    }

    #[test]
    fn a_verified_202_is_accepted_but_not_carried_out() {
        for body in [&b""[..], RESPONSE] {
            let error = accept(202, &Headers::signed(body), body).unwrap_err();
            assert!(matches!(error, Error::Accepted { .. }), "{error:?}");
            assert_eq!(error.outcome(), Outcome::Unknown);
            assert_eq!(error.request_id(), Some(REQUEST_ID));
            assert_eq!(
                chain(&error),
                ["accepted but not carried out yet (HTTP 202); query later"]
            );
        }
    }

    const FAILURE: &[u8] = r#"{"code":"PARAM_ERROR","message":"参数错误","detail":{"field":"/notify_url","value":"SECRET","issue":"应为 https","location":"body"}}"#.as_bytes();

    #[test]
    fn a_failure_says_whether_it_was_signed() {
        for (headers, authenticity) in [
            (Headers::signed(FAILURE), Authenticity::Signed),
            (Headers::unsigned(), Authenticity::Unsigned),
            // What is left when only the signature is taken away.
            (
                Headers::signed(FAILURE).without("Wechatpay-Signature"),
                Authenticity::Unsigned,
            ),
        ] {
            for status in [400, 401, 403, 404, 429, 500, 502, 503] {
                let error = api_error(status, &headers, FAILURE);
                assert_eq!(error.authenticity, authenticity);
                assert_eq!(error.status, status);
                assert_eq!(error.code, "PARAM_ERROR");
                assert_eq!(error.message, "参数错误");
                assert_eq!(error.detail.unwrap()["field"], "/notify_url");
                assert_eq!(error.request_id.as_deref(), Some(REQUEST_ID));
            }
        }
    }

    #[test]
    fn a_failure_with_a_wrong_signature_is_unverified() {
        let right = Headers::signed(FAILURE);
        assert_eq!(
            api_error(400, &right, FAILURE).authenticity,
            Authenticity::Signed
        );
        for status in [400, 401, 500] {
            assert_eq!(unverified(status, &right, b"{}"), wrong_signature(KEY_ID));
            // An empty header is a missing one.
            let empty = right.clone().set("Wechatpay-Signature", "");
            assert_eq!(
                api_error(status, &empty, FAILURE).authenticity,
                Authenticity::Unsigned
            );
            let probe = right
                .clone()
                .set("Wechatpay-Signature", "WECHATPAY/SIGNTEST/abc");
            assert_eq!(unverified(status, &probe, FAILURE), VerifyError::Probe);
            let name = "Wechatpay-Timestamp";
            assert_eq!(
                unverified(status, &right.clone().without(name), FAILURE),
                VerifyError::MissingHeader { name }
            );
        }
    }

    #[test]
    fn a_failure_signed_with_an_unknown_key_is_not_authenticated_and_keeps_its_content() {
        let known = Headers::signed(FAILURE);
        for serial in ["PUB_KEY_ID_01", "0A1B", "no serial", "\u{202E}"] {
            let unknown = known.clone().set("Wechatpay-Serial", serial);
            // A probe signature under an unknown key is treated like any other.
            let probe = (unknown.clone()).set("Wechatpay-Signature", "WECHATPAY/SIGNTEST/a");
            for (headers, status) in [(&unknown, 400), (&unknown, 503), (&probe, 404)] {
                let error = api_error(status, headers, FAILURE);
                assert_eq!(error.authenticity, Authenticity::Unsigned);
                assert_eq!(error.unknown_key.as_deref(), Some(serial));
                assert_eq!((error.status, &*error.code), (status, "PARAM_ERROR"));
                assert_eq!(error.message, "参数错误");
                assert_eq!(error.request_id.as_deref(), Some(REQUEST_ID));
            }
            // The time is checked before the key, and a success is never believed.
            let stale = unknown.clone().set("Wechatpay-Timestamp", "1");
            assert!(matches!(
                unverified(400, &stale, FAILURE),
                VerifyError::Stale { .. }
            ));
            for status in [200, 202, 204] {
                assert!(matches!(
                    unverified(status, &unknown, FAILURE),
                    VerifyError::UnknownSerial { received, .. } if received == serial
                ));
            }
        }
        assert_eq!(api_error(400, &known, FAILURE).unknown_key, None);
        let unknown = known.set("Wechatpay-Serial", "A\n1");
        assert_eq!(
            api_error(400, &unknown, FAILURE).to_string(),
            "WeChat Pay responded with HTTP 400 PARAM_ERROR: 参数错误 (field /notify_url: 应为 https), signed with the \
             unknown platform key \"A\\n1\""
        );
        // Only WeChat Pay or someone who pretends to be it signs.
        assert_eq!(
            api_error(502, &unknown, b"<html>").to_string(),
            "WeChat Pay responded with HTTP 502, signed with the unknown platform key \"A\\n1\""
        );
    }

    #[test]
    fn a_failure_is_shown_on_one_line() {
        let error = accept(400, &Headers::signed(FAILURE), FAILURE).unwrap_err();
        assert_eq!(
            chain(&error),
            [
                "WeChat Pay responded with HTTP 400 PARAM_ERROR: 参数错误 (field /notify_url: 应为 https)"
            ]
        );
        let error = api_error(502, &Headers::unsigned(), b"<html>");
        assert_eq!(
            error.to_string(),
            "HTTP 502 without WeChat Pay's error body, unsigned, perhaps of a proxy or firewall"
        );

        let hostile = json!({
            "code": "A\r\nB",
            "message": format!("C\u{1B}[2J\u{85}\u{2028}D{}", "数".repeat(100_000)),
            "detail": {"field": "E\n", "issue": "F\0G"},
        });
        let error = api_error(400, &Headers::unsigned(), hostile.to_string().as_bytes());
        let shown = error.to_string();
        assert!(
            !shown.contains(|c: char| c.is_control() || c == '\u{2028}'),
            "{shown}"
        );
        assert!(
            shown.starts_with("WeChat Pay responded with HTTP 400 A  B: C [2J  D数数"),
            "{shown}"
        );
        assert!(shown.ends_with("数... (field E : F G)"), "{shown}");
        assert_eq!(error.code, "A\r\nB");
    }

    /// Asserts what is read of a failure's body.
    #[track_caller]
    fn read(body: impl AsRef<[u8]>, code: &str, message: &str, detail: Option<Value>) {
        let error = api_error(400, &Headers::unsigned(), body.as_ref());
        assert_eq!(error.code, code);
        assert_eq!(error.message, message);
        assert_eq!(error.detail, detail);
        // Without a code these may not be WeChat Pay's words.
        let outcome = match code {
            "" | "404" => Outcome::Unknown,
            _ => Outcome::Refused,
        };
        assert_eq!(error.outcome(), outcome);
        assert_eq!(error.request_id.as_deref(), Some(REQUEST_ID));
    }

    #[test]
    fn a_failure_may_have_any_body() {
        read("", "", "", None);
        read("{}", "", "", None);
        read("null", "", "", None);
        read("[]", "", "", None);
        read("\"PARAM_ERROR\"", "", "", None);
        read("<html><body>502 Bad Gateway</body></html>", "", "", None);
        read("{\"code\":\"A\"", "", "", None);
        read(b"{\"code\":\"\xFF\"}", "", "", None);
        read(b"\0\xFF", "", "", None);
        read("\u{FEFF}{\"code\":\"A\"}", "", "", None);
        read("{\"message\":\"B\"}", "", "B", None);
        read(
            "{\"code\":\"A\",\"message\":null,\"detail\":null}",
            "A",
            "",
            None,
        );
        read(
            "{\"code\":\"A\",\"message\":{\"text\":1}}",
            "A",
            "{\"text\":1}",
            None,
        );
        read("{\"code\":\"A\",\"code\":\"B\"}", "B", "", None);
        read("{\"code\":\"A\",\"more\":1}", "A", "", None);
        read(
            "{\"code\":\"A\",\"detail\":\"text\"}",
            "A",
            "",
            Some(json!("text")),
        );
        read(
            "{\"code\":\"A\",\"detail\":[1,{}]}",
            "A",
            "",
            Some(json!([1, {}])),
        );
        read(
            "{\"detail\":{\"field\":1,\"issue\":[]}}",
            "",
            "",
            Some(json!({"field": 1, "issue": []})),
        );
        read(
            "{\"detail\":{\"issue\":\"A\"}}",
            "",
            "",
            Some(json!({"issue": "A"})),
        );
    }

    #[test]
    fn a_code_that_is_no_text_is_shown_and_leaves_the_outcome_unknown() {
        read("{\"code\":\"404\",\"message\":\"B\"}", "404", "B", None);
        for code in ["404", "0", "-1.5", "false", "true", "[\"A\"]", "{\"a\":1}"] {
            let with_message = format!("{{\"code\":{code},\"message\":\"B\"}}");
            read(with_message, "", &format!("code {code}: B"), None);
            read(
                format!("{{\"code\":{code}}}"),
                "",
                &format!("code {code}"),
                None,
            );
        }
        read("{\"code\":null,\"message\":\"B\"}", "", "B", None);
        let error = api_error(
            404,
            &Headers::unsigned(),
            b"{\"code\":404,\"message\":\"B\"}",
        );
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert_eq!(
            error.to_string(),
            "WeChat Pay responded with HTTP 404: code 404: B"
        );
    }

    #[test]
    fn a_failure_may_be_nested_deeply() {
        for depth in [200, 500_000] {
            let body = format!("{{\"code\":\"A\",\"detail\":{}", "[".repeat(depth));
            read(&body, "", "", None);
            read(body + &"]".repeat(depth) + "}", "", "", None);
        }
        let nested = "[".repeat(100) + &"]".repeat(100);
        let body = format!("{{\"code\":\"A\",\"detail\":{nested}}}");
        read(&body, "A", "", Some(serde_json::from_str(&nested).unwrap()));
    }

    #[test]
    fn the_request_id_is_in_every_error() {
        let right = Headers::signed(RESPONSE);
        // Also when something before it is wrong.
        let first = |name: &str, value: &[u8]| {
            let mut headers = right.clone();
            headers.0.insert(0, (name.to_owned(), value.to_owned()));
            headers
        };
        for headers in [
            first("Wechatpay-Nonce", b"1"),
            first("Wechatpay-Serial", b"\xFF"),
            right.clone(),
            Headers::unsigned(),
        ] {
            for status in [200, 202, 400, 500] {
                for body in [RESPONSE, b"x"] {
                    let answer =
                        merchant().accept::<(), _, _>(status, headers.pairs(), body, at(NOW));
                    assert_eq!(answer.unwrap_err().request_id(), Some(REQUEST_ID));
                }
            }
        }
        let lower = Headers(vec![("request-id".to_owned(), b"abc".to_vec())]);
        assert_eq!(
            accept(200, &lower, b"").unwrap_err().request_id(),
            Some("abc")
        );
        for absent in [vec![], vec![("Request-ID".to_owned(), b"\xFF".to_vec())]] {
            assert_eq!(
                accept(404, &Headers(absent), b"").unwrap_err().request_id(),
                None
            );
        }
    }

    /// The statuses of refusals are written out. With all others the outcome is unknown.
    #[test]
    fn every_status_has_its_outcome() {
        let refused = HashSet::from([
            // WeChat Pay's own: parameters, signature, permission, missing, too many.
            400, 401, 403, 404, 429, //
            // HTTP's: method, not acceptable, length, size, target, media type, expectation, header fields.
            405, 406, 411, 413, 414, 415, 417, 431,
        ]);
        for status in (100..=199).chain(300..=599) {
            let error = accept(status, &Headers::unsigned(), b"{\"code\":\"A\"}").unwrap_err();
            assert!(matches!(&error, Error::Api(error) if error.status == status));
            let expected = match refused.contains(&status) {
                true => Outcome::Refused,
                false => Outcome::Unknown,
            };
            assert_eq!(error.outcome(), expected, "{status}");
            // Something on the way may have written it, after the request had passed.
            for body in [
                "",
                "<html>",
                r#"{"message":"A"}"#,
                r#"{"code":""}"#,
                r#"{"code":" "}"#,
                r#"{"code":"AccessDenied"}"#,
                r#"{"code":"NO AUTH"}"#,
                r#"{"code":"NO_AUTH "}"#,
                r#"{"code":"404"}"#,
                r#"{"code":"_"}"#,
            ] {
                let error = accept(status, &Headers::unsigned(), body.as_bytes()).unwrap_err();
                assert_eq!(error.outcome(), Outcome::Unknown, "{status} {body}");
            }
        }
        for status in [0, 99, 600, 999, u16::MAX] {
            let error = accept(status, &Headers::unsigned(), b"").unwrap_err();
            assert!(matches!(error, Error::Api(_)), "{status}: {error:?}");
            assert_eq!(error.outcome(), Outcome::Unknown, "{status}");
        }
        for status in 200..=299 {
            let unsigned = accept(status, &Headers::unsigned(), b"").unwrap_err();
            assert_eq!(unsigned.outcome(), Outcome::Unknown, "{status}");
            let signed = accept(status, &Headers::signed(b"1"), b"1");
            assert_eq!(signed.is_ok(), status != 202, "{status}");
        }
    }

    /// Characters that break a line, hide, or turn text around.
    const HOSTILE: &str = "\u{202E}\u{85}\u{2028}\u{2029}\u{9B}\u{200B}\u{FEFF}\u{2066}\u{AD}\u{E0041}\r\n\0\u{1B}[2J\u{7F}";

    #[track_caller]
    fn assert_harmless(said: &str) {
        let is_shown = |c: char| {
            !c.is_control()
                && !"\u{202E}\u{2028}\u{2029}\u{200B}\u{FEFF}\u{2066}\u{AD}\u{E0041}".contains(c)
        };
        assert!(said.chars().all(is_shown), "{said:?}");
        assert!(said.chars().count() < 2_500, "{}", said.len());
    }

    #[test]
    fn no_text_from_the_network_breaks_a_line_or_fills_a_log() {
        let long = format!("{HOSTILE}{}", "x".repeat(10_000));
        let body = json!({
            "code": long, "message": long,
            "detail": {"field": long, "issue": long, "detail": {"issue": long}},
        })
        .to_string();
        let error = api_error(400, &Headers::unsigned(), body.as_bytes());
        let reasons = [
            VerifyError::UnknownSerial {
                received: long.clone(),
                known: vec!["A".to_owned()],
            },
            VerifyError::UnsupportedSignatureType {
                found: long.clone(),
            },
            VerifyError::OutsideValidity {
                serial: long.clone(),
                not_before: 1,
                not_after: 2,
                now: 3,
            },
        ];
        let mismatch = Mismatch {
            field: "a",
            sent: long.clone(),
            received: long.clone(),
        };
        let reasons = reasons.iter().map(ToString::to_string);
        for said in reasons.chain([error.to_string(), mismatch.to_string()]) {
            assert_harmless(&said);
        }
        let pairs = [("request-id".to_owned(), format!("08F78BB5{long}"))];
        let pairs = pairs.iter().map(|(name, value)| (name, value));
        let error = merchant().accept::<Value, _, _>(500, pairs, b"", at(NOW));
        assert_eq!(error.unwrap_err().request_id(), Some("08F78BB5"));
    }

    #[test]
    fn a_failure_is_a_refusal_only_if_its_code_has_wechat_pays_form() {
        for (code, outcome) in [
            ("A", Outcome::Refused),
            ("NO_AUTH", Outcome::Refused),
            ("MCH_NOT_EXISTS2", Outcome::Refused),
            ("404", Outcome::Unknown),
            ("_", Outcome::Unknown),
            (" ", Outcome::Unknown),
            ("NO AUTH", Outcome::Unknown),
            ("NO_AUTH\n", Outcome::Unknown),
            ("AccessDenied", Outcome::Unknown),
            ("no_auth", Outcome::Unknown),
            ("NO-AUTH", Outcome::Unknown),
            ("ＮＯ_ＡＵＴＨ", Outcome::Unknown),
            ("\u{202E}NO_AUTH", Outcome::Unknown),
        ] {
            let body = json!({"code": code}).to_string();
            for status in [400, 401, 403, 404, 405, 429, 431] {
                let error = api_error(status, &Headers::signed(body.as_bytes()), body.as_bytes());
                assert_eq!(error.outcome(), outcome, "{status} {code:?}");
                assert_eq!(error.code, code);
            }
        }
    }

    #[test]
    fn a_call_may_say_that_an_error_leaves_its_effect_open() {
        struct Refund;
        impl Endpoint for Refund {
            type Response = Value;
            fn request(&self) -> Result<Request, InvalidField> {
                Ok(Request::post("/v3/refund/domestic/refunds"))
            }
            fn is_inconclusive(&self, error: &ApiError) -> bool {
                error.status == 429
            }
        }
        for (status, of_any, of_this) in [
            (429, Outcome::Refused, Outcome::Unknown),
            (400, Outcome::Refused, Outcome::Refused),
            (500, Outcome::Unknown, Outcome::Unknown),
        ] {
            let body = br#"{"code":"FREQUENCY_LIMITED"}"#;
            let headers = Headers::signed(body);
            assert_eq!(api_error(status, &headers, body).outcome(), of_any);
            let merchant = merchant();
            let error = merchant.accept_for(&Refund, status, headers.pairs(), body, at(NOW));
            assert_eq!(error.unwrap_err().outcome(), of_this, "{status}");
        }
    }

    #[test]
    fn a_response_to_another_request_is_a_mismatch() {
        let terminate = TerminateContract {
            service_id: 12535,
            out_contract_code: "code1",
            contract_termination_remark: "moved",
        };
        let accept_for = |body: &[u8]| {
            let headers = Headers::signed(body);
            merchant().accept_for(&terminate, 200, headers.pairs(), body, at(NOW))
        };
        let same = br#"{"mchid":"1900007291","service_id":12535,"out_contract_code":"code1"}"#;
        assert_eq!(accept_for(same).unwrap().out_contract_code, "code1");

        let other = br#"{"mchid":"1900007291","service_id":12535,"out_contract_code":"code2"}"#;
        let error = accept_for(other).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert_eq!(error.request_id(), Some(REQUEST_ID));
        match error {
            Error::Mismatch { source, .. } => assert_eq!(source.field, "out_contract_code"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_error_shows_the_body_or_the_signature() {
        let body = br#"{"mchid":"SECRET"}"#;
        let headers = Headers::signed(body);
        let signature = headers.get("Wechatpay-Signature").to_owned();
        for (status, body) in [(200, &b"SECRET"[..]), (202, body), (400, b"SECRET")] {
            let error = merchant()
                .accept::<MiniProgramSession, _, _>(status, headers.pairs(), body, at(NOW))
                .unwrap_err();
            let shown = format!("{error:?} {:?}", chain(&error));
            assert!(!shown.contains("SECRET"), "{shown}");
            assert!(!shown.contains(&signature), "{shown}");
        }
    }

    #[test]
    fn a_response_is_verified_at_the_time_given() {
        let headers = Headers::signed(b"1");
        assert!(matches!(accept(200, &headers, b"1"), Ok(value) if value == 1));
        let late = merchant().accept::<Value, _, _>(200, headers.pairs(), b"1", at(NOW + 300));
        assert_eq!(
            chain(&late.unwrap_err())[1],
            "the message's time 1700000000 and this clock's 1700000300 differ by 300s: wanted less than 300s"
        );
    }
}

mod errors {
    use super::*;

    /// Each reason names what was found and what is wanted, on one line.
    #[test]
    fn every_reason_of_a_failed_verification_has_its_text() {
        let serial = CURRENT.to_owned();
        let table = [
            (
                VerifyError::MissingHeader { name: "A" },
                "header A is missing or empty",
            ),
            (
                VerifyError::DuplicateHeader { name: "A" },
                "header A came more than once",
            ),
            (
                VerifyError::MalformedHeader {
                    name: "A",
                    wanted: "b",
                },
                "header A is malformed: wanted b",
            ),
            (
                VerifyError::UnsupportedSignatureType {
                    found: "\r\n".to_owned(),
                },
                "signature type \"\\r\\n\" is not supported: wanted WECHATPAY2-SHA256-RSA2048",
            ),
            (
                VerifyError::Stale {
                    timestamp: u64::MAX,
                    now: 0,
                },
                "the message's time 18446744073709551615 and this clock's 0 differ by \
                 18446744073709551615s: wanted less than 300s",
            ),
            (
                VerifyError::UnknownSerial {
                    received: "\n".to_owned(),
                    known: vec![serial.clone()],
                },
                "signed with the unknown platform key \"\\n\", known: 11111111111111111111111111111111111111AA",
            ),
            (
                VerifyError::OutsideValidity {
                    serial,
                    not_before: 1,
                    not_after: 2,
                    now: 3,
                },
                "signed with platform certificate 11111111111111111111111111111111111111AA, valid from 1 to 2, but \
                 now it is 3",
            ),
            (
                VerifyError::Probe,
                "a probe signature of WeChat Pay's, refused like any wrong signature",
            ),
            (
                VerifyError::WrongSignature {
                    key_id: "A".to_owned(),
                    check: "b",
                },
                "the signature is wrong for platform key A: b",
            ),
        ];
        for (reason, shown) in table {
            assert_eq!(reason.to_string(), shown);
            assert_eq!(reason.is_probe(), matches!(reason, VerifyError::Probe));
            // The reason is the cause, and is not said twice.
            let error = Error::Unverified {
                status: 200,
                request_id: None,
                source: reason,
            };
            assert_eq!(chain(&error).len(), 2);
            assert_eq!(chain(&error)[1], shown);
            assert!(!chain(&error)[0].contains(shown));
        }
    }

    #[test]
    fn causes_are_reached_and_not_said_twice() {
        let cause = || "the cable is cut".into();
        let host = || "api.mch.weixin.qq.com".to_owned();
        let table = [
            (
                Error::Connect {
                    host: host(),
                    source: cause(),
                },
                Outcome::NotSent,
                "no connection to api.mch.weixin.qq.com; nothing was sent",
            ),
            (
                Error::Transport {
                    host: host(),
                    source: cause(),
                },
                Outcome::Unknown,
                "the exchange with api.mch.weixin.qq.com broke off; the request may have taken effect",
            ),
        ];
        for (error, outcome, shown) in table {
            assert_eq!(error.outcome(), outcome);
            assert_eq!(error.request_id(), None);
            assert_eq!(chain(&error), [shown, "the cable is cut"]);
        }
        // These variants show the text of the error within, so it is not repeated as a cause.
        let invalid = Request::get("").target().unwrap_err();
        assert_eq!(chain(&Error::from(invalid.clone())), [invalid.to_string()]);
        let key = PublicKey::from_pem("", "").unwrap_err();
        assert_eq!(chain(&Error::from(key.clone())), [key.to_string()]);
        assert_eq!(Error::from(key).outcome(), Outcome::NotSent);
    }

    #[test]
    fn every_outcome_has_its_text() {
        assert_eq!(Outcome::NotSent.to_string(), "nothing was sent");
        assert_eq!(
            Outcome::Refused.to_string(),
            "WeChat Pay refused the request"
        );
        assert_eq!(
            Outcome::Unknown.to_string(),
            "the request may have taken effect"
        );
    }

    #[test]
    fn errors_can_be_boxed_and_sent_among_threads() {
        fn is_error<E: std::error::Error + Send + Sync + 'static>() {}
        is_error::<Error>();
        is_error::<ApiError>();
        is_error::<VerifyError>();
        fn is_shared<T: Send + Sync>() {}
        is_shared::<Merchant>();
        is_shared::<Request>();
        is_shared::<SignedRequest<'_>>();
        assert_eq!(Method::Patch.to_string(), "PATCH");
    }
}
