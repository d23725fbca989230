//! The life of a local cluster: prepare, start, wait until it is up, watch, stop.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::children::{Children, Recipe};
use crate::configs;
use crate::daemons::{Daemons, default_run_directory};
use crate::event::Event;
use crate::facts;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::layout::{Layout, ZONE};
use crate::options::Options;
use crate::output::Output;
use crate::ports;
use crate::rundir::RunDir;
use crate::watch::{self, Seen, Update};

/// How long the cluster may take to come up before that is an error.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How often signals and ended processes are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Runs the cluster and says how it went.
pub fn main(options: &Options) -> ExitCode {
    let mut output = Output::new(options.json);
    match run(options, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !options.json {
                eprintln!("error: {failure}");
            }
            let Failure { message, help } = failure;
            // When standard output is what failed, there is nothing left to tell.
            let _ = output.tell(Event::Error { message, help }, None);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, output: &mut Output) -> Result<(), Failure> {
    let stop = stop_flag()?;
    let layout = Layout::new(options);
    let dir = options.dir.clone().unwrap_or_else(default_run_directory);
    let dir = RunDir::open(&dir)?;
    let daemons = Daemons::find(options.daemons.as_deref())?;
    ports::check(&layout)?;
    let keys = Keys::draw(layout.relays.len())?;
    let recipes = prepare(&layout, &keys, &dir, &daemons)?;

    output.tell(
        Event::Starting {
            dir: dir.path().to_owned(),
            relays: layout.relays.len(),
            dnsds: layout.dnsds.len(),
        },
        None,
    )?;
    let started = Instant::now();
    let mut children = Children::default();
    for recipe in recipes.values() {
        children.start(recipe.clone())?;
    }
    let (sender, updates) = channel();
    for dnsd in &layout.dnsds {
        watch::start(
            &dnsd.id,
            dir.file(&dnsd.id, configs::CONTROL_FILE),
            sender.clone(),
        );
    }
    let mut cluster = Cluster {
        layout,
        children,
        updates,
        seen: BTreeMap::new(),
        stop,
    };
    let reason = match cluster.come_up(started, output) {
        Ok(true) => {
            let pid = |name: &str| cluster.children.pid(name).unwrap_or_default();
            let ready = facts::ready(
                &cluster.layout,
                &keys,
                &dir,
                &recipes,
                pid,
                started.elapsed(),
            )?;
            let first = facts::first_relay(&cluster.layout, &ready).cloned();
            output.tell(Event::Ready(Box::new(ready)), first.as_ref())?;
            cluster.keep(options.run_for, output)?
        }
        Ok(false) => "asked to by a signal".to_owned(),
        Err(failure) => return Err(failure),
    };
    output.tell(Event::Stopping { reason }, None)?;
    cluster.children.stop();
    output.tell(Event::Stopped, None)
}

/// A flag that SIGINT, SIGTERM and SIGHUP raise.
fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(|error| {
            Failure::new(
                format!("cannot handle signal {signal}: {error}"),
                "start it from a shell that leaves signals alone",
            )
        })?;
    }
    Ok(flag)
}

/// A file written here that a daemon would refuse: told before anything is started.
fn refused(errors: impl std::fmt::Display) -> Failure {
    Failure::new(
        errors.to_string(),
        "the daemons here and this program are of different versions: build them together",
    )
}

/// Writes every configuration file, holds it against the daemon's own loader, and says how each
/// process is started.
fn prepare(
    layout: &Layout,
    keys: &Keys,
    dir: &RunDir,
    daemons: &Daemons,
) -> Result<BTreeMap<String, Recipe>, Failure> {
    let recipe = |name: &str, program: &std::path::Path, config: std::path::PathBuf, log| Recipe {
        name: name.to_owned(),
        program: program.to_owned(),
        arguments: vec!["run".into(), "--config".into(), config.into()],
        log: dir.file(name, log),
    };
    let mut recipes = BTreeMap::new();
    for dnsd in &layout.dnsds {
        dir.fresh(&dnsd.id)?;
        dir.check_socket(&dnsd.id, configs::CONTROL_FILE)?;
        let text = configs::dnsd(layout, dnsd, keys, &dir.path().join(&dnsd.id));
        let config = dir.write(&dnsd.id, configs::DNSD_FILE, &text)?;
        dnsd::config::Config::read(&config).map_err(refused)?;
        let recipe = recipe(&dnsd.id, &daemons.dnsd, config, "dnsd.log");
        recipes.insert(dnsd.id.clone(), recipe);
    }
    for relay in &layout.relays {
        dir.fresh(&relay.id)?;
        let text = configs::turnd(layout, relay, keys, &dir.path().join(&relay.id));
        let config = dir.write(&relay.id, configs::TURND_FILE, &text)?;
        turnd::config::Config::read(&config).map_err(refused)?;
        let recipe = recipe(&relay.id, &daemons.turnd, config, "turnd.log");
        recipes.insert(relay.id.clone(), recipe);
    }
    Ok(recipes)
}

/// What runs, and what is known of it.
#[derive(Debug)]
struct Cluster {
    layout: Layout,
    children: Children,
    updates: Receiver<Update>,
    /// Last word of each name server, by its id.
    seen: BTreeMap<String, Option<Seen>>,
    stop: Arc<AtomicBool>,
}

impl Cluster {
    /// Waits until every name server calls every relay up and answers. False: asked to stop.
    fn come_up(&mut self, started: Instant, output: &mut Output) -> Result<bool, Failure> {
        let mut shown = String::new();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            if let Some(Event::Exited { process, .. }) = self.children.ended().first() {
                return Err(self.children.ended_early(process));
            }
            for event in self.news()? {
                output.tell(event, None)?;
            }
            let progress = self.progress();
            if progress != shown {
                output.progress(&progress)?;
                shown = progress;
            }
            if self.all_up()
                && self
                    .layout
                    .dns_servers()
                    .all(|dns| facts::answers(dns, ZONE))
            {
                return Ok(true);
            }
            if started.elapsed() > START_DEADLINE {
                return Err(Failure::new(
                    format!("the cluster did not come up in {START_DEADLINE:?}: {shown}"),
                    "the logs in the run directory say why; a very busy machine needs fewer \
                     --relays",
                ));
            }
        }
    }

    fn all_up(&self) -> bool {
        let up = |seen: &Seen| self.layout.relays.iter().all(|relay| seen.is_up(&relay.id));
        self.layout.dnsds.iter().all(|dnsd| {
            self.seen
                .get(&dnsd.id)
                .and_then(Option::as_ref)
                .is_some_and(up)
        })
    }

    fn progress(&self) -> String {
        let relays = &self.layout.relays;
        let each = self.layout.dnsds.iter().map(|dnsd| {
            match self.seen.get(&dnsd.id).and_then(Option::as_ref) {
                Some(seen) => {
                    let up = relays.iter().filter(|relay| seen.is_up(&relay.id)).count();
                    format!("{} sees {up} of {} relays up", dnsd.id, relays.len())
                }
                None => format!("{} is not there yet", dnsd.id),
            }
        });
        format!("starting: {}", each.collect::<Vec<_>>().join(", "))
    }

    /// Tells what happens until a signal or the end of `run_for`; the reason is returned.
    fn keep(&mut self, run_for: Option<Duration>, output: &mut Output) -> Result<String, Failure> {
        let since = Instant::now();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok("asked to by a signal".to_owned());
            }
            if let Some(limit) = run_for.filter(|limit| since.elapsed() >= *limit) {
                return Ok(format!("it was started for {limit:?}"));
            }
            for event in self.children.ended() {
                output.tell(event, None)?;
            }
            for event in self.news()? {
                output.tell(event, None)?;
            }
        }
    }

    /// Waits a tick for the next word of a name server; what changed by it.
    fn news(&mut self) -> Result<Vec<Event>, Failure> {
        match self.updates.recv_timeout(TICK) {
            Ok(Update { dnsd, seen }) => {
                let before = self.seen.insert(dnsd.clone(), seen.clone()).flatten();
                Ok(watch::changes(&dnsd, before.as_ref(), seen.as_ref()))
            }
            Err(RecvTimeoutError::Timeout) => Ok(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::new(
                "the threads that watch the name servers have ended",
                "this is a bug in local-cluster; start it again",
            )),
        }
    }
}
