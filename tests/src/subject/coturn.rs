//! coturn's command line for a setup.

use std::path::PathBuf;

use super::{DENIED_PEER, REALM, SECRET, Subject, free_port};

/// Program and arguments of a coturn for `subject`.
pub(super) fn command(subject: &Subject) -> (PathBuf, Vec<String>) {
    let setup = &subject.setup;
    let file = |name: &str| subject.directory().join(name).display().to_string();
    let mut words: Vec<String> = [
        // Nothing from a configuration file of the machine.
        "-n",
        "--lt-cred-mech",
        "--use-auth-secret",
        "--allow-loopback-peers",
        "--no-cli",
        "--no-rfc5780",
        "--no-stun-backward-compatibility",
        "--no-software-attribute",
        "--simple-log",
        "--log-file=stdout",
    ]
    .map(str::to_owned)
    .into();
    words.extend(setup.mobility.then(|| "--mobility".to_owned()));
    let mut set = |name: &str, value: String| words.push(format!("--{name}={value}"));
    set("static-auth-secret", SECRET.to_owned());
    set("realm", REALM.to_owned());
    set("userdb", file("turndb"));
    set("pidfile", file("pid"));
    set("listening-port", subject.port.to_string());
    for address in subject.listen() {
        set("listening-ip", address.ip().to_string());
    }
    for ip in subject.relay_addresses() {
        set("relay-ip", ip.to_string());
    }
    set("cert", subject.certificate.chain.display().to_string());
    set("pkey", subject.certificate.key.display().to_string());
    // On the plain port, too; this one has to be somewhere.
    set("tls-listening-port", free_port(subject.ip).to_string());
    set("min-port", setup.relay_ports.0.to_string());
    set("max-port", setup.relay_ports.1.to_string());
    set("relay-threads", setup.workers.to_string());
    set("denied-peer-ip", DENIED_PEER.to_string());
    if let Some(quota) = setup.user_quota {
        set("user-quota", quota.to_string());
    }
    if let Some(to) = setup.alternate {
        set("alternate-server", to.to_string());
    }
    ("turnserver".into(), words)
}
