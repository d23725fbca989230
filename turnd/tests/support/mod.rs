//! Starts the real relay on loopback addresses of its own, and the tools that talk to it.
//!
//! Every relay under test has an IPv4 loopback address that no other test has, so fixed ports never
//! meet. Everything started is ended by its own handle.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

pub(crate) mod certificates;
pub(crate) mod turn_client;
pub(crate) mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Nothing that works takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// The secret of every relay under test.
pub(crate) const SECRET: &str = "north-north-north-north";
/// The API key of every relay under test.
pub(crate) const API_KEY: &str = "an api key for the tests";
/// Signs the reports of every relay under test.
pub(crate) const REPORT_KEY: &str = "a key that signs the reports of the tests";

pub(crate) const TURN: u16 = 3478;
pub(crate) const REST: u16 = 8080;
pub(crate) const ADMIN: u16 = 9641;
pub(crate) const PEER: u16 = 3480;

/// A loopback address of one's own.
pub(crate) fn loopback() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let pid = std::process::id();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    // 127.64.0.0/10, away from the addresses that people and other tests use; .0 and .255 spared.
    Ipv4Addr::new(
        127,
        64 | (pid >> 8) as u8 & 0x3f,
        pid as u8,
        1 + (next % 250) as u8,
    )
}

/// Waits until `condition` gives something, for [`DEADLINE`] at most.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a tool is installed; says so when not, and insists where the environment does.
pub(crate) fn has_tool(test: &str, tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(tool).is_file()) {
        return true;
    }
    let required = std::env::var("TURNFLEET_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    assert!(!required, "{tool} is not installed");
    println!("SKIP {test}: {tool} not installed");
    false
}

/// A relay's configuration: the usual one, with sections added or lines replaced.
pub(crate) struct Setup {
    pub(crate) ip: Ipv4Addr,
    pub(crate) relay: String,
    pub(crate) sections: String,
    /// Limit on file descriptors.
    pub(crate) descriptors: Option<u32>,
    /// Further keys of `[admin]`.
    pub(crate) admin: String,
    /// Names and contents of files beside the configuration.
    pub(crate) files: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        let ip = loopback();
        Self {
            ip,
            relay: format!("listen = [\"{ip}:{TURN}\"]\nrelay_addresses = [\"{ip}\"]"),
            sections: String::new(),
            descriptors: None,
            admin: String::new(),
            files: Vec::new(),
        }
    }
}

impl Setup {
    pub(crate) fn text(&self) -> String {
        let Self {
            ip,
            relay,
            sections,
            admin,
            ..
        } = self;
        let grace = if relay.contains("drain_grace") {
            ""
        } else {
            "drain_grace = \"1s\""
        };
        let workers = if relay.contains("workers") {
            ""
        } else {
            "workers = 2"
        };
        format!(
            "[relay]\nid = \"test-1\"\nrealm = \"turn.example\"\nzone = \"turn.example\"\n{relay}\n\
             {workers}\n{grace}\n\
             [secrets]\ncurrent = \"{SECRET}\"\n\
             [peers]\nallow = [\"127.0.0.0/8\", \"::1/128\"]\n\
             [rest]\nlisten = \"{ip}:{REST}\"\n\
             [[rest.api_keys]]\nid = \"tests\"\nkey = \"{API_KEY}\"\n\
             [admin]\nlisten = \"{ip}:{ADMIN}\"\n{admin}\
             {sections}\n"
        )
    }

    /// Starts the relay and waits until it serves.
    pub(crate) fn start(&self) -> Relay {
        let relay = self.launch();
        wait_for("the relay serves", || {
            (relay.get("/readyz").0 == 200).then_some(())
        });
        relay
    }

    /// Starts the relay.
    pub(crate) fn launch(&self) -> Relay {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("turnd.toml");
        let log = directory.path().join("log");
        std::fs::write(&config, self.text()).expect("the configuration is written");
        for (name, text) in &self.files {
            certificates::write_secret(&directory.path().join(name), text);
        }
        let program = env!("CARGO_BIN_EXE_turnd");
        let mut command = match self.descriptors {
            None => Command::new(program),
            Some(limit) => {
                let mut shell = Command::new("sh");
                let limited = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
                shell.args(["-c", &limited, program]);
                shell
            }
        };
        let child = command
            .args(["run", "--config"])
            .arg(&config)
            .stderr(std::fs::File::create(&log).expect("the log is created"))
            .spawn()
            .expect("turnd starts");
        Relay {
            child,
            ip: self.ip,
            config,
            log,
            _directory: directory,
        }
    }
}

/// A running relay, killed when dropped.
pub(crate) struct Relay {
    child: Child,
    pub(crate) ip: Ipv4Addr,
    pub(crate) config: PathBuf,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the relay\n{}", self.log());
        }
    }
}

impl Relay {
    pub(crate) fn turn(&self) -> SocketAddr {
        SocketAddr::from((self.ip, TURN))
    }

    pub(crate) fn directory(&self) -> &Path {
        self.config.parent().expect("it has a directory")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the signal is sent");
    }

    pub(crate) fn reload(&self, text: &str) {
        std::fs::write(&self.config, text).expect("the configuration is written");
        self.signal(Signal::SIGHUP);
    }

    /// Waits until the process has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for("the relay ends", || self.child.try_wait().expect("wait"))
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Status and body of an admin route; status 0 when there is no answer.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(5)))
            .build()
            .into();
        match agent
            .get(format!("http://{}:{ADMIN}{path}", self.ip))
            .call()
        {
            Ok(mut answer) => {
                let body = answer.body_mut().read_to_string().unwrap_or_default();
                (answer.status().as_u16(), body)
            }
            Err(_) => (0, String::new()),
        }
    }

    /// One metric, by its name with labels but without the prefix.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        let (_, text) = self.get("/metrics");
        let name = format!("turnfleet_turnd_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name))?;
        line.trim().parse().ok()
    }

    /// Columns of /proc/<pid>/stat after the name: index 11 and 12 are user and system time.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("it runs");
        let after = stat.rsplit_once(')').expect("a name").1;
        let columns: Vec<&str> = after.split_whitespace().collect();
        let ticks = |index: usize| columns[index].parse::<u64>().expect("ticks");
        ticks(11) + ticks(12)
    }

    /// Whether a signal has stopped it.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("it runs");
        stat.rsplit_once(") ").expect("a name").1.starts_with('T')
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        let kilobytes = line.trim().trim_end_matches(" kB").trim();
        kilobytes.parse::<u64>().expect("a number") * 1024
    }

    /// A credential from the REST endpoint: username and password.
    pub(crate) fn credential(&self) -> (String, String) {
        let url = format!("http://{}:{REST}/v1/credentials?user=ann", self.ip);
        let mut answer = ureq::get(url)
            .header("Authorization", format!("Bearer {API_KEY}"))
            .call()
            .expect("an answer");
        let answer: serde_json::Value = answer.body_mut().read_json().expect("JSON");
        let server = &answer["iceServers"][0];
        let text = |key: &str| server[key].as_str().expect("a text").to_owned();
        (text("username"), text("credential"))
    }
}

/// A process of a tool, killed when dropped.
pub(crate) struct Tool(Child);

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Tool {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the tool starts");
        Self(child)
    }

    /// Waits for its end and returns what it wrote.
    pub(crate) fn finish(mut self) -> String {
        wait_for("the tool ends", || self.0.try_wait().expect("wait"));
        let mut out = String::new();
        let stdout = self.0.stdout.as_mut().expect("it is piped");
        std::io::Read::read_to_string(stdout, &mut out).expect("its output is text");
        out
    }
}

/// coturn's echo peer at `address`, up and answering.
pub(crate) fn echo_peer(address: SocketAddr) -> Tool {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let tool = Tool::start("turnutils_peer", &["-L", &ip, "-p", &port]);
    let socket = std::net::UdpSocket::bind((address.ip(), 0)).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a timeout");
    wait_for("the peer echoes", || {
        let _ = socket.send_to(b"are you there?", address);
        socket.recv(&mut [0; 64]).is_ok().then_some(())
    });
    tool
}

/// Arguments of a coturn client that sends `count` messages and wants every echo back.
pub(crate) fn client<'a>(extra: &[&'a str], port: &'a str, server: &'a str) -> Vec<&'a str> {
    // -c: without RTCP, for which it would want a pair of ports reserved.
    let mut arguments = vec!["-c", "-z", "5", "-p", port];
    arguments.extend_from_slice(extra);
    arguments.push(server);
    arguments
}

/// What coturn's client says of lost packets, as (sent, lost).
pub(crate) fn lost(output: &str) -> (u64, u64) {
    let after = |words: &str| {
        let (_, text) = output.rsplit_once(words)?;
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    match (after("tot_send_msgs="), after("Total lost packets ")) {
        (Some(sent), Some(missing)) => (sent, missing),
        _ => panic!("the client did not get that far:\n{output}"),
    }
}
