//! Makes connections: address, TCP, tunnel and TLS.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Instant as UreqInstant;
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, Either, NextTimeout, RustlsConnector,
};

use super::addresses::Addresses;
use super::failure::{labelled, plain};
use super::tcp::{LONGEST_TIMEOUT, Tcp, is_timeout};

/// The longest time that an address may take while there are others to try.
const MAX_SHARE: Duration = Duration::from_millis(300);

/// The resolver that ureq asks before every exchange, also on a pooled connection, which needs no address. It returns
/// none: [`Dialer`] looks names up when there is something to connect.
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

/// Makes connections. Holds the TLS configuration, which is made with the first of them.
pub(super) struct Dialer {
    addresses: Addresses,
    /// Then the only TCP connections are those to the proxy.
    has_proxy: bool,
    tunnel: ConnectProxyConnector,
    tls: RustlsConnector,
}

type Tunnel = <ConnectProxyConnector as Connector<()>>::Out;
type Stream = Either<Tcp, Tunnel>;
/// A connection as ureq's transport, with TLS for `https`.
pub(super) type Stack = <RustlsConnector as Connector<Stream>>::Out;

impl Dialer {
    pub(super) fn new(addresses: Addresses, has_proxy: bool) -> Self {
        Self {
            addresses,
            has_proxy,
            tunnel: ConnectProxyConnector::default(),
            tls: RustlsConnector::default(),
        }
    }

    /// Whether ureq wants the connection to the proxy, while it makes a tunnel.
    pub(super) fn is_for_proxy(&self, details: &ConnectionDetails<'_>) -> bool {
        self.has_proxy && details.config.proxy().is_none()
    }

    /// Makes the connection to the host, through the proxy if there is one.
    pub(super) fn dial(&self, details: &ConnectionDetails<'_>) -> io::Result<Stack> {
        self.stack(details).map_err(|error| {
            self.forget(details.uri);
            let connect = details.config.timeouts().connect;
            within(connect.unwrap_or(LONGEST_TIMEOUT), error)
        })
    }

    fn stack(&self, details: &ConnectionDetails<'_>) -> io::Result<Stack> {
        let stream = match Connector::<()>::connect(&self.tunnel, details, None) {
            Ok(Some(tunnel)) => Either::B(tunnel),
            Ok(None) => Either::A(self.tcp(details)?),
            Err(error) => return Err(labelled("proxy", &in_words(plain(error)))),
        };
        let stack = self.tls.connect(details, Some(stream));
        let stack = stack.map_err(|error| labelled("TLS", &in_words(plain(error))))?;
        stack.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Forgets the addresses that have led nowhere: with a proxy its own, whichever host was asked for.
    fn forget(&self, uri: &Uri) {
        if self.has_proxy {
            self.addresses.forget_all();
        } else {
            let (host, port) = target(uri);
            self.addresses.forget(host, port);
        }
    }

    /// Makes a TCP connection to the host, or to the proxy if ureq asks for it.
    pub(super) fn tcp(&self, details: &ConnectionDetails<'_>) -> io::Result<Tcp> {
        let started = match details.now {
            UreqInstant::Exact(now) => now,
            _ => Instant::now(),
        };
        let connect_by = started + (*details.timeout.after).min(LONGEST_TIMEOUT);
        let (host, port) = target(details.uri);
        let unusable = |error: io::Error| labelled(&format!("DNS lookup of {host}"), &error);
        let found = self.addresses.of(host, port, started);
        let found = found.map_err(|error| out_of_files().unwrap_or_else(|| unusable(error)))?;
        let family = details.config.ip_family();
        let wanted: Vec<_> = family.keep_wanted(found.iter().copied()).collect();
        if details.uri.scheme_str() == Some("http") && !self.has_proxy {
            check_loopback(&wanted).map_err(unusable)?;
        }
        let stream = dial(&wanted, connect_by).unwrap_or_else(|| Err(unusable(no_address())))?;
        self.addresses.prefer(host, port, stream.peer_addr()?);
        stream.set_nodelay(details.config.no_delay())?;
        Ok(Tcp::new(stream, connect_by))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

/// Says of a timeout how long it was.
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

/// Returns the error of opening a socket if the process has no file descriptor left. A DNS lookup fails then too, and
/// does not say so.
fn out_of_files() -> Option<io::Error> {
    let error = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).err()?;
    is_out_of_files(&error).then(|| labelled("socket", &error))
}

/// Words for what ureq and rustls say in terms of their own.
fn in_words(error: io::Error) -> io::Error {
    let message = error.to_string();
    let words = if message.ends_with("InvalidContentType") {
        "the other side does not speak TLS".to_owned()
    } else if message.ends_with("proxy server responded 407/407") {
        "the login was refused (HTTP 407): check user and password".to_owned()
    } else if let Some((_, status)) = message
        .rsplit_once('/')
        .filter(|_| message.starts_with("proxy server responded"))
    {
        format!("the tunnel was refused (HTTP {status})")
    } else {
        return error;
    };
    io::Error::new(error.kind(), words)
}

/// EMFILE, ENFILE and WSAEMFILE.
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 10024))
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no address found")
}

/// Nothing is encrypted on the way to these addresses, whatever name led there.
fn check_loopback(addresses: &[SocketAddr]) -> io::Result<()> {
    let foreign = addresses.iter().find(|one| !one.ip().is_loopback());
    foreign.map_or(Ok(()), |address| {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("plain http goes to loopback only, not to {address}"),
        ))
    })
}

fn target(uri: &Uri) -> (&str, u16) {
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    (
        uri.host().unwrap_or_default(),
        uri.port_u16().unwrap_or(default),
    )
}

/// Tries one address after the other; `None` if there is none.
fn dial(addresses: &[SocketAddr], connect_by: Instant) -> Option<io::Result<TcpStream>> {
    let mut last = None;
    for (position, address) in addresses.iter().enumerate() {
        let left = connect_by.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(Err(io::ErrorKind::TimedOut.into()));
        }
        let others = addresses.len() - position - 1;
        match TcpStream::connect_timeout(address, share(left, others)) {
            Ok(stream) => return Some(Ok(stream)),
            Err(error) if is_timeout(&error) => last = Some(io::ErrorKind::TimedOut.into()),
            Err(error) if is_out_of_files(&error) => {
                return Some(Err(labelled("socket", &error)));
            }
            Err(error) => last = Some(labelled(&format!("TCP to {address}"), &error)),
        }
    }
    last.map(Err)
}

/// How long an address may take, of the time that is `left`, before the `others` after it are tried. Happy Eyeballs (RFC
/// 8305) has such a delay too, but goes on to wait for the first, which would take a thread.
fn share(left: Duration, others: usize) -> Duration {
    match u32::try_from(others) {
        Ok(0) => left,
        Ok(others) => MAX_SHARE.min(left / others.saturating_add(1)),
        Err(_) => Duration::from_millis(1),
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
