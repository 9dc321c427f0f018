//! A cache of DNS lookups, which keeps addresses for a minute and returns the address of the last connection first.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time for which the result of a DNS lookup is used.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Finds the addresses of a host and port.
pub(crate) type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The cached addresses of each host and port.
pub(crate) struct Addresses {
    lookup: Lookup,
    known: Mutex<Known>,
}

type Known = HashMap<(String, u16), Entry>;

#[derive(Default)]
struct Entry {
    addresses: Vec<SocketAddr>,
    /// The time of the DNS lookup, or `None` if a later connection failed.
    looked_up: Option<Instant>,
    /// The address of the last connection. A new DNS lookup does not clear it.
    preferred: Option<SocketAddr>,
}

impl Entry {
    fn is_fresh(&self, now: Instant) -> bool {
        self.looked_up
            .is_some_and(|at| now.saturating_duration_since(at) < MAX_AGE)
    }

    /// Returns the addresses, the preferred one first, so that the next connection does not start with an unreachable one.
    fn sorted(&self) -> Vec<SocketAddr> {
        // A sort by key would make a program 15 KB larger.
        let (mut sorted, others): (Vec<_>, _) =
            (self.addresses.iter()).partition(|address| Some(**address) == self.preferred);
        sorted.extend(others);
        sorted
    }
}

impl Addresses {
    pub(crate) fn new(lookup: Lookup) -> Self {
        Self {
            lookup,
            known: Mutex::default(),
        }
    }

    /// Returns the addresses of a host, the preferred one first.
    pub(super) fn of(&self, host: &str, port: u16, now: Instant) -> io::Result<Vec<SocketAddr>> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let key = (host.to_owned(), port);
        if let Some(entry) = self.lock().get(&key).filter(|entry| entry.is_fresh(now)) {
            return Ok(entry.sorted());
        }
        // The lock is not held, so that a slow DNS lookup does not delay calls to other hosts. Threads that connect at
        // the same moment may each look the name up.
        let addresses = (self.lookup)(host, port)?;
        let mut known = self.lock();
        let entry = known.entry(key).or_default();
        entry.addresses = addresses;
        entry.looked_up = Some(now);
        Ok(entry.sorted())
    }

    /// Prefers the address that a connection was made to.
    pub(super) fn prefer(&self, host: &str, port: u16, address: SocketAddr) {
        if let Some(entry) = self.lock().get_mut(&(host.to_owned(), port)) {
            entry.preferred = Some(address);
        }
    }

    /// Makes the next connection to the host look its name up again.
    pub(super) fn forget(&self, host: &str, port: u16) {
        if let Some(entry) = self.lock().get_mut(&(host.to_owned(), port)) {
            entry.looked_up = None;
        }
    }

    /// Ignores poisoning: no panic under the lock can leave an entry half-changed.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Addresses that the operating system looks up.
impl Default for Addresses {
    fn default() -> Self {
        Self::new(Arc::new(|host, port| {
            Ok((host, port).to_socket_addrs()?.collect())
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::sync::atomic::Ordering;
    use std::thread;

    use super::super::tests::counted;
    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 443))
    }

    #[test]
    fn a_name_is_looked_up_once_a_minute() {
        let (lookup, count) = counted(vec![Ok(vec![at(1)]), Ok(vec![at(2)]), Ok(vec![at(3)])]);
        let addresses = Addresses::new(lookup);
        let start = Instant::now();

        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(addresses.of("a.test", 443, now).unwrap(), [at(1)]);
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);

        let later = start + MAX_AGE;
        assert_eq!(addresses.of("a.test", 443, later).unwrap(), [at(2)]);
        assert_eq!(addresses.of("b.test", 443, later).unwrap(), [at(3)]);
        assert_eq!(addresses.of("a.test", 443, later).unwrap(), [at(2)]);
        assert_eq!(count.load(Ordering::SeqCst), 3);
        assert_eq!(addresses.lock().len(), 2);
    }

    #[test]
    fn each_port_of_a_host_is_looked_up() {
        let (lookup, count) = counted(vec![Ok(vec![at(1)])]);
        let addresses = Addresses::new(lookup);
        let now = Instant::now();
        addresses.of("a.test", 443, now).unwrap();
        addresses.of("a.test", 8443, now).unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_literal_address_is_not_looked_up() {
        let (lookup, count) = counted(vec![Err(io::ErrorKind::NotFound.into())]);
        let addresses = Addresses::new(lookup);
        let now = Instant::now();
        for (host, wanted) in [
            ("192.0.2.1", "192.0.2.1:443"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
        ] {
            let wanted: SocketAddr = wanted.parse().unwrap();
            assert_eq!(addresses.of(host, 443, now).unwrap(), [wanted]);
        }
        assert_eq!(count.load(Ordering::SeqCst), 0);
        addresses.of("a.test", 443, now).unwrap_err();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_lookup_is_not_cached() {
        let (lookup, count) = counted(vec![Err(io::ErrorKind::NotFound.into()), Ok(vec![at(1)])]);
        let addresses = Addresses::new(lookup);
        let now = Instant::now();
        assert_eq!(
            addresses.of("a.test", 443, now).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(addresses.of("a.test", 443, now).unwrap(), [at(1)]);
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn the_address_of_the_last_connection_comes_first_after_a_new_lookup_too() {
        let (lookup, count) = counted(vec![
            Ok(vec![at(1), at(2), at(3)]),
            Ok(vec![at(3), at(1), at(2)]),
            Ok(vec![at(1), at(3)]),
            Ok(vec![at(1), at(2)]),
        ]);
        let addresses = Addresses::new(lookup);
        let now = Instant::now();
        let of = |at| addresses.of("a.test", 443, at).unwrap();
        assert_eq!(of(now), [at(1), at(2), at(3)]);
        addresses.prefer("a.test", 443, at(2));
        assert_eq!(of(now), [at(2), at(1), at(3)]);
        // The name is looked up again when the entry is too old, and after each failure.
        assert_eq!(of(now + MAX_AGE), [at(2), at(3), at(1)]);
        addresses.forget("a.test", 443);
        assert_eq!(of(now + MAX_AGE), [at(1), at(3)]);
        addresses.forget("a.test", 443);
        assert_eq!(of(now + MAX_AGE), [at(2), at(1)]);
        assert_eq!(count.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn the_lock_is_not_held_while_a_name_is_looked_up() {
        let addresses = Arc::new_cyclic(|weak: &Weak<Addresses>| {
            let weak = weak.clone();
            Addresses::new(Arc::new(move |_, _| {
                let addresses = weak.upgrade().unwrap();
                assert!(addresses.known.try_lock().is_ok());
                Ok(vec![at(1)])
            }))
        });
        assert_eq!(
            addresses.of("a.test", 443, Instant::now()).unwrap(),
            [at(1)]
        );
    }

    #[test]
    fn a_panic_under_the_lock_spoils_nothing() {
        let (lookup, count) = counted(vec![Ok(vec![at(1)])]);
        let addresses = Arc::new(Addresses::new(lookup));
        let now = Instant::now();
        addresses.of("a.test", 443, now).unwrap();

        let shared = Arc::clone(&addresses);
        let panicked = thread::spawn(move || {
            let _guard = shared.lock();
            panic!("to poison the lock");
        })
        .join();
        assert!(panicked.is_err() && addresses.known.is_poisoned());

        assert_eq!(addresses.of("a.test", 443, now).unwrap(), [at(1)]);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
