//! WeChat Pay's side of an exchange, with ring alone: signs responses, and makes clients that can verify them.
// Each program that includes this file uses a part of it.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::{Client, ClientBuilder, PrivateKey, PublicKey, Signer, Verifier};

use crate::tls_server::{Answer, Authority, Leaf, TlsServer};

pub(crate) const MCHID: &str = "1900000109";
pub(crate) const SERIAL_NO: &str = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1";
pub(crate) const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0000000000000024101100397200000006";
pub(crate) const MERCHANT_KEY: &str = include_str!("../../src/sandbox/keys/merchant_key.pem");
const PLATFORM_KEY: &str = include_str!("../../src/sandbox/keys/platform_key.pem");

/// The APIv3 key of Tencent's published vector.
pub(crate) const API_V3_KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";

/// The decrypted content of a notification.
pub(crate) const CONTRACT_SIGNED: &str = include_str!("../notification/content.json");

/// The body of a response to [`PRE_SIGN`].
pub(crate) const SESSION: &str = r#"{"pre_entrustweb_id":"5778aadY9nltAsZzXixCkFIGYnV2V","mchid":"1900000109","service_id":12535,"out_contract_code":"wxwtdk20200910100000","sign_mp_appid":"wxbd687630cd02ce1d","sign_mp_path":"pages/PwdExemptContract/index"}"#;

pub(crate) const PRE_SIGN: MiniProgramPreSign<'static> = MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: "wxwtdk20200910100000",
    notify_url: "https://yourapp.com/notify",
    contract_display_account: "微信代扣用户A",
    openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
};

/// WeChat Pay's signing key.
pub(crate) struct Platform {
    key: RsaKeyPair,
}

impl Platform {
    pub(crate) fn new() -> Self {
        let key = RsaKeyPair::from_pkcs8(&der(PLATFORM_KEY)).unwrap();
        Self { key }
    }

    /// Returns the public key as PKCS#1, which ring needs to verify.
    pub(crate) fn public_der(&self) -> &[u8] {
        self.key.public().as_ref()
    }

    /// Returns the public key as `BEGIN RSA PUBLIC KEY`.
    pub(crate) fn public_pem(&self) -> String {
        let text = STANDARD.encode(self.public_der());
        format!("-----BEGIN RSA PUBLIC KEY-----\n{text}\n-----END RSA PUBLIC KEY-----\n")
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey::from_pem(PUBLIC_KEY_ID, self.public_pem()).unwrap()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> String {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .unwrap();
        STANDARD.encode(signature)
    }

    /// Returns the headers of a response with this body, signed now. `Content-Length` is not among them. A real
    /// response has 16 headers, these and `Content-Length`.
    pub(crate) fn headers(&self, body: &str) -> Vec<(&'static str, String)> {
        let timestamp = unix_seconds(SystemTime::now()).to_string();
        let nonce = "c5ac7061fccab6bf3e254dcf98995b8c";
        let signature = self.sign(format!("{timestamp}\n{nonce}\n{body}\n").as_bytes());
        vec![
            ("Server", "nginx".to_owned()),
            ("Date", "Thu, 10 Sep 2020 05:29:36 GMT".to_owned()),
            ("Content-Type", "application/json; charset=utf-8".to_owned()),
            ("Keep-Alive", "timeout=8".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("Strict-Transport-Security", "max-age=31536000".to_owned()),
            ("Vary", "Accept-Encoding".to_owned()),
            (
                "Cache-Control",
                "no-cache, must-revalidate, no-store".to_owned(),
            ),
            ("Request-ID", "08F78BB5AF0610D302189D9CC9".to_owned()),
            ("Content-Language", "zh-CN".to_owned()),
            ("Wechatpay-Nonce", nonce.to_owned()),
            ("Wechatpay-Serial", PUBLIC_KEY_ID.to_owned()),
            ("Wechatpay-Signature", signature),
            (
                "Wechatpay-Signature-Type",
                "WECHATPAY2-SHA256-RSA2048".to_owned(),
            ),
            ("Wechatpay-Timestamp", timestamp),
        ]
    }

    /// Returns a complete response, signed now and valid for 5 minutes.
    pub(crate) fn answer(&self, status: u16, body: &str) -> Answer {
        let headers = self.headers(body);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Answer::http(status, &headers, body.as_bytes())
    }

    /// Returns the body of a notification with this content, encrypted with [`API_V3_KEY`].
    pub(crate) fn notification(content: &str) -> String {
        let nonce = "uluk4a9R25RW";
        let key = UnboundKey::new(&AES_256_GCM, API_V3_KEY.as_bytes()).unwrap();
        let mut sealed = content.as_bytes().to_vec();
        LessSafeKey::new(key)
            .seal_in_place_append_tag(
                Nonce::try_assume_unique_for_key(nonce.as_bytes()).unwrap(),
                Aad::from("entrust"),
                &mut sealed,
            )
            .unwrap();
        let ciphertext = STANDARD.encode(sealed);
        serde_json::json!({
            "id": "EV-2018022511223320873",
            "create_time": "2020-09-10T13:29:36+08:00",
            "resource_type": "encrypt-resource",
            "event_type": "ENTRUST.SIGN",
            "summary": "签约结果通知",
            "resource": {
                "original_type": "entrust",
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": ciphertext,
                "associated_data": "entrust",
                "nonce": nonce,
            },
        })
        .to_string()
    }

    pub(crate) fn signer(&self) -> Signer {
        let key = PrivateKey::from_pem(MERCHANT_KEY).unwrap();
        Signer::new(MCHID, SERIAL_NO, key).unwrap()
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new([self.public_key()]).unwrap()
    }

    /// Returns a builder of clients that connect to `address` for `localhost`.
    pub(crate) fn client(&self, authority: &Authority, address: SocketAddr) -> ClientBuilder {
        Client::builder(self.signer(), self.verifier())
            .host("https://localhost")
            .root_certificates(authority.pem())
            .resolver(move |_, _| Ok(vec![address]))
    }
}

/// Returns a server that responds to every request with [`SESSION`] over TLS, and a client for it.
pub(crate) fn server_and_client() -> (TlsServer, Client) {
    let authority = Authority::new();
    let platform = Platform::new();
    let answer = platform.answer(200, SESSION);
    let server = TlsServer::start(&authority, &Leaf::default(), move |_| answer.clone());
    let client = platform
        .client(&authority, server.address())
        .build()
        .unwrap();
    (server, client)
}

/// Returns the content of a PEM block.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    let text: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    STANDARD.decode(text).unwrap()
}

pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}
