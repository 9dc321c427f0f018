//! The merchant's identity: what it is made of, what it shows, and who may sign in its place.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use wechatpay_contract::{Cause, Error, Merchant, Outcome, PrivateKey, Request, Signer};

use crate::support::{
    NONCE, NOW, PRIVATE, at, chain, installed, merchant_signer, text, vectors, verifier,
};

const MCHID: &str = "1900007291";
const SERIAL_NO: &str = "408B07E79B8269FEC3D5D3E6AB8ED163A6A380DB";

fn key() -> PrivateKey {
    PrivateKey::from_pem(PRIVATE).unwrap()
}

/// Asks the `openssl` command for the signature with the platform's key.
fn openssl_sign(message: &[u8]) -> Result<Vec<u8>, Cause> {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/platform/private.pem");
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign", key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    openssl.stdin.take().ok_or("no stdin")?.write_all(message)?;
    let output = openssl.wait_with_output()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err("openssl failed".into()),
    }
}

#[test]
fn identity_is_shown_as_it_is_written_into_the_header() {
    let signer = Signer::new(MCHID, SERIAL_NO.to_lowercase(), key()).unwrap();
    assert_eq!(signer.mchid(), MCHID);
    assert_eq!(signer.serial_no(), SERIAL_NO);
}

#[test]
fn mchid_is_1_to_32_digits() {
    for mchid in ["1", MCHID, &"9".repeat(32)] {
        assert_eq!(Signer::new(mchid, SERIAL_NO, key()).unwrap().mchid(), mchid);
    }
    let cases = [
        ("", "is empty"),
        ("19000072a1", "found the character 'a'"),
        ("1900007291\"", "found the character '\"'"),
        ("1900007291\n", "found the character '\\n'"),
        ("1900007291\r", "found the character '\\r'"),
        (" 1900007291", "found the character ' '"),
        ("-1900007291", "found the character '-'"),
        ("１９００", "found the character '１'"),
        (&"9".repeat(33), "found 33 characters"),
    ];
    for (mchid, found) in cases {
        let error = Signer::new(mchid, SERIAL_NO, key()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("mchid: {found}: wanted the merchant id, 1 to 32 digits")
        );
    }
}

#[test]
fn serial_no_is_1_to_40_hexadecimal_digits() {
    for serial_no in ["0", "5a", SERIAL_NO, &SERIAL_NO.to_lowercase()] {
        let signer = Signer::new(MCHID, serial_no, key()).unwrap();
        assert_eq!(signer.serial_no(), serial_no.to_uppercase());
    }
    let cases = [
        ("", "is empty"),
        ("40:8B:07", "found the character ':'"),
        ("0x408B07", "found the character 'x'"),
        ("408B07\"", "found the character '\"'"),
        ("408B07\n", "found the character '\\n'"),
        ("408B07 ", "found the character ' '"),
        (&"A".repeat(41), "found 41 characters"),
    ];
    for (serial_no, found) in cases {
        let error = Signer::new(MCHID, serial_no, key()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "serial_no: {found}: wanted the serial number of the merchant's API certificate, 1 to 40 \
                 hexadecimal digits"
            )
        );
    }
}

#[test]
fn platform_key_id_in_place_of_the_serial_no_is_told() {
    let error = Signer::new(MCHID, crate::support::KEY_ID, key()).unwrap_err();
    assert_eq!(error.field(), "serial_no");
    assert_eq!(
        error.problem(),
        "found the id of a platform key, PUB_KEY_ID_...: wanted the serial number of the merchant's own API certificate"
    );
}

#[test]
fn a_signer_from_a_function_is_checked_alike() {
    let refused = |mchid, serial_no| {
        let signer = Signer::from_function(mchid, serial_no, openssl_sign);
        signer.unwrap_err().field().to_owned()
    };
    assert_eq!(refused("", SERIAL_NO), "mchid");
    assert_eq!(refused(MCHID, "x"), "serial_no");
}

#[test]
fn arguments_mixed_up_give_no_secret_away() {
    let api_v3_key = text(&vectors()["aes_256_gcm"]["key"]).to_owned();
    for error in [
        Signer::new(api_v3_key.as_str(), SERIAL_NO, key()).unwrap_err(),
        Signer::new(MCHID, api_v3_key.as_str(), key()).unwrap_err(),
        Signer::new(PRIVATE, SERIAL_NO, key()).unwrap_err(),
        Signer::new(MCHID, PRIVATE, key()).unwrap_err(),
    ] {
        let shown = format!("{error} {error:?}");
        assert!(shown.len() < 400, "{shown}");
        assert!(!shown.contains(&api_v3_key[1..5]), "{shown}");
        assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    }
}

#[test]
fn debug_shows_the_identity_and_no_key() {
    assert_eq!(
        format!("{:?}", merchant_signer()),
        format!("Signer {{ mchid: {MCHID:?}, serial_no: {SERIAL_NO:?}, .. }}")
    );
    let merchant = Merchant::new(merchant_signer(), verifier()).unwrap();
    let shown = format!("{merchant:?}");
    assert!(shown.contains("Signer { mchid: \"1900007291\""), "{shown}");
    let secret = text(&vectors()["private_key_pem"]).to_owned();
    for line in secret.lines() {
        assert!(!shown.contains(line), "{shown}");
    }
}

#[test]
fn clones_share_the_key() {
    let signer = merchant_signer();
    let signature = signer.clone().sign(b"message").unwrap();
    assert_eq!(signer.sign(b"message").unwrap(), signature);
}

#[test]
fn a_function_and_a_key_sign_alike() {
    if !installed("openssl") {
        return;
    }
    // PKCS#1 v1.5 has nothing random in it.
    let ours = Signer::new(MCHID, SERIAL_NO, key()).unwrap();
    let openssl = Signer::from_function(MCHID, SERIAL_NO, openssl_sign).unwrap();
    for message in [&b""[..], b"message", &[0, 10, 13, 255], &[b'x'; 10_000]] {
        assert_eq!(ours.sign(message).unwrap(), openssl.sign(message).unwrap());
    }
    let request = Request::get("/v3/certificates");
    let headers = |signer: &Signer| {
        let merchant = Merchant::new(signer.clone(), verifier()).unwrap();
        let signed = merchant.prepare(&request, at(NOW), NONCE).unwrap();
        let headers = signed.headers().map(|(_, value)| value.to_owned());
        headers.collect::<Vec<_>>()
    };
    assert_eq!(headers(&ours), headers(&openssl));
}

#[test]
fn the_function_gets_the_message_of_the_request() {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let signer = Signer::from_function(MCHID, SERIAL_NO, move |message| {
        sender.lock().unwrap().send(message.to_owned())?;
        Ok(vec![0xFF; 256])
    });
    let merchant = Merchant::new(signer.unwrap(), verifier()).unwrap();
    let request = Request::post("/v3/a/{b}")
        .path("b", "c/d")
        .query("e", "f")
        .json("g");
    let _signed = merchant.prepare(&request, at(NOW), NONCE).unwrap();
    assert_eq!(
        String::from_utf8(receiver.recv().unwrap()).unwrap(),
        format!("POST\n/v3/a/c%2Fd?e=f\n{NOW}\n{NONCE}\n\"g\"\n")
    );
}

#[test]
fn a_function_that_fails_is_the_source() {
    let signer = Signer::from_function(MCHID, SERIAL_NO, |_| Err("the module is locked".into()));
    let merchant = Merchant::new(signer.unwrap(), verifier()).unwrap();
    let request = Request::get("/v3/certificates");
    for error in [
        merchant.prepare(&request, at(NOW), NONCE).unwrap_err(),
        merchant.signer().sign(b"message").unwrap_err(),
    ] {
        assert!(matches!(error, Error::Sign(_)), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotSent);
        assert_eq!(error.request_id(), None);
        assert_eq!(
            chain(&error),
            [
                "the request could not be signed; nothing was sent",
                "the module is locked"
            ]
        );
    }
}

#[test]
fn a_function_that_returns_no_signature_is_told() {
    if !installed("openssl") {
        return;
    }
    let hex = |signature: &[u8]| {
        signature.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let right = openssl_sign(b"message").unwrap();
    let base64 = Signer::new(MCHID, SERIAL_NO, key())
        .unwrap()
        .sign(b"message")
        .unwrap();
    let cases = [
        (vec![], "0 bytes"),
        (vec![0xFF; 255], "255 bytes"),
        (vec![0xFF; 513], "513 bytes"),
        (base64.into_bytes(), "344 bytes of text"),
        (hex(&right).into_bytes(), "512 bytes of text"),
    ];
    for (returned, found) in cases {
        let signer = Signer::from_function(MCHID, SERIAL_NO, move |_| Ok(returned.clone()));
        let error = signer.unwrap().sign(b"message").unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSent);
        assert_eq!(
            chain(&error)[1..],
            [format!(
                "the signing function returned {found}: wanted the raw RSA signature of 256 to 512 bytes"
            )]
        );
    }
    let signer = Signer::from_function(MCHID, SERIAL_NO, move |_| Ok(right.clone()));
    let expected = Signer::new(MCHID, SERIAL_NO, key())
        .unwrap()
        .sign(b"message");
    assert_eq!(signer.unwrap().sign(b"message").unwrap(), expected.unwrap());
}
