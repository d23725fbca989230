//! What was known before the start, and the answers that follow from it.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use arc_swap::ArcSwap;
use dnsd_core::answer::Complaint;
use dnsd_core::fleet::{Fleet, Saved};
use dnsd_core::snapshot::Snapshot;
use dnsd_core::votes::Observer;

use crate::clock;
use crate::config::Config;
use crate::control::Chronicle;
use crate::courtesy::give_way;
use crate::dnssec::Signing;
use crate::geoip::Geoip;
use crate::history::Event;
use crate::metrics::Metrics;
use crate::serve::complaints::Complaints;
use crate::serve::rate::Limiter;
use crate::serve::transfer::Transfers;
use crate::serve::{Published, Served};

/// The fleet as it was saved, and the answers that follow from it.
pub(super) fn restore(
    config: &Config,
    saved: Option<&Saved>,
    metrics: &Arc<Metrics>,
    signing: &mut Signing,
) -> (Fleet, Chronicle, Snapshot) {
    let mut chronicle = Chronicle::default();
    chronicle.history.add(Event::Started {
        restored: saved.is_some(),
        generation: config.inventory.generation(),
    });
    let inventory = config.inventory.clone();
    let mut fleet = Fleet::new(inventory, saved, clock::now(), clock::unix());
    // Whoever answers queries on this core goes on meanwhile.
    fleet.pausing(give_way);
    if let Some(sharing) = &config.sharing {
        let me = Observer {
            id: config.node.id,
            domain: sharing.domain.clone(),
        };
        fleet.join(clock::now(), clock::unix(), me);
    }
    let (generation, newest) = (config.inventory.generation(), fleet.newest_configuration());
    if generation < newest {
        // A nameserver that refused to start would help nobody.
        tracing::error!(
            generation,
            newest,
            "the configuration is older than one that was in force"
        );
    }
    metrics.configured(generation, newest);
    metrics.located(config.geoip.as_ref());
    if let Some(Geoip {
        path,
        found: Err(error),
    }) = &config.geoip
    {
        let path = path.display();
        tracing::error!("clients are told apart by configured networks alone: {path} {error}");
    }
    let snapshot = signing.publish(&mut fleet);
    metrics.published(&snapshot);
    (fleet, chronicle, snapshot)
}

/// What follows from a configuration and its answers, after `before` if anything was in force.
pub(super) fn compiled(
    config: &Config,
    snapshot: Snapshot,
    metrics: &Metrics,
    before: Option<&Published>,
) -> Published {
    Published {
        shares: metrics.shares(&snapshot, before.map(|before| &before.shares)),
        snapshot,
        labels: config.labels.clone(),
        rules: Arc::clone(&config.rules),
    }
}

/// What the listeners read and count.
pub(super) fn published(
    config: &Config,
    snapshot: Snapshot,
    metrics: &Arc<Metrics>,
    limiter: Limiter,
) -> (Arc<Served>, Receiver<Complaint>) {
    let (complaints, waiting) = Complaints::new(metrics.complaints());
    let served = Served {
        published: ArcSwap::from_pointee(compiled(config, snapshot, metrics, None)),
        complaints,
        transfers: Transfers::new(metrics),
        metrics: Arc::clone(metrics),
        limiter,
    };
    (Arc::new(served), waiting)
}
