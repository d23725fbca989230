//! Where the turnd and dnsd executables come from: built by cargo, or found beside this one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// The two executables the cluster runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemons {
    /// The relay daemon.
    pub turnd: PathBuf,
    /// The name server daemon.
    pub dnsd: PathBuf,
}

impl Daemons {
    /// Under `cargo run`, builds both with the profile of this executable; otherwise takes them
    /// from `given` or from beside this executable. Cargo's progress goes to stderr.
    pub fn find(given: Option<&Path>) -> Result<Self, Failure> {
        if let Some(dir) = given {
            return Self::inside(dir);
        }
        let own = own_directory()?;
        if let (Some(cargo), Some(package)) = (env::var_os("CARGO"), manifest_dir()) {
            build(Path::new(&cargo), &package, &own)?;
        }
        Self::inside(&own)
    }

    fn inside(dir: &Path) -> Result<Self, Failure> {
        let file = |name: &str| {
            let path = dir.join(name);
            if path.is_file() {
                return Ok(path.canonicalize().unwrap_or(path));
            }
            Err(Failure::new(
                format!("there is no {name} in {}", dir.display()),
                "build it with `cargo build --release -p turnd -p dnsd`, start with \
                 `cargo run --release -p local-cluster`, or name its directory with --daemons",
            ))
        };
        Ok(Self {
            turnd: file("turnd")?,
            dnsd: file("dnsd")?,
        })
    }
}

/// The directory for `--dir` left out: inside the target directory under cargo, else here.
pub fn default_run_directory() -> PathBuf {
    let target = own_directory()
        .ok()
        .and_then(|own| Some(own.parent()?.to_owned()));
    match (manifest_dir(), target) {
        (Some(_), Some(target)) => target.join("local-cluster"),
        _ => PathBuf::from("target/local-cluster"),
    }
}

/// This package's directory, when started by cargo.
fn manifest_dir() -> Option<PathBuf> {
    let ours = env::var_os("CARGO_PKG_NAME")? == env!("CARGO_PKG_NAME");
    env::var_os("CARGO_MANIFEST_DIR")
        .filter(|_| ours)
        .map(PathBuf::from)
}

fn own_directory() -> Result<PathBuf, Failure> {
    let own = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.to_owned()));
    own.ok_or_else(|| {
        Failure::new(
            "cannot tell where this executable is",
            "mount /proc, or name the directory of turnd and dnsd with --daemons",
        )
    })
}

/// A call of cargo from a program that cargo runs: without what it tells such programs of
/// themselves, or build scripts that look at it would run again.
pub fn clean(cargo: &Path) -> Command {
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        let name_told = |name: &str| told.iter().any(|prefix| name.starts_with(prefix));
        if name.to_str().is_some_and(name_told) {
            command.env_remove(name);
        }
    }
    command
}

fn build(cargo: &Path, package: &Path, own: &Path) -> Result<(), Failure> {
    // The profile named `dev` is the only one whose directory has another name.
    let profile = match own.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let status = clean(cargo)
        // With the package that runs, so that every dependency has the features it is built with
        // already.
        .args(["build", "-p", "local-cluster", "-p", "turnd", "-p", "dnsd"])
        .args(["--profile", profile])
        .current_dir(package)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::new(
            "cargo could not build turnd and dnsd",
            "its messages above say why; `cargo build -p turnd -p dnsd` shows them again",
        )),
        Err(error) => Err(Failure::new(
            format!("cannot run {}: {error}", cargo.display()),
            "name the directory of built daemons with --daemons",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_daemon_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("turnd"), "").unwrap();
        let failure = Daemons::find(Some(dir.path())).unwrap_err();
        assert!(failure.message.contains("no dnsd in"), "{failure}");
        std::fs::write(dir.path().join("dnsd"), "").unwrap();
        assert!(Daemons::find(Some(dir.path())).is_ok());
    }
}
