//! One run: a server on its cores, the generator on another, and both gone afterwards.

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use local_cluster::{
    children::{Children, Recipe},
    event::Event,
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    cases::{Case, Pace, Transport},
    subjects::{Common, Subject},
};
use crate::load::plan::Via;

/// The core of a server, and where the generator runs, with a second worker of the server.
const CORES: [usize; 2] = [0, 1];
/// How long a server may take until it gives an allocation.
const READY: Duration = Duration::from_secs(15);
/// How long a run may take beyond the time of its traffic: allocations are made, stragglers awaited.
const BESIDE: Duration = Duration::from_mins(1);

/// What to run with.
#[derive(Debug)]
pub struct Bench {
    /// What the servers share.
    pub common: Common,
    /// The generator.
    pub load: PathBuf,
    /// Whether it never sleeps.
    pub spin: bool,
    /// Traffic before the measurement, and the measurement.
    pub times: [Duration; 2],
    /// Set when everything shall end.
    pub stop: Arc<AtomicBool>,
}

impl Bench {
    /// Starts `subject`, sends it the traffic of `case`, `rate` packets per second where the case leaves
    /// that open, and returns what the generator says.
    ///
    /// # Errors
    /// With the reason in words.
    pub fn run(&self, case: &Case, subject: &Subject, rate: Option<u32>) -> Result<Value, String> {
        let cores = &CORES[..usize::from(case.workers).min(CORES.len())];
        let mut server = Children::default();
        let recipe = Recipe {
            name: subject.name.clone(),
            program: subject.program.clone(),
            arguments: subject.arguments(case, &self.common)?,
            log: self.common.directory.join("server.log"),
        };
        let pid = start_on(cores, &mut server, recipe)?;
        let outcome = self.wait_ready(case, subject, &mut server).and_then(|()| {
            let arguments = self.load_arguments(case, subject, rate, Some(pid));
            let [warmup, time] = self.times;
            self.load(&arguments, warmup + time + BESIDE)
        });
        // It has nothing to save, and would only wait: it is killed.
        drop(server);
        outcome
    }

    /// Waits until the server relays for one client.
    fn wait_ready(
        &self,
        case: &Case,
        subject: &Subject,
        server: &mut Children,
    ) -> Result<(), String> {
        let probe = Case {
            allocations: 1,
            pace: Pace::Window(1),
            opening: None,
            ..case.clone()
        };
        let arguments = self.load_arguments(&probe, subject, None, None);
        let deadline = Instant::now() + READY;
        loop {
            let Err(why) = self.load(&arguments, READY) else {
                return Ok(());
            };
            if !server.ended().is_empty() {
                return Err(server.ended_early(&subject.name).to_string());
            }
            if Instant::now() > deadline {
                return Err(format!("not ready within {} s: {why}", READY.as_secs()));
            }
            self.pause(Duration::from_millis(10))?;
        }
    }

    fn load_arguments(
        &self,
        case: &Case,
        subject: &Subject,
        rate: Option<u32>,
        pid: Option<u32>,
    ) -> Vec<OsString> {
        let mut words = vec![subject.address().to_string(), "--json".to_owned()];
        let mut set = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        set("allocations", case.allocations.to_string());
        // Each client has a network of its own, so that no limit on what strangers of one network get is
        // in the way.
        set("sources", case.allocations.to_string());
        set("payload", case.payload.to_string());
        match &case.pace {
            Pace::Window(window) => set("window", window.to_string()),
            Pace::InFlight(packets) => set("in-flight", packets.to_string()),
            Pace::Rate(rate) => set("rate", rate.to_string()),
            Pace::Share(..) => set("rate", rate.unwrap_or(1).to_string()),
            Pace::Trains(packets, every_ms) => {
                set("burst", packets.to_string());
                set("every-ms", every_ms.to_string());
            }
        }
        if case.via == Via::Indication {
            set("via", "indication".to_owned());
        }
        match case.transport {
            Transport::Udp => {}
            Transport::Tcp => set("transport", "tcp".to_owned()),
            Transport::Tls => set("transport", "tls".to_owned()),
        }
        if let Some(opening) = case.opening {
            set("opening", opening.to_string());
        }
        if let Some(pid) = pid {
            let [warmup, time] = self.times.map(|time| time.as_secs_f64().to_string());
            set("server-pid", pid.to_string());
            set("warmup", warmup);
            set("seconds", time);
        } else {
            set("warmup", "0".to_owned());
            set("seconds", "0.05".to_owned());
        }
        if !subject.is_raw() {
            set("secret", self.common.secret.clone());
        }
        words.extend(subject.is_raw().then(|| "--raw".to_owned()));
        words.extend(case.coalesce.then(|| "--coalesce".to_owned()));
        words.extend(self.spin.then(|| "--spin".to_owned()));
        words.into_iter().map(Into::into).collect()
    }

    /// Runs the generator and reads what it prints.
    fn load(&self, arguments: &[OsString], limit: Duration) -> Result<Value, String> {
        let mut children = Children::default();
        let log = self.common.directory.join("load.log");
        let recipe = Recipe {
            name: "load".to_owned(),
            program: self.load.clone(),
            arguments: arguments.to_vec(),
            log: log.clone(),
        };
        start_on(&CORES[1..], &mut children, recipe)?;
        let deadline = Instant::now() + limit;
        let succeeded = loop {
            if let Some(Event::Exited { code, .. }) = children.ended().first() {
                break *code == Some(0);
            }
            if Instant::now() > deadline {
                return Err(format!("the generator ran longer than {limit:?}"));
            }
            self.pause(Duration::from_millis(5))?;
        };
        let said = fs::read_to_string(&log).unwrap_or_default();
        let outcome = said.lines().find(|line| line.starts_with('{'));
        outcome
            .filter(|_| succeeded)
            .and_then(|line| serde_json::from_str(line).ok())
            .ok_or_else(|| said.trim().to_owned())
    }

    /// Waits, unless everything shall end.
    fn pause(&self, time: Duration) -> Result<(), String> {
        thread::sleep(time);
        if self.stop.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        Ok(())
    }
}

/// Starts a process on `cores`: it inherits them from this thread, before it has threads of its own.
fn start_on(cores: &[usize], children: &mut Children, recipe: Recipe) -> Result<u32, String> {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).map_err(|error| error.to_string())?;
    let mut set = CpuSet::new();
    let chosen = cores.iter().try_for_each(|core| set.set(*core));
    chosen
        .and_then(|()| sched_setaffinity(this, &set))
        .map_err(|error| format!("cannot run on cores {cores:?}: {error}"))?;
    let started = children.start(recipe).map_err(|error| error.to_string());
    sched_setaffinity(this, &before).map_err(|error| error.to_string())?;
    started
}
