//! The state file: the last known health, written so that a crash at any moment leaves a whole
//! copy, and read back so that a torn or altered one is noticed.
//!
//! The file is a line with a checksum, then JSON. A new one is written beside it and synced, the
//! present one becomes `<name>.1`, the new one takes its place, and the directory is synced.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dnsd_core::fleet::Saved;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::limits::{STATE_BYTES, STATE_INTERVAL};
use crate::metrics::Metrics;

/// What the first line starts with; the number is the format's version.
const MAGIC: &str = "turnfleet-dnsd-state 1 sha256=";

/// Reads the state back: the file, else its predecessor, else `None`. Whatever had to be passed
/// over is logged and set aside as `<name>.bad`.
pub fn load(path: &Path) -> Option<Saved> {
    for candidate in [path.to_owned(), beside(path, ".1")] {
        match read(&candidate) {
            Ok(saved) => return Some(saved),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %candidate.display(), %error, "state file is not usable");
                // Kept for whoever wants to know, and out of the way: it must not take the place
                // of a good predecessor at the next write.
                let _ = fs::rename(&candidate, beside(&candidate, ".bad"));
            }
        }
    }
    None
}

fn read(path: &Path) -> io::Result<Saved> {
    let mut text = String::new();
    File::open(path)?
        .take(STATE_BYTES)
        .read_to_string(&mut text)?;
    let (header, body) = text
        .split_once('\n')
        .ok_or_else(|| io::Error::other("it has no checksum line"))?;
    let sum = header
        .strip_prefix(MAGIC)
        .ok_or_else(|| io::Error::other("it is another format"))?;
    if sum != checksum(body.as_bytes()) {
        return Err(io::Error::other("its checksum is wrong: torn or altered"));
    }
    serde_json::from_str(body).map_err(io::Error::from)
}

/// Writes the state.
pub fn save(path: &Path, saved: &Saved) -> io::Result<()> {
    let body = serde_json::to_string(saved)?;
    let fresh = beside(path, ".tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    writeln!(file, "{MAGIC}{}", checksum(body.as_bytes()))?;
    file.write_all(body.as_bytes())?;
    file.sync_all()?;
    match fs::rename(path, beside(path, ".1")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&fresh, path)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Writes what `states` shows, at most once per [`STATE_INTERVAL`], until its sender is gone; the
/// last state is always written.
pub async fn keep(path: PathBuf, mut states: watch::Receiver<Arc<Saved>>, metrics: Arc<Metrics>) {
    loop {
        let more = states.changed().await.is_ok();
        let begun = Instant::now();
        let saved = Arc::clone(&states.borrow_and_update());
        let target = path.clone();
        let result = tokio::task::spawn_blocking(move || save(&target, &saved)).await;
        let result = result.map_err(io::Error::other).flatten();
        metrics.saved(result.is_ok());
        if let Err(error) = result {
            tracing::warn!(path = %path.display(), %error, "state file could not be written");
        }
        if !more {
            return;
        }
        let mut ended = states.clone();
        tokio::select! {
            () = sleep_until(begun + STATE_INTERVAL) => {}
            () = async { while ended.changed().await.is_ok() {} } => {}
        }
    }
}

fn checksum(body: &[u8]) -> String {
    Sha256::digest(body)
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
