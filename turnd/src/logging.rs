//! Log records to stderr, one line each, with a level that can change while running.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{Format, Log};

/// Changes the level of the running process.
#[derive(Debug, Clone)]
pub struct Level(reload::Handle<LevelFilter, Registry>);

impl Level {
    /// Logs records down to `level` from now on.
    pub fn set(&self, level: LevelFilter) {
        // Fails only when the subscriber is gone, which is when nothing is logged any more.
        let _ = self.0.reload(level);
    }
}

/// Starts logging.
///
/// # Errors
/// When the process logs already.
pub fn start(log: Log) -> io::Result<Level> {
    let (level, handle) = reload::Layer::new(log.level);
    let records = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    let records = match log.format {
        Format::Text => records.boxed(),
        Format::Json => records.json().flatten_event(true).boxed(),
    };
    let started = tracing_subscriber::registry()
        .with(level.and_then(records))
        .try_init();
    started.map_err(io::Error::other)?;
    Ok(Level(handle))
}
