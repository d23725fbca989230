//! `constant`: what a name server's work is with two hundred relays when all are well, while half of
//! them die, and when they are dead.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{array, fs, thread};

use clap::{Parser, ValueEnum};
use cluster_tests::binaries;
use cluster_tests::fleet::daemon::Daemon;
use cluster_tests::netns::bridge::{Bridge, Host};
use cluster_tests::timing::until;

/// Runs name servers and relays, real ones, on machines of their own, kills half of the relays, and
/// prints what each name server had to do before and after. Ends with 1 where the two differ by a
/// fifth or more.
#[derive(Debug, Parser)]
struct Arguments {
    /// Relays: three vendors in two regions.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u8).range(12..=240))]
    relays: u8,
    /// Name servers; more than one vote together.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    nameservers: u8,
    /// What becomes of every other half dozen of relays.
    #[arg(long, value_enum, default_value_t = End::Killed)]
    end: End,
    /// Seconds of each measurement, and before it.
    #[arg(long, default_value_t = 40)]
    seconds: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum End {
    /// The process is gone, and its machine says so.
    Killed,
    /// It hangs.
    Stopped,
}

/// How long all may take to come up, and the half to be gone.
const DEADLINE: Duration = Duration::from_mins(1);
/// The time around the deaths.
const TRANSITION: Duration = Duration::from_secs(10);
/// The difference that is too much, in percent.
const MOST: f64 = 20.0;
/// Ticks of processor time in a second, as every Linux shows it.
const TICKS: f64 = 100.0;
const RELAYS: u8 = 3;
const FIRST: u8 = 200;

/// What a name server has done since it started.
#[derive(Debug, Clone, Copy)]
struct Work([f64; 5]);

/// What is counted, each per second.
const COUNTED: [&str; 5] = [
    "processor ms",
    "bytes in",
    "packets in",
    "bytes out",
    "packets out",
];

impl Work {
    fn of(daemon: &Daemon) -> Self {
        let pid = daemon.pid().expect("it runs");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
        let (_, stat) = stat.rsplit_once(')').expect("its name in brackets");
        let ticks = numbers(stat.split_ascii_whitespace().skip(11).take(2));
        let net = daemon
            .host
            .namespace
            .command("cat", "/proc/self/net/dev", "");
        let line = net
            .lines()
            .find_map(|line| line.trim().strip_prefix("eth0:"));
        let counts = numbers(line.expect("its interface").split_ascii_whitespace());
        let processor = (ticks[0] + ticks[1]) * 1000.0 / TICKS;
        Self([processor, counts[0], counts[1], counts[8], counts[9]])
    }
}

fn numbers<'a>(words: impl Iterator<Item = &'a str>) -> Vec<f64> {
    words.map(|word| word.parse().expect("a number")).collect()
}

struct Fleet {
    relays: Vec<Daemon>,
    nameservers: Vec<Daemon>,
    _bridge: Bridge,
}

impl Fleet {
    fn start(arguments: &Arguments) -> Option<Self> {
        let bridge = Bridge::new("constant")?;
        let dir = binaries::scratch("constant");
        let machine = bridge.host(RELAYS);
        let nameservers = (0..arguments.nameservers).map(|index| {
            let host = bridge.host(FIRST + index);
            let way = format!("route add 45.80.4.0/24 via {}", machine.ipv4);
            host.namespace.ip(&way);
            let dir = dir.join(format!("ns{}", index + 1));
            let config = dnsd(arguments, index, &host, &dir);
            Daemon::new("dnsd", &format!("ns{}", index + 1), host, dir, &config)
        });
        let nameservers: Vec<_> = nameservers.collect();
        let relays = (0..arguments.relays).map(|index| {
            let ip = relay_address(index);
            machine
                .namespace
                .ip(&format!("address add {ip}/32 dev eth0"));
            let dir = dir.join(format!("relay-{index}"));
            let config = turnd(arguments, index, &dir);
            let id = format!("relay-{index}");
            Daemon::new("turnd", &id, machine.clone(), dir, &config)
        });
        let relays: Vec<_> = relays.collect();
        relays.iter().chain(&nameservers).for_each(Daemon::start);
        Some(Self {
            relays,
            nameservers,
            _bridge: bridge,
        })
    }

    /// Waits until every name server calls that many relays up.
    fn wait(&self, up: usize) {
        for daemon in &self.nameservers {
            until(&format!("{up} relays are up"), DEADLINE, || {
                let page = daemon.host.namespace.run(|| {
                    let mut page = ureq::get("http://127.0.0.1:9653/metrics").call().ok()?;
                    page.body_mut().read_to_string().ok()
                })?;
                let of_relay = |line: &&str| line.starts_with("turnfleet_dnsd_relay_verdict{");
                let is_up = |line: &&str| line.ends_with("state=\"up\"} 1");
                let lines = page.lines().filter(of_relay).filter(is_up);
                (lines.count() == up).then_some(())
            });
        }
    }

    /// The work of each name server in a second, on average over `span`.
    fn measure(&self, span: Duration) -> Vec<Work> {
        let before: Vec<Work> = self.nameservers.iter().map(Work::of).collect();
        let began = Instant::now();
        thread::sleep(span);
        let took = began.elapsed().as_secs_f64();
        let pairs = self.nameservers.iter().map(Work::of).zip(before);
        let per_second = |(after, before): (Work, Work)| {
            Work(array::from_fn(|place| {
                (after.0[place] - before.0[place]) / took
            }))
        };
        pairs.map(per_second).collect()
    }
}

fn relay_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(45, 80, 4, index + 1)
}

fn turnd(arguments: &Arguments, index: u8, dir: &Path) -> String {
    let ip = relay_address(index);
    let reports = (0..arguments.nameservers).map(|ns| format!("45.80.3.{}:5301", FIRST + ns));
    let reports: Vec<_> = reports.collect();
    let number = u16::from(index);
    format!(
        "[relay]\nid = \"relay-{index}\"\nrealm = \"turn.example\"\nzone = \"turn.example\"\n\
         listen = [\"{ip}:3478\"]\nlisten_tcp = [\"{ip}:3478\"]\nrelay_addresses = [\"{ip}\"]\n\
         relay_ports = \"61000-65535\"\nworkers = 1\n\
         [secrets]\ncurrent = \"constant-under-test-constant-under-test\"\n\
         [limits]\nsessions = 1000\nconnections = 1000\n\
         [admin]\nlisten = \"127.0.0.1:{port}\"\nsocket = {socket:?}\n\
         [liveness]\nkey_id = {key}\nkey = \"report-key-under-test-of-relay-{number:03}\"\n\
         dnsd = {reports:?}\nstate_file = {state:?}\n[log]\nlevel = \"warn\"\n",
        port = 9000 + number,
        key = number + 1,
        socket = dir.join("turnd.sock").display().to_string(),
        state = dir.join("boot").display().to_string(),
    )
}

fn dnsd(arguments: &Arguments, index: u8, host: &Host, dir: &Path) -> String {
    let ip = host.ipv4;
    let others = || (0..arguments.nameservers).map(|other| (other + 1, FIRST + other));
    let nameservers = others().map(|(number, host)| {
        format!("{{ name = \"ns{number}\", addresses = [\"45.80.3.{host}\"] }}")
    });
    let vendors = ["alpha", "beta", "gamma"];
    let mut text = format!(
        "[node]\nid = \"ns{number}\"\nlisten = [\"{ip}:53\"]\nreports = \"{ip}:5301\"\n\
         probe_address = [\"{ip}\"]\ncontrol = {control:?}\nadmin = \"127.0.0.1:9653\"\n\
         state = {state:?}\nworkers = 1\n\
         [zone]\nname = \"turn.example\"\ncontact = \"hostmaster.turn.example\"\n\
         nameservers = [{nameservers}]\n\
         [secrets]\ncurrent = \"constant-under-test-constant-under-test\"\n[log]\nlevel = \"warn\"\n\
         [[regions]]\nid = \"eu\"\nfallback = [\"us\"]\nclients = []\ndefault = true\n\
         [[regions]]\nid = \"us\"\nfallback = [\"eu\"]\nclients = []\n",
        number = index + 1,
        control = dir.join("control.sock").display().to_string(),
        state = dir.join("state").display().to_string(),
        nameservers = nameservers.collect::<Vec<_>>().join(", "),
    );
    if arguments.nameservers > 1 {
        let peers: Vec<_> = others()
            .map(|(_, host)| format!("45.80.3.{host}:5302"))
            .collect();
        let _ = writeln!(
            text,
            "[sharing]\nlisten = \"{ip}:5302\"\nvendor = \"{}\"\nregion = \"eu\"\npeers = {peers:?}\n\
             current = \"sharing-key-under-test-sharing-key\"",
            vendors[usize::from(index) % 3],
        );
    }
    for relay in 0..arguments.relays {
        let (region, vendor) = (
            ["eu", "us"][usize::from(relay) % 2],
            vendors[usize::from(relay) % 3],
        );
        let _ = writeln!(
            text,
            "[[relays]]\nid = \"relay-{relay}\"\nregion = \"{region}\"\nzone = \"{region}-{vendor}\"\n\
             vendor = \"{vendor}\"\naddresses = [\"{address}:3478\"]\nkeys = [{key}]\n\
             [[keys]]\nid = {key}\nkey = \"report-key-under-test-of-relay-{relay:03}\"",
            address = relay_address(relay),
            key = u16::from(relay) + 1,
        );
    }
    text
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let span = Duration::from_secs(arguments.seconds);
    let Some(fleet) = Fleet::start(&arguments) else {
        return ExitCode::FAILURE;
    };
    fleet.wait(fleet.relays.len());
    thread::sleep(span);
    let well = fleet.measure(span);
    // Half of every vendor's in every region.
    let dying = fleet.relays.iter().enumerate();
    let dying = dying.filter(|(index, _)| index / 6 % 2 == 0);
    let dying: Vec<_> = dying.take(fleet.relays.len() / 2).collect();
    for (_, relay) in &dying {
        match arguments.end {
            End::Killed => relay.kill(),
            End::Stopped => relay.hang(),
        }
    }
    let during = fleet.measure(TRANSITION);
    fleet.wait(fleet.relays.len() - dying.len());
    thread::sleep(span);
    let after = fleet.measure(span);
    println!(
        "{} of {} relays {:?}, {} name servers; per second of each: all well, in the {} s from then on, later",
        dying.len(),
        fleet.relays.len(),
        arguments.end,
        arguments.nameservers,
        TRANSITION.as_secs(),
    );
    let mut worst = 0.0_f64;
    for (place, what) in COUNTED.into_iter().enumerate() {
        for (name, ((well, during), after)) in (1..).zip(well.iter().zip(&during).zip(&after)) {
            let counts = [well, during, after].map(|work| work.0[place]);
            let [of_during, of_after] =
                [1, 2].map(|phase| counts[phase] / counts[0] * 100.0 - 100.0);
            worst = worst.max(of_after.abs());
            println!(
                "{what:>12} of ns{name}: {:>9.1} {:>9.1} ({of_during:+.0} %) {:>9.1} ({of_after:+.0} %)",
                counts[0], counts[1], counts[2],
            );
        }
    }
    println!("largest difference {worst:.0} %, to be less than {MOST:.0} %");
    if worst < MOST {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
