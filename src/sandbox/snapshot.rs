//! Takes the state of a sandbox as JSON, loads it again, and resets it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Offsets;
use super::error::SandboxError;
use super::gateway::{Gateway, Store};
use super::platform;
use super::record::Newest;
use super::sync::lock;

#[derive(Default, Serialize, Deserialize)]
struct Snapshot {
    #[serde(flatten)]
    store: Store,
    platform: platform::State,
    clock: Offsets,
}

pub(super) fn take(gateway: &Gateway) -> Value {
    serde_json::to_value(Snapshot {
        store: lock(&gateway.store).clone(),
        platform: gateway.platform.state().clone(),
        clock: *gateway.clock.offsets(),
    })
    .unwrap_or_default()
}

/// Loads a snapshot. On failure the state is unchanged.
pub(super) fn load(gateway: &Gateway, snapshot: Value) -> Result<(), SandboxError> {
    let snapshot: Snapshot = serde_json::from_value(snapshot)
        .map_err(|error| SandboxError::new(format!("snapshot: {error}")))?;
    snapshot.platform.check()?;
    put(gateway, snapshot);
    Ok(())
}

/// Restores the initial state of the sandbox. Its address and its connections stay.
pub(super) fn reset(gateway: &Gateway) {
    put(gateway, Snapshot::default());
    gateway.clock.replace(None);
    lock(&gateway.faults).clear();
    gateway.notifier.reset();
    *lock(&gateway.requests) = Newest::new();
}

fn put(gateway: &Gateway, snapshot: Snapshot) {
    *lock(&gateway.store) = snapshot.store;
    *gateway.platform.state() = snapshot.platform;
    *gateway.clock.offsets() = snapshot.clock;
}
