//! A server that sends one response too many on a connection, so that every later request would get the response to the
//! request before it. `cargo test --test it unsolicited_responses -- --nocapture` prints the counts of results.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use wechatpay_contract::ecommerce::MiniProgramPreSign;
use wechatpay_contract::order::{JsapiOrder, OrderOptions};
use wechatpay_contract::{Client, Error, Outcome, Request};

use crate::order::direct;
use crate::platform::{PRE_SIGN, Platform, SESSION};
use crate::tls_server::{Authority, Leaf, request_length};

const CALLS: usize = 30;

/// A server that sends one response too many.
#[derive(Debug, Clone, Copy)]
struct Stray {
    /// The time from the first response to the unsolicited one.
    after: Duration,
    /// The time that the server takes for each response.
    latency: Duration,
}

struct Peer {
    platform: Platform,
    stray: Stray,
    responses: AtomicUsize,
}

impl Peer {
    /// Starts a server that runs until the process ends, since it waits for further connections.
    fn start(stray: Stray, tls: Option<Arc<ServerConfig>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = Arc::new(Self {
            platform: Platform::new(),
            stray,
            responses: AtomicUsize::new(0),
        });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (peer, tls) = (Arc::clone(&peer), tls.clone());
                thread::spawn(move || peer.accept(stream, tls));
            }
        });
        address
    }

    /// The client may go away at any moment.
    fn accept(&self, tcp: TcpStream, tls: Option<Arc<ServerConfig>>) {
        tcp.set_nodelay(true).unwrap();
        let timer = tcp.try_clone().unwrap();
        let _ = match tls {
            None => self.serve(tcp, &timer),
            Some(config) => {
                let tls = ServerConnection::new(config).unwrap();
                self.serve(StreamOwned::new(tls, tcp), &timer)
            }
        };
    }

    fn serve(&self, mut stream: impl Read + Write, timer: &TcpStream) -> io::Result<()> {
        let mut received = Vec::new();
        let mut stray: Option<(Instant, Vec<u8>)> = None;
        loop {
            if let Some(length) = request_length(&received).filter(|l| *l <= received.len()) {
                let request: Vec<u8> = received.drain(..length).collect();
                let response = self.response(&request);
                let due = Instant::now() + self.stray.latency;
                if let Some((at, bytes)) = stray.take_if(|(at, _)| *at <= due) {
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    stream.write_all(&bytes)?;
                }
                thread::sleep(due.saturating_duration_since(Instant::now()));
                stream.write_all(&response)?;
                stream.flush()?;
                if self.responses.fetch_add(1, Ordering::SeqCst) == 0 {
                    let another = String::from_utf8(request)
                        .unwrap()
                        .replace("order00", "stray00");
                    stray = Some((
                        Instant::now() + self.stray.after,
                        self.response(another.as_bytes()),
                    ));
                }
            }
            let left = stray
                .as_ref()
                .map(|(at, _)| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                stream.write_all(&stray.take().unwrap().1)?;
                stream.flush()?;
                continue;
            }
            timer.set_read_timeout(left)?;
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => received.extend_from_slice(&chunk[..read]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the response to an order or a pre-signing, with the request's number. A real response to an order has
    /// none.
    fn response(&self, request: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(request).unwrap();
        let body: Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        let body = match (&body["out_trade_no"], &body["out_contract_code"]) {
            (Value::String(number), _) => format!(r#"{{"prepay_id":"{number}"}}"#),
            (_, Value::String(code)) => SESSION.replace(PRE_SIGN.out_contract_code, code),
            _ => panic!("{body}"),
        };
        self.platform.answer(200, &body).bytes
    }
}

/// The counts of results of a run.
#[derive(Debug, Default)]
struct Tally {
    right: usize,
    /// Verified successes with another request's response.
    wrong: usize,
    errors: Vec<String>,
}

impl Tally {
    fn count(&mut self, wanted: &str, result: Result<String, Error>) {
        match result {
            Ok(found) if found == wanted => self.right += 1,
            Ok(_) => self.wrong += 1,
            Err(error) => {
                assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
                self.errors.push(error.to_string());
            }
        }
    }
}

fn order(client: &Client, number: &str) -> Result<String, Error> {
    let order = JsapiOrder {
        out_trade_no: number,
        ..direct(OrderOptions::default())
    };
    client.send(&order).map(|prepay| prepay.prepay_id)
}

fn pre_sign(client: &Client, code: &str) -> Result<String, Error> {
    let pre_sign = MiniProgramPreSign {
        out_contract_code: code,
        ..PRE_SIGN
    };
    let session = client.send(&pre_sign)?;
    Ok(session.out_contract_code)
}

/// Sends an order as a request without a type.
fn execute(client: &Client, number: &str) -> Result<String, Error> {
    let body = serde_json::json!({"out_trade_no": number});
    let request = Request::post("/v3/pay/transactions/app").json(&body);
    let prepay: Value = client.execute(request)?;
    Ok(prepay["prepay_id"].as_str().unwrap_or_default().to_owned())
}

type Call = fn(&Client, &str) -> Result<String, Error>;

/// Makes these calls in turn without a pause, against servers with and without TLS and with different delays.
fn run(calls: &[Call], check: impl Fn(&str, &Tally)) {
    let authority = Authority::new();
    let platform = Platform::new();
    for latency in [0, 5] {
        for after in [0, 1, 3, 10] {
            for with_tls in [false, true] {
                let stray = Stray {
                    after: Duration::from_millis(after),
                    latency: Duration::from_millis(latency),
                };
                let tls = with_tls.then(|| Leaf::default().config(&authority));
                let address = Peer::start(stray, tls);
                let scheme = if with_tls { "https" } else { "http" };
                let client = platform
                    .client(&authority, address)
                    .host(format!("{scheme}://localhost"))
                    .build()
                    .unwrap();
                let mut tally = Tally::default();
                for number in 0..CALLS {
                    let wanted = format!("order{number:02}");
                    let call = calls[number % calls.len()];
                    tally.count(&wanted, call(&client, &wanted));
                }
                let label = format!("{scheme}, {stray:?}");
                println!("{label}: {tally:?}");
                check(&label, &tally);
            }
        }
    }
}

#[test]
fn at_most_one_order_gets_another_requests_response() {
    run(&[order], |label, tally| {
        assert!(tally.wrong <= 1, "{label}: {tally:?}");
        assert!(tally.right >= CALLS - 2, "{label}: {tally:?}");
    });
}

#[test]
fn at_most_one_request_without_a_type_gets_another_requests_response() {
    run(&[execute], |label, tally| {
        assert!(tally.wrong <= 1, "{label}: {tally:?}");
        assert!(tally.right >= CALLS - 2, "{label}: {tally:?}");
    });
}

#[test]
fn another_requests_response_to_a_pre_signing_is_one_error() {
    run(&[pre_sign], |label, tally| {
        assert_eq!(tally.wrong, 0, "{label}: {tally:?}");
        assert!(tally.right >= CALLS - 1, "{label}: {tally:?}");
    });
}

#[test]
fn at_most_one_of_orders_and_pre_signings_in_turn_gets_another_requests_response() {
    run(&[order, pre_sign], |label, tally| {
        assert!(tally.wrong <= 1, "{label}: {tally:?}");
        assert!(tally.right >= CALLS - 3, "{label}: {tally:?}");
    });
}
