//! The sample configurations are taken by the daemons they are for.

use std::fs;
use std::path::Path;
use std::process::Command;

use cluster_tests::binaries;

#[test]
fn every_sample_passes_its_daemons_check() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config");
    let mut daemons = Vec::new();
    for entry in fs::read_dir(&dir).expect("deploy/config") {
        let path = entry.expect("a directory entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let Some(daemon) = ["turnd", "dnsd"]
            .into_iter()
            .find(|daemon| name.starts_with(daemon))
        else {
            continue;
        };
        let output = Command::new(binaries::directory().join(daemon))
            .args(["check", "--config"])
            .arg(&path)
            .output()
            .expect("the daemon runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", path.display());
        daemons.push(daemon);
    }
    daemons.sort_unstable();
    daemons.dedup();
    assert_eq!(daemons, ["dnsd", "turnd"], "a sample for each");
}
