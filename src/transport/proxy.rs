//! The HTTP proxy through which connections are tunnelled.

use ureq::http::Uri;

use crate::error::InvalidSetting;

/// The URL of an HTTP proxy. It has no `Debug`, since it may hold a password.
pub(crate) struct Proxy(pub(super) ureq::Proxy);

impl Proxy {
    /// Reads `http://[user:password@]host:port`, with user and password percent-encoded.
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
            // Other schemes must not reach ureq, which panics on SOCKS because that feature is not enabled.
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
}
