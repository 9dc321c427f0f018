//! Reads HTTP/1.0 and HTTP/1.1 requests from a connection, within limits.
//!
//! httparse parses the syntax. It is already a dependency of ureq, and it returns names, values and target byte for byte.
//! ureq-proto's `server` is not used, because it builds on the crate `http`, which changes the case of names and refuses
//! the malformed responses that fault injection needs.

use std::io::{self, BufRead, ErrorKind, Read};

use httparse::{EMPTY_HEADER, Error, Status};

use super::message::HttpRequest;

/// The longest request line, in bytes. Beyond it the status is 414.
pub(super) const LINE_LIMIT: usize = 16 * 1024;
/// The longest head, in bytes, and the most headers. Beyond them the status is 431.
pub(super) const HEAD_LIMIT: usize = 64 * 1024;
pub(super) const HEADERS_LIMIT: usize = 100;
/// The largest body, in bytes. Beyond it the status is 413.
pub(super) const BODY_LIMIT: u64 = 8 * 1024 * 1024;
/// The longest line between chunks and after them, in bytes.
const CHUNK_LINE_LIMIT: u64 = 1024;

/// The status with which a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) u16);

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self(match error.kind() {
            ErrorKind::TimedOut => 408,
            _ => 400,
        })
    }
}

/// Reads a request. Returns `None` if the connection ends or is not wanted any more before a request begins. Calls `go_on`
/// if the client expects `100 Continue` before it sends the body.
pub(super) fn read_request(
    reader: &mut impl BufRead,
    go_on: impl FnOnce(),
) -> Result<Option<HttpRequest>, Refused> {
    if !matches!(reader.fill_buf(), Ok([_, ..])) {
        return Ok(None);
    }
    let mut request = read_head(reader)?;
    let length = body_length(&request)?;
    if request.header("expect").is_some() {
        go_on();
    }
    match length {
        Some(length) => read_exactly(reader, length, &mut request.body)?,
        None => read_chunks(reader, &mut request.body)?,
    }
    Ok(Some(request))
}

/// Reads a head, and parses it after each piece, so that an endless one is refused early.
fn read_head(reader: &mut impl BufRead) -> Result<HttpRequest, Refused> {
    let mut head = Vec::new();
    loop {
        let (before, piece) = (head.len(), reader.fill_buf()?);
        if piece.is_empty() {
            return Err(Refused(400));
        }
        head.extend_from_slice(piece);
        let parsed = parse_head(&head)?;
        let length = parsed.as_ref().map_or(head.len(), |(length, _)| *length);
        reader.consume(length - before);
        if let Some((_, request)) = parsed {
            return Ok(request);
        }
    }
}

/// Parses a head. Returns its length and the request without its body, or `None` as long as the head is incomplete.
fn parse_head(buffer: &[u8]) -> Result<Option<(usize, HttpRequest)>, Refused> {
    let line = buffer.split(|byte| *byte == b'\n').next().unwrap_or(buffer);
    let version = line.split(|byte| *byte == b' ').nth(2).unwrap_or_default();
    let mut headers = [EMPTY_HEADER; HEADERS_LIMIT];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(buffer) {
        _ if line.len() > LINE_LIMIT => return Err(Refused(414)),
        // httparse skips empty lines.
        _ if matches!(line, [] | [b'\r', ..]) => return Err(Refused(400)),
        Ok(Status::Complete(length)) if length <= HEAD_LIMIT => length,
        Ok(Status::Partial) if buffer.len() <= HEAD_LIMIT => return Ok(None),
        Ok(_) | Err(Error::TooManyHeaders) => return Err(Refused(431)),
        Err(Error::Version) if version.starts_with(b"HTTP/") => return Err(Refused(505)),
        Err(_) => return Err(Refused(400)),
    };
    // httparse accepts a line feed alone as the end of a line. Other programs may not.
    let lines = buffer.split_inclusive(|byte| *byte == b'\n');
    let is_whole = |line: &[u8]| line.ends_with(b"\r\n");
    if !lines.take(parsed.headers.len() + 2).all(is_whole) {
        return Err(Refused(400));
    }
    let text = |value| String::from_utf8_lossy(value).into_owned();
    let pairs = parsed.headers.iter();
    let request = HttpRequest {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        is_http_1_0: parsed.version == Some(0),
        headers: pairs
            .map(|header| (header.name.to_owned(), text(header.value)))
            .collect(),
        body: Vec::new(),
    };
    Ok(Some((length, request)))
}

/// Returns the length of the body, or `None` if it is chunked. Refuses a head that another program might interpret
/// differently (request smuggling).
fn body_length(request: &HttpRequest) -> Result<Option<u64>, Refused> {
    let lengths: Vec<_> = request.header_all("content-length").collect();
    let codings: Vec<_> = request.header_all("transfer-encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Some(0)),
        ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) && !length.is_empty() => {
            let length = length.parse().ok().filter(|length| *length <= BODY_LIMIT);
            length.map(Some).ok_or(Refused(413))
        }
        ([], [_]) if request.is_http_1_0 => Err(Refused(400)),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(None),
        ([], [_]) => Err(Refused(501)),
        _ => Err(Refused(400)),
    }
}

/// Reads this number of bytes and appends them to `body`.
fn read_exactly(reader: impl Read, length: u64, body: &mut Vec<u8>) -> Result<(), Refused> {
    let mut reader = reader.take(length);
    reader.read_to_end(body)?;
    (reader.limit() == 0).then_some(()).ok_or(Refused(400))
}

/// Reads chunks up to the last one and appends them to `body`. The trailers are ignored.
fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Result<(), Refused> {
    let mut left = BODY_LIMIT;
    loop {
        let line = read_line(reader)?;
        let size = match httparse::parse_chunk_size(&line) {
            // httparse reads a line without any digit as 0.
            Ok(Status::Complete((_, size))) if line.first().is_some_and(u8::is_ascii_hexdigit) => {
                size
            }
            _ => return Err(Refused(400)),
        };
        if size == 0 {
            break;
        }
        left = left.checked_sub(size).ok_or(Refused(413))?;
        read_exactly(&mut *reader, size, body)?;
        if read_line(reader)? != b"\r\n" {
            return Err(Refused(400));
        }
    }
    for _ in 0..=HEADERS_LIMIT {
        if read_line(reader)? == b"\r\n" {
            return Ok(());
        }
    }
    Err(Refused(431))
}

/// Reads a line with its end.
fn read_line(reader: &mut impl BufRead) -> Result<Vec<u8>, Refused> {
    let mut line = Vec::new();
    let mut reader = reader.take(CHUNK_LINE_LIMIT);
    reader.read_until(b'\n', &mut line)?;
    line.ends_with(b"\r\n").then_some(line).ok_or(Refused(400))
}
