//! Responses that count as signed, with the input as the body. It is read as three typed responses, and with each kind
//! of status. If a typed response is returned, the body is a JSON object with the request's `out_contract_code`. The
//! text of each error is one printable line.
#![no_main]

use std::fmt::Debug;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::{Endpoint, Error, Merchant, Outcome, QueryContract, TerminateContract};
use wechatpay_contract_fuzz::{assert_printable, headers, merchant, now};

static MERCHANT: LazyLock<Merchant> = LazyLock::new(merchant);

fuzz_target!(|data: &[u8]| {
    let pre_sign = MiniProgramPreSign {
        appid: "wxd678efh567hg6787",
        service_id: 12535,
        out_contract_code: "wxwtdk20200910100000",
        notify_url: "https://yourapp.com/notify",
        contract_display_account: "微信代扣用户A",
        openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    };
    let query = QueryContract {
        service_id: 12535,
        out_contract_code: "wxwtdk20200910100000",
    };
    let terminate = TerminateContract {
        service_id: 12535,
        out_contract_code: "wxwtdk20200910100000",
        contract_termination_remark: "the user moved",
    };
    read(&pre_sign, data, "out_contract_code");
    read(&query, data, "out_contract_code");
    read(&terminate, data, "out_contract_code");
    for status in [202, 301, 400, 401, 404, 429, 500] {
        let error = accept(&pre_sign, status, data).unwrap_err();
        let decided = matches!(&error, Error::Api(api) if api.status == status && status < 500);
        assert!(error.outcome() == Outcome::Unknown || decided, "{error:?}");
    }
});

fn read<E: Endpoint<Response: Debug>>(endpoint: &E, body: &[u8], repeated: &str) {
    if let Ok(response) = accept(endpoint, 200, body) {
        let _ = format!("{response:?}");
        let value: Value = serde_json::from_slice(body).unwrap();
        assert!(value.is_object(), "{value}");
        assert_eq!(value[repeated], "wxwtdk20200910100000");
    }
}

fn accept<E: Endpoint>(endpoint: &E, status: u16, body: &[u8]) -> Result<E::Response, Error> {
    let pairs = headers();
    let pairs = pairs.iter().map(|(name, value)| (*name, *value));
    let accepted = MERCHANT.accept_for(endpoint, status, pairs, body, now());
    if let Err(error) = &accepted {
        assert!(!matches!(error, Error::Unverified { .. }), "{error:?}");
        assert_ne!(error.outcome(), Outcome::NotSent);
        assert_printable(error);
    }
    accepted
}
