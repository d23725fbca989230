//! A running local cluster, and other processes that must not outlive a test.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddrV4};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use local_cluster::children::UNDER;
use local_cluster::event::{DnsdFacts, Event, Ready, RelayFacts, Stamped};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::binaries;

/// How long a cluster may take to come up, and to go.
const DEADLINE: Duration = Duration::from_mins(2);
/// How many networks are tried before none is taken to be free.
const NETWORKS: u32 = 20;

/// A child process that is killed when this is dropped.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Takes charge of `child`.
    pub fn new(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A credential with the owner names of its two lanes.
#[derive(Debug, Clone)]
pub struct Credential {
    /// TURN username.
    pub username: String,
    /// TURN password.
    pub password: String,
    /// Owner names of lane a and lane b.
    pub lanes: [String; 2],
}

/// A local cluster that is up; it is stopped when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// All its facts.
    pub ready: Ready,
    child: Child,
    events: Mutex<Receiver<Stamped>>,
    dir: PathBuf,
}

impl Cluster {
    /// Starts a cluster on a network of its own and waits until it is up.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(name: &str) -> Self {
        let dir = binaries::scratch(name);
        for attempt in 0..NETWORKS {
            // Several test runs on one machine start their search at different places.
            let net = 20 + (std::process::id() + attempt) % 180;
            match Self::on_net(net, dir.clone()) {
                Ok(cluster) => return cluster,
                Err(message) if message.starts_with("cannot use ") => {}
                Err(message) => panic!("{name}: {message} (files in {})", dir.display()),
            }
        }
        panic!("{name}: no network of {NETWORKS} is free");
    }

    fn on_net(net: u32, dir: PathBuf) -> Result<Self, String> {
        let binaries = binaries::directory();
        let program = binaries.join("local-cluster");
        // By its own starter, so that it dies with this thread however that ends.
        let mut child = Command::new(&program)
            .args([UNDER, &std::process::id().to_string()])
            .arg(&program)
            .args(["--json", "--net", &format!("127.{net}")])
            .arg("--daemons")
            .arg(binaries)
            .arg("--dir")
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("an event per line");
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let ready = wait_ready(&events);
        if ready.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        Ok(Self {
            ready: ready?,
            child,
            events: Mutex::new(events),
            dir,
        })
    }

    /// The relay with the address `ip`.
    ///
    /// # Panics
    /// When there is none.
    pub fn relay_at(&self, ip: IpAddr) -> &RelayFacts {
        let mut relays = self.ready.relays.iter();
        relays
            .find(|relay| IpAddr::V4(*relay.address.ip()) == ip)
            .expect("an address of a relay")
    }

    /// The name server `id`.
    ///
    /// # Panics
    /// When there is none.
    pub fn dnsd(&self, id: &str) -> &DnsdFacts {
        self.ready
            .dns_servers
            .iter()
            .find(|server| server.id == id)
            .expect("a name server")
    }

    /// Addresses of all name servers.
    pub fn servers(&self) -> impl Iterator<Item = SocketAddrV4> + '_ {
        self.ready.dns_servers.iter().map(|server| server.address)
    }

    /// Every steered name: the apex, both lanes, both regions, and the lanes of `credential`.
    pub fn names(&self, credential: &Credential) -> Vec<String> {
        let zone = &self.ready.zone;
        let mut names = vec![zone.clone()];
        names.extend(["a", "b", "eu", "us"].map(|label| format!("{label}.{zone}")));
        names.extend(credential.lanes.clone());
        names
    }

    /// A fresh credential from the first relay that gives one, as an app's back end asks for it.
    ///
    /// # Panics
    /// When no relay gives one.
    pub fn credential(&self, query: &str) -> Credential {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(2)))
            .build()
            .into();
        let ask = |relay: &RelayFacts| -> Option<Credential> {
            let url = format!("http://{}/v1/credentials?user=scenario{query}", relay.rest);
            let key = format!("Bearer {}", self.ready.api_key);
            let mut response = agent.get(url).header("Authorization", key).call().ok()?;
            let body: Value = response.body_mut().read_json().ok()?;
            let text = |pointer: &str| Some(body.pointer(pointer)?.as_str()?.to_owned());
            Some(Credential {
                username: text("/iceServers/0/username")?,
                password: text("/iceServers/0/credential")?,
                lanes: [text("/lanes/a")?, text("/lanes/b")?],
            })
        };
        self.ready
            .relays
            .iter()
            .find_map(ask)
            .expect("a relay that issues credentials")
    }

    /// The events that came and nobody has waited for.
    ///
    /// # Panics
    /// When another thread panicked while it waited.
    pub fn told(&self) -> Vec<Event> {
        let events = self.events.lock().expect("no panic while waiting");
        events.try_iter().map(|stamped| stamped.event).collect()
    }

    /// Waits for an event that `wanted` picks; earlier ones are passed over.
    ///
    /// # Panics
    /// When none comes within `limit`.
    pub fn event<T>(&self, what: &str, limit: Duration, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + limit;
        let events = self.events.lock().expect("no panic while waiting");
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match events.recv_timeout(left) {
                Ok(stamped) => {
                    if let Some(found) = wanted(&stamped.event) {
                        return found;
                    }
                }
                Err(error) => panic!("{what}: not within {limit:?} ({error})"),
            }
        }
    }
}

fn wait_ready(events: &Receiver<Stamped>) -> Result<Ready, String> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Stamped {
                event: Event::Ready(ready),
                ..
            }) => return Ok(*ready),
            Ok(Stamped {
                event: Event::Error { message, .. },
                ..
            }) => return Err(message),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return Err(format!("not up within {DEADLINE:?}")),
            Err(RecvTimeoutError::Disconnected) => return Err("it ended".to_owned()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        signal(self.child.id(), Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "configuration files and logs are kept in {}",
                self.dir.display()
            );
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Sends `signal` to the process `pid`, if it is still there.
pub fn signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// Starts a process of the cluster again from its command line, with its output in `log`.
///
/// # Panics
/// When it does not start.
pub fn again(command: &[String], log: &std::path::Path) -> Guard {
    let (program, arguments) = command.split_first().expect("a program");
    let log = fs::OpenOptions::new()
        .append(true)
        .open(log)
        .expect("its log file");
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a descriptor"))
        .stderr(log)
        .spawn()
        .expect("it starts");
    Guard::new(child)
}
