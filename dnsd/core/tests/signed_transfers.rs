//! Signed zones for secondaries: whole, one consistent set, and renewed before signatures run out.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::asking::EU;
use common::panel::Panel;
use common::validate::{Stamp, key, zone_keys};
use common::whole::{SIGNED, UNSIGNED, inventory, is_whole, plain, rrsig, rrsigs, transferred};
use common::world::{Fate, World};
use common::{HOUR, SECOND, name};
use credentials::UnixTime;
use dnsd_core::answer::{Query, answer};
use dnsd_core::dnssec::{Key, Keys, Signer, Timing, ZoneKeys};
use dnsd_core::transfer::{Edition, Release};
use dnsd_core::votes::Ballot;
use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

/// A world some minutes old, with these keys.
fn settled(keys: &Arc<Keys>) -> World {
    let mut world = World::new(inventory(), 7);
    world.keys = Arc::clone(keys);
    world.run(SECOND * 200);
    world.publish();
    world
}

fn signed() -> World {
    settled(&zone_keys(&SIGNED, UnixTime(1_794_000_000)))
}

fn release(world: &World) -> Arc<Release> {
    Arc::clone(world.snapshot.as_ref().unwrap().release().unwrap())
}

fn edition(world: &World) -> Edition {
    release(world).edition()
}

#[test]
fn a_zone_with_keys_goes_out_whole_and_signed_and_another_as_it_was() {
    let world = signed();
    let release = release(&world);
    for (number, zone) in (1..).zip(SIGNED) {
        let records = transferred(&release, zone);
        is_whole(&records, zone, &[number], world.unix());
        let apex = name(zone);
        for kind in [RecordType::DNSKEY, RecordType::CDS, RecordType::CDNSKEY] {
            let of = |record: &&Record| record.name == apex && record.record_type() == kind;
            assert_eq!(records.iter().filter(of).count(), 1, "{kind}");
        }
        // What labels would stand behind is not kept, whoever answers.
        let lane = name(&format!("a.{zone}"));
        let nsecs = records
            .iter()
            .filter(|r| r.record_type() == RecordType::NSEC);
        let mut below = nsecs.filter(|nsec| lane.zone_of(&nsec.name)).peekable();
        assert!(below.peek().is_some() && below.all(|nsec| nsec.ttl == 0));
    }
    let records = transferred(&release, UNSIGNED);
    let dnssec = |record: &&Record| matches!(record.data, RData::DNSSEC(_));
    // The DS records of delegations stand in any zone.
    let found: Vec<_> = records.iter().filter(dnssec).collect();
    assert!(
        found.iter().all(|r| r.record_type() == RecordType::DS),
        "{found:?}"
    );
}

#[test]
fn queries_and_transfers_tell_one_soa_with_one_signature() {
    let world = signed();
    let (release, snapshot) = (release(&world), world.snapshot.as_ref().unwrap());
    for zone in SIGNED {
        let query = Query {
            name: &name(zone),
            record_type: RecordType::SOA,
            class: DNSClass::IN,
            client: EU.parse().unwrap(),
            subnet: None,
            dnssec_ok: true,
        };
        let told = answer(snapshot, &common::asking::keys(), world.unix(), &query);
        let records = transferred(&release, zone);
        let of = |record: &&Record| match rrsig(record) {
            Some(rrsig) => rrsig.input().type_covered == RecordType::SOA,
            None => record.record_type() == RecordType::SOA,
        };
        let sent: Vec<_> = records.iter().filter(of).cloned().collect();
        assert_eq!(told.answers, sent);
    }
}

#[test]
fn an_edition_is_signed_once_however_often_answers_change() {
    let mut world = signed();
    let before = (release(&world), world.cache.made());
    for _ in 0..3 {
        world.publish();
    }
    assert!(Arc::ptr_eq(&release(&world), &before.0));
    assert_eq!(world.cache.made(), before.1);
    // Another edition costs what has changed, and the serial.
    world.befall(0, Fate::Killed);
    world.run(SECOND * 60);
    assert!(edition(&world).is_newer_than(before.0.edition()));
    let all: usize = SIGNED
        .iter()
        .map(|zone| rrsigs(&transferred(&release(&world), zone)).len())
        .sum();
    let answered = world.cache.made() - before.1;
    assert!(all > 100 && answered < 100, "{answered} of {all}");
}

/// A secondary that hears nothing any more from some moment on stops serving before the first
/// signature that it has runs out.
#[test]
fn a_secondary_that_hears_nothing_expires_before_its_signatures() {
    let mut world = signed();
    let mut held = release(&world);
    let (mut editions, mut changes) = (0, BTreeSet::new());
    // Every ten minutes for two days; the relays stay as they are.
    for _ in 0..6 * 48 {
        let before = world.unix().0;
        world.now += HOUR / 6;
        world.publish();
        let now = release(&world);
        if now.edition() == held.edition() {
            continue;
        }
        // Whoever asked just before the renewal still has the older one.
        for zone in SIGNED {
            let Some(RData::SOA(soa)) = held.soa(&name(zone)).map(|soa| soa.data) else {
                panic!("no SOA");
            };
            let ends = before + u64::try_from(soa.expire).unwrap();
            let records = transferred(&held, zone);
            for rrsig in rrsigs(&records) {
                let good = u64::from(rrsig.input().sig_expiration.get());
                assert!(good > ends + 86_400 * 5, "{good} {ends}");
            }
        }
        editions += 1;
        changes.insert(world.unix().0 / 3600);
        assert!(now.edition().is_newer_than(held.edition()));
        // Relays have not been looked at anew.
        assert_eq!(plain(&now, SIGNED[0]), plain(&held, SIGNED[0]));
        if editions % 12 == 0 {
            let records = transferred(&now, SIGNED[0]);
            is_whole(&records, SIGNED[0], &[1], world.unix());
        }
        held = now;
    }
    assert_eq!((editions, changes.len()), (48, 48), "one each hour");
}

#[test]
fn while_nothing_is_up_signatures_are_renewed_and_relays_stay() {
    let mut world = signed();
    let before = release(&world);
    (0..6).for_each(|relay| world.befall(relay, Fate::Hung));
    world.run(SECOND * 120);
    assert_eq!(edition(&world), before.edition());
    world.now += HOUR;
    world.publish();
    let after = release(&world);
    assert!(after.edition().is_newer_than(before.edition()));
    for zone in SIGNED {
        assert_eq!(plain(&after, zone), plain(&before, zone));
    }
}

/// What a relay that came back would change waits for a better reason.
#[test]
fn a_renewal_changes_no_relays() {
    let mut world = signed();
    let first = release(&world);
    let given = |release: &Release| plain(release, SIGNED[0]);
    let victim = (0..6).find(|relay| {
        world.befall(*relay, Fate::Killed);
        world.run(SECOND * 60);
        edition(&world) != first.edition()
    });
    (0..=victim.unwrap()).for_each(|relay| world.befall(relay, Fate::Alive));
    world.run(SECOND * 400);
    let before = release(&world);
    world.now += HOUR;
    // A nameserver that begins now chooses otherwise.
    let anew = world.restarted(8);
    assert_ne!(given(&release(&anew)), given(&before));
    world.publish();
    let after = release(&world);
    assert!(after.edition().is_newer_than(before.edition()));
    assert_eq!(given(&after), given(&before));
}

#[test]
fn a_restart_within_the_hour_gives_out_the_same_edition_and_a_later_one_another() {
    let mut world = signed();
    assert_eq!(edition(&world.restarted(8)), edition(&world));
    world.now += HOUR;
    let later = edition(&world.restarted(9));
    assert!(later.is_newer_than(edition(&world)));
}

#[test]
fn each_step_of_a_key_roll_makes_another_edition() {
    let at = |hours: u64| UnixTime(1_795_000_000 + hours * 3600);
    let timed = |number, timing| Key::new(Arc::new(Stamp(number)), timing);
    let first = Timing {
        inactive: Some(at(30)),
        delete: Some(at(40)),
        sync_delete: Some(at(30)),
        ..Timing::at_once(at(0))
    };
    let second = Timing {
        publish: at(10),
        activate: at(30),
        sync_publish: Some(at(30)),
        ..Timing::at_once(at(10))
    };
    let keys = || {
        let own = vec![timed(1, first), timed(9, second)];
        let mut keys = Keys::default();
        keys.insert(&name(SIGNED[0]), ZoneKeys::new(own, at(0)).unwrap());
        Arc::new(keys)
    };
    let mut world = settled(&keys());
    let begun = world.began;
    let [old, new] = [timed(1, first).tag(), timed(9, second).tag()];
    let mut last = edition(&world);
    // Events lie within hours: what comes a minute earlier is the renewal of the hour.
    for (seconds, shown, signs) in [
        (10 * 3600 - 60, vec![old], old),
        (10 * 3600, vec![old, new], old),
        (30 * 3600 - 60, vec![old, new], old),
        (30 * 3600, vec![old, new], new),
        (40 * 3600 - 60, vec![old, new], new),
        (40 * 3600, vec![new], new),
    ] {
        world.now = begun + SECOND * seconds;
        world.publish();
        // No sooner than the damper's interval after the renewal of the hour.
        world.run(SECOND * 15);
        let records = transferred(&release(&world), SIGNED[0]);
        assert!(edition(&world).is_newer_than(last), "{seconds}");
        last = edition(&world);
        let mut dnskeys: Vec<_> = records
            .iter()
            .filter_map(|record| match &record.data {
                RData::DNSSEC(DNSSECRData::DNSKEY(key)) => key.calculate_key_tag().ok(),
                _ => None,
            })
            .collect();
        dnskeys.sort_unstable();
        let mut expected = shown.clone();
        expected.sort_unstable();
        assert_eq!(dnskeys, expected, "{seconds}");
        let of = |rrsig: &&&RRSIG| rrsig.input().type_covered == RecordType::A;
        let all = rrsigs(&records);
        let mut tags = all.iter().filter(of).map(|rrsig| rrsig.input().key_tag);
        assert!(tags.all(|tag| tag == signs), "{seconds}");
        is_whole(&records, SIGNED[0], &[1, 9], world.unix());
    }
    // The same keys read again change nothing.
    world.keys = keys();
    world.now += SECOND * 60;
    world.publish();
    assert_eq!(edition(&world), last);
}

/// Has the node hear what another one gives out, and publish.
fn hear(panel: &mut Panel, zones: Edition) {
    let ballot = Ballot {
        zones,
        ..panel.ballot(0)
    };
    let now = panel.world.now;
    panel.fleet().handle_ballot(now, &ballot);
    panel.world.settle();
}

#[test]
fn nameservers_with_the_same_keys_come_to_give_out_the_same() {
    let keys = zone_keys(&SIGNED, UnixTime(1_794_000_000));
    let mut nodes = [9, 9].map(|seed| {
        let mut panel = Panel::settled(inventory(), seed, &["beta"]);
        panel.world.keys = Arc::clone(&keys);
        panel.run(SECOND * 15);
        panel.world.publish();
        panel
    });
    let [first, second] = &mut nodes;
    assert_eq!(edition(&first.world), edition(&second.world));
    let before = edition(&first.world);
    // The clock of one is ahead: it is in the next hour.
    first.world.now += HOUR;
    first.world.publish();
    let renewed = edition(&first.world);
    assert!(renewed.is_newer_than(before));
    hear(second, renewed);
    let followed = edition(&second.world);
    assert_eq!(
        (followed.serial, followed.content),
        (renewed.serial, before.content)
    );
    // Who has fetched that serial from the other one has older signatures: there is another.
    second.world.now += HOUR;
    second.world.publish();
    let last = edition(&second.world);
    assert!(last.is_newer_than(renewed) && last.content == renewed.content);
    hear(first, last);
    assert_eq!(edition(&first.world), last);
    let [ours, theirs] =
        [&*first, &*second].map(|panel| transferred(&release(&panel.world), SIGNED[0]));
    assert_eq!(
        ours, theirs,
        "the stamps of these tests have no chance in them"
    );
}

#[test]
fn a_renewal_that_another_serial_comes_before_is_made_up_for() {
    let keys = |made| zone_keys(&SIGNED, UnixTime(made));
    let mut panel = Panel::settled(inventory(), 9, &["beta"]);
    // Another edition shortly before the hour: the next one has to wait for the interval.
    panel.world.keys = keys(1_794_000_000);
    let hour = u32::try_from(3600 - panel.world.unix().0 % 3600).unwrap();
    panel.world.now += SECOND * (hour - 3);
    panel.world.publish();
    let before = edition(&panel.world);
    panel.world.now += SECOND * 4;
    let foreign = Edition {
        serial: before.serial + 1000,
        content: 1,
    };
    hear(&mut panel, foreign);
    let followed = edition(&panel.world);
    assert_eq!(followed.serial, foreign.serial);
    // What others gave out under that serial may have older signatures.
    panel.run(SECOND * 15);
    assert!(edition(&panel.world).is_newer_than(followed));
}

/// A signer that has no randomness at times.
#[derive(Debug)]
struct Moody(Stamp, Arc<AtomicBool>);

impl Signer for Moody {
    fn public_key(&self) -> [u8; 64] {
        self.0.public_key()
    }

    fn sign(&self, data: &[u8]) -> Option<[u8; 64]> {
        let works = self.1.load(Ordering::Relaxed);
        works.then(|| self.0.sign(data))?
    }
}

#[test]
fn a_zone_that_cannot_be_signed_whole_does_not_go_out() {
    let works = Arc::new(AtomicBool::new(true));
    let keys = || {
        let timing = key(1, UnixTime(0)).timing;
        let own = Key::new(Arc::new(Moody(Stamp(1), Arc::clone(&works))), timing);
        let mut keys = Keys::default();
        let own = ZoneKeys::new(vec![own], UnixTime(1)).unwrap();
        keys.insert(&name(SIGNED[0]), own);
        Arc::new(keys)
    };
    let mut world = settled(&keys());
    let before = edition(&world);
    works.store(false, Ordering::Relaxed);
    world.now += HOUR;
    world.publish();
    assert_eq!(edition(&world), before);
    let restarted = world.restarted(8);
    assert!(restarted.snapshot.unwrap().release().is_none());
    // It is tried again by itself.
    works.store(true, Ordering::Relaxed);
    world.run(SECOND * 15);
    assert!(edition(&world).is_newer_than(before));
    is_whole(
        &transferred(&release(&world), SIGNED[0]),
        SIGNED[0],
        &[1],
        world.unix(),
    );
}
