//! How bytes travel: name look-up, connection, deadline and every HTTP default that matters, in one place.
//!
//! This file is the one that uses ureq's `unversioned` modules, which may change in any minor version of ureq: hence
//! the `~` in `Cargo.toml`. They are worth it, because ureq by itself looks the name up for every call, starts a thread
//! per call for a limit on the whole call, and sends head and body in two writes.
//!
//! From top to bottom a connection is: ureq's pool, [`Pooled`], rustls (for `https`), a tunnel (if there is a proxy), [`Wire`].

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::{Duration as UreqDuration, Instant as UreqInstant};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, NextTimeout,
    RustlsConnector, Transport,
};
use ureq::{Agent, Timeout};

use crate::error::{Cause, InvalidField};

/// Size of each buffer of a connection, in bytes. One TLS record is at most this long, and all answers of the API are
/// shorter; ureq's default of 128 KiB each, filled with zeros, would cost most of the memory of a small service.
const BUFFER: usize = 16 * 1024;

/// How long looked-up addresses may be used.
const ADDRESSES_LIVE: Duration = Duration::from_secs(60);

/// No limit is longer than this: a clock cannot be moved forward by any number of seconds without overflowing.
const LONGEST_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Finds the addresses of a host and port.
pub(crate) type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// What can be chosen about the transport.
#[derive(Clone)]
pub(crate) struct TransportOptions {
    /// For one connection: look-up, TCP, proxy and TLS together. A look-up cannot be interrupted without a thread, so
    /// one that takes longer ends the attempt when it returns.
    pub(crate) connect_timeout: Duration,
    /// From the start of connecting, or of sending on a kept connection, to the last byte of the answer.
    pub(crate) total_timeout: Duration,
    /// How long a connection without a call is kept.
    pub(crate) idle: Duration,
    /// How many connections without a call are kept.
    pub(crate) max_idle: usize,
    /// The HTTP proxy to tunnel through.
    pub(crate) proxy: Option<Proxy>,
    /// The certificate authorities to trust.
    pub(crate) roots: Roots,
    /// How names are looked up.
    pub(crate) lookup: Lookup,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(15),
            // The server is reported to close after 8 s.
            idle: Duration::from_secs(5),
            // More than the threads that share a client: each connection beyond the limit is closed after its call,
            // and the next call pays for a TLS handshake.
            max_idle: 64,
            proxy: None,
            roots: Roots::default(),
            lookup: system_lookup(),
        }
    }
}

impl fmt::Debug for TransportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportOptions")
            .field("connect_timeout", &self.connect_timeout)
            .field("total_timeout", &self.total_timeout)
            .field("idle", &self.idle)
            .field("max_idle", &self.max_idle)
            .field("proxy", &self.proxy)
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

/// The operating system's look-up.
pub(crate) fn system_lookup() -> Lookup {
    Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

/// An agent for any number of hosts and threads, with every HTTP default that matters.
pub(crate) fn agent(options: &TransportOptions) -> Agent {
    let connect_timeout = options.connect_timeout.min(LONGEST_LIMIT);
    let total_timeout = options.total_timeout.min(LONGEST_LIMIT);
    let config = Agent::config_builder()
        // An error status has a body and a signature like any other answer.
        .http_status_as_error(false)
        // A signed request is meant for one host; a 3xx comes back as an answer.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .save_redirect_history(false)
        // Never from the environment.
        .proxy(options.proxy.as_ref().map(|proxy| proxy.0.clone()))
        // The client sets its headers itself. No compression: the bytes received are the bytes that were signed.
        .user_agent("")
        .accept("")
        .accept_encoding("")
        // Equal, because nearly all calls go to one host.
        .max_idle_connections(options.max_idle)
        .max_idle_connections_per_host(options.max_idle)
        .max_idle_age(options.idle.min(LONGEST_LIMIT))
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER)
        // The head must fit into the buffer. One byte less, so that a longer one is called too long, not cut off.
        .max_response_header_size(BUFFER - 1)
        // Head and body leave in one write, which must not wait for more.
        .no_delay(true)
        // The only limit that ureq keeps: with `timeout_global`, `_per_call` or `_resolve` it would start a thread for
        // each call. The limit on the whole call is kept by `Wire`.
        .timeout_connect(Some(connect_timeout))
        .tls_config(
            TlsConfig::builder()
                .root_certs(options.roots.0.clone())
                .build(),
        )
        .build();
    let connector = Connecting {
        limits: Limits {
            connect: connect_timeout,
            total: total_timeout,
        },
        addresses: Addresses::new(options.lookup.clone()),
        tunnel: ConnectProxyConnector::default(),
        tls: RustlsConnector::default(),
    };
    Agent::with_parts(config, connector, NoLookup)
}

/// Why an exchange failed, by what is certain about the request.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection was made, so nothing of the request was sent.
    Connect(Cause),
    /// A connection was made: the request may have arrived.
    Exchange(Cause),
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Other(other) => match other.downcast::<ConnectFailed>() {
                Ok(failed) => Self::Connect(Box::new(failed.0)),
                Err(other) => Self::Exchange(other),
            },
            // ureq finds these before it writes anything.
            ureq::Error::Http(_)
            | ureq::Error::BadUri(_)
            | ureq::Error::RequireHttpsOnly(_)
            | ureq::Error::TlsRequired
            | ureq::Error::ConnectionFailed => Self::Connect(error.to_string().into()),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Exchange(Box::new(closed_early()))
            }
            error => Self::Exchange(Box::new(plain(error))),
        }
    }
}

/// For what reading a body gives.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        ureq::Error::from(error).into()
    }
}

/// Reads a body to its end, so that the connection can be used again, but not more than `limit` bytes.
pub(crate) fn read_body(body: &mut ureq::Body, limit: usize) -> Result<Vec<u8>, Failure> {
    let limit_u64 = u64::try_from(limit).unwrap_or(u64::MAX);
    let announced = body.content_length().unwrap_or(0);
    if announced > limit_u64 {
        return Err(too_long(limit));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    // One byte more, to tell a body of just the limit from a longer one.
    body.as_reader()
        .take(limit_u64.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(too_long(limit));
    }
    Ok(bytes)
}

fn too_long(limit: usize) -> Failure {
    Failure::Exchange(Box::new(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the answer's body is longer than {limit} bytes"),
    )))
}

fn closed_early() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the connection was closed before the answer was complete",
    )
}

/// The error of ureq as one of the standard library, without a prefix before the reason.
fn plain(error: ureq::Error) -> io::Error {
    match error {
        ureq::Error::Io(error) => error,
        ureq::Error::Other(other) => match other.downcast::<ConnectFailed>() {
            Ok(failed) => failed.0,
            Err(other) => io::Error::other(other),
        },
        ureq::Error::Rustls(error) => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        ureq::Error::ConnectProxyFailed(reason) => io::Error::other(reason),
        error => io::Error::other(error.to_string()),
    }
}

/// Marks an error as one of connecting, on its way through ureq.
#[derive(Debug)]
struct ConnectFailed(io::Error);

impl fmt::Display for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for ConnectFailed {}

/// The URL of an HTTP proxy, through which connections are tunnelled.
#[derive(Clone)]
pub(crate) struct Proxy(ureq::Proxy);

impl Proxy {
    /// Reads `http://[user:password@]host:port`; user and password are percent-encoded.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidField> {
        // Other schemes must not reach ureq: it panics on SOCKS, for which it was not built.
        let refused = || {
            InvalidField::new(
                "proxy",
                "wanted http://[user:password@]host:port, nothing else",
            )
        };
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let authority = uri.authority().ok_or_else(refused)?;
        let has_http = uri.scheme_str() == Some("http");
        let has_target =
            authority.port_u16().is_some_and(|port| port > 0) && !authority.host().is_empty();
        let has_more = uri.path() != "/" || uri.query().is_some();
        if !has_http || !has_target || has_more {
            return Err(refused());
        }
        ureq::Proxy::new(url).map(Self).map_err(|_| refused())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.0.host())
            .field("port", &self.0.port())
            .finish_non_exhaustive()
    }
}

/// The certificate authorities to trust: those of Mozilla unless others are given.
#[derive(Debug, Clone)]
pub(crate) struct Roots(RootCerts);

impl Default for Roots {
    fn default() -> Self {
        Self(RootCerts::WebPki)
    }
}

impl Roots {
    /// Reads one or more `CERTIFICATE` blocks. They take the place of Mozilla's.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, InvalidField> {
        let certificates = parse_pem(pem)
            .zip(1..)
            .map(|(item, number)| root(item, number))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|problem| InvalidField::new("root_certificates", problem))?;
        if certificates.is_empty() {
            return Err(InvalidField::new(
                "root_certificates",
                "no CERTIFICATE block found: wanted at least one",
            ));
        }
        Ok(Self(certificates.into()))
    }
}

fn root(
    item: Result<PemItem<'static>, ureq::Error>,
    number: u32,
) -> Result<Certificate<'static>, String> {
    match item {
        // rustls would leave out what it cannot read, and say so only in a log.
        Ok(PemItem::Certificate(certificate)) if is_certificate(certificate.der()) => {
            Ok(certificate)
        }
        Ok(PemItem::PrivateKey(_)) => Err(format!(
            "block {number} is a private key: wanted CERTIFICATE blocks only"
        )),
        _ => Err(format!(
            "block {number} is damaged: wanted a CERTIFICATE block"
        )),
    }
}

/// Whether DER has the outline of an X.509 certificate (RFC 5280, section 4.1), without anything missing or left over.
fn is_certificate(der: &[u8]) -> bool {
    const INTEGER: u8 = 0x02;
    const BIT_STRING: u8 = 0x03;
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;

    fn parse(der: &[u8]) -> Option<()> {
        let (certificate, rest) = element(der, SEQUENCE)?;
        rest.is_empty().then_some(())?;
        let (signed, rest) = element(certificate, SEQUENCE)?;
        let (_algorithm, rest) = element(rest, SEQUENCE)?;
        let (_signature, rest) = element(rest, BIT_STRING)?;
        rest.is_empty().then_some(())?;

        // The version is left out in certificates of version 1.
        let rest = element(signed, VERSION).map_or(signed, |(_, rest)| rest);
        let (_serial, mut rest) = element(rest, INTEGER)?;
        for _part in ["algorithm", "issuer", "validity", "subject", "key"] {
            (_, rest) = element(rest, SEQUENCE)?;
        }
        Some(())
    }
    parse(der).is_some()
}

/// The content of the DER element at the start of `der`, which must have this tag, and what follows the element.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, der) = der.split_first()?;
    let (&first, der) = der.split_first()?;
    let (length, der) = if first < 0x80 {
        (usize::from(first), der)
    } else {
        // Up to four bytes of length: more than any certificate has.
        let (bytes, der) = der.split_at_checked(usize::from(first & 0x7f))?;
        let length = (1..=4).contains(&bytes.len()).then(|| {
            bytes
                .iter()
                .fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte))
        })?;
        (length, der)
    };
    (found == tag)
        .then(|| der.split_at_checked(length))
        .flatten()
}

/// The resolver that ureq asks before every call, also on a kept connection, which needs no address. So it has none to
/// give: [`Connecting`] looks names up, when there is something to connect.
#[derive(Debug)]
struct NoLookup;

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

/// Addresses by host and port, looked up when they are first needed and again when they are old.
struct Addresses {
    lookup: Lookup,
    known: Mutex<Vec<Known>>,
}

struct Known {
    host: String,
    port: u16,
    addresses: Vec<SocketAddr>,
    looked_up: Instant,
}

impl Known {
    fn is_for(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port == port
    }

    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.looked_up) < ADDRESSES_LIVE
    }
}

impl Addresses {
    fn new(lookup: Lookup) -> Self {
        Self {
            lookup,
            known: Mutex::new(Vec::new()),
        }
    }

    fn of(&self, host: &str, port: u16, now: Instant) -> io::Result<Vec<SocketAddr>> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        if let Some(addresses) = self.fresh(host, port, now) {
            return Ok(addresses);
        }
        // Not under the lock, so that one slow name does not hold up calls to other hosts. Threads that connect at the
        // same moment may each look the name up.
        let addresses = (self.lookup)(host, port)?;
        let mut known = self.lock();
        known.retain(|entry| !entry.is_for(host, port));
        known.push(Known {
            host: host.to_owned(),
            port,
            addresses: addresses.clone(),
            looked_up: now,
        });
        Ok(addresses)
    }

    fn fresh(&self, host: &str, port: u16, now: Instant) -> Option<Vec<SocketAddr>> {
        self.lock()
            .iter()
            .find(|entry| entry.is_for(host, port) && entry.is_fresh(now))
            .map(|entry| entry.addresses.clone())
    }

    /// Puts the address that answered first, so that the next connection need not wait for a dead one before it.
    fn prefer(&self, host: &str, port: u16, address: SocketAddr) {
        for entry in self
            .lock()
            .iter_mut()
            .filter(|entry| entry.is_for(host, port))
        {
            let position = entry.addresses.iter().position(|known| *known == address);
            if let Some(position) = position {
                let address = entry.addresses.remove(position);
                entry.addresses.insert(0, address);
            }
        }
    }

    /// Forgets all: the hosts are few, and with a proxy it is not certain which name has led nowhere.
    fn forget(&self) {
        self.lock().clear();
    }

    /// Nothing under the lock can leave the entries half-changed, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes connections, and marks every failure to make one.
struct Connecting {
    limits: Limits,
    addresses: Addresses,
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
                self.addresses.forget();
                ureq::Error::Other(Box::new(ConnectFailed(error)))
            })
    }
}

impl Connecting {
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
        let found = self
            .addresses
            .of(host, port, started)
            .map_err(|error| labelled(&format!("look-up of {host}"), &error))?;
        let family = details.config.ip_family();
        let wanted: Vec<_> = family.keep_wanted(found.iter().copied()).collect();
        let stream = dial(&wanted, &deadline)
            .unwrap_or_else(|| Err(labelled(&format!("look-up of {host}"), &no_address())))?;
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
struct Pooled(<RustlsConnector as Connector<Stream>>::Out);

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

/// For asking whether there is input already. With the client's settings, no other time but that for connecting is
/// ever zero.
fn no_time() -> NextTimeout {
    NextTimeout {
        after: UreqDuration::Exact(Duration::ZERO),
        reason: Timeout::RecvResponse,
        ..NextTimeout::default()
    }
}

fn is_no_time(timeout: &NextTimeout) -> bool {
    timeout.after.is_zero() && timeout.reason != Timeout::Connect
}

fn labelled(label: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{label}: {error}"))
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no address found")
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
        // Half of what is left for each but the last, so that a dead address leaves time for the others.
        let share = if position + 1 < addresses.len() {
            left / 2
        } else {
            left
        };
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Some(Ok(stream)),
            Err(error) if is_timeout(&error) => last = Some(deadline.passed(Step::Connect)),
            Err(error) => last = Some(labelled(&format!("TCP to {address}"), &error)),
        }
    }
    last.map(Err)
}

/// Sockets say one or the other, by operating system.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    connect: Duration,
    total: Duration,
}

/// What a connection is being used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Connect,
    Exchange,
}

/// When a connection's current call must be over.
#[derive(Debug)]
struct Deadline {
    limits: Limits,
    /// When connecting, or the current call if it is a later one, started.
    started: Instant,
    /// Whether a call has ended and the next has not begun.
    between_calls: bool,
}

impl Deadline {
    fn new(limits: Limits, started: Instant) -> Self {
        Self {
            limits,
            started,
            between_calls: false,
        }
    }

    /// To be called when a call has ended, any number of times.
    fn call_ended(&mut self) {
        self.between_calls = true;
    }

    /// To be called before anything is sent.
    fn sending(&mut self, now: Instant) {
        if self.between_calls {
            self.between_calls = false;
            self.started = now;
        }
    }

    fn limit(&self, step: Step) -> Duration {
        match step {
            Step::Connect => self.limits.connect.min(self.limits.total),
            Step::Exchange => self.limits.total,
        }
    }

    fn left(&self, step: Step, now: Instant) -> io::Result<Duration> {
        let used = now.saturating_duration_since(self.started);
        match self.limit(step).checked_sub(used) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(self.passed(step)),
        }
    }

    fn passed(&self, step: Step) -> io::Error {
        let limit = self.limit(step);
        let message = match step {
            Step::Connect => format!("no connection within {limit:?}"),
            Step::Exchange => format!("no complete answer within {limit:?}"),
        };
        io::Error::new(io::ErrorKind::TimedOut, message)
    }
}

/// A TCP connection that holds back what is sent until an answer is awaited, so that head and body leave in one write,
/// and that keeps the limit on the whole call at every single read and write, however slowly bytes drip.
///
/// It sits below TLS, where every byte passes, also those of the handshake and of the proxy.
struct Wire {
    stream: TcpStream,
    buffers: WireBuffers,
    deadline: Deadline,
    /// Why a write failed. How much of it has left is not known, so nothing more may follow.
    broken: Option<(io::ErrorKind, String)>,
}

impl Wire {
    fn new(stream: TcpStream, deadline: Deadline) -> Self {
        Self {
            stream,
            buffers: WireBuffers::new(),
            deadline,
            broken: None,
        }
    }

    fn flush(&mut self, step: Step) -> io::Result<()> {
        if let Some((kind, reason)) = &self.broken {
            return Err(io::Error::new(*kind, reason.clone()));
        }
        let result = self.write_held(step);
        self.buffers.held = 0;
        if let Err(error) = &result {
            self.broken = Some((error.kind(), error.to_string()));
        }
        result
    }

    fn write_held(&self, step: Step) -> io::Result<()> {
        let mut rest = self.buffers.held();
        while !rest.is_empty() {
            let left = self.deadline.left(step, Instant::now())?;
            self.stream.set_write_timeout(Some(left))?;
            match (&self.stream).write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fill(&mut self, step: Step) -> io::Result<usize> {
        loop {
            let left = self.deadline.left(step, Instant::now())?;
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(read) => {
                    self.buffers.input_appended(read);
                    return Ok(read);
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A signal or the socket's own limit: whether time is really up is for the deadline to say.
fn is_passing(error: &io::Error) -> bool {
    is_timeout(error) || error.kind() == io::ErrorKind::Interrupted
}

/// ureq names the limit that holds; while it connects, that is the one on connecting.
fn step(timeout: &NextTimeout) -> Step {
    if timeout.reason == Timeout::Connect {
        Step::Connect
    } else {
        Step::Exchange
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        // What TLS has to say by itself begins no call.
        if !is_no_time(&timeout) {
            self.deadline.sending(Instant::now());
        }
        self.buffers.hold(amount);
        if self.buffers.is_crowded() {
            self.flush(step(&timeout))?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if is_no_time(&timeout) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
        }
        let step = step(&timeout);
        self.flush(step)?;
        Ok(self.fill(step)? > 0)
    }

    /// The pool asks this when a call is over, before it keeps the connection, and again before the next call.
    fn is_open(&mut self) -> bool {
        self.deadline.call_ended();
        // Whatever has come without being asked for, be it data or the end, ends the connection.
        self.broken.is_none()
            && self.buffers.input().is_empty()
            && is_silent(&self.stream).unwrap_or(false)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("peer", &self.stream.peer_addr().ok())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

fn is_silent(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    Ok(matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock))
}

/// Input and output of a [`Wire`].
struct WireBuffers {
    /// Allocated as zeros by the system, so that a part that is never used takes no memory.
    input: Vec<u8>,
    /// The part of `input` that is filled and not yet consumed.
    start: usize,
    end: usize,
    /// Whether the last consumer could use some of the input. If not it needs more of it.
    progress: bool,
    output: Vec<u8>,
    /// How much of `output` waits to be written.
    held: usize,
}

impl WireBuffers {
    fn new() -> Self {
        Self {
            input: vec![0; BUFFER],
            start: 0,
            end: 0,
            progress: false,
            output: vec![0; BUFFER],
            held: 0,
        }
    }

    fn held(&self) -> &[u8] {
        self.output.get(..self.held).unwrap_or_default()
    }

    fn hold(&mut self, amount: usize) {
        self.held = self.output.len().min(self.held.saturating_add(amount));
    }

    /// Half of the room is always left, because ureq cannot split a header between two writes.
    fn is_crowded(&self) -> bool {
        self.held > self.output.len() / 2
    }
}

impl Buffers for WireBuffers {
    fn output(&mut self) -> &mut [u8] {
        self.output.get_mut(self.held..).unwrap_or_default()
    }

    fn input(&self) -> &[u8] {
        self.input.get(self.start..self.end).unwrap_or_default()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.input.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.input.get_mut(self.end..).unwrap_or_default()
    }

    fn input_appended(&mut self, amount: usize) {
        self.end = self.input.len().min(self.end.saturating_add(amount));
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.start = self.end.min(self.start.saturating_add(amount));
    }

    /// The scratch room, which only a chunked request needs, is the free part of the input.
    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        (
            self.input.get_mut(self.end..).unwrap_or_default(),
            self.output.get_mut(self.held..).unwrap_or_default(),
        )
    }

    fn can_use_input(&self) -> bool {
        self.progress && !self.input().is_empty()
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
mod tests;
