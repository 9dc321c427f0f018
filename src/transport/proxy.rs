//! The HTTP proxy through which connections are tunnelled.

use std::fmt;

use ureq::http::Uri;

use crate::error::InvalidSetting;

/// The URL of an HTTP proxy, through which connections are tunnelled.
#[derive(Clone)]
pub(crate) struct Proxy(ureq::Proxy);

impl Proxy {
    /// Reads `http://[user:password@]host:port`; user and password are percent-encoded.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidSetting> {
        // Other schemes must not reach ureq: it panics on SOCKS, for which it was not built.
        let refused = || {
            InvalidSetting::new(
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

    pub(super) fn to_ureq(&self) -> ureq::Proxy {
        self.0.clone()
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
