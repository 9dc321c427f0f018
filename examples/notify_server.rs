//! The smallest correct receiver of notifications: it verifies them, detects duplicates, and replies.
//!
//! It serves at any path until it is interrupted, within the limits of `common/http.rs`. These environment variables
//! are required:
//!
//! | variable | meaning |
//! |---|---|
//! | `WECHATPAY_PUBLIC_KEY_ID` | id of the WeChat Pay public key, `PUB_KEY_ID_…` |
//! | `WECHATPAY_PUBLIC_KEY` | path of the WeChat Pay public key, `pub_key.pem` |
//! | `WECHATPAY_API_V3_KEY` | the APIv3 key, 32 characters |
//! | `WECHATPAY_LISTEN` | address to listen at, such as `127.0.0.1:8080` |
//!
//! WeChat Pay only calls HTTPS. Put a reverse proxy in front that terminates TLS and passes the body on unchanged.

#[macro_use]
mod common;
#[path = "common/http.rs"]
mod http;

use std::collections::HashSet;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use common::{report, variable};
use ureq_proto::http::Request;
use wechatpay_contract::{
    ApiV3Key, Event, EventKind, Notification, NotificationReceiver, NotificationReply, PublicKey,
    Verifier,
};

struct Service {
    receiver: NotificationReceiver,
    /// In place of a table with a unique index: the event, and its contract, payment or refund.
    ledger: Mutex<HashSet<(String, String)>>,
}

impl Service {
    fn reply(&self, request: &Request<Vec<u8>>) -> NotificationReply {
        match http::open(&self.receiver, request) {
            Ok(event) => self.record(event),
            Err(error) => {
                // A probe needs no alarm: WeChat Pay tests with it that a wrong signature is refused.
                if !error.is_probe() {
                    report(&error);
                }
                error.reply()
            }
        }
    }

    /// Records the event. A real service also compares it with its own records, and queries when in doubt.
    fn record(&self, event: Notification) -> NotificationReply {
        let name = match event.content {
            // A contract is signed and terminated once, and its code is never used again.
            Event::Contract(contract)
                if matches!(event.kind, EventKind::Signed | EventKind::Terminated) =>
            {
                contract.out_contract_code
            }
            Event::Payment(paid) => paid.transaction_id.unwrap_or(event.id),
            Event::Refund(refund) => refund.refund_id,
            _ => event.id,
        };
        // In a database: `INSERT … ON CONFLICT DO NOTHING`, in one transaction with what follows from the event.
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = ledger.insert((event.event_type.clone(), name.clone()));
        let what = if is_new { "" } else { ", a duplicate" };
        say!("{} {name}{what}", event.event_type);
        NotificationReply::success()
    }
}

fn main() -> ExitCode {
    common::main(include_str!("notify_server.rs"), run)
}

fn run() -> Result<(), Box<dyn Error>> {
    let id = variable("WECHATPAY_PUBLIC_KEY_ID")?;
    let public_key = PublicKey::from_file(id, variable("WECHATPAY_PUBLIC_KEY")?)?;
    let api_v3_key = ApiV3Key::new(variable("WECHATPAY_API_V3_KEY")?)?;
    let service = Service {
        receiver: NotificationReceiver::new(Verifier::new([public_key])?, api_v3_key),
        ledger: Mutex::default(),
    };
    let address = variable("WECHATPAY_LISTEN")?.parse()?;
    let respond = move |request: &_| http::response(&service.reply(request));
    Ok(http::serve(address, respond)?)
}
