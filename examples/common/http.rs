//! A blocking HTTP server with the limits that a receiver of notifications needs (head, body, time, connections). It
//! opens requests as notifications, and turns replies into HTTP responses.
//!
//! hyper reads and writes HTTP on blocking sockets. Each connection has a thread and carries one request.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{self, ReadBufCursor};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use wechatpay_contract::{
    Notification, NotificationError, NotificationReceiver, NotificationReply, SignatureHeaders,
};

use crate::common::report;

/// The longest head and the longest body in bytes.
const MAX_HEAD: usize = 8 << 10;
const MAX_BODY: usize = 16 << 10;
/// The timeout of a whole request, head and body, even if it arrives byte by byte. Also the timeout of each write.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Each connection needs a thread, a file descriptor and up to 100 KiB.
const MAX_CONNECTIONS: usize = 512;
/// The time until the next attempt to accept a connection, if there is no room for it.
const PAUSE: Duration = Duration::from_millis(1);

/// Serves forever. `respond` takes each request with its body, exactly as received.
pub(crate) fn serve(
    address: SocketAddr,
    respond: impl Fn(&Request<Bytes>) -> Response<String> + Send + Sync + 'static,
) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    // Each connection has a clone, and drops it even if it panics.
    let respond = Arc::new(respond);
    for socket in listener.incoming() {
        let respond_here = Arc::clone(&respond);
        let thread =
            |socket| thread::Builder::new().spawn(move || exchange(socket, &*respond_here));
        if let Err(error) = socket.and_then(thread) {
            report(&error);
            thread::sleep(PAUSE);
        }
        while Arc::strong_count(&respond) > MAX_CONNECTIONS {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Reads one request and responds to it. Errors are the client's.
fn exchange(socket: TcpStream, respond: impl Fn(&Request<Bytes>) -> Response<String>) {
    let service = service_fn(async |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        Ok::<_, Infallible>(match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => respond(&Request::from_parts(head, body.to_bytes())),
            Err(error) => response(&NotificationReply::failure(&error.to_string())),
        })
    });
    let deadline = Instant::now() + TIMEOUT;
    let mut http = http1::Builder::new();
    // With `half_close`, hyper does not read on before it has responded. Such a read would block.
    http.keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEAD);
    let mut connection = pin!(http.serve_connection(Blocking { socket, deadline }, service));
    let mut context = Context::from_waker(Waker::noop());
    while connection.as_mut().poll(&mut context).is_pending() {}
}

/// A socket whose reads and writes block. The reads fail after the deadline.
struct Blocking {
    socket: TcpStream,
    deadline: Instant,
}

impl rt::Read for Blocking {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // Fails if no time is left.
        self.socket.set_read_timeout(Some(left))?;
        let mut buffer = [0; 1024];
        let length = buffer.len().min(cursor.remaining());
        let count = (&self.socket).read(buffer.get_mut(..length).unwrap_or_default())?;
        cursor.put_slice(buffer.get(..count).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Blocking {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket.set_write_timeout(Some(TIMEOUT))?;
        Poll::Ready((&self.socket).write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(Shutdown::Write))
    }
}

/// Verifies and decrypts a notification of any kind.
pub(crate) fn open(
    receiver: &NotificationReceiver,
    request: &Request<Bytes>,
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
