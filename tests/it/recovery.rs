//! `examples/recovery.rs` against the sandbox: each recipe without a fault, with a fault before the effect, and after
//! it. The effect must happen exactly once.

use std::time::Duration;

use serde_json::json;
use wechatpay_contract::order::{OrderNumber, Payee, RefundNumber, RefundStatus, TradeState};
use wechatpay_contract::sandbox::{Fault, RecordedRequest, Sandbox, Signing};
use wechatpay_contract::{ContractState, Error, Outcome, QueryContract, TerminateContract};

use crate::shop::{
    APPID, DIRECT, PARTNER, Shop, TOTAL, close_of, contract, own_order, platform_refund_of,
    refund_of,
};

#[path = "../../examples/recovery.rs"]
#[allow(dead_code)]
mod recipes;

use self::recipes::Closing;

const NUMBER: &str = "1217752501201407033233368018";
const PAUSE: Duration = Duration::ZERO;

/// The faults that make an outcome unknown, before the effect and after it.
fn faults() -> Vec<Fault> {
    let error = |status, code: &str, took_effect| Fault::Error {
        status,
        code: code.to_owned(),
        signing: Signing::Right,
        took_effect,
    };
    let mut faults = vec![
        Fault::CutBody,
        Fault::Signature(Signing::Probe),
        Fault::Accepted,
    ];
    for took_effect in [false, true] {
        faults.push(Fault::Close { took_effect });
        faults.push(error(500, "SYSTEM_ERROR", took_effect));
        faults.push(Fault::HtmlPage {
            status: 502,
            took_effect,
        });
    }
    faults
}

/// Runs a recipe once without a fault, and once with each fault in its first `times` requests to `path`.
fn with_each_fault(path: &str, times: usize, recipe: impl Fn(&Shop)) {
    recipe(&Shop::open());
    for fault in faults() {
        let shop = Shop::open();
        println!("{fault:?}");
        shop.sandbox.fault(fault.times(times).on("POST", path));
        recipe(&shop);
    }
}

#[test]
fn a_pre_sign_ends_with_a_session_that_the_user_can_sign() {
    for times in [1, 2] {
        with_each_fault("/v3/password-exempt-contract/", times, |shop| {
            let session = recipes::pre_sign(&shop.client, &contract("code2"), PAUSE).unwrap();
            assert_eq!(session.out_contract_code, "code2");
            shop.sandbox.user_signs("code2").unwrap();
        });
    }
}

#[test]
fn a_termination_ends_the_contract_once() {
    for times in [1, 2] {
        with_each_fault("/v3/password-exempt-contract/", times, |shop| {
            let end = TerminateContract {
                service_id: 12535,
                out_contract_code: "code1",
                contract_termination_remark: "用户解约",
            };
            recipes::terminate(&shop.client, &end, PAUSE).unwrap();
            let query = QueryContract {
                service_id: 12535,
                out_contract_code: "code1",
            };
            let state = shop.client.send(&query).unwrap().contract_state;
            assert_eq!(state, ContractState::Terminated);
            assert_eq!(notified(shop, "ENTRUST.TERMINATE"), 1);
        });
    }
}

#[test]
fn an_order_ends_with_a_prepay_id_that_the_user_can_pay() {
    for times in [1, 2] {
        with_each_fault("/v3/pay/", times, |shop| {
            let prepay = recipes::order(&shop.client, &shop.order(NUMBER), PAUSE).unwrap();
            assert!(!prepay.prepay_id.is_empty());
            shop.sandbox.user_pays(NUMBER).unwrap();
        });
    }
}

#[test]
fn a_closing_ends_with_a_closed_order() {
    for times in [1, 2] {
        with_each_fault("/v3/pay/transactions/out-trade-no/", times, |shop| {
            shop.place(DIRECT, NUMBER).unwrap();
            let end = recipes::close(&shop.client, &close_of(DIRECT, NUMBER), PAUSE);
            assert_eq!(end.unwrap(), Closing::Closed);
            let order = shop.query(DIRECT, OrderNumber::OutTradeNo(NUMBER));
            assert_eq!(order.trade_state, TradeState::Closed);
        });
    }
}

#[test]
fn a_closing_of_a_paid_order_says_that_it_is_paid() {
    with_each_fault("/v3/pay/partner/transactions/out-trade-no/", 1, |shop| {
        shop.paid(PARTNER, NUMBER);
        let end = recipes::close(&shop.client, &close_of(PARTNER, NUMBER), PAUSE);
        assert_paid(&end.unwrap(), PARTNER);
    });
}

#[test]
fn a_closing_with_429_while_the_user_pays_is_queried() {
    let shop = Shop::open();
    shop.place(DIRECT, NUMBER).unwrap();
    shop.sandbox
        .fault(Fault::error(429, "FREQUENCY_LIMITED").on("POST", "/v3/pay/"));
    shop.sandbox.user_pays(NUMBER).unwrap();
    let end = recipes::close(&shop.client, &close_of(DIRECT, NUMBER), PAUSE);
    assert_paid(&end.unwrap(), DIRECT);
}

#[track_caller]
fn assert_paid(end: &Closing, payee: Payee<'static>) {
    let Closing::Paid(order) = end else {
        panic!("{end:?}");
    };
    assert_eq!(order.check_order(&own_order(payee, NUMBER)), Ok(()));
}

#[test]
fn a_refund_happens_once_under_its_number() {
    for times in [1, 2] {
        with_each_fault("/v3/refund/", times, |shop| {
            shop.paid(DIRECT, NUMBER);
            let refund = recipes::refund(&shop.client, &refund_of(NUMBER, "r1", 60), PAUSE);
            assert_eq!(refund.unwrap().amount.refund, 60);
            assert_refunded_once(shop);
        });
    }
}

#[test]
fn a_refund_with_429_is_not_sent_under_a_new_number() {
    for took_effect in [false, true] {
        let shop = Shop::open();
        shop.paid(DIRECT, NUMBER);
        let limited = Fault::Error {
            status: 429,
            code: "FREQUENCY_LIMITED".to_owned(),
            signing: Signing::Right,
            took_effect,
        };
        shop.sandbox.fault(limited.on("POST", "/v3/refund/"));
        let refund = recipes::refund(&shop.client, &refund_of(NUMBER, "r1", 60), PAUSE);
        assert_eq!(refund.unwrap().status, RefundStatus::Processing);
        assert_refunded_once(&shop);
    }
}

/// Of 100, 60 are refunded. So 40 can still be refunded, and no more.
#[track_caller]
fn assert_refunded_once(shop: &Shop) {
    assert!(
        shop.client
            .send(&refund_of(NUMBER, "more", TOTAL - 60 + 1))
            .is_err()
    );
    shop.client
        .send(&refund_of(NUMBER, "rest", TOTAL - 60))
        .unwrap();
}

#[test]
fn a_platforms_refund_happens_once_under_its_number() {
    for times in [1, 2] {
        with_each_fault("/v3/ecommerce/", times, |shop| {
            shop.paid(PARTNER, NUMBER);
            let refund = platform_refund_of(NUMBER, "r1", 60);
            let refund = recipes::platform_refund(&shop.client, &refund, PAUSE).unwrap();
            let query = shop.query_platform_refund(RefundNumber::RefundId(&refund));
            let query = query.unwrap();
            assert_eq!(query.status, RefundStatus::Processing);
            assert_eq!((&*query.out_refund_no, query.amount.refund), ("r1", 60));
            let more = platform_refund_of(NUMBER, "more", TOTAL - 60 + 1);
            assert!(shop.client.send(&more).is_err());
        });
    }
}

#[test]
fn a_refusal_and_a_request_that_was_not_sent_are_not_repeated() {
    let shop = Shop::open();
    let outcome = |result: Result<_, Error>| result.map(|_| ()).unwrap_err().outcome();
    let refund = recipes::refund(&shop.client, &refund_of(NUMBER, "r1", 60), PAUSE);
    assert_eq!(outcome(refund), Outcome::Refused);
    let refund = recipes::refund(&shop.client, &refund_of(NUMBER, "", 60), PAUSE);
    assert_eq!(outcome(refund), Outcome::NotSent);
    let refunds = |request: &&_| is_refund(request);
    assert_eq!(shop.sandbox.requests().iter().filter(refunds).count(), 1);
}

/// The first attempt of each call takes effect, and its response is lost. Later refusals say nothing about it.
#[test]
fn a_refusal_after_an_unknown_outcome_is_not_returned() {
    let refusals = || {
        let page = Fault::HtmlPage {
            status: 404,
            took_effect: false,
        };
        [
            Fault::error(403, "RULE_LIMIT"),
            Fault::error(404, "NO"),
            page,
        ]
    };
    let end = TerminateContract {
        service_id: 12535,
        out_contract_code: "code1",
        contract_termination_remark: "用户解约",
    };
    for refusal in refusals() {
        let shop = Shop::open();
        shop.paid(PARTNER, NUMBER);
        shop.place(DIRECT, "other1").unwrap();
        let outcome = |recipe: &dyn Fn() -> Option<Error>| {
            shop.sandbox.clear_faults();
            let lost = Fault::Close { took_effect: true };
            shop.sandbox.fault(lost.on("POST", "/v3/"));
            shop.sandbox
                .fault(refusal.clone().times(99).on("POST", "/v3/"));
            shop.sandbox
                .fault(refusal.clone().times(99).on("GET", "/v3/"));
            recipe().unwrap().outcome()
        };
        let client = &shop.client;
        let pre_sign = || recipes::pre_sign(client, &contract("code2"), PAUSE).err();
        let order = || recipes::order(client, &shop.order("other2"), PAUSE).err();
        let close = || recipes::close(client, &close_of(DIRECT, "other1"), PAUSE).err();
        let refund = || recipes::refund(client, &refund_of(NUMBER, "r1", 60), PAUSE).err();
        let platform_refund = platform_refund_of(NUMBER, "r2", 20);
        let platform_refund = || recipes::platform_refund(client, &platform_refund, PAUSE).err();
        let terminate = || recipes::terminate(client, &end, PAUSE).err();
        let all: [(&str, &dyn Fn() -> Option<Error>); 6] = [
            ("pre_sign", &pre_sign),
            ("order", &order),
            ("close", &close),
            ("refund", &refund),
            ("platform_refund", &platform_refund),
            ("terminate", &terminate),
        ];
        for (name, recipe) in all {
            assert_eq!(outcome(recipe), Outcome::Unknown, "{name} {refusal:?}");
        }
    }
}

#[test]
fn a_request_that_cannot_be_sent_after_an_unknown_outcome_leaves_it_unknown() {
    let shop = Shop::open();
    shop.paid(DIRECT, NUMBER);
    let refund = refund_of(NUMBER, "r1", 60);
    // The refund takes effect, and then the gateway stops.
    let lost = Fault::Close { took_effect: true };
    shop.sandbox.fault(lost.on("POST", "/v3/refund/"));
    let error = shop.client.send(&refund).unwrap_err();
    let (client, mut error) = (shop.client.clone(), Some(error));
    drop(shop);
    assert_eq!(
        client.send(&refund).unwrap_err().outcome(),
        Outcome::NotSent
    );
    let result: Result<(), Error> = recipes::until_known(PAUSE, || match error.take() {
        Some(error) => Err(error),
        None => client.send(&refund).map(|_| ()),
    });
    assert_eq!(result.unwrap_err().outcome(), Outcome::Unknown);
}

#[test]
fn another_refund_under_the_number_is_no_success() {
    let field = |error: Error| match error {
        Error::Mismatch { source, .. } => source.field,
        other => panic!("{other:?}"),
    };
    let shop = Shop::open();
    for (payee, number) in [
        (DIRECT, NUMBER),
        (DIRECT, "other1"),
        (PARTNER, "p1"),
        (PARTNER, "p2"),
    ] {
        shop.paid(payee, number);
    }
    let lose = |path: &str| {
        let lost = Fault::Close { took_effect: false };
        shop.sandbox.fault(lost.times(9).on("POST", path));
    };
    shop.client.send(&refund_of(NUMBER, "r1", 40)).unwrap();
    let platforms = platform_refund_of("p1", "r2", 40);
    shop.client.send(&platforms).unwrap();
    lose("/v3/refund/");
    for (create, wanted) in [
        (refund_of(NUMBER, "r1", 60), "amount.refund"),
        (refund_of("other1", "r1", 40), "out_trade_no"),
    ] {
        let error = recipes::refund(&shop.client, &create, PAUSE).unwrap_err();
        assert_eq!(field(error), wanted);
    }
    lose("/v3/ecommerce/refunds/apply");
    for (create, wanted) in [
        (platform_refund_of("p1", "r2", 60), "amount.refund"),
        (platform_refund_of("p2", "r2", 40), "out_trade_no"),
    ] {
        let error = recipes::platform_refund(&shop.client, &create, PAUSE).unwrap_err();
        assert_eq!(field(error), wanted);
    }
}

#[test]
fn only_a_contract_that_has_ended_counts_as_terminated() {
    let shop = Shop::open();
    let end = TerminateContract {
        service_id: 12535,
        out_contract_code: "code1",
        contract_termination_remark: "用户解约",
    };
    let lost = Fault::Close { took_effect: false };
    shop.sandbox
        .fault(lost.times(99).on("POST", "/v3/password-exempt-contract/"));
    for (state, is_terminated) in [
        ("SIGNED", false),
        ("TERMINATE_PENDING", false),
        ("TO_BE_RENEWED", false),
        ("NEW", false),
        ("TERMINATED", true),
    ] {
        let contract = json!({
            "mchid": Sandbox::MCHID, "contract_id": "1", "appid": APPID, "service_id": 12535,
            "out_contract_code": "code1", "contract_state": state,
        });
        let body = Fault::Body(contract.to_string().into_bytes());
        let queries = body.times(3).on("GET", "/v3/password-exempt-contract/");
        shop.sandbox.fault(queries);
        let result = recipes::terminate(&shop.client, &end, PAUSE);
        let outcome = result.err().map(|error| error.outcome());
        let wanted = (!is_terminated).then_some(Outcome::Unknown);
        assert_eq!(outcome, wanted, "{state}");
    }
}

#[test]
fn an_outcome_that_stays_unknown_is_returned() {
    let shop = Shop::open();
    shop.paid(DIRECT, NUMBER);
    shop.sandbox.fault(
        Fault::Close { took_effect: false }
            .times(9)
            .on("POST", "/v3/refund/"),
    );
    let refund = recipes::refund(&shop.client, &refund_of(NUMBER, "r1", 60), PAUSE);
    assert_eq!(refund.unwrap_err().outcome(), Outcome::Unknown);
}

fn is_refund(request: &RecordedRequest) -> bool {
    request.method == "POST" && request.target.starts_with("/v3/refund/")
}

fn notified(shop: &Shop, event_type: &str) -> usize {
    let sent = shop.sandbox.notifications();
    sent.iter()
        .filter(|sent| sent.event_type == event_type)
        .count()
}
