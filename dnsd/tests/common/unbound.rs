//! A recursive resolver between clients and the nameservers of a test.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::dnsd::{Server, ZONE};
use super::{Running, free_port, wait_for, write};

/// unbound, which asks `servers` about the zone and nobody about anything else.
pub(crate) struct Unbound {
    ip: Ipv4Addr,
    port: u16,
    _running: Running,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) status: String,
    /// The records of the answer section without their TTLs, sorted.
    pub(crate) records: Vec<String>,
    /// The lowest TTL of these.
    pub(crate) ttl: Option<u32>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Told {
    /// What counts when two are compared.
    pub(crate) fn essence(&self) -> (&str, &[String]) {
        (&self.status, &self.records)
    }

    /// Whether a record ends so: an address, mostly.
    pub(crate) fn names(&self, data: &str) -> bool {
        self.records.iter().any(|record| record.ends_with(data))
    }
}

impl Unbound {
    /// Starts one on `ip`, from where it also asks, with these lines more in its `server:` clause.
    pub(crate) fn start(dir: &Path, ip: Ipv4Addr, servers: &[&Server], options: &str) -> Self {
        let port = free_port(ip);
        let at = dir.join(format!("unbound-{port}"));
        std::fs::create_dir(&at).expect("a directory");
        let mut config = format!(
            "server:\n directory: \"{at}\"\n chroot: \"\"\n username: \"\"\n pidfile: \"pid\"\n\
             interface: {ip}\n outgoing-interface: {ip}\n port: {port}\n num-threads: 1\n\
             do-not-query-localhost: no\n access-control: 127.0.0.0/8 allow\n\
             module-config: \"iterator\"\n{options}\n\
             remote-control:\n control-enable: no\nstub-zone:\n name: {ZONE}\n",
            at = at.display(),
        );
        for server in servers {
            let _ = writeln!(config, " stub-addr: {}@{}", server.ip, server.dns);
        }
        let file = at.join("unbound.conf");
        write(&file, &config);
        let mut command = Command::new("unbound");
        command.arg("-d").arg("-c").arg(&file);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let unbound = Self {
            ip,
            port,
            _running: Running::start(&mut command),
        };
        wait_for("unbound", Duration::from_secs(30), || {
            let told = ask(ip, port, Ipv4Addr::LOCALHOST, ["+time=1", ZONE, "SOA"]);
            (told.status == "NOERROR").then_some(())
        });
        unbound
    }

    /// Asks it as a client does, who waits for eight seconds.
    pub(crate) fn ask(&self, name: &str, kind: &str) -> Told {
        ask(
            self.ip,
            self.port,
            Ipv4Addr::LOCALHOST,
            ["+time=8", name, kind],
        )
    }
}

/// What a server answers to an address.
pub(crate) fn direct(from: Ipv4Addr, server: &Server, name: &str, kind: &str) -> Told {
    ask(server.ip, server.dns, from, ["+time=8", name, kind])
}

fn ask(at: Ipv4Addr, port: u16, from: Ipv4Addr, more: [&str; 3]) -> Told {
    let begun = Instant::now();
    let output = Command::new("dig")
        .args([&format!("@{at}"), "-p", &port.to_string()])
        .args(["-b", &from.to_string(), "+tries=1", "+nocookie"])
        .args(more)
        .output()
        .expect("dig runs");
    let took = begun.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    let status = text.split_once("status: ").map_or("", |(_, rest)| rest);
    let status = status.split(',').next().unwrap_or_default().to_owned();
    let section = text
        .split_once(";; ANSWER SECTION:\n")
        .map(|(_, rest)| rest);
    let lines = section.unwrap_or_default().lines();
    let (mut records, mut ttl) = (Vec::new(), None::<u32>);
    for line in lines.take_while(|line| !line.is_empty()) {
        let mut words: Vec<_> = line.split_whitespace().collect();
        let own: u32 = words.remove(1).parse().expect("a TTL");
        ttl = Some(ttl.map_or(own, |least| least.min(own)));
        records.push(words.join(" "));
    }
    records.sort_unstable();
    Told {
        status,
        records,
        ttl,
        took,
    }
}
