//! The hosts that requests go to: which URLs may name one.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;
use ureq::http::uri::Authority;

use crate::error::InvalidSetting;

/// A host that requests go to.
#[derive(Clone)]
pub(super) struct Host {
    /// Scheme and authority, to which the target is appended.
    pub(super) url: String,
    /// The authority, for messages.
    pub(super) name: String,
}

impl Host {
    pub(super) fn parse(field: &'static str, url: &str) -> Result<Self, InvalidSetting> {
        let refuse = |problem: &str| {
            InvalidSetting::new(
                field,
                format!("{problem}: wanted https://name or https://name:port"),
            )
        };
        let uri: Uri = url.parse().map_err(|_| refuse("not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(refuse("found no scheme or no name"));
        };
        let has_more = uri.path() != "/" || uri.query().is_some() || url.contains(['#', '@']);
        if has_more {
            return Err(refuse("found a path, a query, a fragment or a user"));
        }
        if !has_usable_port(authority) {
            return Err(refuse("found a port that is none"));
        }
        match scheme {
            "https" => {}
            "http" if is_loopback(authority.host()) => {}
            "http" => {
                return Err(refuse(
                    "found plain http, which is accepted for loopback only",
                ));
            }
            _ => return Err(refuse("found an unknown scheme")),
        }
        Ok(Self {
            url: format!("{scheme}://{authority}"),
            name: authority.to_string(),
        })
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// A port that is too large would otherwise be taken for none, and the scheme's used.
fn has_usable_port(authority: &Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => true,
        Some(_) => authority.port_u16().is_some_and(|port| port > 0),
        None => false,
    }
}

fn is_loopback(host: &str) -> bool {
    let v6 = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: Ipv4Addr| address.is_loopback())
        || v6
            .parse()
            .is_ok_and(|address: Ipv6Addr| address.is_loopback())
}
