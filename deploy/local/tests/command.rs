//! The command against daemons that are shell scripts: its errors, its lock, and that nothing it
//! started outlives it, however it ends.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything here may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// What a daemon that never gets ready does.
const IDLE: &str = "exec sleep 300";

/// Away from the ports of another run of these tests.
fn port_offset() -> u16 {
    1000 + (std::process::id() % 30_000) as u16
}

/// A directory with scripts in the place of the daemons, and the command that runs them.
struct Stage {
    dir: tempfile::TempDir,
    net: &'static str,
}

impl Stage {
    fn new(net: &'static str, turnd: &str, dnsd: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, body) in [("turnd", turnd), ("dnsd", dnsd)] {
            let path = dir.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { dir, net }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-cluster"));
        command
            .args([
                "--relays",
                "2",
                "--port-offset",
                &port_offset().to_string(),
                "--net",
                self.net,
                "--daemons",
            ])
            .arg(self.dir.path())
            .arg("--dir")
            .arg(self.dir.path().join("run"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it and waits until its four processes run.
    fn running(&self) -> (Child, Vec<Pid>) {
        let child = self.command().arg("--json").spawn().unwrap();
        let deadline = Instant::now() + DEADLINE;
        let mut pids = Vec::new();
        while pids.len() < 4 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
            pids = sleepers(self.dir.path());
        }
        assert_eq!(pids.len(), 4);
        (child, pids)
    }
}

/// Processes that have become the idle script and write into `dir`.
fn sleepers(dir: &Path) -> Vec<Pid> {
    let is_ours = |pid: &i32| {
        fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|out| out.starts_with(dir))
            && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
    };
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        entry
            .ok()?
            .file_name()
            .to_str()?
            .parse()
            .ok()
            .filter(is_ours)
            .map(Pid::from_raw)
    });
    pids.collect()
}

fn all_gone(pids: &[Pid]) {
    let deadline = Instant::now() + DEADLINE;
    while pids.iter().any(|pid| kill(*pid, None).is_ok()) {
        assert!(Instant::now() < deadline, "still running: {pids:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn failed(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    stderr
}

#[test]
fn a_daemon_that_ends_at_once_is_named_with_its_log() {
    let stage = Stage::new("127.231", "echo relay.listen is wrong >&2; exit 78", IDLE);
    let stderr = failed(stage.command());
    assert!(
        stderr.contains("-1 ended before the cluster was up"),
        "{stderr}"
    );
    assert!(stderr.contains("relay.listen is wrong"), "{stderr}");
    assert!(sleepers(stage.dir.path()).is_empty());
}

#[test]
fn a_busy_port_is_an_error_before_anything_starts() {
    let stage = Stage::new("127.232", IDLE, IDLE);
    let busy = format!("127.232.9.2:{}", 5301 + port_offset());
    let _held = UdpSocket::bind(&busy).unwrap();
    let stderr = failed(stage.command());
    assert!(
        stderr.contains(&format!("cannot use {busy}/udp")),
        "{stderr}"
    );
    assert!(stderr.contains("--net"), "{stderr}");
}

#[test]
fn a_second_cluster_in_the_same_directory_is_refused() {
    let stage = Stage::new("127.233", IDLE, IDLE);
    let (mut first, pids) = stage.running();
    let mut second = stage.command();
    second.arg("--json");
    let output = second.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(event["event"], "error");
    assert!(
        event["message"]
            .as_str()
            .unwrap()
            .contains("another local-cluster"),
        "{event}"
    );

    kill(Pid::from_raw(first.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(first.wait().unwrap().success());
    all_gone(&pids);
    let mut text = String::new();
    first
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["starting", "stopping", "stopped"]);
}

#[test]
fn nothing_outlives_a_killed_cluster() {
    let stage = Stage::new("127.235", IDLE, IDLE);
    let (mut cluster, pids) = stage.running();
    cluster.kill().unwrap();
    cluster.wait().unwrap();
    all_gone(&pids);
}

#[test]
fn a_process_that_ignores_sigterm_is_killed_at_the_deadline() {
    let deaf = "trap '' TERM\necho deaf\nwhile :; do sleep 0.05; done";
    let stage = Stage::new("127.236", deaf, IDLE);
    let mut cluster = stage.command().arg("--json").spawn().unwrap();
    let mut lines = BufReader::new(cluster.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("starting"));
    let log = stage.dir.path().join("run/fra-1/turnd.log");
    let deadline = Instant::now() + DEADLINE;
    while fs::read_to_string(&log).is_ok_and(|text| text.is_empty()) || !log.exists() {
        assert!(Instant::now() < deadline, "the script never ran");
        thread::sleep(Duration::from_millis(10));
    }
    let asked = Instant::now();
    kill(Pid::from_raw(cluster.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(cluster.wait().unwrap().success());
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "{:?}",
        asked.elapsed()
    );
    let last = lines.map_while(Result::ok).last();
    assert!(
        last.as_ref().is_some_and(|line| line.contains("stopped")),
        "{last:?}"
    );
}
