//! Makes connections: address, TCP, tunnel and TLS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, Transport,
};

use super::addresses::{Addresses, Lookup};
use super::failure::{labelled, plain};
use super::tcp::{BUFFER, BUFFER_BELOW_TLS, Limits, Tcp, is_timeout};

/// The longest time for connecting to one address while other addresses remain.
const MAX_SHARE: Duration = Duration::from_millis(300);

/// A resolver that returns no address. ureq asks it before every exchange, also on a pooled connection, which needs none.
/// [`Dialer`] looks the name up when a connection has to be made.
#[derive(Debug)]
pub(super) struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// Makes connections. It holds the TLS configuration, which the first connection creates.
pub(super) struct Dialer {
    addresses: Addresses,
    /// True if TCP connections are made to the proxy only.
    has_proxy: bool,
    tunnel: ConnectProxyConnector,
    tls: RustlsConnector,
}

/// A connection as ureq's transport, with TLS for `https`. Without the box, all of rustls would be compiled into each place
/// that holds or drops a connection.
pub(super) type Stack = Box<dyn Transport>;

impl Dialer {
    pub(super) fn new(lookup: Option<Lookup>, has_proxy: bool) -> Self {
        Self {
            addresses: lookup.map(Addresses::new).unwrap_or_default(),
            has_proxy,
            tunnel: ConnectProxyConnector::default(),
            tls: RustlsConnector::default(),
        }
    }

    /// Returns `true` if ureq asks for the TCP connection to the proxy, over which it then makes the tunnel.
    pub(super) fn is_for_proxy(&self, details: &ConnectionDetails<'_>) -> bool {
        self.has_proxy && details.config.proxy().is_none()
    }

    /// Makes the connection to the host, through the proxy if there is one.
    pub(super) fn dial(
        &self,
        details: &ConnectionDetails<'_>,
        limits: Limits,
    ) -> io::Result<Stack> {
        self.stack(details, limits).map_err(|error| {
            // The addresses may be outdated.
            let proxy = details.config.proxy();
            let (host, port) = target(proxy.map_or(details.uri, ureq::Proxy::uri));
            self.addresses.forget(host, port);
            within(limits.connect, error)
        })
    }

    fn stack(&self, details: &ConnectionDetails<'_>, limits: Limits) -> io::Result<Stack> {
        let stream = match Connector::<()>::connect(&self.tunnel, details, None) {
            Ok(Some(tunnel)) => tunnel.boxed(),
            Ok(None) => self.tcp(details, limits)?.boxed(),
            Err(error) => return Err(labelled("proxy", &in_words(plain(error)))),
        };
        let stack = self.tls.connect(details, Some(stream));
        let stack = stack.map_err(|error| labelled("TLS", &in_words(plain(error))))?;
        let stack = stack.ok_or(io::ErrorKind::NotConnected)?;
        Ok(stack.boxed())
    }

    /// Makes a TCP connection to the host, or to the proxy if ureq asks for it.
    pub(super) fn tcp(&self, details: &ConnectionDetails<'_>, limits: Limits) -> io::Result<Tcp> {
        let (host, port) = target(details.uri);
        let unusable = |error: io::Error| labelled(&format!("DNS lookup of {host}"), &error);
        let found = self.addresses.of(host, port, Instant::now());
        let found = found.map_err(|error| out_of_files().unwrap_or_else(|| unusable(error)))?;
        let is_plain = details.uri.scheme_str() == Some("http") && !self.has_proxy;
        check(&found, is_plain).map_err(unusable)?;
        let stream = dial(&found, limits.connect_by())?;
        self.addresses.prefer(host, port, stream.peer_addr()?);
        // Head and body are sent in one write, which must not wait for more output.
        stream.set_nodelay(true)?;
        let is_below_tls = details.needs_tls();
        let buffer = if is_below_tls {
            BUFFER_BELOW_TLS
        } else {
            BUFFER
        };
        Ok(Tcp::new(stream, limits.connect_by(), buffer))
    }
}

/// Adds the time limit to the message of a timeout. Leaves other errors as they are.
fn within(limit: Duration, error: io::Error) -> io::Error {
    let message = error.to_string();
    match message.strip_suffix(&io::Error::from(io::ErrorKind::TimedOut).to_string()) {
        Some(label) => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{label}no connection within {limit:?}"),
        ),
        None => error,
    }
}

/// Returns the error of opening a socket if the process has no file descriptor left. The error of a DNS lookup does not
/// name this cause.
fn out_of_files() -> Option<io::Error> {
    let error = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).err()?;
    is_out_of_files(&error).then(|| labelled("socket", &error))
}

/// Rewords messages of ureq and rustls that name their internals.
fn in_words(error: io::Error) -> io::Error {
    let message = error.to_string();
    let status = message.strip_prefix("proxy server responded ");
    let words = match status.and_then(|status| status.rsplit_once('/')) {
        Some((_, "407")) => "the login was refused (HTTP 407): check user and password".to_owned(),
        Some((_, status)) => format!("the tunnel was refused (HTTP {status})"),
        None if message.ends_with("InvalidContentType") => {
            "the other side does not speak TLS".to_owned()
        }
        None => return error,
    };
    io::Error::new(error.kind(), words)
}

/// Returns `true` for EMFILE, ENFILE and WSAEMFILE.
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 10024))
}

/// Checks that there is an address, and that all addresses are loopback for plain `http`, whatever the host's name.
fn check(addresses: &[SocketAddr], is_plain: bool) -> io::Result<()> {
    let foreign = addresses.iter().find(|one| !one.ip().is_loopback());
    let (kind, problem) = match foreign {
        _ if addresses.is_empty() => (io::ErrorKind::NotFound, "no address found".to_owned()),
        Some(address) if is_plain => (
            io::ErrorKind::PermissionDenied,
            format!("plain http goes to loopback only, not to {address}"),
        ),
        _ => return Ok(()),
    };
    Err(io::Error::new(kind, problem))
}

fn target(uri: &Uri) -> (&str, u16) {
    let is_https = uri.scheme_str() == Some("https");
    let default = if is_https { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default);
    (uri.host().unwrap_or_default(), port)
}

/// Connects to the first address that can be reached in its share of the time.
fn dial(addresses: &[SocketAddr], connect_by: Instant) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::TimedOut.into();
    for (address, others) in addresses.iter().zip((0..addresses.len()).rev()) {
        let left = connect_by.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        last = match TcpStream::connect_timeout(address, share(left, others)) {
            Ok(stream) => return Ok(stream),
            Err(error) if is_timeout(&error) => io::ErrorKind::TimedOut.into(),
            Err(error) if is_out_of_files(&error) => return Err(labelled("socket", &error)),
            Err(error) => labelled(&format!("TCP to {address}"), &error),
        };
    }
    Err(last)
}

/// Returns the time for one address. The time `left` is for this address and for `others` after it.
///
/// Happy Eyeballs (RFC 8305) has a similar delay, but then tries both addresses at the same time, which would need a
/// thread.
fn share(left: Duration, others: usize) -> Duration {
    match u32::try_from(others).unwrap_or(u32::MAX) {
        0 => left,
        others => MAX_SHARE.min(left / others.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_addresses_leave_time_for_those_after_them() {
        for (left, addresses, wanted) in [
            (5000, 1, vec![5000]),
            (5000, 3, vec![300, 300, 4400]),
            (5000, 6, vec![300, 300, 300, 300, 300, 3500]),
            (600, 3, vec![200, 200, 200]),
            (5000, 50, vec![100; 50]),
        ] {
            let mut left = Duration::from_millis(left);
            let mut shares = Vec::new();
            for others in (0..addresses).rev() {
                let share = share(left, others);
                shares.push(share.as_millis());
                left -= share;
            }
            assert_eq!(shares, wanted);
        }
    }
}
