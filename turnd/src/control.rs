//! The control thread: signals, reports, drain, reload; it never touches a packet.

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use liveness::{Order as Wanted, Reason, RevocationTag, State};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use turnd_core::{Alternates, Drain};

use crate::admission::Gate;
use crate::config::Config;
use crate::drain::{Drainage, Phase};
use crate::liveliness::Liveliness;
use crate::logging::{self, Level};
use crate::net::descriptors::{self, Descriptors};
use crate::net::stream::Entrance;
use crate::net::stream::caps::Caps;
use crate::operator::{Asked, Order};
use crate::reload::{Prepared, Refusal};
use crate::selfcheck::SelfCheck;
use crate::start::{self, Http, StartError};
use crate::status::{Status, word};
use crate::tls::Certificates;
use crate::worker::{self, Handle};
use crate::{boot, cli, clock, commands, core_config, notify, operator, reload};

/// How often the workers are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// `turnd run`.
pub fn run(path: &Path) -> ExitCode {
    let config = match Config::read(path) {
        Ok(config) => config,
        Err(errors) => {
            commands::complain(&errors);
            return ExitCode::from(cli::EXIT_CONFIGURATION);
        }
    };
    let ended = logging::start(config.log)
        .map_err(StartError::system("logging was not started"))
        .and_then(|level| serve(path, config, level));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(cli::EXIT_FAILURE)
        }
    }
}

fn serve(path: &Path, config: Config, level: Level) -> Result<(), StartError> {
    let descriptors = descriptors::raise();
    if descriptors < config.limits.sessions {
        tracing::warn!(
            descriptors,
            sessions = config.limits.sessions,
            "too few file descriptors for `limits.sessions`: raise LimitNOFILE"
        );
    }
    let entrance = Entrance {
        caps: Caps::new(config.connections()),
        certificates: Arc::new(Certificates::new(start::tls(&config)?)),
        descriptors: Descriptors::new(descriptors),
        workers: config.relay.worker_count(),
    };
    let opened = start::open(&config, &entrance)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::system("the control runtime was not started"))?;
    let status = Arc::new(Status::default());
    let gate = Arc::new(Gate::new(&config.limits));
    let workers = start::workers(opened.workers, &config, &gate)?;
    let http = start::http(opened.rest, opened.admin, &config, &workers, &status)?;
    let control = Control {
        path: path.to_path_buf(),
        config,
        entrance,
        level,
        workers,
        gate,
        status,
        http,
        socket: opened.socket,
        drainage: Drainage::default(),
        told: Drain::Serving,
        looked: None,
        descriptors,
        check: SelfCheck::default(),
    };
    runtime.block_on(control.run())
}

/// Everything the control thread holds.
struct Control {
    path: PathBuf,
    config: Config,
    /// What new connections are taken by.
    entrance: Entrance,
    level: Level,
    workers: Vec<Handle>,
    gate: Arc<Gate>,
    status: Arc<Status>,
    http: Http,
    /// Where orders come in, until it is served.
    socket: Option<UnixListener>,
    drainage: Drainage,
    /// What the workers were told last.
    told: Drain,
    /// When the workers were looked at last.
    looked: Option<Instant>,
    /// Relayed sockets that may be open at a time.
    descriptors: u32,
    check: SelfCheck,
}

/// The signals that are acted on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Control {
    async fn run(mut self) -> Result<(), StartError> {
        let mut signals =
            Signals::listen().map_err(StartError::system("signals cannot be listened to"))?;
        let boot = boot::start(self.config.liveness.as_ref())?;
        let mut liveliness = Liveliness::open(&self.config, self.descriptors, boot)
            .await
            .map_err(StartError::system("the socket for reports was not opened"))?;
        self.show_configuration();
        let mut asked = self.take_orders();
        liveliness.ready();
        tracing::info!(
            relay = %self.config.relay.id,
            boot = liveliness.boot(),
            workers = self.workers.len(),
            listen = ?self.config.relay.listen,
            listen_tcp = ?self.config.relay.listen_tcp,
            "serving"
        );
        notify::ready();
        while !self.step(&mut liveliness) {
            let wake = tokio::time::Instant::from_std(self.next_step(&liveliness));
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                _ = signals.terminate.recv() => self.stop("SIGTERM"),
                _ = signals.interrupt.recv() => self.stop("SIGINT"),
                _ = signals.hangup.recv() => drop(self.reload(&mut liveliness)),
                Some(asked) = asked.recv() => self.answer(&mut liveliness, asked),
                answer = liveliness.receive() => self.acknowledged(&mut liveliness, answer),
            }
        }
        tracing::info!(sessions = self.gate.total(), "ended");
        for worker in &self.workers {
            worker.tell(worker::Order::Stop);
        }
        self.workers.into_iter().for_each(Handle::join);
        Ok(())
    }

    fn next_step(&self, liveliness: &Liveliness) -> Instant {
        let look = self
            .looked
            .map_or_else(clock::instant, |looked| looked + LOOK);
        look.min(liveliness.poll_timeout())
    }

    /// Looks at the workers, moves the drain on, sends what is due. True when the process ends.
    fn step(&mut self, liveliness: &mut Liveliness) -> bool {
        let now = clock::instant();
        if self.looked.is_none_or(|looked| now >= looked + LOOK) {
            self.looked = Some(now);
            liveliness.failing(self.check.look(now, self.config.relay.relay_ips()));
            liveliness.observe(now, self.workers.iter().map(|worker| &*worker.shared));
        }
        let phase = self
            .drainage
            .phase(now, self.config.relay.drain_grace, self.empty());
        liveliness.draining(phase != Phase::Serving);
        let ended = phase == Phase::Over;
        if !ended {
            self.tell_workers(phase, liveliness);
        }
        let state = liveliness.state();
        let before = self.status.view().state;
        if before != state {
            tracing::info!(before = word(before), now = word(state), "state");
        }
        // Shown before it is reported: whoever acts on the report finds the same state here.
        liveliness.show(&self.status, now);
        liveliness.send_due(now);
        if state != State::Failing(Reason::WorkerStuck) {
            liveliness.pat_watchdog(now);
        }
        ended
    }

    /// Whether every worker refuses new sessions and has none.
    fn empty(&self) -> bool {
        self.told != Drain::Serving
            && self.workers.iter().all(|worker| {
                let stats = worker.shared.stats();
                stats.draining && stats.sessions == 0
            })
    }

    /// Tells the workers where the drain stands, when that is news.
    fn tell_workers(&mut self, phase: Phase, liveliness: &Liveliness) {
        let drain = match phase {
            Phase::Serving => Drain::Serving,
            Phase::Draining => Drain::Draining {
                alternates: alternates(liveliness),
            },
            Phase::Refusing | Phase::Over => Drain::RefuseRefresh {
                alternates: alternates(liveliness),
            },
        };
        if drain == self.told {
            return;
        }
        self.gate.drain(drain != Drain::Serving);
        for worker in &self.workers {
            worker.tell(worker::Order::Drain(drain.clone()));
        }
        self.told = drain;
    }

    fn stop(&mut self, signal: &str) {
        self.drainage.signal(clock::instant());
        tracing::info!(
            signal,
            sessions = self.gate.total(),
            "draining, then ending"
        );
        notify::stopping();
    }

    fn acknowledged(&mut self, liveliness: &mut Liveliness, answer: (Vec<u8>, SocketAddr)) {
        let Some(news) = liveliness.acknowledged(answer, clock::instant()) else {
            return;
        };
        if news.revocations {
            self.revoke(&liveliness.revoked());
        }
        match news.order {
            None | Some(Wanted::None) => {}
            Some(order @ (Wanted::Drain | Wanted::Undrain)) => {
                let drain = order == Wanted::Drain;
                tracing::info!(drain, "ordered by an operator through a nameserver");
                self.drainage.order(drain);
            }
        }
    }

    /// Ends the sessions of those whom nameservers revoke, and takes no more of them.
    fn revoke(&self, told: &[RevocationTag]) {
        tracing::info!(
            revoked = told.len(),
            "nameservers revoke others than before"
        );
        let cores = core_config::per_worker(&self.config, told);
        for (worker, core) in self.workers.iter().zip(cores.unwrap_or_default()) {
            worker.tell(worker::Order::Configure(core));
        }
    }

    /// Serves the admin socket, if there is one; its orders come out of what is returned.
    fn take_orders(&mut self) -> mpsc::Receiver<Asked> {
        let (orders, asked) = mpsc::channel(1);
        if let Some(socket) = self.socket.take() {
            tokio::spawn(async move {
                if let Err(error) = operator::serve(socket, orders).await {
                    tracing::error!(%error, "the admin socket is no longer served");
                }
            });
        }
        asked
    }

    fn answer(&mut self, liveliness: &mut Liveliness, Asked { order, reply }: Asked) {
        let answer = match order {
            Order::Reload => match self.reload(liveliness) {
                Ok(changes) => json!({ "ok": true, "changes": changes }),
                Err(refusal) => json!({ "ok": false, "problems": refusal.lines() }),
            },
            Order::Status => json!({
                "relay": self.config.relay.id.to_string(),
                "version": env!("CARGO_PKG_VERSION"),
                "state": word(liveliness.state()),
                "sessions": self.gate.total(),
                "boot": liveliness.boot(),
            }),
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    /// Takes the file as a whole or not at all. What has changed, in words.
    fn reload(&mut self, liveliness: &mut Liveliness) -> Result<Vec<String>, Refusal> {
        notify::reloading();
        let taken = reload::prepare(&self.path, &self.config, &liveliness.revoked());
        let taken = taken.map(|prepared| self.hand_over(liveliness, prepared));
        let ok = taken.is_ok();
        match &taken {
            Ok(changes) => {
                let changes = changes.join(", ");
                tracing::info!(file = %self.path.display(), changes, "configuration reloaded");
            }
            Err(refusal) => {
                for line in refusal.lines() {
                    tracing::error!("{line}");
                }
                tracing::error!("configuration not reloaded: nothing is changed");
            }
        }
        self.status.update(|view| {
            view.reload_ok = ok;
            view.reloads += u64::from(ok);
            view.reloads_refused += u64::from(!ok);
        });
        notify::ready();
        taken
    }

    /// Puts into force what is ready. Nothing of it can fail.
    fn hand_over(&mut self, liveliness: &mut Liveliness, new: Prepared) -> Vec<String> {
        for listeners in new.opened {
            for (worker, listener) in self.workers.iter().zip(listeners) {
                worker.tell(worker::Order::Listen(listener));
            }
        }
        for (worker, core) in self.workers.iter().zip(new.cores) {
            worker.tell(worker::Order::Configure(core));
            worker.tell(worker::Order::Gather(new.config.relay.gather));
        }
        for at in new.closed {
            for worker in &self.workers {
                worker.tell(worker::Order::Leave(at));
            }
        }
        if let (Some(credentials), Some(issuer)) = (&self.http.credentials, new.issuer) {
            credentials.exchange(issuer);
        }
        // A thread that has panicked has ended the process: somebody receives.
        if let Some(rest) = new.rest {
            let _ = self.http.rest.send(Some(rest));
        }
        if let Some(admin) = new.admin {
            let _ = self.http.admin.send(admin);
        }
        self.entrance.certificates.exchange(new.tls);
        self.gate.limit(&new.config.limits);
        self.entrance.caps.exchange(new.config.connections());
        self.level.set(new.config.log.level);
        liveliness.reconfigure(&new.config);
        self.config = new.config;
        self.show_configuration();
        new.changes
    }

    /// Says what an operator should know of the configuration in force.
    fn show_configuration(&self) {
        for warning in self.config.warnings(clock::unix()) {
            tracing::warn!("{warning}");
        }
        let expires = self.config.tls.as_ref().map(|tls| tls.expires);
        self.status
            .update(|view| view.certificate_expires = expires);
    }
}

fn alternates(liveliness: &Liveliness) -> Alternates {
    Alternates::new(liveliness.neighbours(clock::instant()))
}
