//! External tools a test leans on, and what happens where one is missing.

use std::env;
use std::path::Path;

/// When this variable is `1`, a missing tool is a failure instead of a skipped test.
pub const REQUIRE: &str = "TURNFLEET_REQUIRE_TOOLS";

/// Whether the test `name` can run: all `tools` are on the path. Says why not.
///
/// # Panics
/// When a tool is missing and [`REQUIRE`] is set.
pub fn present(name: &str, tools: &[&str]) -> bool {
    match tools.iter().find(|tool| !on_path(tool)) {
        Some(tool) => skip(name, &format!("{tool} not installed")),
        None => true,
    }
}

/// Says that the test `name` does not run, and why. Always false.
///
/// # Panics
/// When [`REQUIRE`] is set.
pub fn skip(name: &str, why: &str) -> bool {
    assert!(
        env::var_os(REQUIRE).is_none_or(|value| value != "1"),
        "{name}: {why}"
    );
    println!("SKIP {name}: {why}");
    false
}

fn on_path(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps what an unprivileged user's PATH leaves out.
    let system = ["/usr/sbin", "/sbin"].map(Into::into);
    env::split_paths(&path)
        .chain(system)
        .any(|dir| Path::new(&dir).join(tool).is_file())
}
