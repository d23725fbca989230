//! Log records to standard error, one line each.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Format, Level, Log};

/// Libraries that report every failed probe as a warning of their own; the probe's outcome is
/// logged by us.
const QUIET: [&str; 3] = ["turn=off", "webrtc_util=off", "stun=off"];

/// Libraries that log every message at the level of information, which a client could fill disks
/// with; counters tell as much.
const CHATTY: [&str; 3] = ["hickory_server", "hickory_net", "hickory_proto"];

/// Starts logging. The environment variable `RUST_LOG` goes before the configured level.
pub fn start(log: Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let mut filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env_lossy();
    let chatty = CHATTY.map(|name| format!("{name}={}", level.min(LevelFilter::WARN)));
    let quiet = QUIET
        .iter()
        .copied()
        .chain(chatty.iter().map(String::as_str));
    for directive in quiet.filter_map(|directive| directive.parse().ok()) {
        filter = filter.add_directive(directive);
    }
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Fails only if logging has been started, as a test may have done.
    let _ = match log.format {
        Format::Text => lines.with_ansi(false).try_init(),
        Format::Json => lines.json().try_init(),
    };
}
