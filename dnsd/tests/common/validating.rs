//! Resolvers that validate what an authority answers.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::dnsd::ZONE;
use super::{Running, free_port, wait_for, write};

/// A resolver that takes a nameserver for the authority of the zone and its keys' digests for anchors.
pub(crate) struct Resolver {
    _running: Running,
    ip: Ipv4Addr,
    port: u16,
}

impl Resolver {
    /// One that is started so, once it answers.
    pub(crate) fn new(command: &mut Command, ip: Ipv4Addr, port: u16) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let resolver = Self {
            _running: Running::start(command),
            ip,
            port,
        };
        wait_for("the resolver", Duration::from_secs(20), || {
            let answer = resolver.dig(&[&format!("text.{ZONE}"), "TXT"]);
            answer.contains("status: NOERROR").then_some(())
        });
        resolver
    }

    /// unbound in front of the authority at `ip` and `dns`, with its files in `dir`.
    pub(crate) fn unbound(
        dir: &Path,
        (ip, dns): (Ipv4Addr, u16),
        anchors: &[String],
        more: &str,
        environment: &[(&str, String)],
    ) -> Self {
        let (port, at) = (free_port(ip), dir.display());
        let anchors = anchors.iter().fold(String::new(), |text, ds| {
            format!("{text} trust-anchor: \"{ds}\"\n")
        });
        let config = format!(
            "server:\n interface: {ip}@{port}\n port: {port}\n username: \"\"\n chroot: \"\"\n\
             directory: \"{at}\"\n pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n num-threads: 1\n\
             do-not-query-localhost: no\n access-control: 127.0.0.0/8 allow\n\
             module-config: \"validator iterator\"\n{more}{anchors}\
             remote-control:\n control-enable: no\n\
             stub-zone:\n name: {ZONE}\n stub-addr: {ip}@{dns}\n stub-prime: no\n"
        );
        let file = dir.join("unbound.conf");
        write(&file, &config);
        let mut command = Command::new("unbound");
        command.arg("-d").arg("-c").arg(file);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Self::new(&mut command, ip, port)
    }

    /// `dig` with DNSSEC: its whole output.
    pub(crate) fn dig(&self, args: &[&str]) -> String {
        let output = Command::new("dig")
            .args([&format!("@{}", self.ip), "-p", &self.port.to_string()])
            .args(["+tries=1", "+time=4", "+nocookie", "+dnssec"])
            .args(args)
            .output()
            .expect("dig runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The addresses that a name has, as long as they are vouched for.
    pub(crate) fn addresses(&self, name: &str) -> BTreeSet<String> {
        let answer = self.dig(&[name, "A"]);
        assert!(
            answer.contains("status: NOERROR") && validated(&answer),
            "{answer}"
        );
        addresses(&answer)
    }
}

/// Whether an answer has the AD bit.
pub(crate) fn validated(answer: &str) -> bool {
    let flags = answer.split_once(";; flags:").map_or("", |(_, rest)| rest);
    let flags = flags.split(';').next().unwrap_or_default();
    flags.split(' ').any(|flag| flag == "ad")
}

/// The addresses in the output of `dig`.
pub(crate) fn addresses(answer: &str) -> BTreeSet<String> {
    let lines = answer.lines().filter(|line| !line.starts_with(';'));
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .filter(|words| words.get(3) == Some(&"A"))
        .map(|words| words[4].to_owned())
        .collect()
}
