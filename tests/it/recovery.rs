//! `examples/recovery.rs`: each recipe with a fault before the effect, after it, and with none, against the sandbox. What
//! is counted is the effect, which must be there once.

use std::time::Duration;

use wechatpay_contract::order::{OrderNumber, RefundNumber, RefundStatus, TradeState};
use wechatpay_contract::sandbox::{Fault, RecordedRequest, Signing};
use wechatpay_contract::{ContractState, Error, Outcome, QueryContract, TerminateContract};

use crate::shop::{
    DIRECT, PARTNER, Shop, TOTAL, close_of, contract, platform_refund_of, refund_of,
};

#[path = "../../examples/recovery.rs"]
#[allow(dead_code)]
mod recipes;

use self::recipes::Closing;

const NUMBER: &str = "1217752501201407033233368018";
const PAUSE: Duration = Duration::ZERO;

/// The ways in which an outcome becomes unknown, before the effect and after it.
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

/// Runs a recipe with each fault in its first call, `times` times.
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
fn a_closing_ends_closed() {
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
        assert_eq!(end.unwrap(), Closing::Paid);
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
    assert_eq!(end.unwrap(), Closing::Paid);
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

/// Of 100, 60 are refunded: the other 40 can be, and no more.
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
            assert_eq!(refund.amount.refund, 60);
            assert_eq!(refund.status, RefundStatus::Processing);
            let query = shop.query_platform_refund(RefundNumber::OutRefundNo("r1"));
            assert_eq!(query.unwrap(), refund);
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
