//! Sends one HTTP POST to a loopback address, for notifications.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use httparse::{EMPTY_HEADER, Status};

use super::socket::Socket;

/// The interval at which a pending connection checks whether it is still wanted.
const CONNECT_INTERVAL: Duration = Duration::from_millis(250);
/// The most bytes that are read of a response's head, and of its body.
const RESPONSE_LIMIT: usize = 64 * 1024;

/// A URL on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    address: SocketAddr,
    authority: String,
    path: String,
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
        is_usable.then(|| Self {
            address,
            authority: authority.to_owned(),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
        })
    }
}

/// Sends `body` and returns the status of the response. Fails with [`ErrorKind::TimedOut`] if the request is no longer
/// wanted.
pub(crate) fn post(
    target: &Target,
    headers: &[(String, String)],
    body: &[u8],
    is_wanted: impl Fn() -> bool,
) -> io::Result<u16> {
    let socket = Socket::new(connect(target.address, &is_wanted)?)?;
    let (path, authority, length) = (&target.path, &target.authority, body.len());
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!(
        "Content-Length: {length}\r\nConnection: close\r\n\r\n"
    ));
    socket.write(&[request.as_bytes(), body].concat(), &is_wanted)?;
    let mut response = Vec::new();
    loop {
        let read = socket.read(&mut response, &is_wanted)?;
        if let Some(status) = parse(&response, read == 0)? {
            return Ok(status);
        }
    }
}

fn connect(address: SocketAddr, is_wanted: impl Fn() -> bool) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect_timeout(&address, CONNECT_INTERVAL) {
            Err(error) if error.kind() == ErrorKind::TimedOut && is_wanted() => {}
            done => return done,
        }
    }
}

/// Returns the status when the body has arrived completely or up to the limit. Closing the
/// connection earlier would cut off a receiver that still writes.
fn parse(response: &[u8], is_ended: bool) -> io::Result<Option<u16>> {
    let mut headers = [EMPTY_HEADER; 100];
    let mut parsed = httparse::Response::new(&mut headers);
    let head = match parsed.parse(response) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if is_ended => {
            return Err(io::Error::other("closed without a response"));
        }
        Ok(Status::Partial) if response.len() <= RESPONSE_LIMIT => return Ok(None),
        _ => return Err(io::Error::other("not an HTTP response")),
    };
    let status = parsed.code.unwrap_or_default();
    let announced = parsed
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    let wanted = match status {
        204 | 304 => 0,
        _ => announced.unwrap_or(usize::MAX).min(RESPONSE_LIMIT),
    };
    let is_whole = is_ended || response.len() - head >= wanted;
    Ok(is_whole.then_some(status))
}
