//! The boot id: tells one run of the relay from the next, and only ever rises.
//!
//! It is the time of the start in milliseconds, so that it rises without being stored. A state file
//! keeps it rising when the clock falls back, and a nameserver that saw a higher one says so in its
//! acknowledgement.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::clock;
use crate::config::Liveness;
use crate::start::StartError;

/// Longest state file that is read, in bytes: twenty digits and a line end.
const FILE_MAX: u64 = 64;

/// A boot id and where it is kept.
#[derive(Debug)]
pub struct Boot {
    id: u64,
    file: Option<PathBuf>,
}

impl Boot {
    /// A new run's id: above the one in `file`, and at least `now_ms`. Written down before it is
    /// used.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else.
    pub fn start(file: Option<&Path>, now_ms: u64) -> io::Result<Self> {
        let before = file.map(read).transpose()?.flatten();
        let id = before.map_or(now_ms, |before| now_ms.max(before.saturating_add(1)));
        let boot = Self {
            id,
            file: file.map(Path::to_path_buf),
        };
        boot.keep()?;
        Ok(boot)
    }

    /// The id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Goes above `floor`, a boot id that a nameserver has seen. True when the id changed.
    ///
    /// # Errors
    /// When the new id could not be written down; it holds all the same.
    pub fn rise_above(&mut self, floor: u64) -> io::Result<bool> {
        if floor < self.id {
            return Ok(false);
        }
        self.id = floor.saturating_add(1);
        self.keep()?;
        Ok(true)
    }

    /// Replaces the file as a whole: a crash leaves the old one or the new one.
    fn keep(&self) -> io::Result<()> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let mut file = File::create(&beside)?;
        writeln!(file, "{}", self.id)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

/// The boot id of this run.
///
/// # Errors
/// When the state file cannot be used.
pub fn start(liveness: Option<&Liveness>) -> Result<Boot, StartError> {
    let file = liveness.and_then(|liveness| liveness.state_file.as_deref());
    Boot::start(file, clock::unix_millis()).map_err(|source| StartError::StateFile {
        path: file
            .map(|file| file.display().to_string())
            .unwrap_or_default(),
        source,
    })
}

fn read(path: &Path) -> io::Result<Option<u64>> {
    use io::Read;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text)?;
    let id = text.trim().parse().map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the file does not hold a boot id",
        )
    })?;
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_over_restarts_whatever_the_clock_does() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("boot");
        let first = Boot::start(Some(&path), 1000).expect("first");
        assert_eq!(first.id(), 1000);
        let second = Boot::start(Some(&path), 5).expect("second");
        assert_eq!(second.id(), 1001);
        let third = Boot::start(Some(&path), 2000).expect("third");
        assert_eq!(third.id(), 2000);
    }

    #[test]
    fn it_rises_above_what_a_nameserver_has_seen() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("boot");
        let mut boot = Boot::start(Some(&path), 1000).expect("start");
        assert!(!boot.rise_above(999).expect("below"));
        assert!(boot.rise_above(1000).expect("equal"));
        assert_eq!(boot.id(), 1001);
        assert!(boot.rise_above(5000).expect("above"));
        assert_eq!(fs::read_to_string(&path).expect("kept"), "5001\n");
        assert_eq!(Boot::start(Some(&path), 0).expect("again").id(), 5002);
    }

    #[test]
    fn a_file_that_holds_something_else_is_told() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("boot");
        fs::write(&path, "hello\n").expect("write");
        assert_eq!(
            Boot::start(Some(&path), 1).expect_err("bad").kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn without_a_file_it_is_the_time() {
        assert_eq!(Boot::start(None, 77).expect("start").id(), 77);
    }
}
