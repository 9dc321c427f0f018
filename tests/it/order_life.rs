//! Orders after they are placed: the requests and responses of query, closing and refund, by the documented examples.
//! Also the rules before sending and the comparisons after it.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wechatpay_contract::order::{
    AcceptedRefund, CloseOrder, CreatePlatformRefund, CreateRefund, OrderNumber, OwnOrder, Payee,
    QueryOrder, QueryPlatformRefund, QueryRefund, Refund, RefundAmount, RefundChannel, RefundGoods,
    RefundNumber, RefundOptions, RefundSource, RefundStatus, TradeState, TradeType, Transaction,
};
use wechatpay_contract::{Endpoint, Method, Mismatch};

use crate::support::{assert_refused, present};

const PAID: &str = include_str!("../orders/paid.json");
const PAID_PARTNER: &str = include_str!("../orders/paid_partner.json");
const UNPAID: &str = include_str!("../orders/unpaid.json");
const REFUND: &str = include_str!("../orders/refund.json");
const PLATFORM_REFUND: &str = include_str!("../orders/platform_refund.json");
const PLATFORM_REFUND_ACCEPTED: &str = include_str!("../orders/platform_refund_accepted.json");

const NUMBER: &str = "1217752501201407033233368018";
const DIRECT: Payee<'static> = Payee::Merchant {
    mchid: "1230000109",
};
const PARTNER: Payee<'static> = Payee::SubMerchant {
    sp_mchid: "1230000109",
    sub_mchid: "1900000109",
};

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// Reads an example, and asserts that all of it is written again.
#[track_caller]
fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &str) -> T {
    let read: T = serde_json::from_str(json).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(present(written.clone()), present(value(json)));
    assert_eq!(serde_json::from_value::<T>(written).unwrap(), read);
    read
}

fn with(json: &str, pointer: &str, new: Value) -> Value {
    let mut body = value(json);
    *body.pointer_mut(pointer).unwrap() = new;
    body
}

fn check<E: Endpoint>(endpoint: &E, body: &Value) -> Result<(), Mismatch> {
    endpoint.check(&serde_json::from_value(body.clone()).unwrap(), "1230000109")
}

#[track_caller]
fn assert_differs<E: Endpoint>(endpoint: &E, body: &Value, field: &str) {
    assert_eq!(check(endpoint, body).unwrap_err().field, field);
}

#[track_caller]
fn assert_sends(endpoint: &impl Endpoint, method: Method, target: &str, body: Option<Value>) {
    let request = endpoint.request().unwrap();
    assert_eq!(request.method(), method);
    assert_eq!(request.target().unwrap(), target);
    let sent = request
        .body()
        .map(|body| serde_json::from_slice(body).unwrap());
    assert_eq!(sent, body);
}

fn assert_accepted(endpoint: &impl Endpoint) {
    endpoint.request().unwrap().target().unwrap();
}

mod query {
    use super::*;

    #[test]
    fn an_order_is_queried_by_either_number_for_either_kind_of_merchant() {
        let by = |payee, order| QueryOrder { payee, order };
        let (own, wechat) = (
            OrderNumber::OutTradeNo(NUMBER),
            OrderNumber::TransactionId(NUMBER),
        );
        for (query, target) in [
            (
                by(DIRECT, own),
                "/v3/pay/transactions/out-trade-no/1217752501201407033233368018?mchid=1230000109",
            ),
            (
                by(DIRECT, wechat),
                "/v3/pay/transactions/id/1217752501201407033233368018?mchid=1230000109",
            ),
            (
                by(PARTNER, own),
                "/v3/pay/partner/transactions/out-trade-no/1217752501201407033233368018?sp_mchid=1230000109&sub_mchid=1900000109",
            ),
            (
                by(PARTNER, wechat),
                "/v3/pay/partner/transactions/id/1217752501201407033233368018?sp_mchid=1230000109&sub_mchid=1900000109",
            ),
        ] {
            assert_sends(&query, Method::Get, target, None);
        }
        let problem = "is empty: wanted a value";
        assert_refused(
            &by(DIRECT, OrderNumber::OutTradeNo("")),
            "out_trade_no",
            problem,
        );
        assert_refused(
            &by(DIRECT, OrderNumber::TransactionId("")),
            "transaction_id",
            problem,
        );
        let nobody = Payee::SubMerchant {
            sp_mchid: "1230000109",
            sub_mchid: "",
        };
        assert_refused(&by(nobody, own), "sub_mchid", problem);
        let nobody = Payee::Merchant { mchid: "" };
        assert_refused(&by(nobody, own), "mchid", problem);
    }

    #[test]
    fn every_field_of_a_paid_order_is_read() {
        let paid: Transaction = read(PAID);
        assert_eq!(paid.trade_state, TradeState::Success);
        assert_eq!(paid.trade_type, Some(TradeType::Jsapi));
        assert!(paid.is_paid());
        let amount = paid.amount.unwrap();
        assert_eq!((amount.total, amount.payer_total), (Some(100), Some(90)));
        let payer = paid.payer.unwrap();
        assert_eq!(
            payer.openid.as_deref(),
            Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")
        );
        let [coupon] = &*paid.promotion_detail else {
            panic!("one coupon")
        };
        assert_eq!((coupon.kind.as_deref(), coupon.amount), (Some("CASH"), 10));
        assert_eq!(coupon.goods_detail[0].goods_id.as_deref(), Some("M1006"));

        let paid: Transaction = read(PAID_PARTNER);
        assert_eq!(paid.sub_mchid.as_deref(), Some("1900008XXX"));
        assert_eq!(paid.attach.as_deref(), Some(""));
    }

    #[test]
    fn an_unpaid_order_has_no_payer_and_no_payer_total() {
        let unpaid: Transaction = read(UNPAID);
        assert_eq!(unpaid.trade_state, TradeState::NotPay);
        assert!(!unpaid.is_paid());
        assert_eq!(
            (unpaid.transaction_id, unpaid.payer, unpaid.trade_type),
            (None, None, None)
        );
        assert_eq!(unpaid.scene_info.unwrap().device_id.as_deref(), Some(""));
        let closed =
            json!({"out_trade_no": NUMBER, "trade_state": "CLOSED", "promotion_detail": null});
        let closed: Transaction = serde_json::from_value(closed).unwrap();
        assert_eq!(
            (closed.trade_state, closed.amount),
            (TradeState::Closed, None)
        );
    }

    #[test]
    fn unknown_states_and_ways_of_paying_are_kept() {
        for text in [
            "SUCCESS",
            "REFUND",
            "NOTPAY",
            "CLOSED",
            "REVOKED",
            "USERPAYING",
            "PAYERROR",
            "ACCEPT",
        ] {
            let state = TradeState::from(text);
            assert!(!matches!(state, TradeState::Other(_)), "{text}");
            assert_eq!(state.to_string(), text);
        }
        for text in ["JSAPI", "NATIVE", "APP", "MICROPAY", "MWEB", "FACEPAY"] {
            assert!(
                !matches!(TradeType::from(text), TradeType::Other(_)),
                "{text}"
            );
        }
        assert_eq!(TradeType::from("PAP").as_str(), "PAP");
        let refunded: Transaction =
            serde_json::from_value(with(PAID, "/trade_state", json!("REFUND"))).unwrap();
        assert!(refunded.is_paid());
    }

    #[test]
    fn the_response_must_be_about_the_order_that_was_queried() {
        let query = |payee, order| QueryOrder { payee, order };
        let own = query(DIRECT, OrderNumber::OutTradeNo(NUMBER));
        let wechat = query(DIRECT, OrderNumber::TransactionId(NUMBER));
        for body in [PAID, UNPAID] {
            assert_eq!(check(&own, &value(body)), Ok(()));
            assert_differs(
                &own,
                &with(body, "/out_trade_no", json!("1")),
                "out_trade_no",
            );
            assert_differs(&own, &with(body, "/mchid", json!("1")), "mchid");
        }
        assert_eq!(check(&wechat, &value(PAID)), Ok(()));
        for other in [json!("1"), json!(null)] {
            let body = with(PAID, "/transaction_id", other);
            assert_differs(&wechat, &body, "transaction_id");
        }
        let payee = Payee::SubMerchant {
            sp_mchid: "1900007XXX",
            sub_mchid: "1900008XXX",
        };
        let partner = query(
            payee,
            OrderNumber::TransactionId("4200000985202103031441826014"),
        );
        assert_eq!(check(&partner, &value(PAID_PARTNER)), Ok(()));
        for field in ["sp_mchid", "sub_mchid", "transaction_id"] {
            let body = with(PAID_PARTNER, &format!("/{field}"), json!("1"));
            assert_differs(&partner, &body, field);
        }
        assert_differs(&partner, &value(PAID), "sp_mchid");
    }

    #[test]
    fn a_payment_is_compared_with_the_own_order() {
        let own = OwnOrder {
            payee: DIRECT,
            appid: "wxd678efh567hg6787",
            sub_appid: None,
            out_trade_no: NUMBER,
            total: 100,
            currency: "CNY",
        };
        let difference = |body: &Value, own: &OwnOrder<'_>| {
            let paid: Transaction = serde_json::from_value(body.clone()).unwrap();
            paid.check_order(own)
                .err()
                .map(|difference| difference.field)
        };
        assert_eq!(difference(&value(PAID), &own), None);
        assert_eq!(difference(&value(UNPAID), &own), None);
        // The user pays less with a coupon.
        assert_eq!(
            difference(&with(PAID, "/amount/payer_total", json!(1)), &own),
            None
        );
        for (pointer, other, field) in [
            ("/out_trade_no", json!("1"), "out_trade_no"),
            ("/mchid", json!("1"), "mchid"),
            ("/mchid", json!(null), "mchid"),
            ("/appid", json!("1"), "appid"),
            ("/amount/total", json!(101), "amount.total"),
            ("/amount/total", json!(null), "amount.total"),
            ("/amount/currency", json!("USD"), "amount.currency"),
            ("/amount/currency", json!(null), "amount.currency"),
            ("/amount", json!(null), "amount.total"),
        ] {
            assert_eq!(
                difference(&with(PAID, pointer, other), &own),
                Some(field),
                "{pointer}"
            );
        }
        assert_eq!(
            difference(&with(UNPAID, "/amount/total", json!(99)), &own),
            Some("amount.total")
        );

        let partner = OwnOrder {
            payee: Payee::SubMerchant {
                sp_mchid: "1900007XXX",
                sub_mchid: "1900008XXX",
            },
            appid: "wxdace645e0bc2cXXX",
            sub_appid: Some("wxdace645e0bc2cXXX"),
            out_trade_no: "b3682ea011c547a49e8d7cc93107b71c",
            total: 2,
            ..own
        };
        assert_eq!(difference(&value(PAID_PARTNER), &partner), None);
        for field in ["sp_mchid", "sub_mchid", "sp_appid", "sub_appid"] {
            let body = with(PAID_PARTNER, &format!("/{field}"), json!("1"));
            assert_eq!(difference(&body, &partner), Some(field));
        }
    }
}

mod close {
    use super::*;

    #[test]
    fn an_order_is_closed_by_its_own_number() {
        let close = |payee| CloseOrder {
            payee,
            out_trade_no: NUMBER,
        };
        assert_sends(
            &close(DIRECT),
            Method::Post,
            "/v3/pay/transactions/out-trade-no/1217752501201407033233368018/close",
            Some(json!({"mchid": "1230000109"})),
        );
        assert_sends(
            &close(PARTNER),
            Method::Post,
            "/v3/pay/partner/transactions/out-trade-no/1217752501201407033233368018/close",
            Some(json!({"sp_mchid": "1230000109", "sub_mchid": "1900000109"})),
        );
        let nothing = CloseOrder {
            payee: DIRECT,
            out_trade_no: "",
        };
        assert_refused(&nothing, "out_trade_no", "is empty: wanted a value");
    }
}

mod outcomes {
    use wechatpay_contract::{Error, Outcome};

    use super::*;
    use crate::support::{Headers, NOW, at, merchant};

    /// Returns the error of a call with this signed response.
    fn failed(endpoint: &impl Endpoint, status: u16, code: &str) -> Error {
        let body = json!({"code": code, "message": "m"})
            .to_string()
            .into_bytes();
        let headers = Headers::signed(&body);
        merchant()
            .accept_for(endpoint, status, headers.pairs(), &body, at(NOW))
            .err()
            .unwrap()
    }

    #[test]
    fn too_many_requests_for_a_refund_or_a_closing_have_an_unknown_outcome() {
        let query = QueryRefund {
            sub_mchid: None,
            out_refund_no: NUMBER,
        };
        let close = CloseOrder {
            payee: DIRECT,
            out_trade_no: NUMBER,
        };
        let create = refund::CREATE;
        let platform = refund::CREATE_FOR_PLATFORM;
        for (status, code, outcome) in [
            (429, "FREQUENCY_LIMITED", Outcome::Unknown),
            (429, "SOME_CODE", Outcome::Unknown),
            (403, "FREQUENCY_LIMITED", Outcome::Unknown),
            (403, "FREQUENCYLIMITED", Outcome::Unknown),
            (403, "NO_AUTH", Outcome::Refused),
        ] {
            assert_eq!(failed(&create, status, code).outcome(), outcome);
            assert_eq!(failed(&platform, status, code).outcome(), outcome);
            assert_eq!(failed(&close, status, code).outcome(), outcome);
            assert_eq!(failed(&query, status, code).outcome(), Outcome::Refused);
        }
    }

    #[test]
    fn a_closing_with_status_202_is_not_done() {
        let close = CloseOrder {
            payee: DIRECT,
            out_trade_no: NUMBER,
        };
        let error = failed(&close, 202, "USER_PAYING");
        assert!(matches!(error, Error::Accepted { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::Unknown);
        let done = |status, body: &[u8]| {
            let headers = Headers::signed(body);
            merchant().accept_for(&close, status, headers.pairs(), body, at(NOW))
        };
        assert!(done(204, b"").is_ok());
        let error = done(200, b"{}").unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
    }

    #[test]
    fn a_code_is_recognized_in_either_spelling() {
        let close = CloseOrder {
            payee: DIRECT,
            out_trade_no: NUMBER,
        };
        for (received, wanted, is_same) in [
            ("ORDER_NOT_EXIST", "ORDER_NOT_EXIST", true),
            ("ORDERNOTEXIST", "ORDER_NOT_EXIST", true),
            ("ORDER_CLOSED", "ORDERCLOSED", true),
            ("SYSTEMERROR", "SYSTEM_ERROR", true),
            ("ORDER_PAID", "ORDER_CLOSED", false),
            ("ORDER_NOT_EXISTS", "ORDER_NOT_EXIST", false),
        ] {
            let Error::Api(error) = failed(&close, 400, received) else {
                panic!()
            };
            assert_eq!(error.has_code(wanted), is_same, "{received} {wanted}");
        }
    }
}

mod refund {
    use super::*;

    pub(super) const CREATE: CreateRefund<'static> = CreateRefund {
        sub_mchid: None,
        order: OrderNumber::TransactionId(NUMBER),
        out_refund_no: NUMBER,
        amount: RefundAmount::fen(100, 100),
        goods_detail: &[],
        options: RefundOptions {
            reason: None,
            notify_url: None,
            funds_account: None,
        },
    };
    pub(super) const CREATE_FOR_PLATFORM: CreatePlatformRefund<'static> = CreatePlatformRefund {
        sub_mchid: "1900000109",
        sp_appid: "wx8888888888888888",
        sub_appid: None,
        order: OrderNumber::TransactionId(NUMBER),
        out_refund_no: NUMBER,
        amount: RefundAmount::fen(888, 888),
        refund_account: None,
        options: RefundOptions {
            reason: None,
            notify_url: None,
            funds_account: None,
        },
    };

    #[test]
    fn a_refund_sends_the_documented_fields() {
        let least = json!({
            "transaction_id": NUMBER,
            "out_refund_no": NUMBER,
            "amount": {"refund": 100, "total": 100, "currency": "CNY"},
        });
        assert_sends(
            &CREATE,
            Method::Post,
            "/v3/refund/domestic/refunds",
            Some(least),
        );
        let all = CreateRefund {
            sub_mchid: Some("1900000109"),
            order: OrderNumber::OutTradeNo(NUMBER),
            amount: RefundAmount {
                from: &[
                    RefundSource {
                        account: "AVAILABLE",
                        amount: 444,
                    },
                    RefundSource {
                        account: "UNAVAILABLE",
                        amount: 444,
                    },
                ],
                ..RefundAmount::fen(888, 888)
            },
            goods_detail: &[RefundGoods {
                merchant_goods_id: NUMBER,
                wechatpay_goods_id: Some("1001"),
                goods_name: Some("iPhone6s 16G"),
                unit_price: 528_800,
                refund_amount: 528_800,
                refund_quantity: 1,
            }],
            options: RefundOptions {
                reason: Some("商品已售完"),
                notify_url: Some("https://weixin.qq.com"),
                funds_account: None,
            },
            ..CREATE
        };
        let body = json!({
            "sub_mchid": "1900000109",
            "out_trade_no": NUMBER,
            "out_refund_no": NUMBER,
            "reason": "商品已售完",
            "notify_url": "https://weixin.qq.com",
            "amount": {
                "refund": 888, "total": 888, "currency": "CNY",
                "from": [{"account": "AVAILABLE", "amount": 444}, {"account": "UNAVAILABLE", "amount": 444}],
            },
            "goods_detail": [{
                "merchant_goods_id": NUMBER, "wechatpay_goods_id": "1001", "goods_name": "iPhone6s 16G",
                "unit_price": 528_800, "refund_amount": 528_800, "refund_quantity": 1,
            }],
        });
        assert_sends(
            &all,
            Method::Post,
            "/v3/refund/domestic/refunds",
            Some(body),
        );
    }

    #[test]
    fn a_platforms_refund_sends_the_documented_fields() {
        let least = json!({
            "sub_mchid": "1900000109",
            "sp_appid": "wx8888888888888888",
            "transaction_id": NUMBER,
            "out_refund_no": NUMBER,
            "amount": {"refund": 888, "total": 888, "currency": "CNY"},
        });
        assert_sends(
            &CREATE_FOR_PLATFORM,
            Method::Post,
            "/v3/ecommerce/refunds/apply",
            Some(least.clone()),
        );
        let all = CreatePlatformRefund {
            sub_appid: Some("wxd678efh567hg6999"),
            refund_account: Some("REFUND_SOURCE_SUB_MERCHANT"),
            options: RefundOptions {
                reason: Some("商品已售完"),
                notify_url: Some("https://weixin.qq.com"),
                funds_account: Some("AVAILABLE"),
            },
            ..CREATE_FOR_PLATFORM
        };
        let mut body = least;
        body["sub_appid"] = json!("wxd678efh567hg6999");
        body["refund_account"] = json!("REFUND_SOURCE_SUB_MERCHANT");
        body["reason"] = json!("商品已售完");
        body["notify_url"] = json!("https://weixin.qq.com");
        body["funds_account"] = json!("AVAILABLE");
        assert_sends(
            &all,
            Method::Post,
            "/v3/ecommerce/refunds/apply",
            Some(body),
        );
        let wrong = CreatePlatformRefund {
            sp_appid: "",
            ..CREATE_FOR_PLATFORM
        };
        assert_refused(&wrong, "sp_appid", "is empty: wanted a value");
        let wrong = CreatePlatformRefund {
            sub_mchid: "",
            ..CREATE_FOR_PLATFORM
        };
        assert_refused(&wrong, "sub_mchid", "is empty: wanted a value");
    }

    #[test]
    fn refunds_are_queried_by_their_numbers() {
        let query = |sub_mchid| QueryRefund {
            sub_mchid,
            out_refund_no: "a|b*c@d",
        };
        assert_sends(
            &query(None),
            Method::Get,
            "/v3/refund/domestic/refunds/a%7Cb%2Ac%40d",
            None,
        );
        assert_sends(
            &query(Some("1900000109")),
            Method::Get,
            "/v3/refund/domestic/refunds/a%7Cb%2Ac%40d?sub_mchid=1900000109",
            None,
        );
        let query = |refund| QueryPlatformRefund {
            sub_mchid: "1900000109",
            refund,
        };
        assert_sends(
            &query(RefundNumber::OutRefundNo("a|b")),
            Method::Get,
            "/v3/ecommerce/refunds/out-refund-no/a%7Cb?sub_mchid=1900000109",
            None,
        );
        assert_sends(
            &query(RefundNumber::RefundId(NUMBER)),
            Method::Get,
            "/v3/ecommerce/refunds/id/1217752501201407033233368018?sub_mchid=1900000109",
            None,
        );
    }

    #[test]
    fn refund_numbers_and_reasons_have_documented_characters_and_lengths() {
        let number = |out_refund_no| CreateRefund {
            out_refund_no,
            ..CREATE
        };
        let (at_64, over_64) = ("n".repeat(64), "n".repeat(65));
        for good in ["1", "aZ9_-|*@", &at_64] {
            assert_accepted(&number(good));
        }
        let problem = "found 65 characters: wanted at most 64";
        assert_refused(&number(&over_64), "out_refund_no", problem);
        assert_refused(&number(""), "out_refund_no", "is empty: wanted a value");
        for (bad, found) in [("a b", ' '), ("号", '号'), ("a/b", '/')] {
            let problem = format!(
                "found the character {found:?}: wanted ASCII digits, letters, '_', '-', '|', '*' and '@' only"
            );
            assert_refused(&number(bad), "out_refund_no", &problem);
            let query = QueryRefund {
                sub_mchid: None,
                out_refund_no: bad,
            };
            assert_refused(&query, "out_refund_no", &problem);
        }
        let reason = |reason| {
            let options = RefundOptions {
                reason: Some(reason),
                ..RefundOptions::default()
            };
            CreateRefund { options, ..CREATE }
        };
        let (at_78, over_80) = ("号".repeat(26), "号".repeat(27));
        assert_accepted(&reason(&at_78));
        assert_refused(
            &reason(&over_80),
            "reason",
            "found 81 bytes: wanted at most 80",
        );
        let notify_url = |url| {
            let options = RefundOptions {
                notify_url: Some(url),
                ..RefundOptions::default()
            };
            CreateRefund { options, ..CREATE }
        };
        assert_accepted(&notify_url("https://a.example/paid"));
        let problem =
            "found a URL with a query: wanted an https:// URL with a host, without a query";
        assert_refused(
            &notify_url("https://a.example/paid?a=b"),
            "notify_url",
            problem,
        );
    }

    #[test]
    fn inconsistent_amounts_of_a_refund_are_refused() {
        let amount = |amount| CreateRefund { amount, ..CREATE };
        let fen = |refund, total| amount(RefundAmount::fen(refund, total));
        assert_accepted(&fen(1, 100));
        for (refund, total) in [(0, 100), (101, 100), (1, 0)] {
            let problem = format!("found {refund}: wanted 1 to amount.total, {total}");
            assert_refused(&fen(refund, total), "amount.refund", &problem);
        }
        let source = |account, amount| RefundSource { account, amount };
        let from = |from| {
            amount(RefundAmount {
                from,
                ..RefundAmount::fen(100, 100)
            })
        };
        let two = [source("AVAILABLE", 60), source("UNAVAILABLE", 40)];
        let all = [source("AVAILABLE", 100)];
        assert_accepted(&from(&two));
        let problem = "has the wrong sum: wanted amount.refund, 100";
        assert_refused(&from(&two[..1]), "amount.from", problem);
        let too_much = [source("AVAILABLE", u64::MAX), source("UNAVAILABLE", 101)];
        assert_refused(&from(&too_much), "amount.from", problem);
        let twice = [source("AVAILABLE", 60), source("AVAILABLE", 40)];
        assert_refused(
            &from(&twice),
            "amount.from",
            "has an account twice: wanted it once",
        );
        let both = CreateRefund {
            options: RefundOptions {
                funds_account: Some("AVAILABLE"),
                ..RefundOptions::default()
            },
            ..from(&all)
        };
        let problem = "found it beside amount.from: wanted one of the two";
        assert_refused(&both, "funds_account", problem);
        let unnamed = CreateRefund {
            goods_detail: &[RefundGoods {
                merchant_goods_id: "",
                wechatpay_goods_id: None,
                goods_name: None,
                unit_price: 1,
                refund_amount: 1,
                refund_quantity: 1,
            }],
            ..CREATE
        };
        let problem = "is empty: wanted a value";
        assert_refused(&unnamed, "goods_detail[0].merchant_goods_id", problem);
    }

    #[test]
    fn every_field_of_a_refund_is_read() {
        let refund: Refund = read(REFUND);
        assert_eq!(refund.status, RefundStatus::Success);
        assert_eq!(refund.channel, Some(RefundChannel::Original));
        assert_eq!(
            (refund.amount.refund, refund.amount.total),
            (100, Some(100))
        );
        assert_eq!(refund.amount.from[0].amount, 444);
        assert_eq!(
            refund.promotion_detail[0].goods_detail[0].refund_quantity,
            Some(1)
        );
        let refund: Refund = read(PLATFORM_REFUND);
        assert_eq!((refund.amount.total, refund.amount.refund), (None, 888));
        assert_eq!(
            refund.refund_account.as_deref(),
            Some("REFUND_SOURCE_SUB_MERCHANT")
        );
        let accepted: AcceptedRefund = read(PLATFORM_REFUND_ACCEPTED);
        assert_eq!(accepted.amount.advance, Some(888));
        for (text, status) in [
            ("PROCESSING", RefundStatus::Processing),
            ("ABNORMAL", RefundStatus::Abnormal),
            ("CLOSED", RefundStatus::Closed),
            ("CLOSE", RefundStatus::Closed),
            ("NEW", RefundStatus::Other("NEW".to_owned())),
        ] {
            let body = with(REFUND, "/status", json!(text));
            let refund: Refund = serde_json::from_value(body).unwrap();
            assert_eq!(refund.status, status);
        }
    }

    #[test]
    fn the_response_must_be_about_the_refund() {
        assert_eq!(check(&CREATE, &value(REFUND)), Ok(()));
        for (pointer, other, field) in [
            ("/out_refund_no", json!("1"), "out_refund_no"),
            ("/transaction_id", json!("1"), "transaction_id"),
            ("/amount/refund", json!(99), "amount.refund"),
            ("/amount/total", json!(101), "amount.total"),
            ("/amount/total", json!(null), "amount.total"),
            ("/amount/currency", json!("USD"), "amount.currency"),
            ("/amount/currency", json!(null), "amount.currency"),
        ] {
            assert_differs(&CREATE, &with(REFUND, pointer, other), field);
        }
        let by_own = CreateRefund {
            order: OrderNumber::OutTradeNo(NUMBER),
            ..CREATE
        };
        assert_differs(
            &by_own,
            &with(REFUND, "/out_trade_no", json!("1")),
            "out_trade_no",
        );
        let query = QueryRefund {
            sub_mchid: None,
            out_refund_no: NUMBER,
        };
        assert_eq!(check(&query, &value(REFUND)), Ok(()));
        assert_differs(
            &query,
            &with(REFUND, "/out_refund_no", json!("1")),
            "out_refund_no",
        );

        assert_eq!(
            check(&CREATE_FOR_PLATFORM, &value(PLATFORM_REFUND_ACCEPTED)),
            Ok(())
        );
        for (pointer, other, field) in [
            ("/out_refund_no", json!("1"), "out_refund_no"),
            ("/amount/refund", json!(1), "amount.refund"),
            ("/amount/currency", json!("USD"), "amount.currency"),
        ] {
            let body = with(PLATFORM_REFUND_ACCEPTED, pointer, other);
            assert_differs(&CREATE_FOR_PLATFORM, &body, field);
        }
        let total = json!({"refund": 888, "payer_refund": 888, "total": 889});
        let body = with(PLATFORM_REFUND_ACCEPTED, "/amount", total);
        assert_differs(&CREATE_FOR_PLATFORM, &body, "amount.total");
        let without = json!({"refund": 888, "payer_refund": 888});
        let body = with(PLATFORM_REFUND_ACCEPTED, "/amount", without);
        assert_eq!(check(&CREATE_FOR_PLATFORM, &body), Ok(()));
        let query = |refund| QueryPlatformRefund {
            sub_mchid: "1900000109",
            refund,
        };
        for (query, field) in [
            (query(RefundNumber::OutRefundNo(NUMBER)), "out_refund_no"),
            (query(RefundNumber::RefundId(NUMBER)), "refund_id"),
        ] {
            assert_eq!(check(&query, &value(PLATFORM_REFUND)), Ok(()));
            let body = with(PLATFORM_REFUND, &format!("/{field}"), json!("1"));
            assert_differs(&query, &body, field);
        }
    }

    #[test]
    fn a_queried_refund_is_compared_with_the_platforms_request() {
        let difference = |create: CreatePlatformRefund<'_>, body: Value| {
            let refund = serde_json::from_value(body).unwrap();
            create.check_refund(&refund).err().map(|error| error.field)
        };
        let create = CREATE_FOR_PLATFORM;
        assert_eq!(difference(create, value(PLATFORM_REFUND)), None);
        let by_own = CreatePlatformRefund {
            order: OrderNumber::OutTradeNo(NUMBER),
            ..create
        };
        assert_eq!(difference(by_own, value(PLATFORM_REFUND)), None);
        for (create, pointer, other, field) in [
            (create, "/out_refund_no", json!("1"), "out_refund_no"),
            (create, "/transaction_id", json!("1"), "transaction_id"),
            (by_own, "/out_trade_no", json!("1"), "out_trade_no"),
            (create, "/amount/refund", json!(1), "amount.refund"),
            (create, "/amount/currency", json!("USD"), "amount.currency"),
        ] {
            let body = with(PLATFORM_REFUND, pointer, other);
            assert_eq!(difference(create, body), Some(field));
        }
    }
}
