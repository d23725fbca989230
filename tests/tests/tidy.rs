//! What every source file keeps to: a first line that says its one job, a length one can hold in
//! mind, and nothing in it that means something only to whoever wrote it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest source file in lines, and longest file of tests.
const LONGEST: (usize, usize) = (500, 700);

/// Marks of work left undone, and of machines this was written on; split so that this file passes.
const BANNED: [&str; 11] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("HA", "CK"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("design", ".md"),
    concat!("contract", ".md"),
];

/// The workspace's directory.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every file git knows or would take in, relative to the top.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listed = String::from_utf8(output.stdout).unwrap();
    let files: Vec<_> = listed
        .lines()
        .map(PathBuf::from)
        .filter(|path| top().join(path).is_file())
        .collect();
    assert!(files.len() > 20, "{files:?}");
    files
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .is_some_and(|found| extensions.iter().any(|one| found == *one))
}

fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    files()
        .into_iter()
        .filter(|path| has_extension(path, &["rs"]))
        .map(|path| {
            let text = fs::read_to_string(top().join(&path)).unwrap();
            (path, text)
        })
}

/// Fails with all of `wrong` at once.
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_source_file_opens_with_its_job() {
    let wrong = sources().filter(|(_, text)| !text.starts_with("//! "));
    none(
        &wrong
            .map(|(path, _)| format!("{}: no //! line", path.display()))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn no_source_file_is_too_long() {
    let wrong = sources().filter_map(|(path, text)| {
        let tests = path.components().any(|part| part.as_os_str() == "tests")
            && !path.starts_with("tests/src");
        let (limit, lines) = (
            if tests { LONGEST.1 } else { LONGEST.0 },
            text.lines().count(),
        );
        (lines > limit).then(|| format!("{}: {lines} lines, at most {limit}", path.display()))
    });
    none(&wrong.collect::<Vec<_>>());
}

/// The modules that may hold unsafe code: each wraps system calls that no safe library has.
const UNSAFE: [&str; 1] = ["turnd/src/net/mmsg.rs"];

#[test]
fn unsafe_code_is_forbidden_but_for_the_modules_named_here() {
    // Split so that this file passes.
    let allows = concat!("allow(unsafe", "_code");
    let expects = concat!("expect(unsafe", "_code");
    let wrong = sources().filter(|(path, text)| {
        let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
        let of_its_crate = |module: &&str| {
            let root = path.parent().expect("a folder");
            Path::new(module).starts_with(root) && path.ends_with("src/lib.rs")
        };
        let level = if UNSAFE.iter().any(of_its_crate) {
            "#![deny(unsafe_code)]"
        } else {
            "#![forbid(unsafe_code)]"
        };
        let opens = text.contains(allows) || text.contains(expects);
        let is_named = UNSAFE.iter().any(|module| path == Path::new(module));
        is_root && !text.contains(level) || opens && !is_named
    });
    none(
        &wrong
            .map(|(path, _)| format!("{}: unsafe code allowed", path.display()))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn nothing_is_left_undone_or_points_at_a_private_place() {
    let mut wrong = Vec::new();
    for path in files() {
        let named = path
            .file_name()
            .is_some_and(|name| name == "Cargo.lock" || name == "package-lock.json");
        let text = match fs::read_to_string(top().join(&path)) {
            Ok(text) if !named => text,
            _ => continue,
        };
        for (number, line) in text.lines().enumerate() {
            let words: Vec<_> = BANNED
                .iter()
                .filter(|banned| has_word(line, banned))
                .collect();
            if !words.is_empty() {
                wrong.push(format!("{}:{}: {words:?}", path.display(), number + 1));
            }
        }
    }
    none(&wrong);
}

/// Whether `line` has `word` with no letter or digit directly before or after it.
fn has_word(line: &str, word: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    line.match_indices(word).any(|(at, _)| {
        let after = line[at + word.len()..].chars().next();
        let open = word.ends_with(|c: char| !c.is_alphanumeric());
        edge(line[..at].chars().next_back()) && (open || edge(after))
    })
}

/// `a::b` in a table names the test `b`; `a::*` stands for all of a file.
#[test]
fn every_test_that_the_architecture_names_exists() {
    let text = fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    let (_, tables) = text
        .split_once("\n## What the RFCs ask")
        .expect("the section with the tables");
    let code: String = sources().map(|(_, text)| text).collect();
    let rows = tables.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let tests = quoted.filter_map(|words| words.rsplit_once("::"));
    let (mut seen, mut wrong) = (0, Vec::new());
    for (module, test) in tests.filter(|(_, test)| *test != "*" && *test != "…") {
        seen += 1;
        if !code.contains(&format!("fn {test}(")) {
            wrong.push(format!("{module}::{test} is no test"));
        }
    }
    assert!(seen > 100, "only {seen} tests are named");
    none(&wrong);
}
