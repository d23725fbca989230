//! `[transfer]`: which other nameservers may have the zones, and how often.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use settings::{Spanned, Table};
use zeroize::Zeroizing;

use crate::limits::{SECONDARIES, SECONDARY_NAME, TRANSFER_KEY_MIN, TRANSFER_KEYS};
use crate::serve::transfer::tsig::Key;
use crate::serve::transfer::{Secondaries, Secondary};

/// Least time between two editions unless something else is said: a secondary needs seconds to fetch
/// one.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a relay may be gone unless something else is said: one that restarts is back by then.
const HOLD: Duration = Duration::from_secs(30);
/// Percent of a set that may differ unless something else is said.
const CHANGED: usize = 50;
/// Where nameservers listen.
const PORT: u16 = 53;

/// `[transfer]`: without it nobody gets the zones.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) interval: Duration,
    pub(super) hold: Duration,
    pub(super) changed: usize,
    pub(super) secondaries: Secondaries,
}

/// The section; `None` if it could not be read.
pub(super) fn transfer(root: &mut Table<'_>) -> Option<Transfer> {
    let mut table = root.table_or_default("transfer");
    let most = Duration::from_hours(1);
    let interval = table.with_default_in("interval", INTERVAL, Duration::from_secs(1)..=most);
    let hold = table.with_default_in("hold", HOLD, Duration::from_secs(1)..=most);
    let changed = table.with_default_in("changed_percent", CHANGED, 0..=100);
    let keys = keys(&mut table);
    let all = secondaries(&mut table, keys.as_deref());
    Some(Transfer {
        interval: interval.value,
        hold: hold.value,
        changed: changed.value,
        secondaries: Secondaries {
            all: all?,
            keys: keys?,
        },
    })
}

fn keys(table: &mut Table<'_>) -> Option<Vec<Key>> {
    let mut keys: Vec<Key> = Vec::new();
    let mut complete = true;
    let entries = table.tables("keys");
    if entries.len() > TRANSFER_KEYS {
        let what = format!("more than {TRANSFER_KEYS} keys");
        table.error(table.key_span("keys"), what, "remove some");
    }
    for mut entry in entries {
        match key(&mut entry) {
            Some((name, key)) => {
                if keys.iter().any(|other| other.name() == key.name()) {
                    let what = format!("{} is in `transfer.keys` twice", key.name());
                    entry.error(name.span, what, "give every key a name of its own");
                }
                keys.push(key);
            }
            None => complete = false,
        }
    }
    complete.then_some(keys)
}

fn key(entry: &mut Table<'_>) -> Option<(Spanned<Name>, Key)> {
    let name = entry.required_parsed("name", "a domain name", "\"turnfleet-1\"", key_name);
    let algorithms = [
        ("hmac-sha256", TsigAlgorithmName::Sha256),
        ("hmac-sha384", TsigAlgorithmName::Sha384),
        ("hmac-sha512", TsigAlgorithmName::Sha512),
    ];
    let algorithm = entry.one_of("algorithm", &algorithms, TsigAlgorithmName::Sha256);
    let text = entry.required_secret("secret", TRANSFER_KEY_MIN)?;
    let secret = BASE64.decode(text.value.expose().trim().as_bytes());
    let Ok(secret) = secret.map(Zeroizing::new) else {
        let help = "write it as the secondary has it; make one with: openssl rand -base64 32";
        entry.error(text.span, "the secret is not base64", help);
        return None;
    };
    let name = name?;
    let key = Key::new(&name.value, algorithm.value.into(), secret.to_vec())?;
    Some((name, key))
}

/// The algorithms of RFC 8945 section 6 that are not discouraged, uncut.
#[derive(Debug, Clone, Copy)]
enum TsigAlgorithmName {
    Sha256,
    Sha384,
    Sha512,
}

impl From<TsigAlgorithmName> for TsigAlgorithm {
    fn from(name: TsigAlgorithmName) -> Self {
        match name {
            TsigAlgorithmName::Sha256 => Self::HmacSha256,
            TsigAlgorithmName::Sha384 => Self::HmacSha384,
            TsigAlgorithmName::Sha512 => Self::HmacSha512,
        }
    }
}

fn key_name(text: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(text).map_err(|error| error.to_string())?;
    if name.is_root() {
        return Err("it has no label".to_owned());
    }
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

fn secondaries(table: &mut Table<'_>, keys: Option<&[Key]>) -> Option<Vec<Arc<Secondary>>> {
    let mut all: Vec<Arc<Secondary>> = Vec::new();
    let mut complete = true;
    let entries = table.tables("secondaries");
    if entries.len() > SECONDARIES {
        let what = format!("more than {SECONDARIES} secondaries");
        table.error(table.key_span("secondaries"), what, "remove some");
    }
    for mut entry in entries {
        match secondary(&mut entry, keys) {
            Some((name, secondary)) => {
                if all.iter().any(|other| other.name == secondary.name) {
                    let what = format!("{:?} is in `transfer.secondaries` twice", secondary.name);
                    entry.error(name.span, what, "give every secondary a name of its own");
                }
                all.push(Arc::new(secondary));
            }
            None => complete = false,
        }
    }
    complete.then_some(all)
}

fn secondary(entry: &mut Table<'_>, keys: Option<&[Key]>) -> Option<(Spanned<String>, Secondary)> {
    let name = entry.required_parsed("name", "a short name", "\"elsewhere\"", plain);
    let expected = "an IP address, with a port if it is not 53";
    let address = entry.optional_parsed("address", expected, "\"192.0.2.53\"", address);
    let notify = entry.with_default("notify", address.is_some());
    let wanted = entry.optional_parsed("key", "the name of a key", "\"turnfleet-1\"", key_name);
    if address.is_none() && wanted.is_none() && !entry.has("address") && !entry.has("key") {
        let what = "everybody could have the zones: neither `address` nor `key` is here";
        let help = "add address = \"192.0.2.53\", key = \"name\", or both";
        entry.error(entry.span(), what, help);
    }
    if notify.value && address.is_none() {
        let what = "nobody can be told of changes without `address`";
        entry.error(notify.span, what, "add `address`, or write notify = false");
    }
    let key = match (&wanted, keys) {
        (Some(wanted), Some(keys)) => {
            let found = keys.iter().find(|key| *key.name() == wanted.value);
            if found.is_none() {
                let what = format!("there is no key {} in `transfer.keys`", wanted.value);
                let help = "add [[transfer.keys]] with this name, algorithm and secret_file";
                entry.error(wanted.span, what, help);
            }
            found.cloned()
        }
        _ => None,
    };
    let name = name?;
    let secondary = Secondary {
        name: name.value.clone(),
        address: address.map(|address| address.value),
        notify: notify.value,
        key,
    };
    Some((name, secondary))
}

fn plain(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > SECONDARY_NAME || !text.bytes().all(fits) {
        return Err(format!(
            "it has 1 to {SECONDARY_NAME} letters, digits, hyphens, dots and underscores"
        ));
    }
    Ok(text.to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let address = text
        .parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| (ip, PORT).into()))
        .map_err(|error| error.to_string())?;
    if address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0 {
        return Err("no nameserver has it".to_owned());
    }
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}
