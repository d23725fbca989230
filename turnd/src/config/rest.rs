//! `[rest]`: the credentials endpoint, its API keys, and where its callers' clients are.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use settings::{SecretText, Spanned, Table};

use super::{limits, names};

/// Shortest API key in bytes.
const API_KEY_MIN: usize = 16;

/// Lifetimes a credential may have.
const TTL_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(8760);

/// The `[rest]` table.
#[derive(Debug, Clone)]
pub struct Rest {
    /// Where the endpoint listens (HTTP).
    pub listen: SocketAddr,
    /// Whether answers name STUN servers too.
    pub stun: bool,
    /// Who may ask; never empty.
    pub api_keys: Vec<ApiKey>,
    /// Which region a client's network is in, for callers that do not say it.
    pub client_regions: Vec<ClientRegion>,
}

/// One `[[rest.api_keys]]`.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The tenant.
    pub id: String,
    /// The bearer token.
    pub key: SecretText,
    /// Shortest lifetime of a credential.
    pub ttl_min: Duration,
    /// Lifetime when the caller asks for none.
    pub ttl_default: Duration,
    /// Longest lifetime of a credential.
    pub ttl_max: Duration,
}

/// One `[[rest.client_regions]]`.
#[derive(Debug, Clone)]
pub struct ClientRegion {
    /// The region's id in the nameservers' configuration.
    pub region: String,
    /// The networks of its clients.
    pub networks: Vec<IpNet>,
}

impl Rest {
    pub(super) fn build(table: &mut Table<'_>) -> Option<Self> {
        let listen = table.required::<SocketAddr>("listen");
        let stun = table.with_default("stun", false);
        let keys: Vec<_> = table
            .tables("api_keys")
            .iter_mut()
            .map(ApiKey::build)
            .collect();
        let regions = table
            .tables("client_regions")
            .iter_mut()
            .map(ClientRegion::build)
            .collect();
        if keys.is_empty() {
            table.error(
                table.key_span("api_keys"),
                "`rest.api_keys` is empty: nobody could ask for a credential",
                "add a [[rest.api_keys]] table with `id` and `key`, or leave [rest] out",
            );
        }
        if keys.len() > limits::API_KEYS {
            let what = format!("`rest.api_keys` has {} entries", keys.len());
            table.error(table.key_span("api_keys"), what, "at most 1024 are taken");
        }
        let keys: Option<Vec<(Spanned<String>, ApiKey)>> = keys.into_iter().collect();
        let keys = keys?;
        twice(table, &keys);
        Some(Self {
            listen: listen?.value,
            stun: stun.value,
            api_keys: keys.into_iter().map(|(_, key)| key).collect(),
            client_regions: regions,
        })
    }

    /// The region of a client, by the longest matching network.
    pub fn region_of(&self, client: IpAddr) -> Option<&str> {
        let fits = |net: &&IpNet| net.contains(&client);
        let longest = |region: &ClientRegion| {
            region
                .networks
                .iter()
                .filter(fits)
                .map(IpNet::prefix_len)
                .max()
        };
        let found = self
            .client_regions
            .iter()
            .filter_map(|region| Some((longest(region)?, region)));
        found
            .max_by_key(|(length, _)| *length)
            .map(|(_, region)| region.region.as_str())
    }
}

/// Two tenants of one name, or one key for two tenants.
fn twice(table: &Table<'_>, keys: &[(Spanned<String>, ApiKey)]) {
    for (index, (id, key)) in keys.iter().enumerate() {
        let before = &keys[..index];
        if before.iter().any(|(_, other)| other.id == key.id) {
            let what = format!("the API key id {:?} is here twice", key.id);
            table.error(id.span, what, "give each API key an id of its own");
        }
        if let Some((_, other)) = before.iter().find(|(_, other)| other.key == key.key) {
            let what = format!(
                "the API keys {:?} and {:?} have the same key",
                other.id, key.id
            );
            table.error(id.span, what, "make one with: openssl rand -base64 48");
        }
    }
}

impl ApiKey {
    fn build(table: &mut Table<'_>) -> Option<(Spanned<String>, Self)> {
        let id = table.required_parsed(
            "id",
            "1 to 64 letters, digits, hyphens, underscores or dots",
            "\"webapp\"",
            names::id,
        );
        let key = table.required_secret("key", API_KEY_MIN);
        let min = table.with_default_in("ttl_min", Duration::from_mins(1), TTL_RANGE);
        let max = table.with_default_in("ttl_max", Duration::from_hours(24), TTL_RANGE);
        let usual = Duration::from_hours(1).clamp(min.value, max.value.max(min.value));
        let default = table.with_default_in("ttl_default", usual, TTL_RANGE);
        if min.value > max.value {
            let what = "`ttl_min` is longer than `ttl_max`";
            table.error(
                min.span,
                what,
                "write them as ttl_min <= ttl_default <= ttl_max",
            );
        } else if !(min.value..=max.value).contains(&default.value) {
            let what = "`ttl_default` is not between `ttl_min` and `ttl_max`";
            table.error(
                default.span,
                what,
                "write them as ttl_min <= ttl_default <= ttl_max",
            );
        }
        let id = id?;
        let key = Self {
            id: id.value.clone(),
            key: key?.value,
            ttl_min: min.value,
            ttl_default: default.value,
            ttl_max: max.value,
        };
        Some((id, key))
    }
}

impl ClientRegion {
    fn build(table: &mut Table<'_>) -> Self {
        let region = table.required_parsed("region", "the id of a region", "\"eu\"", names::id);
        let networks = table.required_list::<IpNet>("networks").unwrap_or_default();
        Self {
            region: region.map(|region| region.value).unwrap_or_default(),
            networks: networks.into_iter().map(|net| net.value).collect(),
        }
    }
}
