//! Refuses requests that a browser on this machine sends for a web page of another origin.

use std::net::SocketAddr;

use super::http::HttpRequest;
use super::response::Refusal;

/// Refuses a request that is not meant for this address, or comes from a web page of another origin.
///
/// `Host` is checked because of DNS rebinding: a page's own host name can resolve to this machine.
pub(super) fn check(request: &HttpRequest, address: SocketAddr) -> Result<(), Refusal> {
    let is_own = |authority: &str| {
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        port == address.port().to_string()
            && (host == address.ip().to_string() || host.eq_ignore_ascii_case("localhost"))
    };
    let is_own_origin = |origin: &str| origin.strip_prefix("http://").is_some_and(is_own);
    let is_own_site = |site: &str| matches!(site, "same-origin" | "none");
    let hosts: Vec<_> = request.header_all("Host").collect();
    if !matches!(hosts.as_slice(), [host] if is_own(host)) {
        let wanted = format!("wanted {address} or localhost with this port");
        return Err(Refusal::by_sandbox(
            421,
            format!("Host: found {hosts:?}, {wanted}"),
        ));
    }
    let problem = if !request.header_all("Origin").all(is_own_origin) {
        "Origin: a web page of another origin may not use the sandbox"
    } else if !request.header_all("Sec-Fetch-Site").all(is_own_site) {
        "Sec-Fetch-Site: another web site may not use the sandbox"
    } else {
        return Ok(());
    };
    Err(Refusal::by_sandbox(403, problem))
}
