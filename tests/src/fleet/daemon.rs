//! One daemon on a host of its own, and what can happen to its process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use local_cluster::children::UNDER;
use nix::sys::signal::Signal;

use crate::binaries;
use crate::netns::bridge::Host;
use crate::process::signal;

/// One daemon. Its process dies with this handle, and with the process of the test.
#[derive(Debug)]
pub struct Daemon {
    /// Its id.
    pub id: String,
    /// Its machine.
    pub host: Host,
    /// Its files.
    pub dir: PathBuf,
    program: &'static str,
    clock: Option<&'static str>,
    child: Mutex<Option<Child>>,
    /// Starts processes on the machine, from a thread that lives as long as this handle: the
    /// kernel ties a child's life to the thread that started it.
    starter: Sender<(Command, Sender<std::io::Result<Child>>)>,
}

impl Daemon {
    /// `program` on `host` with its configuration in `dir`; not started yet.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn new(program: &'static str, id: &str, host: Host, dir: PathBuf, config: &str) -> Self {
        let (starter, orders) = channel::<(Command, Sender<std::io::Result<Child>>)>();
        let namespace = host.namespace.clone();
        thread::spawn(move || {
            namespace.enter();
            for (mut command, started) in orders {
                let _ = started.send(command.spawn());
            }
        });
        fs::create_dir_all(&dir).expect("a directory is made");
        let daemon = Self {
            id: id.to_owned(),
            host,
            dir,
            program,
            clock: None,
            child: Mutex::default(),
            starter,
        };
        daemon.configure(config);
        daemon
    }

    /// Lets its wall clock run by `offset` beside the true time, as `faketime` writes it.
    #[must_use]
    pub fn with_clock(mut self, offset: Option<&'static str>) -> Self {
        self.clock = offset;
        self
    }

    /// Writes its configuration file; it takes that with its next start or reload.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn configure(&self, text: &str) {
        fs::write(self.config(), text).expect("a file is written");
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// What it logged, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Starts it, again if it has run before.
    ///
    /// # Panics
    /// When it does not start, or still runs.
    pub fn start(&self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file());
        let log = log.expect("its log file");
        let directory = binaries::directory();
        let mut command = Command::new(directory.join("local-cluster"));
        command
            .args([UNDER, &std::process::id().to_string()])
            .arg(directory.join(self.program))
            .args(["run", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log);
        if let Some(offset) = self.clock {
            let library = faketime().expect("looked for beforehand");
            command.env("LD_PRELOAD", library).env("FAKETIME", offset);
            // Only what the wall clock says is wrong.
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let (sender, started) = channel();
        self.starter
            .send((command, sender))
            .expect("its thread waits");
        let child = started
            .recv()
            .expect("its thread answers")
            .expect("it starts");
        let before = self.child.lock().expect("no panic").replace(child);
        assert!(before.is_none(), "{} runs already", self.id);
    }

    /// Ends it at once.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("no panic").take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The id of its process, if it has one.
    ///
    /// # Panics
    /// When another thread panicked over it.
    pub fn pid(&self) -> Option<u32> {
        let child = self.child.lock().expect("no panic");
        child.as_ref().map(Child::id)
    }

    /// Makes it hang.
    pub fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        if let Some(child) = &*self.child.lock().expect("no panic") {
            signal(child.id(), which);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(8).collect();
            eprintln!("--- end of the log of {}", self.id);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The library that tells a process another time, if it is installed.
pub fn faketime() -> Option<PathBuf> {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    places
        .into_iter()
        .map(|place| Path::new(place).join("faketime/libfaketime.so.1"))
        .find(|library| library.is_file())
}
