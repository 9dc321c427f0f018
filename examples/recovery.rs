//! Recovery after an unknown outcome, when a call may have taken effect. There is a function for each call that changes
//! something. It sends the call again with the same number, or queries first, and never takes a new number.
//!
//! `cargo run --example recovery` loses the response to each call in the sandbox. `tests/it/recovery.rs` tests all
//! faults.

#[macro_use]
mod common;

use std::error::Error as StdError;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use wechatpay_contract::order::{
    Amount, CloseOrder, ContractInfo, CreatePlatformRefund, CreateRefund, OrderNumber,
    OrderOptions, PartnerJsapiOrder, PartnerPayer, Payee, Prepay, QueryOrder, QueryPlatformRefund,
    QueryRefund, Refund, RefundAmount, RefundNumber, RefundOptions, TradeState, Transaction,
};
use wechatpay_contract::sandbox::{Fault, Sandbox};
use wechatpay_contract::{
    Client, ContractState, Endpoint, Error, MiniProgramSession, Mismatch, Outcome, QueryContract,
    TerminateContract, ecommerce,
};

/// The maximum number of attempts. The caller sets the pause between two of them: a minute for a platform's refund.
const ATTEMPTS: usize = 3;

/// Makes a call again while its outcome is unknown.
///
/// If an attempt has an unknown outcome, the refusal of a later attempt does not mean that nothing happened. So an
/// error with an unknown outcome is returned then, and not the refusal.
pub(crate) fn until_known<T>(
    pause: Duration,
    mut call: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut unknown = None;
    for _ in 1..ATTEMPTS {
        match call() {
            Err(error) if error.outcome() == Outcome::Unknown => unknown = Some(error),
            Err(error) if unknown.is_none() => return Err(error),
            Err(_) => {}
            done => return done,
        }
        thread::sleep(pause);
    }
    call().map_err(|error| unknown.unwrap_or(error))
}

/// Pre-sign: send again with the same code. There is a contract only when the user signs, and any of the sessions
/// serves.
pub(crate) fn pre_sign<E>(
    client: &Client,
    contract: &E,
    pause: Duration,
) -> Result<MiniProgramSession, Error>
where
    E: Endpoint<Response = MiniProgramSession>,
{
    until_known(pause, || client.send(contract))
}

/// Terminate: query. If the contract has not ended, send again. A termination that is refused counts as done if the
/// query says that the contract has ended.
pub(crate) fn terminate(
    client: &Client,
    end: &TerminateContract<'_>,
    pause: Duration,
) -> Result<(), Error> {
    let query = QueryContract {
        service_id: end.service_id,
        out_contract_code: end.out_contract_code,
    };
    until_known(pause, || match client.send(end) {
        Err(error) if error.outcome() != Outcome::NotSent => {
            match until_known(pause, || client.send(&query)) {
                Ok(contract) if contract.contract_state == ContractState::Terminated => Ok(()),
                _ => Err(error),
            }
        }
        result => result.map(|_| ()),
    })
}

/// Order: send again unchanged. For the same `out_trade_no` with the same fields, WeChat Pay returns a `prepay_id`
/// again. Other fields are refused. No money moves before the user pays.
pub(crate) fn order<E>(client: &Client, order: &E, pause: Duration) -> Result<Prepay, Error>
where
    E: Endpoint<Response = Prepay>,
{
    until_known(pause, || client.send(order))
}

/// The result of closing an order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// It is closed and can never be paid.
    Closed,
    /// The user has paid it. Compare it by `check_order`, and deliver or refund it. In the state `REFUND`, a refund was
    /// already started.
    Paid(Box<Transaction>),
}

/// Close: query, since the user may have paid meanwhile. Close again only an order that is not paid. Query after a
/// refusal too: WeChat Pay refuses to close a paid order and, by some pages, a closed one.
pub(crate) fn close(
    client: &Client,
    close: &CloseOrder<'_>,
    pause: Duration,
) -> Result<Closing, Error> {
    let query = QueryOrder {
        payee: close.payee,
        order: OrderNumber::OutTradeNo(close.out_trade_no),
    };
    until_known(pause, || {
        let error = match client.send(close) {
            Ok(()) => return Ok(Closing::Closed),
            Err(error) if error.outcome() == Outcome::NotSent => return Err(error),
            Err(error) => error,
        };
        match until_known(pause, || client.send(&query)) {
            Ok(order) if order.trade_state == TradeState::Closed => Ok(Closing::Closed),
            Ok(order) if order.is_paid() => Ok(Closing::Paid(Box::new(order))),
            _ => Err(error),
        }
    })
}

/// Refund: query by the same `out_refund_no`. If it is not found, or the query fails, send the same refund again: one
/// number refunds once, and a new one could refund twice. The refund that the query returns is compared with this one,
/// since the number may belong to another refund. A refund may take days: its notification or a later query has its
/// final state.
pub(crate) fn refund(
    client: &Client,
    refund: &CreateRefund<'_>,
    pause: Duration,
) -> Result<Refund, Error> {
    let query = QueryRefund {
        sub_mchid: refund.sub_mchid,
        out_refund_no: refund.out_refund_no,
    };
    until_known(pause, || match client.send(refund) {
        Err(error) if error.outcome() == Outcome::Unknown => match client.send(&query) {
            Ok(found) => {
                is_this(refund.check(&found, client.merchant().signer().mchid())).map(|()| found)
            }
            Err(_) => Err(error),
        },
        result => result,
    })
}

fn is_this(comparison: Result<(), Mismatch>) -> Result<(), Error> {
    comparison.map_err(|source| Error::Mismatch {
        request_id: None,
        source,
    })
}

/// A platform's refund: the same, with its own calls. Returns WeChat Pay's refund number. A query returns the state.
/// Pause for a minute: more than one request per order and minute is refused.
pub(crate) fn platform_refund(
    client: &Client,
    refund: &CreatePlatformRefund<'_>,
    pause: Duration,
) -> Result<String, Error> {
    let query = QueryPlatformRefund {
        sub_mchid: refund.sub_mchid,
        refund: RefundNumber::OutRefundNo(refund.out_refund_no),
    };
    until_known(pause, || match client.send(refund) {
        Err(error) if error.outcome() == Outcome::Unknown => match client.send(&query) {
            Ok(found) => is_this(refund.check_refund(&found)).map(|()| found.refund_id),
            Err(_) => Err(error),
        },
        result => result.map(|accepted| accepted.refund_id),
    })
}

fn main() -> ExitCode {
    common::main(include_str!("recovery.rs"), run)
}

fn run() -> Result<(), Box<dyn StdError>> {
    let (sandbox, pause) = (Sandbox::start()?, Duration::from_millis(10));
    let client = sandbox.client();
    // Each call that changes something is carried out, and its response is lost.
    let lose = || sandbox.fault(Fault::Close { took_effect: true }.on("POST", "/v3/"));
    let code = "wxwtdk20200910100000";
    lose();
    let contract = ecommerce::MiniProgramPreSign {
        appid: "wxd678efh567hg6787",
        service_id: 12535,
        out_contract_code: code,
        notify_url: "https://yourapp.com/notify",
        contract_display_account: "微信代扣用户A",
        openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    };
    say!(
        "session {}",
        pre_sign(&client, &contract, pause)?.pre_entrustweb_id
    );
    let contract_id = sandbox.user_signs(code)?;

    let place = |out_trade_no: &str| {
        lose();
        order(
            &client,
            &PartnerJsapiOrder {
                sp_appid: contract.appid,
                sp_mchid: Sandbox::MCHID,
                sub_appid: None,
                sub_mchid: "1900000110",
                description: "Image形象店-深圳腾大-QQ公仔",
                out_trade_no,
                notify_url: "https://yourapp.com/paid",
                amount: Amount::fen(100),
                payer: PartnerPayer::SpOpenid(contract.openid),
                contract_info: ContractInfo::PasswordFreeContractId(&contract_id),
                options: OrderOptions::default(),
            },
            pause,
        )
    };
    say!("prepay id {}", place("cancelled-order")?.prepay_id);
    let payee = Payee::SubMerchant {
        sp_mchid: Sandbox::MCHID,
        sub_mchid: "1900000110",
    };
    let out_trade_no = "cancelled-order";
    lose();
    say!(
        "order {:?}",
        close(
            &client,
            &CloseOrder {
                payee,
                out_trade_no
            },
            pause
        )?
    );

    place("paid-order")?;
    sandbox.user_pays("paid-order")?;
    let part = CreateRefund {
        sub_mchid: Some("1900000110"),
        order: OrderNumber::OutTradeNo("paid-order"),
        out_refund_no: "refund-1",
        amount: RefundAmount::fen(40, 100),
        goods_detail: &[],
        options: RefundOptions::default(),
    };
    lose();
    say!("refund {}", refund(&client, &part, pause)?.status);
    let rest = CreatePlatformRefund {
        sub_mchid: "1900000110",
        sp_appid: contract.appid,
        sub_appid: None,
        order: part.order,
        out_refund_no: "refund-2",
        amount: RefundAmount::fen(60, 100),
        refund_account: None,
        options: RefundOptions::default(),
    };
    lose();
    say!(
        "platform's refund {}",
        platform_refund(&client, &rest, pause)?
    );

    lose();
    let end = TerminateContract {
        service_id: contract.service_id,
        out_contract_code: code,
        contract_termination_remark: "用户解约",
    };
    terminate(&client, &end, pause)?;
    say!("terminated");
    Ok(())
}
