//! Tests of the sandbox's HTTP server, with clients that write to sockets directly.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Barrier;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use super::message::Delivery;
use super::request::{BODY_LIMIT, HEAD_LIMIT, HEADERS_LIMIT, LINE_LIMIT, read_request};
use super::socket::{Socket, prepare};
use super::*;
use crate::sandbox::faults::Fault;

/// A delay longer than any test waits.
const AGES: Duration = Duration::from_secs(3600);

/// A client that sends exactly the bytes it is given.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(server: &HttpServer) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        // With a broken server the test fails and does not hang.
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    fn get(&mut self, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: sandbox\r\n\r\n"));
    }

    /// Reads up to the end of a head.
    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.0.read_line(&mut head).unwrap();
            assert_ne!(read, 0, "connection closed after {head:?}");
        }
        head
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads a head and the body whose length it announces.
    fn response(&mut self) -> (String, Vec<u8>) {
        let head = self.head();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .expect("a content-length");
        let body = self.bytes(length.parse().unwrap());
        (head, body)
    }

    /// Reads until the server closes the connection.
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }
}

impl Response {
    fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }
}

fn start(handler: impl Fn(HttpRequest) -> Response + Send + Sync + 'static) -> HttpServer {
    HttpServer::start(0, move |request, _| handler(request)).unwrap()
}

/// Starts a server whose responses have the body `hello` and this delivery.
fn hello(delivery: Delivery) -> HttpServer {
    start(move |_| {
        Response::new(200, "hello")
            .header("X-Case", "kept")
            .delivery(delivery.clone())
    })
}

fn closing(cut: Option<usize>) -> Delivery {
    Delivery {
        cut,
        close: true,
        ..Delivery::default()
    }
}

fn raw(bytes: &[u8]) -> Delivery {
    Delivery {
        raw: Some(bytes.to_vec()),
        ..closing(None)
    }
}

fn informational(status: u16) -> Delivery {
    Delivery {
        informational: Some(status),
        ..Delivery::default()
    }
}

const HELLO_HEAD: &str = "HTTP/1.1 200 OK\r\nX-Case: kept\r\ncontent-length: 5\r\n\r\n";

/// Starts a server that passes each request to the test and responds with an empty 200.
fn recorder() -> (HttpServer, Receiver<HttpRequest>) {
    let (sender, receiver) = channel();
    let server = start(move |request| {
        sender.send(request).unwrap();
        Response::new(200, "")
    });
    (server, receiver)
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        thread::yield_now();
    }
}

#[test]
fn a_connection_is_kept_from_call_to_call() {
    let server = hello(Delivery::default());
    let mut client = Client::connect(&server);
    for _ in 0..20 {
        client.get("/");
        let (head, body) = client.response();
        assert_eq!(
            (head.as_str(), body.as_slice()),
            (HELLO_HEAD, &b"hello"[..])
        );
    }
    assert_eq!(server.connections_accepted(), 1);
    assert_eq!(server.connections_open(), 1);
}

#[test]
fn a_request_is_handed_over_as_received() {
    let (server, requests) = recorder();
    let mut client = Client::connect(&server);
    client.send(
        "POST /v3/a%2Fb/%E4%B8%AD?x=%20+1&x=2&&y HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\n\
         Content-Length: 5\r\nx-two: 2\r\n\r\n\x00\r\n\x01{",
    );
    client.response();
    let request = requests.recv().unwrap();
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, "/v3/a%2Fb/%E4%B8%AD?x=%20+1&x=2&&y");
    assert_eq!(request.body, b"\x00\r\n\x01{");
    let headers: Vec<_> = request.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
    let sent = [
        ("Host", "h"),
        ("X-Two", "1"),
        ("Content-Length", "5"),
        ("x-two", "2"),
    ];
    assert_eq!(headers, sent);
    assert_eq!(request.header("X-TWO"), Some("1"));
    assert_eq!(request.header_all("X-TWO").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(request.header("X-Three"), None);
}

#[test]
fn a_request_may_come_in_many_pieces() {
    let (server, requests) = recorder();
    let mut client = Client::connect(&server);
    let body = vec![b'x'; 3000];
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    for byte in head.as_bytes() {
        client.send([*byte]);
    }
    for piece in body.chunks(700) {
        client.send(piece);
    }
    client.response();
    assert_eq!(requests.recv().unwrap().body, body);
}

#[test]
fn two_requests_may_come_in_one_piece() {
    let server = start(|request| Response::new(200, request.target.into_bytes()));
    let mut client = Client::connect(&server);
    client.send("GET /first HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().1, b"/first");
    assert_eq!(client.response().1, b"/second");
}

#[test]
fn the_chunks_of_a_body_are_joined() {
    let (server, requests) = recorder();
    let mut client = Client::connect(&server);
    client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    client.response();
    assert_eq!(requests.recv().unwrap().body, b"abcde");
}

#[test]
fn a_client_that_expects_100_continue_gets_it() {
    let (server, requests) = recorder();
    let mut client = Client::connect(&server);
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 100 "));
        client.send("ok");
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(requests.recv().unwrap().body, b"ok");
    }
}

#[test]
fn requests_that_break_the_rules_are_refused_with_a_status() {
    let (server, requests) = recorder();
    let post = "POST / HTTP/1.1\r\nHost: h\r\n";
    let line = |length: usize| {
        let target = "x".repeat(length - "GET / HTTP/1.1\r".len());
        format!("GET /{target} HTTP/1.1\r\n\r\n")
    };
    let headers = |number: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(number));
    let head = |length: usize| {
        let value = "x".repeat(length - "GET / HTTP/1.1\r\nx: \r\n\r\n".len());
        format!("GET / HTTP/1.1\r\nx: {value}\r\n\r\n")
    };
    let with = |headers: &str, body: &str| format!("{post}{headers}\r\n\r\n{body}");
    for (status, request) in [
        (200, with("Content-Length: 1", "x")),
        (
            200,
            with(
                "Transfer-Encoding: chunked",
                "1;a=b\r\nx\r\n0\r\nT: x\r\n\r\n",
            ),
        ),
        (200, "GET / HTTP/1.0\r\n\r\n".into()),
        (200, line(LINE_LIMIT)),
        (414, line(LINE_LIMIT + 1)),
        (414, "GET /".to_owned() + &"x".repeat(LINE_LIMIT)),
        (200, headers(HEADERS_LIMIT)),
        (431, headers(HEADERS_LIMIT + 1)),
        (200, head(HEAD_LIMIT)),
        (431, head(HEAD_LIMIT + 1)),
        (400, "\r\n\r\n".into()),
        (400, "GET\r\n\r\n".into()),
        (400, "GET /\r\n\r\n".into()),
        (400, "GET / nonsense\r\n\r\n".into()),
        (400, "GET  / HTTP/1.1\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nno colon\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\na : b\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\na: b\rc: d\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\na: b\n\n".into()),
        (400, "GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n".into()),
        (505, "GET / HTTP/2.0\r\n\r\n".into()),
        (505, "GET / HTTP/2.0".into()),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        (505, "GET / HTTP/0.9\r\n\r\n".into()),
        (505, "GET / HTTP/1.2\r\n\r\n".into()),
        (505, "GET / HTTP/3\r\n\r\n".into()),
        (400, with("Content-Length: -1", "")),
        (400, with("Content-Length: +1", "x")),
        (400, with("Content-Length: 0x1", "x")),
        (400, with("Content-Length: 1,1", "x")),
        (400, with("Content-Length:", "")),
        (400, with("Content-Length: 1\r\nContent-Length: 1", "x")),
        (400, with("Content-Length: 1\r\nContent-Length: 2", "xx")),
        (413, with("Content-Length: 4611686018427387904", "")),
        (413, with("Content-Length: 18446744073709551615", "")),
        (413, with("Content-Length: 99999999999999999999999", "")),
        (
            400,
            with("Content-Length: 1\r\nTransfer-Encoding: chunked", "x"),
        ),
        (501, with("Transfer-Encoding: gzip", "x")),
        (501, with("Transfer-Encoding: gzip, chunked", "x")),
        (
            400,
            with(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "",
            ),
        ),
        (
            400,
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        (400, with("Transfer-Encoding: chunked", "nonsense\r\n")),
        (400, with("Transfer-Encoding: chunked", "\r\n\r\n")),
        (400, with("Transfer-Encoding: chunked", ";a\r\n\r\n")),
        (400, with("Transfer-Encoding: chunked", "-1\r\n")),
        (400, with("Transfer-Encoding: chunked", "1\r\nxy\r\n")),
        (
            400,
            with(
                "Transfer-Encoding: chunked",
                &format!("1;{}", "a".repeat(5000)),
            ),
        ),
        (413, with("Transfer-Encoding: chunked", "ffffffff\r\n")),
        (
            400,
            with("Transfer-Encoding: chunked", "11111111111111111\r\n"),
        ),
        (
            431,
            with(
                "Transfer-Encoding: chunked",
                &format!("0\r\n{}", "a: b\r\n".repeat(101)),
            ),
        ),
    ] {
        let mut client = Client::connect(&server);
        client.send(&request);
        let found = client.head();
        let begin = request.get(..80).unwrap_or(&request);
        assert!(
            found.starts_with(&format!("HTTP/1.1 {status} ")),
            "{begin:?}: {found}"
        );
        assert_eq!(requests.try_recv().is_ok(), status == 200, "{begin:?}");
        if status != 200 {
            assert!(found.contains("Connection: close\r\n"));
            assert_eq!(client.rest(), b"", "{begin:?}");
        }
    }
    wait_until("closed", || server.connections_open() == 0);
}

#[test]
fn a_request_that_ends_too_early_is_refused() {
    let (server, requests) = recorder();
    for half in [
        "GET / HT",
        "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut client = Client::connect(&server);
        client.send(half);
        client.0.get_ref().shutdown(Shutdown::Write).unwrap();
        assert!(client.head().starts_with("HTTP/1.1 400 "), "{half:?}");
    }
    assert!(requests.try_recv().is_err());
}

#[test]
fn a_request_that_takes_too_long_is_refused_and_an_idle_connection_ended() {
    for (sent, unread) in [
        ("", Ok(None)),
        ("GET / HT", Err(Refused(408))),
        (
            "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf",
            Err(Refused(408)),
        ),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        prepare(&stream).unwrap();
        client.write_all(sent.as_bytes()).unwrap();
        let begun = Instant::now();
        let is_wanted = || begun.elapsed() < Duration::from_millis(100);
        let mut reader = BufReader::new(Socket(&stream, is_wanted));
        let read = read_request(&mut reader, || {});
        assert_eq!(read.map(|request| request.map(|_| ())), unread, "{sent:?}");
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }
}

#[test]
fn a_connection_is_closed_when_the_client_wants_it_or_speaks_http_1_0() {
    let server = hello(Delivery::default());
    for request in [
        "GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        let mut client = Client::connect(&server);
        client.send(request);
        assert_eq!(client.rest(), format!("{HELLO_HEAD}hello").as_bytes());
    }
}

#[test]
fn an_endless_request_line_is_refused_without_being_kept() {
    let (server, _requests) = recorder();
    let mut client = Client::connect(&server);
    client.send("GET /");
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..32 {
        client.send(&piece);
    }
    assert!(client.head().starts_with("HTTP/1.1 414 "));
    assert_eq!(client.rest(), b"");
}

#[test]
fn connections_beyond_the_limit_get_status_503() {
    let server = hello(Delivery::default());
    let mut silent: Vec<_> = (0..CONNECTIONS_LIMIT)
        .map(|_| Client::connect(&server))
        .collect();
    wait_until("accepted", || {
        server.connections_open() == CONNECTIONS_LIMIT
    });
    for _ in 0..3 {
        let mut client = Client::connect(&server);
        client.get("/");
        assert!(client.head().starts_with("HTTP/1.1 503 "));
        assert_eq!(client.rest(), b"");
    }
    let mut last = silent.pop().unwrap();
    last.get("/");
    assert_eq!(last.response().1, b"hello");
    drop(last);
    wait_until("gone", || server.connections_open() < CONNECTIONS_LIMIT);
    let mut client = Client::connect(&server);
    client.get("/");
    assert_eq!(client.response().1, b"hello");
}

#[test]
fn the_largest_body_is_read_and_a_larger_one_refused() {
    let (server, requests) = recorder();
    let mut client = Client::connect(&server);
    let post = |client: &mut Client, length: usize| {
        client.send(format!(
            "POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
        ));
        client.send(vec![b'x'; length]);
        client.response().0
    };
    let limit = usize::try_from(BODY_LIMIT).unwrap();
    assert!(post(&mut client, limit).starts_with("HTTP/1.1 200 "));
    assert_eq!(requests.recv().unwrap().body.len(), limit);
    assert!(post(&mut client, limit + 1).starts_with("HTTP/1.1 413 "));
    assert_eq!(client.rest(), b"");
    assert!(requests.try_recv().is_err());
}

#[test]
fn an_endless_chunked_body_is_refused() {
    let (server, _requests) = recorder();
    let mut client = Client::connect(&server);
    client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..=8 {
        client.send("100000\r\n");
        client.send(vec![b'x'; 0x10_0000]);
        client.send("\r\n");
    }
    assert!(client.head().starts_with("HTTP/1.1 413 "));
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_late_response_is_whole() {
    let server = hello(Delivery {
        delay: Duration::from_millis(1),
        ..Delivery::default()
    });
    let mut client = Client::connect(&server);
    for _ in 0..2 {
        client.get("/");
        assert_eq!(client.head(), HELLO_HEAD);
        assert_eq!(client.bytes(5), b"hello");
    }
}

#[test]
fn a_dripped_response_is_whole_in_the_end() {
    let server = hello(Delivery {
        every: Duration::from_millis(1),
        ..Delivery::default()
    });
    let mut client = Client::connect(&server);
    for _ in 0..2 {
        client.get("/");
        assert_eq!(client.head(), HELLO_HEAD);
        assert_eq!(client.bytes(5), b"hello");
    }
}

#[test]
fn a_dripped_response_begins_with_its_head() {
    let server = hello(Delivery {
        every: AGES,
        ..Delivery::default()
    });
    let mut client = Client::connect(&server);
    client.get("/");
    assert_eq!(client.head(), HELLO_HEAD);
    drop(server);
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_response_ends_where_it_is_told_to() {
    let cases = [
        (raw(b""), String::new()),
        (closing(Some(0)), HELLO_HEAD.to_owned()),
        (closing(Some(3)), format!("{HELLO_HEAD}hel")),
        (closing(Some(99)), format!("{HELLO_HEAD}hello")),
        (closing(None), format!("{HELLO_HEAD}hello")),
        (raw(b"SMTP 1\n"), "SMTP 1\n".to_owned()),
    ];
    for (delivery, received) in cases {
        let server = hello(delivery.clone());
        let mut client = Client::connect(&server);
        client.get("/");
        assert_eq!(client.rest(), received.as_bytes(), "{delivery:?}");
        wait_until("closed", || server.connections_open() == 0);
    }
}

#[test]
fn no_response_follows_one_that_closes_the_connection() {
    let server = hello(closing(Some(3)));
    let mut client = Client::connect(&server);
    client.send("GET /first HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\n\r\nnonsense\r\n\r\n");
    assert_eq!(client.rest(), format!("{HELLO_HEAD}hel").as_bytes());
}

#[test]
fn an_informational_response_goes_ahead() {
    for status in [100, 103] {
        let server = hello(informational(status));
        let mut client = Client::connect(&server);
        for _ in 0..2 {
            client.get("/");
            let early = client.head();
            assert!(early.starts_with(&format!("HTTP/1.1 {status} ")), "{early}");
            assert!(early.contains("\r\nx-sandbox: "), "{early}");
            assert_eq!(client.head(), HELLO_HEAD);
            assert_eq!(client.bytes(5), b"hello");
        }
    }
}

#[test]
fn a_chunked_response_has_no_length() {
    let server = start(|_| {
        let mut response = Response::new(200, "hello").header("X-Case", "kept");
        Fault::Chunked.apply_after_signing(&mut response);
        response
    });
    let mut client = Client::connect(&server);
    for _ in 0..2 {
        client.get("/");
        let head = "HTTP/1.1 200 OK\r\nX-Case: kept\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(client.head(), head);
        let body = b"2\r\nhe\r\n2\r\nll\r\n1\r\no\r\n0\r\n\r\n";
        assert_eq!(client.bytes(body.len()), body);
    }
}

#[test]
fn a_length_is_added_only_where_it_belongs() {
    let head = |reply: Response| String::from_utf8(reply.head()).unwrap();
    let plain = head(Response::new(404, "x"));
    assert_eq!(plain, "HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\n");
    for status in [204, 304] {
        assert!(!head(Response::new(status, "")).contains("length"));
    }
    let given = head(Response::new(200, "x").header("Content-Length", "7"));
    assert_eq!(given, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
}

#[test]
fn header_values_are_sent_byte_for_byte() {
    let server = start(|_| Response::new(200, "").header("X", *b"a\xff\x01 b"));
    let mut client = Client::connect(&server);
    client.get("/");
    let sent = b"HTTP/1.1 200 OK\r\nX: a\xff\x01 b\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(client.bytes(sent.len()), sent);
}

#[test]
fn the_response_to_head_has_no_body() {
    for delivery in [Delivery::default(), informational(103)] {
        let early = delivery != Delivery::default();
        let server = hello(delivery);
        let mut client = Client::connect(&server);
        for _ in 0..2 {
            client.send("HEAD / HTTP/1.1\r\n\r\n");
            if early {
                client.head();
            }
            assert_eq!(client.head(), HELLO_HEAD);
        }
    }
}

#[test]
fn handlers_of_many_clients_run_at_the_same_time() {
    const CLIENTS: usize = 32;
    let meeting = Arc::new(Barrier::new(CLIENTS));
    let server = start({
        let meeting = Arc::clone(&meeting);
        move |_| {
            meeting.wait();
            Response::new(200, "met")
        }
    });
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(&server);
                for _ in 0..3 {
                    client.get("/");
                    assert_eq!(client.response().1, b"met");
                }
            });
        }
    });
    assert_eq!(server.connections_accepted(), CLIENTS);
}

#[test]
fn a_panic_of_the_handler_gives_status_500() {
    let server = start(|request| {
        assert_ne!(request.target, "/panic", "as ordered by the test");
        Response::new(200, "")
    });
    let mut client = Client::connect(&server);
    client.get("/panic");
    assert!(client.response().0.starts_with("HTTP/1.1 500 "));
    client.get("/");
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn kept_connections_can_be_closed() {
    let server = hello(Delivery::default());
    for round in 1..=20 {
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&server)).collect();
        for client in &mut clients {
            client.get("/");
            client.response();
        }
        server.close_connections();
        assert_eq!(server.connections_open(), 0);
        for client in &mut clients {
            assert_eq!(client.rest(), b"");
        }
        assert_eq!(server.connections_accepted(), 3 * round);
    }
}

#[test]
fn closing_lets_a_call_under_way_end() {
    let (entered, entries) = channel();
    let (leave, leaving) = channel();
    let leaving = Mutex::new(leaving);
    let server = start(move |_| {
        entered.send(()).unwrap();
        lock(&leaving).recv().unwrap();
        Response::new(200, "done")
    });
    let mut client = Client::connect(&server);
    client.get("/");
    entries.recv().unwrap();
    server.close_connections();
    assert_eq!(server.connections_open(), 1);
    leave.send(()).unwrap();
    assert_eq!(client.response().1, b"done");
    assert_eq!(client.rest(), b"");
}

#[test]
fn closing_cuts_off_a_client_that_does_not_read() {
    let server = start(|_| Response::new(200, vec![0; 100_000_000]));
    let mut client = Client::connect(&server);
    client.get("/");
    client.head();
    server.close_connections();
    assert_eq!(server.connections_open(), 0);
}

#[test]
fn a_port_can_refuse_and_listen_again() {
    let server = hello(Delivery::default());
    let mut kept = Client::connect(&server);
    kept.get("/");
    kept.response();
    for _ in 0..10 {
        server.set_refusing(true).unwrap();
        server.set_refusing(true).unwrap();
        let error = TcpStream::connect(server.address()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        kept.get("/");
        kept.response();
        server.set_refusing(false).unwrap();
        server.set_refusing(false).unwrap();
        let mut client = Client::connect(&server);
        client.get("/");
        client.response();
    }
    assert_eq!(server.connections_accepted(), 11);
    server.set_refusing(true).unwrap();
    let address = server.address();
    drop(server);
    HttpServer::start(address.port(), |_, _| Response::new(200, "")).unwrap();
}

#[test]
fn a_later_refusal_replaces_an_earlier_one() {
    let short = Duration::from_millis(20);
    let server = hello(Delivery::default());
    let assert_still_refusing = || {
        thread::sleep(short * 5);
        let error = TcpStream::connect(server.address()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    };
    server.refuse_for(short).unwrap();
    server.refuse_for(AGES).unwrap();
    assert_still_refusing();
    server.refuse_for(short).unwrap();
    server.set_refusing(true).unwrap();
    assert_still_refusing();
    server.refuse_for(short).unwrap();
    wait_until("listening", || TcpStream::connect(server.address()).is_ok());
}

#[test]
fn dropping_ends_delays_and_connections() {
    for delivery in [
        Delivery {
            delay: AGES,
            ..Delivery::default()
        },
        Delivery {
            every: AGES,
            ..Delivery::default()
        },
    ] {
        let (entered, entries) = channel();
        let server = start(move |_| {
            entered.send(()).unwrap();
            Response::new(200, "hello").delivery(delivery.clone())
        });
        let mut idle = Client::connect(&server);
        let mut busy = Client::connect(&server);
        busy.get("/");
        entries.recv().unwrap();
        let address = server.address();
        drop(server);
        assert_eq!(idle.rest(), b"");
        busy.rest();
        // The handler was dropped, so no thread is left that could call it.
        assert!(entries.recv().is_err());
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn no_thread_holds_the_handler_after_dropping() {
    for _ in 0..100 {
        let held = Arc::new(());
        let handler = Arc::clone(&held);
        let server = start(move |_| Response::new(200, format!("{handler:?}")));
        let mut clients = [(); 8].map(|()| Client::connect(&server));
        for client in &mut clients {
            client.get("/");
            client.response();
        }
        drop(server);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}

#[test]
fn a_drop_does_not_wait_for_a_client_to_read() {
    let server = start(|_| Response::new(200, vec![b'x'; 100_000_000]));
    let mut client = Client::connect(&server);
    client.get("/");
    client.head();
    drop(server);
}

#[test]
fn a_drop_does_not_wait_for_a_client_to_finish_its_request() {
    let (server, _requests) = recorder();
    let mut half_head = Client::connect(&server);
    half_head.send("POST / HTT");
    let mut half_body = Client::connect(&server);
    half_body.send("POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\nx");
    wait_until("accepted", || server.connections_accepted() == 2);
    drop(server);
    assert_eq!(half_head.rest(), b"");
}

#[test]
fn a_large_response_arrives_whole() {
    let body = (0..=255).collect::<Vec<u8>>().repeat(390_625);
    let expected = body.clone();
    let server = start(move |_| Response::new(200, body.clone()));
    let mut client = Client::connect(&server);
    client.get("/");
    assert!(client.response().1 == expected);
    client.get("/");
    client.head();
}

#[test]
fn a_client_that_leaves_leaves_nothing_behind() {
    let (server, requests) = recorder();
    let half_requests = [
        "",
        "POST / HT",
        "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    ];
    for half in half_requests {
        Client::connect(&server).send(half);
    }
    wait_until("all accepted", || {
        server.connections_accepted() == half_requests.len()
    });
    wait_until("all gone", || server.connections_open() == 0);
    assert!(requests.try_recv().is_err());
}

#[test]
fn a_client_that_leaves_ends_its_delay() {
    let server = hello(Delivery {
        delay: AGES,
        ..Delivery::default()
    });
    Client::connect(&server).get("/");
    wait_until("accepted", || server.connections_accepted() == 1);
    wait_until("gone", || server.connections_open() == 0);
}

#[test]
fn a_client_may_end_its_side_first() {
    let server = hello(Delivery::default());
    let mut client = Client::connect(&server);
    client.get("/");
    client.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), format!("{HELLO_HEAD}hello").as_bytes());
}

#[test]
fn two_hundred_connections_come_and_go() {
    let server = hello(Delivery::default());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let mut client = Client::connect(&server);
                    client.get("/");
                    assert_eq!(client.response().1, b"hello");
                }
            });
        }
    });
    assert_eq!(server.connections_accepted(), 200);
    wait_until("all gone", || server.connections_open() == 0);
}

#[test]
fn the_server_listens_on_loopback_only() {
    let server = hello(Delivery::default());
    assert!(server.address().ip().is_loopback());
}

#[test]
fn the_status_of_a_reply_is_read_whatever_ends_its_lines() {
    for (reply, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", 200),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let receiver = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(reply.as_bytes()).unwrap();
            // The receiver keeps the connection open.
            stream.read_to_end(&mut Vec::new()).unwrap();
        });
        let target = Target::parse(&url).unwrap();
        assert_eq!(post(&target, &[], b"{}", || true).unwrap(), status);
        receiver.join().unwrap();
    }
}
