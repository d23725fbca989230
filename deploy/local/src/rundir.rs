//! The run directory: one running cluster each, one directory per process, files for the owner only.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Longest path of a unix socket in bytes (`sun_path` without its terminating zero).
const MAX_SOCKET_PATH: usize = 107;

/// A run directory held by this process; the lock goes with the process.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Makes `path` where needed and locks it against a second cluster.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        make(path)?;
        let path = path
            .canonicalize()
            .map_err(|error| cannot("find", path, &error))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| cannot("open", &lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                format!("another local-cluster is running in {}", path.display()),
                "stop it first, or start this one with its own --dir and --net \
                 (such as --dir /tmp/second --net 127.77)",
            )),
            Err(TryLockError::Error(error)) => Err(cannot("lock", &lock_path, &error)),
        }
    }

    /// The directory itself, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of the process `name` lives.
    pub fn file(&self, name: &str, file: &str) -> PathBuf {
        self.path.join(name).join(file)
    }

    /// Makes the directory of the process `name`, empty of what an earlier cluster left there.
    pub fn fresh(&self, name: &str) -> Result<(), Failure> {
        let dir = self.path.join(name);
        match fs::remove_dir_all(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot("empty", &dir, &error)),
        }
        make(&dir)
    }

    /// Writes a file of the process `name`, readable by the owner only: it may hold secrets.
    pub fn write(&self, name: &str, file: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.file(name, file);
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut open| open.write_all(text.as_bytes()))
            .map_err(|error| cannot("write", &path, &error))?;
        Ok(path)
    }

    /// Refuses a directory whose control sockets would have names the kernel cannot hold.
    pub fn check_socket(&self, name: &str, file: &str) -> Result<PathBuf, Failure> {
        let path = self.file(name, file);
        if path.as_os_str().len() <= MAX_SOCKET_PATH {
            return Ok(path);
        }
        Err(Failure::new(
            format!("{} is too long for the name of a socket", path.display()),
            format!("choose a --dir so that it has at most {MAX_SOCKET_PATH} bytes"),
        ))
    }
}

fn make(path: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| cannot("make", path, &error))
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("cannot {verb} {}: {error}", path.display()),
        "choose a directory this user may write to with --dir",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_cluster_per_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunDir::open(&dir.path().join("run")).unwrap();
        let second = RunDir::open(&dir.path().join("run")).unwrap_err();
        assert!(second.message.contains("another local-cluster"), "{second}");
        drop(first);
        assert!(RunDir::open(&dir.path().join("run")).is_ok());
    }

    #[test]
    fn files_are_for_the_owner_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path()).unwrap();
        run.fresh("fra-1").unwrap();
        let path = run.write("fra-1", "turnd.toml", "x").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        run.fresh("fra-1").unwrap();
        assert!(!path.exists());
        assert!(run.check_socket("ns1", &"x".repeat(120)).is_err());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let failure = RunDir::open(&dir.path().join("file/run")).unwrap_err();
        assert!(failure.message.contains("file/run"), "{failure}");
        assert!(failure.help.contains("--dir"));
    }
}
