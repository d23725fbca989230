//! `[dns]`: how queries are treated, whatever they ask.

use std::time::Duration;

use credentials::SecretRing;
use ipnet::IpNet;
use settings::Table;

use crate::limits::{
    CHAOS_BYTES, GATHER_MAX, NSID_BYTES, RESPONSES_PER_SECOND, UNLIMITED_NETWORKS,
};
use crate::serve::cookie::Cookies;
use crate::serve::rate::Ration;
use crate::serve::rules::Rules;
use crate::serve::transfer::Secondaries;

/// Responses a second to a network that shows no cookie, unless something else is said. A resolver
/// of many people asks some hundred times a second; one that asks more comes with cookies, or is
/// sent to TCP.
const RATION: u32 = 1000;
/// Of how many responses that are withheld one leaves truncated.
const SLIP: u32 = 2;
/// How long queries gather: far below what any resolver notices, and long enough to spare a busy
/// nameserver most of its awakenings.
const GATHER: Duration = Duration::from_micros(200);

/// `[dns]`, but for the cookies, whose keys belong to the secrets.
#[derive(Debug)]
pub(super) struct Dns {
    ration: Ration,
    unlimited: Vec<IpNet>,
    gather: Duration,
    nsid: Option<String>,
    chaos_id: Option<String>,
    chaos_version: Option<String>,
}

impl Dns {
    /// The rules, with cookies of the fleet's secrets, and those who may have the zones.
    pub(super) fn rules(self, secrets: &SecretRing, secondaries: Secondaries) -> Rules {
        Rules {
            cookies: Cookies::derive(secrets),
            ration: self.ration,
            unlimited: self.unlimited,
            gather: self.gather,
            nsid: self.nsid,
            chaos_id: self.chaos_id,
            chaos_version: self.chaos_version,
            secondaries,
        }
    }
}

pub(super) fn dns(root: &mut Table<'_>) -> Dns {
    let mut table = root.table_or_default("dns");
    let most = 0..=RESPONSES_PER_SECOND;
    let per_second = table.with_default_in("responses_per_second", RATION, most);
    let slip = table.with_default_in("slip", SLIP, 0..=100);
    let gather = table.with_default_in("gather", GATHER, Duration::ZERO..=GATHER_MAX);
    let unlimited = table.list::<IpNet>("unlimited");
    if let Some(more) = unlimited.get(UNLIMITED_NETWORKS) {
        let what = format!("{} networks", unlimited.len());
        let help = format!("keep at most {UNLIMITED_NETWORKS}; wider ones hold more");
        table.error(more.span, what, help);
    }
    let mut text = |key: &'static str, most: usize, example: &str| {
        let expected = format!("a text of 1 to {most} printable ASCII characters");
        let parsed = table.optional_parsed(key, &expected, example, |text| printable(text, most));
        parsed.map(|text| text.value)
    };
    Dns {
        nsid: text("nsid", NSID_BYTES, "\"ns1\""),
        chaos_id: text("chaos_id", CHAOS_BYTES, "\"ns1\""),
        chaos_version: text("chaos_version", CHAOS_BYTES, "\"turnfleet\""),
        ration: Ration {
            per_second: per_second.value,
            slip: slip.value,
        },
        gather: gather.value,
        unlimited: unlimited.into_iter().map(|network| network.value).collect(),
    }
}

fn printable(text: &str, most: usize) -> Result<String, String> {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if text.is_empty() || text.len() > most {
        Err(format!("it has {} bytes", text.len()))
    } else if !plain {
        Err("it has other characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}
