//! A client with the credentials that the environment variables of the examples name.

use std::error::Error;

use wechatpay_contract::{ApiV3Key, Client, PrivateKey, PublicKey, Signer, Verifier};

use crate::common::{optional, variable};

/// Returns a client that verifies with the public key, or in platform-certificate mode if there is only an APIv3 key.
pub(crate) fn client() -> Result<Client, Box<dyn Error>> {
    let private_key = PrivateKey::from_file(variable("WECHATPAY_PRIVATE_KEY")?)?;
    let (mchid, serial_no) = (
        variable("WECHATPAY_MCHID")?,
        variable("WECHATPAY_SERIAL_NO")?,
    );
    let signer = Signer::new(mchid, serial_no, private_key)?;
    let api_v3_key = optional("WECHATPAY_API_V3_KEY");
    let verifier = match optional("WECHATPAY_PUBLIC_KEY_ID") {
        None if api_v3_key.is_some() => Verifier::without_keys(),
        _ => {
            let id = variable("WECHATPAY_PUBLIC_KEY_ID")?;
            Verifier::new([PublicKey::from_file(id, variable("WECHATPAY_PUBLIC_KEY")?)?])?
        }
    };
    let mut builder = Client::builder(signer, verifier);
    if let Some(key) = api_v3_key {
        builder = builder.platform_certificates(ApiV3Key::new(key)?);
    }
    if let Some(host) = optional("WECHATPAY_HOST") {
        builder = builder.host(host);
    }
    Ok(builder.build()?)
}
