//! Every wrong configuration is refused by the real program, with the place and what to write.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong")
}

/// `turnd check` in the directory of the files, so that messages name them without a path.
fn check(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnd"));
    command
        .current_dir(directory())
        .arg("check")
        .args(arguments);
    command.output().expect("turnd starts")
}

fn files() -> Vec<String> {
    let entries = std::fs::read_dir(directory()).expect("the directory is there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

#[test]
fn each_is_refused_and_explained() {
    let files = files();
    assert!(files.len() >= 40, "only {} files", files.len());
    for name in files {
        let output = check(&["--config", &name]);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(78), "{name}: {stderr}");
        assert!(output.stdout.is_empty(), "{name}");
        for line in stderr.lines().filter(|line| !line.starts_with(' ')) {
            assert!(
                line.starts_with(&name),
                "{name}: a problem without its place: {line}"
            );
        }
        insta::assert_snapshot!(name.trim_end_matches(".toml"), stderr);
    }
}

#[test]
fn none_is_run_either() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnd"));
    let output = command
        .current_dir(directory())
        .args(["run", "--config", "id_grammar.toml"])
        .output()
        .expect("turnd starts");
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn programs_get_the_same_as_json() {
    let output = check(&["--config", "everything_at_once.toml", "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["ok"], false);
    let problems = answer["problems"].as_array().expect("a list");
    let text = String::from_utf8(check(&["--config", "everything_at_once.toml"]).stderr);
    let text = text.expect("UTF-8");
    assert!(problems.len() >= 5);
    for problem in problems {
        let place = format!(
            "everything_at_once.toml:{}:{}: {}",
            problem["line"],
            problem["column"],
            problem["what"].as_str().expect("a sentence")
        );
        assert!(text.contains(&place), "{place} is not in:\n{text}");
    }
}

#[test]
fn no_secret_shows() {
    for name in files() {
        let output = check(&["--config", &name]);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        for secret in [
            "a secret of enough bytes",
            "a key of enough bytes",
            "a key that signs",
        ] {
            assert!(!stderr.contains(secret), "{name} shows a secret:\n{stderr}");
        }
    }
}

#[test]
fn the_sample_configuration_is_good() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/turnd.toml");
    let output = check(&["--config", sample.to_str().expect("UTF-8"), "--json"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["ok"], true);
}

#[test]
fn wrong_usage_is_two() {
    let output = Command::new(env!("CARGO_BIN_EXE_turnd"))
        .arg("relay")
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(2));
}
