//! Who may import whom: kept exactly, and the cores stay free of the world.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each of our packages imports of ours, outside of its tests. Knowledge flows one way:
/// a line may only name packages of earlier lines.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("credentials", &[]),
    ("liveness", &[]),
    ("settings", &[]),
    ("turnd-core", &["credentials", "liveness"]),
    ("dnsd-core", &["credentials", "liveness"]),
    (
        "turnd",
        &["credentials", "liveness", "turnd-core", "settings"],
    ),
    (
        "dnsd",
        &["credentials", "liveness", "dnsd-core", "settings"],
    ),
    ("local-cluster", &["turnd", "dnsd"]),
    (
        "cluster-tests",
        &[
            "credentials",
            "liveness",
            "turnd-core",
            "dnsd-core",
            "local-cluster",
        ],
    ),
    (
        "fuzz-tests",
        &[
            "credentials",
            "liveness",
            "settings",
            "turnd-core",
            "turnd",
            "dnsd-core",
            "dnsd",
        ],
    ),
];

/// Packages that run without a world around them: time, randomness and packets are arguments.
const PURE: [&str; 4] = ["credentials", "liveness", "turnd-core", "dnsd-core"];
/// Crates through which the world would come in: none of them, at no depth.
const WORLD: [&str; 12] = [
    "tokio",
    "mio",
    "socket2",
    "nix",
    "rustix",
    "quinn-udp",
    "axum",
    "hyper",
    "hickory-server",
    "webrtc-util",
    "turn",
    "ureq",
];
/// Crates of a clock, a log or the system's randomness: codecs bring some of them along, our own
/// code does not name them.
const UNNAMED: [&str; 5] = ["getrandom", "tracing", "log", "chrono", "time"];

/// Our packages each package depends on, by kind of dependency.
fn ours(kinds: &[DependencyKind]) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let packages = metadata.packages.iter().map(|package| {
        let ours = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some() && kinds.contains(&dependency.kind));
        let names = ours.map(|dependency| dependency.name.clone());
        (package.name.to_string(), names.collect())
    });
    packages.collect()
}

#[test]
fn every_import_is_in_the_table() {
    let used = ours(&[DependencyKind::Normal, DependencyKind::Build]);
    let listed: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        used.keys().cloned().collect::<BTreeSet<_>>(),
        listed,
        "packages of the workspace"
    );
    for (name, allowed) in ALLOWED {
        let extra: Vec<_> = used[name]
            .iter()
            .filter(|used| !allowed.contains(&used.as_str()))
            .collect();
        assert!(
            extra.is_empty(),
            "{name} imports {extra:?}; it may import {allowed:?}"
        );
    }
}

#[test]
fn the_table_flows_one_way() {
    for (n, (name, allowed)) in ALLOWED.iter().enumerate() {
        for import in *allowed {
            let earlier = ALLOWED[..n].iter().any(|(earlier, _)| earlier == import);
            assert!(earlier, "{name} imports {import}, which is not above it");
        }
    }
}

#[test]
fn nobody_imports_the_tests_and_the_daemons_never_each_other() {
    let used = ours(&[
        DependencyKind::Normal,
        DependencyKind::Build,
        DependencyKind::Development,
    ]);
    for (name, imports) in &used {
        for tests in ["cluster-tests", "fuzz-tests"] {
            assert!(!imports.contains(tests), "{name} imports {tests}");
        }
    }
    assert!(!used["turnd"].contains("dnsd") && !used["turnd"].contains("dnsd-core"));
    assert!(!used["dnsd"].contains("turnd") && !used["dnsd"].contains("turnd-core"));
}

#[test]
fn the_cores_do_not_touch_the_world() {
    for package in PURE {
        let found: Vec<_> = tree(package)
            .into_iter()
            .filter(|name| WORLD.contains(&name.as_str()))
            .collect();
        assert!(
            found.is_empty(),
            "{package} reaches {found:?}; see `cargo tree -p {package}`"
        );
    }
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    for package in metadata
        .packages
        .iter()
        .filter(|package| PURE.contains(&package.name.as_str()))
    {
        let named = package.dependencies.iter().filter(|dependency| {
            let name = dependency.name.as_str();
            dependency.kind == DependencyKind::Normal
                && !dependency.optional
                && (UNNAMED.contains(&name) || WORLD.contains(&name))
        });
        let named: Vec<_> = named.map(|dependency| &dependency.name).collect();
        assert!(named.is_empty(), "{} names {named:?}", package.name);
    }
}

/// Every crate `package` is built from with its default features, and those only.
fn tree(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(["--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let names: BTreeSet<_> = names.map(str::to_owned).collect();
    assert!(names.contains(package), "{text}");
    names
}
