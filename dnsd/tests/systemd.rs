//! Under a service manager: it is told when the daemon serves, reads its configuration again, is alive,
//! and ends, but not of life when a thread is stuck; and who has its place after a take-over.

mod common;

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use common::dnsd::{Server, listed};
use common::wait_for;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// What a service manager hears, line by line.
struct Manager(UnixDatagram);

impl Manager {
    /// One that starts `server` from now on, as an instance of that name.
    fn of(server: &mut Server, instance: &str) -> Self {
        let path = server.path(instance);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let limit = Some(Duration::from_millis(100));
        socket.set_read_timeout(limit).expect("a limit");
        let path = path.display().to_string();
        server.environment = vec![("NOTIFY_SOCKET", path)];
        Self(socket)
    }

    /// The next message.
    fn next(&self) -> Option<Vec<String>> {
        let mut buffer = [0; 1024];
        let length = self.0.recv(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        Some(text.lines().map(str::to_owned).collect())
    }

    /// Waits for a message with a line that begins so, past those that only say that it is alive.
    fn expect(&self, line: &str) -> Vec<String> {
        wait_for(line, Duration::from_secs(20), || {
            let heard = self.next()?;
            if heard == ["WATCHDOG=1"] {
                return None;
            }
            let found = heard.iter().any(|heard| heard.starts_with(line));
            assert!(found, "{heard:?} instead of {line}");
            Some(heard)
        })
    }

    /// Asserts that for a while it hears often enough that somebody is alive, and nothing else.
    fn hears_of_life(&self, span: Duration) {
        let (begun, mut last) = (Instant::now(), Instant::now());
        while begun.elapsed() < span {
            if let Some(heard) = self.next() {
                assert_eq!(heard, ["WATCHDOG=1"]);
                last = Instant::now();
            }
            assert!(last.elapsed() < Duration::from_secs(5), "no sign of life");
        }
    }
}

/// What says that the process of this id is the one that serves.
fn serves(heard: &[String], pid: i32) {
    assert!(heard.contains(&"READY=1".to_owned()), "{heard:?}");
    assert!(heard.contains(&format!("MAINPID={pid}")), "{heard:?}");
}

#[test]
fn a_service_manager_is_told_what_the_daemon_does() {
    let mut server = Server::new(176, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    let manager = Manager::of(&mut server, "blue");
    let mut server = server.start();
    serves(&manager.expect("READY=1"), server.pid());
    manager.hears_of_life(Duration::from_secs(3));
    // Reading the configuration again, be it a wrong one.
    for refused in [false, true] {
        if refused {
            common::write(&server.path("dnsd.toml"), "[node]\n");
        }
        server.signal(Signal::SIGHUP);
        let heard = manager.expect("RELOADING=1");
        assert!(heard.iter().any(|line| line.starts_with("MONOTONIC_USEC=")));
        serves(&manager.expect("READY=1"), server.pid());
    }
    server.signal(Signal::SIGTERM);
    manager.expect("STOPPING=1");
    assert_eq!(server.ended(), Some(0));
}

/// The first thread that answers over UDP.
fn answering(server: &Server) -> Pid {
    let tasks = format!("/proc/{}/task", server.pid());
    let tasks = std::fs::read_dir(tasks).expect("threads");
    let mut tasks = tasks.map(|task| task.expect("a thread"));
    let found = tasks.find(|task| {
        let name = std::fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name == "dns-udp-0\n")
    });
    let id = found.expect("it runs").file_name();
    Pid::from_raw(id.to_string_lossy().parse().expect("a number"))
}

#[test]
fn nobody_is_told_of_life_while_a_thread_is_stuck() {
    let mut server = Server::new(180, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    let manager = Manager::of(&mut server, "blue");
    let mut server = server.start();
    serves(&manager.expect("READY=1"), server.pid());
    // Nobody asks anything, and still it turns.
    manager.hears_of_life(Duration::from_secs(8));
    // This thread alone stops.
    let thread = answering(&server);
    ptrace::seize(thread, ptrace::Options::empty()).expect("seized");
    ptrace::interrupt(thread).expect("interrupted");
    waitpid(thread, Some(WaitPidFlag::__WALL)).expect("stopped");
    let begun = Instant::now();
    let mut last = begun;
    while last.elapsed() < Duration::from_secs(4) && begun.elapsed() < Duration::from_secs(20) {
        if manager.next().is_some() {
            last = Instant::now();
        }
    }
    let silent = last.elapsed();
    // Before anything is asserted: with a thread held so, a process cannot end.
    ptrace::detach(thread, None).expect("detached");
    assert!(silent >= Duration::from_secs(4), "told of life");
    assert!(server.log().contains("a DNS thread is stuck"));
    manager.hears_of_life(Duration::from_secs(3));
    server.signal(Signal::SIGTERM);
    manager.expect("STOPPING=1");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn each_instance_says_of_itself_what_it_does_while_one_takes_over() {
    let mut server = Server::new(177, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    let blue = Manager::of(&mut server, "blue");
    let mut server = server.start();
    serves(&blue.expect("READY=1"), server.pid());
    // A connection that stays open: the old one waits for its end.
    let standing = TcpStream::connect((server.ip, server.dns)).expect("connect");
    let green = Manager::of(&mut server, "green");
    let old = server.running.take();
    server.running = Some(server.launch(&["run", "--take-over"]));
    serves(&green.expect("READY=1"), server.pid());
    // It is not said to stop: where both are of one service, that would end the new one as well.
    blue.hears_of_life(Duration::from_secs(6));
    drop(standing);
    let mut old = old.expect("running");
    let ended = wait_for("the old one's end", Duration::from_secs(30), || {
        old.0.try_wait().expect("wait")
    });
    assert_eq!(ended.code(), Some(0));
    while let Some(heard) = blue.next() {
        assert_eq!(heard, ["WATCHDOG=1"]);
    }
    green.hears_of_life(Duration::from_secs(3));
    server.signal(Signal::SIGTERM);
    green.expect("STOPPING=1");
}
