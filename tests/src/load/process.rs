//! What a process has cost so far: CPU time and memory, from `/proc`.

use std::{fs, io, time::Duration};

use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

/// One look at a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// User and system time of all threads, ended ones included.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub rss: u64,
}

impl Usage {
    /// Reads the usage of a running process.
    ///
    /// # Errors
    /// When the process is gone or `/proc` is not as proc(5) says.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let ticks = sysconf(SysconfVar::CLK_TCK)?.and_then(|n| u64::try_from(n).ok());
        let page = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|n| u64::try_from(n).ok());
        ticks
            .zip(page)
            .and_then(|(ticks, page)| Self::parse(&stat, ticks, page))
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/<pid>/stat")
            })
    }

    /// Reads one line of `/proc/<pid>/stat`: utime (field 14), stime (15), rss in pages (24).
    fn parse(stat: &str, ticks_per_second: u64, page: u64) -> Option<Self> {
        // The name in parentheses may hold anything, also spaces and parentheses.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split_ascii_whitespace().skip(14 - 3);
        let mut number = || fields.next()?.parse::<u64>().ok();
        let ticks = number()? + number()?;
        let pages = fields.nth(24 - 16)?.parse::<u64>().ok()?;
        Some(Self {
            cpu: Duration::from_micros(ticks * 1_000_000 / ticks_per_second.max(1)),
            rss: pages * page,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_that_proc_5_names() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 150 7 7 20 0 1 0 300 \
                    10000000 1234 18446744073709551615 1 1 0 0 0";
        let usage = Usage::parse(line, 100, 4096).unwrap();
        assert_eq!(
            usage,
            Usage {
                cpu: Duration::from_secs(4),
                rss: 1234 * 4096
            }
        );
    }

    #[test]
    fn own_process_has_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss > 100_000, "{usage:?}");
    }
}
