//! The real `dnsd` as a child process, its configuration, and asking it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{Running, free_port, wait_for, write};

/// The shared secret of the tests' fleets.
pub(crate) const SECRET: &str = "the secret of these tests";
/// The key of every test relay's reports.
pub(crate) const KEY: &str = "the key that test relays sign with";
/// The zone of the tests' fleets.
pub(crate) const ZONE: &str = "turn.example";

/// A relay as it is written into a configuration.
#[derive(Clone)]
pub(crate) struct Listed {
    pub(crate) id: &'static str,
    pub(crate) region: &'static str,
    pub(crate) zone: &'static str,
    pub(crate) vendor: &'static str,
    pub(crate) address: SocketAddr,
}

/// A relay in region eu at an address where nothing listens.
pub(crate) fn listed(
    id: &'static str,
    zone: &'static str,
    vendor: &'static str,
    host: u8,
) -> Listed {
    let address = SocketAddr::from(([127, 0, 77, host], 3478));
    Listed {
        id,
        region: "eu",
        zone,
        vendor,
        address,
    }
}

/// A nameserver of a test: where it listens and what it runs on.
pub(crate) struct Server {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ip: Ipv4Addr,
    pub(crate) dns: u16,
    pub(crate) reports: u16,
    pub(crate) admin: u16,
    pub(crate) relays: Vec<Listed>,
    pub(crate) id: &'static str,
    /// More lines for the regions eu and us.
    pub(crate) regions: [String; 2],
    /// More tables for the end.
    pub(crate) rules: String,
    /// More lines for `[node]`.
    pub(crate) node: String,
    /// More lines for `[zone]`.
    pub(crate) zone: String,
    /// More sections.
    pub(crate) more: String,
    /// What the daemon's environment holds besides.
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) running: Option<Running>,
}

impl Server {
    /// A nameserver on `127.0.9.<host>` that is not running yet.
    pub(crate) fn new(host: u8, relays: Vec<Listed>) -> Self {
        let ip = Ipv4Addr::new(127, 0, 9, host);
        Self {
            dir: tempfile::tempdir().expect("dir"),
            ip,
            dns: free_port(ip),
            reports: free_port(ip),
            admin: free_port(ip),
            relays,
            id: "ns1",
            regions: Default::default(),
            rules: String::new(),
            node: String::new(),
            zone: String::new(),
            more: String::new(),
            environment: Vec::new(),
            running: None,
        }
    }

    /// Writes the configuration, starts the daemon and waits until it answers.
    pub(crate) fn start(mut self) -> Self {
        self.configure();
        self.spawn();
        self.wait_ready();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self) -> String {
        let Self {
            ip,
            dns,
            reports,
            admin,
            id,
            node,
            zone,
            more,
            regions: [eu, us],
            ..
        } = self;
        let shown = |name: &str| self.path(name).display().to_string();
        let (control, state) = (shown("control"), shown("state"));
        let mut text = format!(
            "[node]\nid = \"{id}\"\nlisten = [\"{ip}:{dns}\"]\nreports = \"{ip}:{reports}\"\n\
             probe_address = [\"{ip}\"]\ncontrol = {control:?}\nadmin = \"{ip}:{admin}\"\n\
             state = {state:?}\n{node}\n\
             [zone]\nname = \"{ZONE}\"\ncontact = \"hostmaster.{ZONE}\"\n\
             nameservers = [{{ name = \"ns1\", addresses = [\"{ip}\"] }}]\n{zone}\n\
             [secrets]\ncurrent = \"{SECRET}\"\n\
             [[regions]]\nid = \"eu\"\ndefault = true\nfallback = [\"us\"]\n{eu}\
             [[regions]]\nid = \"us\"\nfallback = [\"eu\"]\nclients = [\"10.1.0.0/16\"]\n{us}\
             [[keys]]\nid = 1\nkey = \"{KEY}\"\n{more}"
        );
        for Listed {
            id,
            region,
            zone,
            vendor,
            address,
        } in &self.relays
        {
            let _ = write!(
                text,
                "[[relays]]\nid = \"{id}\"\nregion = \"{region}\"\nzone = \"{zone}\"\n\
                 vendor = \"{vendor}\"\naddresses = [\"{address}\"]\nkeys = [1]\n"
            );
        }
        text + &self.rules
    }

    pub(crate) fn configure(&self) {
        write(&self.path("dnsd.toml"), &self.config());
    }

    pub(crate) fn spawn(&mut self) {
        self.running = Some(self.launch(&["run"]));
    }

    /// Starts a daemon with this configuration and environment, that writes to this log.
    pub(crate) fn launch(&self, args: &[&str]) -> Running {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"));
        let mut command = self.command(args);
        command.stderr(Stdio::from(log.expect("log file")));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Running::start(&mut command)
    }

    /// Starts another daemon with the configuration as it is now, to take this one's place.
    pub(crate) fn take_over(&self) -> Running {
        self.launch(&["run", "--take-over"])
    }

    /// Waits until the daemon that was taken over has ended well, and has the other in its place.
    pub(crate) fn replaced(&mut self, by: Running) {
        let mut old = self.running.replace(by).expect("running");
        let ended = wait_for("the old daemon's end", Duration::from_secs(30), || {
            old.0.try_wait().expect("wait")
        });
        assert_eq!(ended.code(), Some(0), "{}", self.log());
        self.wait_ready();
    }

    pub(crate) fn wait_ready(&self) {
        wait_for("readiness", Duration::from_secs(10), || {
            self.http("/readyz")
                .filter(|answer| answer.starts_with("HTTP/1.1 200"))
                .map(drop)
        });
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.running
            .as_ref()
            .and_then(|running| i32::try_from(running.0.id()).ok())
            .expect("pid")
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).expect("signal");
    }

    /// Waits for the daemon's end; its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let mut running = self.running.take().expect("running");
        let status = wait_for("the daemon's end", Duration::from_secs(10), || {
            running.0.try_wait().expect("wait")
        });
        status.code()
    }

    /// `dnsd <args> --config <this server's>`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dnsd"));
        command
            .args(args)
            .arg("--config")
            .arg(self.path("dnsd.toml"))
            .env_remove("RUST_LOG");
        command
    }

    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("dnsd runs")
    }

    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self
            .command(args)
            .arg("--json")
            .output()
            .expect("dnsd runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The state of a relay, as the daemon tells it.
    pub(crate) fn verdict(&self, relay: &str) -> String {
        self.json(&["explain", relay])["state"]
            .as_str()
            .expect("state")
            .to_owned()
    }

    /// Waits until a relay is up.
    pub(crate) fn wait_up(&self, relay: &str) {
        let begun = Instant::now();
        while self.verdict(relay) != "up" {
            if begun.elapsed() > Duration::from_secs(15) {
                let known = self.json(&["explain", relay]);
                panic!("{relay} does not come up: {known:#}\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// GET on the admin listener: head and body.
    pub(crate) fn http(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect((self.ip, self.admin)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The value of one metric with all its labels as written.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.http("/metrics")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.trim().parse().ok()
    }

    /// `dig` at this server: its whole output.
    pub(crate) fn dig(&self, args: &[&str]) -> String {
        self.tool("dig", &["+tries=1", "+time=2", "+nocookie"], args)
    }

    /// `kdig` at this server: its whole output.
    pub(crate) fn kdig(&self, args: &[&str]) -> String {
        self.tool("kdig", &["+retry=0", "+time=2"], args)
    }

    fn tool(&self, tool: &str, options: &[&str], args: &[&str]) -> String {
        let output = Command::new(tool)
            .arg(format!("@{}", self.ip))
            .args(["-p", &self.dns.to_string()])
            .args(options)
            .args(args)
            .output()
            .expect("the tool runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The records of a short `dig`.
    pub(crate) fn short(&self, name: &str, kind: &str) -> Vec<String> {
        let text = self.dig(&["+short", name, kind]);
        text.lines().map(str::to_owned).collect()
    }
}
