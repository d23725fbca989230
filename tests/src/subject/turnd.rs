//! Our relay's configuration for a setup.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::nameserver::Nameserver;
use super::{REALM, SECRET, Subject};
use crate::binaries;

/// Program and arguments of a relay for `subject`, whose configuration is written.
///
/// # Panics
/// When it cannot be written.
pub(super) fn command(
    subject: &Subject,
    nameserver: Option<&Nameserver>,
) -> (PathBuf, Vec<String>) {
    let file = subject.directory().join("turnd.toml");
    let mut text = text(subject);
    if let Some(nameserver) = nameserver {
        text.push_str(&nameserver.section());
    }
    fs::write(&file, text).expect("the configuration is written");
    let program = binaries::directory().join("turnd");
    let file = file.display().to_string();
    (program, vec!["run".into(), "--config".into(), file])
}

fn text(subject: &Subject) -> String {
    let setup = &subject.setup;
    let listen: Vec<_> = subject.listen().iter().map(ToString::to_string).collect();
    let relay: Vec<_> = subject.relay_addresses();
    let relay: Vec<_> = relay.iter().map(ToString::to_string).collect();
    let (first, last) = setup.relay_ports;
    let mut text = format!(
        "[relay]\nid = \"conformance\"\nrealm = \"{REALM}\"\nzone = \"{REALM}\"\n\
         listen = {listen:?}\nlisten_tcp = {listen:?}\nrelay_addresses = {relay:?}\n\
         relay_ports = \"{first}-{last}\"\nworkers = {}\n\
         tcp_allocations = {}\nmobility = {}\n\
         [secrets]\ncurrent = \"{SECRET}\"\n\
         [tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\
         [peers]\nallow = [\"127.0.0.0/8\", \"::1/128\"]\n\
         [limits]\n",
        setup.workers,
        setup.tcp_allocations,
        setup.mobility,
        subject.certificate.chain.display(),
        subject.certificate.key.display(),
    );
    if let Some(quota) = setup.user_quota {
        let _ = writeln!(text, "sessions_per_user = {quota}");
    }
    text
}
