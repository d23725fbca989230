//! Databases of places for the tests: a real one from the public package index, and small ones made
//! here.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use maxminddb_writer::Database;
use maxminddb_writer::metadata::IpVersion;
use maxminddb_writer::paths::IpAddrWithMask;
use serde_json::Value;

/// What fetches the real one: the package, and the digest it must have.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/geolite2");

/// `MaxMind`'s free database of 2018 (CC BY-SA 4.0), fetched once and kept. Without it the test is
/// skipped, or fails where tools are required.
pub(crate) fn real(test: &str) -> Option<&'static Path> {
    static FETCHED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let fetched = FETCHED.get_or_init(|| {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("geolite2");
        let file = kept.join("GeoLite2-City.mmdb");
        let wanted = std::fs::read(Path::new(SCRIPTS).join("requirements.txt"));
        let wanted = wanted.map_err(|error| error.to_string())?;
        if std::fs::read(kept.join("requirements.txt")).is_ok_and(|has| has == wanted) {
            return Ok(file);
        }
        let script = Path::new(SCRIPTS).join("fetch.sh");
        let output = Command::new("sh").arg(script).arg(&kept).output();
        let output = output.map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default().to_owned();
        output.status.success().then_some(file).ok_or(last)
    });
    match fetched {
        Ok(path) => Some(path),
        Err(why) => {
            let required = std::env::var_os("TURNFLEET_REQUIRE_TOOLS");
            assert!(required.is_none_or(|value| value != "1"), "{test}: {why}");
            println!("SKIP {test}: {why}");
            None
        }
    }
}

/// A small database of these networks.
pub(crate) fn write(path: &Path, kind: &str, built: u64, networks: &[(&str, Value)]) {
    let mut database = Database::default();
    database.metadata.ip_version = IpVersion::V6;
    database.metadata.binary_format_major_version = 2;
    kind.clone_into(&mut database.metadata.database_type);
    database.metadata.build_epoch = built;
    for (network, record) in networks {
        let (address, length) = network.split_once('/').expect("a network");
        let length: u8 = length.parse().expect("a length");
        let data = database.insert_value(record).expect("a record");
        let (address, length) = match address.parse().expect("an address") {
            // IPv4 lies in the lowest 32 bits of such a database.
            IpAddr::V4(v4) => (IpAddr::V6(v4.to_ipv6_compatible()), length + 96),
            v6 @ IpAddr::V6(_) => (v6, length),
        };
        database.insert_node(IpAddrWithMask::new(address, length), data);
    }
    let file = std::fs::File::create(path).expect("a file");
    database.write_to(file).expect("a database");
}
