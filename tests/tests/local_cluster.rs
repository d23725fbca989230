//! The commands that `local-cluster` prints work as they stand.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use cluster_tests::process::Guard;
use cluster_tests::{binaries, outage, tools};

/// The last thing the guide proposes.
const LAST: &str = " explain ";

#[test]
fn the_printed_commands_work() {
    if !tools::present("local_cluster", &[&outage::TOOLS[..], &["curl"]].concat()) {
        return;
    }
    let binaries = binaries::directory();
    let dir = binaries::scratch("guide");
    let net = format!("127.{}", 200 + std::process::id() % 30);
    let mut cluster = Command::new(binaries.join("local-cluster"))
        .args(["--net", &net, "--for", "1m", "--daemons"])
        .arg(binaries)
        .arg("--dir")
        .arg(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(cluster.stdout.take().expect("it is piped")).lines();
    let _cluster = Guard::new(cluster);
    let mut guide = Vec::new();
    // Whatever reads its output has to stay: it ends when nobody does.
    while let Some(Ok(line)) = lines.next() {
        let last = line.contains(LAST);
        guide.push(line);
        if last {
            break;
        }
    }
    let command = |program: &str| {
        let mut commands = guide.iter().map(|line| line.trim());
        commands
            .find(|line| line.starts_with(program))
            .unwrap_or_else(|| panic!("{guide:#?}"))
    };

    let credential = shell(command("curl "));
    assert!(credential.contains("\"iceServers\""), "{credential}");
    let addresses = shell(command("dig "));
    assert!(addresses.starts_with(&net), "{addresses}");
    let both = [
        command("turnutils_peer "),
        command("turnutils_uclient "),
        "kill $!",
    ]
    .join("\n");
    let counted = shell(&both);
    assert!(
        counted.contains("tot_send_msgs=100, tot_recv_msgs=100"),
        "{counted}"
    );
    let explain = guide.last().map(|line| line.trim()).unwrap_or_default();
    assert!(shell(explain).contains("healthy"), "{explain}");
    shell(command("kill -9 "));
    let _ = std::fs::remove_dir_all(dir);
}

fn shell(script: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{said}{errors}");
    said
}
