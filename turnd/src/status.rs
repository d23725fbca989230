//! What the control thread knows of the relay, for the other threads to see.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use credentials::UnixTime;
use liveness::{Reason, State};

use crate::clock;

/// A control thread that has not shown itself for so long is stuck.
const CONTROL_SILENCE: Duration = Duration::from_secs(5);

/// One moment's view.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The state as reported.
    pub state: State,
    /// When the control thread last looked.
    pub seen: Instant,
    /// Whether the last reload took the file.
    pub reload_ok: bool,
    /// Reloads that were taken.
    pub reloads: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
    /// When the certificate of TLS and DTLS expires.
    pub certificate_expires: Option<UnixTime>,
    /// This run's boot id in the reports.
    pub boot: u64,
    /// Reports handed to the kernel, counted per nameserver.
    pub reports_sent: u64,
    /// Reports the kernel did not take.
    pub report_errors: u64,
    /// Acknowledgements taken.
    pub acks: u64,
    /// Acknowledgements refused: forged, for another relay or another boot, malformed.
    pub acks_refused: u64,
}

/// The view, shared.
#[derive(Debug)]
pub struct Status(Mutex<View>);

impl Default for Status {
    fn default() -> Self {
        Self(Mutex::new(View {
            state: State::Starting,
            seen: clock::instant(),
            reload_ok: true,
            reloads: 0,
            reloads_refused: 0,
            certificate_expires: None,
            boot: 0,
            reports_sent: 0,
            report_errors: 0,
            acks: 0,
            acks_refused: 0,
        }))
    }
}

impl Status {
    /// The view now. A control thread that is stuck shows as a failing relay.
    pub fn view(&self) -> View {
        let mut view = *self.lock();
        if clock::instant().saturating_duration_since(view.seen) > CONTROL_SILENCE {
            view.state = State::Failing(Reason::WorkerStuck);
        }
        view
    }

    /// Changes the view.
    pub fn update(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The word for a state in logs and answers.
pub fn word(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Serving => "serving",
        State::Full => "full",
        State::Draining => "draining",
        State::Failing(Reason::WorkerStuck) => "failing: a worker is stuck",
        State::Failing(Reason::RelaySockets) => "failing: relayed sockets cannot be opened",
        State::Failing(Reason::Descriptors) => "failing: no file descriptors left",
        State::Failing(Reason::Configuration) => "failing: configuration",
        State::Failing(Reason::Other) => "failing",
    }
}
