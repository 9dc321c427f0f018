//! The life of a contract in the order in which it happens: pre-signed, signed, notified, queried, used for an order,
//! terminated, notified again.
//!
//! ```sh
//! cargo run --example contract_lifecycle
//! ```
//!
//! No configuration is needed: the sandbox plays WeChat Pay and the user. It ends by itself, with exit code 0 when all
//! was as expected.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::io::{Cursor, Read};
use std::iter;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tiny_http::{Header, Request, Response, Server};
use wechatpay_contract::order::{Amount, ContractInfo, PartnerJsapiOrder, PartnerPayer};
use wechatpay_contract::sandbox::Sandbox;
use wechatpay_contract::{
    ApiV3Key, Client, ContractEvent, ContractState, EventKind, Notification, NotificationError,
    NotificationReceiver, NotificationReply, QueryContract, SignatureHeaders, TerminateContract,
    TerminationMode, ecommerce, order,
};

/// A notification about a contract.
type ContractNotification = Notification<ContractEvent>;

const APPID: &str = "wxd678efh567hg6787";
const SERVICE_ID: u64 = 12535;
const CODE: &str = "wxwtdk20200910100000";
const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";
/// The sandbox checks these as WeChat Pay does, but delivers to this machine.
const CONTRACT_NOTIFY_URL: &str = "https://yourapp.com/notify";
const PAYMENT_NOTIFY_URL: &str = "https://yourapp.com/paid";

/// How long a notification may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in iter::successors(error.source(), |&error| error.source()) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start()?;
    let platform = Platform::open(&sandbox)?;

    step("the platform pre-signs a contract");
    platform.pre_signs()?;

    step("the user signs it in WeChat's mini program");
    sandbox.user_signs(CODE)?;
    platform.is_notified(EventKind::Signed)?;

    step("the platform queries it");
    let contract_id = platform.queries(ContractState::Signed)?;

    step("the platform orders with it");
    platform.orders(&contract_id)?;

    step("the platform terminates it");
    platform.terminates()?;
    platform.is_notified(EventKind::Terminated)?;

    step("the platform queries it once more");
    platform.queries(ContractState::Terminated)?;

    let delivered = sandbox.wait_for_deliveries(PATIENCE);
    expect("notifications acknowledged", delivered, true)
}

/// An e-commerce platform: what it needs to call WeChat Pay and to be called.
struct Platform {
    client: Client,
    receiver: NotificationReceiver,
    server: Server,
}

impl Platform {
    fn open(sandbox: &Sandbox) -> Result<Self, Box<dyn Error>> {
        let server = Server::http("127.0.0.1:0").map_err(|error| error.to_string())?;
        let notify_url = format!("http://{}/notify", server.server_addr());
        sandbox.deliver_notifications_to(&notify_url)?;
        show("sandbox", sandbox.url());
        show("receiver", notify_url);
        Ok(Self {
            client: sandbox.client(),
            receiver: NotificationReceiver::new(
                sandbox.verifier(),
                ApiV3Key::new(Sandbox::API_V3_KEY)?,
            ),
            server,
        })
    }

    fn pre_signs(&self) -> Result<(), Box<dyn Error>> {
        let session = self.client.send(&ecommerce::MiniProgramPreSign {
            appid: APPID,
            service_id: SERVICE_ID,
            out_contract_code: CODE,
            notify_url: CONTRACT_NOTIFY_URL,
            contract_display_account: "微信代扣用户A",
            openid: OPENID,
        })?;
        show("code", &session.out_contract_code);
        show("session", &session.pre_entrustweb_id);
        // The argument of wx.navigateToMiniProgram.
        show("launch", serde_json::to_string(&session.launch())?);
        expect("code", session.out_contract_code.as_str(), CODE)
    }

    /// Receives one notification, verifies it, and answers.
    fn is_notified(&self, expected: EventKind) -> Result<(), Box<dyn Error>> {
        let received = self.server.recv_timeout(PATIENCE)?;
        let mut request = received.ok_or("no notification came")?;
        let body = raw_body(&mut request)?;
        let opened = self.opens(&request, &body);
        let reply = match &opened {
            Ok(_) => NotificationReply::success(),
            Err(error) => error.reply(),
        };
        request.respond(response(&reply))?;
        let event = opened?;
        show("notification", &event.event_type);
        if let Some(state) = &event.content.contract_state {
            show(
                "says",
                format!("{} is {state}", event.content.out_contract_code),
            );
        }
        show("answered", reply.status());
        expect("notified kind", event.kind, expected)?;
        // A service compares the other fields with what it pre-signed, too.
        expect(
            "notified code",
            event.content.out_contract_code.as_str(),
            CODE,
        )
    }

    fn opens(
        &self,
        request: &Request,
        body: &[u8],
    ) -> Result<ContractNotification, NotificationError> {
        let headers = request.headers().iter();
        let headers = SignatureHeaders::from_pairs(
            headers.map(|header| (header.field.as_str(), &header.value)),
        )?;
        self.receiver.open_as(&headers, body, SystemTime::now())
    }

    /// Gives the contract's id.
    fn queries(&self, expected: ContractState) -> Result<String, Box<dyn Error>> {
        let contract = self.client.send(&QueryContract {
            service_id: SERVICE_ID,
            out_contract_code: CODE,
        })?;
        show("state", &contract.contract_state);
        show("contract id", &contract.contract_id);
        show(
            "signed",
            contract
                .contract_signed_time
                .as_deref()
                .unwrap_or("unknown"),
        );
        if let Some(end) = &contract.contract_terminate_info {
            let mode = end.contract_termination_mode.as_ref();
            show("ended by", mode.map_or("unknown", TerminationMode::as_str));
            show(
                "remark",
                end.contract_termination_remark.as_deref().unwrap_or("none"),
            );
        }
        expect("state", contract.contract_state, expected)?;
        Ok(contract.contract_id)
    }

    fn orders(&self, contract_id: &str) -> Result<(), Box<dyn Error>> {
        let order = self.client.send(&PartnerJsapiOrder {
            sp_appid: APPID,
            sp_mchid: Sandbox::MCHID,
            sub_appid: None,
            sub_mchid: "1900000110",
            description: "Image形象店-深圳腾大-QQ公仔",
            out_trade_no: "1217752501201407033233368018",
            notify_url: PAYMENT_NOTIFY_URL,
            amount: Amount::fen(100),
            payer: PartnerPayer::SpOpenid(OPENID),
            contract_info: ContractInfo::PasswordFreeContractId(contract_id),
            options: order::OrderOptions::default(),
        })?;
        show("prepay id", &order.prepay_id);
        // Serialized, they are the argument of wx.requestPayment.
        let pay = self.client.pay_parameters(APPID, &order.prepay_id)?;
        show("timeStamp", pay.time_stamp());
        show("nonceStr", pay.nonce_str());
        show("package", pay.package());
        show("signType", pay.sign_type());
        show("paySign", format!("{:.40}...", pay.pay_sign()));
        Ok(())
    }

    fn terminates(&self) -> Result<(), Box<dyn Error>> {
        let terminated = self.client.send(&TerminateContract {
            service_id: SERVICE_ID,
            out_contract_code: CODE,
            contract_termination_remark: "用户解约",
        })?;
        show("code", &terminated.out_contract_code);
        expect("code", terminated.out_contract_code.as_str(), CODE)
    }
}

/// The body exactly as it was received, since that is what was signed; no longer than what is accepted.
fn raw_body(request: &mut Request) -> Result<Vec<u8>, Box<dyn Error>> {
    let limit = u64::try_from(NotificationReceiver::MAX_BODY + 1)?;
    let mut body = Vec::new();
    request.as_reader().take(limit).read_to_end(&mut body)?;
    Ok(body)
}

fn response(reply: &NotificationReply) -> Response<Cursor<Vec<u8>>> {
    let content_type = reply.content_type();
    let header = content_type.and_then(|value| Header::from_bytes("Content-Type", value).ok());
    let response = Response::from_data(reply.body()).with_status_code(reply.status());
    header.into_iter().fold(response, Response::with_header)
}

fn step(title: &str) {
    println!("\n{title}");
}

fn show(label: &str, value: impl Display) {
    println!("  {label:<14}{value}");
}

fn expect<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> Result<(), Box<dyn Error>> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, wanted {wanted:?}").into())
}
