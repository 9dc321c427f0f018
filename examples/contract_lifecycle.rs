//! The life of a contract in the order in which it happens: pre-signed, signed, queried, used for an order that is paid
//! and refunded, and terminated. Each change is notified.
//!
//! `cargo run --example contract_lifecycle` needs no configuration: the sandbox simulates WeChat Pay and the user. It
//! ends by itself, with exit code 0 if everything was as expected.

#[macro_use]
mod common;
#[path = "common/http.rs"]
mod http;

use std::error::Error;
use std::fmt::Debug;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use wechatpay_contract::order::{
    Amount, ContractInfo, CreatePlatformRefund, OrderNumber, OrderOptions, OwnOrder,
    PartnerJsapiOrder, PartnerPayer, Payee, RefundAmount, RefundOptions, RefundStatus,
};
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    ApiV3Key, Client, ContractState, Event, Notification, NotificationReceiver, NotificationReply,
    QueryContract, TerminateContract, ecommerce,
};

const APPID: &str = "wxd678efh567hg6787";
const SERVICE_ID: u64 = 12535;
const CODE: &str = "wxwtdk20200910100000";
const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";
const SUB_MCHID: &str = "1900000110";
const NUMBER: &str = "1217752501201407033233368018";
/// The platform's own record of its order.
const OWN_ORDER: OwnOrder<'static> = OwnOrder {
    payee: Payee::SubMerchant {
        sp_mchid: Sandbox::MCHID,
        sub_mchid: SUB_MCHID,
    },
    appid: APPID,
    sub_appid: None,
    out_trade_no: NUMBER,
    total: 100,
    currency: "CNY",
};
/// The longest time that a notification may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    common::main(include_str!("contract_lifecycle.rs"), run)
}

fn run() -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start()?;
    let (client, events) = (sandbox.client(), receive_notifications(&sandbox)?);

    say!("\nthe platform pre-signs a contract");
    pre_sign(&client)?;

    say!("\nthe user signs it in WeChat's mini program");
    sandbox.user_signs(CODE)?;
    next_event(&events, "ENTRUST.SIGN")?;

    say!("\nthe platform queries it");
    let contract_id = query(&client, ContractState::Signed)?;

    say!("\nthe platform orders with it");
    order(&client, &contract_id)?;

    say!("\nthe user pays");
    sandbox.user_pays(NUMBER)?;
    match next_event(&events, "TRANSACTION.SUCCESS")? {
        Event::Payment(paid) => paid.check_order(&OWN_ORDER)?,
        _ => return Err("this is no payment".into()),
    }

    say!("\nthe platform refunds");
    refund(&client)?;
    sandbox.settle_refund("refund-1", RefundStatus::Success)?;
    next_event(&events, "REFUND.SUCCESS")?;

    say!("\nthe platform terminates the contract");
    client.send(&TerminateContract {
        service_id: SERVICE_ID,
        out_contract_code: CODE,
        contract_termination_remark: "用户解约",
    })?;
    next_event(&events, "ENTRUST.TERMINATE")?;

    say!("\nthe platform queries it once more");
    query(&client, ContractState::Terminated)?;
    expect("acknowledged", sandbox.wait_for_deliveries(PATIENCE), true)
}

/// Starts a server that replies to notifications and passes the events on.
fn receive_notifications(sandbox: &Sandbox) -> Result<Receiver<Notification>, Box<dyn Error>> {
    // Picks a free port first, since the server does not report its own port.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    sandbox.deliver_notifications_to(&format!("http://{address}/notify"))?;
    let key = ApiV3Key::new(Sandbox::API_V3_KEY)?;
    let receiver = NotificationReceiver::new(sandbox.verifier(), key);
    let (sender, events) = mpsc::channel();
    thread::spawn(move || {
        http::serve(address, move |request| {
            let event = http::open(&receiver, request);
            let reply = match event.map(|event| sender.send(event).is_ok()) {
                Ok(true) => NotificationReply::success(),
                Ok(false) => NotificationReply::failure("the program has ended"),
                Err(error) => error.reply(),
            };
            http::response(&reply)
        })
    });
    Ok(events)
}

fn pre_sign(client: &Client) -> Result<(), Box<dyn Error>> {
    let session = client.send(&ecommerce::MiniProgramPreSign {
        appid: APPID,
        service_id: SERVICE_ID,
        out_contract_code: CODE,
        // The sandbox checks this as WeChat Pay does, but delivers to this machine.
        notify_url: "https://yourapp.com/notify",
        contract_display_account: "微信代扣用户A",
        openid: OPENID,
    })?;
    show("session", &session.pre_entrustweb_id);
    // The argument of wx.navigateToMiniProgram.
    show("launch", &serde_json::to_string(&session.launch())?);
    Ok(())
}

/// Waits for the next notification. A real service also compares its content with its own records.
fn next_event(events: &Receiver<Notification>, event_type: &str) -> Result<Event, Box<dyn Error>> {
    let event = events.recv_timeout(PATIENCE)?;
    show(&event.event_type, event.json());
    expect("notification", event.event_type.as_str(), event_type)?;
    Ok(event.content)
}

/// Returns the contract's id.
fn query(client: &Client, state: ContractState) -> Result<String, Box<dyn Error>> {
    let contract = client.send(&QueryContract {
        service_id: SERVICE_ID,
        out_contract_code: CODE,
    })?;
    show("state", contract.contract_state.as_str());
    if let Some(end) = &contract.contract_terminate_info {
        show("ended", &serde_json::to_string(end)?);
    }
    expect("state", contract.contract_state, state)?;
    Ok(contract.contract_id)
}

fn order(client: &Client, contract_id: &str) -> Result<(), Box<dyn Error>> {
    let order = client.send(&PartnerJsapiOrder {
        sp_appid: APPID,
        sp_mchid: Sandbox::MCHID,
        sub_appid: None,
        sub_mchid: SUB_MCHID,
        description: "Image形象店-深圳腾大-QQ公仔",
        out_trade_no: NUMBER,
        notify_url: "https://yourapp.com/paid",
        amount: Amount::fen(100),
        payer: PartnerPayer::SpOpenid(OPENID),
        contract_info: ContractInfo::PasswordFreeContractId(contract_id),
        options: OrderOptions::default(),
    })?;
    // The argument of wx.requestPayment.
    let pay = client.pay_parameters(APPID, &order.prepay_id)?;
    show("pay", &serde_json::to_string(&pay)?);
    Ok(())
}

fn refund(client: &Client) -> Result<(), Box<dyn Error>> {
    client.send(&CreatePlatformRefund {
        sub_mchid: SUB_MCHID,
        sp_appid: APPID,
        sub_appid: None,
        order: OrderNumber::OutTradeNo(NUMBER),
        out_refund_no: "refund-1",
        amount: RefundAmount::fen(100, 100),
        refund_account: None,
        options: RefundOptions::default(),
    })?;
    Ok(())
}

fn show(label: &str, value: &str) {
    say!("  {label:<20}{value}");
}

fn expect<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> Result<(), Box<dyn Error>> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, wanted {wanted:?}").into())
}
