//! The directory of all keys: which of its files are those of a zone.

use std::fs;
use std::path::{Path, PathBuf};

use credentials::UnixTime;
use dnsd_core::dnssec::{KeyProblem, ZoneKeys};
use hickory_proto::rr::Name;

use super::file::{self, Stored};
use crate::limits::KEY_FILES;

/// Why a zone has no keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be read.
    #[error("{0}: {1}")]
    Directory(PathBuf, std::io::Error),
    /// It has more files than any fleet has keys.
    #[error("{0} has more than {KEY_FILES} files")]
    TooMany(PathBuf),
    /// One of its files is wrong.
    #[error(transparent)]
    File(#[from] file::Error),
    /// The keys do not do.
    #[error(transparent)]
    Keys(#[from] KeyProblem),
}

/// All keys of a zone, whatever their part, by rising tag.
///
/// # Errors
/// The first thing that is wrong.
pub fn list(directory: &Path, zone: &Name) -> Result<Vec<Stored>, Error> {
    let failed = |error| Error::Directory(directory.to_owned(), error);
    let prefix = format!("K{}+", zone.to_lowercase().to_ascii());
    let mut paths = Vec::new();
    for (count, entry) in fs::read_dir(directory).map_err(failed)?.enumerate() {
        if count == KEY_FILES {
            return Err(Error::TooMany(directory.to_owned()));
        }
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(".private") {
            paths.push(path);
        }
    }
    paths.sort();
    let keys = paths.iter().map(|path| Stored::read(path, zone));
    Ok(keys.collect::<Result<_, _>>()?)
}

/// The keys that a zone is signed with.
///
/// # Errors
/// The first thing that is wrong with them, or that none signs at `now`.
pub fn load(directory: &Path, zone: &Name, now: UnixTime) -> Result<ZoneKeys, Error> {
    let keys = list(directory, zone)?.into_iter().map(|stored| stored.key);
    Ok(ZoneKeys::new(keys.collect(), now)?)
}
