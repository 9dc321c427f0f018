//! The addresses of hosts, looked up when they are first needed and again when they are old.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long looked-up addresses may be used.
const ADDRESSES_LIVE: Duration = Duration::from_secs(60);

/// Finds the addresses of a host and port.
pub(crate) type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Addresses by host and port, looked up when they are first needed and again when they are old.
pub(crate) struct Addresses {
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
    pub(crate) fn new(lookup: Lookup) -> Self {
        Self {
            lookup,
            known: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn of(&self, host: &str, port: u16, now: Instant) -> io::Result<Vec<SocketAddr>> {
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
    pub(super) fn prefer(&self, host: &str, port: u16, address: SocketAddr) {
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

    pub(super) fn forget(&self, host: &str, port: u16) {
        self.lock().retain(|entry| !entry.is_for(host, port));
    }

    pub(super) fn forget_all(&self) {
        self.lock().clear();
    }

    /// Nothing under the lock can leave the entries half-changed, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looked up by the operating system.
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
    fn are_looked_up_once_a_minute_for_each_name() {
        let (lookup, count) = counted(vec![Ok(vec![at(1)]), Ok(vec![at(2)]), Ok(vec![at(3)])]);
        let addresses = Addresses::new(lookup);
        let start = Instant::now();

        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(addresses.of("a.test", 443, now).unwrap(), [at(1)]);
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);

        let later = start + ADDRESSES_LIVE;
        assert_eq!(addresses.of("a.test", 443, later).unwrap(), [at(2)]);
        assert_eq!(addresses.of("b.test", 443, later).unwrap(), [at(3)]);
        assert_eq!(addresses.of("a.test", 443, later).unwrap(), [at(2)]);
        assert_eq!(count.load(Ordering::SeqCst), 3);
        assert_eq!(addresses.lock().len(), 2);
    }

    #[test]
    fn of_another_port_are_others() {
        let (lookup, count) = counted(vec![Ok(vec![at(1)])]);
        let addresses = Addresses::new(lookup);
        let now = Instant::now();
        addresses.of("a.test", 443, now).unwrap();
        addresses.of("a.test", 8443, now).unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn of_a_literal_need_no_look_up() {
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
    fn that_failed_to_be_found_are_not_kept() {
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
    fn put_the_one_that_answered_first() {
        let (lookup, _) = counted(vec![Ok(vec![at(1), at(2), at(3)])]);
        let addresses = Addresses::new(lookup);
        let now = Instant::now();
        addresses.of("a.test", 443, now).unwrap();
        addresses.prefer("a.test", 443, at(2));
        assert_eq!(
            addresses.of("a.test", 443, now).unwrap(),
            [at(2), at(1), at(3)]
        );
    }

    #[test]
    fn are_not_locked_while_a_name_is_looked_up() {
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
    fn survive_a_panic_under_the_lock() {
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
