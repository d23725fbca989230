//! What a process has cost so far: CPU time and memory, from its CPU clock and `/proc`.

use std::{fs, io, time::Duration};

use nix::{time::ClockId, unistd::Pid};

/// One look at a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all threads, ended ones included: by the process's CPU clock, which
    /// counts nanoseconds, where `/proc/<pid>/stat` counts ticks of 10 ms.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub rss: u64,
    /// The part of it that no file is behind, in bytes: what the process itself asked for.
    pub anon: u64,
}

impl Usage {
    /// Reads the usage of a running process.
    ///
    /// # Errors
    /// When the process is gone or `/proc` is not as proc(5) says.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let (rss, anon) = memory(&status).ok_or_else(|| unreadable("/proc/<pid>/status"))?;
        let cpu = cpu(pid)?;
        Ok(Self { cpu, rss, anon })
    }
}

/// User and system time of a running process, as [`Usage::cpu`].
///
/// # Errors
/// When the process is gone.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.cast_signed()))?;
    Ok(clock.now()?.into())
}

/// `VmRSS` and `RssAnon` of `/proc/<pid>/status`, in bytes.
fn memory(status: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some((field("VmRSS:")?, field("RssAnon:")?))
}

/// Says that a file of `/proc` is not as expected.
pub(super) fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unreadable {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_that_proc_5_names() {
        let status = "Name:\ta VmRSS:\nVmHWM:\t    9000 kB\nVmRSS:\t    1234 kB\n\
                      RssAnon:\t     200 kB\nRssFile:\t    1034 kB\n";
        assert_eq!(memory(status), Some((1234 * 1024, 200 * 1024)));
        assert_eq!(memory("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn own_process_has_memory_and_uses_its_clock() {
        let before = Usage::of(std::process::id()).unwrap();
        assert!(
            before.rss > 100_000 && before.anon <= before.rss,
            "{before:?}"
        );
        let after = Usage::of(std::process::id()).unwrap();
        assert!(after.cpu > before.cpu, "{before:?} {after:?}");
    }
}
