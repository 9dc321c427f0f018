//! A program that brings its own HTTP stack: signs a request with nothing but the core.

use std::error::Error;
use std::time::SystemTime;

use wechatpay_contract::{Endpoint, Merchant, PrivateKey, PublicKey, QueryContract, Signer, Verifier};

fn main() -> Result<(), Box<dyn Error>> {
    let signer = Signer::new(
        "1900000109",
        "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
        PrivateKey::from_pem(std::fs::read("apiclient_key.pem")?)?,
    )?;
    let verifier = Verifier::new([PublicKey::from_pem(
        "PUB_KEY_ID_0000000000000024101100397200000006",
        std::fs::read("pub_key.pem")?,
    )?])?;
    let query = QueryContract {
        service_id: 12535,
        out_contract_code: "wxwtdk20200910100000",
    };
    let merchant = Merchant::new(signer, verifier)?;
    let request = query.request()?;
    let signed = merchant.prepare(&request, SystemTime::now(), "593BEC0C930BF1AFEB40B4A08C8FB242")?;
    println!("{} {}", signed.method(), signed.target());
    for (name, _) in signed.headers() {
        println!("{name}: …");
    }
    Ok(())
}
