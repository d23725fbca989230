//! The choice for those who cannot ask again soon: few relays of each pool that change seldom.
//!
//! It follows neither loads nor slow starts nor passing doubt, but only who may serve at all: what
//! is transferred to another nameserver is served there for as long as that hears nothing new.

use std::sync::Arc;

use super::plan::{compile, unspilled};
use super::pool::pool;
use super::{Plans, RegionPlan, View, deal};
use crate::inventory::Inventory;
use crate::limits::REPRESENTATIVES_MAX;
use crate::paths::Transport;

/// Ten thousand times the configured weight is a card's weight where nothing lessens it.
const WHOLE_WEIGHT: u32 = 10_000;

/// The plans of each region, in the inventory's order, with one variant each. Only clients of
/// unknown place tell transports apart: the default region's.
pub(crate) fn steady(inventory: &Inventory, view: &View) -> Vec<Plans> {
    let plans = (0..inventory.regions().len()).map(|region| {
        let main = steady_plan(inventory, view, region, None);
        let by_transport = Transport::ALL.map(|transport| {
            if region == inventory.default_region() {
                steady_plan(inventory, view, region, Some(transport))
            } else {
                main.clone()
            }
        });
        Plans { main, by_transport }
    });
    plans.collect()
}

fn steady_plan(
    inventory: &Inventory,
    view: &View,
    region: usize,
    transport: Option<Transport>,
) -> RegionPlan {
    let pool = pool(inventory, view, region, transport);
    let mut cards = deal::cards(inventory, view, &pool);
    for card in &mut cards {
        // A suspect is as good as any: it may have been forgiven before anybody fetches this.
        card.doubt /= 2;
        card.weight = inventory.relays()[usize::from(card.relay)].weight * WHOLE_WEIGHT;
    }
    let variants = compile(&mut cards, None, (1, REPRESENTATIVES_MAX), || {});
    RegionPlan {
        ttl: inventory.policy().ttl_max,
        ..unspilled(&pool, variants.into(), Arc::default())
    }
}
