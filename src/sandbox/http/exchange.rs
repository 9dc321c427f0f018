//! One exchange after the other on a connection of the sandbox: the request is read, handled and answered as ordered.

use std::io::{self, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tiny_http::{Method, Request};

use super::connection::Connection;
use super::message::{Delivery, HttpReply, HttpRequest, push_header, status_line};
use super::{Shared, lock};

/// The largest request body that is read, in bytes; a larger one is answered with 413.
pub(super) const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// Above this declared length, in bytes, a request is never dropped: tiny_http would allocate what was not read of
/// the body in one piece, and a failed allocation ends the process.
const DROP_LIMIT: usize = 1024 * 1024 * 1024;

/// Up to this size, in bytes, head and body leave in one write.
const JOIN_LIMIT: usize = 64 * 1024;

/// Handles the requests of one connection in turn.
pub(super) fn work(shared: &Shared, connection: &Connection, requests: Receiver<Request>) {
    for mut request in requests {
        if !connection.is_over() {
            answer(shared, connection, &mut request);
        }
        release(request);
    }
}

fn answer(shared: &Shared, connection: &Connection, request: &mut Request) {
    connection.change(|state| state.in_call = true);
    let head_only = *request.method() == Method::Head;
    let reply = match read_request(connection, request) {
        Ok(request) => catch_unwind(AssertUnwindSafe(|| (shared.handler)(request)))
            .unwrap_or_else(|_| HttpReply::new(500, "")),
        Err(status) => {
            connection.change(|state| state.lingers = true);
            HttpReply::new(status, "").delivery(Delivery::WholeThenClose)
        }
    };
    let sent = deliver(connection, &reply, head_only);
    connection.end_call();
    match sent {
        Ok(Then::Keep) => {}
        Ok(Then::Close) if !is_undroppable(request) => {
            connection.change(|state| state.over = true);
            connection.finish();
        }
        Ok(Then::Close) | Err(_) => connection.close(),
    }
}

/// Reads a request to its end, or says with which status it is refused.
fn read_request(connection: &Connection, request: &mut Request) -> Result<HttpRequest, u16> {
    let mut read = HttpRequest {
        method: request.method().to_string(),
        target: request.url().to_owned(),
        headers: request
            .headers()
            .iter()
            .map(|header| (header.field.to_string(), header.value.to_string()))
            .collect(),
        body: Vec::new(),
    };
    let declared = request.body_length();
    let wanted = match declared {
        Some(length) if length > BODY_LIMIT => return Err(413),
        Some(length) => length,
        None if read.header("transfer-encoding").is_some() => BODY_LIMIT + 1,
        None => return Ok(read),
    };
    if read.header("expect").is_some() {
        let before = lock(&connection.state).passed_back;
        let _ = request.as_reader(); // asks for the body
        connection.wait_passed_back(before);
    }
    let most = u64::try_from(wanted).unwrap_or(u64::MAX);
    let mut body = request.as_reader().take(most);
    body.read_to_end(&mut read.body).map_err(|_| 400_u16)?;
    if read.body.len() > BODY_LIMIT {
        return Err(413);
    }
    let complete = match declared {
        Some(declared) => declared == read.body.len(),
        // tiny_http does not say whether the last chunk came. After a client's early end it is doubtful.
        None => !lock(&connection.state).client_ended,
    };
    if complete { Ok(read) } else { Err(400) }
}

/// What becomes of the connection after an answer.
enum Then {
    Keep,
    Close,
}

/// Sends an answer as it is to be sent. After an error the connection is of no use.
fn deliver(connection: &Connection, reply: &HttpReply, head_only: bool) -> io::Result<Then> {
    let head = reply.head();
    let body = if head_only { &[] } else { &*reply.body };
    match &reply.delivery {
        Delivery::Whole => whole(connection, head, body)?,
        Delivery::After(time) => {
            pause(connection, *time)?;
            whole(connection, head, body)?;
        }
        Delivery::Drip { every } => drip(connection, head, body, *every)?,
        Delivery::Informational(status) => {
            let mut early = status_line(*status);
            push_header(&mut early, "x-sandbox", b"informational");
            early.extend_from_slice(b"\r\n");
            connection.write(&early)?;
            whole(connection, head, body)?;
        }
        Delivery::Chunked => {
            let chunked = if head_only { Vec::new() } else { chunks(body) };
            whole(connection, head, &chunked)?;
        }
        Delivery::CloseBeforeAnswer => return Ok(Then::Close),
        Delivery::CloseAfterHead => return close_after(connection, head, &[]),
        Delivery::CutBody { after } => {
            let part = body.get(..*after).unwrap_or(body);
            return close_after(connection, head, part);
        }
        Delivery::WholeThenClose => return close_after(connection, head, body),
        Delivery::Raw(bytes) => return close_after(connection, Vec::new(), bytes),
    }
    Ok(Then::Keep)
}

fn close_after(connection: &Connection, head: Vec<u8>, body: &[u8]) -> io::Result<Then> {
    whole(connection, head, body)?;
    Ok(Then::Close)
}

fn whole(connection: &Connection, mut head: Vec<u8>, body: &[u8]) -> io::Result<()> {
    connection.end_call();
    if body.len() > JOIN_LIMIT {
        connection.write(&head)?;
        return connection.write(body);
    }
    head.extend_from_slice(body);
    connection.write(&head)
}

fn drip(connection: &Connection, head: Vec<u8>, body: &[u8], every: Duration) -> io::Result<()> {
    let Some((last, others)) = body.split_last() else {
        return whole(connection, head, body);
    };
    connection.write(&head)?;
    for byte in others {
        pause(connection, every)?;
        connection.write(&[*byte])?;
    }
    pause(connection, every)?;
    connection.end_call();
    connection.write(&[*last])
}

fn pause(connection: &Connection, time: Duration) -> io::Result<()> {
    if connection.pause(time) {
        Ok(())
    } else {
        Err(ErrorKind::ConnectionAborted.into())
    }
}

fn chunks(body: &[u8]) -> Vec<u8> {
    let mut chunked = Vec::with_capacity(body.len() + 64);
    for chunk in body.chunks(body.len().div_ceil(3).max(1)) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    chunked
}

/// Gives a request back to tiny_http, without the answer 500 that dropping it would send.
pub(super) fn release(request: Request) {
    if is_undroppable(&request) {
        // Costs a parked thread of tiny_http's; see DROP_LIMIT.
        std::mem::forget(request);
    } else {
        drop(request.into_writer());
    }
}

fn is_undroppable(request: &Request) -> bool {
    request
        .body_length()
        .is_some_and(|length| length > DROP_LIMIT)
}
