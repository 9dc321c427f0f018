//! Holds the platform keys, and chooses the one that a request names in `Wechatpay-Serial`.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use crate::error::{KeyError, VerifyError};
use crate::keys::{PublicKey, is_same_id};
use crate::time::unix_seconds;

/// The platform keys of a verifier and its clones, no two of them with the same id.
#[derive(Clone, Default)]
pub(crate) struct PlatformKeys {
    /// Replaced as a whole, so a reader continues with the keys that it started with.
    current: Arc<RwLock<Arc<[PublicKey]>>>,
}

impl PlatformKeys {
    pub(crate) fn new(keys: impl IntoIterator<Item = PublicKey>) -> Result<Self, KeyError> {
        let current = Arc::new(RwLock::new(checked(keys)?));
        Ok(Self { current })
    }

    /// Returns the keys held at this moment.
    pub(crate) fn current(&self) -> Arc<[PublicKey]> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks whether there is a key with this id, valid or not.
    #[cfg(feature = "client")]
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.current().iter().any(|key| is_same_id(key.id(), id))
    }

    /// Returns the key to name in `Wechatpay-Serial` of a request: the last public key if there is one, otherwise the
    /// certificate valid at `now` that expires last.
    pub(crate) fn preferred(&self, now: SystemTime) -> Option<PublicKey> {
        let now = unix_seconds(now);
        let end = |key: &&PublicKey| {
            key.validity()
                .map_or(u64::MAX, |validity| validity.not_after)
        };
        let keys = self.current();
        let valid = keys.iter().filter(|key| key.is_valid_at(now));
        valid.max_by_key(end).cloned()
    }

    /// Replaces the keys for which `is_replaced` returns `true`, and any key with the id of a new one.
    pub(crate) fn replace(
        &self,
        new: impl IntoIterator<Item = PublicKey>,
        is_replaced: fn(&PublicKey) -> bool,
    ) -> Result<(), KeyError> {
        let new = checked(new)?;
        let has_successor = |old: &PublicKey| new.iter().any(|new| is_same_id(new.id(), old.id()));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let kept = current
            .iter()
            .filter(|old| !is_replaced(old) && !has_successor(old));
        *current = kept.chain(new.iter()).cloned().collect();
        Ok(())
    }
}

/// Returns an error if there is no key, or if two keys have the same id.
fn checked(keys: impl IntoIterator<Item = PublicKey>) -> Result<Arc<[PublicKey]>, KeyError> {
    let keys: Arc<[PublicKey]> = keys.into_iter().collect();
    for (at, key) in keys.iter().enumerate() {
        let mut others = keys.iter().skip(at + 1);
        if others.any(|other| is_same_id(other.id(), key.id())) {
            let id = key.id().to_owned();
            return Err(KeyError::DuplicateId { id });
        }
    }
    match keys.is_empty() {
        true => Err(KeyError::NoKeys),
        false => Ok(keys),
    }
}

/// Returns the key that a message names, if it is valid at `now`.
pub(crate) fn find<'k>(
    keys: &'k [PublicKey],
    serial: &str,
    now: u64,
) -> Result<&'k PublicKey, VerifyError> {
    let Some(key) = keys.iter().find(|key| is_same_id(key.id(), serial)) else {
        return Err(VerifyError::UnknownSerial {
            received: serial.to_owned(),
            known: keys.iter().map(|key| key.id().to_owned()).collect(),
        });
    };
    match key.validity() {
        Some(validity) if !key.is_valid_at(now) => Err(VerifyError::OutsideValidity {
            serial: serial.to_owned(),
            not_before: validity.not_before,
            not_after: validity.not_after,
            now,
        }),
        _ => Ok(key),
    }
}

#[cfg(all(test, feature = "client"))]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_found_in_either_case_and_without_leading_zeros() {
        let pem = include_str!("../tests/platform/public.pem");
        let keys = PlatformKeys::new([PublicKey::from_pem("0a1b", pem).unwrap()]).unwrap();
        for (id, is_held) in [("0a1b", true), ("A1B", true), ("A1C", false), ("", false)] {
            assert_eq!(keys.contains(id), is_held, "{id}");
        }
    }
}
