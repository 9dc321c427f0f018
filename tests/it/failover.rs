//! The second attempt of a call: its host and its signature. No request that may have arrived is sent again.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use wechatpay_contract::sandbox::{Fault, RecordedRequest, Sandbox};
use wechatpay_contract::{
    ApiV3Key, CertificateError, Client, ClientBuilder, Error, Method, Outcome, Request, Signer,
};

use crate::client_faults::{CLOSED, cases, told};
use crate::pre_sign::PRE_SIGN;

const AGENT: &str = concat!("wechatpay-contract/", env!("CARGO_PKG_VERSION"));

/// Host, attempt and outcome of an exchange.
type Seen = (String, u8, Option<Outcome>);

/// Two sandboxes of one merchant, with records of the client's signatures and exchanges.
struct TwoHosts {
    main: Sandbox,
    backup: Sandbox,
    signed: Arc<Mutex<Vec<String>>>,
    exchanges: Arc<Mutex<Vec<Seen>>>,
    /// The ports of the hosts that cannot be reached.
    down: Arc<Mutex<Vec<u16>>>,
    /// The ports of the hosts that were looked up.
    looked_up: Arc<Mutex<Vec<u16>>>,
}

impl TwoHosts {
    fn start() -> Self {
        Self {
            main: Sandbox::start().unwrap(),
            backup: Sandbox::start().unwrap(),
            signed: Arc::default(),
            exchanges: Arc::default(),
            down: Arc::default(),
            looked_up: Arc::default(),
        }
    }

    /// Returns a client whose main host cannot be reached, since no server listens there.
    fn without_main() -> (Self, Client) {
        let hosts = Self::start();
        hosts.take_down(&hosts.main);
        let client = hosts.client();
        (hosts, client)
    }

    /// Makes connections to a host fail. Its port stays open, since the server of another test could get a closed one.
    fn take_down(&self, host: &Sandbox) {
        self.down.lock().unwrap().push(port(host));
    }

    fn bring_back(&self, host: &Sandbox) {
        self.down.lock().unwrap().retain(|down| *down != port(host));
    }

    fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    fn builder(&self) -> ClientBuilder {
        let exchanges = Arc::clone(&self.exchanges);
        let (down, looked_up) = (Arc::clone(&self.down), Arc::clone(&self.looked_up));
        Client::builder(self.signer(), self.main.verifier())
            .host(url(&self.main))
            .backup_host(Some(&url(&self.backup)))
            .resolver(move |_, port| {
                looked_up.lock().unwrap().push(port);
                let down = down.lock().unwrap().contains(&port);
                let port = if down { CLOSED_PORT } else { port };
                Ok(vec![([127, 0, 0, 1], port).into()])
            })
            .on_exchange(move |exchange| {
                let host = exchange.host.to_owned();
                let seen = (host, exchange.attempt, exchange.outcome());
                exchanges.lock().unwrap().push(seen);
            })
    }

    /// Returns a signer with the sandbox's key that records the signed messages.
    fn signer(&self) -> Signer {
        let inner = self.main.signer();
        let signed = Arc::clone(&self.signed);
        Signer::from_function(
            Sandbox::MCHID,
            Sandbox::MERCHANT_SERIAL_NO,
            move |message| {
                let text = String::from_utf8(message.to_vec())?;
                signed.lock().unwrap().push(text);
                Ok(STANDARD.decode(inner.sign(message)?)?)
            },
        )
        .unwrap()
    }

    fn nonces(&self) -> Vec<String> {
        let signed = self.signed.lock().unwrap();
        let nonce = |message: &String| message.lines().nth(3).unwrap().to_owned();
        signed.iter().map(nonce).collect()
    }

    /// Returns the number of DNS lookups of the main and the backup host.
    fn look_ups(&self) -> (usize, usize) {
        let looked_up = self.looked_up.lock().unwrap();
        let of = |host| looked_up.iter().filter(|at| **at == port(host)).count();
        (of(&self.main), of(&self.backup))
    }

    fn received(&self) -> (Vec<RecordedRequest>, Vec<RecordedRequest>) {
        (self.main.requests(), self.backup.requests())
    }

    fn exchanges(&self) -> Vec<Seen> {
        self.exchanges.lock().unwrap().clone()
    }
}

/// A port on which nothing listens, and which the system does not assign.
pub(crate) const CLOSED_PORT: u16 = 1;

fn port(sandbox: &Sandbox) -> u16 {
    let (_, port) = sandbox.url().rsplit_once(':').unwrap();
    port.parse().unwrap()
}

fn name(sandbox: &Sandbox) -> String {
    format!("localhost:{}", port(sandbox))
}

/// Returns a URL with a name, which needs a DNS lookup.
fn url(sandbox: &Sandbox) -> String {
    format!("http://{}", name(sandbox))
}

fn nonce(request: &RecordedRequest) -> &str {
    let authorization = request.header("Authorization").unwrap();
    let (_, rest) = authorization.split_once("nonce_str=\"").unwrap();
    rest.split_once('"').unwrap().0
}

#[test]
fn without_a_connection_the_request_goes_to_the_backup_host_once_with_a_new_signature() {
    let (hosts, client) = TwoHosts::without_main();
    let session = client.send(&PRE_SIGN).unwrap();
    assert_eq!(session.out_contract_code, PRE_SIGN.out_contract_code);

    let (main, backup) = hosts.received();
    assert_eq!((main.len(), backup.len()), (0, 1));
    let nonces = hosts.nonces();
    assert_eq!(nonces.len(), 2);
    assert_ne!(nonces[0], nonces[1]);
    assert_eq!(nonce(&backup[0]), nonces[1]);
    assert_eq!(
        backup[0].header("User-Agent"),
        Some(format!("{AGENT} (backup-host)").as_str())
    );
    assert_eq!(
        hosts.exchanges(),
        [
            (name(&hosts.main), 1, Some(Outcome::NotSent)),
            (name(&hosts.backup), 2, None),
        ]
    );
}

#[test]
fn after_ten_seconds_one_call_probes_a_main_host_that_was_down() {
    let (hosts, client) = TwoHosts::without_main();
    client.send(&PRE_SIGN).unwrap();
    hosts.bring_back(&hosts.main);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(7) {
        client.send(&PRE_SIGN).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(hosts.received().0.is_empty());
    std::thread::sleep(Duration::from_secs(10).saturating_sub(began.elapsed()));
    client.send(&PRE_SIGN).unwrap();
    client.send(&PRE_SIGN).unwrap();
    let (main, _) = hosts.received();
    assert_eq!(main.len(), 2);
    assert_eq!(main[0].header("User-Agent"), Some(AGENT));
}

#[test]
fn a_host_whose_name_is_unknown_is_a_failure_to_connect() {
    let hosts = TwoHosts::start();
    let unknown = |host: &str, _| {
        assert_eq!(host, "gateway.invalid");
        Err(io::Error::new(io::ErrorKind::NotFound, "no such name"))
    };
    let builder = || {
        hosts
            .builder()
            .host("https://gateway.invalid")
            .resolver(unknown)
    };
    let result = builder().build().unwrap().send(&PRE_SIGN);
    assert_eq!(
        told(&result),
        "connect: DNS lookup of gateway.invalid: no such name"
    );
    assert_eq!(result.unwrap_err().outcome(), Outcome::NotSent);

    let client = builder()
        .backup_host(Some(hosts.backup.url()))
        .build()
        .unwrap();
    client.send(&PRE_SIGN).unwrap();
    let (main, backup) = hosts.received();
    assert_eq!((main.len(), backup.len()), (0, 1));

    let nowhere = hosts
        .builder()
        .host("https://gateway.invalid")
        .resolver(|_, _| Ok(Vec::new()));
    let result = nowhere.build().unwrap().send(&PRE_SIGN);
    assert_eq!(
        told(&result),
        "connect: DNS lookup of gateway.invalid: no address found"
    );
}

#[test]
fn a_dns_lookup_that_fails_late_leaves_time_for_the_backup_host() {
    let hosts = TwoHosts::start();
    let limit = Duration::from_millis(400);
    let client = hosts
        .builder()
        .host("https://gateway.invalid")
        .backup_host(Some(hosts.backup.url()))
        .timeout(limit)
        .resolver(move |_, _| {
            // Longer than the timeout of the call, since a DNS lookup cannot be cut short.
            std::thread::sleep(2 * limit);
            Err(io::ErrorKind::NotFound.into())
        })
        .build()
        .unwrap();
    client.send(&PRE_SIGN).unwrap();
    let (main, backup) = hosts.received();
    assert_eq!((main.len(), backup.len()), (0, 1));
}

/// Returns the `https` URL of a server that speaks plain HTTP, for this number of connections.
pub(crate) fn plain_server(connections: usize) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for _connection in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .unwrap();
            // Reads to the end, since a reset could lose the response.
            stream.shutdown(Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (url, server)
}

#[test]
fn a_host_that_does_not_speak_tls_is_a_failure_to_connect() {
    let hosts = TwoHosts::start();
    let (plain, server) = plain_server(2);
    let without_backup = hosts.builder().host(&plain).build().unwrap();
    let result = without_backup.send(&PRE_SIGN);
    assert_eq!(
        told(&result),
        "connect: TLS: the other side does not speak TLS"
    );
    assert_eq!(result.unwrap_err().outcome(), Outcome::NotSent);

    let client = hosts
        .builder()
        .host(plain)
        .backup_host(Some(hosts.backup.url()))
        .build()
        .unwrap();
    client.send(&PRE_SIGN).unwrap();
    let (main, backup) = hosts.received();
    assert_eq!((main.len(), backup.len()), (0, 1));
    server.join().unwrap();
}

#[test]
fn nothing_is_sent_if_no_host_can_be_reached() {
    let (hosts, client) = TwoHosts::without_main();
    hosts.take_down(&hosts.backup);
    let error = client.send(&PRE_SIGN).unwrap_err();
    let Error::Connect { host, source } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*host, name(&hosts.backup));
    let refused = TcpStream::connect(("127.0.0.1", CLOSED_PORT)).unwrap_err();
    let kind = source.downcast_ref::<io::Error>().map(io::Error::kind);
    assert_eq!(kind, Some(refused.kind()));
    let refused = format!("TCP to 127.0.0.1:{CLOSED_PORT}: {refused}");
    let main = name(&hosts.main);
    assert_eq!(
        source.to_string(),
        format!("{refused}; before that {main}: {refused}")
    );
    assert_eq!(error.outcome(), Outcome::NotSent);
    // Two attempts, not more.
    assert_eq!(hosts.nonces().len(), 2);
    assert_eq!(hosts.exchanges().len(), 2);

    hosts.bring_back(&hosts.backup);
    client.send(&PRE_SIGN).unwrap();
    let (main, backup) = hosts.received();
    assert_eq!((main.len(), backup.len()), (0, 1));
}

#[test]
fn the_call_returns_the_error_of_the_backup_host() {
    let (hosts, client) = TwoHosts::without_main();
    hosts.backup.fault(Fault::Close { took_effect: true });
    let error = client.send(&PRE_SIGN).unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    let (main, backup) = hosts.received();
    assert_eq!((main.len(), backup.len()), (0, 1));
    assert_eq!(hosts.nonces().len(), 2);
}

#[test]
fn the_backup_host_can_be_switched_off() {
    let hosts = TwoHosts::start();
    hosts.take_down(&hosts.main);
    let client = hosts.builder().backup_host(None).build().unwrap();
    let error = client.send(&PRE_SIGN).unwrap_err();
    let Error::Connect { host, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*host, name(&hosts.main));
    assert_eq!(hosts.nonces().len(), 1);
    assert!(hosts.received().1.is_empty());
}

#[test]
fn both_hosts_of_wechat_pay_are_the_default() {
    let sandbox = Sandbox::start().unwrap();
    let builder = || Client::builder(sandbox.signer(), sandbox.verifier());
    let hosts = |builder: ClientBuilder| format!("{:?}", builder.build().unwrap());
    let (main, backup) = (
        "host: https://api.mch.weixin.qq.com",
        "backup_host: Some(https://api2.mch.weixin.qq.com)",
    );
    let default = hosts(builder());
    assert!(
        default.contains(main) && default.contains(backup),
        "{default}"
    );
    // Another main host has no backup host, unless one is named.
    let other = hosts(builder().host("https://gateway.example"));
    assert!(other.contains("backup_host: None"), "{other}");
    assert!(!other.contains("weixin"), "{other}");
    let off = hosts(builder().backup_host(None));
    assert!(
        off.contains(main) && off.contains("backup_host: None"),
        "{off}"
    );
}

#[test]
fn whatever_may_have_arrived_is_not_sent_again() {
    let hosts = TwoHosts::start();
    let client = hosts.client();
    for case in cases() {
        let before = hosts.main.requests().len();
        hosts.main.fault(case.fault.clone());
        let result = client.send(&PRE_SIGN);
        assert_eq!(
            hosts.main.requests().len(),
            before + 1,
            "{}: {:?}",
            case.told,
            result
        );
        // So that the next request is not sent on a connection that is closing.
        hosts.main.close_connections();
    }
    hosts.main.hang_up(1);
    let before = hosts.main.requests().len();
    let error = client.send(&PRE_SIGN).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(hosts.main.requests().len(), before);
    assert_eq!(hosts.backup.connections_accepted(), 0);
}

#[test]
fn no_method_but_get_is_sent_again() {
    let hosts = TwoHosts::start();
    let client = hosts.client();
    for method in [Method::Post, Method::Put, Method::Patch, Method::Delete] {
        let before = hosts.main.requests().len();
        hosts.main.fault(Fault::Close { took_effect: true });
        let result = client.execute::<Value>(Request::new(method, "/v3/x"));
        assert_eq!(result.unwrap_err().outcome(), Outcome::Unknown, "{method}");
        assert_eq!(hosts.main.requests().len(), before + 1, "{method}");
    }
    assert_eq!(hosts.backup.connections_accepted(), 0);
}

/// Sends one `GET` under `fault`, and returns the requests that the main host received.
fn get_under(fault: Fault) -> (TwoHosts, Result<Value, Error>, Vec<RecordedRequest>) {
    let hosts = TwoHosts::start();
    hosts.main.fault(fault);
    let result = hosts.client().execute::<Value>(Request::get("/v3/x"));
    let (main, backup) = hosts.received();
    assert!(backup.is_empty());
    (hosts, result, main)
}

#[test]
fn a_get_whose_connection_broke_is_sent_once_more_to_the_same_host() {
    for fault in [
        Fault::Close { took_effect: true },
        Fault::Close { took_effect: false },
        Fault::CloseAfterHead,
        Fault::CutBody,
        Fault::Raw(Vec::new()),
        Fault::Raw(b"HTTP/1.1 200 OK\r\n".to_vec()),
    ] {
        let label = format!("{fault:?}");
        let (hosts, result, requests) = get_under(fault);
        assert_eq!(
            told(&result),
            "api: 404 RESOURCE_NOT_EXISTS signed",
            "{label}"
        );
        let [first, second] = requests.as_slice() else {
            panic!("{label}: {} requests", requests.len());
        };
        assert_ne!(nonce(first), nonce(second), "{label}");
        assert_ne!(
            first.header("Authorization"),
            second.header("Authorization"),
            "{label}"
        );
        // The backup host would get another `User-Agent`.
        assert_eq!(second.header("User-Agent"), Some(AGENT), "{label}");
        assert_eq!(
            hosts.exchanges(),
            [
                (name(&hosts.main), 1, Some(Outcome::Unknown)),
                (name(&hosts.main), 2, Some(Outcome::Refused)),
            ],
            "{label}"
        );
    }
}

#[test]
fn a_get_is_not_sent_again_for_any_other_reason() {
    let hosts = TwoHosts::start();
    let client = hosts.client();
    let mut of_transport = 0;
    for case in cases().into_iter().filter(|case| case.told != CLOSED) {
        let before = hosts.main.requests().len();
        let fault = format!("{:?}", case.fault);
        hosts.main.fault(case.fault);
        let result = client.execute::<Value>(Request::get("/v3/x"));
        let requests = hosts.main.requests().len() - before;
        assert_eq!(requests, 1, "{fault:.200}: {result:?}");
        of_transport += usize::from(matches!(result, Err(Error::Transport { .. })));
        hosts.main.close_connections();
    }
    // These are responses that are too long or not HTTP. Their connections did not break.
    assert!(of_transport > 10, "{of_transport}");
    assert_eq!(hosts.backup.connections_accepted(), 0);
}

#[test]
fn a_get_that_took_too_long_is_not_sent_again() {
    let hosts = TwoHosts::start();
    let client = hosts
        .builder()
        .connect_timeout(Duration::from_millis(900))
        .timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    hosts.main.fault(Fault::Late(Duration::from_secs(3_600)));
    let result = client.execute::<Value>(Request::get("/v3/x"));
    assert_eq!(told(&result), "transport: no complete response within 1s");
    assert_eq!(hosts.main.requests().len(), 1);
    assert_eq!(hosts.backup.connections_accepted(), 0);
}

#[test]
fn a_get_is_sent_again_without_another_dns_lookup() {
    let hosts = TwoHosts::start();
    hosts.main.fault(Fault::Close { took_effect: false });
    let result = hosts.client().execute::<Value>(Request::get("/v3/x"));
    assert!(matches!(result, Err(Error::Api(_))), "{result:?}");
    assert_eq!(hosts.main.requests().len(), 2);
    assert_eq!(hosts.look_ups(), (1, 0));
}

#[test]
fn the_name_of_a_main_host_that_is_down_is_looked_up_for_the_first_call_only() {
    let (hosts, client) = TwoHosts::without_main();
    for _ in 1..=3 {
        client.execute::<Value>(Request::get("/v3/x")).unwrap_err();
        assert_eq!(hosts.look_ups(), (1, 1));
        hosts.backup.close_connections();
    }
    assert_eq!(hosts.backup.connections_accepted(), 3);
}

/// Returns a port whose connections are neither accepted nor refused, since its backlog is full as long as the returned
/// values live.
pub(crate) fn black_hole() -> (SocketAddr, impl Sized) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100));
    let held: Vec<_> = std::iter::repeat_with(connect)
        .map_while(Result::ok)
        .collect();
    (address, (listener, held))
}

#[test]
fn only_the_first_calls_wait_for_a_main_host_that_is_a_black_hole_and_none_is_sent_twice() {
    for threads in [1, 16] {
        let hosts = TwoHosts::start();
        let (hole, _held) = black_hole();
        let client = hosts
            .builder()
            .host(format!("http://{hole}"))
            .backup_host(Some(hosts.backup.url()))
            .connect_timeout(Duration::from_secs(1))
            .build()
            .unwrap();
        let round = || {
            let began = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| client.send(&PRE_SIGN).unwrap());
                }
            });
            began.elapsed()
        };
        let first = round();
        assert!(first >= Duration::from_secs(1), "{threads}: {first:?}");
        let began = Instant::now();
        let mut later: Vec<_> = (2..=100).map(|_| round()).collect();
        let probes = began.elapsed().as_secs() / 10;
        later.sort();
        let median = later[49];
        assert!(median < Duration::from_millis(900), "{threads}: {median:?}");
        let (_, backup) = hosts.received();
        assert_eq!(backup.len(), 100 * threads);
        // The first calls made two attempts each. After that, one call in every ten seconds did.
        let at_main = hosts.nonces().len() - backup.len();
        let most = threads + 1 + usize::try_from(probes).unwrap();
        assert!((1..=most).contains(&at_main), "{threads}: {at_main}");
    }
}

#[test]
fn a_get_whose_connection_breaks_twice_is_not_sent_a_third_time() {
    let hosts = TwoHosts::start();
    hosts
        .main
        .fault(Fault::Close { took_effect: true }.times(3));
    let result = hosts.client().execute::<Value>(Request::get("/v3/x"));
    assert_eq!(result.unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(hosts.main.requests().len(), 2);
}

#[test]
fn a_second_attempt_that_is_not_sent_leaves_the_outcome_of_the_first() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(Fault::Close { took_effect: true });
    let (inner, signed) = (sandbox.signer(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&signed);
    let sign_once = move |message: &[u8]| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(STANDARD.decode(inner.sign(message)?)?),
        _ => Err("the key service is down".into()),
    };
    let signer = Signer::from_function(Sandbox::MCHID, Sandbox::MERCHANT_SERIAL_NO, sign_once);
    let client = Client::builder(signer.unwrap(), sandbox.verifier())
        .host(sandbox.url())
        .build()
        .unwrap();
    let error = client.execute::<Value>(Request::get("/v3/x")).unwrap_err();
    assert_eq!(signed.load(Ordering::SeqCst), 2);
    assert_eq!(sandbox.requests().len(), 1);
    // The second attempt could not be signed. The first had arrived.
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[test]
fn a_download_of_certificates_with_two_attempts_returns_the_error_of_the_second() {
    let sandbox = Sandbox::start().unwrap();
    sandbox.fault(Fault::Close { took_effect: true });
    sandbox.fault(Fault::error(404, "RESOURCE_NOT_EXISTS"));
    let client = sandbox
        .client_builder()
        .platform_certificates(ApiV3Key::new(Sandbox::API_V3_KEY).unwrap())
        .build()
        .unwrap();
    let error = client.refresh_certificates().unwrap_err();
    let Error::Download(error) = &error else {
        panic!("{error:?}");
    };
    assert!(
        matches!(&**error, Error::Certificates { source, .. } if matches!(**source, CertificateError::NoCertificates { .. })),
        "{error:?}"
    );
    assert_eq!(sandbox.requests().len(), 2);
}

#[test]
fn a_request_that_fails_before_sending_is_not_sent_to_the_backup_host() {
    let hosts = TwoHosts::start();
    let sandbox = &hosts.main;
    let builder = |signer| {
        Client::builder(signer, sandbox.verifier())
            .host(hosts.main.url())
            .backup_host(Some(hosts.backup.url()))
            .build()
            .unwrap()
    };
    let broken = |_: &[u8]| Err("the key service is down".into());
    let signer =
        Signer::from_function(Sandbox::MCHID, Sandbox::MERCHANT_SERIAL_NO, broken).unwrap();
    let error = builder(signer).send(&PRE_SIGN).unwrap_err();
    assert!(matches!(error, Error::Sign(_)), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotSent);

    let client = builder(sandbox.signer());
    let error = client
        .execute::<Value>(Request::get("/v3/{unfilled}"))
        .unwrap_err();
    assert!(matches!(error, Error::InvalidField(_)), "{error:?}");
    assert_eq!(hosts.main.connections_accepted(), 0);
    assert_eq!(hosts.backup.connections_accepted(), 0);
}
