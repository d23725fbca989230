//! Who may have which zone, and what becomes of all other requests.

use std::net::Ipv4Addr;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::LazyLock;

use dnsd_core::fleet::Fleet;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;

use super::*;
use crate::clock;
use crate::config::Config;

const KEYED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const BARE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

static RELEASE: LazyLock<Arc<Release>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong/right.toml");
    let config = Config::read(&path).expect("a right file");
    let (now, unix) = (clock::now(), clock::unix());
    let mut fleet = Fleet::new(config.inventory, None, now, unix);
    let snapshot = fleet.publish(now, unix);
    Arc::clone(snapshot.release().expect("a release"))
});

fn name(text: &str) -> Name {
    Name::from_str(text).expect("a name")
}

/// One that must come from its address and sign, one whose address is enough, and one whose key is.
fn secondaries() -> Secondaries {
    let secondary = |name: &str, address: Option<Ipv4Addr>, key: Option<&Key>| {
        Arc::new(Secondary {
            name: name.to_owned(),
            address: address.map(|ip| (ip, 53).into()),
            notify: false,
            key: key.cloned(),
        })
    };
    let [key, other] = ["key.", "other."].map(|text| {
        let secret = b"a secret of these tests".to_vec();
        Key::new(&name(text), TsigAlgorithm::HmacSha256, secret).expect("a key")
    });
    Secondaries {
        all: vec![
            // Neither an address nor a key: nobody is that one.
            secondary("nobody", None, None),
            secondary("keyed", Some(KEYED), Some(&key)),
            secondary("bare", Some(BARE), None),
            secondary("anywhere", None, Some(&other)),
        ],
        keys: vec![key, other],
    }
}

/// What becomes of a question, in a word.
fn becomes(
    question: &Query,
    client: Ipv4Addr,
    key: &str,
    has: u32,
    transport: Transport,
) -> String {
    let soa = SOA::new(name("."), name("."), has, 1, 1, 1, 1);
    let soa = Record::from_rdata(question.name().clone(), 1, RData::SOA(soa));
    let text = Record::from_rdata(
        name("."),
        1,
        RData::NS(hickory_proto::rr::rdata::NS(name("."))),
    );
    let key = Some(name(key)).filter(|key| !key.is_root());
    let asked = Asked {
        authorities: &[vec![text], vec![soa; usize::from(has > 0)]].concat(),
        question,
        client: client.into(),
        key: key.as_ref(),
        transport,
    };
    match judge(&secondaries(), Some(&RELEASE), &asked) {
        None => "an ordinary question".to_owned(),
        Some((Transfer::Refused, None)) => "refused".to_owned(),
        Some((Transfer::Refused, Some(answer))) => {
            assert!(!answer.authoritative && answer.answers.is_empty());
            format!("{}", answer.rcode)
        }
        Some((Transfer::Current(to), Some(answer))) => {
            assert_eq!(answer.answers, [RELEASE.soa(&zone()).expect("SOA")]);
            format!("serial to {}", to.name)
        }
        Some((Transfer::Whole(outgoing), Some(answer))) => {
            assert!(outgoing.apex == zone() && answer.answers.is_empty());
            format!("whole to {}", outgoing.secondary.name)
        }
        Some((_, None)) => "nothing".to_owned(),
    }
}

fn zone() -> Name {
    RELEASE.zones().next().expect("a zone").clone()
}

fn axfr() -> Query {
    Query::query(zone(), RecordType::AXFR)
}

#[test]
fn who_asks_from_a_listed_address_with_the_right_key_gets_the_zone() {
    let by = |client, key| becomes(&axfr(), client, key, 0, Transport::Tcp);
    assert_eq!(by(KEYED, "key."), "whole to keyed");
    assert_eq!(by(KEYED, "."), "refused");
    assert_eq!(by(STRANGER, "key."), "refused");
    assert_eq!(by(BARE, "."), "whole to bare");
    // A signature that is not asked for does no harm.
    assert_eq!(by(BARE, "key."), "whole to bare");
    assert_eq!(by(STRANGER, "other."), "whole to anywhere");
    assert_eq!(by(STRANGER, "."), "refused");
}

#[test]
fn only_whole_zones_of_ours_are_given_and_only_over_streams() {
    let over = |question: &Query, transport| becomes(question, BARE, ".", 0, transport);
    assert_eq!(over(&axfr(), Transport::Tls), "whole to bare");
    assert_eq!(over(&axfr(), Transport::Udp), "refused");
    assert_eq!(over(&axfr(), Transport::Quic), "refused");
    let below = zone().prepend_label("a").expect("a name");
    // RFC 5936 section 2.2.1.
    for other in [below, name("elsewhere.example.")] {
        let question = Query::query(other, RecordType::AXFR);
        assert_eq!(
            over(&question, Transport::Tcp),
            ResponseCode::NotAuth.to_string()
        );
    }
    let mut chaos = axfr();
    chaos.set_query_class(DNSClass::CH);
    assert_eq!(over(&chaos, Transport::Tcp), "an ordinary question");
    let soa = Query::query(zone(), RecordType::SOA);
    assert_eq!(over(&soa, Transport::Tcp), "an ordinary question");
}

#[test]
fn who_has_the_serial_already_is_told_so() {
    let current = RELEASE.edition().serial;
    let ixfr = |has, transport| {
        let question = Query::query(zone(), RecordType::IXFR);
        becomes(&question, BARE, ".", has, transport)
    };
    assert_eq!(ixfr(current, Transport::Tcp), "serial to bare");
    assert_eq!(ixfr(current + 1, Transport::Tcp), "serial to bare");
    assert_eq!(ixfr(current - 1, Transport::Tcp), "whole to bare");
    // RFC 1995 section 2: over UDP whoever is behind is told the serial, and comes again over TCP.
    assert_eq!(ixfr(current - 1, Transport::Udp), "serial to bare");
    // It does not say what it has.
    assert_eq!(ixfr(0, Transport::Tcp), "whole to bare");
}

#[test]
fn without_a_release_nobody_gets_anything() {
    let question = axfr();
    let asked = Asked {
        question: &question,
        authorities: &[],
        client: BARE.into(),
        key: None,
        transport: Transport::Tcp,
    };
    let judged = judge(&secondaries(), None, &asked);
    assert!(matches!(judged, Some((Transfer::Refused, None))));
}

#[test]
fn a_key_is_shown_by_its_name_alone() {
    let keys = secondaries().keys;
    assert_eq!(format!("{keys:?}"), "[Key(key.), Key(other.)]");
}
