//! What the service manager is told: ready, reloading, stopping, still alive.
//!
//! Without a service manager (`NOTIFY_SOCKET` unset) all of it does nothing.

use sd_notify::NotifyState;
use tokio::time::{interval, timeout};

use crate::limits::{HANDOVER_DONE, HANDOVER_DRAIN, OVERRIDES_LOOK};

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// The daemon serves. Of a service whose place it has taken, it is the main process from now on.
pub fn ready() {
    tell(&[
        NotifyState::Ready,
        NotifyState::MainPid(std::process::id()),
        NotifyState::Status("serving"),
    ]);
}

/// The configuration is read again; [`ready`] follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The daemon ends, and no other goes on.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("ending")]);
}

/// The control loop turns, and so do the threads that answer over UDP. Told once a second, which is
/// often enough for a manager that waits for several; one that does not wait ignores it.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The control loop has ended for another daemon: tells in its place that this one is alive, as long
/// as a hand-over may take and until dropped.
pub async fn alive_until_replaced() {
    let mut turns = interval(OVERRIDES_LOOK);
    // One step before the word "done", and the last connections.
    let most = HANDOVER_DONE * 2 + HANDOVER_DRAIN;
    let _ = timeout(most, async {
        loop {
            turns.tick().await;
            alive();
        }
    })
    .await;
}
