//! Refuses requests that a browser on this machine sends for a web page of another origin.

use std::net::SocketAddr;

use super::http::HttpRequest;

/// Checks that the request is meant for this address and does not come from a web page of another origin. If not,
/// returns the status and the reason.
///
/// `Host` is checked because of DNS rebinding: a page's own host name can resolve to this machine.
pub(super) fn check(request: &HttpRequest, address: SocketAddr) -> Result<(), (u16, String)> {
    let is_own = |authority: &str| {
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        port == address.port().to_string()
            && (host == address.ip().to_string() || host.eq_ignore_ascii_case("localhost"))
    };
    let hosts: Vec<_> = request.header_all("Host").collect();
    if !matches!(hosts.as_slice(), [host] if is_own(host)) {
        let message =
            format!("Host: found {hosts:?}, wanted {address} or localhost with this port");
        return Err((421, message));
    }
    let is_own_origin = |origin: &str| origin.strip_prefix("http://").is_some_and(is_own);
    if !request.header_all("Origin").all(is_own_origin) {
        return Err((
            403,
            "Origin: a web page of another origin may not use the sandbox".into(),
        ));
    }
    let is_own_site = |site: &str| matches!(site, "same-origin" | "none");
    if !request.header_all("Sec-Fetch-Site").all(is_own_site) {
        return Err((
            403,
            "Sec-Fetch-Site: another web site may not use the sandbox".into(),
        ));
    }
    Ok(())
}
