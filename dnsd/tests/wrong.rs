//! Every file in `wrong/` is refused, and told so that an operator can mend it; `right.toml`, which
//! they are made from, is taken.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn check(file: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dnsd"))
        .args(["check", "--config", file])
        .args(more)
        .current_dir(directory())
        .output()
        .expect("dnsd runs")
}

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong")
}

#[test]
fn every_wrong_file_is_refused_with_its_reasons() {
    let mut files: Vec<_> = fs::read_dir(directory())
        .expect("directory")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("name")
        })
        .filter(|name| name != "zones" && name != "right.toml")
        .collect();
    files.sort();
    assert!(files.len() >= 20, "{files:?}");
    let mut told = String::new();
    for file in files {
        let output = check(&file, &[]);
        assert_eq!(output.status.code(), Some(78), "{file}");
        assert!(output.stdout.is_empty(), "{file}");
        told += &String::from_utf8_lossy(&output.stderr);
        told += "\n";
    }
    insta::assert_snapshot!(told);
}

#[test]
fn the_right_file_and_the_sample_are_taken() {
    let sample = "../../../deploy/config/dnsd.toml";
    for file in ["right.toml", sample] {
        let output = check(file, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{file}: {said}");
        let output = check(file, &["--json"]);
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(value["ok"], true, "{file}");
    }
}

#[test]
fn programs_get_the_reasons_as_json() {
    let output = check("relay_in_unknown_region.toml", &["--json"]);
    assert_eq!(output.status.code(), Some(78));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let problem = &value["problems"][0];
    assert_eq!(
        (&value["ok"], &problem["line"], &problem["column"]),
        (&false.into(), &47.into(), &11.into())
    );
    assert_eq!(problem["help"], "known here: eu, us");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = check("missing.toml", &[]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("missing.toml") && said.contains("No such file"),
        "{said}"
    );
}
