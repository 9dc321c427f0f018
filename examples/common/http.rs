//! A blocking HTTP server with the limits that a receiver of notifications needs (head, body, time, connections). It
//! opens requests as notifications, and turns replies into HTTP responses. Each connection has a thread and carries one
//! request, as in HTTP/1.0. ureq-proto, which is a part of ureq, parses it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ureq_proto::http::{Request, Response, StatusCode, Version};
use ureq_proto::server::{RecvRequestResult, Reply};
use wechatpay_contract::{
    Notification, NotificationError, NotificationReceiver, NotificationReply, SignatureHeaders,
};

use super::common::report;

/// The longest head and the longest body in bytes.
const MAX_HEAD: usize = 8 << 10;
const MAX_BODY: usize = 16 << 10;
/// The timeout of a whole request, head and body, even if it arrives byte by byte. Also the timeout of each write.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Each connection needs a thread, a file descriptor and up to 100 KiB.
const MAX_CONNECTIONS: usize = 512;
const PAUSE: Duration = Duration::from_millis(1); // Until the next attempt to accept a connection.

/// Serves forever. `handler` takes each request with its body, exactly as received.
///
/// Each connection's thread has a clone of the handler, which a panic drops too. So the number of clones is that of the
/// connections.
///
/// Slow clients do not keep others out. After `MAX_CONNECTIONS / 2` newer connections, a connection is read no further.
pub(crate) fn serve(
    address: SocketAddr,
    handler: impl Fn(&Request<Vec<u8>>) -> Response<String> + Send + Sync + 'static,
) -> io::Result<()> {
    let handler = Arc::new(handler);
    let mut latest = VecDeque::<Weak<TcpStream>>::new();
    for socket in TcpListener::bind(address)?.incoming() {
        let is_full = latest.len() >= MAX_CONNECTIONS / 2;
        if let Some(oldest) = is_full.then(|| latest.pop_front()?.upgrade()).flatten() {
            let _ = oldest.shutdown(Shutdown::Read);
        }
        let clone = Arc::clone(&handler);
        let thread = socket.map(Arc::new).and_then(|socket| {
            latest.push_back(Arc::downgrade(&socket));
            thread::Builder::new().spawn(move || exchange(&socket, &*clone))
        });
        if let Err(error) = thread {
            report(&error);
            thread::sleep(PAUSE);
        }
        while Arc::strong_count(&handler) > MAX_CONNECTIONS {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Reads one request and responds to it. The caller ignores the error, which only says how the connection ended.
fn exchange(
    mut socket: &TcpStream,
    handler: impl Fn(&Request<Vec<u8>>) -> Response<String>,
) -> io::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let (mut bytes, mut response) = (Vec::new(), Response::default());
    loop {
        match parse(&bytes) {
            Ok(Some(request)) => break response = handler(&request),
            Ok(None) => read(socket, deadline, &mut bytes)?,
            Err(StatusCode::CONTINUE) => {
                socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                read(socket, deadline, &mut bytes)?;
            }
            Err(status) => break *response.status_mut() = status,
        }
    }
    let mut text = format!("HTTP/1.0 {}\r\n", response.status());
    for (name, value) in response.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.write_all(format!("{text}\r\n{}", response.body()).as_bytes())?;
    socket.shutdown(Shutdown::Write)?;
    // Discards up to 1 MiB. A client whose bytes are unread when the connection is closed can lose the response.
    (0..256).try_for_each(|_| read(socket, deadline, &mut Vec::new()))
}

/// Appends up to 4 KiB. Fails at the end of what the client sends, and after the deadline, since a timeout of zero
/// cannot be set.
fn read(mut socket: &TcpStream, deadline: Instant, bytes: &mut Vec<u8>) -> io::Result<()> {
    socket.set_read_timeout(Some(deadline.saturating_duration_since(Instant::now())))?;
    let mut buffer = [0; 4 << 10];
    match socket.read(&mut buffer)? {
        0 => return Err(ErrorKind::UnexpectedEof.into()),
        count => bytes.extend(buffer.iter().take(count)),
    }
    Ok(())
}

/// Parses a request. Returns `None` if it is incomplete. Fails with the status of a refusal, or 100 if the client waits
/// for it.
fn parse(bytes: &[u8]) -> Result<Option<Request<Vec<u8>>>, StatusCode> {
    let bad = |_| StatusCode::BAD_REQUEST;
    let mut reader = Reply::new().map_err(bad)?;
    let start = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let (length, head) = reader.try_request(start).map_err(bad)?;
    if head.is_none() && start.len() == MAX_HEAD {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let Some(head) = head else { return Ok(None) };
    let rest = bytes.get(length..).unwrap_or_default();
    if announced(&head)?.max(rest.len()) > MAX_BODY {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let mut reader = match reader.proceed() {
        Some(RecvRequestResult::RecvBody(reader)) => reader,
        Some(RecvRequestResult::Send100(_)) if rest.is_empty() => return Err(StatusCode::CONTINUE),
        Some(RecvRequestResult::Send100(reader)) => reader.accept(&mut [0; 32]).map_err(bad)?.1,
        _ => return Ok(Some(head.map(|()| Vec::new()))),
    };
    let mut body = vec![0; rest.len()];
    let (_, length) = reader.read(rest, &mut body).map_err(bad)?;
    body.truncate(length);
    Ok(reader.is_ended().then(|| head.map(|()| body)))
}

/// Returns the length of the body, or 0 if it is chunked. Refuses methods other than GET and POST, and lengths that are
/// missing or that a proxy could read differently.
fn announced(head: &Request<()>) -> Result<usize, StatusCode> {
    let values = |name| Vec::from_iter(head.headers().get_all(name));
    let bad = StatusCode::BAD_REQUEST;
    match (&*values("content-length"), &*values("transfer-encoding")) {
        _ if !["GET", "POST"].contains(&head.method().as_str()) => Err(StatusCode::NOT_IMPLEMENTED),
        ([], []) if head.method() == "GET" => Ok(0),
        ([value], []) => value.to_str().unwrap_or_default().parse().map_err(|_| bad),
        ([], [value]) if *value == "chunked" && head.version() == Version::HTTP_11 => Ok(0),
        _ => Err(bad),
    }
}

/// Verifies and decrypts a notification of any kind.
pub(crate) fn open(
    receiver: &NotificationReceiver,
    request: &Request<Vec<u8>>,
) -> Result<Notification, NotificationError> {
    let headers = SignatureHeaders::from_pairs(request.headers())?;
    receiver.open(&headers, request.body(), SystemTime::now())
}

/// Makes an HTTP response of a reply.
pub(crate) fn response(reply: &NotificationReply) -> Response<String> {
    let mut response = Response::builder().status(reply.status());
    for (name, value) in reply.headers() {
        response = response.header(name, value);
    }
    response.body(reply.body().to_owned()).unwrap_or_default()
}
