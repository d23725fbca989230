//! `[[enrolment]]`: by which rules relays join that are not listed.

use dnsd_core::inventory::{Enrolment, RegionId};
use dnsd_core::limits::{RELAYS_MAX, WEIGHT_MAX};
use ipnet::IpNet;
use liveness::KeyId;
use settings::{Spanned, Table};

use super::relays::{REGION, WEIGHT, place};

/// As many join by a rule that does not say how many.
const MOST: usize = 100;

/// One entry of `[[enrolment]]`.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) key: Spanned<u32>,
    pub(super) region: Spanned<RegionId>,
    networks: Vec<IpNet>,
    zone: String,
    vendor: String,
    weight: u32,
    standby: bool,
    most: usize,
}

/// The rules that could be read, and whether those are all.
pub(super) fn rules(root: &mut Table<'_>) -> (Vec<Rule>, bool) {
    let tables = root.tables("enrolment");
    let count = tables.len();
    let rules: Vec<_> = tables.into_iter().filter_map(rule).collect();
    let every = rules.len() == count;
    (rules, every)
}

fn rule(mut table: Table<'_>) -> Option<Rule> {
    let key = table.required::<u32>("key");
    let networks = table.required_list::<IpNet>("networks");
    let region = table.required_parsed("region", REGION, "\"eu\"", str::parse);
    let zone = table.required_parsed("zone", "the availability zone", "\"eu-a\"", place);
    let vendor = table.required_parsed("vendor", "who runs the machines", "\"alpha\"", place);
    let weight = table.with_default_in("weight", WEIGHT, 1..=WEIGHT_MAX);
    let standby = table.with_default("standby", false);
    let most = table.with_default_in("most", MOST, 1..=RELAYS_MAX);
    Some(Rule {
        key: key?,
        region: region?,
        networks: networks?.into_iter().map(|network| network.value).collect(),
        zone: zone?.value,
        vendor: vendor?.value,
        weight: weight.value,
        standby: standby.value,
        most: most.value,
    })
}

impl From<&Rule> for Enrolment {
    fn from(rule: &Rule) -> Self {
        Self {
            key: KeyId(rule.key.value),
            networks: rule.networks.clone(),
            region: rule.region.value.clone(),
            zone: rule.zone.clone(),
            vendor: rule.vendor.clone(),
            weight: rule.weight,
            standby: rule.standby,
            most: rule.most,
        }
    }
}
