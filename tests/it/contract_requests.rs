//! The ten calls of the product: the requests of the documented examples, and the values that are refused before
//! sending.

use serde_json::{Value, json};
use wechatpay_contract::{
    Endpoint, Method, QueryContract, TerminateContract, ecommerce, normal, qs, service_provider,
};

use crate::support::assert_refused;

const CODE: &str = "wxwtdk20200910100000";
const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";
const PREPAY_ID: &str = "wx201410272009395522657a690389285100";

const NORMAL: normal::MiniProgramPreSign<'static> = normal::MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: CODE,
    notify_url: "https://yourapp.com/notify",
    contract_display_account: "微信代扣用户A",
    openid: OPENID,
};

const ECOMMERCE: ecommerce::MiniProgramPreSign<'static> = ecommerce::MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: CODE,
    notify_url: "https://yourapp.com/notify",
    contract_display_account: "微信代扣用户A",
    openid: OPENID,
};

const SERVICE_PROVIDER: service_provider::MiniProgramPreSign<'static> =
    service_provider::MiniProgramPreSign {
        sp_appid: "wxd678efh567hg6787",
        sub_mchid: "1900000109",
        sub_appid: "wxd678efh567hg6787",
        service_id: 12535,
        out_contract_code: CODE,
        notify_url: "https://yourapp.com/notify",
        contract_display_account: "微信代扣用户A",
        sp_openid: Some("oYobu0MVnQfWpSMOYJz2AHPG_gQw"),
        sub_openid: Some("wxd678efh567hg6787"),
    };

const QS: qs::MiniProgramPreSign<'static> = qs::MiniProgramPreSign {
    appid: "wxd678efh567hg6787",
    sub_mchid: "1900000109",
    sub_appid: "wxd678efh567hg6787",
    service_id: 12535,
    out_contract_code: CODE,
    notify_url: "https://yourapp.com/notify",
    contract_display_account: "微信代扣用户A",
    user: qs::User::Both {
        openid: OPENID,
        sub_openid: OPENID,
    },
};

const QUERY: QueryContract<'static> = QueryContract {
    service_id: 12535,
    out_contract_code: CODE,
};

const TERMINATE: TerminateContract<'static> = TerminateContract {
    service_id: 12535,
    out_contract_code: CODE,
    contract_termination_remark: "用户解约",
};

/// Asserts the request. The whole body is compared, which finds a missing, additional or `null` key.
#[track_caller]
fn assert_posted(endpoint: &impl Endpoint, path: &str, body: &Value) {
    let request = endpoint.request().unwrap();
    assert_eq!(request.method(), Method::Post);
    assert_eq!(
        request.target().unwrap(),
        format!("/v3/password-exempt-contract/contracts/{path}")
    );
    assert_eq!(&body_of(endpoint), body);
}

#[track_caller]
fn body_of(endpoint: &impl Endpoint) -> Value {
    serde_json::from_slice(endpoint.request().unwrap().body().unwrap()).unwrap()
}

#[track_caller]
fn assert_accepted(endpoint: &impl Endpoint) {
    let request = endpoint.request().unwrap();
    request.target().unwrap();
}

/// Adds `prepay_id` to `body`.
fn with_prepay_id(mut body: Value) -> Value {
    body["prepay_id"] = PREPAY_ID.into();
    body
}

#[test]
fn normal_sends_the_documented_example() {
    let body = json!({
        "appid": "wxd678efh567hg6787",
        "service_id": 12535,
        "out_contract_code": "wxwtdk20200910100000",
        "notify_url": "https://yourapp.com/notify",
        "contract_display_account": "微信代扣用户A",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    });
    assert_posted(&NORMAL, "normal/pre-entrust-sign/mini-program", &body);
    let after_payment = normal::PayRedirectPreSign {
        prepay_id: PREPAY_ID,
        contract: NORMAL,
    };
    assert_posted(
        &after_payment,
        "normal/pre-entrust-sign/pay-redirect-sign",
        &with_prepay_id(body),
    );
}

#[test]
fn ecommerce_sends_the_documented_example() {
    let body = json!({
        "appid": "wxd678efh567hg6787",
        "service_id": 12535,
        "out_contract_code": "wxwtdk20200910100000",
        "notify_url": "https://yourapp.com/notify",
        "contract_display_account": "微信代扣用户A",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    });
    assert_posted(&ECOMMERCE, "ecommerce/pre-entrust-sign/mini-program", &body);
    let after_payment = ecommerce::PayRedirectPreSign {
        prepay_id: PREPAY_ID,
        contract: ECOMMERCE,
    };
    assert_posted(
        &after_payment,
        "ecommerce/pre-entrust-sign/pay-redirect-sign",
        &with_prepay_id(body),
    );
}

#[test]
fn service_provider_sends_the_documented_example() {
    let body = json!({
        "sp_appid": "wxd678efh567hg6787",
        "sp_openid": "oYobu0MVnQfWpSMOYJz2AHPG_gQw",
        "sub_mchid": "1900000109",
        "sub_appid": "wxd678efh567hg6787",
        "sub_openid": "wxd678efh567hg6787",
        "service_id": 12535,
        "out_contract_code": "wxwtdk20200910100000",
        "notify_url": "https://yourapp.com/notify",
        "contract_display_account": "微信代扣用户A",
    });
    assert_posted(
        &SERVICE_PROVIDER,
        "service-provider/pre-entrust-sign/mini-program",
        &body,
    );
    let after_payment = service_provider::PayRedirectPreSign {
        prepay_id: PREPAY_ID,
        contract: SERVICE_PROVIDER,
    };
    assert_posted(
        &after_payment,
        "service-provider/pre-entrust-sign/pay-redirect-sign",
        &with_prepay_id(body),
    );
}

#[test]
fn qs_sends_the_documented_example() {
    let body = json!({
        "appid": "wxd678efh567hg6787",
        "sub_appid": "wxd678efh567hg6787",
        "sub_mchid": "1900000109",
        "service_id": 12535,
        "out_contract_code": "wxwtdk20200910100000",
        "notify_url": "https://yourapp.com/notify",
        "contract_display_account": "微信代扣用户A",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        "sub_openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    });
    assert_posted(&QS, "qs/pre-entrust-sign/mini-program", &body);
    let after_payment = qs::PayRedirectPreSign {
        prepay_id: PREPAY_ID,
        contract: QS,
    };
    assert_posted(
        &after_payment,
        "qs/pre-entrust-sign/pay-redirect-sign",
        &with_prepay_id(body),
    );
}

#[test]
fn the_query_has_everything_in_its_path() {
    let request = QUERY.request().unwrap();
    assert_eq!(request.method(), Method::Get);
    assert_eq!(
        request.target().unwrap(),
        "/v3/password-exempt-contract/contracts/service-id/12535/out-contract-code/wxwtdk20200910100000"
    );
    assert_eq!(request.body(), None);
}

#[test]
fn the_termination_sends_nothing_but_the_remark() {
    assert_posted(
        &TERMINATE,
        "service-id/12535/out-contract-code/wxwtdk20200910100000/terminate",
        &json!({"contract_termination_remark": "用户解约"}),
    );
}

#[test]
fn qs_names_the_user_by_either_identifier() {
    let user = |user| {
        let body = body_of(&qs::MiniProgramPreSign { user, ..QS });
        (body.get("openid").cloned(), body.get("sub_openid").cloned())
    };
    assert_eq!(user(qs::User::Openid("o1")), (Some(json!("o1")), None));
    assert_eq!(user(qs::User::SubOpenid("o2")), (None, Some(json!("o2"))));
    let both = qs::User::Both {
        openid: "o1",
        sub_openid: "o2",
    };
    assert_eq!(user(both), (Some(json!("o1")), Some(json!("o2"))));
}

#[test]
fn service_provider_leaves_out_absent_identifiers() {
    let request = service_provider::MiniProgramPreSign {
        sp_openid: None,
        sub_openid: None,
        ..SERVICE_PROVIDER
    };
    let body = body_of(&request);
    let keys: Vec<&str> = body
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "contract_display_account",
            "notify_url",
            "out_contract_code",
            "service_id",
            "sp_appid",
            "sub_appid",
            "sub_mchid",
        ]
    );
}

const EMPTY: &str = "is empty: wanted a value";

#[test]
fn normal_requires_every_field() {
    let request = |appid, code, account, openid| normal::MiniProgramPreSign {
        appid,
        out_contract_code: code,
        contract_display_account: account,
        openid,
        ..NORMAL
    };
    assert_accepted(&request("a", "c", "n", "o"));
    assert_refused(&request("", "c", "n", "o"), "appid", EMPTY);
    assert_refused(&request("a", "", "n", "o"), "out_contract_code", EMPTY);
    assert_refused(
        &request("a", "c", "", "o"),
        "contract_display_account",
        EMPTY,
    );
    assert_refused(&request("a", "c", "n", ""), "openid", EMPTY);
    let prepay = |prepay_id| normal::PayRedirectPreSign {
        prepay_id,
        contract: NORMAL,
    };
    assert_accepted(&prepay("p"));
    assert_refused(&prepay(""), "prepay_id", EMPTY);
}

#[test]
fn ecommerce_requires_every_field() {
    let request = |appid, code, account, openid| ecommerce::MiniProgramPreSign {
        appid,
        out_contract_code: code,
        contract_display_account: account,
        openid,
        ..ECOMMERCE
    };
    assert_accepted(&request("a", "c", "n", "o"));
    assert_refused(&request("", "c", "n", "o"), "appid", EMPTY);
    assert_refused(&request("a", "", "n", "o"), "out_contract_code", EMPTY);
    assert_refused(
        &request("a", "c", "", "o"),
        "contract_display_account",
        EMPTY,
    );
    assert_refused(&request("a", "c", "n", ""), "openid", EMPTY);
    let prepay = |prepay_id| ecommerce::PayRedirectPreSign {
        prepay_id,
        contract: ECOMMERCE,
    };
    assert_accepted(&prepay("p"));
    assert_refused(&prepay(""), "prepay_id", EMPTY);
}

#[test]
fn service_provider_requires_every_field_but_the_identifiers() {
    let request = |sp_appid, sub_mchid, sub_appid| service_provider::MiniProgramPreSign {
        sp_appid,
        sub_mchid,
        sub_appid,
        ..SERVICE_PROVIDER
    };
    assert_accepted(&request("a", "1", "b"));
    assert_refused(&request("", "1", "b"), "sp_appid", EMPTY);
    assert_refused(&request("a", "", "b"), "sub_mchid", EMPTY);
    assert_refused(&request("a", "1", ""), "sub_appid", EMPTY);
    let request = |code, account| service_provider::MiniProgramPreSign {
        out_contract_code: code,
        contract_display_account: account,
        ..SERVICE_PROVIDER
    };
    assert_accepted(&request("c", "n"));
    assert_refused(&request("", "n"), "out_contract_code", EMPTY);
    assert_refused(&request("c", ""), "contract_display_account", EMPTY);
    let prepay = |prepay_id| service_provider::PayRedirectPreSign {
        prepay_id,
        contract: SERVICE_PROVIDER,
    };
    assert_accepted(&prepay("p"));
    assert_refused(&prepay(""), "prepay_id", EMPTY);
}

#[test]
fn qs_requires_every_field() {
    let request = |appid, sub_mchid, sub_appid| qs::MiniProgramPreSign {
        appid,
        sub_mchid,
        sub_appid,
        ..QS
    };
    assert_accepted(&request("a", "1", "b"));
    assert_refused(&request("", "1", "b"), "appid", EMPTY);
    assert_refused(&request("a", "", "b"), "sub_mchid", EMPTY);
    assert_refused(&request("a", "1", ""), "sub_appid", EMPTY);
    let request = |code, account, user| qs::MiniProgramPreSign {
        out_contract_code: code,
        contract_display_account: account,
        user,
        ..QS
    };
    let user = qs::User::Openid("o");
    assert_accepted(&request("c", "n", user));
    assert_refused(&request("", "n", user), "out_contract_code", EMPTY);
    assert_refused(&request("c", "", user), "contract_display_account", EMPTY);
    assert_refused(&request("c", "n", qs::User::Openid("")), "openid", EMPTY);
    assert_refused(
        &request("c", "n", qs::User::SubOpenid("")),
        "sub_openid",
        EMPTY,
    );
    let prepay = |prepay_id| qs::PayRedirectPreSign {
        prepay_id,
        contract: QS,
    };
    assert_accepted(&prepay("p"));
    assert_refused(&prepay(""), "prepay_id", EMPTY);
}

#[test]
fn codes_are_digits_and_letters_in_every_call() {
    // A full-width digit is no ASCII digit.
    for (code, found) in [("a_b", '_'), ("a b", ' '), ("a/b", '/'), ("１", '１')] {
        let problem =
            format!("found the character {found:?}: wanted ASCII digits and letters only");
        let field = "out_contract_code";
        let normal = normal::MiniProgramPreSign {
            out_contract_code: code,
            ..NORMAL
        };
        assert_refused(&normal, field, &problem);
        let after_payment = normal::PayRedirectPreSign {
            prepay_id: PREPAY_ID,
            contract: normal,
        };
        assert_refused(&after_payment, field, &problem);
        let ecommerce = ecommerce::MiniProgramPreSign {
            out_contract_code: code,
            ..ECOMMERCE
        };
        assert_refused(&ecommerce, field, &problem);
        let after_payment = ecommerce::PayRedirectPreSign {
            prepay_id: PREPAY_ID,
            contract: ecommerce,
        };
        assert_refused(&after_payment, field, &problem);
        let service_provider = service_provider::MiniProgramPreSign {
            out_contract_code: code,
            ..SERVICE_PROVIDER
        };
        assert_refused(&service_provider, field, &problem);
        let after_payment = service_provider::PayRedirectPreSign {
            prepay_id: PREPAY_ID,
            contract: service_provider,
        };
        assert_refused(&after_payment, field, &problem);
        let qs = qs::MiniProgramPreSign {
            out_contract_code: code,
            ..QS
        };
        assert_refused(&qs, field, &problem);
        let after_payment = qs::PayRedirectPreSign {
            prepay_id: PREPAY_ID,
            contract: qs,
        };
        assert_refused(&after_payment, field, &problem);
        let query = QueryContract {
            out_contract_code: code,
            ..QUERY
        };
        assert_refused(&query, field, &problem);
        let terminate = TerminateContract {
            out_contract_code: code,
            ..TERMINATE
        };
        assert_refused(&terminate, field, &problem);
    }
}

#[test]
fn notify_urls_are_https_with_a_path_and_no_query() {
    for notify_url in [
        "https://yourapp.com/",
        "HTTPS://yourapp.com:8443/notify",
        "https://[2001:db8::1]:443/notify",
        "https://yourapp.com/@/:/notify",
        // User information and fragments are not documented.
        "https://user@yourapp.com/notify",
        "https://user:SECRET@yourapp.com:8443/notify",
        "https://@yourapp.com/notify",
        "https://yourapp.com/notify#a",
        "https://yourapp.com/notify#a?b",
    ] {
        assert_accepted(&normal::MiniProgramPreSign {
            notify_url,
            ..NORMAL
        });
    }
    let rows = [
        ("", "no URL"),
        ("https:/yourapp.com/notify", "no URL"),
        ("http://yourapp.com/notify", "a URL that is not https"),
        ("https://yourapp.com", "a URL without a path"),
        ("https://yourapp.com#/notify", "a URL without a path"),
        ("https:///notify", "a URL without a host"),
        ("https://:443/notify", "a URL without a host"),
        ("https://@/", "a URL without a host"),
        ("https://user@/notify", "a URL without a host"),
        ("https://user:SECRET@:443/notify", "a URL without a host"),
        ("https://user@yourapp.com", "a URL without a path"),
        ("https://yourapp.com/notify?a=b", "a URL with a query"),
        ("https://yourapp.com/notify?a=b#c", "a URL with a query"),
        ("https://yourapp.com?a=/", "a URL with a query"),
        (
            "https:\\\\yourapp.com\\notify",
            "a URL with the character '\\\\'",
        ),
        (
            "https://yourapp.com\\@evil/notify",
            "a URL with the character '\\\\'",
        ),
        (
            "https://yourapp.com/ notify",
            "a URL with the character ' '",
        ),
        ("https://yourapp.com/通知", "a URL with the character '通'"),
    ];
    for (notify_url, found) in rows {
        let problem = format!(
            "found {found}: wanted an https:// URL with a host and a path, without a query"
        );
        let field = "notify_url";
        assert_refused(
            &normal::MiniProgramPreSign {
                notify_url,
                ..NORMAL
            },
            field,
            &problem,
        );
        assert_refused(
            &ecommerce::MiniProgramPreSign {
                notify_url,
                ..ECOMMERCE
            },
            field,
            &problem,
        );
        assert_refused(
            &service_provider::MiniProgramPreSign {
                notify_url,
                ..SERVICE_PROVIDER
            },
            field,
            &problem,
        );
        assert_refused(
            &qs::MiniProgramPreSign { notify_url, ..QS },
            field,
            &problem,
        );
    }
}

#[test]
fn display_accounts_have_no_four_byte_characters() {
    let problem =
        "found the character '😀' of four UTF-8 bytes: wanted characters of one to three bytes";
    let account = "用户😀";
    let field = "contract_display_account";
    assert_refused(
        &normal::MiniProgramPreSign {
            contract_display_account: account,
            ..NORMAL
        },
        field,
        problem,
    );
    assert_refused(
        &ecommerce::MiniProgramPreSign {
            contract_display_account: account,
            ..ECOMMERCE
        },
        field,
        problem,
    );
    assert_refused(
        &service_provider::MiniProgramPreSign {
            contract_display_account: account,
            ..SERVICE_PROVIDER
        },
        field,
        problem,
    );
    assert_refused(
        &qs::MiniProgramPreSign {
            contract_display_account: account,
            ..QS
        },
        field,
        problem,
    );
    // Three bytes each, the longest that is allowed.
    assert_accepted(&normal::MiniProgramPreSign {
        contract_display_account: "用户￭",
        ..NORMAL
    });
}

/// A text of `count` characters of three bytes each, since lengths count characters.
fn chinese(count: usize) -> String {
    "户".repeat(count)
}

fn url(count: usize) -> String {
    let start = "https://yourapp.com/";
    format!("{start}{}", "n".repeat(count - start.len()))
}

fn too_long(max: usize) -> String {
    format!("found {} characters: wanted at most {max}", max + 1)
}

#[test]
fn normal_lengths_are_enforced_to_the_character() {
    let make = |appid: &str, code: &str, url: &str, account: &str, openid: &str| {
        normal::MiniProgramPreSign {
            appid,
            service_id: 12535,
            out_contract_code: code,
            notify_url: url,
            contract_display_account: account,
            openid,
        }
        .request()
        .map_err(|error| (error.field().to_owned(), error.problem().to_owned()))
        .map(|_| ())
    };
    let refused = |field: &str, max| Err((field.to_owned(), too_long(max)));
    let (appid, code, account) = ("a".repeat(32), "c".repeat(32), chinese(32));
    let openid = "o".repeat(128);
    let url_256 = url(256);
    assert_eq!(make(&appid, &code, &url_256, &account, &openid), Ok(()));
    assert_eq!(
        make(&"a".repeat(33), &code, &url_256, &account, &openid),
        refused("appid", 32)
    );
    assert_eq!(
        make(&appid, &"c".repeat(33), &url_256, &account, &openid),
        refused("out_contract_code", 32)
    );
    assert_eq!(
        make(&appid, &code, &url(257), &account, &openid),
        refused("notify_url", 256)
    );
    assert_eq!(
        make(&appid, &code, &url_256, &chinese(33), &openid),
        refused("contract_display_account", 32)
    );
    assert_eq!(
        make(&appid, &code, &url_256, &account, &"o".repeat(129)),
        refused("openid", 128)
    );
}

#[test]
fn qs_lengths_are_enforced_to_the_character() {
    let make = |sub_mchid: &str, sub_appid: &str, openid: &str, sub_openid: &str| {
        qs::MiniProgramPreSign {
            sub_mchid,
            sub_appid,
            user: qs::User::Both { openid, sub_openid },
            ..QS
        }
        .request()
        .map_err(|error| (error.field().to_owned(), error.problem().to_owned()))
        .map(|_| ())
    };
    let refused = |field: &str, max| Err((field.to_owned(), too_long(max)));
    let [at_32, over_32, at_128, over_128] = [32, 33, 128, 129].map(|count| "a".repeat(count));
    assert_eq!(make(&at_32, &at_32, &at_128, &at_128), Ok(()));
    assert_eq!(
        make(&over_32, &at_32, &at_128, &at_128),
        refused("sub_mchid", 32)
    );
    assert_eq!(
        make(&at_32, &over_32, &at_128, &at_128),
        refused("sub_appid", 32)
    );
    assert_eq!(
        make(&at_32, &at_32, &over_128, &at_128),
        refused("openid", 128)
    );
    assert_eq!(
        make(&at_32, &at_32, &at_128, &over_128),
        refused("sub_openid", 128)
    );
    let account = |count| qs::MiniProgramPreSign {
        contract_display_account: String::leak(chinese(count)),
        ..QS
    };
    assert_accepted(&account(32));
    assert_refused(&account(33), "contract_display_account", &too_long(32));
    let appid = |count| qs::MiniProgramPreSign {
        appid: String::leak("a".repeat(count)),
        ..QS
    };
    assert_accepted(&appid(32));
    assert_refused(&appid(33), "appid", &too_long(32));
    let code = |count| qs::MiniProgramPreSign {
        out_contract_code: String::leak("c".repeat(count)),
        ..QS
    };
    assert_accepted(&code(32));
    assert_refused(&code(33), "out_contract_code", &too_long(32));
    let notify_url = |count| qs::MiniProgramPreSign {
        notify_url: String::leak(url(count)),
        ..QS
    };
    assert_accepted(&notify_url(256));
    assert_refused(&notify_url(257), "notify_url", &too_long(256));
}

#[test]
fn prepay_ids_have_up_to_64_characters_where_documented() {
    let (at_64, over_64) = ("p".repeat(64), "p".repeat(65));
    let normal = |prepay_id| normal::PayRedirectPreSign {
        prepay_id,
        contract: NORMAL,
    };
    assert_accepted(&normal(&at_64));
    assert_refused(&normal(&over_64), "prepay_id", &too_long(64));
    let qs = |prepay_id| qs::PayRedirectPreSign {
        prepay_id,
        contract: QS,
    };
    assert_accepted(&qs(&at_64));
    assert_refused(&qs(&over_64), "prepay_id", &too_long(64));
}

#[test]
fn inferred_lengths_are_not_enforced() {
    let long = "a".repeat(1000);
    let long_url = url(1000);
    let ecommerce = ecommerce::MiniProgramPreSign {
        appid: &long,
        service_id: 12535,
        out_contract_code: &long,
        notify_url: &long_url,
        contract_display_account: &long,
        openid: &long,
    };
    assert_accepted(&ecommerce);
    assert_accepted(&ecommerce::PayRedirectPreSign {
        prepay_id: &long,
        contract: ecommerce,
    });
    let service_provider = service_provider::MiniProgramPreSign {
        sp_appid: &long,
        sub_mchid: &long,
        sub_appid: &long,
        service_id: 12535,
        out_contract_code: &long,
        notify_url: &long_url,
        contract_display_account: &long,
        sp_openid: Some(&long),
        sub_openid: Some(&long),
    };
    assert_accepted(&service_provider);
    assert_accepted(&service_provider::PayRedirectPreSign {
        prepay_id: &long,
        contract: service_provider,
    });
}

#[test]
fn query_and_termination_take_every_code_that_can_be_pre_signed() {
    let query = |out_contract_code| QueryContract {
        out_contract_code,
        ..QUERY
    };
    let terminate = |out_contract_code| TerminateContract {
        out_contract_code,
        ..TERMINATE
    };
    // The second code is too long for a direct merchant only.
    let (at_32, over_32) = ("c".repeat(32), "c".repeat(33));
    for out_contract_code in [&*at_32, &over_32] {
        assert_accepted(&ecommerce::MiniProgramPreSign {
            out_contract_code,
            ..ECOMMERCE
        });
        assert_accepted(&query(out_contract_code));
        assert_accepted(&terminate(out_contract_code));
    }
    assert_refused(&query(""), "out_contract_code", EMPTY);
    assert_refused(&terminate(""), "out_contract_code", EMPTY);
}

#[test]
fn a_termination_needs_a_remark_of_up_to_256_characters() {
    let (at_256, over_256) = (chinese(256), chinese(257));
    let terminate = |contract_termination_remark| TerminateContract {
        contract_termination_remark,
        ..TERMINATE
    };
    let field = "contract_termination_remark";
    assert_accepted(&terminate(&at_256));
    assert_refused(&terminate(&over_256), field, &too_long(256));
    assert_refused(&terminate(""), field, EMPTY);
}

#[test]
fn identifiers_are_visible_ascii_characters_in_every_mode() {
    let wrong = "wxd678efh567hg6787 ";
    let problem = "found the character ' ': wanted visible ASCII characters only";
    let appid = |appid| normal::MiniProgramPreSign { appid, ..NORMAL };
    assert_refused(&appid(wrong), "appid", problem);
    let openid = |openid| ecommerce::MiniProgramPreSign {
        openid,
        ..ECOMMERCE
    };
    assert_refused(&openid(wrong), "openid", problem);
    let sub_mchid = |sub_mchid| qs::MiniProgramPreSign { sub_mchid, ..QS };
    assert_refused(&sub_mchid(wrong), "sub_mchid", problem);
    let sp_openid = |openid| service_provider::MiniProgramPreSign {
        sp_openid: Some(openid),
        ..SERVICE_PROVIDER
    };
    assert_refused(&sp_openid(wrong), "sp_openid", problem);
    assert_refused(&sp_openid(""), "sp_openid", EMPTY);
    let prepay_id = |prepay_id| normal::PayRedirectPreSign {
        prepay_id,
        contract: NORMAL,
    };
    assert_refused(&prepay_id(wrong), "prepay_id", problem);
    let problem = "starts with \"prepay_id=\": wanted the id alone, as the order returned it";
    assert_refused(&prepay_id("prepay_id=wx2014"), "prepay_id", problem);
}

#[test]
fn a_user_is_converted_from_two_optional_identifiers() {
    let user = |openid, sub_openid| qs::User::try_from((openid, sub_openid));
    assert_eq!(user(Some("o1"), None), Ok(qs::User::Openid("o1")));
    assert_eq!(user(None, Some("o2")), Ok(qs::User::SubOpenid("o2")));
    let error = user(None, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "openid: is absent: wanted it or sub_openid"
    );
}
