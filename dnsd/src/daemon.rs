//! `dnsd run`: everything put together, and taken apart again at a signal.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use arc_swap::ArcSwap;
use dnsd_core::answer::Complaint;
use dnsd_core::fleet::{Fleet, Saved};
use dnsd_core::votes::Observer;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use settings::Errors;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::admin::{self, Admin};
use crate::api::door::Door;
use crate::api::server::{self, Api};
use crate::api::view::View;
use crate::config::{Config, Node};
use crate::control::{Chronicle, Control, Input};
use crate::dnssec::Signing;
use crate::geoip::Geoip;
use crate::history::Event;
use crate::intake::Intake;
use crate::limits::{CONTROL_BACKLOG, ORDER_BACKLOG, QUESTION_BACKLOG};
use crate::metrics::Metrics;
use crate::probe::Prober;
use crate::reload::{Order, Reloader, show};
use crate::revocations::Revoking;
use crate::serve::certificate::Shown;
use crate::serve::complaints::Complaints;
use crate::serve::rate::Limiter;
use crate::serve::udp::Workers;
use crate::serve::{Published, Served, quic, tcp};
use crate::share::wire::Wire;
use crate::{clock, listen, logging, persist};

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(Box<Errors>),
    /// A listener cannot be had.
    #[error(transparent)]
    Listen(#[from] listen::Error),
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

/// Runs until SIGTERM or SIGINT.
pub fn run(path: &Path) -> Result<(), Error> {
    let config = Config::at_start(path).map_err(|errors| Error::Config(Box::new(errors)))?;
    logging::start(config.log);
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(system("starting the runtime"))?;
    runtime.block_on(serve(path.to_owned(), config))
}

/// Probes and connections hold descriptors; the usual soft limit of 1024 is for `select`.
fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

/// How many descriptors this process may have open.
fn descriptors() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(soft).unwrap_or(usize::MAX)
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

async fn serve(path: PathBuf, config: Config) -> Result<(), Error> {
    let mut signals = Signals::catch().map_err(system("catching signals"))?;
    let (orders, mut ordered) = mpsc::channel(ORDER_BACKLOG);
    let daemon = Daemon::start(&config, orders)?;
    tracing::info!(node = %config.node.id, zone = %config.inventory.zone().name, "dnsd is serving");
    let node = config.node.clone();
    let mut reloader = Reloader {
        path,
        running: config,
        inputs: daemon.inputs.clone(),
        intake: Arc::clone(&daemon.intake),
        door: daemon.door.clone(),
        shown: daemon.shown.clone(),
        metrics: Arc::clone(&daemon.metrics),
    };
    loop {
        tokio::select! {
            _ = signals.term.recv() => break,
            _ = signals.int.recv() => break,
            // The log has what there is to say.
            _ = signals.hup.recv() => drop(reloader.reload(false).await),
            Some(order) = ordered.recv() => reloader.obey(order).await,
        }
    }
    tracing::info!("dnsd ends");
    drop(reloader);
    daemon.stop(&node).await
}

/// Everything that runs.
struct Daemon {
    inputs: mpsc::Sender<Input>,
    intake: Arc<Intake>,
    metrics: Arc<Metrics>,
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

/// What has an address or a path of its own.
struct Sockets {
    dns: listen::Dns,
    encrypted: listen::Encrypted,
    intake: Arc<Intake>,
    control: UnixListener,
    admin: Option<TcpListener>,
    api: Option<TcpListener>,
    wire: Option<Arc<Wire>>,
}

impl Sockets {
    fn bind(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, Error> {
        let node = &config.node;
        let dns = listen::dns(node)?;
        let encrypted = config.tls.as_ref().map(listen::encrypted).transpose()?;
        let intake = Intake::bind(config, Arc::clone(metrics));
        let intake = Arc::new(intake.map_err(listen::reports(node.reports))?);
        let control = listen::control(&node.control)?;
        let admin = node
            .admin
            .map(|admin| listen::tcp("node.admin", admin))
            .transpose()?;
        let api = config.api.as_ref().map(|api| api.listen);
        let api = api.map(|api| listen::tcp("api.listen", api)).transpose()?;
        let bind = |sharing| {
            let wire = Wire::bind(node.id, sharing, Arc::clone(metrics)).map(Arc::new);
            wire.map_err(listen::sharing(sharing.listen))
        };
        let wire = config.sharing.as_ref().map(bind).transpose()?;
        Ok(Self {
            dns,
            encrypted: encrypted.unwrap_or_default(),
            intake,
            control,
            admin,
            api,
            wire,
        })
    }
}

impl Daemon {
    fn start(config: &Config, orders: mpsc::Sender<Order>) -> Result<Self, Error> {
        let node = &config.node;
        let metrics = Arc::new(Metrics::default());
        let ready = Arc::new(AtomicBool::new(false));
        let Sockets {
            dns,
            encrypted,
            intake,
            control,
            admin,
            api: http,
            wire,
        } = Sockets::bind(config, &metrics)?;
        let mut tasks = JoinSet::new();
        let (inputs, waiting) = mpsc::channel(CONTROL_BACKLOG);
        let (questions, asked) = mpsc::channel(QUESTION_BACKLOG);
        let view = View::new(node.id, questions);
        if let Some(listener) = admin {
            let admin = Admin {
                view: view.clone(),
                metrics: Arc::clone(&metrics),
                ready: Arc::clone(&ready),
            };
            tasks.spawn(admin::serve(listener, admin));
        }
        // What was known before the restart is served before anything new is learnt.
        let limiter = Limiter::start().map_err(system("drawing a key"))?;
        let mut signing = Signing::new(Arc::clone(&config.dnssec.keys));
        let (fleet, served, complaints, chronicle) =
            restore(config, &metrics, limiter, &mut signing);
        let workers = Workers::start(dns.udp, &served).map_err(system("starting DNS threads"))?;
        let shown = config.tls.as_ref().map(|tls| {
            show(tls, &metrics);
            Arc::new(Shown::new(Arc::clone(&tls.identity.certified)))
        });
        let (front, quic) = connections(dns.tcp, encrypted, shown.as_ref(), &served)
            .map_err(system("starting DNS over connections"))?;
        ready.store(true, Ordering::Release);
        let api = Api {
            view,
            served: Arc::clone(&served),
            orders,
            inputs: inputs.clone(),
        };
        let door = config.api.as_ref().map(|api| Arc::new(Door::new(api)));
        if let (Some(listener), Some(door)) = (http, &door) {
            tasks.spawn(server::serve_http(listener, api.clone(), Arc::clone(door)));
        }
        tasks.spawn(server::serve(control, api));
        let receiving = intake.start(inputs.clone());
        let receiving = receiving.map_err(system("starting the report thread"))?;
        let start = |wire: &Arc<Wire>| Ok((Arc::clone(wire), wire.start(inputs.clone())?));
        let sharing = wire.as_ref().map(start).transpose();
        let sharing = sharing.map_err(system("starting the sharing thread"))?;
        let known = Arc::new(fleet.saved(clock::now(), clock::unix()));
        let (states, changes) = watch::channel(known);
        let keeping = node
            .state
            .clone()
            .map(|state| tokio::spawn(persist::keep(state, changes, Arc::clone(&metrics))));
        let control = Control {
            fleet,
            prober: Prober::new(config, inputs.clone()),
            intake: Arc::clone(&intake),
            wire,
            isolated: None,
            served,
            labels: config.labels.clone(),
            complaints,
            rules: Arc::clone(&config.rules),
            signing,
            geoip: config.geoip.clone(),
            states,
            node: node.id,
            verdicts: BTreeMap::new(),
            refused: None,
            publish_wanted: false,
            spent: tokio::time::Instant::now(),
            differing: None,
            newest: BTreeMap::new(),
            answered: BTreeSet::new(),
            revoking: Revoking::new(config.revocations_lasting),
            paths: BTreeMap::new(),
            chronicle,
        };
        let controlling = tokio::spawn(control.run(waiting, asked));
        Ok(Self {
            inputs,
            intake,
            metrics,
            ready,
            door,
            shown,
            tasks,
            workers,
            front,
            quic,
            receiving,
            wire: sharing,
            controlling,
            keeping,
        })
    }

    async fn stop(self, node: &Node) -> Result<(), Error> {
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

/// Everything that serves connections.
fn connections(
    tcp: Vec<TcpListener>,
    encrypted: listen::Encrypted,
    shown: Option<&Arc<Shown>>,
    served: &Arc<Served>,
) -> io::Result<(tcp::Front, Option<quic::Front>)> {
    let over_tls = shown.map(Shown::over_tls).transpose();
    let over_quic = shown.map(Shown::over_quic).transpose();
    let over_tls = over_tls.map_err(io::Error::other)?;
    let listeners = tcp::Listeners {
        tcp,
        tls: over_tls.map(|config| (encrypted.dot, config)),
    };
    let front = tcp::Front::start(listeners, descriptors(), served)?;
    let over_quic = over_quic.map_err(io::Error::other)?;
    let quic = over_quic.map(|config| quic::Front::start(encrypted.doq, config, served));
    Ok((front, quic.transpose()?))
}

/// The fleet as it was saved, and the answers that follow from it.
fn restore(
    config: &Config,
    metrics: &Arc<Metrics>,
    limiter: Limiter,
    signing: &mut Signing,
) -> (Fleet, Arc<Served>, Receiver<Complaint>, Chronicle) {
    let saved = config.node.state.as_deref().and_then(persist::load);
    let mut chronicle = Chronicle::default();
    chronicle.history.add(Event::Started {
        restored: saved.is_some(),
        generation: config.inventory.generation(),
    });
    let inventory = config.inventory.clone();
    let mut fleet = Fleet::new(inventory, saved.as_ref(), clock::now(), clock::unix());
    if let Some(sharing) = &config.sharing {
        let me = Observer {
            id: config.node.id,
            domain: sharing.domain.clone(),
        };
        fleet.join(clock::now(), clock::unix(), me);
    }
    let (generation, newest) = (config.inventory.generation(), fleet.newest_configuration());
    if generation < newest {
        // A nameserver that refused to start would help nobody.
        tracing::error!(
            generation,
            newest,
            "the configuration is older than one that was in force"
        );
    }
    metrics.configured(generation, newest);
    metrics.located(config.geoip.as_ref());
    if let Some(Geoip {
        path,
        found: Err(error),
    }) = &config.geoip
    {
        let path = path.display();
        tracing::error!("clients are told apart by configured networks alone: {path} {error}");
    }
    let snapshot = fleet.publish(clock::now(), clock::unix());
    let snapshot = signing.sign(snapshot, clock::unix());
    metrics.published(snapshot.serial());
    let published = Published {
        shares: metrics.shares(&snapshot, None),
        snapshot,
        labels: config.labels.clone(),
        rules: Arc::clone(&config.rules),
    };
    let published = ArcSwap::from_pointee(published);
    let (complaints, waiting) = Complaints::new(metrics.complaints());
    (
        fleet,
        Arc::new(Served {
            published,
            complaints,
            metrics: Arc::clone(metrics),
            limiter,
        }),
        waiting,
        chronicle,
    )
}
