//! aioice: two Python clients with nothing but relayed candidates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::subject::Login;
use cluster_tests::{binaries, tools};

pub(crate) const RULES: &[Rule] = rules![
    two_clients_meet_over_udp,
    two_clients_meet_over_tcp,
    two_clients_meet_over_tls,
];

/// Its source, and what it needs.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

/// Candidates, checks and data, all of it relayed.
fn two_clients_meet_over_udp(case: &Case<'_>) {
    meet(case, "udp");
}

/// The same, each client over a stream.
fn two_clients_meet_over_tcp(case: &Case<'_>) {
    meet(case, "tcp");
}

/// The same, with a certificate that Python checks.
fn two_clients_meet_over_tls(case: &Case<'_>) {
    meet(case, "tls");
}

fn meet(case: &Case<'_>, transport: &str) {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            tools::skip("aioice", why);
            return case.not_run(why);
        }
    };
    let (login, server) = (Login::of(&format!("aioice-{transport}")), case.subject.v4());
    let output = Command::new(python)
        .arg(Path::new(SCRIPTS).join("aioice_pair.py"))
        .args([server.ip().to_string(), server.port().to_string()])
        .args([login.username, login.password])
        .arg(transport)
        .arg(&case.subject.certificate.chain)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(output.stdout, b"200 datagrams\n");
}

/// A Python that has what the scripts import: made once, and found again by later runs.
fn python() -> Result<&'static Path, &'static str> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = PYTHON.get_or_init(|| environment(&binaries::kept("python")));
    made.as_deref().map_err(String::as_str)
}

/// A virtual environment in `directory` with the packages of requirements.txt.
fn environment(directory: &Path) -> Result<PathBuf, String> {
    let run = |command: &mut Command| {
        let output = command.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        let succeeded = output.status.success().then_some(());
        succeeded.ok_or_else(|| last.to_owned())
    };
    let python = directory.join("bin/python");
    let has = directory.join("requirements.txt");
    let wanted = fs::read(Path::new(SCRIPTS).join("requirements.txt")).unwrap();
    if fs::read(&has).is_ok_and(|has| has == wanted) {
        return Ok(python);
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(directory))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check", "--timeout", "20"])
        .arg("--requirement")
        .arg(Path::new(SCRIPTS).join("requirements.txt")))?;
    fs::write(has, wanted).unwrap();
    Ok(python)
}
