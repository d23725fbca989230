//! `dnsd run`: everything put together, and taken apart again at a signal or for another daemon.

mod answering;
mod bound;
mod restore;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dnsd_core::fleet::Saved;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use settings::Errors;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use self::answering::Answering;
use crate::admin::{self, Admin};
use crate::api::door::Door;
use crate::api::server::{self, Api};
use crate::api::view::View;
use crate::config::{Config, Node};
use crate::control::{Control, Input};
use crate::handover::{self, Given, Giving, Left, Sockets, Taking};
use crate::intake::Intake;
use crate::limits::{CONTROL_BACKLOG, HANDOVER_DRAIN, ORDER_BACKLOG, QUESTION_BACKLOG};
use crate::metrics::Metrics;
use crate::notify;
use crate::probe::Prober;
use crate::reload::{Order, Reloader};
use crate::revocations::Revoking;
use crate::serve::certificate::Shown;
use crate::serve::udp::Workers;
use crate::serve::{Served, quic, tcp};
use crate::share::wire::Wire;
use crate::{clock, listen, logging, persist, systemd};

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(Box<Errors>),
    /// A listener cannot be had.
    #[error(transparent)]
    Listen(#[from] listen::Error),
    /// The daemon that runs does not give its place.
    #[error(transparent)]
    TakeOver(#[from] handover::Error),
    /// The system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::System { what, source }
}

/// Runs until SIGTERM or SIGINT, or until another daemon takes its place; with `take_over`, in the
/// place of the one that runs now.
pub fn run(path: &Path, take_over: bool) -> Result<(), Error> {
    let config = Config::at_start(path).map_err(|errors| Error::Config(Box::new(errors)))?;
    logging::start(config.log);
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(system("starting the runtime"))?;
    runtime.block_on(serve(path.to_owned(), config, take_over))
}

/// Probes and connections hold descriptors; the usual soft limit of 1024 is for `select`.
fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

/// The signals that matter.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }
}

/// What a daemon begins with.
#[derive(Default)]
struct Beginning {
    sockets: Sockets,
    state: Option<Saved>,
    /// The daemon whose place it takes.
    taking: Option<Taking>,
}

impl Beginning {
    fn anew(node: &Node) -> Self {
        let state = node.state.as_deref().and_then(persist::load);
        Self {
            state,
            ..Self::default()
        }
    }

    async fn in_place(node: &Node) -> Result<Self, Error> {
        let Some(offered) = handover::ask(&node.control).await? else {
            tracing::info!("no dnsd runs whose place to take");
            return Ok(Self::anew(node));
        };
        Ok(Self {
            sockets: offered.sockets,
            state: Some(offered.state),
            taking: Some(offered.taking),
        })
    }

    /// Answers; of another daemon whose place is taken only the end is left then.
    async fn answer(
        self,
        config: &Config,
        metrics: &Arc<Metrics>,
    ) -> Result<(Answering, Option<Taking>), Error> {
        let state = self.state.as_ref();
        let mut begun = Answering::start(config, self.sockets, state, metrics)?;
        let mut taking = self.taking;
        if let Some(taking) = &mut taking {
            // The other has stopped judging when this returns.
            begun.restore(config, &taking.serving().await?);
        }
        begun.prefer();
        Ok((begun, taking))
    }
}

async fn serve(path: PathBuf, mut config: Config, take_over: bool) -> Result<(), Error> {
    let mut signals = Signals::catch().map_err(system("catching signals"))?;
    let mut beginning = if take_over {
        Beginning::in_place(&config.node).await?
    } else {
        Beginning::anew(&config.node)
    };
    while let Some(again) = Box::pin(attend(&path, config, beginning, &mut signals)).await? {
        (config, beginning) = again;
    }
    Ok(())
}

/// Runs until a signal or until another daemon has this one's place. If one that was to have it
/// fails, returns what to go on with.
async fn attend(
    path: &Path,
    config: Config,
    beginning: Beginning,
    signals: &mut Signals,
) -> Result<Option<(Config, Beginning)>, Error> {
    let (orders, mut ordered) = mpsc::channel(ORDER_BACKLOG);
    let (serving, mut given) = mpsc::channel(1);
    let daemon = Daemon::start(&config, beginning, orders, serving).await?;
    tracing::info!(node = %config.node.id, zone = %config.inventory.zone().name, "dnsd is serving");
    systemd::ready();
    let node = config.node.clone();
    let mut reloader = Reloader {
        path: path.to_owned(),
        running: config,
        inputs: daemon.inputs.clone(),
        intake: Arc::clone(&daemon.intake),
        door: daemon.door.clone(),
        shown: daemon.shown.clone(),
        metrics: Arc::clone(&daemon.metrics),
    };
    let given = loop {
        tokio::select! {
            _ = signals.term.recv() => break None,
            _ = signals.int.recv() => break None,
            // The log has what there is to say.
            _ = signals.hup.recv() => drop(reloader.reload(false).await),
            Some(order) = ordered.recv() => reloader.obey(order).await,
            Some(given) = given.recv() => break Some(given),
        }
    };
    let Reloader { running, .. } = reloader;
    if let Some(given) = given {
        let again = daemon.give(given).await?;
        return Ok(again.map(|beginning| (running, beginning)));
    }
    tracing::info!("dnsd ends");
    daemon.stop(&node).await?;
    Ok(None)
}

/// Everything that runs.
struct Daemon {
    inputs: mpsc::Sender<Input>,
    intake: Arc<Intake>,
    metrics: Arc<Metrics>,
    sockets: Arc<Sockets>,
    ready: Arc<AtomicBool>,
    door: Option<Arc<Door>>,
    shown: Option<Arc<Shown>>,
    /// Control socket, HTTP API and admin listener; ended by dropping.
    tasks: JoinSet<()>,
    workers: Workers,
    front: tcp::Front,
    quic: Option<quic::Front>,
    receiving: std::thread::JoinHandle<()>,
    wire: Option<(Arc<Wire>, std::thread::JoinHandle<()>)>,
    controlling: JoinHandle<(Saved, Prober)>,
    keeping: Option<JoinHandle<()>>,
}

impl Daemon {
    async fn start(
        config: &Config,
        beginning: Beginning,
        orders: mpsc::Sender<Order>,
        serving: mpsc::Sender<Given>,
    ) -> Result<Self, Error> {
        let node = &config.node;
        let metrics = Arc::new(Metrics::default());
        let ready = Arc::new(AtomicBool::new(false));
        let (mut begun, taking) = beginning.answer(config, &metrics).await?;
        // A QUIC connection is one process's: this one could not go on with the other's.
        let quic = over_quic(begun.doq, begun.shown.as_ref(), &begun.served);
        let quic = quic.map_err(system("starting DNS over QUIC"))?;
        let Answering {
            intake,
            wire,
            served,
            sockets,
            shown,
            ..
        } = begun;
        let mut tasks = JoinSet::new();
        let (inputs, waiting) = mpsc::channel(CONTROL_BACKLOG);
        let (questions, asked) = mpsc::channel(QUESTION_BACKLOG);
        let view = View::new(node.id, questions);
        if let Some(listener) = begun.admin {
            let admin = Admin {
                view: view.clone(),
                metrics: Arc::clone(&metrics),
                ready: Arc::clone(&ready),
            };
            tasks.spawn(admin::serve(listener, admin));
        }
        let known = Arc::new(begun.fleet.saved(clock::now(), clock::unix()));
        let (states, changes) = watch::channel(known);
        ready.store(true, Ordering::Release);
        let api = Api {
            view,
            served: Arc::clone(&served),
            orders,
            inputs: inputs.clone(),
            giving: Giving::new(Arc::clone(&sockets), changes.clone(), serving),
        };
        let door = config.api.as_ref().map(|api| Arc::new(Door::new(api)));
        if let (Some(listener), Some(door)) = (begun.api, &door) {
            tasks.spawn(server::serve_http(listener, api.clone(), Arc::clone(door)));
        }
        tasks.spawn(server::serve(begun.control, api));
        let receiving = intake.start(inputs.clone());
        let receiving = receiving.map_err(system("starting the report thread"))?;
        let start = |wire: &Arc<Wire>| Ok((Arc::clone(wire), wire.start(inputs.clone())?));
        let sharing = wire.as_ref().map(start).transpose();
        let sharing = sharing.map_err(system("starting the sharing thread"))?;
        let control = Control {
            fleet: begun.fleet,
            prober: Prober::new(config, inputs.clone()),
            intake: Arc::clone(&intake),
            wire,
            isolated: None,
            news: notify::start(&mut tasks, &node.listen, &served),
            served,
            pulse: begun.workers.pulse(),
            labels: config.labels.clone(),
            complaints: begun.complaints,
            rules: Arc::clone(&config.rules),
            signing: begun.signing,
            geoip: config.geoip.clone(),
            states,
            node: node.id,
            verdicts: BTreeMap::new(),
            refused: None,
            publish_wanted: false,
            retired: None,
            spent: tokio::time::Instant::now(),
            differing: None,
            newest: BTreeMap::new(),
            answered: BTreeSet::new(),
            revoking: Revoking::new(config.revocations_lasting),
            paths: BTreeMap::new(),
            chronicle: begun.chronicle,
        };
        let controlling = tokio::spawn(control.run(waiting, asked));
        let left = match taking {
            Some(taking) => Some(taking.done().await),
            None => None,
        };
        let kept = |path| tokio::spawn(keep(left, path, changes, Arc::clone(&metrics)));
        let keeping = node.state.clone().map(kept);
        Ok(Self {
            inputs,
            intake,
            metrics,
            sockets,
            ready,
            door,
            shown,
            tasks,
            workers: begun.workers,
            front: begun.front,
            quic,
            receiving,
            wire: sharing,
            controlling,
            keeping,
        })
    }

    /// Gives another daemon that serves already what this one knows, and ends when it goes on. If it
    /// does not, returns what this one goes on with. What nobody has read meanwhile waits in the
    /// sockets.
    async fn give(self, given: Given) -> Result<Option<Beginning>, Error> {
        tracing::info!("another dnsd serves; it is told what this one knows");
        self.ready.store(false, Ordering::Release);
        let mut alive = JoinSet::new();
        alive.spawn(systemd::alive_until_replaced());
        if let Some(quic) = self.quic {
            quic.stop().await;
        }
        // What they have read the control loop hears before it ends.
        self.intake.stop();
        let wire = self.wire.map(|(wire, thread)| {
            wire.stop();
            thread
        });
        let joining = [Some(self.receiving), wire].into_iter().flatten();
        let joined = tokio::task::spawn_blocking(|| joining.map(|one| drop(one.join())).count());
        let _ = joined.await;
        drop(self.tasks);
        let _ = self.inputs.send(Input::Stop).await;
        let ended = self.controlling.await;
        let (state, prober) = ended.map_err(io::Error::other).map_err(system("judging"))?;
        let finished = given.finish(&state).await;
        // A slow disk is not waited for while nobody judges.
        if let Some(keeping) = self.keeping {
            let _ = keeping.await;
        }
        let again = match finished {
            Ok(open) => {
                drop(open);
                tracing::info!("another dnsd goes on; this one finishes its connections and ends");
                self.workers.stop();
                self.front.drain(HANDOVER_DRAIN).await;
                None
            }
            Err(error) => {
                tracing::error!(%error, "the dnsd that served is gone; this one goes on");
                self.workers.stop();
                self.front.stop().await;
                Some(Beginning {
                    sockets: self
                        .sockets
                        .again()
                        .map_err(system("keeping the sockets"))?,
                    state: Some(state),
                    taking: None,
                })
            }
        };
        prober.stop().await;
        Ok(again)
    }

    async fn stop(self, node: &Node) -> Result<(), Error> {
        systemd::stopping();
        self.ready.store(false, Ordering::Release);
        // Gone only if it has ended, which is what this asks for.
        let _ = self.inputs.send(Input::Stop).await;
        let ended = self.controlling.await;
        if let Some(keeping) = self.keeping {
            // Ends with the control loop, whose states it keeps.
            let _ = keeping.await;
        }
        let mut saved = Ok(());
        if let Ok((state, prober)) = ended {
            if let Some(path) = &node.state {
                saved = persist::save(path, &state).map_err(system("saving the state"));
            }
            prober.stop().await;
        }
        drop(self.tasks);
        self.front.stop().await;
        if let Some(quic) = self.quic {
            quic.stop().await;
        }
        self.intake.stop();
        self.workers.stop();
        let _ = self.receiving.join();
        if let Some((wire, thread)) = self.wire {
            wire.stop();
            let _ = thread.join();
        }
        // Left behind, it would only be in the way of the next start.
        let _ = std::fs::remove_file(&node.control);
        saved
    }
}

/// Writes the state file as soon as the daemon that has left does so no longer.
async fn keep(
    left: Option<Left>,
    path: PathBuf,
    states: watch::Receiver<Arc<Saved>>,
    metrics: Arc<Metrics>,
) {
    if let Some(left) = left {
        left.wait().await;
    }
    persist::keep(path, states, metrics).await;
}

/// DNS over QUIC, if there is a certificate to show.
fn over_quic(
    doq: Vec<UdpSocket>,
    shown: Option<&Arc<Shown>>,
    served: &Arc<Served>,
) -> io::Result<Option<quic::Front>> {
    let config = shown.map(Shown::over_quic).transpose();
    let config = config.map_err(io::Error::other)?;
    let front = config.map(|config| quic::Front::start(doq, config, served));
    front.transpose()
}
