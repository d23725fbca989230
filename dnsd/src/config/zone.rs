//! `[zone]` and `[answers]`: the zone's name, its nameservers and how answers are given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use dnsd_core::inventory::{self, Policy};
use dnsd_core::limits::{ANSWERS_MAX, NAMESERVERS_MAX, ZONE_NAME_MAX};
use hickory_proto::rr::Name;
use settings::{Span, Spanned, Table};

use super::zones::{ZoneFile, records};

/// Longest TTL anybody could mean, far above what steers well.
const TTL_MAX: Duration = Duration::from_hours(1);

/// `[zone]`.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) name: Spanned<Name>,
    pub(super) nameservers: Vec<Nameserver>,
    pub(super) contact: Name,
    pub(super) file: Option<ZoneFile>,
}

/// One entry of `zone.nameservers`.
#[derive(Debug)]
pub(super) struct Nameserver {
    /// Its label, if it lies in the zone.
    pub(super) label: Option<String>,
    /// Where its name stands.
    pub(super) span: Span,
    name: Name,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
}

pub(super) fn zone(root: &mut Table<'_>) -> Option<Zone> {
    let mut table = root.required_table("zone")?;
    let name = table.required_parsed("name", "a domain name", "\"turn.example\"", zone_name);
    let contact = table.required_parsed(
        "contact",
        "the mailbox of those responsible, as a domain name",
        "\"hostmaster.turn.example\"",
        contact,
    );
    let file = records(&mut table, name.as_ref().map(|name| &name.value));
    let span = table.key_span("nameservers");
    let entries = table.tables("nameservers");
    let count = entries.len();
    if entries.is_empty() {
        let help = "write nameservers = [{ name = \"ns1\", addresses = [\"192.0.2.53\"] }]";
        table.error(span, "the zone has no nameservers", help);
    }
    if count > NAMESERVERS_MAX {
        let what = format!("{count} nameservers");
        table.error(span, what, format!("keep at most {NAMESERVERS_MAX}"));
    }
    let apex = name
        .as_ref()
        .map_or_else(Name::root, |name| name.value.clone());
    let servers: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| nameserver(entry, &apex))
        .collect();
    if servers.is_empty() || servers.len() != count {
        return None;
    }
    Some(Zone {
        name: name?,
        nameservers: servers,
        contact: contact?.value,
        file,
    })
}

fn nameserver(mut table: Table<'_>, apex: &Name) -> Option<Nameserver> {
    let expected = "a name below the zone, or a domain name elsewhere";
    let name = table.required_parsed("name", expected, "\"ns1\"", |text| {
        if text.contains('.') {
            domain(text.strip_suffix('.').unwrap_or(text))
        } else {
            below(text, apex)
        }
    });
    let addresses = table.list::<IpAddr>("addresses");
    let (mut ipv4, mut ipv6) = (None, None);
    for address in &addresses {
        let second = match address.value {
            IpAddr::V4(v4) => ipv4.replace(v4).is_some(),
            IpAddr::V6(v6) => ipv6.replace(v6).is_some(),
        };
        if second {
            let what = "a nameserver has at most one IPv4 and one IPv6 address";
            table.error(
                address.span,
                what,
                "list the other address as a nameserver of its own",
            );
        }
    }
    let name = name?;
    let inside = apex.zone_of(&name.value);
    if inside && addresses.is_empty() {
        let what = format!("nameserver {} has no address", name.value);
        let help = "write addresses = [\"192.0.2.53\"]: resolvers need it to find the zone";
        table.error(name.span, what, help);
        return None;
    }
    if inside && name.value.num_labels() != apex.num_labels() + 1 {
        let what = format!("nameserver {} is not one label below the zone", name.value);
        table.error(
            name.span,
            what,
            "write a single label, or a name outside the zone",
        );
        return None;
    }
    let label = name.value.iter().next().filter(|_| inside);
    Some(Nameserver {
        label: label.map(|label| String::from_utf8_lossy(label).into_owned()),
        span: name.span,
        name: name.value,
        ipv4,
        ipv6,
    })
}

impl From<&Zone> for inventory::Zone {
    fn from(zone: &Zone) -> Self {
        let nameserver = |server: &Nameserver| inventory::Nameserver {
            name: server.name.clone(),
            ipv4: server.ipv4,
            ipv6: server.ipv6,
        };
        Self {
            name: zone.name.value.clone(),
            contact: zone.contact.clone(),
            nameservers: zone.nameservers.iter().map(nameserver).collect(),
        }
    }
}

pub(super) fn policy(root: &mut Table<'_>) -> Option<Policy> {
    let mut table = root.table_or_default("answers");
    let default = Policy::default();
    let ttl = Duration::from_secs(1)..=TTL_MAX;
    let seconds = |ttl: u32| Duration::from_secs(ttl.into());
    let count = table.with_default_in("count", default.answers, 1..=ANSWERS_MAX);
    let ttl_min = table.with_default_in("ttl_min", seconds(default.ttl_min), ttl.clone());
    let ttl_max = table.with_default_in("ttl_max", seconds(default.ttl_max), ttl);
    let headroom = table.with_default_in("headroom_percent", default.headroom_percent, 0..=99);
    for (key, ttl) in [("ttl_min", &ttl_min), ("ttl_max", &ttl_max)] {
        if ttl.value.subsec_millis() != 0 {
            let what = format!("`answers.{key}` is no whole number of seconds");
            table.error(ttl.span, what, "write whole seconds");
        }
    }
    let (min, max) = (ttl_min.value.as_secs(), ttl_max.value.as_secs());
    if min > max {
        let what = format!("`answers.ttl_min` is {min} s, above `answers.ttl_max` with {max} s");
        table.error(ttl_min.span, what, "make ttl_min the smaller one");
        return None;
    }
    Some(Policy {
        answers: count.value,
        ttl_min: u32::try_from(min).ok()?,
        ttl_max: u32::try_from(max).ok()?,
        headroom_percent: headroom.value,
        ..default
    })
}

/// One label of a host name (RFC 1123 section 2.1), in lower case.
fn label(text: &str) -> Result<(), &'static str> {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if text.is_empty() || text.len() > 63 {
        Err("it has 1 to 63 characters")
    } else if !plain {
        Err("it has only lower-case letters, digits and hyphens")
    } else if text.starts_with('-') || text.ends_with('-') {
        Err("it neither starts nor ends with a hyphen")
    } else {
        Ok(())
    }
}

fn below(text: &str, apex: &Name) -> Result<Name, String> {
    label(text)?;
    let name = Name::from_ascii(text).and_then(|name| name.append_domain(apex));
    name.map_err(|error| error.to_string())
}

pub(super) fn zone_name(text: &str) -> Result<Name, String> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    if !bare.contains('.') {
        return Err("a top-level domain cannot be the zone".to_owned());
    }
    let name = domain(bare)?;
    if name.len() > ZONE_NAME_MAX {
        return Err(format!(
            "labels below it must fit: at most {ZONE_NAME_MAX} bytes"
        ));
    }
    Ok(name)
}

pub(super) fn contact(text: &str) -> Result<Name, String> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    // RFC 1035 section 3.3.13: the mailbox's local part becomes the first label.
    match bare.split_once('@') {
        Some((local, rest)) if !local.is_empty() && !local.contains('.') => {
            domain(&format!("{local}.{rest}"))
        }
        Some(_) => Err("a local part with dots cannot be written as a domain name here".to_owned()),
        None if bare.contains('.') => domain(bare),
        None => Err("it has a local part and a domain".to_owned()),
    }
}

fn domain(text: &str) -> Result<Name, String> {
    for part in text.split('.') {
        label(part).map_err(|why| format!("label {part:?}: {why}"))?;
    }
    Name::from_ascii(format!("{text}.")).map_err(|error| error.to_string())
}
