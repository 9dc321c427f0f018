//! How a connection is made: address, TCP, tunnel and TLS; and when the pool may keep it.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Instant as UreqInstant;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, NextTimeout,
    RustlsConnector, Transport,
};

use super::addresses::Addresses;
use super::deadline::{Deadline, Limits, Step};
use super::plain;
use super::wire::{Wire, is_timeout, no_time};

/// The resolver that ureq asks before every call, also on a kept connection, which needs no address. So it has none to
/// give: [`Connecting`] looks names up, when there is something to connect.
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

/// Makes connections, and marks every failure to make one.
pub(super) struct Connecting {
    limits: Limits,
    addresses: Arc<Addresses>,
    /// Then the only TCP connections are those to the proxy.
    has_proxy: bool,
    tunnel: ConnectProxyConnector,
    tls: RustlsConnector,
}

type Tunnel = <ConnectProxyConnector as Connector<()>>::Out;
type Stream = Either<Wire, Tunnel>;

impl Connector for Connecting {
    type Out = Pooled;

    /// ureq comes here a second time, for the connection to the proxy itself, while the tunnel is being made.
    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        self.stream(details)
            .and_then(|stream| {
                self.tls
                    .connect(details, Some(stream))
                    .map(|connection| connection.map(Pooled))
                    .map_err(|error| labelled("TLS", &plain(error)))
            })
            .map_err(|error| {
                self.forget(details.uri);
                ureq::Error::Other(Box::new(ConnectFailed(error)))
            })
    }
}

impl Connecting {
    pub(super) fn new(limits: Limits, addresses: Arc<Addresses>, has_proxy: bool) -> Self {
        Self {
            limits,
            addresses,
            has_proxy,
            tunnel: ConnectProxyConnector::default(),
            tls: RustlsConnector::default(),
        }
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

    fn stream(&self, details: &ConnectionDetails<'_>) -> io::Result<Stream> {
        let tunnel = Connector::<()>::connect(&self.tunnel, details, None);
        match tunnel {
            Ok(Some(tunnel)) => Ok(Either::B(tunnel)),
            Ok(None) => self.wire(details).map(Either::A),
            Err(error) => Err(labelled("proxy", &plain(error))),
        }
    }

    fn wire(&self, details: &ConnectionDetails<'_>) -> io::Result<Wire> {
        let started = match details.now {
            UreqInstant::Exact(now) => now,
            _ => Instant::now(),
        };
        let deadline = Deadline::new(self.limits, started);
        let (host, port) = target(details.uri);
        let unusable = |error: io::Error| labelled(&format!("look-up of {host}"), &error);
        let found = self.addresses.of(host, port, started).map_err(unusable)?;
        let family = details.config.ip_family();
        let wanted: Vec<_> = family.keep_wanted(found.iter().copied()).collect();
        if details.uri.scheme_str() == Some("http") && !self.has_proxy {
            check_loopback(&wanted).map_err(unusable)?;
        }
        let stream = dial(&wanted, &deadline).unwrap_or_else(|| Err(unusable(no_address())))?;
        if let Ok(address) = stream.peer_addr() {
            if found.first() != Some(&address) {
                self.addresses.prefer(host, port, address);
            }
        }
        stream.set_nodelay(details.config.no_delay())?;
        Ok(Wire::new(stream, deadline))
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A connection as the pool sees it.
///
/// Whoever could leave an answer to nothing on a connection could have it taken for the answer to the next call, to
/// which its signature says nothing. [`Wire`] sees what was received, this also what TLS has decrypted and not handed
/// out.
#[derive(Debug)]
pub(super) struct Pooled(<RustlsConnector as Connector<Stream>>::Out);

impl Transport for Pooled {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
            && matches!(
                self.0.await_input(no_time()),
                Err(ureq::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock
            )
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

fn labelled(label: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{label}: {error}"))
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
fn dial(addresses: &[SocketAddr], deadline: &Deadline) -> Option<io::Result<TcpStream>> {
    let mut last = None;
    for (position, address) in addresses.iter().enumerate() {
        let left = match deadline.left(Step::Connect, Instant::now()) {
            Ok(left) => left,
            Err(error) => return Some(Err(error)),
        };
        let others = addresses.len() - position - 1;
        match TcpStream::connect_timeout(address, share(left, others)) {
            Ok(stream) => return Some(Ok(stream)),
            Err(error) if is_timeout(&error) => last = Some(deadline.passed(Step::Connect)),
            Err(error) => last = Some(labelled(&format!("TCP to {address}"), &error)),
        }
    }
    last.map(Err)
}

/// How much of the time that is left an address gets: half, so that a dead one leaves some for the `others` after it; the
/// last gets all.
fn share(left: Duration, others: usize) -> Duration {
    match others {
        0 => left,
        _ => left / 2,
    }
}

/// Marks an error as one of connecting, on its way through ureq.
#[derive(Debug)]
pub(super) struct ConnectFailed(pub(super) io::Error);

impl fmt::Display for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for ConnectFailed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_address_leaves_time_for_those_after_it() {
        let mut left = Duration::from_secs(4);
        // The first of three, and none of them answers.
        for (others, wanted) in [(2, 2), (1, 1), (0, 1)] {
            let share = share(left, others);
            assert_eq!(share, Duration::from_secs(wanted), "{others}");
            left -= share;
        }
        assert!(left.is_zero());
    }
}
