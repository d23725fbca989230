//! Network namespaces that live as long as a handle to them, and no longer than this process.
//!
//! None has a name: nothing is left behind, however a test ends.

pub mod bridge;
pub mod lab;
pub mod watch;

use std::fs::File;
use std::io;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::tools;

/// Whether namespaces can be made and used here; says why not.
fn are_possible(test: &str) -> bool {
    if !tools::present(test, &["ip", "nft"]) {
        return false;
    }
    let root = nix::unistd::geteuid().is_root();
    if !root {
        tools::skip(test, "needs root to make network namespaces");
    }
    root
}

/// A network namespace; the kernel removes it with its last handle, thread, socket and process.
#[derive(Debug, Clone)]
pub struct Namespace(Arc<File>);

impl Namespace {
    /// An empty one, whose loopback interface is up.
    ///
    /// # Errors
    /// What the kernel says: making one needs root.
    pub fn new() -> io::Result<Self> {
        let made = thread::spawn(|| -> io::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let namespace = Self(Arc::new(made.join().expect("it does not panic")?));
        namespace.ip("link set lo up");
        Ok(namespace)
    }

    /// Runs `work` on a thread inside the namespace. Sockets it opens and processes it starts stay
    /// inside after it has ended.
    ///
    /// # Panics
    /// When `work` does, or the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                work()
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Takes the calling thread inside, for the rest of its life.
    ///
    /// # Panics
    /// When the namespace cannot be entered.
    pub fn enter(&self) {
        setns(&*self.0, CloneFlags::CLONE_NEWNET).expect("root may enter it");
    }

    /// Runs `ip` with these arguments inside.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, arguments: &str) {
        self.command("ip", arguments, "");
    }

    /// Joins this namespace and `other` by a pair of virtual Ethernet interfaces, both up.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn join(&self, interface: &str, other: &Self, others: &str) {
        use std::os::fd::AsRawFd as _;
        let target = format!("/proc/{}/fd/{}", std::process::id(), other.0.as_raw_fd());
        self.ip(&format!(
            "link add {interface} type veth peer name {others} netns {target}"
        ));
        // Packets cross one by one, as on a wire, also those the kernel was given as one.
        self.ip(&format!("link set {interface} gso_max_segs 1 up"));
        other.ip(&format!("link set {others} gso_max_segs 1 up"));
    }

    /// Runs a tool inside with `input`; returns what it wrote.
    ///
    /// # Panics
    /// When it fails.
    pub fn command(&self, program: &str, arguments: &str, input: &str) -> String {
        use std::io::Write as _;
        self.run(|| {
            let mut child = Command::new(program)
                .args(arguments.split_ascii_whitespace())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}"));
            let mut stdin = child.stdin.take().expect("it is piped");
            stdin.write_all(input.as_bytes()).expect("it reads");
            drop(stdin);
            let output = child.wait_with_output().expect("it ends");
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "{program} {arguments}: {complaint}"
            );
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }
}
