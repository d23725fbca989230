//! Serving DNS: what every listener shares.

pub mod complaints;
pub mod reply;
pub mod tcp;
pub mod udp;
pub mod wire;

use std::sync::Arc;

use arc_swap::ArcSwap;
use credentials::label::LabelKeys;
use dnsd_core::snapshot::Snapshot;

use crate::metrics::Metrics;

/// The answers in force and the keys that open the labels they are asked by.
#[derive(Debug)]
pub struct Published {
    /// The compiled answers.
    pub snapshot: Snapshot,
    /// Opens labels.
    pub labels: LabelKeys,
}

/// What the listeners read and count. Swapped under them, never locked.
#[derive(Debug)]
pub struct Served {
    /// The answers in force.
    pub published: ArcSwap<Published>,
    /// Where labels that complain about relays are noted.
    pub complaints: complaints::Complaints,
    /// The daemon's metrics.
    pub metrics: Arc<Metrics>,
}
