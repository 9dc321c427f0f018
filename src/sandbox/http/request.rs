//! Reads HTTP/1.0 and HTTP/1.1 requests from a connection, within limits.
//!
//! httparse parses the syntax. It is already a dependency of ureq, it returns names, values and target byte for byte, and
//! it does not write responses, so that the sandbox can send malformed ones. ureq-proto's `server` builds on the crate
//! `http`, which changes the case of names and refuses to send what fault injection needs.

use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Status};

use super::message::HttpRequest;
use super::socket::Socket;

/// The longest request line, in bytes. Beyond it the status is 414.
pub(super) const LINE_LIMIT: usize = 16 * 1024;
/// The longest head, in bytes, and the most headers. Beyond them the status is 431.
pub(super) const HEAD_LIMIT: usize = 64 * 1024;
pub(super) const HEADERS_LIMIT: usize = 100;
/// The largest body, in bytes. Beyond it the status is 413.
pub(super) const BODY_LIMIT: usize = 8 * 1024 * 1024;
/// The longest chunk-size line, in bytes.
const CHUNK_LINE_LIMIT: usize = 1024;
/// The time within which a request must arrive, counted from the previous response. After it an idle connection is
/// closed, and an incomplete request is refused with 408.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The reason why no request was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The connection is idle and is closed, or will be closed.
    Ended,
    /// The request is refused with this status.
    Refused(u16),
}

use Unread::{Ended, Refused};

/// The requests of one connection.
pub(super) struct Requests<'a, W> {
    socket: &'a Socket,
    /// Returns `true` as long as the server wants requests.
    is_wanted: W,
    patience: Duration,
    buffer: Vec<u8>,
    /// The number of bytes of the buffer that are already parsed.
    used: usize,
    deadline: Instant,
    has_begun: bool,
}

impl<'a, W: Fn() -> bool> Requests<'a, W> {
    pub(super) fn new(socket: &'a Socket, patience: Duration, is_wanted: W) -> Self {
        Self {
            socket,
            is_wanted,
            patience,
            buffer: Vec::new(),
            used: 0,
            deadline: Instant::now(),
            has_begun: false,
        }
    }

    /// Reads the next request. Calls `go_on` if the client expects `100 Continue` before it sends the body.
    pub(super) fn next(&mut self, go_on: impl FnOnce()) -> Result<HttpRequest, Unread> {
        self.deadline = Instant::now() + self.patience;
        self.has_begun = !self.unused().is_empty();
        let mut request = self.parsed(parse_head)?;
        let length = body_length(&request).map_err(Refused)?;
        if request.header("expect").is_some() {
            go_on();
        }
        request.body = match length {
            Some(length) => self.bytes(length)?,
            None => self.chunked()?,
        };
        Ok(request)
    }

    /// Reads until the parser returns a value and its length, or fails with a status.
    fn parsed<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<Option<(usize, T)>, u16>,
    ) -> Result<T, Unread> {
        loop {
            if let Some((length, value)) = parse(self.unused()).map_err(Refused)? {
                self.used += length;
                return Ok(value);
            }
            self.fill()?;
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Unread> {
        self.parsed(|buffer| Ok(buffer.get(..length).map(|bytes| (length, bytes.to_vec()))))
    }

    fn chunked(&mut self) -> Result<Vec<u8>, Unread> {
        let mut body = Vec::new();
        loop {
            let length = self.parsed(parse_chunk_size)?;
            if length == 0 {
                self.parsed(parse_trailers)?;
                return Ok(body);
            }
            if length > BODY_LIMIT - body.len() {
                return Err(Refused(413));
            }
            body.extend(self.bytes(length)?);
            if self.bytes(2)? != b"\r\n" {
                return Err(Refused(400));
            }
        }
    }

    fn unused(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    fn fill(&mut self) -> Result<(), Unread> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let deadline = self.deadline;
        let is_wanted = || (self.is_wanted)() && Instant::now() < deadline;
        let read = self.socket.read(&mut self.buffer, is_wanted);
        let has_begun = self.has_begun && (self.is_wanted)();
        match read {
            Ok(1..) => self.has_begun = true,
            Ok(0) if has_begun => return Err(Refused(400)),
            Err(_) if has_begun && Instant::now() >= deadline => return Err(Refused(408)),
            _ => return Err(Ended),
        }
        Ok(())
    }
}

/// Parses a head. Returns its length and the request without its body, or `None` as long as the head is incomplete.
fn parse_head(buffer: &[u8]) -> Result<Option<(usize, HttpRequest)>, u16> {
    let line = buffer.split(|byte| *byte == b'\n').next().unwrap_or(buffer);
    if line.len() > LINE_LIMIT {
        return Err(414);
    }
    if matches!(buffer.first(), Some(b'\r' | b'\n')) {
        return Err(400);
    }
    let mut headers = [EMPTY_HEADER; HEADERS_LIMIT];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(buffer) {
        Ok(Status::Complete(length)) if length <= HEAD_LIMIT => length,
        Ok(Status::Partial) if buffer.len() <= HEAD_LIMIT => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(431),
        Err(httparse::Error::Version) if names_a_version(line) => return Err(505),
        Err(_) => return Err(400),
    };
    // httparse accepts a line feed alone as the end of a line. Other programs may not.
    let head = buffer.get(..length).unwrap_or_default();
    if head
        .split_inclusive(|byte| *byte == b'\n')
        .any(|line| !line.ends_with(b"\r\n"))
    {
        return Err(400);
    }
    let header = |header: &httparse::Header<'_>| {
        let value = std::str::from_utf8(header.value).map_err(|_| 400_u16)?;
        Ok((header.name.to_owned(), value.to_owned()))
    };
    let request = HttpRequest {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        is_http_1_0: parsed.version == Some(0),
        headers: parsed
            .headers
            .iter()
            .map(header)
            .collect::<Result<_, u16>>()?,
        body: Vec::new(),
    };
    Ok(Some((length, request)))
}

/// Parses a chunk-size line.
fn parse_chunk_size(buffer: &[u8]) -> Result<Option<(usize, usize)>, u16> {
    match httparse::parse_chunk_size(buffer) {
        // httparse reads a line without any digit as 0.
        _ if !buffer.first().is_none_or(u8::is_ascii_hexdigit) => Err(400),
        Ok(Status::Complete((length, size))) => match usize::try_from(size) {
            Ok(size) => Ok(Some((length, size))),
            Err(_) => Err(413),
        },
        Ok(Status::Partial) if buffer.len() < CHUNK_LINE_LIMIT => Ok(None),
        _ => Err(400),
    }
}

/// Parses the trailers after the last chunk, which are ignored.
fn parse_trailers(buffer: &[u8]) -> Result<Option<(usize, ())>, u16> {
    match httparse::parse_headers(buffer, &mut [EMPTY_HEADER; HEADERS_LIMIT]) {
        Ok(Status::Complete((length, _))) => Ok(Some((length, ()))),
        Ok(Status::Partial) if buffer.len() < HEAD_LIMIT => Ok(None),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => Err(431),
        Err(_) => Err(400),
    }
}

/// Checks whether the request line, which may be incomplete, ends with an HTTP version.
fn names_a_version(line: &[u8]) -> bool {
    let last = line.split(|byte| *byte == b' ').nth(2);
    last.and_then(|last| last.strip_prefix(b"HTTP/"))
        .is_some_and(|version| version.first().is_some_and(u8::is_ascii_digit))
}

/// Returns the length of the body, or `None` if it is chunked. Refuses a head that another program might interpret
/// differently (request smuggling).
fn body_length(request: &HttpRequest) -> Result<Option<usize>, u16> {
    let lengths: Vec<_> = request.header_all("content-length").collect();
    let codings: Vec<_> = request.header_all("transfer-encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Some(0)),
        ([length], []) => {
            if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(400);
            }
            let length = length.parse().ok().filter(|length| *length <= BODY_LIMIT);
            length.map(Some).ok_or(413)
        }
        ([], [coding]) if !request.is_http_1_0 => match coding.eq_ignore_ascii_case("chunked") {
            true => Ok(None),
            false => Err(501),
        },
        _ => Err(400),
    }
}
