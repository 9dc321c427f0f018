//! The main job from end to end: pre-signing through the sandbox.

use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    Client, ContractState, Error, Outcome, PrivateKey, QueryContract, Signer, TerminateContract,
};

pub(crate) const PRE_SIGN: MiniProgramPreSign<'static> = MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: "wxwtdk20200910100000",
    notify_url: "https://yourapp.com/notify",
    contract_display_account: "微信代扣用户A",
    openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
};

#[test]
fn a_pre_sign_returns_the_session() {
    let sandbox = Sandbox::start().unwrap();
    let session = sandbox.client().send(&PRE_SIGN).unwrap();

    assert_eq!(session.mchid, Sandbox::MCHID);
    assert_eq!(session.service_id, 12535);
    assert_eq!(session.out_contract_code, "wxwtdk20200910100000");
    assert!(!session.pre_entrustweb_id.is_empty());
    let launch = serde_json::to_value(session.launch()).unwrap();
    assert_eq!(
        launch,
        serde_json::json!({
            "appId": "wxbd687630cd02ce1d",
            "path": "pages/PwdExemptContract/index",
            "extraData": {"pre_entrustweb_id": session.pre_entrustweb_id},
        })
    );
}

#[test]
fn a_code_longer_than_the_inferred_limit_can_be_queried_and_terminated() {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox.client();
    let out_contract_code = &*"c".repeat(33);
    let pre_sign = MiniProgramPreSign {
        out_contract_code,
        ..PRE_SIGN
    };
    client.send(&pre_sign).unwrap();
    sandbox.user_signs(out_contract_code).unwrap();
    let query = QueryContract {
        service_id: pre_sign.service_id,
        out_contract_code,
    };
    let contract = client.send(&query).unwrap();
    assert_eq!(contract.contract_state, ContractState::Signed);
    let terminate = TerminateContract {
        service_id: pre_sign.service_id,
        out_contract_code,
        contract_termination_remark: "用户解约",
    };
    let ended = client.send(&terminate).unwrap();
    assert_eq!(ended.out_contract_code, out_contract_code);
}

#[test]
fn a_request_has_the_documented_headers() {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox
        .client_builder()
        .accept_language("zh-CN")
        .build()
        .unwrap();
    client.send(&PRE_SIGN).unwrap();

    let requests = sandbox.requests();
    let [request] = requests.as_slice() else {
        panic!("{} requests", requests.len());
    };
    let agent = concat!("wechatpay-contract/", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("User-Agent", agent),
        ("Accept", "application/json"),
        ("Accept-Language", "zh-CN"),
        ("Content-Type", "application/json"),
        ("Wechatpay-Serial", Sandbox::PUBLIC_KEY_ID),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    let names = request
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(
        names,
        [
            "accept",
            "accept-language",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "wechatpay-serial"
        ]
    );
}

#[test]
fn two_merchants_in_one_process_use_their_own_keys() {
    let first = Sandbox::start_for("1900000001").unwrap();
    let second = Sandbox::start_for("1900000002").unwrap();
    let (one, two) = (first.client(), second.client());

    assert_eq!(one.send(&PRE_SIGN).unwrap().mchid, "1900000001");
    assert_eq!(two.send(&PRE_SIGN).unwrap().mchid, "1900000002");
    assert_eq!(one.send(&PRE_SIGN).unwrap().mchid, "1900000001");

    let crossed = Client::builder(first.signer(), second.verifier())
        .host(second.url())
        .build()
        .unwrap();
    let error = crossed.send(&PRE_SIGN).unwrap_err();
    let Error::Api(api) = &error else {
        panic!("{error:?}");
    };
    assert_eq!((api.status, api.code.as_str()), (401, "SIGN_ERROR"));
    assert_eq!(error.outcome(), Outcome::Refused);
}

#[test]
fn one_client_serves_eight_threads() {
    let sandbox = Sandbox::start().unwrap();
    let client = sandbox.client();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for call in 0..5 {
                    let code = format!("code{thread}x{call}");
                    let session = client
                        .send(&MiniProgramPreSign {
                            out_contract_code: &code,
                            ..PRE_SIGN
                        })
                        .unwrap();
                    assert_eq!(session.out_contract_code, code);
                }
            });
        }
    });
    assert_eq!(sandbox.requests().len(), 40);
}

#[test]
fn a_signer_with_another_key_is_refused() {
    let sandbox = Sandbox::start().unwrap();
    let other = include_str!("../keys/rsa2048_pkcs8.pem");
    let signer = Signer::new(
        Sandbox::MCHID,
        Sandbox::MERCHANT_SERIAL_NO,
        PrivateKey::from_pem(other).unwrap(),
    )
    .unwrap();
    let client = Client::builder(signer, sandbox.verifier())
        .host(sandbox.url())
        .build()
        .unwrap();
    let error = client.send(&PRE_SIGN).unwrap_err();
    let Error::Api(api) = &error else {
        panic!("{error:?}");
    };
    assert_eq!((api.status, api.code.as_str()), (401, "SIGN_ERROR"));
}
