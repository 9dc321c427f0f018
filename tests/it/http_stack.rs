//! `Merchant` and `NotificationReceiver` under another HTTP stack: async, with the types of the `http` crate.

use std::collections::HashMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use wechatpay_contract::{
    ApiV3Key, Endpoint, Error, Merchant, NotificationError, NotificationReceiver, Outcome,
    PublicKey, SignatureHeaders, TerminateContract, Verifier, VerifyError,
};

use crate::support::{
    Headers, KEY_ID, NONCE, NOW, PUBLIC, at, merchant, text, vectors, verifier, wrong_signature,
};

const TERMINATE: TerminateContract<'_> = TerminateContract {
    service_id: 12535,
    out_contract_code: "code1",
    contract_termination_remark: "moved",
};

/// Polls a future until it is ready. It needs no waker.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// The shape of a call with reqwest, hyper or another async client.
async fn send<E: Endpoint>(
    merchant: &Merchant,
    endpoint: &E,
    client: impl AsyncFnOnce(Request<Vec<u8>>) -> Response<Vec<u8>>,
) -> Result<E::Response, Error> {
    let request = endpoint.request()?;
    let signed = merchant.prepare(&request, at(NOW), NONCE)?;
    let mut outgoing = Request::builder()
        .method(signed.method().as_str())
        .uri(format!("https://api.mch.weixin.qq.com{}", signed.target()));
    for (name, value) in signed.headers() {
        outgoing = outgoing.header(name, value);
    }
    let body = signed.body().unwrap_or_default().to_vec();
    let response = client(outgoing.body(body).unwrap()).await;
    let status = response.status().as_u16();
    merchant.accept_for(
        endpoint,
        status,
        response.headers(),
        response.body(),
        at(NOW),
    )
}

/// Responses like the platform, after one turn of the executor.
async fn platform(request: Request<Vec<u8>>, body: &[u8]) -> Response<Vec<u8>> {
    let mut was_polled = false;
    std::future::poll_fn(|_| match std::mem::replace(&mut was_polled, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
    assert_eq!(request.headers()["Wechatpay-Serial"], KEY_ID);
    assert!(
        request
            .uri()
            .path()
            .ends_with("/out-contract-code/code1/terminate")
    );
    let mut response = Response::new(body.to_vec());
    *response.headers_mut() = header_map(&Headers::signed(body));
    response
}

fn header_map(headers: &Headers) -> HeaderMap {
    let pairs = headers.pairs().map(|(name, value)| {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, http::HeaderValue::from_bytes(value).unwrap())
    });
    pairs.collect()
}

#[test]
fn an_async_client_sends_what_was_signed_and_reads_what_was_verified() {
    let merchant = merchant();
    let send = |body: &'static [u8]| {
        let client = async move |request| platform(request, body).await;
        block_on(send(&merchant, &TERMINATE, client))
    };
    let right = br#"{"mchid":"1900007291","service_id":12535,"out_contract_code":"code1"}"#;
    assert_eq!(send(right).unwrap().out_contract_code, "code1");

    let other = br#"{"mchid":"1900007291","service_id":12535,"out_contract_code":"code2"}"#;
    let error = send(other).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(error.request_id(), Some("08F78BB5AF0610D3"));
    assert!(matches!(error, Error::Mismatch { source, .. } if source.field == "out_contract_code"));
}

#[test]
fn a_header_map_is_read_by_every_function_that_takes_headers() {
    let headers = header_map(&Headers::signed(b"1"));
    let value: u8 = merchant().accept(200, &headers, b"1", at(NOW)).unwrap();
    assert_eq!(value, 1);
    let read = SignatureHeaders::from_pairs(&headers).unwrap();
    assert_eq!(read.serial(), Some(KEY_ID));
    assert_eq!(verifier().verify(&read, b"1", at(NOW)), Ok(()));
    let mut twice = headers.clone();
    twice.append("wechatpay-nonce", http::HeaderValue::from_static(NONCE));
    let name = "Wechatpay-Nonce";
    assert_eq!(
        SignatureHeaders::from_pairs(&twice).unwrap_err(),
        VerifyError::DuplicateHeader { name }
    );
}

/// As the documentation of `NotificationReceiver` shows it.
fn open(
    receivers: &HashMap<String, NotificationReceiver>,
    headers: &SignatureHeaders<'_>,
    body: &[u8],
) -> Result<String, NotificationError> {
    let id = headers.serial().unwrap_or_default();
    let receiver = receivers
        .get(id)
        .ok_or_else(|| VerifyError::UnknownSerial {
            received: id.to_owned(),
            known: Vec::new(),
        })?;
    let notification = receiver.open_as::<serde_json::Value>(headers, body, at(NOW))?;
    Ok(notification.id)
}

#[test]
fn the_platform_keys_id_picks_one_of_10_000_receivers() {
    const RIGHT: &[u8] = include_bytes!("../notification/signed.json");
    let platform_key = |number: usize| {
        let id = format!("PUB_KEY_ID_{number:034}");
        PublicKey::from_pem(id, PUBLIC).unwrap()
    };
    let right_key = text(&vectors()["aes_256_gcm"]["key"]).to_owned();
    let receivers: HashMap<String, NotificationReceiver> = (0..10_000)
        .map(|number| {
            let api_v3_key = match number {
                4321 => right_key.clone(),
                _ => format!("{number:032}"),
            };
            let verifier = Verifier::new([platform_key(number)]).unwrap();
            NotificationReceiver::new(verifier, ApiV3Key::new(api_v3_key).unwrap())
        })
        .flat_map(|receiver| {
            let ids = receiver.verifier().key_ids();
            ids.into_iter().map(move |id| (id, receiver.clone()))
        })
        .collect();
    assert_eq!(receivers.len(), 10_000);

    let named = |id: &str| Headers::signed(RIGHT).set("Wechatpay-Serial", id);
    let open_named = |id: &str| {
        let headers = named(id);
        let headers = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
        open(&receivers, &headers, RIGHT)
    };
    let id = |number: usize| format!("PUB_KEY_ID_{number:034}");
    let opened = open_named(&id(4321)).unwrap();
    assert!(!opened.is_empty());
    // Another merchant's APIv3 key opens nothing, though here all share one platform key.
    let error = open_named(&id(4322)).unwrap_err();
    assert!(matches!(error, NotificationError::Decrypt), "{error:?}");
    let error = open_named(&id(10_000)).unwrap_err();
    assert!(matches!(
        error,
        NotificationError::Verify(VerifyError::UnknownSerial { .. })
    ));
    assert_eq!(error.reply().status(), 401);
    // The header only selects the receiver. A changed body is refused for its wrong signature.
    let altered = named(&id(4321));
    let altered = SignatureHeaders::from_pairs(altered.pairs()).unwrap();
    let error = open(&receivers, &altered, b"{}").unwrap_err();
    assert!(
        matches!(error, NotificationError::Verify(error) if error == wrong_signature(&id(4321)))
    );

    let began = Instant::now();
    let headers = named(&id(9_999));
    let headers = SignatureHeaders::from_pairs(headers.pairs()).unwrap();
    for _ in 0..10_000 {
        assert!(receivers.contains_key(headers.serial().unwrap()));
    }
    assert!(began.elapsed() < Duration::from_secs(2));
}
