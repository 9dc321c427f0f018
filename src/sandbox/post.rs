//! One HTTP POST to a loopback address, for notifications: it can be given up from another thread at any moment.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::InvalidField;

/// The longest wait for a connection before looking whether it is still wanted.
const CONNECT_PATIENCE: Duration = Duration::from_millis(250);
/// An answer's head is no longer than this, in bytes, and no more than that is read of its body.
const ANSWER_LIMIT: usize = 64 * 1024;

/// A URL on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    address: SocketAddr,
    authority: String,
    path: String,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, InvalidField> {
        let refuse = || {
            let problem =
                format!("found {url:?}: wanted http://, a loopback address, a port and a path");
            InvalidField::new("notify_url", problem)
        };
        let rest = url.strip_prefix("http://").ok_or_else(refuse)?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(slash).ok_or_else(refuse)?;
        let address = match authority.strip_prefix("localhost:") {
            Some(port) => port
                .parse()
                .map(|port| (Ipv4Addr::LOCALHOST, port).into())
                .ok(),
            None => authority.parse().ok(),
        };
        let address = address.filter(|address: &SocketAddr| address.ip().is_loopback());
        let is_path = |path: &str| path.bytes().all(|byte| byte.is_ascii_graphic());
        Ok(Self {
            address: address.ok_or_else(refuse)?,
            authority: authority.to_owned(),
            path: match path {
                "" => "/".to_owned(),
                _ if is_path(path) => path.to_owned(),
                _ => return Err(refuse()),
            },
        })
    }
}

/// The connection of a POST under way.
#[derive(Default)]
pub(super) struct Line {
    stream: Mutex<Stream>,
}

#[derive(Default)]
struct Stream {
    open: Option<TcpStream>,
    cut: bool,
}

impl Line {
    /// Ends the POST under way, and any later one.
    pub(super) fn cut(&self) {
        let mut stream = self.stream();
        stream.cut = true;
        if let Some(open) = stream.open.take() {
            let _ = open.shutdown(Shutdown::Both);
        }
    }

    /// Sends `body` and gives the status of the answer, which has to be there within `limit`.
    pub(super) fn post(
        &self,
        target: &Target,
        headers: &[(String, String)],
        body: &[u8],
        limit: Duration,
    ) -> io::Result<u16> {
        let deadline = Instant::now() + limit;
        let mut stream = self.connect(target.address, deadline)?;
        stream.set_write_timeout(Some(time_left(deadline)?))?;
        stream.write_all(&request(target, headers, body))?;
        let status = read_answer(&mut stream, deadline);
        self.stream().open = None;
        status
    }

    fn connect(&self, address: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
        loop {
            if self.stream().cut {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            let patience = time_left(deadline)?.min(CONNECT_PATIENCE);
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => return self.keep(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn keep(&self, stream: TcpStream) -> io::Result<TcpStream> {
        stream.set_nodelay(true)?;
        let mut kept = self.stream();
        if kept.cut {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        kept.open = Some(stream.try_clone()?);
        Ok(stream)
    }

    fn stream(&self) -> std::sync::MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request(target: &Target, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\n",
        target.path, target.authority
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!(
        "Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    ));
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    request
}

/// Reads the head, and the body as far as it comes, so that the receiver is not cut off while it writes.
fn read_answer(stream: &mut TcpStream, deadline: Instant) -> io::Result<u16> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(status) = complete(&answer)? {
            return Ok(status);
        }
        stream.set_read_timeout(Some(time_left(deadline)?))?;
        let read = match stream.read(&mut piece) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        if read == 0 {
            let ended = || io::Error::new(ErrorKind::UnexpectedEof, "closed without an answer");
            return head_of(&answer)
                .and_then(|(head, _)| status_of(head))
                .ok_or_else(ended);
        }
        answer.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
}

/// The status, when everything that is announced is there.
fn complete(answer: &[u8]) -> io::Result<Option<u16>> {
    let Some((head, body)) = head_of(answer) else {
        return match answer.len() {
            0..=ANSWER_LIMIT => Ok(None),
            _ => Err(ErrorKind::InvalidData.into()),
        };
    };
    let status = status_of(head).ok_or(ErrorKind::InvalidData)?;
    let bodiless = matches!(status, 204 | 304);
    let announced = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let is_whole = announced.is_some_and(|length| body.len() >= length.min(ANSWER_LIMIT));
    let is_whole = is_whole || bodiless || body.len() > ANSWER_LIMIT;
    Ok(is_whole.then_some(status))
}

fn head_of(answer: &[u8]) -> Option<(&str, &[u8])> {
    let end = answer.windows(4).position(|here| here == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end + 4)?;
    Some((std::str::from_utf8(head).ok()?, body))
}

fn status_of(head: &str) -> Option<u16> {
    let rest = head.strip_prefix("HTTP/1.")?;
    rest.split(' ').nth(1)?.trim().parse().ok()
}

fn time_left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}
