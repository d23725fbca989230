//! What a process has cost so far: CPU time and memory, from its CPU clock and `/proc`.

use std::{fs, io, time::Duration};

use nix::{
    time::ClockId,
    unistd::{Pid, SysconfVar, sysconf},
};

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

/// Time that the machine this one is a guest of kept its processors from running; nothing where it is
/// none.
///
/// # Errors
/// When `/proc` is not as proc(5) says.
pub fn stolen() -> io::Result<Duration> {
    let ticks = sysconf(SysconfVar::CLK_TCK)?.and_then(|n| u64::try_from(n).ok());
    let stat = fs::read_to_string("/proc/stat")?;
    let steal = steal(&stat).ok_or_else(|| unreadable("/proc/stat"))?;
    Ok(Duration::from_millis(
        steal * 1000 / ticks.unwrap_or(100).max(1),
    ))
}

/// The eighth number of all processors together in `/proc/stat`, in ticks.
fn steal(stat: &str) -> Option<u64> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    all.split_ascii_whitespace().nth(7)?.parse().ok()
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
        let stat = "cpu  31 33 87 15 26 10 14 38 7 5\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(steal(stat), Some(38));
        assert_eq!(steal("intr 7\n"), None);
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
