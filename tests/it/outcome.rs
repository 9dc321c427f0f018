//! The table of failures and outcomes in the documentation of `Outcome`, row by row.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::sandbox::{Fault, Sandbox, Signing};
use wechatpay_contract::{
    ApiV3Key, Client, ClientBuilder, Error, PrivateKey, Request, Signer, Verifier, certificates,
};

use crate::failover::{CLOSED_PORT, plain_server};
use crate::pre_sign::PRE_SIGN;
use crate::support::{EXPIRED, Headers, NOW, at, certificate, verifier};

/// The rows of the table, as failure, error and outcome.
fn rows() -> Vec<[String; 3]> {
    let source = include_str!("../../src/error/mod.rs");
    let lines = source
        .lines()
        .skip_while(|line| *line != "/// |---|---|---|");
    let rows = lines.skip(1).map_while(|line| line.strip_prefix("/// | "));
    let name = |cell: &str| {
        let text = cell.trim_start_matches("[`").split_once('`').unwrap().0;
        text.trim_start_matches("Error::").to_owned()
    };
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        [cells[0].to_owned(), name(cells[1]), name(cells[2])]
    })
    .collect()
}

/// What a failure of each row looks like, in the order of the rows.
fn failures(row: usize) -> Vec<Error> {
    match row {
        0 => invalid_fields(),
        1 => vec![invalid_setting()],
        2 => vec![
            PrivateKey::from_pem("no key").unwrap_err().into(),
            Verifier::new([]).unwrap_err().into(),
        ],
        3 => vec![no_platform_key()],
        4 => vec![no_certificates()],
        5 => vec![signing_function()],
        6 => no_connection(),
        7 => under([
            Fault::Close { took_effect: true },
            Fault::CloseAfterHead,
            Fault::CutBody,
        ]),
        8 => vec![too_late()],
        9 => under([
            Fault::Raw(b"220 mail.example ESMTP\r\n".to_vec()),
            Fault::LargeBody {
                length: 1024 * 1024 + 1,
            },
        ]),
        10 => under([
            Fault::Signature(Signing::Missing),
            Fault::EmptyBody {
                status: 204,
                took_effect: true,
            },
        ]),
        11 => wrong_signatures(),
        12 => under([Fault::Accepted]),
        13 => under([Fault::Body(another_session())]),
        14 => vec![unusable_list()],
        15 => under([Fault::Body(b"{}".to_vec())]),
        16 => answered(&[400, 401, 403, 404, 429]),
        17 => answered(&[405, 406, 411, 413, 414, 415, 417, 431]),
        18 => {
            let refused = [
                400, 401, 403, 404, 429, 405, 406, 411, 413, 414, 415, 417, 431,
            ];
            // A 304 cannot bring the body that the sandbox signs.
            let others = (300..500).filter(|s| !refused.contains(s) && *s != 304);
            let others: Vec<u16> = others.collect();
            let mut errors = answered(&others);
            errors.extend(under(
                [400, 401, 403, 404, 429, 405]
                    .into_iter()
                    .flat_map(without_code),
            ));
            errors
        }
        19 => answered(&(500..600).collect::<Vec<_>>()),
        row => panic!("no failure for row {row}"),
    }
}

#[test]
fn each_row_is_so() {
    let rows = rows();
    assert_eq!(rows.len(), 20);
    for (number, [failure, variant, outcome]) in rows.iter().enumerate() {
        for error in failures(number) {
            let debug = format!("{error:?}");
            assert!(debug.starts_with(variant.as_str()), "{failure}: {debug}");
            assert_eq!(
                format!("{:?}", error.outcome()),
                *outcome,
                "{failure}: {debug}"
            );
        }
    }
}

fn invalid_fields() -> Vec<Error> {
    let sandbox = Sandbox::start().unwrap();
    let field = MiniProgramPreSign {
        out_contract_code: "not-allowed",
        ..PRE_SIGN
    };
    vec![
        sandbox.client().send(&field).unwrap_err(),
        sandbox
            .client()
            .execute::<Value>(Request::get("/v3/{id}"))
            .unwrap_err(),
    ]
}

fn no_platform_key() -> Error {
    let sandbox = Sandbox::start().unwrap();
    let verifier = Verifier::new([certificate(EXPIRED)]).unwrap();
    failure(Client::builder(sandbox.signer(), verifier).host(sandbox.url()))
}

fn invalid_setting() -> Error {
    let sandbox = Sandbox::start().unwrap();
    sandbox.client_builder().host("no URL").build().unwrap_err()
}

/// The error of the download itself, as an observer is told it.
fn unusable_list() -> Error {
    let body = br#"{"data":1}"#;
    let headers = Headers::signed(body);
    let key = ApiV3Key::new(Sandbox::API_V3_KEY).unwrap();
    certificates::accept(200, headers.pairs(), body, at(NOW), &key, &verifier()).unwrap_err()
}

fn no_certificates() -> Error {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(Fault::error(404, "RESOURCE_NOT_EXISTS").on("GET", "/v3/certificates"));
    let builder = Client::builder(sandbox.signer(), Verifier::without_keys());
    let key = ApiV3Key::new(Sandbox::API_V3_KEY).unwrap();
    failure(builder.platform_certificates(key).host(sandbox.url()))
}

fn signing_function() -> Error {
    let sandbox = Sandbox::start().unwrap();
    let signer = Signer::from_function(Sandbox::MCHID, Sandbox::MERCHANT_SERIAL_NO, |_| {
        Err("the key service is down".into())
    });
    failure(Client::builder(signer.unwrap(), sandbox.verifier()).host(sandbox.url()))
}

fn no_connection() -> Vec<Error> {
    let sandbox = Sandbox::start().unwrap();
    let closed = format!("http://127.0.0.1:{CLOSED_PORT}");
    let builder = || sandbox.client_builder().host(&closed);
    let (plain, server) = plain_server(1);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("https://{}", silent.local_addr().unwrap());
    let errors = vec![
        failure(builder()),
        failure(
            builder()
                .host("https://gateway.invalid")
                .resolver(|_, _| Err(io::ErrorKind::NotFound.into())),
        ),
        failure(builder().backup_host(Some(&closed))),
        failure(
            builder()
                .host("https://gateway.example")
                .proxy(closed.as_str()),
        ),
        failure(builder().host(plain)),
        failure(
            builder()
                .host(silent_url)
                .connect_timeout(Duration::from_millis(50)),
        ),
    ];
    server.join().unwrap();
    errors
}

fn too_late() -> Error {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(Fault::Late(Duration::from_secs(3_600)));
    let builder = sandbox.client_builder();
    failure(
        builder
            .connect_timeout(Duration::from_millis(900))
            .timeout(Duration::from_secs(1)),
    )
}

fn wrong_signatures() -> Vec<Error> {
    let signings = [
        Signing::Wrong,
        Signing::Foreign,
        Signing::Probe,
        Signing::Stale,
        Signing::Future,
        Signing::UnknownSerial,
    ];
    let errors = [400, 429, 500].map(|status| {
        signings.map(|signing| Fault::Error {
            status,
            code: "CODE".to_owned(),
            signing,
            took_effect: false,
        })
    });
    under(
        signings
            .map(Fault::Signature)
            .into_iter()
            .chain(errors.into_iter().flatten()),
    )
}

/// The answer to the pre-sign of another contract.
fn another_session() -> Vec<u8> {
    let session = json!({
        "pre_entrustweb_id": "5778aadY9nltAsZzXixCkFIGYnV2V",
        "mchid": Sandbox::MCHID,
        "service_id": PRE_SIGN.service_id,
        "out_contract_code": "another",
        "sign_mp_appid": "wxbd687630cd02ce1d",
        "sign_mp_path": "pages/PwdExemptContract/index",
    });
    session.to_string().into_bytes()
}

fn without_code(status: u16) -> [Fault; 2] {
    [
        Fault::HtmlPage {
            status,
            took_effect: true,
        },
        Fault::EmptyBody {
            status,
            took_effect: true,
        },
    ]
}

/// The errors for answers with these statuses, with a signature and without.
fn answered(statuses: &[u16]) -> Vec<Error> {
    under(statuses.iter().flat_map(|&status| {
        [Signing::Right, Signing::Missing].map(|signing| Fault::Error {
            status,
            code: "CODE".to_owned(),
            signing,
            took_effect: false,
        })
    }))
}

fn under(faults: impl IntoIterator<Item = Fault>) -> Vec<Error> {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox.client();
    let ask = |fault: Fault| {
        sandbox.fault(fault);
        let error = client.send(&PRE_SIGN).unwrap_err();
        sandbox.close_connections();
        error
    };
    faults.into_iter().map(ask).collect()
}

fn failure(builder: ClientBuilder) -> Error {
    builder.build().unwrap().send(&PRE_SIGN).unwrap_err()
}
