//! Sends one HTTP POST to a loopback address, for notifications.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use httparse::{EMPTY_HEADER, Status};

use super::socket::{Socket, prepare};

/// The timeout of one attempt to connect. Further attempts follow: a receiver whose backlog is full ignores the first ones.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
/// The most bytes that are read of a response.
const RESPONSE_LIMIT: u64 = 64 * 1024;

/// A URL on loopback.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    /// The request line and the header `Host`.
    start: String,
}

impl Target {
    /// Parses `http://`, a loopback address, a port and a path.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address: SocketAddr = match authority.strip_prefix("localhost:") {
            Some(port) => (Ipv4Addr::LOCALHOST, port.parse().ok()?).into(),
            None => authority.parse().ok()?,
        };
        let is_usable = address.ip().is_loopback() && path.bytes().all(|b| b.is_ascii_graphic());
        let path = if path.is_empty() { "/" } else { path };
        let start = format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\n");
        is_usable.then_some(Self { address, start })
    }
}

/// Sends `body` and returns the status of the response. Fails with [`ErrorKind::TimedOut`] if the request is
/// no longer wanted.
pub(crate) fn post(
    target: &Target,
    headers: &[(String, String)],
    body: &[u8],
    is_wanted: impl Fn() -> bool,
) -> io::Result<u16> {
    let stream = connect(target.address, &is_wanted)?;
    prepare(&stream)?;
    let mut socket = Socket(&stream, is_wanted);
    let mut head = target.start.clone();
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let end = format!(
        "Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(&[head.as_bytes(), end.as_bytes(), body].concat())?;
    let mut reader = BufReader::new(socket).take(RESPONSE_LIMIT);
    let mut head = Vec::new();
    while !head.ends_with(b"\n\r\n") && !head.ends_with(b"\n\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Err(io::Error::other("closed without a response"));
        }
    }
    let mut headers = [EMPTY_HEADER; 100];
    let mut parsed = httparse::Response::new(&mut headers);
    let (Ok(Status::Complete(_)), Some(status)) = (parsed.parse(&head), parsed.code) else {
        return Err(io::Error::other("not an HTTP response"));
    };
    let mut headers = parsed.headers.iter();
    let length = headers.find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|length| std::str::from_utf8(length.value).ok()?.parse().ok());
    let without_length = if status == 204 { 0 } else { RESPONSE_LIMIT };
    // Closing the connection earlier would cut off a receiver that still writes.
    io::copy(
        &mut reader.take(length.unwrap_or(without_length)),
        &mut io::sink(),
    )?;
    Ok(status)
}

fn connect(address: SocketAddr, is_wanted: impl Fn() -> bool) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Err(error) if error.kind() == ErrorKind::TimedOut && is_wanted() => {}
            done => return done,
        }
    }
}
