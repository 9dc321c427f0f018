//! The sandbox's HTTP server, against clients of the standard library.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::sync::Barrier;
use std::sync::mpsc::channel;

use super::exchange::BODY_LIMIT;
use super::*;

/// A delay that no test waits for: whoever waited for it would fail the test by its length.
const AGES: Duration = Duration::from_secs(3600);

/// A client that says exactly what it is told to.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(server: &HttpServer) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        // Only so that a broken server fails a test and does not stop it.
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

    /// Reads a head and as much body as it announces.
    fn answer(&mut self) -> (String, Vec<u8>) {
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

/// A server whose answers have the body `hello` and are delivered as told.
fn hello(delivery: Delivery) -> HttpServer {
    HttpServer::start(move |_| {
        HttpReply::new(200, "hello")
            .header("X-Case", "kept")
            .delivery(delivery.clone())
    })
    .unwrap()
}

const HELLO_HEAD: &str = "HTTP/1.1 200 OK\r\nX-Case: kept\r\ncontent-length: 5\r\n\r\n";

/// A server that hands each request to the test and answers with an empty 200.
fn recorder() -> (HttpServer, Receiver<HttpRequest>) {
    let (sender, receiver) = channel();
    let server = HttpServer::start(move |request| {
        sender.send(request).unwrap();
        HttpReply::new(200, "")
    });
    (server.unwrap(), receiver)
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
    let server = hello(Delivery::Whole);
    let mut client = Client::connect(&server);
    for _ in 0..20 {
        client.get("/");
        let (head, body) = client.answer();
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
    client.answer();
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
    client.answer();
    assert_eq!(requests.recv().unwrap().body, body);
}

#[test]
fn two_requests_may_come_in_one_piece() {
    let server =
        HttpServer::start(|request| HttpReply::new(200, request.target.into_bytes())).unwrap();
    let mut client = Client::connect(&server);
    client.send("GET /first HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer().1, b"/first");
    assert_eq!(client.answer().1, b"/second");
}

#[test]
fn a_chunked_body_is_put_together() {
    let (server, requests) = recorder();
    let mut client = Client::connect(&server);
    client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    client.answer();
    assert_eq!(requests.recv().unwrap().body, b"abcde");
    client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n");
    assert!(client.head().starts_with("HTTP/1.1 400 "));
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
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
fn what_is_no_http_is_answered_with_400() {
    let (server, requests) = recorder();
    for nonsense in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
    ] {
        let mut client = Client::connect(&server);
        client.send(nonsense);
        assert!(client.head().starts_with("HTTP/1.1 400 "), "{nonsense:?}");
    }
    Client::connect(&server).get("/");
    assert_eq!(requests.recv().unwrap().target, "/");
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
        client.answer().0
    };
    assert!(post(&mut client, BODY_LIMIT).starts_with("HTTP/1.1 200 "));
    assert_eq!(requests.recv().unwrap().body.len(), BODY_LIMIT);
    assert!(post(&mut client, BODY_LIMIT + 1).starts_with("HTTP/1.1 413 "));
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
fn an_absurd_length_is_refused_without_allocating_it() {
    let (server, requests) = recorder();
    for length in [
        "4611686018427387904",
        "9223372036854775808",
        "18446744073709551615",
    ] {
        let mut client = Client::connect(&server);
        client.send(format!(
            "POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
        ));
        assert!(client.head().starts_with("HTTP/1.1 413 "), "{length}");
        assert_eq!(client.rest(), b"");
    }
    wait_until("closed", || server.connections_open() == 0);
    assert!(requests.try_recv().is_err());
}

#[test]
fn a_late_answer_is_whole() {
    let server = hello(Delivery::After(Duration::from_millis(1)));
    let mut client = Client::connect(&server);
    for _ in 0..2 {
        client.get("/");
        assert_eq!(client.head(), HELLO_HEAD);
        assert_eq!(client.bytes(5), b"hello");
    }
}

#[test]
fn a_dripped_answer_comes_whole_in_the_end() {
    let server = hello(Delivery::Drip {
        every: Duration::from_millis(1),
    });
    let mut client = Client::connect(&server);
    for _ in 0..2 {
        client.get("/");
        assert_eq!(client.head(), HELLO_HEAD);
        assert_eq!(client.bytes(5), b"hello");
    }
}

#[test]
fn a_dripped_answer_begins_with_its_head() {
    let server = hello(Delivery::Drip { every: AGES });
    let mut client = Client::connect(&server);
    client.get("/");
    assert_eq!(client.head(), HELLO_HEAD);
    drop(server);
    assert_eq!(client.rest(), b"");
}

#[test]
fn an_answer_ends_where_it_is_told_to() {
    let cases = [
        (Delivery::CloseBeforeAnswer, String::new()),
        (Delivery::CloseAfterHead, HELLO_HEAD.to_owned()),
        (Delivery::CutBody { after: 0 }, HELLO_HEAD.to_owned()),
        (Delivery::CutBody { after: 3 }, format!("{HELLO_HEAD}hel")),
        (
            Delivery::CutBody { after: 99 },
            format!("{HELLO_HEAD}hello"),
        ),
        (Delivery::WholeThenClose, format!("{HELLO_HEAD}hello")),
        (Delivery::Raw(b"SMTP 1\n".to_vec()), "SMTP 1\n".to_owned()),
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
fn nothing_follows_the_last_answer() {
    let server = hello(Delivery::CutBody { after: 3 });
    let mut client = Client::connect(&server);
    client.send("GET /first HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\n\r\nnonsense\r\n\r\n");
    assert_eq!(client.rest(), format!("{HELLO_HEAD}hel").as_bytes());
}

#[test]
fn an_early_answer_goes_ahead() {
    for status in [100, 103] {
        let server = hello(Delivery::Informational(status));
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
fn a_chunked_answer_has_no_length() {
    let server = hello(Delivery::Chunked);
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
    let head = |reply: HttpReply| String::from_utf8(reply.head()).unwrap();
    let plain = head(HttpReply::new(404, "x"));
    assert_eq!(plain, "HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\n");
    for status in [204, 304] {
        assert!(!head(HttpReply::new(status, "")).contains("length"));
    }
    let given = head(HttpReply::new(200, "x").header("Content-Length", "7"));
    assert_eq!(given, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
}

#[test]
fn header_values_are_sent_byte_for_byte() {
    let server =
        HttpServer::start(|_| HttpReply::new(200, "").header("X", *b"a\xff\x01 b")).unwrap();
    let mut client = Client::connect(&server);
    client.get("/");
    let sent = b"HTTP/1.1 200 OK\r\nX: a\xff\x01 b\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(client.bytes(sent.len()), sent);
}

#[test]
fn head_is_answered_without_a_body() {
    for delivery in [Delivery::Whole, Delivery::Informational(103)] {
        let early = delivery != Delivery::Whole;
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
    let server = HttpServer::start({
        let meeting = Arc::clone(&meeting);
        move |_| {
            meeting.wait();
            HttpReply::new(200, "met")
        }
    })
    .unwrap();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(&server);
                for _ in 0..3 {
                    client.get("/");
                    assert_eq!(client.answer().1, b"met");
                }
            });
        }
    });
    assert_eq!(server.connections_accepted(), CLIENTS);
}

#[test]
fn a_panic_of_the_handler_is_answered_with_500() {
    let server = HttpServer::start(|request| {
        assert_ne!(request.target, "/panic", "as ordered by the test");
        HttpReply::new(200, "")
    })
    .unwrap();
    let mut client = Client::connect(&server);
    client.get("/panic");
    assert!(client.answer().0.starts_with("HTTP/1.1 500 "));
    client.get("/");
    assert!(client.answer().0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn kept_connections_can_be_closed() {
    let server = hello(Delivery::Whole);
    for round in 1..=20 {
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&server)).collect();
        for client in &mut clients {
            client.get("/");
            client.answer();
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
    let server = HttpServer::start(move |_| {
        entered.send(()).unwrap();
        lock(&leaving).recv().unwrap();
        HttpReply::new(200, "done")
    })
    .unwrap();
    let mut client = Client::connect(&server);
    client.get("/");
    entries.recv().unwrap();
    server.close_connections();
    assert_eq!(server.connections_open(), 1);
    leave.send(()).unwrap();
    assert_eq!(client.answer().1, b"done");
    assert_eq!(client.rest(), b"");
}

#[test]
fn closing_cuts_off_who_does_not_take_the_answer() {
    let server = HttpServer::start(|_| HttpReply::new(200, vec![0; 100_000_000])).unwrap();
    let mut client = Client::connect(&server);
    client.get("/");
    client.head();
    server.close_connections();
    assert_eq!(server.connections_open(), 0);
}

#[test]
fn a_port_can_refuse_and_listen_again() {
    let server = hello(Delivery::Whole);
    let mut kept = Client::connect(&server);
    kept.get("/");
    kept.answer();
    for _ in 0..10 {
        server.set_refusing(true).unwrap();
        server.set_refusing(true).unwrap();
        let error = TcpStream::connect(server.address()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        kept.get("/");
        kept.answer();
        server.set_refusing(false).unwrap();
        server.set_refusing(false).unwrap();
        let mut client = Client::connect(&server);
        client.get("/");
        client.answer();
    }
    assert_eq!(server.connections_accepted(), 11);
    server.set_refusing(true).unwrap();
    let address = server.address();
    drop(server);
    HttpServer::start_on(address, |_| HttpReply::new(200, "")).unwrap();
}

#[test]
fn dropping_ends_delays_and_connections() {
    for delivery in [Delivery::After(AGES), Delivery::Drip { every: AGES }] {
        let (entered, entries) = channel();
        let server = HttpServer::start(move |_| {
            entered.send(()).unwrap();
            HttpReply::new(200, "hello").delivery(delivery.clone())
        })
        .unwrap();
        let mut idle = Client::connect(&server);
        let mut busy = Client::connect(&server);
        busy.get("/");
        entries.recv().unwrap();
        let address = server.address();
        drop(server);
        assert_eq!(idle.rest(), b"");
        busy.rest();
        // The handler, and with it every thread that could call it, is gone.
        assert!(entries.recv().is_err());
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn dropping_ends_while_a_client_does_not_read() {
    let server = HttpServer::start(|_| HttpReply::new(200, vec![b'x'; 100_000_000])).unwrap();
    let mut client = Client::connect(&server);
    client.get("/");
    client.head();
    drop(server);
}

#[test]
fn dropping_ends_while_a_client_does_not_finish_its_request() {
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
fn a_large_answer_arrives_whole() {
    let body = (0..=255).collect::<Vec<u8>>().repeat(390_625);
    let expected = body.clone();
    let server = HttpServer::start(move |_| HttpReply::new(200, body.clone())).unwrap();
    let mut client = Client::connect(&server);
    client.get("/");
    assert!(client.answer().1 == expected);
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
    let server = hello(Delivery::After(AGES));
    Client::connect(&server).get("/");
    wait_until("accepted", || server.connections_accepted() == 1);
    wait_until("gone", || server.connections_open() == 0);
}

#[test]
fn a_client_may_end_its_side_first() {
    let server = hello(Delivery::Whole);
    let mut client = Client::connect(&server);
    client.get("/");
    client.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), format!("{HELLO_HEAD}hello").as_bytes());
}

#[test]
fn two_hundred_connections_come_and_go() {
    let server = hello(Delivery::Whole);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let mut client = Client::connect(&server);
                    client.get("/");
                    assert_eq!(client.answer().1, b"hello");
                }
            });
        }
    });
    assert_eq!(server.connections_accepted(), 200);
    wait_until("all gone", || server.connections_open() == 0);
}

#[test]
fn only_loopback_is_listened_on() {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let error = HttpServer::start_on(address, |_| HttpReply::new(200, "")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("0.0.0.0:0"), "{error}");
}
