//! The cluster's processes: started so that they cannot outlive this one, watched, and stopped.
//!
//! Each daemon is started through this executable itself ([`run_under`]): the new process asks the
//! kernel for a SIGKILL at its parent's death and only then turns into the daemon, keeping its
//! process id. That needs no code between fork and exec.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::event::Event;
use crate::failure::Failure;

/// First argument that turns this executable into the starter of one daemon.
pub const UNDER: &str = "__under";
/// How long processes may take to stop after a first and after a second SIGTERM.
const STOP_PATIENCE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// How often stopping processes are looked at.
const STOP_POLL: Duration = Duration::from_millis(20);
/// Lines of a log that an early exit quotes.
const QUOTED_LINES: usize = 12;

/// One process to start.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Relay or name server id.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Recipe {
    /// The command line, for a person to run again.
    pub fn command(&self) -> Vec<String> {
        std::iter::once(self.program.as_os_str())
            .chain(self.arguments.iter().map(OsString::as_os_str))
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }
}

#[derive(Debug)]
struct Running {
    recipe: Recipe,
    pid: u32,
    child: Child,
    ended: bool,
}

/// All processes of one cluster; those still running when it is dropped are killed.
#[derive(Debug, Default)]
pub struct Children(Vec<Running>);

impl Children {
    /// Starts one process. Call from the main thread: the kernel ties a child's life to the
    /// thread that started it.
    pub fn start(&mut self, recipe: Recipe) -> Result<u32, Failure> {
        let child = start(&recipe).map_err(|error| {
            Failure::new(
                format!(
                    "cannot start {} ({}): {error}",
                    recipe.name,
                    recipe.program.display()
                ),
                "this user must be allowed to run it and to write to the run directory",
            )
        })?;
        let pid = child.id();
        self.0.push(Running {
            recipe,
            pid,
            child,
            ended: false,
        });
        Ok(pid)
    }

    /// Process id of the process `name`, running or not.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.0
            .iter()
            .find(|running| running.recipe.name == name)
            .map(|running| running.pid)
    }

    /// The processes that ended since the last call.
    pub fn ended(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for running in self.0.iter_mut().filter(|running| !running.ended) {
            let status = match running.child.try_wait() {
                Ok(None) => continue,
                Ok(Some(status)) => status,
                // Nothing is left to wait for: as good as gone.
                Err(_) => ExitStatus::default(),
            };
            running.ended = true;
            events.push(Event::Exited {
                process: running.recipe.name.clone(),
                pid: running.pid,
                code: status.code(),
                signal: status.signal(),
            });
        }
        events
    }

    /// What to tell about a process that ended before the cluster was up.
    pub fn ended_early(&self, name: &str) -> Failure {
        let Some(running) = self.0.iter().find(|running| running.recipe.name == name) else {
            return Failure::new(format!("{name} ended at once"), "look at its log");
        };
        let recipe = &running.recipe;
        let said = match tail(&recipe.log) {
            lines if lines.is_empty() => "its log is empty".to_owned(),
            lines => format!("its log ends so:\n{lines}"),
        };
        Failure::new(
            format!("{name} ended before the cluster was up; {said}"),
            format!("try it by itself: {}", recipe.command().join(" ")),
        )
    }

    /// Ends all: SIGTERM, another one for relays that would wait for their sessions to end, and
    /// SIGKILL for what still runs at the deadline (a stopped process takes only that).
    pub fn stop(&mut self) {
        for patience in STOP_PATIENCE {
            for running in self.0.iter().filter(|running| !running.ended) {
                // Not yet waited for, so the id still belongs to the child.
                let _ = kill(Pid::from_raw(running.pid.cast_signed()), Signal::SIGTERM);
            }
            let deadline = Instant::now() + patience;
            while self.0.iter().any(|running| !running.ended) && Instant::now() < deadline {
                thread::sleep(STOP_POLL);
                let _ = self.ended();
            }
        }
        self.kill();
    }

    fn kill(&mut self) {
        for running in self.0.iter_mut().filter(|running| !running.ended) {
            let _ = running.child.kill();
            let _ = running.child.wait();
            running.ended = true;
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start(recipe: &Recipe) -> io::Result<Child> {
    let log = File::create(&recipe.log)?;
    // By this name it is found even if its file has been replaced since, as a build does.
    Command::new("/proc/self/exe")
        .arg(UNDER)
        .arg(std::process::id().to_string())
        .arg(&recipe.program)
        .args(&recipe.arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C at the terminal reaches only the cluster, which then stops the rest in order.
        .process_group(0)
        .spawn()
}

/// The other half of [`Children::start`]: ties this process to the parent named by the first
/// argument and becomes the program named by the second. Returns only what went wrong.
pub fn run_under(arguments: &[OsString]) -> io::Error {
    let [parent, program, arguments @ ..] = arguments else {
        return io::Error::other("expected a parent's process id, a program and its arguments");
    };
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return error.into();
    }
    // A parent that died before the line above took effect is found out here.
    if parent.to_str() != Some(&parent_id().to_string()) {
        return io::Error::other("the cluster that started this is gone");
    }
    Command::new(program).args(arguments).exec()
}

fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(QUOTED_LINES);
    lines[from..]
        .iter()
        .map(|line| format!("  | {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
