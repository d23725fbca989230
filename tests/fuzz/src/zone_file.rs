//! A zone file: any text is one, or has problems on lines of its own; what it says is answered.

use std::sync::OnceLock;

use credentials::UnixTime;
use credentials::label::{LabelKey, LabelKeys};
use dnsd_core::answer::{Query, answer};
use dnsd_core::inventory::{
    Inventory, Nameserver, OtherZone, Policy, Region, RelayEntry, Thresholds, Zone,
};
use dnsd_core::records::{Records, RrSet};
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::{Seat, Standing, View};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use liveness::KeyId;

/// Takes the input as the text of a file: of a zone that is not steered, so that all may stand in it.
pub fn zone_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let zone = Name::from_ascii("zone.example.").unwrap();
    let records = match Records::parse(text, &zone) {
        Ok(records) => records,
        Err(problems) => {
            let lines = text.split('\n').count();
            assert!(!problems.is_empty());
            for problem in problems {
                assert!((1..=lines).contains(&(problem.line as usize)), "{problem}");
            }
            return;
        }
    };
    let other = OtherZone {
        name: zone.clone(),
        contact: zone,
        steered: false,
        records: records.clone(),
    };
    let inventory = fixture()
        .clone()
        .with_zones(Records::default(), vec![other]);
    let inventory = inventory.unwrap();
    let view = View {
        seats: vec![Seat::new(Standing::Up)],
        cautious: false,
        flows: Vec::new(),
    };
    let snapshot = Snapshot::compile(&inventory, &view, 1);
    for set in records.sets() {
        check(&snapshot, &records, set);
    }
}

/// A set is the answer to a question for it, unless it is the glue or the mark of a delegation.
fn check(snapshot: &Snapshot, records: &Records, set: &RrSet) {
    let answer = answer(
        snapshot,
        keys(),
        UnixTime(1_800_000_000),
        &Query {
            name: &set.name,
            record_type: set.record_type,
            class: DNSClass::IN,
            client: [192, 0, 2, 1].into(),
            subnet: None,
            dnssec_ok: false,
        },
    );
    let mut cuts = records
        .sets()
        .iter()
        .filter(|set| set.record_type == RecordType::NS);
    assert_eq!(answer.rcode, ResponseCode::NoError, "{set:?}");
    if cuts.any(|cut| cut.name.zone_of(&set.name)) {
        assert!(
            !answer.authoritative && answer.answers.is_empty(),
            "{set:?}"
        );
        assert!(!answer.authorities.is_empty(), "{set:?}");
        return;
    }
    assert!(answer.authoritative, "{set:?}");
    let found: Vec<_> = answer.answers.iter().map(|record| &record.data).collect();
    assert_eq!(found, set.data.iter().collect::<Vec<_>>(), "{set:?}");
    assert!(
        answer.answers.iter().all(|record| record.ttl == set.ttl),
        "{set:?}"
    );
}

fn keys() -> &'static LabelKeys {
    static KEYS: OnceLock<LabelKeys> = OnceLock::new();
    KEYS.get_or_init(|| LabelKeys::new(LabelKey::new([7; 64]), Vec::new()).unwrap())
}

fn fixture() -> &'static Inventory {
    static INVENTORY: OnceLock<Inventory> = OnceLock::new();
    INVENTORY.get_or_init(|| {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let zone = Zone {
            name: name("turn.example."),
            contact: name("hostmaster.turn.example."),
            nameservers: vec![Nameserver {
                name: name("ns.elsewhere.example."),
                ipv4: None,
                ipv6: None,
            }],
        };
        let region = Region {
            id: "eu".parse().unwrap(),
            fallback: None,
            coordinates: None,
            clients: Vec::new(),
            countries: Vec::new(),
            continents: Vec::new(),
            default: true,
        };
        let relay = RelayEntry {
            id: "fra-1".parse().unwrap(),
            region: "eu".parse().unwrap(),
            zone: "a".to_owned(),
            vendor: "alpha".to_owned(),
            ipv4: Some("198.51.100.1:3478".parse().unwrap()),
            ipv6: None,
            weight: 100,
            standby: false,
            keys: vec![KeyId(1)],
            transports: None,
            tcp_port: None,
            tls_port: None,
        };
        let thresholds = Thresholds::default();
        let policy = Policy {
            variants: 64,
            ..Policy::default()
        };
        Inventory::new(zone, vec![region], vec![relay], policy, thresholds).unwrap()
    })
}
