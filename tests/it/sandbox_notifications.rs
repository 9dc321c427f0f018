//! The sandbox's notifications: their content, their signature, and how they are delivered until they are acknowledged.

use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wechatpay_contract::sandbox::{Sandbox, SentNotification, Signing};
use wechatpay_contract::{
    ApiV3Key, ContractEvent, EventKind, NotificationReceiver, SignatureHeaders, VerifyError,
};

use crate::notification_server::{NotificationServer, PATIENCE, Reaction};
use crate::raw_client::{RawClient, authorization, now, wait_until};
use crate::support::wrong_signature;

/// A pause that no test waits for.
const AGES: Duration = Duration::from_secs(3600);
const AT_ONCE: Duration = Duration::ZERO;

/// A sandbox with a contract that the user may sign.
fn pre_signed() -> Sandbox {
    let sandbox = Sandbox::start().unwrap();
    let mut raw = RawClient::connect(&sandbox);
    raw.pre_sign("code1");
    assert_eq!(raw.response().status, 200);
    sandbox
}

/// A sandbox that has delivered a signing to a receiver that reacts so, with no pauses between the attempts.
fn delivered(reactions: &[Reaction], attempts: usize) -> (Sandbox, NotificationServer) {
    let server = NotificationServer::open(reactions.iter().copied());
    let sandbox = pre_signed();
    sandbox.deliver_notifications_to(&server.url).unwrap();
    sandbox.retry_schedule(vec![AT_ONCE; attempts - 1]);
    sandbox.user_signs("code1").unwrap();
    assert!(sandbox.wait_for_deliveries(PATIENCE));
    (sandbox, server)
}

fn only(sandbox: &Sandbox) -> SentNotification {
    let sent = sandbox.notifications();
    assert_eq!(sent.len(), 1);
    sent.into_iter().next().unwrap()
}

fn statuses(sandbox: &Sandbox) -> Vec<Option<u16>> {
    let attempts = only(sandbox).attempts;
    attempts.iter().map(|attempt| attempt.status).collect()
}

/// Decrypts with another library than the sandbox encrypts with.
pub(crate) fn decrypted(body: &[u8]) -> Value {
    let envelope: Value = serde_json::from_slice(body).unwrap();
    let resource = |name: &str| envelope["resource"][name].as_str().unwrap();
    let key = Aes256Gcm::new_from_slice(Sandbox::API_V3_KEY.as_bytes()).unwrap();
    let nonce: [u8; 12] = resource("nonce").as_bytes().try_into().unwrap();
    let payload = Payload {
        msg: &STANDARD.decode(resource("ciphertext")).unwrap(),
        aad: resource("associated_data").as_bytes(),
    };
    serde_json::from_slice(&key.decrypt(&nonce.into(), payload).unwrap()).unwrap()
}

fn verified(sandbox: &Sandbox, sent: &SentNotification) -> Result<(), VerifyError> {
    let pairs = sent.headers.iter().map(|(name, value)| (name, value));
    let headers = SignatureHeaders::from_pairs(pairs)?;
    sandbox
        .verifier()
        .verify(&headers, &sent.body, SystemTime::now())
}

#[test]
fn each_signing_and_termination_is_notified_and_a_user_who_gives_up_is_not() {
    let sandbox = pre_signed();
    assert!(sandbox.notifications().is_empty());
    sandbox.user_gives_up("code1").unwrap();
    assert!(sandbox.notifications().is_empty());

    let mut raw = RawClient::connect(&sandbox);
    for code in ["code1", "code2"] {
        raw.pre_sign(code);
        raw.response();
        sandbox.user_signs(code).unwrap();
    }
    sandbox.user_terminates("code1").unwrap();
    let target =
        "/v3/password-exempt-contract/contracts/service-id/12535/out-contract-code/code2/terminate";
    raw.request("POST", target, br#"{"contract_termination_remark":"bye"}"#);
    assert_eq!(raw.response().status, 200);

    let sent = sandbox.notifications();
    let sent: Vec<_> = sent
        .iter()
        .map(|sent| {
            assert!(!sent.is_acknowledged());
            assert_eq!(sent.attempts, []);
            (
                sent.event_type.as_str(),
                sent.out_contract_code.as_deref().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        sent,
        [
            ("ENTRUST.SIGN", "code1"),
            ("ENTRUST.SIGN", "code2"),
            ("ENTRUST.TERMINATE", "code1"),
            ("ENTRUST.TERMINATE", "code2"),
        ]
    );
}

#[test]
fn a_notification_is_the_documented_envelope_around_the_contract() {
    let sandbox = pre_signed();
    let contract_id = sandbox.user_signs("code1").unwrap();
    let sent = only(&sandbox);
    let envelope: Value = serde_json::from_slice(&sent.body).unwrap();
    let resource = &envelope["resource"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(
        envelope,
        json!({
            "id": sent.id,
            "create_time": text(&envelope["create_time"]),
            "resource_type": "encrypt-resource",
            "event_type": "ENTRUST.SIGN",
            "summary": "签约成功",
            "resource": {
                "original_type": "entrust",
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": text(&resource["ciphertext"]),
                "associated_data": "entrust",
                "nonce": text(&resource["nonce"]),
            },
        })
    );
    assert_eq!(sent.id.len(), 36);
    let contract = decrypted(&sent.body);
    assert_eq!(
        contract,
        json!({
            "mchid": Sandbox::MCHID,
            "contract_id": contract_id,
            "appid": "wxd678efh567hg6787",
            "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            "service_id": 12535,
            "out_contract_code": "code1",
            "contract_display_account": "微信代扣用户A",
            "contract_state": "SIGNED",
            "contract_signed_time": text(&contract["contract_signed_time"]),
        })
    );
    assert_eq!(verified(&sandbox, &sent), Ok(()));

    sandbox.user_terminates("code1").unwrap();
    let ended = decrypted(&sandbox.notifications()[1].body);
    assert_eq!(ended["contract_state"], "TERMINATED");
    let info = &ended["contract_terminate_info"];
    assert_eq!(info["contract_termination_mode"], "USER_TERMINATE");
}

#[test]
fn the_self_test_is_notified_if_it_names_a_url() {
    let sandbox = Sandbox::start().unwrap();
    let mut raw = RawClient::connect(&sandbox);
    let mut echo = |body: Value| {
        let (target, body) = ("/v3/security/echo", body.to_string());
        let signer = sandbox.signer();
        let authorization = authorization(&signer, "POST", target, now(), body.as_bytes());
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Accept", "application/json"),
            ("User-Agent", "raw"),
            ("Content-Type", "application/json"),
            ("Wechatpay-Serial", Sandbox::PUBLIC_KEY_ID),
        ];
        raw.send("POST", target, &headers, body.as_bytes());
        assert_eq!(raw.response().json(), json!({"echo_message": "hello"}));
        sandbox.notifications()
    };
    assert!(echo(json!({"echo_message": "hello"})).is_empty());
    let url = "https://yourapp.com/notify";
    let sent = echo(json!({"echo_message": "hello", "notify_url": url}));
    assert_eq!(sent[0].event_type, "SECURITY_ECHO.SUCCESS");
    assert_eq!(sent[0].out_contract_code, None);
    assert_eq!(decrypted(&sent[0].body), json!({"echo_message": "hello"}));
    assert_eq!(verified(&sandbox, &sent[0]), Ok(()));
}

#[test]
fn a_recorded_notification_is_opened_by_the_crates_receiver() {
    let sandbox = pre_signed();
    let contract_id = sandbox.user_signs("code1").unwrap();
    let sent = only(&sandbox);
    let key = ApiV3Key::new(Sandbox::API_V3_KEY).unwrap();
    let receiver = NotificationReceiver::new(sandbox.verifier(), key);
    let pairs = sent.headers.iter().map(|(name, value)| (name, value));
    let headers = SignatureHeaders::from_pairs(pairs).unwrap();
    let event = receiver
        .open_as::<ContractEvent>(&headers, &sent.body, SystemTime::now())
        .unwrap();
    assert_eq!(event.id, sent.id);
    assert_eq!(event.kind, EventKind::Signed);
    assert_eq!(event.content.out_contract_code, "code1");
    assert_eq!(event.content.contract_id, Some(contract_id));
}

#[test]
fn notifications_are_signed_as_ordered() {
    for (signing, error) in [
        (Signing::Probe, VerifyError::Probe),
        (Signing::Wrong, wrong_signature(Sandbox::PUBLIC_KEY_ID)),
        (Signing::Foreign, wrong_signature(Sandbox::PUBLIC_KEY_ID)),
    ] {
        let sandbox = pre_signed();
        sandbox.sign_notifications(signing);
        sandbox.user_signs("code1").unwrap();
        assert_eq!(
            verified(&sandbox, &only(&sandbox)),
            Err(error),
            "{signing:?}"
        );
    }
}

#[test]
fn an_acknowledged_notification_is_sent_once() {
    for status in [200, 204] {
        let (sandbox, server) = delivered(&[Reaction::Status(status)], 16);
        assert_eq!(statuses(&sandbox), [Some(status)]);
        let sent = only(&sandbox);
        assert!(sent.is_acknowledged());

        let received = server.next();
        assert_eq!(received.line, "POST /notify HTTP/1.1");
        assert_eq!(received.body, sent.body);
        let host = server.url.strip_prefix("http://").unwrap();
        assert_eq!(
            received.header("Host"),
            host.strip_suffix("/notify").unwrap()
        );
        for (name, value) in &sent.headers {
            assert_eq!(received.header(name), value);
        }
        for name in [
            "Wechatpay-Serial",
            "Wechatpay-Timestamp",
            "Wechatpay-Nonce",
            "Wechatpay-Signature",
            "Request-ID",
        ] {
            assert!(!received.header(name).is_empty());
        }
        let scheme = "WECHATPAY2-SHA256-RSA2048";
        assert_eq!(received.header("Wechatpay-Signature-Type"), scheme);
        assert_eq!(received.header("Content-Type"), "application/json");
    }
}

#[test]
fn an_unacknowledged_notification_is_sent_again_and_signed_afresh() {
    let reactions = [
        Reaction::Status(500),
        Reaction::Status(400),
        Reaction::Status(202),
        Reaction::Status(302),
        Reaction::Bytes(b""),
        Reaction::Bytes(b"nonsense\r\n\r\n"),
        Reaction::Status(204),
    ];
    let (sandbox, server) = delivered(&reactions, 16);
    let expected = [
        Some(500),
        Some(400),
        Some(202),
        Some(302),
        None,
        None,
        Some(204),
    ];
    assert_eq!(statuses(&sandbox), expected);
    let attempts = only(&sandbox).attempts;
    assert_eq!(
        attempts[4].error.as_deref(),
        Some("closed without a response")
    );
    assert_eq!(attempts[5].error.as_deref(), Some("not an HTTP response"));
    let received: Vec<_> = reactions.iter().map(|_| server.next()).collect();
    for pair in received.windows(2) {
        assert_eq!(pair[0].body, pair[1].body);
        for name in ["Wechatpay-Nonce", "Wechatpay-Signature", "Request-ID"] {
            assert_ne!(pair[0].header(name), pair[1].header(name));
        }
    }
}

#[test]
fn no_attempt_follows_the_last_one_of_the_schedule() {
    let (sandbox, _inbox) = delivered(&[Reaction::Status(500); 3], 3);
    assert_eq!(statuses(&sandbox), [Some(500); 3]);
    assert!(!only(&sandbox).is_acknowledged());
}

#[test]
fn a_receiver_that_does_not_listen_is_tried_again() {
    let sandbox = pre_signed();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    sandbox.deliver_notifications_to(&url).unwrap();
    sandbox.retry_schedule([AT_ONCE]);
    sandbox.user_signs("code1").unwrap();
    assert!(sandbox.wait_for_deliveries(PATIENCE));
    assert_eq!(statuses(&sandbox), [None, None]);
}

#[test]
fn a_reply_after_the_timeout_counts_as_none() {
    let mut reactions = [Reaction::Status(200); 31];
    reactions[0] = Reaction::Silence;
    let server = NotificationServer::open(reactions);
    let sandbox = pre_signed();
    sandbox.deliver_notifications_to(&server.url).unwrap();
    // Enough for the head to be read, however busy the machine is.
    sandbox.reply_timeout(Duration::from_secs(1));
    sandbox.retry_schedule([AT_ONCE; 30]);
    sandbox.user_signs("code1").unwrap();
    server.next();
    // The next attempt may have more time.
    sandbox.reply_timeout(PATIENCE);
    assert!(sandbox.wait_for_deliveries(PATIENCE));
    let attempts = only(&sandbox).attempts;
    assert_eq!(attempts[0].error.as_deref(), Some("timed out"));
    assert!(only(&sandbox).is_acknowledged());
}

#[test]
fn a_duplicate_comes_at_the_same_moment() {
    let server = NotificationServer::open([Reaction::Silence; 3]);
    let sandbox = pre_signed();
    assert!(!sandbox.notify_again("no such id"));
    sandbox.user_signs("code1").unwrap();
    let id = only(&sandbox).id;
    assert!(!sandbox.notify_again(&id));
    sandbox.deliver_notifications_to(&server.url).unwrap();
    for _ in 0..3 {
        assert!(sandbox.notify_again(&id));
    }
    // None of the three gets a reply: they are all under way.
    let bodies: Vec<_> = (0..3).map(|_| server.next().body).collect();
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], bodies[2]);
    assert_eq!(sandbox.notifications().len(), 1);
    assert!(!sandbox.wait_for_deliveries(AT_ONCE));
}

#[test]
fn the_schedule_is_kept_until_it_is_changed() {
    let server = NotificationServer::open([Reaction::Status(500)]);
    let sandbox = pre_signed();
    sandbox.deliver_notifications_to(&server.url).unwrap();
    sandbox.user_signs("code1").unwrap();
    server.next();
    wait_until("replied", || statuses(&sandbox) == [Some(500)]);
    assert!(!sandbox.wait_for_deliveries(AT_ONCE));
}

#[test]
fn dropping_the_sandbox_ends_deliveries() {
    for (reaction, pause) in [
        (Reaction::Silence, AT_ONCE),
        (Reaction::Status(500), AGES),
        (
            Reaction::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            AGES,
        ),
    ] {
        let server = NotificationServer::open([reaction]);
        let sandbox = pre_signed();
        sandbox.deliver_notifications_to(&server.url).unwrap();
        sandbox.reply_timeout(AGES);
        sandbox.retry_schedule([pause]);
        sandbox.user_signs("code1").unwrap();
        server.next();
        drop(sandbox);
    }
}

#[test]
fn a_clock_function_can_look_at_the_sandbox() {
    let server = NotificationServer::open([Reaction::Status(204); 2]);
    let sandbox: &'static Sandbox = Box::leak(Box::new(pre_signed()));
    sandbox.deliver_notifications_to(&server.url).unwrap();
    sandbox.set_clock(|| {
        let _ = (sandbox.snapshot(), sandbox.notifications());
        SystemTime::now()
    });
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        sandbox.user_signs("code1").unwrap();
        sandbox.user_terminates("code1").unwrap();
        done.send(()).unwrap();
    });
    assert_eq!(
        is_done.recv_timeout(PATIENCE),
        Ok(()),
        "it waits for a lock"
    );
    assert!(sandbox.wait_for_deliveries(PATIENCE));
    let sent = sandbox.notifications();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(SentNotification::is_acknowledged));
}

#[test]
fn the_longest_reply_timeout_is_accepted() {
    let server = NotificationServer::open([Reaction::Status(200)]);
    let sandbox = pre_signed();
    sandbox.deliver_notifications_to(&server.url).unwrap();
    sandbox.reply_timeout(Duration::MAX);
    sandbox.user_signs("code1").unwrap();
    server.next();
    assert!(sandbox.wait_for_deliveries(PATIENCE));
    assert!(sandbox.notifications()[0].is_acknowledged());
}

#[test]
fn notifications_are_delivered_to_loopback_only() {
    let sandbox = Sandbox::start().unwrap();
    for url in [
        "http://127.0.0.1:8080/notify",
        "http://127.0.0.1:8080",
        "http://localhost:8080/a?b=c",
        "http://[::1]:8080/notify",
    ] {
        assert_eq!(sandbox.deliver_notifications_to(url), Ok(()), "{url}");
    }
    for url in [
        "",
        "https://127.0.0.1:8080/notify",
        "http://127.0.0.1/notify",
        "http://192.168.0.1:80/notify",
        "http://localhost.example.com:80/notify",
        "http://127.0.0.1:80@example.com:80/notify",
        "http://127.0.0.1:8080/a b",
        "http://127.0.0.1:8080/\r\nx",
    ] {
        let error = sandbox.deliver_notifications_to(url).unwrap_err();
        let wanted =
            format!("url: found {url:?}, wanted http://, a loopback address, a port and a path");
        assert_eq!(error.to_string(), wanted);
    }
}
