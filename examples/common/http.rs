//! A blocking HTTP server with the limits that a receiver of notifications needs (head, body, time, connections). It
//! opens requests as notifications, and turns replies into HTTP responses.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use oxhttp::Server;
use oxhttp::model::{Body, Request, Response, Version};
use wechatpay_contract::{
    Notification, NotificationError, NotificationReceiver, NotificationReply, SignatureHeaders,
};

/// The longest body in bytes. The server itself limits a head to 8 KiB.
const MAX_BODY: usize = 16 << 10;
/// The timeout of each read and write, and of a whole body. A head that arrives byte by byte can take longer: let a reverse
/// proxy limit it.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Each connection needs a thread, two file descriptors and up to 100 KiB.
const MAX_CONNECTIONS: usize = 512;

/// Serves forever. `respond` takes each request and its body, exactly as received.
pub(crate) fn serve(
    address: SocketAddr,
    respond: impl Fn(&Request<Body>, &[u8]) -> Response<Body> + Send + Sync + 'static,
) -> io::Result<()> {
    let server = Server::new(move |request| {
        let mut response = match read(request.body_mut()) {
            Ok(body) => respond(request, &body),
            Err(error) => response(&NotificationReply::failure(&error.to_string())),
        };
        // One request per connection, as in HTTP/1.0. The rest of a body, or a second request, is never read.
        *request.body_mut() = Body::empty();
        *request.version_mut() = Version::HTTP_10;
        *response.version_mut() = Version::HTTP_10;
        response
    });
    let server = server.bind(address).with_global_timeout(TIMEOUT);
    let server = server.with_max_concurrent_connections(MAX_CONNECTIONS);
    server.spawn()?.join()
}

fn read(body: &mut Body) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + TIMEOUT;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while bytes.len() <= MAX_BODY && Instant::now() < deadline {
        match body.read(&mut buffer)? {
            0 => return Ok(bytes),
            count => bytes.extend(buffer.iter().take(count)),
        }
    }
    Err(io::Error::other("the body is too long or too slow"))
}

/// Verifies and decrypts a notification of any kind.
pub(crate) fn open(
    receiver: &NotificationReceiver,
    request: &Request<Body>,
    body: &[u8],
) -> Result<Notification, NotificationError> {
    let headers = SignatureHeaders::from_pairs(request.headers())?;
    receiver.open(&headers, body, SystemTime::now())
}

/// Makes an HTTP response of a reply.
pub(crate) fn response(reply: &NotificationReply) -> Response<Body> {
    let mut response = Response::builder().status(reply.status());
    for (name, value) in reply.headers() {
        response = response.header(name, value);
    }
    let body = Body::from(reply.body().to_owned());
    response.body(body).unwrap_or_default()
}
