//! The hosts that requests are sent to: their URLs, and their order for a call.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::http::uri::Authority;

use crate::error::InvalidSetting;
use crate::merchant::USER_AGENT;

/// The time for which calls avoid a host after a failed connection, if there is another host.
const DOWN_FOR: Duration = Duration::from_secs(10);

/// The duration from which a failed attempt to connect counts as slow.
const SLOW: Duration = Duration::from_millis(500);

/// The `User-Agent` at the backup host. It tells WeChat Pay that the main host could not be reached.
const BACKUP_USER_AGENT: &str = concat!(
    "wechatpay-contract/",
    env!("CARGO_PKG_VERSION"),
    " (backup-host)"
);

/// The maximum length of a host's path, in bytes.
const MAX_PATH: usize = 256;

/// The main host, and its backup if there is one.
#[derive(Debug)]
pub(super) struct Hosts {
    pub(super) main: Host,
    pub(super) backup: Option<Host>,
}

impl Hosts {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Host> {
        [&self.main].into_iter().chain(&self.backup)
    }

    /// Returns the host for the first attempt of a call: the main host, or the backup host while the main host is down.
    /// One call in 10 seconds probes a host that is down. If both hosts are down, calls try the one that failed earlier.
    pub(super) fn first(&self, now: Instant) -> &Host {
        let down_until = |host: &Host| host.down().map(|down| down.until);
        match &self.backup {
            Some(backup) if !self.main.may_try(now) => {
                let is_next = backup.may_try(now) || down_until(backup) < down_until(&self.main);
                if is_next { backup } else { &self.main }
            }
            _ => &self.main,
        }
    }

    /// Returns the other host for the second attempt of a call that could not connect to `first`. Returns `None` if there
    /// is no other host, or if the other host was slow to fail and is not due for a probe.
    pub(super) fn second(&self, first: &Host, now: Instant) -> Option<&Host> {
        let other = self.iter().find(|host| !std::ptr::eq(*host, first))?;
        let is_fast_to_fail = other.down().is_some_and(|down| !down.was_slow);
        (is_fast_to_fail || other.may_try(now)).then_some(other)
    }
}

/// A host that requests go to.
pub(super) struct Host {
    /// Scheme, authority and path, to which the target is appended.
    pub(super) url: String,
    /// The authority, for messages.
    pub(super) name: String,
    pub(super) user_agent: &'static str,
    down: Mutex<Option<Down>>,
}

/// The state of a host that could not be connected to.
#[derive(Clone, Copy)]
struct Down {
    /// The time until which calls start with another host.
    until: Instant,
    was_slow: bool,
}

impl Host {
    pub(super) fn main(url: &str) -> Result<Self, InvalidSetting> {
        Self::parse("host", url, USER_AGENT)
    }

    pub(super) fn backup(url: &str) -> Result<Self, InvalidSetting> {
        Self::parse("backup_host", url, BACKUP_USER_AGENT)
    }

    fn parse(
        setting: &'static str,
        url: &str,
        user_agent: &'static str,
    ) -> Result<Self, InvalidSetting> {
        let refuse = |problem: &str| {
            let wanted = "https://name, if need be with a port and the path of a relay";
            InvalidSetting::new(setting, format!("{problem}: wanted {wanted}"))
        };
        let uri: Uri = url.parse().map_err(|_| refuse(not_a_url(url)))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(refuse("found no scheme such as https"));
        };
        if url.contains(['?', '#', '@']) {
            return Err(refuse("found a query, a fragment or a user"));
        }
        let path = uri.path().trim_end_matches('/');
        check(scheme, authority, path).map_err(refuse)?;
        Ok(Self {
            url: format!("{scheme}://{authority}{path}"),
            name: authority.to_string(),
            user_agent,
            down: Mutex::default(),
        })
    }

    /// Records that no connection could be made in an attempt that began at `began`.
    pub(super) fn set_down(&self, began: Instant, now: Instant) {
        *self.lock() = Some(Down {
            until: now + DOWN_FOR,
            was_slow: now.saturating_duration_since(began) >= SLOW,
        });
    }

    /// Records that a connection could be made.
    pub(super) fn set_up(&self) {
        *self.lock() = None;
    }

    /// Returns `true` if a call may try the host. While the host is down, one call in 10 seconds may, as a probe.
    fn may_try(&self, now: Instant) -> bool {
        match &mut *self.lock() {
            Some(down) if now < down.until => false,
            Some(down) => {
                down.until = now + DOWN_FOR;
                true
            }
            None => true,
        }
    }

    fn down(&self) -> Option<Down> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Down>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Returns the reason why a text is not a URL. The reason omits the text, which may be a secret.
fn not_a_url(text: &str) -> &'static str {
    match text {
        "" => "found an empty text",
        text if text.trim() != text => "found white space around it",
        text if text.contains("${") => "found a variable that was not substituted",
        _ => "not a URL",
    }
}

/// Checks the parts of a host's URL. The path of a relay is put before WeChat Pay's path and sent unchanged, so it must
/// not need normalization or decoding.
fn check(scheme: &str, authority: &Authority, path: &str) -> Result<(), &'static str> {
    // The `http` crate treats a port that is too large as absent.
    let has_usable_port =
        authority.as_str() == authority.host() || authority.port_u16().is_some_and(|port| port > 0);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_plain =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
    let mut segments = path.split('/').skip(1);
    match scheme {
        _ if !has_usable_port => Err("found a port that is not a number from 1 to 65535"),
        _ if path.len() > MAX_PATH => Err("found a path of more than 256 bytes"),
        _ if segments.clone().any(|segment| segment == "v3") => {
            Err("found /v3, which is the beginning of each request's own path")
        }
        _ if !segments.all(is_plain) => Err(
            "found a path segment that is empty, '.' or '..', or has other characters than letters, digits and -._~",
        ),
        "https" => Ok(()),
        "http" if is_loopback(authority.host()) => Ok(()),
        "http" => Err("found plain http, which is accepted for loopback only"),
        _ => Err("found an unknown scheme"),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "https://main.test";
    const BACKUP: &str = "https://backup.test";

    fn hosts() -> Hosts {
        Hosts {
            main: Host::main(MAIN).unwrap(),
            backup: Some(Host::backup(BACKUP).unwrap()),
        }
    }

    /// Returns the first host of each of `calls` calls at the same moment.
    fn first(hosts: &Hosts, calls: usize, now: Instant) -> Vec<&str> {
        (0..calls).map(|_| hosts.first(now).url.as_str()).collect()
    }

    #[test]
    fn calls_avoid_a_main_host_that_is_down_and_one_in_ten_seconds_probes_it() {
        let (hosts, start) = (hosts(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(first(&hosts, 2, start), [MAIN, MAIN]);
        hosts.main.set_down(start, start);
        for second in 0..10 {
            assert_eq!(first(&hosts, 2, later(second)), [BACKUP, BACKUP]);
        }
        assert_eq!(first(&hosts, 3, later(10)), [MAIN, BACKUP, BACKUP]);
        // The probe failed after five seconds.
        hosts.main.set_down(later(10), later(15));
        assert_eq!(first(&hosts, 1, later(24)), [BACKUP]);
        assert_eq!(first(&hosts, 2, later(25)), [MAIN, BACKUP]);
        hosts.main.set_up();
        assert_eq!(first(&hosts, 2, later(25)), [MAIN, MAIN]);
    }

    #[test]
    fn a_second_attempt_does_not_wait_for_a_host_that_was_slow_to_fail() {
        let (hosts, start) = (hosts(), Instant::now());
        let second = |first, now| hosts.second(first, now).map(|host| host.url.as_str());
        let backup = hosts.backup.as_ref().unwrap();
        assert_eq!(second(&hosts.main, start), Some(BACKUP));
        assert_eq!(second(backup, start), Some(MAIN));
        hosts.main.set_down(start, start);
        assert_eq!(second(backup, start), Some(MAIN));
        hosts.main.set_down(start, start + SLOW);
        assert_eq!(second(backup, start + DOWN_FOR), None);
        assert_eq!(second(backup, start + SLOW + DOWN_FOR), Some(MAIN));
        assert_eq!(second(backup, start + SLOW + DOWN_FOR), None);
    }

    #[test]
    fn two_hosts_that_are_down_are_tried_in_turn() {
        let (hosts, start) = (hosts(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        let backup = hosts.backup.as_ref().unwrap();
        hosts.main.set_down(start, start);
        backup.set_down(start, later(1));
        assert_eq!(first(&hosts, 1, later(2)), [MAIN]);
        hosts.main.set_down(later(2), later(3));
        assert_eq!(first(&hosts, 1, later(3)), [BACKUP]);
    }

    #[test]
    fn a_host_without_a_backup_is_always_tried() {
        let mut hosts = hosts();
        hosts.backup = None;
        let now = Instant::now();
        hosts.main.set_down(now, now);
        assert_eq!(first(&hosts, 2, now), [MAIN, MAIN]);
        assert!(hosts.second(&hosts.main, now).is_none());
    }
}
