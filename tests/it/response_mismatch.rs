//! Responses that repeat another contract than the request: the comparison of each call, and its error.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};
use wechatpay_contract::{
    Client, Endpoint, Error, Mismatch, Outcome, QueryContract, TerminateContract, ecommerce,
    normal, order, qs, service_provider,
};

use crate::support::{Headers, NOW, at, chain, merchant, merchant_signer, verifier};

/// The merchant of [`merchant_signer`].
const MCHID: &str = "1900007291";
const CODE: &str = "wxwtdk20200910100000";
const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";
const PREPAY_ID: &str = "wx201410272009395522657a690389285100";
const URL: &str = "https://yourapp.com/notify";
const USER: &str = "微信代扣用户A";

const NORMAL: normal::MiniProgramPreSign<'static> = normal::MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: CODE,
    notify_url: URL,
    contract_display_account: USER,
    openid: OPENID,
};

const ECOMMERCE: ecommerce::MiniProgramPreSign<'static> = ecommerce::MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: CODE,
    notify_url: URL,
    contract_display_account: USER,
    openid: OPENID,
};

const SERVICE_PROVIDER: service_provider::MiniProgramPreSign<'static> =
    service_provider::MiniProgramPreSign {
        sp_appid: "wxd678efh567hg6787",
        sub_mchid: "1900000110",
        sub_appid: "wxd678efh567hg6787",
        service_id: 12535,
        out_contract_code: CODE,
        notify_url: URL,
        contract_display_account: USER,
        sp_openid: Some(OPENID),
        sub_openid: None,
    };

const QS: qs::MiniProgramPreSign<'static> = qs::MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    sub_mchid: "1900000110",
    sub_appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: CODE,
    notify_url: URL,
    contract_display_account: USER,
    user: qs::User::Openid(OPENID),
};

const QUERY: QueryContract<'static> = QueryContract {
    service_id: 12535,
    out_contract_code: CODE,
};

const TERMINATE: TerminateContract<'static> = TerminateContract {
    service_id: 12535,
    out_contract_code: CODE,
    contract_termination_remark: "用户解约",
};

/// The fields of the responses of all calls.
fn answer() -> Value {
    json!({
        "pre_entrustweb_id": "5778aadY9nltAsZzXixCkFIGYnV2V",
        "mchid": MCHID,
        "sub_mchid": "1900000110",
        "service_id": 12535,
        "out_contract_code": CODE,
        "sign_mp_appid": "wxbd687630cd02ce1d",
        "sign_mp_path": "pages/PwdExemptContract/index",
        "contract_id": "201710180325670965",
        "appid": "wxd678efh567hg6787",
        "contract_state": "SIGNED",
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut body = answer();
    body[field] = value;
    body
}

fn check<E: Endpoint>(endpoint: &E, body: &Value) -> Result<(), Mismatch> {
    endpoint.check(&serde_json::from_value(body.clone()).unwrap(), MCHID)
}

/// Each field that is compared is altered alone.
#[track_caller]
fn assert_compares<E: Endpoint>(endpoint: &E, compares_sub_mchid: bool) {
    assert_eq!(check(endpoint, &answer()), Ok(()));
    assert_eq!(check(endpoint, &with("service_id", json!("12535"))), Ok(()));
    for (field, value, received) in [
        ("mchid", json!("1900000111"), "1900000111"),
        ("service_id", json!(12536), "12536"),
        (
            "out_contract_code",
            json!("wxwtdk20200910100001"),
            "wxwtdk20200910100001",
        ),
        (
            "out_contract_code",
            json!("WXWTDK20200910100000"),
            "WXWTDK20200910100000",
        ),
        ("sub_mchid", json!("1900000112"), "1900000112"),
    ] {
        let sent = answer()[field].to_string().replace('"', "");
        let wanted = match field {
            "sub_mchid" if !compares_sub_mchid => Ok(()),
            _ => Err(Mismatch {
                field,
                sent,
                received: received.to_owned(),
            }),
        };
        assert_eq!(check(endpoint, &with(field, value)), wanted, "{field}");
    }
}

#[test]
fn a_service_providers_response_without_its_sub_merchant_is_refused() {
    let mut without = answer();
    without.as_object_mut().unwrap().remove("sub_mchid");
    let absent = Err(Mismatch {
        field: "sub_mchid",
        sent: "1900000110".to_owned(),
        received: String::new(),
    });
    let redirect = service_provider::PayRedirectPreSign {
        prepay_id: PREPAY_ID,
        contract: SERVICE_PROVIDER,
    };
    for body in [&without, &with("sub_mchid", Value::Null)] {
        assert_eq!(check(&SERVICE_PROVIDER, body), absent);
        assert_eq!(check(&redirect, body), absent);
        // No page says that a clearing institution's response repeats it.
        assert_eq!(check(&QS, body), Ok(()));
    }
}

#[test]
fn each_call_compares_what_its_response_repeats() {
    assert_compares(&NORMAL, false);
    assert_compares(
        &normal::PayRedirectPreSign {
            prepay_id: PREPAY_ID,
            contract: NORMAL,
        },
        false,
    );
    assert_compares(&ECOMMERCE, false);
    assert_compares(
        &ecommerce::PayRedirectPreSign {
            prepay_id: PREPAY_ID,
            contract: ECOMMERCE,
        },
        false,
    );
    assert_compares(&SERVICE_PROVIDER, true);
    assert_compares(
        &service_provider::PayRedirectPreSign {
            prepay_id: PREPAY_ID,
            contract: SERVICE_PROVIDER,
        },
        true,
    );
    assert_compares(&QS, true);
    assert_compares(
        &qs::PayRedirectPreSign {
            prepay_id: PREPAY_ID,
            contract: QS,
        },
        true,
    );
    assert_compares(&QUERY, false);
    assert_compares(&TERMINATE, false);
}

/// Sends `answer` as the response to the request on the next connection.
fn serve(listener: &TcpListener, answer: &[u8]) {
    let (mut stream, _) = listener.accept().unwrap();
    read_request(&mut stream);
    stream.write_all(answer).unwrap();
}

fn read_request(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).unwrap();
}

/// Returns a complete response, correctly signed at [`NOW`].
fn signed(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n".to_vec();
    for (name, value) in Headers::signed(body.as_bytes()).pairs() {
        answer.extend_from_slice(name.as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    answer
}

#[test]
fn a_replayed_response_about_another_contract_is_a_mismatch() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::builder(merchant_signer(), verifier())
        .host(format!("http://{}", listener.local_addr().unwrap()))
        .clock(|| at(NOW))
        .build()
        .unwrap();
    // The same bytes for every request.
    let replayed = signed(&answer());
    fn ask<E: Endpoint>(
        client: &Client,
        listener: &TcpListener,
        answer: &[u8],
        endpoint: &E,
    ) -> Option<Error> {
        thread::scope(|scope| {
            let server = scope.spawn(|| serve(listener, answer));
            let result = client.send(endpoint);
            server.join().unwrap();
            result.err()
        })
    }
    let asked = |code| {
        let pre_sign = ecommerce::MiniProgramPreSign {
            out_contract_code: code,
            ..ECOMMERCE
        };
        let query = QueryContract {
            out_contract_code: code,
            ..QUERY
        };
        let terminate = TerminateContract {
            out_contract_code: code,
            ..TERMINATE
        };
        [
            ask(&client, &listener, &replayed, &pre_sign),
            ask(&client, &listener, &replayed, &query),
            ask(&client, &listener, &replayed, &terminate),
        ]
    };
    for error in asked(CODE) {
        assert!(error.is_none(), "{error:?}");
    }
    for error in asked("another1") {
        let error = error.unwrap();
        assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert_eq!(error.request_id(), Some("08F78BB5AF0610D3"));
        assert_eq!(
            chain(&error),
            [
                "a verified response belongs to another request; the request may have taken effect",
                r#"out_contract_code: sent "another1", received "wxwtdk20200910100000""#,
            ]
        );
    }
}

/// The status is not signed. The body of an error under status 200 is no response of any type of this crate.
#[test]
fn a_signed_error_is_no_typed_response_whatever_its_status() {
    fn under_200<R: serde::de::DeserializeOwned>(body: &Value) -> Result<R, Error> {
        let body = body.to_string();
        let headers = Headers::signed(body.as_bytes());
        merchant().accept(200, headers.pairs(), body.as_bytes(), at(NOW))
    }
    #[track_caller]
    fn assert_typed<E: Endpoint>(_: &E, right: &Value) {
        assert!(under_200::<E::Response>(right).is_ok());
        let error = json!({"code": "NO_AUTH", "message": "商户无权限"});
        let told = under_200::<E::Response>(&error).err().unwrap();
        assert!(matches!(told, Error::Decode { .. }), "{told:?}");
        assert_eq!(told.outcome(), Outcome::Unknown);
        assert!(under_200::<Value>(&error).is_ok());
    }
    assert_typed(&ECOMMERCE, &answer());
    assert_typed(&SERVICE_PROVIDER, &answer());
    assert_typed(
        &ecommerce::PayRedirectPreSign {
            prepay_id: PREPAY_ID,
            contract: ECOMMERCE,
        },
        &answer(),
    );
    assert_typed(
        &service_provider::PayRedirectPreSign {
            prepay_id: PREPAY_ID,
            contract: SERVICE_PROVIDER,
        },
        &answer(),
    );
    assert_typed(&QUERY, &answer());
    assert_typed(&TERMINATE, &answer());
    let order = order::JsapiOrder {
        appid: "wxd678efh567hg6787",
        mchid: "1900000109",
        description: "Image形象店-深圳腾大-QQ公仔",
        out_trade_no: "1217752501201407033233368018",
        notify_url: URL,
        amount: order::Amount::fen(100),
        payer: order::Payer { openid: OPENID },
        contract_info: order::ContractInfo::PasswordFreeContractId("201710180325670965"),
        options: order::OrderOptions::default(),
    };
    assert_typed(&order, &json!({"prepay_id": PREPAY_ID}));
}
