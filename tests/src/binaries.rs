//! The executables under test: of the same profile and target directory as the running test.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use local_cluster::daemons;

/// Names a directory of executables that are already built.
pub const PREBUILT: &str = "TURNFLEET_BINARIES";

/// The directory that holds `local-cluster`, `turnd` and `dnsd`, built once per test process
/// unless [`PREBUILT`] says where they are.
///
/// # Panics
/// When cargo cannot build them.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| match env::var_os(PREBUILT) {
        Some(given) => {
            let given = PathBuf::from(given);
            assert!(
                given.join("local-cluster").is_file(),
                "{PREBUILT}={}",
                given.display()
            );
            given
        }
        None => build(),
    })
}

/// A directory for what tests write, inside the target directory.
///
/// # Panics
/// When it cannot be made.
pub fn scratch(name: &str) -> PathBuf {
    kept(&format!("{name}-{}", std::process::id()))
}

/// The same for what later runs find again.
///
/// # Panics
/// When it cannot be made.
pub fn kept(name: &str) -> PathBuf {
    let directory = profile_directory();
    let target = directory.parent().expect("a target directory");
    let dir = target.join("tmp").join(name);
    std::fs::create_dir_all(&dir).expect("a directory to write to");
    dir
}

fn profile_directory() -> PathBuf {
    let exe = env::current_exe().expect("/proc/self/exe");
    let deps = exe.parent().expect("a directory around the test");
    deps.parent()
        .expect("a profile directory around it")
        .to_owned()
}

fn build() -> PathBuf {
    let directory = profile_directory();
    // The profile named `dev` is the only one whose directory has another name.
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = daemons::clean(Path::new(&cargo))
        .args(["build", "--quiet", "--profile", profile, "--target-dir"])
        .arg(directory.parent().expect("a target directory"))
        // As `cargo test --workspace` builds them, so that nothing is built twice.
        .args(["--workspace", "--all-targets"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(
        status.success(),
        "cargo could not build the executables under test"
    );
    directory
}
