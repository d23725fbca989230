//! Databases of places: a real one against its own look-up, and what a running nameserver makes of
//! good and bad ones.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use common::dnsd::{Listed, Server, listed};
use common::geolite2;
use common::wait_for;
use dnsd::config::Config;
use maxminddb::{Reader, WithinOptions, geoip2};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const RIGHT: &str = include_str!("wrong/right.toml");

/// Regions with rules of every kind: `eu` by country and continent, `us` by country, `ap` by place.
fn config(database: &Path) -> Config {
    let text = RIGHT
        .replace(
            "default = true\n",
            "default = true\ncontinents = [\"EU\"]\ncountries = [\"ZA\"]\nlatitude = 50.1\nlongitude = 8.7\n",
        )
        .replace(
            "id = \"us\"\n",
            "id = \"us\"\ncountries = [\"US\", \"CA\"]\nlatitude = 40.7\nlongitude = -74.0\n",
        )
        .replacen(
            "[[relays]]",
            "[[regions]]\nid = \"ap\"\nlatitude = 1.3\nlongitude = 103.8\n\n[[relays]]",
            1,
        );
    let text = format!("{text}\n[geoip]\ndatabase = \"{}\"\n", database.display());
    let file = settings::File::new("dnsd.toml", text);
    Config::parse(&file).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The region that the same rules give by looking the address up, in the plainest words.
fn looked_up(reader: &Reader<Vec<u8>>, address: IpAddr) -> Option<&'static str> {
    let found: geoip2::City<'_> = reader
        .lookup(address)
        .expect("a look-up")
        .decode()
        .expect("a record")?;
    let country = found.country.iso_code.or(found.registered_country.iso_code);
    match (country, found.continent.code) {
        (Some("US" | "CA"), _) => return Some("us"),
        (Some("ZA"), _) | (_, Some("EU")) => return Some("eu"),
        _ => {}
    }
    let (latitude, longitude) = found.location.latitude.zip(found.location.longitude)?;
    let haversine = |lat: f64, lon: f64| {
        let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let cosines = lat.to_radians().cos() * latitude.to_radians().cos();
        half(latitude - lat) + cosines * half(longitude - lon)
    };
    let regions = [("eu", 50.1, 8.7), ("us", 40.7, -74.0), ("ap", 1.3, 103.8)];
    let far = regions.map(|(id, lat, lon)| (haversine(lat, lon), id));
    far.into_iter()
        .min_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, id)| id)
}

/// A small generator of numbers, the same in every run.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

/// The first and the last address of every thousandth network or so, and those beside them.
fn borders(reader: &Reader<Vec<u8>>) -> Vec<IpAddr> {
    let networks = reader.networks(WithinOptions::default()).expect("networks");
    let mut skip = numbers(3).map(|number| usize::try_from(number % 2000).unwrap_or_default());
    let mut borders = Vec::new();
    let (mut wait, mut seen) = (0, 0_u32);
    for network in networks {
        seen += 1;
        if wait > 0 {
            wait -= 1;
            continue;
        }
        wait = skip.next().unwrap_or_default();
        let network = network.expect("a network").network().expect("a network");
        let ends = [network.network(), network.broadcast()].map(|end| match end {
            IpAddr::V4(v4) => [-1, 0, 1]
                .map(|by| IpAddr::from(Ipv4Addr::from_bits(v4.to_bits().wrapping_add_signed(by)))),
            IpAddr::V6(v6) => [-1, 0, 1]
                .map(|by| IpAddr::from(Ipv6Addr::from_bits(v6.to_bits().wrapping_add_signed(by)))),
        });
        borders.extend(ends.into_iter().flatten());
    }
    assert!(seen > 1_000_000, "{seen} networks");
    borders
}

#[test]
fn the_compiled_table_says_what_the_database_says() {
    let Some(path) = geolite2::real("geoip") else {
        return;
    };
    let config = config(path);
    let facts = config
        .geoip
        .as_ref()
        .and_then(|geoip| geoip.found.as_ref().ok());
    let facts = facts.expect("facts");
    assert_eq!(facts.kind, "GeoLite2-City");
    assert!(facts.countries && facts.continents && facts.coordinates);
    let reader = Reader::open_readfile(path).expect("the database");
    let random = numbers(1).take(20_000).flat_map(|number| {
        let v4 = IpAddr::from(Ipv4Addr::from_bits((number >> 32) as u32));
        // Where IPv6 is given out.
        let high = ((0x2000 + (number >> 32) % 0xc00) << 48) | ((number & 0xffff_ffff) << 16);
        let v6 = IpAddr::from(Ipv6Addr::from_bits(u128::from(high) << 64));
        [v4, v6]
    });
    let mut counts = [0_usize; 4];
    for address in random.chain(borders(&reader)) {
        let aliased = match address {
            IpAddr::V4(_) => false,
            // 6to4 and Teredo are shown as the IPv4 addresses in them; here they say nothing.
            IpAddr::V6(v6) => v6.segments()[0] == 0x2002 || v6.segments()[..2] == [0x2001, 0],
        };
        if aliased {
            continue;
        }
        let place = config.inventory.places().find(address);
        let regions = config.inventory.regions();
        let found = place.region.map(|region| regions[region].id.as_str());
        // 198.51.100.0/24 is configured, and no database knows it.
        assert_eq!(found, looked_up(&reader, address), "{address}");
        counts[place.region.unwrap_or(3)] += 1;
    }
    assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
}

fn three() -> Vec<Listed> {
    let us = Listed {
        region: "us",
        ..listed("nyc-1", "us-a", "beta", 3)
    };
    vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
        us,
    ]
}

/// A nameserver that knows Americans by a database.
fn server(host: u8, networks: &[(&str, Value)]) -> Server {
    let mut server = Server::new(host, three());
    geolite2::write(
        &server.path("places.mmdb"),
        "Test-Country",
        1_700_000_000,
        networks,
    );
    "[geoip]\ndatabase = \"places.mmdb\"\n".clone_into(&mut server.rules);
    server.regions = ["", "countries = [\"US\"]\n"].map(str::to_owned);
    server
}

/// The option that came back, and the addresses.
fn told(server: &Server, subnet: &str, name: &str) -> (String, Vec<String>) {
    let text = server.dig(&[&format!("+subnet={subnet}"), name, "A"]);
    let mut lines = text.lines();
    let option = lines.find_map(|line| line.strip_prefix("; CLIENT-SUBNET: "));
    let records = lines.filter_map(|line| line.split_once("\tA\t").map(|(_, ip)| ip.to_owned()));
    (
        option.unwrap_or_else(|| panic!("{text}")).to_owned(),
        records.collect(),
    )
}

#[test]
fn clients_go_by_the_database_and_a_bad_one_changes_nothing() {
    if !common::has("geoip", "dig") {
        return;
    }
    let flat = [
        ("8.0.0.0/9", json!({ "country_code": "US" })),
        (
            "8.128.0.0/9",
            json!({ "country": "Singapore", "country_code": "SG" }),
        ),
        (
            "2600::/12",
            json!({ "country": { "iso_code": "US", "names": { "en": "America" } } }),
        ),
    ];
    let mut server = server(58, &flat).start();
    let name = "turn.example";
    let us = vec!["127.0.77.3".to_owned()];
    // One relay in the region: the answer is true as far as the region is.
    assert_eq!(
        told(&server, "8.8.8.0/24", name),
        ("8.8.8.0/24/9".to_owned(), us.clone())
    );
    assert_eq!(told(&server, "8.8.8.8/32", name).0, "8.8.8.8/32/9");
    assert_eq!(
        told(&server, "2600:1::/56", name),
        ("2600:1::/56/12".to_owned(), us.clone())
    );
    // Two relays, and many answers from them: as far as clients share one.
    let (option, records) = told(&server, "8.200.0.0/24", name);
    assert_eq!((&*option, records.len()), ("8.200.0.0/24/24", 2));
    let kdig = server.kdig(&["+subnet=8.8.8.0/24", name, "A"]);
    assert!(kdig.contains("8.8.8.0/24/9"), "{kdig}");
    let said = server.json(&["answer", name, "--from", "8.8.8.0/24"]);
    assert_eq!(said["trace"]["steering"]["geoip"], true, "{said}");
    assert_eq!(said["trace"]["steering"]["region"], "us");

    let built = || server.metric("turnfleet_dnsd_geoip_build_seconds");
    let reload_ok = || server.metric("turnfleet_dnsd_config_reload_ok");
    assert_eq!((built(), reload_ok()), (Some(1.7e9), Some(1.0)));
    let status = server.json(&["status"]);
    assert_eq!(status["geoip"]["type"], "Test-Country", "{status}");
    let people = server.cli(&["status"]);
    let people = String::from_utf8_lossy(&people.stdout).into_owned();
    assert!(people.contains("a Test-Country made"), "{people}");

    let database = server.path("places.mmdb");
    let whole = std::fs::read(&database).expect("a database");
    std::fs::write(&database, &whole[..whole.len() / 2]).expect("half of it");
    server.signal(Signal::SIGHUP);
    wait_for("the alarm", Duration::from_secs(10), || {
        (reload_ok() == Some(0.0)).then_some(())
    });
    assert!(
        server.log().contains("is no sound MaxMind DB file"),
        "{}",
        server.log()
    );
    assert_eq!(
        told(&server, "8.8.8.0/24", name).1,
        us,
        "the old one serves on"
    );
    assert_eq!(built(), Some(1.7e9));

    // At a start it is done without, which metrics and status tell.
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended(), Some(0));
    assert_eq!(server.cli(&["check"]).status.code(), Some(78));
    server.spawn();
    server.wait_ready();
    assert_eq!(
        told(&server, "8.8.8.0/24", name).1.len(),
        2,
        "by the default region"
    );
    assert_eq!(server.metric("turnfleet_dnsd_geoip_ok"), Some(0.0));
    let status = server.cli(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("geoip: not used"), "{status}");

    geolite2::write(&database, "Test-Country", 1_800_000_000, &flat[..1]);
    assert!(server.cli(&["reload"]).status.success());
    assert_eq!(told(&server, "8.8.8.0/24", name).1, us);
    assert_eq!(server.metric("turnfleet_dnsd_geoip_ok"), Some(1.0));
    assert_eq!(
        server.metric("turnfleet_dnsd_geoip_build_seconds"),
        Some(1.8e9)
    );
    let checked = server.cli(&["check"]);
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains("a Test-Country made"), "{checked}");
}

#[test]
fn what_the_database_does_not_say_is_told() {
    let mut server = server(59, &[("8.0.0.0/9", json!({ "country_code": "US" }))]);
    server.regions = ["continents = [\"EU\"]\n", "countries = [\"US\"]\n"].map(str::to_owned);
    server.configure();
    let output = server.cli(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("dnsd.toml:") && said.contains("a Test-Country, says no continents"),
        "{said}"
    );
    // It is a bad one for a start, too.
    let server = server.start();
    assert_eq!(server.metric("turnfleet_dnsd_geoip_ok"), Some(0.0));
    assert!(
        server.log().contains("places.mmdb says no continents"),
        "{}",
        server.log()
    );
}
