//! SIGHUP: another configuration under traffic, or none of it.

use std::path::Path;

use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::control::Input;
use crate::intake::Intake;
use crate::metrics::Metrics;

/// Reads the file again and puts it in force. Whatever is wrong with it, the running configuration
/// stays; the log says why and the metric tells.
pub async fn reload(
    path: &Path,
    running: &mut Config,
    inputs: &mpsc::Sender<Input>,
    intake: &Intake,
    metrics: &Metrics,
) {
    let taken = take(path, running, inputs, intake).await;
    metrics.reloaded(taken.is_ok());
    match taken {
        Ok(()) => tracing::info!(path = %path.display(), "configuration reloaded"),
        Err(why) => tracing::error!(
            path = %path.display(),
            "configuration not reloaded, the running one stays:\n{why}"
        ),
    }
}

async fn take(
    path: &Path,
    running: &mut Config,
    inputs: &mpsc::Sender<Input>,
    intake: &Intake,
) -> Result<(), String> {
    let config = Config::read(path).map_err(|errors| errors.to_string())?;
    let fixed = config.needs_restart(running);
    if !fixed.is_empty() {
        return Err(format!(
            "changed, but fixed until a restart: {}",
            fixed.join(", ")
        ));
    }
    intake.reload(&config);
    let (reply, taken) = oneshot::channel();
    let ending = "the daemon is ending";
    let input = Input::Reload {
        config: Box::new(config.clone()),
        reply,
    };
    inputs.send(input).await.map_err(|_| ending)?;
    taken.await.map_err(|_| ending)?;
    *running = config;
    Ok(())
}
