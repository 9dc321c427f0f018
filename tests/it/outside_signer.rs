//! A merchant's key that lives elsewhere: the `openssl` command signs in its place. When that fails nothing is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{Cause, Client, Error, Outcome, Signer, ecommerce};

use crate::support::{chain, installed, openssl};

const PRE_SIGN: ecommerce::MiniProgramPreSign<'_> = ecommerce::MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: "wxwtdk20200910100000",
    notify_url: "https://yourapp.com/notify",
    contract_display_account: "微信代扣用户A",
    openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
};

fn client<F>(sandbox: &Sandbox, sign: F) -> Client
where
    F: Fn(&[u8]) -> Result<Vec<u8>, Cause> + Send + Sync + 'static,
{
    let signer = Signer::from_function(Sandbox::MCHID, Sandbox::MERCHANT_SERIAL_NO, sign).unwrap();
    Client::builder(signer, sandbox.verifier())
        .host(sandbox.url())
        .build()
        .unwrap()
}

fn sign_with_openssl(message: &[u8]) -> Vec<u8> {
    let key = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/sandbox/keys/merchant_key.pem"
    );
    openssl(&["dgst", "-sha256", "-sign", key], message)
}

#[test]
fn the_sandbox_accepts_what_openssl_signed() {
    if !installed("openssl") {
        return;
    }
    let sandbox = Sandbox::start().unwrap();
    let signed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&signed);
    let client = client(&sandbox, move |message| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(sign_with_openssl(message))
    });
    let session = client.send(&PRE_SIGN).unwrap();
    assert_eq!(session.out_contract_code, PRE_SIGN.out_contract_code);
    assert_eq!(signed.load(Ordering::SeqCst), 1);
    assert!(client.self_test().is_success());
}

#[test]
fn a_signature_over_another_message_is_refused_by_the_sandbox() {
    if !installed("openssl") {
        return;
    }
    let sandbox = Sandbox::start().unwrap();
    let client = client(&sandbox, |message| {
        Ok(sign_with_openssl(&[message, b"\n"].concat()))
    });
    match client.send(&PRE_SIGN).unwrap_err() {
        Error::Api(error) => assert_eq!((error.status, &*error.code), (401, "SIGN_ERROR")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_sent_when_the_function_fails() {
    let sandbox = Sandbox::start().unwrap();
    let failing = client(&sandbox, |_| Err("the key service is down".into()));
    let short = client(&sandbox, |_| Ok(vec![0xFF; 255]));
    for (client, reason) in [
        (failing, "the key service is down"),
        (
            short,
            "the signing function returned 255 bytes: wanted the raw RSA signature of 256 to 512 bytes",
        ),
    ] {
        let error = client.send(&PRE_SIGN).unwrap_err();
        assert!(matches!(error, Error::Sign(_)), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotSent);
        assert_eq!(
            chain(&error),
            ["the request could not be signed; nothing was sent", reason]
        );
    }
    assert!(sandbox.requests().is_empty());
    assert_eq!(sandbox.connections_accepted(), 0);
}
