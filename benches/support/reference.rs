//! The reference: the pre-sign call as a careful engineer writes it by hand, in one function with ureq and ring. It
//! signs, sends, verifies and deserializes like the crate. It is for this one call of one merchant, and its errors are
//! texts. The file needs nothing of the crate, so that it is built and weighed by itself.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::HeaderMap;
use ureq::tls::{PemItem, RootCerts, TlsConfig};

const PATH: &str = "/v3/password-exempt-contract/contracts/ecommerce/pre-entrust-sign/mini-program";

#[derive(Debug, Serialize)]
pub(crate) struct PreSign<'a> {
    pub(crate) appid: &'a str,
    pub(crate) service_id: u64,
    pub(crate) out_contract_code: &'a str,
    pub(crate) notify_url: &'a str,
    pub(crate) contract_display_account: &'a str,
    pub(crate) openid: &'a str,
}

pub(crate) const PRE_SIGN: PreSign<'static> = PreSign {
    appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: "wxwtdk20200910100000",
    notify_url: "https://yourapp.com/notify",
    contract_display_account: "微信代扣用户A",
    openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
};

#[allow(dead_code)] // Never read, but deserialized.
#[derive(Debug, Deserialize)]
pub(crate) struct Session {
    pub(crate) pre_entrustweb_id: String,
    pub(crate) mchid: String,
    pub(crate) service_id: u64,
    pub(crate) out_contract_code: String,
    pub(crate) sign_mp_appid: String,
    pub(crate) sign_mp_path: String,
}

const MCHID: &str = "1900000109";
const SERIAL_NO: &str = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1";
const PLATFORM_ID: &str = "PUB_KEY_ID_0000000000000024101100397200000006";

/// The merchant and WeChat Pay, as the call knows them.
pub(crate) struct Reference {
    agent: Agent,
    url: String,
    key: RsaKeyPair,
    platform_key: UnparsedPublicKey<Vec<u8>>,
}

impl Reference {
    /// `merchant_key` is a PKCS#8 PEM, `platform_key` a `BEGIN RSA PUBLIC KEY` PEM.
    pub(crate) fn new(
        agent: Agent,
        host: &str,
        merchant_key: &str,
        platform_key: &str,
    ) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            agent,
            url: format!("{host}{PATH}"),
            key: RsaKeyPair::from_pkcs8(&der(merchant_key)?).map_err(|error| error.to_string())?,
            platform_key: UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der(platform_key)?),
        })
    }

    /// The whole call.
    pub(crate) fn call(&self, request: &PreSign<'_>) -> Result<Session, Box<dyn Error>> {
        // Sign.
        let body = serde_json::to_string(request)?;
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut random = [0; 16];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|error| error.to_string())?;
        let nonce = format!("{:032X}", u128::from_be_bytes(random));
        let message = format!("POST\n{PATH}\n{timestamp}\n{nonce}\n{body}\n");
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .map_err(|error| error.to_string())?;
        let authorization = format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{MCHID}\",nonce_str=\"{nonce}\",signature=\"{}\",timestamp=\"{timestamp}\",\
             serial_no=\"{SERIAL_NO}\"",
            STANDARD.encode(signature),
        );

        // Send.
        let mut response = self
            .agent
            .post(&self.url)
            .header("Authorization", authorization)
            .header("Wechatpay-Serial", PLATFORM_ID)
            .header("Accept", "application/json")
            .header("Content-Type", "application/json")
            .header("User-Agent", "reference/0.1.0")
            .send(&body)?;
        let body = response
            .body_mut()
            .with_config()
            .limit(1024 * 1024)
            .read_to_vec()?;

        // Verify.
        let headers = response.headers();
        if header(headers, "Wechatpay-Serial")? != PLATFORM_ID {
            return Err("signed with an unknown key".into());
        }
        let timestamp = header(headers, "Wechatpay-Timestamp")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        if timestamp.parse::<u64>()?.abs_diff(now) >= 300 {
            return Err("the response is too old".into());
        }
        let mut message =
            format!("{timestamp}\n{}\n", header(headers, "Wechatpay-Nonce")?).into_bytes();
        message.extend_from_slice(&body);
        message.push(b'\n');
        let signature = STANDARD.decode(header(headers, "Wechatpay-Signature")?)?;
        self.platform_key
            .verify(&message, &signature)
            .map_err(|error| error.to_string())?;

        // Read.
        if !response.status().is_success() {
            return Err(format!("HTTP {}", response.status()).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

/// The configuration of one agent for all calls. It sets those timeouts of ureq that start no thread.
pub(crate) fn config(roots: Option<&str>) -> Result<Config, Box<dyn Error>> {
    let mut tls = TlsConfig::builder();
    if let Some(pem) = roots {
        let certificates: Vec<_> = ureq::tls::parse_pem(pem.as_bytes())
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        tls = tls.root_certs(RootCerts::from(certificates));
    }
    Ok(Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        // Eight times as large unless set, and filled with zeros.
        .input_buffer_size(16 * 1024)
        .output_buffer_size(16 * 1024)
        .max_idle_connections(64)
        .max_idle_connections_per_host(64)
        .timeout_connect(Some(Duration::from_secs(5)))
        .timeout_send_request(Some(Duration::from_secs(5)))
        .timeout_recv_response(Some(Duration::from_secs(10)))
        .timeout_recv_body(Some(Duration::from_secs(10)))
        .tls_config(tls.build())
        .build())
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Box<dyn Error>> {
    let value = headers
        .get(name)
        .ok_or_else(|| format!("{name} is missing"))?;
    Ok(value.to_str()?)
}

fn der(pem: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let text: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    Ok(STANDARD.decode(text)?)
}
