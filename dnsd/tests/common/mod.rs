//! What the tests share: tools that may be missing, children killed by id, waiting with a deadline.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) mod authority;
pub(crate) mod coturn;
pub(crate) mod dnsd;
pub(crate) mod geolite2;
pub(crate) mod panel;
pub(crate) mod probing;
pub(crate) mod proxy;
pub(crate) mod relay;
pub(crate) mod secondaries;
pub(crate) mod signed;
pub(crate) mod tls;
pub(crate) mod unbound;
pub(crate) mod validating;

/// Whether `tool` can be run. If not, the test is skipped, or fails where tools are required.
pub(crate) fn has(test: &str, tool: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()));
    if !found {
        assert!(
            std::env::var_os("TURNFLEET_REQUIRE_TOOLS").is_none_or(|value| value != "1"),
            "{test} needs {tool}"
        );
        println!("SKIP {test}: {tool} not installed");
    }
    found
}

/// The environment of programs whose clock is ahead by what the file `offset` says, `+49h` say;
/// their monotonic clock is not. `None`, and the test is skipped, where that cannot be had.
pub(crate) fn clock(test: &str, offset: &Path) -> Option<Vec<(&'static str, String)>> {
    let directories = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    let library = directories.map(|dir| format!("{dir}/faketime/libfaketime.so.1"));
    let library = library.into_iter().find(|path| Path::new(path).is_file());
    if library.is_none() {
        assert!(
            !has(test, "faketime"),
            "faketime is there, its library is not"
        );
    }
    Some(vec![
        ("LD_PRELOAD", library?),
        ("FAKETIME_TIMESTAMP_FILE", offset.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

/// A child process that does not outlive the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null());
        Self(command.spawn().expect("child starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `condition` gives a value.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port of `address` that is free for UDP and TCP just now.
pub(crate) fn free_port(address: Ipv4Addr) -> u16 {
    loop {
        let udp = UdpSocket::bind((address, 0)).expect("a UDP port");
        let port = udp.local_addr().expect("address").port();
        if TcpListener::bind((address, port)).is_ok() {
            return port;
        }
    }
}

/// Writes a file of the test.
pub(crate) fn write(path: &Path, text: &str) {
    let mut file = std::fs::File::create(path).expect("file is created");
    file.write_all(text.as_bytes()).expect("file is written");
}
