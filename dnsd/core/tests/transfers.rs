//! What secondaries get, and when they get another edition of it.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::asking::{EU, ask, relay_of};
use common::panel::{Panel, observer};
use common::world::{Fate, World};
use common::{SECOND, name, six};
use dnsd_core::inventory::{Inventory, OtherZone};
use dnsd_core::records::Records;
use dnsd_core::transfer::{Edition, Release};
use dnsd_core::votes::Ballot;
use hickory_proto::rr::{RData, Record, RecordType};

const FILE: &str = "\
$TTL 600
www     A     192.0.2.80
alias   CNAME www
*.wild  TXT   \"any\"
cut     NS    ns.cut
ns.cut  A     192.0.2.53
";

fn inventory() -> Inventory {
    let records = |zone: &str| Records::parse(FILE, &name(zone)).unwrap();
    let other = |zone: &str, steered| OtherZone {
        name: name(zone),
        contact: name("admin.other.example."),
        steered,
        records: records(zone),
    };
    let others = vec![
        other("other.example.", true),
        other("plain.example.", false),
    ];
    six().with_zones(records("turn.example."), others).unwrap()
}

fn settled() -> World {
    let mut world = World::new(inventory(), 7);
    world.run(SECOND * 200);
    world
}

fn release(world: &World) -> Arc<Release> {
    Arc::clone(world.snapshot.as_ref().unwrap().release().unwrap())
}

fn edition(world: &World) -> Edition {
    release(world).edition()
}

/// The relays that a name of the first zone has in a release, by the last part of the address.
fn hosts(release: &Release, owner: &str, kind: RecordType) -> BTreeSet<u8> {
    let owner = name(&format!("{owner}turn.example."));
    let records = release.records(&name("turn.example."));
    let of = records.filter(|r| r.name == owner && r.record_type() == kind);
    let host = |record: Record| match record.data {
        RData::A(a) => relay_of(a.0.into()),
        RData::AAAA(aaaa) => relay_of(aaaa.0.into()),
        other => panic!("{other}"),
    };
    of.map(host).collect()
}

/// The vendors of some relays.
fn vendors(hosts: &BTreeSet<u8>) -> BTreeSet<String> {
    let inventory = six();
    let relays = inventory.relays().iter();
    let at = |host: &u8| {
        let mut found = relays
            .clone()
            .filter(|r| r.ipv4.unwrap().ip().octets()[3] == *host);
        found.next().unwrap().vendor.clone()
    };
    hosts.iter().map(at).collect()
}

#[test]
fn every_name_has_records_and_the_lanes_stay_at_different_vendors() {
    let world = settled();
    let release = release(&world);
    for kind in [RecordType::A, RecordType::AAAA] {
        for owner in ["", "api.", "udp.", "eu.", "us."] {
            let hosts = hosts(&release, owner, kind);
            assert!(vendors(&hosts).len() >= 2, "{owner} {hosts:?}");
        }
        for [a, b] in [["a.", "b."], ["*.a.", "*.b."], ["udp.a.", "udp.b."]] {
            let [a, b] = [a, b].map(|owner| vendors(&hosts(&release, owner, kind)));
            assert!(
                !a.is_empty() && !b.is_empty() && a.is_disjoint(&b),
                "{a:?} {b:?}"
            );
        }
    }
    let (eu, us) = (
        hosts(&release, "eu.", RecordType::A),
        hosts(&release, "us.", RecordType::A),
    );
    assert!(eu.is_disjoint(&us), "each region its own: {eu:?} {us:?}");
    assert_eq!(
        hosts(&release, "", RecordType::A),
        eu,
        "the default region's"
    );
}

#[test]
fn what_is_not_steered_is_transferred_as_it_is_answered() {
    let world = settled();
    let (release, snapshot) = (release(&world), world.snapshot.as_ref().unwrap());
    let zones: Vec<_> = release.zones().map(ToString::to_string).collect();
    assert_eq!(zones, ["turn.example.", "other.example.", "plain.example."]);
    for zone in &zones {
        let records: Vec<_> = release.records(&name(zone)).collect();
        let soa = release.soa(&name(&zone.to_uppercase())).unwrap();
        let asked = ask(snapshot, zone, RecordType::SOA, EU).answers;
        assert_eq!(asked, [soa], "queries and transfers tell one serial");
        let set = |owner: &str, kind| {
            let owner = name(&format!("{owner}{zone}"));
            let of = |r: &&Record| r.name == owner && r.record_type() == kind;
            records.iter().filter(of).cloned().collect::<Vec<_>>()
        };
        for (owner, kind) in [
            ("", RecordType::NS),
            ("", RecordType::NAPTR),
            ("a.", RecordType::NAPTR),
            ("www.", RecordType::A),
            ("alias.", RecordType::CNAME),
            ("fra-1.", RecordType::A),
        ] {
            let asked = ask(snapshot, &format!("{owner}{zone}"), kind, EU).answers;
            assert_eq!(set(owner, kind), asked, "{owner}{zone} {kind}");
        }
        assert_eq!(set("cut.", RecordType::NS).len(), 1);
        assert_eq!(set("ns.cut.", RecordType::A).len(), 1);
        assert_eq!(set("*.wild.", RecordType::TXT).len(), 1);
        assert!(records.iter().all(|r| r.record_type() != RecordType::SOA));
        let steered = !zone.starts_with("plain");
        assert_eq!(set("_turn._udp.b.", RecordType::SRV).is_empty(), !steered);
        assert_eq!(set("*.a.", RecordType::A).is_empty(), !steered);
    }
    assert!(release.soa(&name("www.turn.example.")).is_none(), "no zone");
}

#[test]
fn a_relay_that_stays_away_makes_another_edition_and_one_that_comes_back_does_not() {
    let mut world = settled();
    let (before, answers) = (edition(&world), world.snapshot.as_ref().unwrap().serial());
    let given = hosts(&release(&world), "a.", RecordType::A);
    let victim = (0..6).find(|relay| {
        let inventory = world.fleet.inventory();
        given.contains(&inventory.relays()[*relay].ipv4.unwrap().ip().octets()[3])
    });
    let victim = victim.unwrap();
    world.befall(victim, Fate::Killed);
    world.run(SECOND * 20);
    assert!(
        world.snapshot.as_ref().unwrap().serial() > answers,
        "answers follow at once"
    );
    assert_eq!(edition(&world), before);
    world.befall(victim, Fate::Alive);
    world.run(SECOND * 200);
    assert_eq!(edition(&world), before);

    world.befall(victim, Fate::Killed);
    let went = world.now;
    let after = world.run_for(SECOND * 60, |world| edition(world) != before);
    let after = after.unwrap();
    assert!(after > SECOND * 30 && after < SECOND * 34, "{after:?}");
    assert!(edition(&world).is_newer_than(before));
    let host = world.fleet.inventory().relays()[victim]
        .ipv4
        .unwrap()
        .ip()
        .octets()[3];
    for owner in ["", "a.", "b.", "eu.", "us.", "udp."] {
        let hosts = hosts(&release(&world), owner, RecordType::A);
        assert!(
            !hosts.is_empty() && !hosts.contains(&host),
            "{owner} {hosts:?}"
        );
    }
    // It is not taken in again: nothing is wrong with those that stand in for it.
    let second = edition(&world);
    world.befall(victim, Fate::Alive);
    world.run(went + SECOND * 400 - world.now);
    assert_eq!(edition(&world), second);
}

#[test]
fn where_most_of_a_set_is_gone_another_edition_follows_soon() {
    let mut world = settled();
    let before = edition(&world);
    // A whole region: its name is answered with others.
    for relay in 0..6 {
        if world.fleet.inventory().relays()[relay].region.as_str() == "eu" {
            world.befall(relay, Fate::Killed);
        }
    }
    let after = world.run_for(SECOND * 60, |world| edition(world) != before);
    assert!(after.unwrap() < SECOND * 10, "{after:?}");
    // And not again before the interval.
    let second = edition(&world);
    let next = world.run_for(SECOND * 60, |world| edition(world) != second);
    assert!(next.is_none_or(|next| next >= SECOND * 9), "{next:?}");
}

#[test]
fn while_nothing_is_up_secondaries_keep_what_they_have() {
    let mut world = settled();
    let before = edition(&world);
    (0..6).for_each(|relay| world.befall(relay, Fate::Hung));
    world.run(SECOND * 120);
    assert_eq!(edition(&world), before);
}

#[test]
fn a_restart_gives_out_the_edition_that_was_given_out() {
    let world = settled();
    let mut again = world.restarted(8);
    assert_eq!(edition(&again), edition(&world));
    again.run(SECOND * 100);
    assert_eq!(edition(&again), edition(&world));
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
fn no_serial_is_lower_than_one_that_another_nameserver_gave_out() {
    let mut panel = Panel::settled(inventory(), 9, &["beta", "gamma"]);
    assert_eq!(observer("ns1", "beta", "eu"), panel.others[0].observer);
    let own = edition(&panel.world);
    let ahead = Edition {
        serial: own.serial + 1000,
        content: 1,
    };
    hear(&mut panel, ahead);
    let now = edition(&panel.world);
    assert_eq!((now.serial, now.content), (ahead.serial, own.content));
    // An older one, or none, changes nothing.
    for zones in [own, Edition::default()] {
        hear(&mut panel, zones);
        assert_eq!(edition(&panel.world), now);
    }
    // What is chosen next is above it.
    for relay in 0..6 {
        if panel.world.fleet.inventory().relays()[relay]
            .region
            .as_str()
            == "eu"
        {
            panel.world.befall(relay, Fate::Killed);
            panel.say(relay, dnsd_core::votes::Vote::Down);
        }
    }
    panel.run(SECOND * 60);
    let next = edition(&panel.world);
    assert!(
        next.serial > ahead.serial && next.content != own.content,
        "{next:?}"
    );
    // A nameserver that starts from nothing learns of it before its first ballot is a second old.
    let mut fresh = Panel::settled(inventory(), 10, &["beta"]);
    hear(&mut fresh, next);
    assert_eq!(edition(&fresh.world).serial, next.serial);
    assert!(!own.is_newer_than(next) && next.is_newer_than(own));
}
