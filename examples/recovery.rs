//! Recovery after an unknown outcome: the call may have taken effect, and nobody knows. A function for each call that
//! changes something: send again with the same number, or query first, but never take a new number.
//!
//! `cargo run --example recovery` loses the response to each call in the sandbox. `tests/it/recovery.rs` has all faults.

#[macro_use]
mod common;

use std::error::Error as StdError;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use wechatpay_contract::order::{
    AcceptedRefund, Amount, CloseOrder, ContractInfo, CreatePlatformRefund, CreateRefund,
    OrderNumber, OrderOptions, PartnerJsapiOrder, PartnerPayer, Payee, Prepay, QueryOrder,
    QueryPlatformRefund, QueryRefund, Refund, RefundAmount, RefundNumber, RefundOptions,
    TradeState,
};
use wechatpay_contract::sandbox::{Fault, Sandbox};
use wechatpay_contract::{
    Client, Endpoint, Error, MiniProgramSession, Outcome, QueryContract, TerminateContract,
    ecommerce,
};

/// How often a call is made at most. A pause lies before each repetition; a minute for a platform's refund.
const ATTEMPTS: usize = 3;

/// Makes a call again while its outcome is unknown. A call that is not sent or refused is for the caller to mend.
fn until_known<T>(pause: Duration, mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..ATTEMPTS {
        match call() {
            Err(error) if error.outcome() == Outcome::Unknown => thread::sleep(pause),
            result => return result,
        }
    }
    call()
}

/// Pre-sign: send again with the same code. A contract comes into being only when the user signs, and each session serves.
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

/// Terminate: query first, since a second termination would be refused. Terminate again while the contract is in force.
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
        Err(error) if error.outcome() == Outcome::Unknown => {
            match until_known(pause, || client.send(&query))?.is_in_force() {
                true => Err(error),
                false => Ok(()),
            }
        }
        result => result.map(|_| ()),
    })
}

/// Order: send again unchanged. The same `out_trade_no` with the same fields gives a `prepay_id` again; other fields are
/// refused. No money moves before the user pays.
pub(crate) fn order<E>(client: &Client, order: &E, pause: Duration) -> Result<Prepay, Error>
where
    E: Endpoint<Response = Prepay>,
{
    until_known(pause, || client.send(order))
}

/// The end of an order that was to be closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// It is closed and can never be paid.
    Closed,
    /// The user was quicker. Deliver, or refund.
    Paid,
}

/// Close: query, since the user may have paid meanwhile. Close again only an order that is not paid.
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
            // Refused too: a paid order is refused, and so is a closed one by some pages.
            Err(error) => error,
        };
        let order = until_known(pause, || client.send(&query))?;
        match order.trade_state {
            TradeState::Closed => Ok(Closing::Closed),
            _ if order.is_paid() => Ok(Closing::Paid),
            _ => Err(error),
        }
    })
}

/// Refund: query by the same `out_refund_no`; if it is not found, send the same refund again. A new number could refund
/// twice. The refund that is returned may be under way for days: its notification or a query tells the end.
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
        Err(error) if error.outcome() == Outcome::Unknown => {
            // Also if the query fails: the same number refunds once, however often it is sent.
            client.send(&query).map_err(|_| error)
        }
        result => result,
    })
}

/// A platform's refund: the same, with its own calls. Pause for a minute: more than one request per order and minute is
/// refused.
pub(crate) fn platform_refund(
    client: &Client,
    refund: &CreatePlatformRefund<'_>,
    pause: Duration,
) -> Result<Refund, Error> {
    let query = QueryPlatformRefund {
        sub_mchid: refund.sub_mchid,
        refund: RefundNumber::OutRefundNo(refund.out_refund_no),
    };
    until_known(pause, || match client.send(refund) {
        // The response has no state: the query has.
        Ok(AcceptedRefund { .. }) => until_known(pause, || client.send(&query)),
        Err(error) if error.outcome() == Outcome::Unknown => client.send(&query).map_err(|_| error),
        Err(error) => Err(error),
    })
}

fn main() -> ExitCode {
    common::main(include_str!("recovery.rs"), run)
}

fn run() -> Result<(), Box<dyn StdError>> {
    let (sandbox, pause) = (Sandbox::start()?, Duration::from_millis(10));
    let client = sandbox.client();
    // Each call that changes something is carried out, and its response lost.
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
        platform_refund(&client, &rest, pause)?.status
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
