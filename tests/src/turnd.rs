//! One running relay of a test's own: its configuration, process, log, metrics, and what it costs.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use rcgen::{CertificateParams, KeyPair};

use crate::binaries;
use crate::load::process::Usage;
use crate::process::signal;
use crate::stun::rest_password_bytes;
use crate::timing::until;

/// The secret of every relay under test.
pub const SECRET: &str = "under-test-under-test-under-test";
/// The API key of every relay under test.
pub const API_KEY: &str = "api-key-under-test-under-test";
/// The port of its TURN listeners.
pub const TURN: u16 = 3478;
/// The port of its administration.
pub const ADMIN: u16 = 9641;
/// The port of its credentials endpoint.
pub const REST: u16 = 8080;
/// Nothing that works takes longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a relay is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Names its directory.
    pub name: String,
    /// Addresses it listens on and relays from, at most one per family; the first serves HTTP.
    pub ips: Vec<IpAddr>,
    /// Further addresses it only relays from.
    pub relay_only: Vec<IpAddr>,
    /// `relay_ports`.
    pub ports: String,
    /// Further lines of `[relay]`.
    pub relay: String,
    /// The lines of `[secrets]`.
    pub secrets: String,
    /// The lines of `[log]`.
    pub log: String,
    /// Further sections.
    pub sections: String,
    /// Soft and hard limit of open files, if not the test's own.
    pub descriptors: Option<u64>,
}

impl Setup {
    /// The plainest relay on these addresses.
    pub fn new(name: &str, ips: &[IpAddr]) -> Self {
        Self {
            name: name.to_owned(),
            ips: ips.to_vec(),
            relay_only: Vec::new(),
            ports: "61000-65535".to_owned(),
            relay: String::new(),
            secrets: format!("current = \"{SECRET}\"\n"),
            log: "level = \"debug\"\n".to_owned(),
            sections: String::new(),
            descriptors: None,
        }
    }

    /// A loopback address of the test's own, which this process alone uses.
    pub fn loopback(name: &str) -> Self {
        use std::sync::atomic::{AtomicU8, Ordering};
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let pid = std::process::id();
        // 127.208.0.0/12, away from what people and other tests use.
        let ip = [
            127,
            208 + (pid >> 8 & 15) as u8,
            pid as u8,
            NEXT.fetch_add(1, Ordering::Relaxed),
        ];
        let mut setup = Self::new(name, &[IpAddr::from(ip)]);
        "[peers]\nallow = [\"127.0.0.0/8\"]\n".clone_into(&mut setup.sections);
        setup
    }

    /// The configuration file's text.
    ///
    /// # Panics
    /// When there is no address.
    pub fn text(&self) -> String {
        let first = self.ips.first().expect("an address");
        let quoted = |texts: Vec<String>| texts.join(", ");
        let listen = self
            .ips
            .iter()
            .map(|ip| format!("{:?}", SocketAddr::new(*ip, TURN).to_string()));
        let listen = quoted(listen.collect());
        let relayed = self.ips.iter().chain(&self.relay_only);
        let relayed = relayed.map(|ip| format!("{:?}", ip.to_string()));
        format!(
            "[relay]\nid = \"test-1\"\nrealm = \"{REALM}\"\nzone = \"turn.example.org\"\n\
             listen = [{listen}]\nlisten_tcp = [{listen}]\nrelay_addresses = [{}]\nrelay_ports = \"{}\"\n{}\n\
             [tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n\
             [secrets]\n{}\n[log]\n{}\n[admin]\nlisten = \"{}\"\n\
             [rest]\nlisten = \"{}\"\n[[rest.api_keys]]\nid = \"webapp\"\nkey = \"{API_KEY}\"\n{}",
            quoted(relayed.collect()),
            self.ports,
            self.relay,
            self.secrets,
            self.log,
            SocketAddr::new(*first, ADMIN),
            SocketAddr::new(*first, REST),
            self.sections,
        )
    }

    /// Starts it in the network namespace of the calling thread, without waiting for anything.
    ///
    /// # Panics
    /// When the executable does not start.
    pub fn launch(&self) -> Turnd {
        let directory = binaries::scratch(&self.name);
        let (config, log) = (directory.join("turnd.toml"), directory.join("log"));
        fs::write(&config, self.text()).expect("a file is written");
        let (chain, key) = &*CERTIFICATE;
        fs::write(directory.join("chain.pem"), chain).expect("a file is written");
        fs::write(directory.join("key.pem"), key).expect("a file is written");
        // A key that others can read is none.
        let owner = fs::Permissions::from_mode(0o600);
        fs::set_permissions(directory.join("key.pem"), owner).expect("it is its owner's");
        let program = binaries::directory().join("turnd");
        let mut command = match self.descriptors {
            None => Command::new(program),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]);
                shell.arg(program);
                shell
            }
        };
        let child = command
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).expect("a file is made"))
            .spawn()
            .expect("turnd starts");
        Turnd {
            child,
            ip: *self.ips.first().expect("an address"),
            directory,
        }
    }

    /// Starts it in the network namespace of the calling thread and waits until it is ready, which
    /// that thread must be able to see.
    pub fn start(&self) -> Turnd {
        let turnd = self.launch();
        turnd.wait_ready();
        turnd
    }
}

/// The realm of every relay under test, and the name in its certificate.
pub const REALM: &str = "turn.example.org";

/// The certificate of all of them, and its key, as PEM.
static CERTIFICATE: LazyLock<(String, String)> = LazyLock::new(|| {
    let parameters = CertificateParams::new([REALM.to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
});

/// The certificate that clients trust, as PEM, and its key, which nobody else may see.
pub fn certificate() -> (&'static str, &'static str) {
    (&CERTIFICATE.0, &CERTIFICATE.1)
}

/// A username that is good for an hour, and its password.
pub fn credential(secret: &str, user: &str) -> (String, String) {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    let username = format!("{}:{user}", now.as_secs() + 3600);
    let password = STANDARD.encode(rest_password_bytes(secret.as_bytes(), &username));
    (username, password)
}

/// A running relay; killed when dropped, its directory removed unless a test fails.
#[derive(Debug)]
pub struct Turnd {
    child: Child,
    /// Its first address.
    pub ip: IpAddr,
    directory: PathBuf,
}

impl Turnd {
    /// Waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_ready(&self) {
        until("the relay is ready", DEADLINE, || {
            (self.get("/readyz")?.0 == 200).then_some(())
        });
    }

    /// Where clients send to.
    pub fn turn(&self) -> SocketAddr {
        SocketAddr::new(self.ip, TURN)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.join("turnd.toml")
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All that it logged.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).expect("its log")
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Lets it take another configuration, and waits until it has.
    ///
    /// # Panics
    /// When it does not within a while.
    pub fn reload(&self, text: &str) {
        let before = self.metric("config_reloads_total");
        fs::write(self.config(), text).expect("a file is written");
        self.signal(Signal::SIGHUP);
        until("the reload is taken", DEADLINE, || {
            (self.metric("config_reloads_total") > before).then_some(())
        });
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When the system does not know its own child.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not.
    pub fn ended(&mut self) -> ExitStatus {
        until("the relay ends", DEADLINE, || {
            self.child.try_wait().expect("it is our child")
        })
    }

    /// Status and body of an administrative page, if it answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(5)))
            .build()
            .into();
        let url = format!("http://{}{path}", SocketAddr::new(self.ip, ADMIN));
        let mut answer = agent.get(url).call().ok()?;
        let body = answer.body_mut().read_to_string().ok()?;
        Some((answer.status().as_u16(), body))
    }

    /// One metric by its name, with labels but without the prefix; at most a second old.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.get("/metrics").expect("it answers");
        let name = format!("turnfleet_turnd_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name}in:\n{text}"))
    }

    /// Waits until a metric is as `wanted`; returns it.
    ///
    /// # Panics
    /// When it does not become so.
    pub fn metric_becomes(&self, name: &str, wanted: impl Fn(u64) -> bool) -> u64 {
        let mut last = 0;
        let started = std::time::Instant::now();
        while started.elapsed() < DEADLINE {
            last = self.metric(name);
            if wanted(last) {
                return last;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{name} stays at {last}");
    }

    /// Open descriptors.
    ///
    /// # Panics
    /// When it does not run.
    pub fn descriptors(&self) -> usize {
        let listed = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        listed.expect("it runs").count()
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resident(&self) -> u64 {
        Usage::of(self.pid()).expect("it runs").rss
    }
}

impl Drop for Turnd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- end of the relay's log ({})", self.directory.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        } else {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
