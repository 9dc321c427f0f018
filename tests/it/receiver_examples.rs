//! The examples `notify_server` and `service` as processes: honest notifications, and the requests of strangers.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq_proto::http::{Request, Response};
use wechatpay_contract::ecommerce;
use wechatpay_contract::sandbox::{Sandbox, Signing};

use crate::contract_example::{Tool, program};

#[allow(clippy::duplicate_mod)] // The example in `recovery.rs` has it too.
#[path = "../../examples/common/mod.rs"]
mod common;
#[allow(dead_code)] // Only the server is tested without a process.
#[path = "../../examples/common/http.rs"]
mod http;

const CODE: &str = "wxwtdk20200910100000";
/// WeChat Pay waits this long for a reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running example and the sandbox that notifies it.
struct Receiver {
    tool: Tool,
    child: Child,
    address: SocketAddr,
}

impl Receiver {
    fn start(example: &str, name: &str) -> Self {
        let tool = Tool::new(name);
        // Free now: the example cannot tell which port the system picks.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let child = Command::new(program(example))
            .env_clear()
            .envs(tool.variables.iter().map(|(name, value)| (name, value)))
            .env("WECHATPAY_API_V3_KEY", Sandbox::API_V3_KEY)
            .env("WECHATPAY_LISTEN", address.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tool.sandbox.retry_schedule([]);
        let url = format!("http://{address}/notify");
        tool.sandbox.deliver_notifications_to(&url).unwrap();
        let receiver = Self {
            tool,
            child,
            address,
        };
        receiver.connect();
        receiver
    }

    fn sandbox(&self) -> &Sandbox {
        &self.tool.sandbox
    }

    fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    fn exchange(&self, request: &str) -> String {
        exchange(self.address, request)
    }

    fn pre_sign(&self, code: &str) {
        let client = self.sandbox().client();
        let session = client.send(&ecommerce::MiniProgramPreSign {
            appid: "wxd678efh567hg6787",
            service_id: 12535,
            out_contract_code: code,
            notify_url: "https://yourapp.com/notify",
            contract_display_account: "微信代扣用户A",
            openid: "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        });
        session.unwrap();
    }

    /// Has a contract pre-signed and signed, and asserts that the reply to its notification is a success. The example
    /// `service` pre-signs the contract itself, so that it knows its code.
    fn notify_first(&self, example: &str) {
        let code = if example == "service" {
            let user =
                r#"{"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "contract_display_account": "a"}"#;
            let length = user.len();
            let response = self.exchange(&format!(
                "POST /contracts HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{user}"
            ));
            let (_, json) = response.split_once("\r\n\r\n").unwrap();
            let json: Value = serde_json::from_str(json).unwrap();
            json["out_contract_code"].as_str().unwrap().to_owned()
        } else {
            self.pre_sign(CODE);
            CODE.to_owned()
        };
        self.sandbox().user_signs(&code).unwrap();
        assert_eq!(self.replies(), [204]);
    }

    /// The statuses of all replies to notifications, the last of them within the time that WeChat Pay waits.
    fn replies(&self) -> Vec<u16> {
        assert!(self.sandbox().wait_for_deliveries(PATIENCE), "no reply");
        let sent = self.sandbox().notifications();
        let attempts = sent.iter().flat_map(|sent| &sent.attempts);
        attempts.map(|attempt| attempt.status.unwrap()).collect()
    }

    fn notify_again(&self) -> Vec<u16> {
        for sent in self.sandbox().notifications() {
            self.sandbox().notify_again(&sent.id);
        }
        self.replies()
    }

    /// Notifies again until all replies are successes, but no longer than WeChat Pay waits. One attempt may fail: the
    /// system may drop a connection while many others come, and the sandbox gives up after a second.
    fn notify_again_patiently(&self) {
        let end = Instant::now() + PATIENCE;
        loop {
            for sent in self.sandbox().notifications() {
                self.sandbox().notify_again(&sent.id);
            }
            assert!(self.sandbox().wait_for_deliveries(PATIENCE), "no reply");
            let sent = self.sandbox().notifications();
            let mut last = sent.iter().map(|sent| sent.attempts.last().unwrap());
            if last.all(|attempt| attempt.status == Some(204)) {
                return;
            }
            assert!(Instant::now() < end, "no reply");
        }
    }

    /// Asserts that the process lives and has used less than 64 MiB so far.
    fn assert_healthy(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it ended");
        let path = format!("/proc/{}/status", self.child.id());
        // Only Linux tells.
        let Ok(status) = fs::read_to_string(path) else {
            return;
        };
        let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
        let peak = peak.and_then(|line| line.split_whitespace().nth(1));
        let peak: u64 = peak.unwrap().parse().unwrap();
        assert!(peak < 64 << 10, "{peak} KiB");
    }

    /// Ends the example and returns what it printed.
    fn stop(mut self) -> String {
        self.child.kill().unwrap();
        let mut output = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut output).unwrap();
        output
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects, also while the server still starts.
fn connect(address: SocketAddr) -> TcpStream {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                let patience = Some(Duration::from_secs(20));
                stream.set_read_timeout(patience).unwrap();
                stream.set_write_timeout(patience).unwrap();
                return stream;
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends bytes and returns all that comes back until the connection is closed.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    rest(&mut stream)
}

/// Everything up to the end of the connection. A reset is an end too.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(bytes).unwrap(),
    }
}

#[test]
fn notify_server_knows_a_duplicate_and_a_forgery() {
    let receiver = Receiver::start("notify_server", "notify_server");
    receiver.pre_sign(CODE);
    receiver.sandbox().user_signs(CODE).unwrap();
    assert_eq!(receiver.replies(), [204]);
    assert_eq!(receiver.notify_again(), [204, 204]);
    receiver.sandbox().sign_notifications(Signing::Wrong);
    assert_eq!(receiver.notify_again(), [204, 204, 401]);
    assert_eq!(
        receiver.stop(),
        format!("ENTRUST.SIGN {CODE}\nENTRUST.SIGN {CODE}, a duplicate\n")
    );
}

#[test]
fn service_leads_a_user_to_a_signed_contract() {
    let receiver = Receiver::start("service", "service");
    let call = |method: &str, path: &str, body: &str| {
        let length = body.len();
        let response = receiver.exchange(&format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().to_owned();
        (status, body.to_owned())
    };
    let json = |(status, body): (String, String)| {
        assert_eq!(status, "200", "{body}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    assert!(call("GET", "/", "").1.starts_with("<!doctype html>"));
    let user = r#"{"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "contract_display_account": "微信代扣用户A"}"#;
    let started = json(call("POST", "/contracts", user));
    assert_eq!(started["launch"]["appId"], "wxbd687630cd02ce1d");
    let code = started["out_contract_code"].as_str().unwrap();
    let path = format!("/contracts/{code}");
    assert_eq!(json(call("GET", &path, ""))["state"], "NOT_SIGNED");

    receiver.sandbox().user_signs(code).unwrap();
    assert_eq!(receiver.replies(), [204]);
    assert_eq!(receiver.notify_again(), [204, 204]);
    assert_eq!(json(call("GET", &path, ""))["state"], "SIGNED");

    assert_eq!(call("GET", "/contracts/unknown", "").0, "404");
    assert_eq!(call("POST", "/contracts", "{}").0, "400");
    // A contract that this service did not pre-sign.
    receiver.pre_sign(CODE);
    receiver.sandbox().user_signs(CODE).unwrap();
    assert_eq!(receiver.replies(), [204, 204, 500]);
    let output = receiver.stop();
    assert!(
        output.contains(&format!(
            "{code}: ENTRUST.SIGN, new\n{code}: ENTRUST.SIGN, nothing new\n"
        )),
        "{output}"
    );
}

/// The status of each request's response. Everything is well formed but for one thing.
#[test]
fn malformed_requests_are_refused() {
    for example in ["notify_server", "service"] {
        let mut receiver = Receiver::start(example, &format!("malformed_{example}"));
        for (headers, body, status) in [
            // The signature is checked after the whole request was read. So 401 means that all else was accepted.
            ("Content-Length: 2\r\n", "{}", "401"),
            (
                "Transfer-Encoding: chunked\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
                "401",
            ),
            ("Content-Length: 16385\r\n", "{}", "413"),
            ("Content-Length: 9000000000000\r\n", "{}", "413"),
            ("Content-Length: 18000000000000000000\r\n", "{}", "413"),
            ("Content-Length: 99999999999999999999\r\n", "{}", "400"),
            ("Content-Length: -1\r\n", "{}", "400"),
            ("Content-Length: +2\r\n", "{}", "400"),
            ("Content-Length: 0x2\r\n", "{}", "400"),
            ("Content-Length: 2\r\nContent-Length: 2\r\n", "{}", "400"),
            ("Content-Length: 2\r\nContent-Length: 9\r\n", "{}", "400"),
            ("Content-Length: 2, 2\r\n", "{}", "400"),
            ("Content-Length: 2, 9\r\n", "{}", "400"),
            // Neither a length nor a coding.
            ("", "{}", "400"),
            (
                "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
                "{}",
                "400",
            ),
            ("Transfer-Encoding: gzip\r\n", "{}", "400"),
            ("Transfer-Encoding: chunked, gzip\r\n", "{}", "400"),
            ("Transfer-Encoding: gzip, chunked\r\n", "{}", "400"),
            ("Transfer-Encoding: \u{b}chunked\r\n", "{}", "400"),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
                "{}",
                "400",
            ),
            (
                "Transfer-Encoding: chunked\r\n",
                "FFFFFFFFFFFFFFFFFF\r\n{}",
                "400",
            ),
            ("Transfer-Encoding: chunked\r\n", "-2\r\n{}", "400"),
            (
                "Transfer-Encoding: chunked\r\n",
                "2\r\n{}{}\r\n0\r\n\r\n",
                "400",
            ),
            ("X: a\rb\r\nContent-Length: 2\r\n", "{}", "400"),
            ("X: a\0b\r\nContent-Length: 2\r\n", "{}", "400"),
            ("X\nContent-Length: 2\r\n", "{}", "400"),
            // A line may end with LF alone.
            ("X: a\nContent-Length: 2\r\n", "{}", "401"),
        ] {
            let request = format!("POST /notify HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}");
            let response = receiver.exchange(&request);
            let found = response.split(' ').nth(1);
            assert_eq!(found, Some(status), "{example}: {request}\n{response}");
        }
        receiver.assert_healthy();
    }
}

#[test]
fn a_second_request_on_a_connection_is_not_read() {
    for example in ["notify_server", "service"] {
        let receiver = Receiver::start(example, &format!("pipelined_{example}"));
        let request = "POST /notify HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        let response = receiver.exchange(&format!("{request}{request}"));
        assert_eq!(response.matches("HTTP/1").count(), 1, "{response}");
        assert!(response.starts_with("HTTP/1.0 401 "), "{response}");
    }
}

#[test]
fn a_connect_request_is_refused() {
    for example in ["notify_server", "service"] {
        let mut receiver = Receiver::start(example, &format!("connect_{example}"));
        receiver.notify_first(example);
        // More than the examples serve at the same time.
        for _ in 0..600 {
            let response = receiver.exchange("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(response.split(' ').nth(1), Some("501"), "{response}");
        }
        assert_eq!(receiver.notify_again(), [204, 204]);
        receiver.assert_healthy();
    }
}

#[test]
fn a_handler_that_panics_gives_its_connection_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    thread::spawn(move || {
        let respond = |request: &Request<_>| {
            assert_ne!(request.uri().path(), "/panic");
            Response::default()
        };
        http::serve(address, respond)
    });
    // More than are served at the same time.
    for _ in 0..600 {
        assert_eq!(exchange(address, "GET /panic HTTP/1.1\r\n\r\n"), "");
    }
    let response = exchange(address, "GET / HTTP/1.1\r\n\r\n");
    assert_eq!(response, "HTTP/1.0 200 OK\r\n\r\n");
}

#[test]
fn a_request_is_limited_in_head_and_body() {
    let receiver = Receiver::start("notify_server", "limited");
    let head = |length| {
        let start = "POST / HTTP/1.1\r\nContent-Length: 2\r\nX: ";
        format!(
            "{start}{}\r\n\r\n{{}}",
            "a".repeat(length - start.len() - 4)
        )
    };
    let body = |length| {
        let body = "a".repeat(length);
        format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let chunked = |length| {
        let body = "a".repeat(length);
        format!(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        )
    };
    for (request, status) in [
        (head(8 << 10), "401"),
        (head((8 << 10) + 1), "431"),
        (body(16 << 10), "401"),
        (body((16 << 10) + 1), "413"),
        // The response reaches a client that is still sending.
        (body(900 << 10), "413"),
        (chunked(16 << 10), "413"),
        (chunked(900 << 10), "413"),
        // HTTP/1.0 has lengths, but no chunks.
        (body(2).replace("HTTP/1.1", "HTTP/1.0"), "401"),
        (chunked(2).replace("HTTP/1.1", "HTTP/1.0"), "400"),
    ] {
        let response = receiver.exchange(&request);
        let start = response.split(' ').take(2).collect::<Vec<_>>();
        assert_eq!(start, ["HTTP/1.0", status], "{}", request.len());
    }
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_once() {
    let receiver = Receiver::start("notify_server", "continue");
    let mut stream = receiver.connect();
    let head = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut found = [0; 25];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{").unwrap();
    thread::sleep(Duration::from_millis(50));
    stream.write_all(b"}").unwrap();
    let response = rest(&mut stream);
    assert!(response.starts_with("HTTP/1.0 401 "), "{response}");
    // It is not sent to a client that has sent its body.
    let response = receiver.exchange(&format!("{head}{{}}"));
    assert!(response.starts_with("HTTP/1.0 401 "), "{response}");
}

#[test]
fn an_honest_notification_is_replied_to_among_attacks() {
    for example in ["notify_server", "service"] {
        let mut receiver = Receiver::start(example, &format!("attacked_{example}"));
        receiver.notify_first(example);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for (head, drop, pause) in [
                ("POST / HTTP/1.1\r\nHost: a\r\nX: ", "a".repeat(60_000), 0),
                ("POST / HTTP/1.1\r\n", "X: a\r\n".repeat(10_000), 0),
                (
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000000000\r\n\r\n",
                    "a".repeat(60_000),
                    0,
                ),
                (
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                    format!("EA60\r\n{}\r\n", "a".repeat(60_000)),
                    0,
                ),
                ("POST / HTTP/1.1\r\nHost: a\r\nX: ", "a".to_owned(), 300),
                (
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n",
                    "a".to_owned(),
                    300,
                ),
            ] {
                for _ in 0..4 {
                    let (receiver, over, drop) = (&receiver, &over, drop.clone());
                    scope.spawn(move || {
                        // Until the receiver closes the connection, then anew.
                        while !over.load(Ordering::Relaxed) {
                            let mut stream = receiver.connect();
                            let mut sent = stream.write_all(head.as_bytes());
                            while sent.is_ok() && !over.load(Ordering::Relaxed) {
                                sent = stream.write_all(drop.as_bytes());
                                thread::sleep(Duration::from_millis(pause));
                            }
                        }
                    });
                }
            }
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(300));
                let replies = receiver.notify_again();
                assert!(replies.iter().all(|status| *status == 204), "{replies:?}");
            }
            over.store(true, Ordering::Relaxed);
        });
        receiver.assert_healthy();
    }
}

#[test]
fn an_honest_notification_is_replied_to_among_a_thousand_silent_connections() {
    for example in ["notify_server", "service"] {
        let mut receiver = Receiver::start(example, &format!("silent_{example}"));
        receiver.notify_first(example);
        let silent: Vec<_> = (0..1000).map(|_| receiver.connect()).collect();
        assert_eq!(receiver.notify_again(), [204, 204]);
        receiver.assert_healthy();
        drop(silent);
    }
}

#[test]
fn an_honest_notification_is_replied_to_among_a_thousand_dripping_connections() {
    for example in ["notify_server", "service"] {
        let mut receiver = Receiver::start(example, &format!("dripping_{example}"));
        receiver.notify_first(example);
        // Drips a head, then a body.
        for start in ["", "POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n"] {
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..20 {
                    scope.spawn(|| drip(receiver.address, start, &over));
                }
                for _ in 0..4 {
                    thread::sleep(Duration::from_millis(700));
                    receiver.notify_again_patiently();
                }
                over.store(true, Ordering::Relaxed);
            });
        }
        receiver.assert_healthy();
    }
}

/// Keeps 50 connections open, connects anew when one is closed, and sends `start` and then byte after byte.
fn drip(address: SocketAddr, start: &str, over: &AtomicBool) {
    let connect = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()?;
        stream.write_all(start.as_bytes()).ok()?;
        Some(stream)
    };
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    streams.resize_with(50, || None);
    // Ends too if the test has failed.
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        for stream in &mut streams {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let sent = stream.as_mut().map(|stream| stream.write_all(b"a"));
            if !matches!(sent, Some(Ok(()))) {
                *stream = connect();
            }
        }
        thread::sleep(Duration::from_millis(200));
    }
}
