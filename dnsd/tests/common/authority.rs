//! Other people's nameservers with the zone `plain.example`, to stand beside dnsd.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Running, free_port, write};

/// Writes the zone's file: what dnsd makes by itself, and `records`.
fn zone(dir: &Path, records: &str) {
    let soa = "@ 60 SOA ns1.turn.example. hostmaster.turn.example. 1 60 15 1209600 5\n\
               @ 300 NS ns1.turn.example.\n";
    write(
        &dir.join("plain.example.zone"),
        &format!("$ORIGIN plain.example.\n{soa}{records}"),
    );
}

fn start(mut command: Command) -> Running {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Running::start(&mut command)
}

/// NSD; the port it listens on.
pub(crate) fn nsd(dir: &Path, ip: Ipv4Addr, records: &str) -> (Running, u16) {
    let port = free_port(ip);
    zone(dir, records);
    let at = dir.display();
    let config = format!(
        "server:\n ip-address: {ip}@{port}\n username: \"\"\n zonesdir: \"{at}\"\n database: \"\"\n\
         pidfile: \"{at}/pid\"\n xfrdfile: \"{at}/xfrd\"\n zonelistfile: \"{at}/list\"\n\
         server-count: 1\n hide-version: yes\nremote-control:\n control-enable: no\n\
         zone:\n name: plain.example\n zonefile: plain.example.zone\n"
    );
    write(&dir.join("nsd.conf"), &config);
    let mut command = Command::new("nsd");
    command.arg("-d").arg("-c").arg(dir.join("nsd.conf"));
    (start(command), port)
}

/// Knot; the port it listens on.
pub(crate) fn knot(dir: &Path, ip: Ipv4Addr, records: &str) -> (Running, u16) {
    let port = free_port(ip);
    zone(dir, records);
    let at = dir.display();
    let config = format!(
        "server:\n  rundir: \"{at}\"\n  listen: {ip}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n\
         \x20 background-workers: 1\ncontrol:\n  listen: \"{at}/knot.sock\"\n\
         database:\n  storage: \"{at}\"\nzone:\n  - domain: plain.example\n\
         \x20   file: \"{at}/plain.example.zone\"\n    zonefile-sync: -1\n    journal-content: none\n"
    );
    write(&dir.join("knot.conf"), &config);
    let mut command = Command::new("knotd");
    command.arg("-c").arg(dir.join("knot.conf"));
    (start(command), port)
}
