//! Tests of the whole transport against servers on loopback. No test measures time.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::addresses::Lookup;
use super::tcp::BUFFER;
use super::*;
use crate::error::Cause;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A timeout that a loopback exchange never reaches, and one that expires soon.
pub(super) const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

/// The longest body of a response, in bytes.
const MAX_LENGTH: usize = 1024 * 1024;

/// An address that refuses connections, since nobody may listen on its port without privileges.
const REFUSING: &str = "127.0.0.1:1";

/// Made by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=CA`.
pub(super) const ROOT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBcDCCARegAwIBAgIUewOawrZ1PLACbJ1H6pzys2BfAKkwCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCQ0EwIBcNMjYxMTIzMTYwNDMyWhgPMjEyNjEwMzAxNjA0MzJa
MA0xCzAJBgNVBAMMAkNBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzrn2bW1d
pb1k7roUiqrTquVnh5s8cj2BJz+UFMAd3poTpUY+QvH+r7vhk0iy4BCbXjLzfyS5
rjR5/YfTg1hMrqNTMFEwHQYDVR0OBBYEFATRI9lTwFpxTjN0zVs7nJqB08jkMB8G
A1UdIwQYMBaAFATRI9lTwFpxTjN0zVs7nJqB08jkMA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDRwAwRAIgHSH0o/9+NOjeoE1Yj35xsICrBMfsK0CO2GaeH7sJ
AwcCIGhlzHrdQNdQ8QDK0LwicEtoZkaRZOfzEvFuNDyuo3Sa
-----END CERTIFICATE-----
";

/// A server on loopback, which runs on a thread of its own.
struct Server {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Server {
    fn start(serve: impl FnOnce(TcpListener) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            thread: thread::spawn(move || serve(listener)),
        }
    }

    /// Starts a server for one connection.
    fn for_one(serve: impl FnOnce(TcpStream) + Send + 'static) -> Self {
        Self::start(|listener| serve(listener.accept().unwrap().0))
    }

    /// Starts a server that reads one request and responds with these bytes.
    fn responding(response: &'static [u8]) -> Self {
        Self::for_one(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(response).unwrap();
        })
    }

    /// Starts a server for this many connections in turn, which responds to each request with these bytes.
    fn serving(connections: usize, response: &'static [u8]) -> Self {
        Self::start(move |listener| {
            for _ in 0..connections {
                let (mut stream, _) = listener.accept().unwrap();
                while !read_request(&mut stream).is_empty() {
                    stream.write_all(response).unwrap();
                }
            }
        })
    }

    fn url(&self) -> String {
        format!("http://{}/v3/certificates", self.address)
    }

    /// Waits for the server's thread. Panics if the thread panicked.
    fn finish(self) {
        self.thread.join().unwrap();
    }
}

/// Reads one request with its body. Returns an empty vector at the end of the connection.
fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut chunk = [0; 64 * 1024];
    while !is_whole(&request) {
        match stream.read(&mut chunk).unwrap() {
            0 => break,
            read => request.extend_from_slice(&chunk[..read]),
        }
    }
    request
}

fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    request.len() >= head + 4 + length
}

fn options() -> TransportOptions {
    within(LONG)
}

fn within(timeout: Duration) -> TransportOptions {
    TransportOptions {
        connect_timeout: timeout,
        timeout,
        ..TransportOptions::default()
    }
}

fn transport() -> Transport {
    Transport::new(options())
}

/// Returns a transport with short timeouts.
fn hurried() -> Transport {
    Transport::new(within(SHORT))
}

/// Returns a transport with this [`counted`] DNS lookup.
fn looking_up(results: Vec<io::Result<Vec<SocketAddr>>>) -> (Transport, Arc<AtomicUsize>) {
    let (lookup, count) = counted(results);
    let transport = Transport::new(TransportOptions {
        lookup: Some(lookup),
        ..options()
    });
    (transport, count)
}

/// Returns a DNS lookup that counts its calls and returns these results in turn, and repeats the last one.
pub(super) fn counted(results: Vec<io::Result<Vec<SocketAddr>>>) -> (Lookup, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let results = Mutex::new(VecDeque::from(results));
    let lookup = move |_: &str, _: u16| {
        counter.fetch_add(1, Ordering::SeqCst);
        let mut results = results.lock().unwrap();
        if results.len() > 1 {
            return results.pop_front().unwrap();
        }
        match results.front().unwrap() {
            Ok(addresses) => Ok(addresses.clone()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    };
    (Arc::new(lookup), count)
}

/// Returns an address that is not loopback. Linux and other systems connect it to a server on loopback.
fn not_loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

fn request(method: http::Method, url: &str) -> http::Request<()> {
    let mut request = http::Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().unwrap();
    request
}

fn get(transport: &Transport, url: &str) -> Result<(u16, Vec<u8>), Failure> {
    send(transport, request(http::Method::GET, url), None)
}

fn post(transport: &Transport, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>), Failure> {
    send(transport, request(http::Method::POST, url), Some(body))
}

/// Sends a request, and keeps the connection after the response.
fn send(
    transport: &Transport,
    request: http::Request<()>,
    body: Option<&[u8]>,
) -> Result<(u16, Vec<u8>), Failure> {
    let mut response = transport.exchange(request, body, false, false)?;
    response.keep_connection();
    Ok((response.head.status.as_u16(), response.body))
}

fn connect_failure(result: Result<(u16, Vec<u8>), Failure>) -> (io::ErrorKind, String) {
    match result {
        Err(Failure::Connect(cause)) => described(&cause),
        other => panic!("wanted a failure to connect, found {other:?}"),
    }
}

fn exchange_failure(result: Result<(u16, Vec<u8>), Failure>) -> (io::ErrorKind, String) {
    match result {
        Err(Failure::Exchange(cause)) => described(&cause),
        other => panic!("wanted a failure of the exchange, found {other:?}"),
    }
}

fn described(cause: &Cause) -> (io::ErrorKind, String) {
    let error = cause.downcast_ref::<io::Error>().unwrap();
    (error.kind(), error.to_string())
}

mod calls {
    use super::*;

    #[test]
    fn calls_in_a_row_use_one_connection_and_one_dns_lookup() {
        let server = Server::for_one(|mut stream| {
            let mut count = 0;
            while !read_request(&mut stream).is_empty() {
                count += 1;
                let status = if count % 3 == 0 {
                    "404 Not Found"
                } else {
                    "200 OK"
                };
                let response = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
                stream.write_all(response.as_bytes()).unwrap();
            }
            assert_eq!(count, 100);
        });
        let (transport, count) = looking_up(vec![Ok(vec![server.address])]);
        let url = format!("http://pay.test:{}/", server.address.port());
        for call in 1..=100 {
            let wanted = if call % 3 == 0 { 404 } else { 200 };
            assert_eq!(get(&transport, &url).unwrap(), (wanted, b"ok".to_vec()));
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        drop(transport);
        server.finish();
    }

    #[test]
    fn clones_share_connections() {
        let (server, accepted) = keeping(1);
        let transport = transport();
        for transport in [transport.clone(), transport] {
            assert_eq!(get(&transport, &server.url()).unwrap().0, 200);
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 1);
        server.finish();
    }

    #[test]
    fn a_connection_that_the_server_closed_is_not_used() {
        let (closed, is_closed) = mpsc::channel();
        let server = Server::start(move |listener| {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                read_request(&mut stream);
                stream.write_all(RESPONSE).unwrap();
                drop(stream);
                closed.send(()).unwrap();
            }
        });
        let transport = transport();
        for _ in 0..2 {
            assert_eq!(get(&transport, &server.url()).unwrap().0, 200);
            is_closed.recv().unwrap();
        }
        server.finish();
    }

    /// Starts a server that accepts and counts this many connections, and keeps them open as long as the client does.
    fn keeping(connections: usize) -> (Server, Arc<AtomicUsize>) {
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let serve = |mut stream: TcpStream| {
            while !read_request(&mut stream).is_empty() {
                stream.write_all(RESPONSE).unwrap();
            }
        };
        let server = Server::start(move |listener| {
            thread::scope(|scope| {
                for _ in 0..connections {
                    let (stream, _) = listener.accept().unwrap();
                    counter.fetch_add(1, Ordering::SeqCst);
                    scope.spawn(move || serve(stream));
                }
            });
        });
        (server, accepted)
    }

    #[test]
    fn an_idle_connection_is_used_only_until_it_is_too_old() {
        // With a limit of zero any connection is too old.
        for (idle, connections) in [(LONG, 1), (Duration::ZERO, 2)] {
            let (server, accepted) = keeping(connections);
            let transport = Transport::new(TransportOptions { idle, ..options() });
            for _ in 0..2 {
                assert_eq!(get(&transport, &server.url()).unwrap().0, 200);
            }
            assert_eq!(accepted.load(Ordering::SeqCst), connections, "{idle:?}");
            drop(transport);
            server.finish();
        }
    }

    #[test]
    fn the_default_limits_are_the_documented_ones() {
        let options = TransportOptions::default();
        assert_eq!(options.connect_timeout, Duration::from_secs(5));
        assert_eq!(options.timeout, Duration::from_secs(15));
        assert_eq!(options.second_timeout, Duration::from_secs(9));
        assert_eq!(options.idle, Duration::from_secs(5));
        assert_eq!(options.max_idle, 64);
    }

    #[test]
    fn head_and_body_are_sent_in_one_write() {
        let server = Server::for_one(|mut stream| {
            let mut chunk = [0; 64 * 1024];
            let read = stream.read(&mut chunk).unwrap();
            let request = String::from_utf8_lossy(&chunk[..read]);
            assert!(request.starts_with("POST /v3/certificates HTTP/1.1\r\n"));
            assert!(request.ends_with("\r\n\r\n{\"appid\":\"wxd678efh567hg6787\"}"));
            stream.write_all(RESPONSE).unwrap();
        });
        let body = br#"{"appid":"wxd678efh567hg6787"}"#;
        let response = post(&transport(), &server.url(), body);
        server.finish();
        assert_eq!(response.unwrap().0, 200);
    }

    #[test]
    fn only_the_headers_that_are_set_are_sent() {
        let server = Server::start(|listener| {
            let (mut stream, address) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            let host = stream.local_addr().unwrap();
            assert_eq!(
                String::from_utf8(request).unwrap().to_lowercase(),
                format!("get /v3/certificates http/1.1\r\nhost: {host}\r\n\r\n"),
                "from {address}"
            );
            stream.write_all(RESPONSE).unwrap();
        });
        let response = get(&transport(), &server.url());
        server.finish();
        assert_eq!(response.unwrap().0, 200);
    }

    #[test]
    fn a_body_longer_than_the_buffers_arrives_whole() {
        for length in [100 * 1024, 1024 * 1024] {
            let body: Vec<u8> = (0..=250).cycle().take(length).collect();
            let wanted = body.clone();
            let server = Server::for_one(move |mut stream| {
                for _ in 0..2 {
                    assert!(read_request(&mut stream).ends_with(&wanted));
                    stream.write_all(RESPONSE).unwrap();
                }
            });
            let transport = transport();
            for _ in 0..2 {
                assert_eq!(post(&transport, &server.url(), &body).unwrap().0, 200);
            }
            server.finish();
        }
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let server = Server::for_one(|mut stream| {
            for (status, body) in [("302 Found", ""), ("307 Temporary Redirect", "away")] {
                read_request(&mut stream);
                let head = format!("HTTP/1.1 {status}\r\nLocation: http://{REFUSING}/\r\n");
                let length = body.len();
                write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
            }
        });
        let transport = transport();
        assert_eq!(get(&transport, &server.url()).unwrap(), (302, vec![]));
        assert_eq!(
            post(&transport, &server.url(), b"{}").unwrap(),
            (307, b"away".to_vec())
        );
        server.finish();
    }

    #[test]
    fn the_longest_durations_can_be_set() {
        let server = Server::responding(RESPONSE);
        let transport = Transport::new(TransportOptions {
            idle: Duration::MAX,
            ..within(Duration::MAX)
        });
        assert_eq!(get(&transport, &server.url()).unwrap().0, 200);
        server.finish();
    }
}

mod failures_to_connect {
    use super::*;

    #[test]
    fn a_refused_connection_is_a_failure_to_connect() {
        let (kind, reason) = connect_failure(get(&transport(), &format!("http://{REFUSING}/")));
        assert_eq!(kind, io::ErrorKind::ConnectionRefused);
        assert!(
            reason.starts_with("TCP to 127.0.0.1:1: Connection refused"),
            "{reason}"
        );
    }

    #[test]
    fn an_unknown_name_is_a_failure_to_connect() {
        let lookup: Lookup = Arc::new(|_, _| {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                "Name or service not known",
            ))
        });
        let transport = Transport::new(TransportOptions {
            lookup: Some(lookup),
            ..options()
        });
        assert_eq!(
            connect_failure(get(&transport, "http://nosuch.test/")).1,
            "DNS lookup of nosuch.test: Name or service not known"
        );
    }

    #[test]
    fn a_request_that_cannot_be_written_is_a_failure_to_connect() {
        for url in ["/path", "ftp://pay.test/", "pay.test"] {
            let result = get(&transport(), url);
            assert!(matches!(result, Err(Failure::Connect(_))), "{result:?}");
        }
    }

    #[test]
    fn a_name_without_address_is_a_failure_to_connect() {
        let (transport, _) = looking_up(vec![Ok(vec![])]);
        assert_eq!(
            connect_failure(get(&transport, "http://nosuch.test/")).1,
            "DNS lookup of nosuch.test: no address found"
        );
    }

    #[test]
    fn plain_http_goes_to_loopback_only() {
        let server = Server::for_one(|mut stream| {
            assert!(read_request(&mut stream).starts_with(b"GET /right "));
            stream.write_all(RESPONSE).unwrap();
        });
        let port = server.address.port();
        let (transport, _) = looking_up(vec![
            Ok(vec![not_loopback(port)]),
            Ok(vec![server.address, not_loopback(port)]),
            Ok(vec![server.address]),
        ]);
        for _ in 0..2 {
            assert_eq!(
                connect_failure(get(&transport, &format!("http://pay.test:{port}/wrong"))),
                (
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "DNS lookup of pay.test: plain http goes to loopback only, not to 0.0.0.0:{port}"
                    )
                )
            );
        }
        let response = get(&transport, &format!("http://pay.test:{port}/right"));
        assert_eq!(response.unwrap().0, 200);
        server.finish();
    }

    #[test]
    fn addresses_that_refuse_are_looked_up_again() {
        let server = Server::responding(RESPONSE);
        let refusing = REFUSING.parse().unwrap();
        let (transport, count) = looking_up(vec![Ok(vec![refusing]), Ok(vec![server.address])]);
        let url = format!("http://pay.test:{}/", server.address.port());
        connect_failure(get(&transport, &url));
        assert_eq!(get(&transport, &url).unwrap().0, 200);
        assert_eq!(count.load(Ordering::SeqCst), 2);
        server.finish();
    }

    #[test]
    fn addresses_without_tls_are_looked_up_again() {
        let server = Server::start(|listener| {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(b"no TLS\r\n\r\n").unwrap();
                stream.read_to_end(&mut Vec::new()).unwrap();
            }
        });
        let (transport, count) = looking_up(vec![Ok(vec![server.address])]);
        let url = format!("https://pay.test:{}/", server.address.port());
        for lookups in 1..=2 {
            connect_failure(get(&transport, &url));
            assert_eq!(count.load(Ordering::SeqCst), lookups);
        }
        server.finish();
    }

    #[test]
    fn the_next_address_is_tried_after_one_that_refuses() {
        let server = Server::responding(RESPONSE);
        let refusing = REFUSING.parse().unwrap();
        let (transport, _) = looking_up(vec![Ok(vec![refusing, server.address])]);
        let url = format!("http://pay.test:{}/", server.address.port());
        assert_eq!(get(&transport, &url).unwrap().0, 200);
        server.finish();
    }

    #[test]
    fn a_server_without_tls_is_a_failure_to_connect() {
        let server = Server::for_one(|mut stream| {
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .unwrap();
            // Waits until the other side has closed, since closing with unread bytes would reset the connection.
            stream.read_to_end(&mut Vec::new()).unwrap();
        });
        let (kind, reason) =
            connect_failure(get(&transport(), &format!("https://{}/", server.address)));
        assert_eq!(kind, io::ErrorKind::InvalidData);
        assert_eq!(reason, "TLS: the other side does not speak TLS");
        server.finish();
    }

    #[test]
    fn a_handshake_without_a_response_is_a_failure_to_connect() {
        let server = Server::for_one(|mut stream| {
            stream.read_to_end(&mut Vec::new()).unwrap();
        });
        let failure = connect_failure(get(&hurried(), &format!("https://{}/", server.address)));
        assert_eq!(failure.0, io::ErrorKind::TimedOut);
        assert_eq!(failure.1, "TLS: no connection within 300ms");
        server.finish();
    }
}

mod failures_of_the_exchange {
    use super::*;

    /// Sends `head` at once and then one byte after the other until the other side closes.
    fn drip(head: &'static [u8]) -> Server {
        Server::for_one(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(head).unwrap();
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        })
    }

    #[test]
    fn a_connection_closed_after_the_request_is_a_failure_of_the_exchange() {
        let server = Server::for_one(|mut stream| {
            read_request(&mut stream);
        });
        assert_eq!(
            exchange_failure(post(&transport(), &server.url(), b"{}")),
            (
                io::ErrorKind::UnexpectedEof,
                "the connection was closed before the response was complete".into()
            )
        );
        server.finish();
    }

    #[test]
    fn a_pooled_connection_that_is_closed_before_any_byte_of_a_response_is_reported_as_such() {
        for (second, wanted) in [
            (
                "",
                "the pooled connection was closed before any byte of a response",
            ),
            (
                "H",
                "the connection was closed before the response was complete",
            ),
        ] {
            let server = Server::for_one(|mut stream| {
                read_request(&mut stream);
                stream.write_all(RESPONSE).unwrap();
                read_request(&mut stream);
                stream.write_all(second.as_bytes()).unwrap();
            });
            let transport = transport();
            post(&transport, &server.url(), b"{}").unwrap();
            let failure = exchange_failure(post(&transport, &server.url(), b"{}"));
            assert_eq!(failure, (io::ErrorKind::UnexpectedEof, wanted.into()));
            server.finish();
        }
    }

    /// The client does not keep a connection if the response belongs to another request.
    #[test]
    fn a_connection_that_is_not_kept_is_closed() {
        for keep in [true, false] {
            let server = Server::serving(if keep { 1 } else { 2 }, RESPONSE);
            let transport = transport();
            for _ in 0..2 {
                let request = request(http::Method::GET, &server.url());
                let mut response = transport.exchange(request, None, false, false).unwrap();
                if keep {
                    response.keep_connection();
                }
            }
            drop(transport);
            server.finish();
        }
    }

    /// `Transfer-Encoding` together with `Content-Length` may be a sign of response splitting.
    #[test]
    fn a_connection_is_not_used_again_after_a_response_with_two_lengths() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let both = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n\
            2\r\nok\r\n0\r\n\r\n";
        for (connections, response) in [(1, &chunked[..]), (2, both)] {
            let server = Server::serving(connections, response);
            let transport = transport();
            for _ in 0..2 {
                assert_eq!(get(&transport, &server.url()).unwrap().1, b"ok");
            }
            drop(transport);
            server.finish();
        }
    }

    /// The response fills the buffer, so that the bytes after it stay in the socket.
    #[test]
    fn bytes_after_a_response_are_found_even_if_its_connection_cannot_be_used_again() {
        for (header, body) in [
            ("Connection: close\r\nContent-Length: 2", "ok"),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 2",
                "2\r\nok\r\n0\r\n\r\n",
            ),
        ] {
            let short = format!("HTTP/1.1 200 OK\r\n{header}\r\nX: \r\n\r\n{body}");
            let padded = format!("X: {}", "x".repeat(BUFFER - short.len()));
            let response = short.replace("X: ", &padded).into_bytes();
            for (stray, wanted) in [(&b""[..], false), (RESPONSE, true)] {
                let bytes = [&response, stray].concat();
                let server = Server::for_one(move |mut stream| {
                    read_request(&mut stream);
                    stream.write_all(&bytes).unwrap();
                });
                let request = request(http::Method::GET, &server.url());
                let mut response = transport().exchange(request, None, false, true).unwrap();
                response.keep_connection();
                assert_eq!(response.is_followed, wanted, "{header}");
                server.finish();
            }
        }
    }

    #[test]
    fn a_connection_closed_within_the_body_is_a_failure_of_the_exchange() {
        let server = Server::responding(&RESPONSE[..RESPONSE.len() - 1]);
        assert_eq!(
            exchange_failure(get(&transport(), &server.url())).0,
            io::ErrorKind::UnexpectedEof
        );
        server.finish();
    }

    #[test]
    fn a_response_that_does_not_come_is_a_failure_of_the_exchange() {
        let server = Server::for_one(|mut stream| {
            read_request(&mut stream);
            read_request(&mut stream);
        });
        assert_eq!(
            exchange_failure(get(&hurried(), &server.url())),
            (
                io::ErrorKind::TimedOut,
                "no complete response within 300ms".into()
            )
        );
        server.finish();
    }

    #[test]
    fn a_response_that_drips_is_a_failure_of_the_exchange() {
        for head in [
            &b"HTTP/1.1 200 OK\r\nX-Long: "[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
        ] {
            let server = drip(head);
            assert_eq!(
                exchange_failure(get(&hurried(), &server.url())),
                (
                    io::ErrorKind::TimedOut,
                    "no complete response within 300ms".into()
                )
            );
            server.finish();
        }
    }

    #[test]
    fn a_request_that_is_never_read_is_a_failure_of_the_exchange() {
        for pooled in [0, 1] {
            let (done, is_done) = mpsc::channel::<()>();
            let server = Server::for_one(move |mut stream| {
                for _ in 0..pooled {
                    read_request(&mut stream);
                    stream.write_all(RESPONSE).unwrap();
                }
                // Nothing is sent: this waits until the client has given up.
                assert!(is_done.recv().is_err());
            });
            let transport = hurried();
            for _ in 0..pooled {
                get(&transport, &server.url()).unwrap();
            }
            // Longer than the buffers of both sockets together.
            let body = vec![b'x'; 64 * 1024 * 1024];
            assert_eq!(
                exchange_failure(post(&transport, &server.url(), &body)),
                (
                    io::ErrorKind::TimedOut,
                    "no complete response within 300ms".into()
                )
            );
            drop(done);
            server.finish();
        }
    }

    #[test]
    fn a_response_that_is_not_http_is_a_failure_of_the_exchange() {
        let server = Server::responding(b"SSH-2.0-OpenSSH\r\n\r\n");
        let (_, reason) = exchange_failure(get(&transport(), &server.url()));
        assert_eq!(reason, "protocol: http parse fail: invalid HTTP version");
        server.finish();
    }

    #[test]
    fn a_head_that_is_too_long_is_refused() {
        let server = Server::for_one(|mut stream| {
            read_request(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ").unwrap();
            // The client closes before all of it is read.
            let _ = stream.write_all(&[b'x'; BUFFER]);
        });
        let (_, reason) = exchange_failure(get(&transport(), &server.url()));
        assert_eq!(reason, "response header is too big: 12288 > 12287");
        server.finish();
    }

    #[test]
    fn a_body_that_is_too_long_is_refused() {
        // A body whose `Content-Length` is too long is not read, so none is sent.
        for (head, sent) in [
            (format!("Content-Length: {}\r\n", MAX_BODY + 1), 0),
            ("Connection: close\r\n".to_owned(), MAX_LENGTH + 1),
        ] {
            let server = Server::for_one(move |mut stream| {
                read_request(&mut stream);
                write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n").unwrap();
                // The client may close before all of it is read.
                let _ = stream.write_all(&vec![b'x'; sent]);
                let _ = stream.read_to_end(&mut Vec::new());
            });
            assert_eq!(
                exchange_failure(get(&transport(), &server.url())),
                (
                    io::ErrorKind::InvalidData,
                    "the response's body is longer than 1048576 bytes".into()
                )
            );
            server.finish();
        }
    }

    #[test]
    fn a_body_of_just_the_limit_is_read_whole() {
        let server = Server::for_one(move |mut stream| {
            // Sent twice: the connection is kept only if the body is read to its end.
            for _ in 0..2 {
                read_request(&mut stream);
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {MAX_BODY}\r\n\r\n"
                )
                .unwrap();
                stream.write_all(&[b'x'; MAX_LENGTH]).unwrap();
            }
        });
        let transport = transport();
        for _ in 0..2 {
            assert_eq!(
                get(&transport, &server.url()).unwrap().1,
                [b'x'; MAX_LENGTH]
            );
        }
        server.finish();
    }
}

mod proxy {
    use super::*;

    fn through(proxy: SocketAddr, options: TransportOptions) -> (Transport, Arc<AtomicUsize>) {
        let (lookup, count) = counted(vec![Err(io::ErrorKind::NotFound.into())]);
        let proxy = Proxy::parse(&format!("http://user:p%40ss@{proxy}")).unwrap();
        let transport = Transport::new(TransportOptions {
            lookup: Some(lookup),
            proxy: Some(proxy),
            ..options
        });
        (transport, count)
    }

    #[test]
    fn the_proxy_is_asked_for_a_tunnel_by_name() {
        let server = Server::for_one(|mut stream| {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).unwrap();
            let wanted = format!(
                "CONNECT pay.test:80 HTTP/1.1\r\nHost: pay.test:80\r\n\
                     Proxy-Connection: Keep-Alive\r\nProxy-Authorization: Basic {}\r\n\r\n",
                BASE64_STANDARD.encode("user:p@ss")
            );
            assert_eq!(String::from_utf8_lossy(&chunk[..read]), wanted);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            for _ in 0..2 {
                let request = read_request(&mut stream);
                assert!(request.starts_with(b"GET /path HTTP/1.1\r\n"));
                stream.write_all(RESPONSE).unwrap();
            }
        });
        let (transport, count) = through(server.address, options());
        for _ in 0..2 {
            assert_eq!(get(&transport, "http://pay.test/path").unwrap().0, 200);
        }
        assert_eq!(count.load(Ordering::SeqCst), 0);
        server.finish();
    }

    #[test]
    fn the_proxy_need_not_be_on_loopback() {
        let server = Server::for_one(|mut stream| {
            assert!(read_request(&mut stream).starts_with(b"CONNECT pay.test:80 "));
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            read_request(&mut stream);
            stream.write_all(RESPONSE).unwrap();
        });
        let port = server.address.port();
        let address = not_loopback(port);
        let (lookup, count) = counted(vec![Ok(vec![address])]);
        let transport = Transport::new(TransportOptions {
            lookup: Some(lookup),
            proxy: Some(Proxy::parse(&format!("http://proxy.test:{port}")).unwrap()),
            ..options()
        });
        assert_eq!(get(&transport, "http://pay.test/path").unwrap().0, 200);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        server.finish();
    }

    #[test]
    fn a_proxy_that_cannot_be_reached_is_a_failure_to_connect() {
        let (transport, _) = through(REFUSING.parse().unwrap(), options());
        let (kind, reason) = connect_failure(get(&transport, "https://pay.test/"));
        assert_eq!(kind, io::ErrorKind::ConnectionRefused);
        assert!(
            reason.starts_with("proxy: TCP to 127.0.0.1:1: Connection refused"),
            "{reason}"
        );
    }

    #[test]
    fn a_proxy_that_refuses_the_login_is_reported_as_such() {
        let server = Server::responding(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        let (transport, _) = through(server.address, options());
        let (_, reason) = connect_failure(get(&transport, "https://pay.test/"));
        assert_eq!(
            reason,
            "proxy: the login was refused (HTTP 407): check user and password"
        );
        server.finish();
    }

    #[test]
    fn a_proxy_that_refuses_is_looked_up_again() {
        let server = Server::start(|listener| {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                read_request(&mut stream);
                stream
                    .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                    .unwrap();
            }
        });
        let (lookup, count) = counted(vec![Ok(vec![server.address])]);
        let proxy = format!("http://proxy.test:{}", server.address.port());
        let transport = Transport::new(TransportOptions {
            lookup: Some(lookup),
            proxy: Some(Proxy::parse(&proxy).unwrap()),
            ..options()
        });
        for lookups in 1..=2 {
            connect_failure(get(&transport, "https://pay.test/"));
            assert_eq!(count.load(Ordering::SeqCst), lookups);
        }
        server.finish();
    }

    #[test]
    fn a_proxy_whose_response_drips_is_a_failure_to_connect() {
        let server = Server::for_one(|mut stream| {
            read_request(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ").unwrap();
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let (transport, _) = through(server.address, within(SHORT));
        assert_eq!(
            connect_failure(get(&transport, "https://pay.test/")),
            (
                io::ErrorKind::TimedOut,
                "proxy: no connection within 300ms".into()
            )
        );
        server.finish();
    }

    #[test]
    fn a_tunnel_to_a_server_without_tls_is_a_failure_to_connect() {
        let server = Server::for_one(|mut stream| {
            read_request(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let mut hello = [0; 1];
            stream.read_exact(&mut hello).unwrap();
            stream.write_all(b"no TLS here").unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        });
        let (transport, _) = through(server.address, options());
        let (_, reason) = connect_failure(get(&transport, "https://pay.test/"));
        assert_eq!(reason, "TLS: the other side does not speak TLS");
        server.finish();
    }

    #[test]
    fn the_proxy_is_an_http_url_with_host_and_port_and_without_a_path() {
        for url in [
            "http://proxy.test:3128",
            "http://proxy.test:3128/",
            "http://user:secret@proxy.test:3128",
            "http://192.0.2.1:8080",
            "http://[2001:db8::1]:8080",
        ] {
            Proxy::parse(url).unwrap();
        }
        let other = "found another scheme than http";
        let target = "found no host or no port";
        for (url, problem) in [
            ("", "not a URL"),
            ("proxy.test:3128", "found no scheme"),
            ("proxy.test", "found no scheme"),
            ("http://proxy.test", target),
            ("http://proxy.test:0", target),
            ("http://proxy.test:65536", target),
            ("http://:3128", target),
            ("https://proxy.test:3128", other),
            ("socks5://proxy.test:1080", other),
            ("socks4://user:secret@proxy.test:1080", other),
            ("http://proxy.test:3128/path", "found a path or a query"),
            ("http://proxy.test:3128?query", "found a path or a query"),
            ("http://user:%ff@proxy.test:3128", "not a URL"),
            ("http://proxy test:3128", "not a URL"),
            (" http://proxy.test:3128", "not a URL"),
        ] {
            let error = Proxy::parse(url).map(|_| ()).unwrap_err();
            let wanted = "wanted http://[user:password@]host:port";
            assert_eq!(
                error.to_string(),
                format!("proxy: {problem}: {wanted}"),
                "{url}"
            );
        }
    }
}
