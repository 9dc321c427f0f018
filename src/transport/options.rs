//! The settings of the transport, and every HTTP setting of ureq that matters.

use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::tls::TlsConfig;

use super::addresses::Lookup;
use super::proxy::Proxy;
use super::roots::Roots;
use super::tcp::BUFFER;

/// The settings of the transport.
pub(crate) struct TransportOptions {
    /// The timeout for making a connection: DNS lookup, TCP, proxy and TLS together. A DNS lookup cannot be interrupted
    /// without a thread. If it takes longer, the attempt fails when the lookup returns.
    pub(crate) connect_timeout: Duration,
    /// The longest time from the start of connecting, or of sending on a pooled connection, to the last byte of the
    /// response.
    pub(crate) timeout: Duration,
    /// The same for the second attempt of a call.
    pub(crate) second_timeout: Duration,
    /// The longest time for which an idle connection is kept.
    pub(crate) idle: Duration,
    /// The largest number of idle connections that are kept.
    pub(crate) max_idle: usize,
    /// The HTTP proxy to tunnel through.
    pub(crate) proxy: Option<Proxy>,
    /// The certificate authorities to trust.
    pub(crate) roots: Roots,
    /// The DNS lookup, instead of the operating system's.
    pub(crate) lookup: Option<Lookup>,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            second_timeout: Duration::from_secs(9),
            // WeChat Pay's server is reported to close idle connections after 8 s.
            idle: Duration::from_secs(5),
            // Should not be less than the number of threads that share the pool. Beyond the limit, the connection that
            // was idle for longest is closed, and a later call needs a TLS handshake.
            max_idle: 64,
            proxy: None,
            roots: Roots::default(),
            lookup: None,
        }
    }
}

impl TransportOptions {
    /// Returns the configuration of ureq's agents. It has no timeout: the transport checks the deadline at each read
    /// and write.
    pub(super) fn config(&self) -> Config {
        Agent::config_builder()
            // An error status has a body and a signature like any other response.
            .http_status_as_error(false)
            // A signed request is meant for one host, and a 3xx is a response like any other.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .save_redirect_history(false)
            // The proxy never comes from the environment.
            .proxy(self.proxy.as_ref().map(|proxy| proxy.0.clone()))
            // The client sets its headers itself. Without compression, the bytes received are the bytes that were signed.
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            // One byte less than the buffer, so that a longer head is refused as too long, and not as truncated.
            .max_response_header_size(BUFFER - 1)
            .tls_config(
                TlsConfig::builder()
                    .root_certs(self.roots.0.clone())
                    .build(),
            )
            .build()
    }
}
