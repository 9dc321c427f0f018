//! Signers: their merchant id and serial number, what they show, and functions that sign in the place of a key.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use wechatpay_contract::{Cause, Error, Merchant, Outcome, PrivateKey, PublicKey, Request, Signer};

use crate::support::{
    NONCE, NOW, OTHER_PRIVATE, PRIVATE, at, chain, installed, merchant_signer, text, vectors,
    verifier,
};

const MCHID: &str = "1900007291";
const SERIAL_NO: &str = "408B07E79B8269FEC3D5D3E6AB8ED163A6A380DB";

fn key() -> PrivateKey {
    PrivateKey::from_pem(OTHER_PRIVATE).unwrap()
}

/// Asks the `openssl` command for the signature with the same key.
fn openssl_sign(message: &[u8]) -> Result<Vec<u8>, Cause> {
    let key = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/platform/other_private.pem"
    );
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
fn mchid_and_serial_number_are_shown_as_they_are_sent() {
    let signer = Signer::new(MCHID, SERIAL_NO.to_lowercase(), key()).unwrap();
    assert_eq!(signer.mchid(), MCHID);
    assert_eq!(signer.serial_no(), SERIAL_NO);
}

#[test]
fn an_mchid_that_is_not_1_to_31_digits_is_refused() {
    for mchid in ["1", MCHID, &"9".repeat(31)] {
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
        // An APIv3 key of digits alone.
        (&"12".repeat(16), "found 32 characters"),
        (&"9".repeat(33), "found 33 characters"),
    ];
    for (mchid, found) in cases {
        let error = Signer::new(mchid, SERIAL_NO, key()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("mchid: {found}: wanted the merchant id, digits only, such as 1900000109")
        );
    }
}

#[test]
fn a_serial_number_is_sent_in_whole_bytes_and_any_other_text_is_refused() {
    let zeros = format!("{SERIAL_NO:0>64}");
    for (serial_no, sent) in [
        ("0", "00"),
        ("5a", "5A"),
        ("a1b", "0A1B"),
        (SERIAL_NO, SERIAL_NO),
        (&SERIAL_NO.to_lowercase(), SERIAL_NO),
        (&zeros, SERIAL_NO),
    ] {
        let signer = Signer::new(MCHID, serial_no, key()).unwrap();
        assert_eq!(signer.serial_no(), sent);
    }
    let like_an_api_v3_key = "32 letters and digits, as many as an APIv3 key has";
    let cases = [
        ("", "nothing"),
        ("40:8B:07", "the character ':'"),
        ("0x408B07", "0x in front of a value"),
        (
            "serial=408B07",
            "a label such as serial= in front of a value",
        ),
        ("408B07\"", "the character '\"'"),
        ("408B07\n", "spaces or line breaks around a value"),
        ("408B07 ", "spaces or line breaks around a value"),
        (&"A".repeat(41), "41 digits"),
        ("0123456789abcdef0123456789abcdef", like_an_api_v3_key),
        ("0123456789ABCDEF0123456789abcdeF", like_an_api_v3_key),
        ("a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb", like_an_api_v3_key),
        (
            crate::support::KEY_ID,
            "a malformed or misplaced PUB_KEY_ID_",
        ),
        (
            "0117000000002025010100000000000001",
            "34 digits, as a public key's id has behind PUB_KEY_ID_",
        ),
    ];
    for (serial_no, found) in cases {
        let error = Signer::new(MCHID, serial_no, key()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "serial_no: found {found}: wanted the serial number of the merchant's own API certificate, 1 to 40 \
                 hexadecimal digits"
            )
        );
    }
}

#[test]
fn a_certificate_gives_its_serial_number_to_the_signer_of_its_key() {
    let read = |name: &str| format!("{}/tests/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let certificate = |name: &str| PublicKey::from_certificate_file(read(name)).unwrap();
    let own = || PrivateKey::from_pem(text(&vectors()["private_key_pem"])).unwrap();
    let certificate_of_own = certificate("platform/certificate_merchant");
    let signer = Signer::from_certificate(MCHID, &certificate_of_own, own()).unwrap();
    assert_eq!(signer.serial_no(), SERIAL_NO);
    // 16 bytes, which would be refused as text.
    let key = PrivateKey::from_file(read("keys/rsa2048_pkcs8")).unwrap();
    let short = certificate("keys/certificate_serial_of_16_bytes");
    let signer = Signer::from_certificate(MCHID, &short, key).unwrap();
    assert_eq!(signer.serial_no().len(), 32);

    let refused = |mchid, certificate: &PublicKey| {
        let error = Signer::from_certificate(mchid, certificate, own()).unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSent);
        error.to_string()
    };
    assert_eq!(
        refused(MCHID, &certificate("platform/certificate_current")),
        "the certificate 11111111111111111111111111111111111111AA belongs to another private key: wanted \
         apiclient_cert.pem and apiclient_key.pem of the same merchant, issued together"
    );
    let public = PublicKey::from_file(SERIAL_NO, read("platform/merchant_public")).unwrap();
    assert_eq!(
        refused(MCHID, &public),
        "found BEGIN PUBLIC KEY: wanted the merchant's certificate (apiclient_cert.pem), BEGIN CERTIFICATE"
    );
    assert_eq!(
        refused("", &certificate_of_own),
        "mchid: is empty: wanted the merchant id, digits only, such as 1900000109"
    );
}

#[test]
fn a_signer_from_a_function_is_checked_alike() {
    let refused = |mchid, serial_no| {
        let signer = Signer::from_function(mchid, serial_no, openssl_sign);
        signer.unwrap_err().setting().to_owned()
    };
    assert_eq!(refused("", SERIAL_NO), "mchid");
    assert_eq!(refused(MCHID, "x"), "serial_no");
}

#[test]
fn mixed_up_arguments_are_not_shown() {
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
fn the_error_of_a_function_is_the_source() {
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
fn a_function_that_returns_no_signature_is_an_error() {
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
