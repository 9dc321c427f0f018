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
        let refused = |problem: &str| {
            let wanted = "http://[user:password@]host:port";
            InvalidSetting::new("proxy", format!("{problem}: wanted {wanted}"))
        };
        let uri: Uri = url.parse().map_err(|_| refused("not a URL"))?;
        let authority = uri.authority().ok_or_else(|| refused("not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            None => return Err(refused("found no scheme")),
            // They must not reach ureq: it panics on SOCKS, for which it was not built.
            Some(_) => return Err(refused("found another scheme than http")),
        }
        if authority.host().is_empty() || authority.port_u16().is_none_or(|port| port == 0) {
            return Err(refused("found no host or no port"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(refused("found a path or a query"));
        }
        ureq::Proxy::new(url)
            .map(Self)
            .map_err(|_| refused("not a URL"))
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
