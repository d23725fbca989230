//! A DNS query over UDP: the fast path and the slow path give one answer.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use credentials::label::LabelKeys;
use credentials::{Secret, SecretRing, UnixTime};
use dnsd::metrics::{Metrics, Transport};
use dnsd::serve::Published;
use dnsd::serve::cookie::Cookies;
use dnsd::serve::fast::Query;
use dnsd::serve::fast::parse::Room;
use dnsd::serve::rate::Ration;
use dnsd::serve::rules::Rules;
use dnsd::serve::transfer::Secondaries;
use dnsd::serve::wire::{Judged, judge};
use dnsd_core::dnssec::{Cache, Key, Keys, Signer, Timing, ZoneKeys};
use dnsd_core::inventory::{
    Inventory, Nameserver, OtherZone, Policy, Region, RelayEntry, Thresholds, Zone,
};
use dnsd_core::records::Records;
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::{Seat, Standing, View};
use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use liveness::KeyId;
use sha2::{Digest as _, Sha256};

/// When all queries come.
pub const NOW: UnixTime = UnixTime(1_800_000_000);

/// The secret of the fleet that is asked, for those who make labels.
pub const SECRET: &str = "a secret for fuzzing alone";

/// Who asks; the first byte of an input says which of them.
const CLIENTS: [&str; 4] = [
    "192.0.2.53:53000",
    "198.51.100.7:1024",
    "[2001:db8:1::53]:65535",
    "[::ffff:192.0.2.1]:0",
];

/// The records of the steered zone besides the steered names.
const RECORDS: &str = "
$TTL 300
@ TXT \"v=spf1 -all\"
@ CAA 0 issue \"ca.example\"
www A 192.0.2.80
www AAAA 2001:db8::80
www HTTPS 1 . alpn=h2
*.wild TXT \"a wildcard\"
deep.m.wild TXT \"behind it, and far down\"
P.wild TXT \"behind it\"
deep.below.here TXT \"far down\"
alias CNAME www
astray CNAME nowhere
abroad CNAME www.example.net.
sub NS ns.sub
ns.sub A 192.0.2.99
a TXT \"beside the relays\"
";

/// Takes the first byte as the sender's place in a list and the rest as its datagram.
pub fn dns_message(input: &[u8]) {
    let Some((first, datagram)) = input.split_first() else {
        return;
    };
    let client = CLIENTS[usize::from(*first) % CLIENTS.len()];
    let client: SocketAddr = client.parse().unwrap();
    compare(datagram, client);
}

/// Answers both ways, from a zone that is signed and from the same one that is not. Tells whether the
/// fast path was open for both; where it was, both ways gave the same.
pub fn compare(datagram: &[u8], client: SocketAddr) -> bool {
    published()
        .each_ref()
        .map(|published| compare_at(published, datagram, client))
        == [true; 2]
}

/// Answers on the fast path alone, from the signed zone, into `out`. Tells whether it was open.
pub fn answer_fast(datagram: &[u8], client: SocketAddr, out: &mut Vec<u8>) -> bool {
    let [signed, _] = published();
    let mut room = Room::default();
    let query = Query::read(datagram, client, &signed.rules, NOW, &mut room);
    let answered = query.and_then(|query| query.answer(signed, NOW, out));
    answered.is_some()
}

fn compare_at(published: &Published, datagram: &[u8], client: SocketAddr) -> bool {
    let mut short = vec![0xff; 3];
    let mut room = Room::default();
    let query = Query::read(datagram, client, &published.rules, NOW, &mut room);
    let Some(query) = query else {
        return false;
    };
    // Over TCP, where everything fits: over UDP what just fits into the one message may not into
    // the other, because they name things at other lengths.
    let judged = judge(datagram, client, Transport::Tcp, published, NOW);
    let Judged::Reply(long) = judged else {
        panic!("the slow path drops what the fast one reads");
    };
    assert_eq!(query.cookie(), long.cookie());
    let Some(answered) = query.answer(published, NOW, &mut short) else {
        return false;
    };
    let edns = message(datagram).edns;
    let limit = edns.map_or(512, |edns| edns.max_payload().clamp(512, 1232));
    assert!(short.len() <= limit.into());
    assert_eq!(answered, long.answered());
    let mut encoded = Vec::new();
    assert!(long.encode(&mut encoded));
    let (short, long) = (message(&short), message(&encoded));
    assert_eq!(short, long);
    // Equality of records is blind to their TTL.
    let ttls = |message: &Message| {
        let sections = [&message.answers, &message.authorities, &message.additionals];
        sections.map(|records| records.iter().map(|record| record.ttl).collect::<Vec<_>>())
    };
    assert_eq!(ttls(&short), ttls(&long), "{long:?}");
    // And that of names to case; clients that play with it (0x20) are not.
    let names = |message: &Message| {
        let asked = message.queries.iter().map(|query| query.name().to_string());
        let owners = message.answers.iter().map(|record| record.name.to_string());
        asked.chain(owners).collect::<Vec<_>>()
    };
    assert_eq!(names(&short), names(&long));
    true
}

fn message(bytes: &[u8]) -> Message {
    Message::from_vec(bytes).unwrap()
}

/// A key whose signatures are a hash: nobody here checks them.
#[derive(Debug)]
struct Stamp;

impl Signer for Stamp {
    fn public_key(&self) -> [u8; 64] {
        [7; 64]
    }

    fn sign(&self, data: &[u8]) -> Option<[u8; 64]> {
        let half: [u8; 32] = Sha256::digest(data).into();
        [half, half].concat().try_into().ok()
    }
}

/// The answers that all queries get, signed and not.
fn published() -> &'static [Published; 2] {
    static PUBLISHED: OnceLock<[Published; 2]> = OnceLock::new();
    PUBLISHED.get_or_init(|| [true, false].map(publish))
}

fn publish(signed: bool) -> Published {
    let secret = Secret::new(SECRET.as_bytes().to_vec()).unwrap();
    let secrets = SecretRing::new(secret, Vec::new()).unwrap();
    let inventory = inventory();
    // The second region's relays are all gone, and its clients served by the first.
    let standing = |index| match index {
        0..=4 => Standing::Up,
        _ => Standing::Down,
    };
    let seats = inventory.relays().iter().zip(0..);
    let view = View {
        seats: seats.map(|(_, index)| Seat::new(standing(index))).collect(),
        cautious: false,
        flows: Vec::new(),
    };
    let rules = Rules {
        cookies: Cookies::derive(&secrets),
        ration: Ration {
            per_second: 0,
            slip: 0,
        },
        gather: Duration::ZERO,
        unlimited: Vec::new(),
        nsid: Some("ns1".to_owned()),
        chaos_id: Some("ns1".to_owned()),
        chaos_version: None,
        secondaries: Secondaries::default(),
    };
    let mut snapshot = Snapshot::compile(&inventory, &view, 7);
    if signed {
        let key = Key::new(Arc::new(Stamp), Timing::at_once(UnixTime(NOW.0 - 1000)));
        let mut keys = Keys::default();
        // The zone inside it stays as it is.
        keys.insert(snapshot.zone(), ZoneKeys::new(vec![key], NOW).unwrap());
        snapshot = snapshot.signed(&Arc::new(keys), &mut Cache::default(), NOW);
    }
    Published {
        shares: Metrics::default().shares(&snapshot, None),
        snapshot,
        labels: LabelKeys::derive(&secrets),
        rules: Arc::new(rules),
    }
}

fn inventory() -> Inventory {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let zone = Zone {
        name: name("turn.example."),
        contact: name("hostmaster.turn.example."),
        nameservers: vec![Nameserver {
            name: name("ns1.turn.example."),
            ipv4: Some([192, 0, 2, 1].into()),
            ipv6: None,
        }],
    };
    let region = |id: &str, clients: &[&str], default| Region {
        id: id.parse().unwrap(),
        fallback: Some(vec![if default { "us" } else { "eu" }.parse().unwrap()]),
        coordinates: None,
        clients: clients.iter().map(|net| net.parse().unwrap()).collect(),
        countries: Vec::new(),
        continents: Vec::new(),
        default,
    };
    let regions = vec![
        region("eu", &["198.51.100.0/24"], true),
        region("us", &["192.0.2.0/25", "2001:db8:1::/48"], false),
    ];
    let relay = |index: u8| RelayEntry {
        id: format!("relay-{index}").parse().unwrap(),
        region: if index < 5 { "eu" } else { "us" }.parse().unwrap(),
        zone: format!("zone-{}", index % 3),
        vendor: format!("vendor-{}", index % 3),
        ipv4: (index != 1).then(|| format!("203.0.113.{index}:3478").parse().unwrap()),
        ipv6: (index % 2 == 1).then(|| format!("[2001:db8:2::{index}]:3478").parse().unwrap()),
        weight: 100,
        standby: false,
        keys: vec![KeyId(1)],
        transports: None,
        tcp_port: None,
        tls_port: None,
    };
    let policy = Policy {
        variants: 64,
        ..Policy::default()
    };
    let relays = (0..8).map(relay).collect();
    let inventory = Inventory::new(zone, regions, relays, policy, Thresholds::default()).unwrap();
    let records = Records::parse(RECORDS, &name("turn.example.")).unwrap();
    let inside = name("inner.turn.example.");
    let other = OtherZone {
        records: Records::parse("$TTL 60\n@ TXT \"inside\"\n* A 192.0.2.7\n", &inside).unwrap(),
        contact: inside.clone(),
        name: inside,
        steered: false,
    };
    inventory.with_zones(records, vec![other]).unwrap()
}
