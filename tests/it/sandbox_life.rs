//! The life of an order in the sandbox: placed, paid, queried, closed and refunded, with its notifications, for direct
//! merchants, partners and platforms. The calls are those of this crate, and in one test those of a program in Python.

use std::process::Command;
use std::time::Duration;

use wechatpay_contract::order::{
    CreateRefund, JsapiOrder, OrderNumber, OrderOptions, Payee, QueryOrder, RefundAmount,
    RefundNumber, RefundStatus, TradeState,
};
use wechatpay_contract::sandbox::{RecordedRequest, Sandbox, UserError};
use wechatpay_contract::{Endpoint, Error, Event};

use crate::notification_server::{NotificationServer, PATIENCE, Reaction};
use crate::raw_client::Folder;
use crate::shop::{
    DIRECT, PARTNER, SUB_MCHID, Shop, TOTAL, close_of, own_order, platform_refund_of, refund_of,
};
use crate::support::installed;

const NUMBER: &str = "1217752501201407033233368018";

/// The status and the code by which a call is refused.
#[track_caller]
fn refused<E: Endpoint>(shop: &Shop, call: &E) -> (u16, String) {
    match shop.client.send(call) {
        Err(Error::Api(error)) => (error.status, error.code),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("was accepted"),
    }
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn an_order_is_paid_by_the_user_and_notified() {
    for payee in [DIRECT, PARTNER] {
        let shop = Shop::open();
        let own = OrderNumber::OutTradeNo(NUMBER);
        shop.place(payee, NUMBER).unwrap();
        let unpaid = shop.query(payee, own);
        assert_eq!(unpaid.trade_state, TradeState::NotPay);
        assert_eq!((&unpaid.transaction_id, &unpaid.payer), (&None, &None));
        assert_eq!(unpaid.amount.as_ref().unwrap().payer_total, None);
        assert_eq!(unpaid.check_order(&own_order(payee, NUMBER)), Ok(()));

        let transaction_id = shop.sandbox.user_pays(NUMBER).unwrap();
        let paid = shop.query(payee, own);
        assert_eq!(paid.trade_state, TradeState::Success);
        assert_eq!(paid.transaction_id.as_deref(), Some(&*transaction_id));
        assert_eq!(
            shop.query(payee, OrderNumber::TransactionId(&transaction_id)),
            paid
        );
        assert_eq!(paid.check_order(&own_order(payee, NUMBER)), Ok(()));
        assert_eq!(shop.newest_event(), Event::Payment(paid));
        assert_eq!(shop.sandbox.user_pays(NUMBER), Err(UserError::OrderPaid));
        assert_eq!(shop.sandbox.user_pays("1"), Err(UserError::UnknownOrder));
    }
}

#[test]
fn a_paid_order_is_refunded_in_part_and_in_whole() {
    let shop = Shop::open();
    let transaction_id = shop.paid(DIRECT, NUMBER);
    let part = shop.client.send(&refund_of(NUMBER, "part|1", 40)).unwrap();
    assert_eq!(part.status, RefundStatus::Processing);
    assert_eq!((part.amount.refund, part.amount.total), (40, Some(TOTAL)));
    assert_eq!(shop.query_refund("part|1").unwrap(), part);
    let order = shop.query(DIRECT, OrderNumber::OutTradeNo(NUMBER));
    assert_eq!(order.trade_state, TradeState::Refund);

    shop.sandbox
        .settle_refund("part|1", RefundStatus::Success)
        .unwrap();
    let part = shop.query_refund("part|1").unwrap();
    assert_eq!(part.status, RefundStatus::Success);
    assert!(part.success_time.is_some());
    let Event::Refund(event) = shop.newest_event() else {
        panic!()
    };
    assert_eq!(event.refund_status, RefundStatus::Success);
    assert_eq!(
        (event.out_refund_no.as_str(), event.amount.refund),
        ("part|1", 40)
    );
    assert_eq!(
        (event.transaction_id, event.mchid.as_deref()),
        (transaction_id.clone(), Some(Sandbox::MCHID))
    );

    // By WeChat Pay's number, and no more than is left.
    let by_id = CreateRefund {
        order: OrderNumber::TransactionId(&transaction_id),
        ..refund_of(NUMBER, "rest", 60)
    };
    assert_eq!(
        refused(&shop, &refund_of(NUMBER, "more", 61)),
        code(400, "INVALID_REQUEST")
    );
    shop.client.send(&by_id).unwrap();
    for (status, kind) in [
        (RefundStatus::Abnormal, "REFUND.ABNORMAL"),
        (RefundStatus::Success, "REFUND.SUCCESS"),
    ] {
        shop.sandbox.settle_refund("rest", status.clone()).unwrap();
        assert_eq!(shop.query_refund("rest").unwrap().status, status);
        assert_eq!(shop.sandbox.notifications().pop().unwrap().event_type, kind);
    }
    let settled = shop.sandbox.settle_refund("rest", RefundStatus::Closed);
    assert_eq!(settled, Err(UserError::RefundSettled));
    let unknown = shop.sandbox.settle_refund("none", RefundStatus::Success);
    assert_eq!(unknown, Err(UserError::UnknownRefund));
}

#[test]
fn a_closed_refund_is_created_again_under_a_new_number() {
    let shop = Shop::open();
    shop.paid(DIRECT, NUMBER);
    shop.client
        .send(&refund_of(NUMBER, "first", TOTAL))
        .unwrap();
    assert_eq!(
        refused(&shop, &refund_of(NUMBER, "second", TOTAL)),
        code(400, "INVALID_REQUEST")
    );
    shop.sandbox
        .settle_refund("first", RefundStatus::Closed)
        .unwrap();
    assert_eq!(
        shop.sandbox.notifications().pop().unwrap().event_type,
        "REFUND.CLOSED"
    );
    let again = shop
        .client
        .send(&refund_of(NUMBER, "first", TOTAL))
        .unwrap();
    assert_eq!(again.status, RefundStatus::Closed);
    let new = shop
        .client
        .send(&refund_of(NUMBER, "second", TOTAL))
        .unwrap();
    assert_eq!(new.status, RefundStatus::Processing);
}

#[test]
fn a_platform_refunds_by_its_own_calls() {
    let shop = Shop::open();
    shop.paid(PARTNER, NUMBER);
    let accepted = shop
        .client
        .send(&platform_refund_of(NUMBER, "r1", 40))
        .unwrap();
    assert_eq!(accepted.amount.refund, 40);
    let refund = shop
        .query_platform_refund(RefundNumber::OutRefundNo("r1"))
        .unwrap();
    assert_eq!(refund.status, RefundStatus::Processing);
    assert_eq!(refund.amount.total, None);
    let by_id = shop.query_platform_refund(RefundNumber::RefundId(&accepted.refund_id));
    assert_eq!(by_id.unwrap(), refund);
    shop.sandbox
        .settle_refund("r1", RefundStatus::Success)
        .unwrap();
    let Event::Refund(event) = shop.newest_event() else {
        panic!()
    };
    assert_eq!(event.sub_mchid.as_deref(), Some(SUB_MCHID));
    assert_eq!(
        event.refund_account.as_deref(),
        Some("REFUND_SOURCE_SUB_MERCHANT")
    );

    // A service provider's call is the domestic one.
    let domestic = CreateRefund {
        sub_mchid: Some(SUB_MCHID),
        ..refund_of(NUMBER, "r2", 60)
    };
    let refund = shop.client.send(&domestic).unwrap();
    assert_eq!(refund.amount.total, Some(TOTAL));
}

#[test]
fn a_refund_number_refunds_once() {
    let shop = Shop::open();
    shop.paid(DIRECT, NUMBER);
    let first = shop.client.send(&refund_of(NUMBER, "r1", 40)).unwrap();
    let second = shop.client.send(&refund_of(NUMBER, "r1", 40)).unwrap();
    assert_eq!(first, second);
    assert_eq!(
        refused(&shop, &refund_of(NUMBER, "r1", 41)),
        code(400, "INVALID_REQUEST")
    );
    // 60 are left, so that 40 were refunded once.
    shop.client.send(&refund_of(NUMBER, "r2", 60)).unwrap();
}

#[test]
fn refunds_that_do_not_fit_are_refused() {
    let shop = Shop::open();
    let not_exists = code(404, "RESOURCE_NOT_EXISTS");
    assert_eq!(refused(&shop, &refund_of(NUMBER, "r", 1)), not_exists);
    shop.place(DIRECT, NUMBER).unwrap();
    assert_eq!(refused(&shop, &refund_of(NUMBER, "r", 1)), not_exists);
    shop.sandbox.user_pays(NUMBER).unwrap();
    let of_total = CreateRefund {
        amount: RefundAmount::fen(1, TOTAL + 1),
        ..refund_of(NUMBER, "r", 1)
    };
    assert_eq!(refused(&shop, &of_total), code(400, "INVALID_REQUEST"));
    let of_sub = CreateRefund {
        sub_mchid: Some(SUB_MCHID),
        ..refund_of(NUMBER, "r", 1)
    };
    assert_eq!(refused(&shop, &of_sub), not_exists);
    assert_eq!(
        refused(&shop, &platform_refund_of(NUMBER, "r", 1)),
        not_exists
    );
    for number in 0..50 {
        shop.client
            .send(&refund_of(NUMBER, &format!("r{number}"), 1))
            .unwrap();
    }
    assert_eq!(
        refused(&shop, &refund_of(NUMBER, "r50", 1)),
        code(400, "INVALID_REQUEST")
    );
    match shop.query_refund("none") {
        Err(Error::Api(error)) => assert!(error.has_code("RESOURCE_NOT_EXISTS")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unpaid_order_is_closed_for_good() {
    for payee in [DIRECT, PARTNER] {
        let shop = Shop::open();
        let close = close_of(payee, NUMBER);
        assert_eq!(refused(&shop, &close), code(404, "ORDER_NOT_EXIST"));
        shop.place(payee, NUMBER).unwrap();
        shop.client.send(&close).unwrap();
        shop.client.send(&close).unwrap();
        let order = shop.query(payee, OrderNumber::OutTradeNo(NUMBER));
        assert_eq!(order.trade_state, TradeState::Closed);
        assert_eq!(shop.sandbox.user_pays(NUMBER), Err(UserError::OrderClosed));
        match shop.place(payee, NUMBER) {
            Err(Error::Api(error)) => assert!(error.has_code("ORDER_CLOSED")),
            other => panic!("{other:?}"),
        }
        shop.paid(payee, "another-number");
        let paid = close_of(payee, "another-number");
        assert_eq!(refused(&shop, &paid), code(400, "ORDER_PAID"));
    }
}

#[test]
fn an_order_is_placed_again_only_unchanged() {
    let shop = Shop::open();
    let order = shop.order(NUMBER);
    let first = shop.client.send(&order).unwrap();
    let second = shop.client.send(&order).unwrap();
    assert_ne!(first, second);
    let changed = JsapiOrder {
        options: OrderOptions {
            attach: Some("a"),
            ..OrderOptions::default()
        },
        ..order
    };
    assert_eq!(refused(&shop, &changed), code(403, "OUT_TRADE_NO_USED"));
    shop.sandbox.user_pays(NUMBER).unwrap();
    assert_eq!(refused(&shop, &order), code(400, "ORDER_PAID"));
}

#[test]
fn a_prepay_id_ends_after_two_hours() {
    let shop = Shop::open();
    shop.place(DIRECT, NUMBER).unwrap();
    shop.sandbox.advance_clock(Duration::from_secs(2 * 60 * 60));
    assert_eq!(shop.sandbox.user_pays(NUMBER), Err(UserError::OrderExpired));
    shop.place(DIRECT, NUMBER).unwrap();
    shop.sandbox.user_pays(NUMBER).unwrap();
}

#[test]
fn an_order_is_known_to_its_own_merchants_alone() {
    let shop = Shop::open();
    shop.paid(DIRECT, "of-the-merchant");
    shop.paid(PARTNER, "of-the-partner");
    let other = Payee::SubMerchant {
        sp_mchid: Sandbox::MCHID,
        sub_mchid: "1900000111",
    };
    for (payee, number) in [
        (PARTNER, "of-the-merchant"),
        (DIRECT, "of-the-partner"),
        (other, "of-the-partner"),
    ] {
        let order = OrderNumber::OutTradeNo(number);
        let query = QueryOrder { payee, order };
        assert_eq!(refused(&shop, &query), code(404, "ORDER_NOT_EXIST"));
    }
    let foreign = Payee::Merchant {
        mchid: "1900000110",
    };
    let order = OrderNumber::OutTradeNo("of-the-merchant");
    let query = QueryOrder {
        payee: foreign,
        order,
    };
    assert_eq!(refused(&shop, &query), code(400, "PARAM_ERROR"));
}

#[test]
fn a_payment_and_a_refund_are_notified_again_until_they_are_acknowledged() {
    let shop = Shop::open();
    shop.paid(DIRECT, NUMBER);
    shop.client.send(&refund_of(NUMBER, "r1", TOTAL)).unwrap();
    shop.sandbox
        .settle_refund("r1", RefundStatus::Success)
        .unwrap();
    for sent in shop.sandbox.notifications().iter().rev().take(2) {
        let server = NotificationServer::open([Reaction::Status(500), Reaction::Status(204)]);
        shop.sandbox.deliver_notifications_to(&server.url).unwrap();
        shop.sandbox.retry_schedule([Duration::ZERO]);
        assert!(shop.sandbox.notify_again(&sent.id));
        assert!(shop.sandbox.wait_for_deliveries(PATIENCE));
        let (first, second) = (server.next(), server.next());
        assert_eq!(first.body, sent.body);
        assert_eq!(second.body, sent.body);
        let all = shop.sandbox.notifications();
        let again = all.iter().find(|known| known.id == sent.id).unwrap();
        let statuses: Vec<_> = again
            .attempts
            .iter()
            .map(|attempt| attempt.status)
            .collect();
        assert_eq!(statuses, [Some(500), Some(204)]);
    }
}

#[test]
fn a_snapshot_holds_orders_and_refunds() {
    let shop = Shop::open();
    shop.paid(DIRECT, NUMBER);
    shop.client.send(&refund_of(NUMBER, "r1", 40)).unwrap();
    let snapshot = shop.sandbox.snapshot();
    shop.sandbox.reset();
    assert!(shop.query_refund("r1").is_err());
    shop.sandbox.load(snapshot).unwrap();
    assert_eq!(shop.query_refund("r1").unwrap().amount.refund, 40);
    let order = shop.query(DIRECT, OrderNumber::OutTradeNo(NUMBER));
    assert_eq!(order.trade_state, TradeState::Refund);
}

#[test]
fn nothing_is_left_to_refund_in_a_snapshot_with_refunds_of_more_than_the_total() {
    let shop = Shop::open();
    shop.paid(DIRECT, NUMBER);
    shop.client.send(&refund_of(NUMBER, "r1", 40)).unwrap();
    shop.client.send(&refund_of(NUMBER, "r2", 1)).unwrap();
    let text = shop.sandbox.snapshot().to_string();
    let more = text.replace("\"refund\":40", "\"refund\":18446744073709551615");
    assert_ne!(more, text);
    shop.sandbox
        .load(serde_json::from_str(&more).unwrap())
        .unwrap();
    let error = shop.client.send(&refund_of(NUMBER, "r3", 1)).unwrap_err();
    assert!(error.to_string().contains("INVALID_REQUEST"), "{error}");
}

#[test]
fn a_program_in_python_leads_an_order_through_its_life() {
    if !installed("python3") || !installed("openssl") {
        return;
    }
    let sandbox = Sandbox::start().unwrap();
    let folder = Folder::new("order_life_py");
    let key = folder.write("merchant.pem", Sandbox::MERCHANT_KEY_PEM.as_bytes());
    let platform_key = folder.write("platform.pem", Sandbox::PUBLIC_KEY_PEM.as_bytes());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/order_life.py");
    let output = Command::new("python3")
        .args([
            script,
            sandbox.url(),
            Sandbox::MCHID,
            Sandbox::MERCHANT_SERIAL_NO,
        ])
        .args([key, platform_key])
        .output()
        .unwrap();
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{errors}");
    let last = "notified ENTRUST.SIGN TRANSACTION.SUCCESS REFUND.SUCCESS REFUND.ABNORMAL REFUND.SUCCESS ENTRUST.TERMINATE";
    assert_eq!(said.lines().last(), Some(last), "{said}");
    let failed = |request: &RecordedRequest| request.status >= 400;
    assert!(!sandbox.requests().iter().any(failed));
}
