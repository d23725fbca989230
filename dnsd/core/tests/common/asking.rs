//! Asking a snapshot, and reading its answers.

use std::net::IpAddr;

use credentials::UnixTime;
use credentials::label::{LabelKey, LabelKeys};
use dnsd_core::answer::{Answer, Query, answer};
use dnsd_core::inventory::Inventory;
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::{Seat, Standing, View};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::{name, six, start};

pub const NOW: UnixTime = UnixTime(1_795_000_000);
pub const EU: &str = "127.0.1.77";
pub const US: &str = "127.0.2.77";

pub fn keys() -> LabelKeys {
    LabelKeys::new(LabelKey::new([7; 64]), Vec::new()).unwrap()
}

pub fn all_up(inventory: &Inventory) -> View {
    let seat = Seat {
        last_good: Some(start()),
        ..Seat::new(Standing::Up)
    };
    View {
        seats: vec![seat; inventory.relays().len()],
        cautious: false,
        flows: Vec::new(),
    }
}

pub fn snapshot() -> Snapshot {
    let inventory = six();
    Snapshot::compile(&inventory, &all_up(&inventory), 42)
}

pub fn ask(snapshot: &Snapshot, owner: &str, record_type: RecordType, client: &str) -> Answer {
    let name = name(owner);
    let query = Query {
        name: &name,
        record_type,
        class: DNSClass::IN,
        client: client.parse().unwrap(),
        subnet: None,
        dnssec_ok: false,
    };
    answer(snapshot, &keys(), NOW, &query)
}

pub fn addresses(records: &[Record]) -> Vec<IpAddr> {
    let address = |record: &Record| match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    };
    records.iter().filter_map(address).collect()
}

/// The relay that has the address, by the last part of it.
pub fn relay_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    }
}

pub fn relays(answer: &Answer) -> Vec<u8> {
    addresses(&answer.answers)
        .into_iter()
        .map(relay_of)
        .collect()
}
