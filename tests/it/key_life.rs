//! The platform's keys over their life: download, rotation, expiry, migration to the public key, forged lists; with
//! counts of what was downloaded.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wechatpay_contract::sandbox::{Fault, Forgery, Sandbox, Signing, SignsWith};
use wechatpay_contract::self_test::Check;
use wechatpay_contract::{
    ApiV3Key, Authenticity, CertificateError, Client, ClientBuilder, Error, Event, KeyError,
    NotificationReceiver, Outcome, PrivateKey, PublicKey, Request, SignatureHeaders, Signer,
    Validity, Verifier, VerifyError, ecommerce,
};

use crate::failover::CLOSED_PORT;
use crate::raw_client::wait_until;
use crate::support::{
    at, chain, installed, message, openssl, public_half, signature_by, wrong_signature,
};

/// The time at which each test starts.
const START: u64 = 1_710_892_800;
const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
const OLD: &str = "1E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
const NEW: &str = "2E2F3A4B5C6D7E8F90A1B2C3D4E5F60718293A4B";
/// The key of [`OLD`]. The sandbox issues its first certificate for the second of its keys.
const OLD_KEY: &str = include_str!("../../src/sandbox/keys/platform_key_2.pem");
const OLD_VALIDITY: Validity = Validity {
    not_before: START - 1000 * DAY,
    not_after: START + 10 * DAY,
};
const NEW_VALIDITY: Validity = Validity {
    not_before: START,
    not_after: START + 1800 * DAY,
};

/// A sandbox, and a clock that it shares with its clients and that moves only by [`pass`](Self::pass).
struct World {
    sandbox: Sandbox,
    now: Arc<AtomicU64>,
}

impl World {
    /// With the public key alone.
    fn new() -> Self {
        let world = Self {
            sandbox: Sandbox::start().unwrap(),
            now: Arc::new(AtomicU64::new(START)),
        };
        world.sandbox.set_clock(world.clock());
        world
    }

    /// With the old certificate alone.
    fn with_certificate() -> Self {
        let world = Self::new();
        world.sandbox.platform().offer_public_key(false);
        world.issue(OLD, OLD_VALIDITY);
        world
    }

    fn clock(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let now = Arc::clone(&self.now);
        move || at(now.load(Ordering::SeqCst))
    }

    fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    fn issue(&self, serial_no: &str, validity: Validity) -> String {
        let platform = self.sandbox.platform();
        platform.issue_certificate(serial_no, validity).unwrap()
    }

    /// A minute later WeChat Pay signs with a new certificate, which its list has as well.
    fn renew(&self) {
        self.pass(60);
        self.issue(NEW, NEW_VALIDITY);
        self.sign_with(NEW);
    }

    fn sign_with(&self, id: &str) {
        let id = id.to_owned();
        self.sandbox.platform().sign_with(SignsWith::Key(id));
    }

    fn builder(&self) -> ClientBuilder {
        let builder = self.sandbox.certificate_client_builder().unwrap();
        builder.clock(self.clock())
    }

    fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    /// A client that has the public key and downloads certificates as well.
    fn migrating_client(&self) -> Client {
        let public_key = Verifier::new([public_key()]).unwrap();
        Client::builder(self.sandbox.signer(), public_key)
            .platform_certificates(ApiV3Key::new(Sandbox::API_V3_KEY).unwrap())
            .host(self.sandbox.url())
            .clock(self.clock())
            .build()
            .unwrap()
    }

    fn downloads(&self) -> usize {
        self.count("/v3/certificates")
    }

    fn calls(&self) -> usize {
        self.count("/v3/security/echo")
    }

    fn count(&self, target: &str) -> usize {
        let requests = self.sandbox.requests();
        requests.iter().filter(|one| one.target == target).count()
    }

    /// `Wechatpay-Serial` of the last request.
    fn asked(&self) -> Option<String> {
        let requests = self.sandbox.requests();
        let serial = requests.last().unwrap().header("Wechatpay-Serial");
        serial.map(str::to_owned)
    }
}

/// The sandbox's public key, under the id of a WeChat Pay public key.
fn public_key() -> PublicKey {
    let pem = public_half(include_str!("../../src/sandbox/keys/platform_key.pem"));
    PublicKey::from_pem(Sandbox::PUBLIC_KEY_ID, pem).unwrap()
}

fn call(client: &Client) -> Result<(), Error> {
    let request = Request::post("/v3/security/echo").json(&json!({"echo_message": "hello"}));
    let answer: Value = client.execute(request)?;
    assert_eq!(answer, json!({"echo_message": "hello"}));
    Ok(())
}

fn held(client: &Client) -> Vec<String> {
    client.merchant().verifier().key_ids()
}

/// The error of a download.
fn download_error(result: Result<(), Error>) -> Arc<Error> {
    let error = result.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent);
    match error {
        Error::Download(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Returns the reason for which no certificate of the list was taken over.
fn list_error(error: &Error) -> &CertificateError {
    match error {
        Error::Certificates { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

fn verify_error(result: Result<(), Error>) -> VerifyError {
    let error = result.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    match error {
        Error::Unverified { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_call_downloads_the_certificates_by_a_request_that_names_no_key() {
    let world = World::with_certificate();
    let client = world.client();
    assert_eq!(held(&client), [""; 0]);
    assert_eq!(world.sandbox.connections_accepted(), 0);

    call(&client).unwrap();
    assert_eq!(held(&client), [OLD]);
    let requests = world.sandbox.requests();
    let sent: Vec<_> = requests
        .iter()
        .map(|one| (one.target.as_str(), one.header("Wechatpay-Serial")))
        .collect();
    assert_eq!(
        sent,
        [("/v3/certificates", None), ("/v3/security/echo", Some(OLD))]
    );

    call(&client).unwrap();
    assert_eq!(world.downloads(), 1);
}

#[test]
fn threads_that_start_together_share_one_download() {
    let world = World::with_certificate();
    let client = world.client();
    let start = Barrier::new(16);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                start.wait();
                call(&client).unwrap();
            });
        }
    });
    assert_eq!((world.downloads(), world.calls()), (1, 16));
}

#[test]
fn threads_that_start_together_share_one_failure() {
    let world = World::with_certificate();
    let client = world.client();
    let fault = Fault::error(500, "SYSTEM_ERROR");
    world
        .sandbox
        .fault(fault.on("GET", "/v3/certificates").times(100));
    let start = Barrier::new(16);
    let errors = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                start.wait();
                errors.lock().unwrap().push(download_error(call(&client)));
            });
        }
    });
    let errors = errors.into_inner().unwrap();
    assert!(errors.iter().all(|one| Arc::ptr_eq(one, &errors[0])));
    assert_eq!((world.downloads(), world.calls()), (1, 0));
}

#[test]
fn certificates_are_downloaded_again_after_ten_hours_of_use() {
    let world = World::with_certificate();
    let client = world.client();
    call(&client).unwrap();
    world.pass(10 * HOUR - 1);
    call(&client).unwrap();
    assert_eq!(world.downloads(), 1);
    world.issue(NEW, NEW_VALIDITY);
    world.pass(1);
    call(&client).unwrap();
    assert_eq!(world.downloads(), 2);
    assert_eq!(held(&client), [OLD, NEW]);
    // Requests name the certificate that ends last.
    assert_eq!(world.asked().as_deref(), Some(NEW));
}

#[test]
fn a_response_signed_with_an_unknown_certificate_is_verified_after_a_download_and_not_requested_again()
 {
    let world = World::with_certificate();
    let client = world.client();
    call(&client).unwrap();
    world.renew();
    call(&client).unwrap();
    assert_eq!((world.downloads(), world.calls()), (2, 2));
    assert_eq!(held(&client), [OLD, NEW]);
}

#[test]
fn a_failure_signed_with_an_unknown_certificate_is_verified_after_a_download() {
    let refusal = |world: &World, client: &Client| {
        let fault = Fault::error(403, "NO_AUTH").on("POST", "/v3/security/echo");
        world.sandbox.fault(fault);
        match call(client).unwrap_err() {
            Error::Api(error) => error,
            other => panic!("{other:?}"),
        }
    };
    let world = World::with_certificate();
    let client = world.client();
    call(&client).unwrap();
    world.renew();
    let error = refusal(&world, &client);
    assert_eq!(error.authenticity, Authenticity::Signed);
    assert_eq!((&*error.code, error.unknown_key), ("NO_AUTH", None));
    assert_eq!((world.downloads(), world.calls()), (2, 2));
    assert_eq!(held(&client), [OLD, NEW]);

    // No download follows: the key is a public key, and the last download was less than a minute ago.
    world.sandbox.platform().offer_public_key(true);
    world.sign_with(Sandbox::PUBLIC_KEY_ID);
    let error = refusal(&world, &client);
    assert_eq!(error.authenticity, Authenticity::Unsigned);
    assert_eq!(error.unknown_key.as_deref(), Some(Sandbox::PUBLIC_KEY_ID));
    assert_eq!(
        (&*error.code, error.outcome()),
        ("NO_AUTH", Outcome::Refused)
    );
    assert_eq!((world.downloads(), world.calls()), (2, 3));
}

#[test]
fn a_wrong_signature_under_a_certificate_just_downloaded_is_refused() {
    let world = World::with_certificate();
    let client = world.client();
    call(&client).unwrap();
    world.renew();
    let fault = Fault::Signature(Signing::Wrong);
    world.sandbox.fault(fault.on("POST", "/v3/security/echo"));
    assert_eq!(verify_error(call(&client)), wrong_signature(NEW));
    assert_eq!(held(&client), [OLD, NEW]);
}

#[test]
fn unknown_serial_numbers_lead_to_one_download_a_minute() {
    let world = World::with_certificate();
    let client = world.client();
    call(&client).unwrap();
    world.pass(60);
    // The list does not bring the certificate that signs.
    world.issue(NEW, NEW_VALIDITY);
    world.sign_with(NEW);
    world
        .sandbox
        .platform()
        .forge_list(Some(Forgery::OtherSerialNo));
    for (seconds, downloads) in [(0, 2), (59, 2), (1, 3), (1, 3)] {
        world.pass(seconds);
        match verify_error(call(&client)) {
            VerifyError::UnknownSerial { received, known } => {
                assert_eq!((&*received, known), (NEW, vec![OLD.to_owned()]));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(world.downloads(), downloads);
    }
    // Each was sent once.
    assert_eq!(world.calls(), 5);
}

#[test]
fn an_unknown_public_key_leads_to_no_download() {
    let world = World::with_certificate();
    let client = world.client();
    call(&client).unwrap();
    world.pass(60);
    world.sandbox.platform().offer_public_key(true);
    world.sign_with(Sandbox::PUBLIC_KEY_ID);
    match verify_error(call(&client)) {
        VerifyError::UnknownSerial { received, .. } => {
            assert_eq!(received, Sandbox::PUBLIC_KEY_ID);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.downloads(), 1);
}

#[test]
fn each_forged_list_is_refused_for_its_reason_and_the_old_keys_are_kept() {
    let world = World::with_certificate();
    let client = world.client();
    call(&client).unwrap();
    world.issue(NEW, NEW_VALIDITY);
    let platform = world.sandbox.platform();
    let refused = |forgery| {
        platform.forge_list(Some(forgery));
        let error = download_error(client.refresh_certificates());
        assert_eq!(held(&client), [OLD], "{forgery:?}");
        assert!(Arc::ptr_eq(
            &client.last_certificate_error().unwrap(),
            &error
        ));
        call(&client).unwrap();
        error
    };
    match list_error(&refused(Forgery::OtherApiV3Key)) {
        CertificateError::Undecryptable { serial_no } => assert_eq!(serial_no, NEW),
        other => panic!("{other:?}"),
    }
    for (forgery, wanted) in [
        (
            Forgery::OtherSerialNo,
            format!(
                "it gives platform certificate {NEW} the serial_no \"0123456789ABCDEF0123456789ABCDEF01234567\""
            ),
        ),
        (
            Forgery::NoCertificate,
            format!("its entry \"{NEW}\" is not a usable certificate"),
        ),
        (Forgery::MerchantsOwn, "it has a wrong key".to_owned()),
    ] {
        match list_error(&refused(forgery)) {
            CertificateError::Unusable { problem, source } => {
                assert_eq!(*problem, wanted);
                let is_own = matches!(source, Some(KeyError::OwnKey { id }) if id == Sandbox::MERCHANT_SERIAL_NO);
                assert_eq!(is_own, forgery == Forgery::MerchantsOwn);
            }
            other => panic!("{other:?}"),
        }
    }
    // The same list without the forgery.
    platform.forge_list(None);
    client.refresh_certificates().unwrap();
    assert_eq!(held(&client), [OLD, NEW]);
    assert!(client.last_certificate_error().is_none());
}

#[test]
fn a_list_with_a_wrong_signature_is_refused_for_its_reason() {
    let world = World::with_certificate();
    let client = world.client();
    for (signing, wanted) in [
        (Signing::Wrong, wrong_signature(OLD)),
        (Signing::Foreign, wrong_signature(OLD)),
        (Signing::Probe, VerifyError::Probe),
        (
            Signing::Missing,
            VerifyError::MissingHeader {
                name: "Wechatpay-Serial",
            },
        ),
        (
            Signing::Stale,
            VerifyError::Stale {
                timestamp: START - 600,
                now: START,
            },
        ),
        (
            Signing::UnknownSerial,
            VerifyError::UnknownSerial {
                received: Signing::UNKNOWN_SERIAL.to_owned(),
                known: vec![OLD.to_owned()],
            },
        ),
    ] {
        world.sandbox.fault(Fault::Signature(signing));
        match &*download_error(client.refresh_certificates()) {
            Error::Unverified {
                source, request_id, ..
            } => {
                assert_eq!(*source, wanted);
                assert!(request_id.is_some());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(held(&client), [""; 0]);
    }
    client.refresh_certificates().unwrap();
    assert_eq!(held(&client), [OLD]);
}

#[test]
fn a_failed_first_download_fails_the_calls_and_is_retried_after_one_second_then_two() {
    let world = World::with_certificate();
    let client = world.client();
    let fault = Fault::error(503, "SERVICE_UNAVAILABLE");
    world
        .sandbox
        .fault(fault.on("GET", "/v3/certificates").times(2));
    let first = download_error(call(&client));
    match &*first {
        Error::Api(error) => {
            assert_eq!((error.status, &*error.code), (503, "SERVICE_UNAVAILABLE"));
        }
        other => panic!("{other:?}"),
    }
    assert!(Arc::ptr_eq(&download_error(call(&client)), &first));
    assert_eq!((world.downloads(), world.calls()), (1, 0));
    world.pass(1);
    let second = download_error(call(&client));
    world.pass(1);
    assert!(Arc::ptr_eq(&download_error(call(&client)), &second));
    assert_eq!((world.downloads(), world.calls()), (2, 0));
    world.pass(1);
    call(&client).unwrap();
    assert_eq!((world.downloads(), world.calls()), (3, 1));
}

#[test]
fn a_refused_connection_at_the_start_fails_one_call_and_the_next_downloads() {
    let world = World::with_certificate();
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let client = world
        .builder()
        .host(world.sandbox.url().replace("127.0.0.1", "localhost"))
        .resolver(move |_, port| {
            let port = if down.load(Ordering::SeqCst) {
                CLOSED_PORT
            } else {
                port
            };
            Ok(vec![([127, 0, 0, 1], port).into()])
        })
        .build()
        .unwrap();
    for _ in 0..3 {
        let error = download_error(call(&client));
        assert!(matches!(*error, Error::Connect { .. }));
    }
    is_down.store(false, Ordering::SeqCst);
    call(&client).unwrap();
    assert_eq!((world.downloads(), world.calls()), (1, 1));
}

/// Where the function of a test panics.
const PANIC: &str = "a function of the application panics";

#[test]
fn a_panic_during_the_first_download_is_its_recorded_error_and_the_next_call_downloads() {
    type WithFunction = fn(ClientBuilder, Signer, Arc<AtomicBool>) -> ClientBuilder;
    let functions: [WithFunction; 3] = [
        // An observer.
        |builder, _, armed| {
            builder.on_exchange(move |_| assert!(!armed.load(Ordering::SeqCst), "{PANIC}"))
        },
        // A resolver.
        |builder, _, armed| {
            builder.resolver(move |_, port| {
                assert!(!armed.load(Ordering::SeqCst), "{PANIC}");
                Ok(vec![([127, 0, 0, 1], port).into()])
            })
        },
        // A signing function.
        |builder, signer, armed| {
            let signer = Signer::from_function(
                Sandbox::MCHID,
                Sandbox::MERCHANT_SERIAL_NO,
                move |message| {
                    assert!(!armed.load(Ordering::SeqCst), "{PANIC}");
                    Ok(STANDARD.decode(signer.sign(message)?)?)
                },
            );
            drop(builder);
            Client::builder(signer.unwrap(), Verifier::without_keys())
                .platform_certificates(ApiV3Key::new(Sandbox::API_V3_KEY).unwrap())
        },
    ];
    for with_function in functions {
        let world = World::with_certificate();
        let armed = Arc::new(AtomicBool::new(true));
        let client = with_function(world.builder(), world.sandbox.signer(), Arc::clone(&armed))
            .host(world.sandbox.url().replace("127.0.0.1", "localhost"))
            .clock(world.clock())
            .build()
            .unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| call(&client))).unwrap_err();
        assert_eq!(
            panic.downcast_ref::<String>().map(String::as_str),
            Some(PANIC)
        );
        let error = client.last_certificate_error().unwrap();
        assert!(matches!(list_error(&error), CertificateError::Interrupted));
        armed.store(false, Ordering::SeqCst);
        call(&client).unwrap();
        assert!(client.last_certificate_error().is_none());
        assert_eq!(world.calls(), 1);
    }
}

#[test]
fn a_failed_later_download_keeps_the_keys_lets_the_call_pass_and_is_reported() {
    let world = World::with_certificate();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let client = world
        .builder()
        .on_exchange(move |exchange| {
            let error = exchange.error.map(ToString::to_string);
            log.lock()
                .unwrap()
                .push((exchange.template.to_owned(), error));
        })
        .build()
        .unwrap();
    call(&client).unwrap();
    world.pass(10 * HOUR);
    seen.lock().unwrap().clear();
    let fault = Fault::error(500, "SYSTEM_ERROR");
    world.sandbox.fault(fault.on("GET", "/v3/certificates"));
    call(&client).unwrap();
    assert_eq!(held(&client), [OLD]);
    let error = client.last_certificate_error().unwrap();
    assert!(matches!(*error, Error::Api(_)));
    let exchanges = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(exchanges.len(), 2);
    assert_eq!(exchanges[0].0, "/v3/certificates");
    assert!(exchanges[0].1.is_some());
    assert_eq!(exchanges[1], ("/v3/security/echo".to_owned(), None));

    world.pass(59);
    call(&client).unwrap();
    assert_eq!(world.downloads(), 2);
    world.pass(1);
    call(&client).unwrap();
    assert_eq!(world.downloads(), 3);
    assert!(client.last_certificate_error().is_none());
}

#[test]
fn nothing_is_sent_after_expiry_until_there_is_a_valid_certificate() {
    let world = World::with_certificate();
    let client = world.client();
    call(&client).unwrap();
    world.pass(10 * DAY - 60);
    call(&client).unwrap();
    world.pass(60);
    call(&client).unwrap();
    world.pass(1);
    match list_error(&download_error(call(&client))) {
        // The gateway lists no expired ones.
        CertificateError::NoCertificates { response, .. } => assert_eq!(response.status, 200),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.calls(), 3);
    world.issue(NEW, NEW_VALIDITY);
    world.pass(60);
    call(&client).unwrap();
    assert_eq!(held(&client), [NEW]);
}

#[test]
fn a_response_signed_with_an_expired_certificate_is_refused() {
    let world = World::with_certificate();
    world.issue(NEW, NEW_VALIDITY);
    let client = world.client();
    world.sign_with(OLD);
    world.pass(10 * DAY);
    call(&client).unwrap();
    world.pass(1);
    assert_eq!(
        verify_error(call(&client)),
        VerifyError::OutsideValidity {
            serial: OLD.to_owned(),
            not_before: OLD_VALIDITY.not_before,
            not_after: OLD_VALIDITY.not_after,
            now: START + 10 * DAY + 1,
        }
    );
}

#[test]
fn a_merchant_without_certificates_is_told_to_configure_the_public_key() {
    let world = World::new();
    let client = world.client();
    let error = call(&client).unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent);
    assert!(error.request_id().is_some());
    let messages = chain(&error);
    assert_eq!(
        messages[1],
        "this merchant has no platform certificates (HTTP 404): configure the WeChat Pay public key, id \
         PUB_KEY_ID_0000000000000024101100397200000006 and file pub_key.pem, from the merchant platform \
         (账户中心 › API安全 › 微信支付公钥)"
    );
    assert_eq!(world.calls(), 0);

    // With the public key nothing depends on the certificates.
    let client = world.migrating_client();
    for _ in 0..2 {
        call(&client).unwrap();
        world.pass(HOUR);
    }
    let error = client.last_certificate_error().unwrap();
    assert!(matches!(
        list_error(&error),
        CertificateError::NoCertificates { .. }
    ));
    assert_eq!(held(&client), [Sandbox::PUBLIC_KEY_ID]);
    assert_eq!((world.downloads(), world.calls()), (2, 2));
}

#[test]
fn a_merchant_with_an_empty_list_gets_the_same_error_and_downloads_again_after_ten_hours() {
    let world = World::new();
    world.issue(OLD, OLD_VALIDITY);
    world.sandbox.platform().withdraw_certificate(OLD);
    let messages = chain(&call(&world.client()).unwrap_err());
    assert!(messages[1].contains(
        "configure the WeChat Pay public key, id PUB_KEY_ID_0000000000000024101100397200000006"
    ));
    assert_eq!((world.downloads(), world.calls()), (1, 0));

    let client = world.migrating_client();
    for (seconds, downloads) in [(0, 2), (60, 2), (10 * HOUR - 61, 2), (1, 3)] {
        world.pass(seconds);
        call(&client).unwrap();
        assert_eq!(world.downloads(), downloads);
    }
    let error = client.last_certificate_error().unwrap();
    assert!(matches!(
        list_error(&error),
        CertificateError::NoCertificates { .. }
    ));
    assert_eq!(held(&client), [Sandbox::PUBLIC_KEY_ID]);
}

#[test]
fn a_client_without_the_apiv3_key_downloads_nothing() {
    let world = World::with_certificate();
    let public_key = Verifier::new([public_key()]).unwrap();
    world.sandbox.platform().offer_public_key(true);
    let client = Client::builder(world.sandbox.signer(), public_key)
        .host(world.sandbox.url())
        .clock(world.clock())
        .build()
        .unwrap();
    world.sign_with(OLD);
    match verify_error(call(&client)) {
        VerifyError::UnknownSerial { received, .. } => assert_eq!(received, OLD),
        other => panic!("{other:?}"),
    }
    match client.refresh_certificates().unwrap_err() {
        Error::InvalidSetting(error) => assert_eq!(error.setting(), "platform_certificates"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.downloads(), 0);
    assert!(client.last_certificate_error().is_none());
}

#[test]
fn a_client_without_any_key_sends_nothing() {
    let world = World::new();
    let client = Client::builder(world.sandbox.signer(), Verifier::without_keys())
        .host(world.sandbox.url())
        .clock(world.clock())
        .build()
        .unwrap();
    assert!(matches!(call(&client), Err(Error::NoPlatformKey { .. })));
    assert_eq!(world.sandbox.connections_accepted(), 0);
    // A receiver or client without APIv3 key is given keys at run time.
    client
        .merchant()
        .verifier()
        .replace([public_key()])
        .unwrap();
    call(&client).unwrap();
}

/// A notification's body and headers, signed with the sandbox's second key as the certificate [`OLD`] certifies it.
fn notification(now: u64, serial: &str) -> (Vec<u8>, Vec<(&'static str, String)>) {
    let body = br#"{"id":"EV-2018022511223320873"}"#.to_vec();
    let signature = signature_by(OLD_KEY, &message(&now.to_string(), "nonce", &body));
    let headers = vec![
        ("Wechatpay-Serial", serial.to_owned()),
        ("Wechatpay-Timestamp", now.to_string()),
        ("Wechatpay-Nonce", "nonce".to_owned()),
        ("Wechatpay-Signature", signature),
    ];
    (body, headers)
}

fn receive(verifier: &Verifier, now: u64, serial: &str) -> Result<(), VerifyError> {
    let (body, headers) = notification(now, serial);
    let pairs = headers.iter().map(|(name, value)| (*name, value));
    verifier.verify(&SignatureHeaders::from_pairs(pairs)?, &body, at(now))
}

#[test]
fn a_client_and_a_receiver_of_notifications_share_downloaded_certificates() {
    let world = World::with_certificate();
    let client = world.client();
    let receiver = client.merchant().verifier().clone();
    let error = receive(&receiver, START, OLD).unwrap_err();
    assert!(client.refresh_for(&error));
    receive(&receiver, START, OLD).unwrap();
    call(&client).unwrap();
    assert_eq!(world.downloads(), 1);

    // As for responses, downloads are at least a minute apart, and only an unknown certificate leads to a download.
    let unknown = receive(&receiver, START, NEW).unwrap_err();
    world.pass(59);
    assert!(!client.refresh_for(&unknown));
    assert_eq!(world.downloads(), 1);
    world.pass(1);
    for error in [
        wrong_signature(OLD),
        VerifyError::Probe,
        receive(&receiver, START, "PUB_KEY_ID_1").unwrap_err(),
    ] {
        assert!(!client.refresh_for(&error), "{error:?}");
    }
    assert_eq!(world.downloads(), 1);
    assert!(!client.refresh_for(&unknown));
    assert_eq!(world.downloads(), 2);

    // What the client learns, the receiver knows.
    world.renew();
    call(&client).unwrap();
    assert_eq!(receiver.key_ids(), [OLD, NEW]);
    assert!(client.refresh_for(&unknown));
    assert_eq!(world.downloads(), 3);
}

#[test]
fn a_response_waits_for_a_running_download_and_a_notification_does_not() {
    let world = World::with_certificate();
    let client = world.client();
    call(&client).unwrap();
    world.renew();
    let unknown = receive(client.merchant().verifier(), START + 60, NEW).unwrap_err();
    let late = Fault::Late(Duration::from_secs(1));
    world.sandbox.fault(late.on("GET", "/v3/certificates"));
    thread::scope(|scope| {
        let first = scope.spawn(|| client.refresh_for(&unknown));
        wait_until("the download has begun", || world.downloads() == 2);
        assert!(!client.refresh_for(&unknown));
        assert!(!first.is_finished());
        call(&client).unwrap();
        assert!(first.join().unwrap());
    });
    assert!(client.refresh_for(&unknown));
    assert_eq!((world.downloads(), world.calls()), (2, 2));
}

/// A DNS lookup cannot be cut short. A thread that waits for the download of another stops waiting at its own timeout.
#[test]
fn a_download_that_hangs_delays_another_call_for_its_timeout_at_most() {
    let world = World::with_certificate();
    let timeout = Duration::from_secs(1);
    let (asks, asked) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let (_, port) = world.sandbox.url().rsplit_once(':').unwrap();
    let client = world
        .builder()
        .host(format!("http://localhost:{port}"))
        .resolver(move |_, port| {
            let _ = asks.send(());
            // Until the other end is dropped.
            let _ = released.lock().unwrap().recv();
            Ok(vec![([127, 0, 0, 1], port).into()])
        })
        .timeout(timeout)
        .build()
        .unwrap();
    let gave_up = |result| match list_error(&download_error(result)) {
        CertificateError::StillRunning { waited } => assert_eq!(*waited, timeout),
        other => panic!("{other:?}"),
    };
    thread::scope(|scope| {
        let release = release;
        let hanging = scope.spawn(|| call(&client));
        asked.recv().unwrap();
        gave_up(call(&client));
        gave_up(client.refresh_certificates());
        assert!(client.last_certificate_error().is_none());
        let report = client.self_test();
        let finding = report.finding(Check::PlatformCertificates).unwrap();
        let remedy = finding.remedy.as_deref().unwrap();
        assert!(
            remedy.contains("what holds the other download up"),
            "{report}"
        );
        let error = report.error.unwrap();
        assert_eq!(error.request_id(), None);
        assert_eq!(
            chain(&error),
            [
                "the platform certificates could not be downloaded; nothing was sent",
                "a download of the platform certificates by another thread has not ended within 1s",
            ]
        );
        assert!(!hanging.is_finished());
        assert_eq!(world.sandbox.connections_accepted(), 0);
        drop(release);
    });
    world.pass(60);
    call(&client).unwrap();
}

/// WeChat Pay moves the signing of notifications to the public key over seven days. Until the end, some are still
/// signed with the certificate.
#[test]
fn notifications_signed_with_either_kind_of_key_are_opened_during_the_move() {
    let world = World::with_certificate();
    world.sandbox.platform().offer_public_key(true);
    let client = world.migrating_client();
    let api_v3_key = ApiV3Key::new(Sandbox::API_V3_KEY).unwrap();
    let receiver = NotificationReceiver::new(client.merchant().verifier().clone(), api_v3_key);
    let mut signed_with = Vec::new();
    for (day, permille) in [0, 1, 10, 50, 100, 200, 500, 1000].into_iter().enumerate() {
        let platform = world.sandbox.platform();
        platform.sign_with(SignsWith::Moving { permille });
        for number in 0..4 {
            let out_contract_code = format!("day{day}contract{number}");
            client.send(&pre_sign(&out_contract_code)).unwrap();
            world.sandbox.user_signs(&out_contract_code).unwrap();
            let sent = world.sandbox.notifications().pop().unwrap();
            let pairs = sent.headers.iter().map(|(name, value)| (name, value));
            let headers = SignatureHeaders::from_pairs(pairs).unwrap();
            let now = at(world.now.load(Ordering::SeqCst));
            let event = receiver.open(&headers, &sent.body, now).unwrap();
            match event.content {
                Event::Contract(contract) => {
                    assert_eq!(contract.out_contract_code, out_contract_code)
                }
                other => panic!("{other:?}"),
            }
            let (_, serial) = sent
                .headers
                .iter()
                .find(|(name, _)| name == "Wechatpay-Serial")
                .unwrap();
            signed_with.push(serial.clone());
        }
        world.pass(DAY);
    }
    assert_eq!(signed_with[..4], [OLD; 4]);
    assert_eq!(signed_with[28..], [Sandbox::PUBLIC_KEY_ID; 4]);
    assert_eq!(held(&client), [Sandbox::PUBLIC_KEY_ID, OLD]);
}

fn pre_sign(out_contract_code: &str) -> ecommerce::MiniProgramPreSign<'_> {
    ecommerce::MiniProgramPreSign {
        appid: "wxd678efh567hg6787",
        service_id: 12535,
        out_contract_code,
        notify_url: "https://yourapp.com/notify",
        contract_display_account: "微信代扣用户A",
        openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    }
}

/// Threads that call without a pause. The first failed call ends the test.
struct Traffic<'s> {
    /// Held while the clock moves, since a request under way would become stale.
    gate: &'s RwLock<()>,
    finished: &'s mpsc::Receiver<Result<(), String>>,
}

impl Traffic<'_> {
    const THREADS: usize = 6;

    /// Runs `script` while the threads call.
    fn run(client: &Client, script: impl FnOnce(&Traffic<'_>)) {
        Self::run_with(&|| client.clone(), script);
    }

    fn run_with(client: &(dyn Fn() -> Client + Sync), script: impl FnOnce(&Traffic<'_>)) {
        let gate = RwLock::new(());
        let is_over = AtomicBool::new(false);
        let (done, finished) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..Self::THREADS {
                let done = done.clone();
                let (gate, is_over) = (&gate, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::SeqCst) {
                        let pass = gate.read().unwrap();
                        let result = call(&client()).map_err(|error| chain(&error).join(": "));
                        drop(pass);
                        let _ = done.send(result);
                    }
                });
            }
            let traffic = Traffic {
                gate: &gate,
                finished: &finished,
            };
            let result = catch_unwind(AssertUnwindSafe(|| script(&traffic)));
            is_over.store(true, Ordering::SeqCst);
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        drop(done);
        for result in finished {
            result.unwrap();
        }
    }

    /// Waits until five calls for each thread have succeeded.
    fn flow(&self) {
        for _ in 0..Self::THREADS * 5 {
            self.finished.recv().unwrap().unwrap();
        }
    }

    /// Waits until `done` returns `true`. That may take several calls, since one thread refreshes the keys while the
    /// others call.
    fn flow_until(&self, done: impl Fn() -> bool) {
        for _ in 0..1_000 {
            self.flow();
            if done() {
                return;
            }
        }
        panic!("`done` still returns false");
    }

    /// Does something while no call is under way.
    fn paused(&self, action: impl FnOnce()) {
        let _gate = self.gate.write().unwrap();
        action();
    }
}

#[test]
fn a_rotation_under_traffic_loses_no_call() {
    let world = World::with_certificate();
    let client = world.client();
    Traffic::run(&client, |traffic| {
        traffic.flow();
        assert_eq!(world.downloads(), 1);

        // The new certificate is listed. Clients find it when theirs are ten hours old.
        world.issue(NEW, NEW_VALIDITY);
        traffic.flow();
        assert_eq!(
            (world.downloads(), held(&client)),
            (1, vec![OLD.to_owned()])
        );

        // The keys are now older than ten hours, so one call downloads the list while others run. NEW signs only later.
        traffic.paused(|| world.pass(5 * DAY));
        traffic.flow_until(|| held(&client) == [OLD, NEW]);
        assert_eq!(world.downloads(), 2);
        traffic.paused(|| {
            world.pass(HOUR);
            world.sign_with(NEW);
        });
        traffic.flow();
        assert_eq!(world.downloads(), 2);

        // Both sign, now this one, now that one.
        for id in [OLD, NEW, OLD, NEW] {
            world.sign_with(id);
            traffic.flow();
        }

        // The old one ends and is withdrawn.
        traffic.paused(|| {
            world.pass(5 * DAY);
            world.sandbox.platform().withdraw_certificate(OLD);
        });
        traffic.flow_until(|| held(&client) == [NEW]);
        assert_eq!(world.downloads(), 3);
    });
}

#[test]
fn an_unknown_certificate_is_downloaded_once_under_traffic() {
    let world = World::with_certificate();
    let client = world.client();
    Traffic::run(&client, |traffic| {
        traffic.flow();
        traffic.paused(|| world.pass(60));
        world.issue(NEW, NEW_VALIDITY);
        world.sign_with(NEW);
        traffic.flow_until(|| held(&client) == [OLD, NEW]);
        assert_eq!(world.downloads(), 2);
    });
}

#[test]
fn a_move_from_certificates_to_the_public_key_under_traffic_loses_no_call() {
    let world = World::with_certificate();
    world.sandbox.platform().offer_public_key(true);
    let client = world.migrating_client();
    // Before the switch everything is signed with the certificate, whatever is asked for.
    world.sign_with(OLD);
    Traffic::run(&client, |traffic| {
        traffic.flow_until(|| held(&client) == [Sandbox::PUBLIC_KEY_ID, OLD]);
        assert_eq!(world.asked().as_deref(), Some(Sandbox::PUBLIC_KEY_ID));
        for permille in [1, 10, 50, 100, 200, 500, 1000] {
            world
                .sandbox
                .platform()
                .sign_with(SignsWith::Moving { permille });
            traffic.flow();
            traffic.paused(|| world.pass(DAY));
        }
        world.sandbox.platform().sign_with(SignsWith::Requested);
        traffic.flow();

        // OLD is withdrawn and expires. Then the download fails, and no call does.
        traffic.paused(|| world.sandbox.platform().withdraw_certificate(OLD));
        traffic.paused(|| world.pass(5 * DAY));
        traffic.flow_until(|| client.last_certificate_error().is_some());
        let error = client.last_certificate_error().unwrap();
        assert!(matches!(
            list_error(&error),
            CertificateError::NoCertificates { .. }
        ));
    });
}

#[test]
fn a_service_in_certificate_mode_adds_the_public_key_and_keeps_its_certificates() {
    let world = World::with_certificate();
    let [client, other] = [world.client(), world.client()];
    call(&client).unwrap();
    call(&other).unwrap();
    world.sandbox.platform().offer_public_key(true);
    world.sign_with(OLD);
    let verifier = client.merchant().verifier();
    verifier.replace_public_keys([public_key()]).unwrap();
    assert_eq!(held(&client), [OLD, Sandbox::PUBLIC_KEY_ID]);
    call(&client).unwrap();
    assert_eq!(world.asked().as_deref(), Some(Sandbox::PUBLIC_KEY_ID));
    // If the public key replaced all keys, that response would be lost.
    let replaced = other.merchant().verifier().replace([public_key()]);
    replaced.unwrap();
    match verify_error(call(&other)) {
        VerifyError::UnknownSerial { received, .. } => assert_eq!(received, OLD),
        other => panic!("{other:?}"),
    }

    for (day, permille) in [1, 10, 50, 100, 200, 500, 1000].into_iter().enumerate() {
        let signs = SignsWith::Moving { permille };
        world.sandbox.platform().sign_with(signs);
        for _ in 0..4 {
            call(&client).unwrap();
        }
        receive(verifier, world.now.load(Ordering::SeqCst), OLD).unwrap();
        assert_eq!(world.asked().as_deref(), Some(Sandbox::PUBLIC_KEY_ID));
        // The first, and one for each new day.
        assert_eq!(world.downloads(), 2 + day);
        world.pass(DAY);
    }
    assert_eq!(held(&client), [Sandbox::PUBLIC_KEY_ID, OLD]);
}

#[test]
fn the_merchants_own_certificate_is_renewed_under_traffic_without_a_lost_call() {
    let world = World::new();
    let first = Client::builder(
        world.sandbox.signer(),
        Verifier::new([public_key()]).unwrap(),
    )
    .host(world.sandbox.url())
    .clock(world.clock())
    .build()
    .unwrap();
    let current = RwLock::new(first.clone());
    let client = || current.read().unwrap().clone();
    Traffic::run_with(&client, |traffic| {
        traffic.flow();
        let renewed = client()
            .with_signer(world.sandbox.renewed_signer().unwrap())
            .unwrap();
        *current.write().unwrap() = renewed;
        traffic.flow();
        // `paused` waits for the calls that began with the old signer.
        traffic.paused(|| world.sandbox.revoke_first_certificate());
        traffic.flow();
    });
    for serial_no in [Sandbox::MERCHANT_SERIAL_NO, Sandbox::RENEWED_SERIAL_NO] {
        let part = format!("serial_no=\"{serial_no}\"");
        let requests = world.sandbox.requests();
        let count = requests
            .iter()
            .filter(|one| one.header("Authorization").unwrap().contains(&part))
            .count();
        assert!(count >= Traffic::THREADS, "{serial_no}: {count}");
    }
    match call(&first).unwrap_err() {
        Error::Api(error) => assert_eq!((error.status, &*error.code), (401, "SIGN_ERROR")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_renewed_client_shares_platform_keys_downloads_and_connections_of_the_first() {
    let world = World::with_certificate();
    let first = world.client();
    let renewed = first
        .with_signer(world.sandbox.renewed_signer().unwrap())
        .unwrap();
    call(&renewed).unwrap();
    let connections = world.sandbox.connections_accepted();
    // `execute` uses a pooled connection again only after it was silent for a while.
    thread::sleep(Duration::from_millis(500));
    call(&first).unwrap();
    assert_eq!(held(&first), [OLD]);
    assert_eq!(world.downloads(), 1);
    assert_eq!(world.sandbox.connections_accepted(), connections);
}

#[test]
fn a_renewed_signer_of_another_merchant_or_with_a_platform_keys_serial_number_is_refused() {
    let world = World::with_certificate();
    let client = world.client();
    call(&client).unwrap();
    let signer = |mchid: &str, serial_no: &str| {
        let key = PrivateKey::from_pem(Sandbox::MERCHANT_KEY_PEM).unwrap();
        Signer::new(mchid, serial_no, key).unwrap()
    };
    let refused = |signer| client.with_signer(signer).unwrap_err();
    let error = refused(signer("1900000110", NEW));
    assert_eq!(
        error.to_string(),
        "mchid: found \"1900000110\": wanted \"1900000109\" (for another merchant, use Client::for_merchant)"
    );
    let error = refused(signer(Sandbox::MCHID, OLD));
    assert!(
        matches!(error, Error::Key(KeyError::OwnKey { .. })),
        "{error:?}"
    );
    client.with_signer(signer(Sandbox::MCHID, NEW)).unwrap();
}

#[test]
fn the_configured_share_of_responses_is_signed_with_the_public_key() {
    let world = World::with_certificate();
    world.sandbox.platform().offer_public_key(true);
    let signs = SignsWith::Moving { permille: 200 };
    world.sandbox.platform().sign_with(signs);
    let client = Client::builder(
        world.sandbox.signer(),
        Verifier::new([public_key()]).unwrap(),
    )
    .host(world.sandbox.url())
    .clock(world.clock())
    .build()
    .unwrap();
    let verified = (0..20).filter(|_| call(&client).is_ok()).count();
    assert_eq!(verified, 4);
}

#[test]
fn requests_ask_for_the_public_key_if_there_is_one_else_for_the_newest_valid_certificate() {
    let world = World::with_certificate();
    world.sandbox.platform().offer_public_key(true);
    world.issue(NEW, NEW_VALIDITY);
    let certificates = world.client();
    call(&certificates).unwrap();
    assert_eq!(world.asked().as_deref(), Some(NEW));
    let both = world.migrating_client();
    call(&both).unwrap();
    assert_eq!(world.asked().as_deref(), Some(Sandbox::PUBLIC_KEY_ID));
    assert_eq!(held(&both), [Sandbox::PUBLIC_KEY_ID, OLD, NEW]);
}

#[test]
fn openssl_reads_and_verifies_the_sandboxs_certificates() {
    if !installed("openssl") {
        return;
    }
    let world = World::new();
    let dates = |not_before, not_after| Validity {
        not_before,
        not_after,
    };
    for (serial, validity, wanted) in [
        (
            OLD,
            dates(1_553_659_165, 1_711_339_165),
            "2019-03-27 03:59:25Z..2024-03-25 03:59:25Z",
        ),
        (
            "F000000000000000000000000000000000000001",
            dates(951_782_400, 2_524_607_999),
            "2000-02-29 00:00:00Z..2049-12-31 23:59:59Z",
        ),
        (
            "ABC",
            dates(2_524_608_000, 4_107_542_400),
            "2050-01-01 00:00:00Z..2100-03-01 00:00:00Z",
        ),
    ] {
        let pem = world.issue(serial, validity);
        let shown = openssl(
            &[
                "x509", "-noout", "-serial", "-dates", "-dateopt", "iso_8601",
            ],
            pem.as_bytes(),
        );
        let (not_before, not_after) = wanted.split_once("..").unwrap();
        let even = if serial.len() % 2 == 1 { "0" } else { "" };
        assert_eq!(
            String::from_utf8(shown).unwrap(),
            format!("serial={even}{serial}\nnotBefore={not_before}\nnotAfter={not_after}\n")
        );
        let file =
            std::env::temp_dir().join(format!("sandbox_{}_{serial}.pem", std::process::id()));
        std::fs::write(&file, &pem).unwrap();
        let path = file.to_str().unwrap();
        let at_time = validity.not_before.to_string();
        let verified = openssl(
            &[
                "verify",
                "-check_ss_sig",
                "-attime",
                &at_time,
                "-CAfile",
                path,
                path,
            ],
            b"",
        );
        std::fs::remove_file(&file).unwrap();
        assert_eq!(
            String::from_utf8(verified).unwrap(),
            format!("{path}: OK\n")
        );
        let key = PublicKey::from_certificate_pem(&pem).unwrap();
        assert_eq!(key.validity(), Some(validity));
    }
}
