//! The state of a sandbox as JSON, which can be loaded again, and its reset.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Offsets;
use super::contracts::Contracts;
use super::error::SandboxError;
use super::gateway::{Gateway, lock};
use super::orders::Orders;
use super::platform;
use super::refunds::Refunds;

#[derive(Serialize, Deserialize)]
struct Snapshot<C, O, R> {
    contracts: C,
    orders: O,
    refunds: R,
    platform: platform::State,
    clock: Offsets,
    is_first_merchant_certificate_revoked: bool,
}

pub(super) fn take(gateway: &Gateway) -> Value {
    serde_json::to_value(Snapshot {
        contracts: &*lock(&gateway.contracts),
        orders: &*lock(&gateway.orders),
        refunds: &*lock(&gateway.refunds),
        platform: gateway.platform.snapshot(),
        clock: gateway.clock.offsets(),
        is_first_merchant_certificate_revoked: gateway
            .identity
            .is_first_revoked
            .load(Ordering::SeqCst),
    })
    .unwrap_or_default()
}

/// Loads a whole snapshot or, on failure, nothing.
pub(super) fn load(gateway: &Gateway, snapshot: Value) -> Result<(), SandboxError> {
    let snapshot: Snapshot<Contracts, Orders, Refunds> = serde_json::from_value(snapshot)
        .map_err(|error| SandboxError::new(format!("snapshot: {error}")))?;
    snapshot.platform.check()?;
    *lock(&gateway.contracts) = snapshot.contracts;
    *lock(&gateway.orders) = snapshot.orders;
    *lock(&gateway.refunds) = snapshot.refunds;
    gateway.platform.load(snapshot.platform);
    gateway.clock.set_offsets(snapshot.clock);
    let revoked = snapshot.is_first_merchant_certificate_revoked;
    gateway
        .identity
        .is_first_revoked
        .store(revoked, Ordering::SeqCst);
    Ok(())
}

/// Makes the sandbox as it was at its start, with its address and its connections.
pub(super) fn reset(gateway: &Gateway) {
    *lock(&gateway.contracts) = Default::default();
    *lock(&gateway.orders) = Default::default();
    *lock(&gateway.refunds) = Default::default();
    gateway.platform.load(platform::State::new());
    gateway.clock.reset();
    gateway
        .identity
        .is_first_revoked
        .store(false, Ordering::SeqCst);
    gateway.faults.clear();
    gateway.notifier.reset();
    gateway.clear_requests();
}
