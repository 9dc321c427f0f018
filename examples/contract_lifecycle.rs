//! The life of a contract in the order in which it happens: pre-signed, signed, notified, queried, used for an order,
//! terminated, notified again.
//!
//! `cargo run --example contract_lifecycle` needs no configuration: the sandbox plays WeChat Pay and the user. It ends by
//! itself, with exit code 0 if everything was as expected.

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
    Amount, ContractInfo, OrderOptions, PartnerJsapiOrder, PartnerPayer,
};
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    ApiV3Key, Client, ContractEvent, ContractState, EventKind, Notification, NotificationReceiver,
    NotificationReply, QueryContract, TerminateContract, TerminationMode, ecommerce,
};

const APPID: &str = "wxd678efh567hg6787";
const SERVICE_ID: u64 = 12535;
const CODE: &str = "wxwtdk20200910100000";
const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";
/// How long a notification may take to arrive.
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
    expect_event(&events, EventKind::Signed)?;

    say!("\nthe platform queries it");
    let contract_id = query(&client, ContractState::Signed)?;

    say!("\nthe platform orders with it");
    order(&client, &contract_id)?;

    say!("\nthe platform terminates it");
    terminate(&client)?;
    expect_event(&events, EventKind::Terminated)?;

    say!("\nthe platform queries it once more");
    query(&client, ContractState::Terminated)?;

    let delivered = sandbox.wait_for_deliveries(PATIENCE);
    expect("notifications acknowledged", delivered, true)
}

/// Starts a server that replies to notifications and passes the events on.
fn receive_notifications(
    sandbox: &Sandbox,
) -> Result<Receiver<Notification<ContractEvent>>, Box<dyn Error>> {
    // A port that is free now, since the server does not tell the one that the system picks.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let notify_url = format!("http://{address}/notify");
    sandbox.deliver_notifications_to(&notify_url)?;
    say!("  {:<14}{}", "sandbox", sandbox.url());
    say!("  {:<14}{notify_url}", "receiver");
    let key = ApiV3Key::new(Sandbox::API_V3_KEY)?;
    let receiver = NotificationReceiver::new(sandbox.verifier(), key);
    let (sender, events) = mpsc::channel();
    thread::spawn(move || {
        http::serve(address, move |request, body| {
            let event = http::open(&receiver, request, body);
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

fn expect_event(
    events: &Receiver<Notification<ContractEvent>>,
    kind: EventKind,
) -> Result<(), Box<dyn Error>> {
    let event = events.recv_timeout(PATIENCE)?;
    show("notification", &event.event_type);
    // A service compares the other fields with what it pre-signed, too.
    show("says", event.json());
    expect("code", event.content.out_contract_code.as_str(), CODE)?;
    expect("kind", event.kind, kind)
}

/// Returns the contract's id.
fn query(client: &Client, state: ContractState) -> Result<String, Box<dyn Error>> {
    let contract = client.send(&QueryContract {
        service_id: SERVICE_ID,
        out_contract_code: CODE,
    })?;
    show("state", contract.contract_state.as_str());
    show("contract id", &contract.contract_id);
    if let Some(end) = &contract.contract_terminate_info {
        let mode = end.contract_termination_mode.as_ref();
        show("ended by", mode.map_or("unknown", TerminationMode::as_str));
    }
    expect("state", contract.contract_state, state)?;
    Ok(contract.contract_id)
}

fn order(client: &Client, contract_id: &str) -> Result<(), Box<dyn Error>> {
    let order = client.send(&PartnerJsapiOrder {
        sp_appid: APPID,
        sp_mchid: Sandbox::MCHID,
        sub_appid: None,
        sub_mchid: "1900000110",
        description: "Image形象店-深圳腾大-QQ公仔",
        out_trade_no: "1217752501201407033233368018",
        notify_url: "https://yourapp.com/paid",
        amount: Amount::fen(100),
        payer: PartnerPayer::SpOpenid(OPENID),
        contract_info: ContractInfo::PasswordFreeContractId(contract_id),
        options: OrderOptions::default(),
    })?;
    show("prepay id", &order.prepay_id);
    // The argument of wx.requestPayment.
    let pay = client.pay_parameters(APPID, &order.prepay_id)?;
    show("pay", &serde_json::to_string(&pay)?);
    Ok(())
}

fn terminate(client: &Client) -> Result<(), Box<dyn Error>> {
    let terminated = client.send(&TerminateContract {
        service_id: SERVICE_ID,
        out_contract_code: CODE,
        contract_termination_remark: "用户解约",
    })?;
    show("terminated", &terminated.out_contract_code);
    Ok(())
}

fn show(label: &str, value: &str) {
    say!("  {label:<14}{value}");
}

fn expect<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> Result<(), Box<dyn Error>> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, wanted {wanted:?}").into())
}
