//! What each thread of a process has cost so far.

use std::{collections::HashMap, fs, io, path::Path, time::Duration};

use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

/// Threads with a smaller share of a core are not worth a line, in percent.
const WORTH_TELLING: f64 = 0.5;

/// What a process's threads had so far, by their ids.
#[derive(Debug, Clone, Default)]
pub struct Threads(HashMap<String, Thread>);

#[derive(Debug, Clone, Default)]
struct Thread {
    name: String,
    /// User and system time.
    cpu: Duration,
    /// Time it was ready to run but had no core.
    waited: Duration,
}

/// CPU time of one thread over an interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ThreadUsage {
    /// Its name.
    pub name: String,
    /// User and system time in seconds.
    pub cpu_seconds: f64,
    /// The same as a share of one core, in percent.
    pub percent: f64,
}

impl Threads {
    /// Reads them of a running process.
    ///
    /// # Errors
    /// When the process is gone or `/proc` is not as proc(5) says.
    pub fn of(pid: u32) -> io::Result<Self> {
        let ticks = sysconf(SysconfVar::CLK_TCK)?.and_then(|n| u64::try_from(n).ok());
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            // A thread may end while it is looked at.
            if let Some(usage) = read(&entry.path(), ticks.unwrap_or(100)) {
                threads.insert(entry.file_name().to_string_lossy().into_owned(), usage);
            }
        }
        Ok(Self(threads))
    }

    /// What those cost that had more than half a percent of a core since `before`, `wall` ago; the
    /// busiest first.
    pub fn since(&self, before: &Self, wall: Duration) -> Vec<ThreadUsage> {
        let used = |(id, after): (&String, &Thread)| {
            let earlier = before.0.get(id).map_or(Duration::ZERO, |thread| thread.cpu);
            let cpu_seconds = after.cpu.saturating_sub(earlier).as_secs_f64();
            let percent = 100.0 * cpu_seconds / wall.as_secs_f64().max(1e-9);
            let name = after.name.clone();
            ThreadUsage {
                name,
                cpu_seconds,
                percent,
            }
        };
        let mut threads: Vec<_> = self.0.iter().map(used).collect();
        threads.retain(|thread| thread.percent > WORTH_TELLING);
        threads.sort_by(|a, b| b.percent.total_cmp(&a.percent));
        threads
    }

    /// How long they were ready to run but had no core since `before`, all together; nothing where the
    /// kernel does not tell.
    pub fn waited_since(&self, before: &Self) -> Duration {
        let waited = |(id, after): (&String, &Thread)| {
            let earlier = before
                .0
                .get(id)
                .map_or(Duration::ZERO, |thread| thread.waited);
            after.waited.saturating_sub(earlier)
        };
        self.0.iter().map(waited).sum()
    }
}

/// What a thread had: from schedstat, in nanoseconds, where the kernel has it, and else from stat, in
/// ticks.
fn read(task: &Path, ticks_per_second: u64) -> Option<Thread> {
    let name = fs::read_to_string(task.join("comm")).ok()?;
    let (cpu, waited) = if let Ok(text) = fs::read_to_string(task.join("schedstat")) {
        on_cpu(&text)?
    } else {
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        (in_ticks(&stat, ticks_per_second)?, Duration::ZERO)
    };
    let name = name.trim_end().to_owned();
    Some(Thread { name, cpu, waited })
}

/// The first fields of schedstat: nanoseconds spent on a CPU, and waiting for one.
fn on_cpu(schedstat: &str) -> Option<(Duration, Duration)> {
    let mut fields = schedstat.split_ascii_whitespace();
    let mut time = || fields.next()?.parse().ok().map(Duration::from_nanos);
    Some((time()?, time()?))
}

/// Fields 14 and 15 of stat: utime and stime.
fn in_ticks(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    // The name in parentheses may hold anything, also spaces and parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace().skip(14 - 3);
    let mut number = || fields.next()?.parse::<u64>().ok();
    let ticks = number()? + number()?;
    Some(Duration::from_micros(
        ticks * 1_000_000 / ticks_per_second.max(1),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_ways_that_the_kernel_tells_it() {
        assert_eq!(
            on_cpu("134810 243392 1\n"),
            Some((Duration::from_nanos(134_810), Duration::from_nanos(243_392)))
        );
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 150 7 7 20 0 1 0 300";
        assert_eq!(in_ticks(line, 100), Some(Duration::from_secs(4)));
    }

    #[test]
    fn a_busy_thread_is_told_and_an_idle_one_is_not() {
        let second = Duration::from_secs(1);
        let threads = |busy: u64, idle: u64| {
            let thread = |name: &str, ms| Thread {
                name: name.to_owned(),
                cpu: Duration::from_millis(ms),
                waited: Duration::from_millis(ms / 10),
            };
            let listed = [("1", thread("busy", busy)), ("2", thread("idle", idle))];
            Threads(listed.map(|(id, usage)| (id.to_owned(), usage)).into())
        };
        let told = threads(750, 104).since(&threads(250, 100), second);
        let (name, cpu_seconds, percent) = ("busy".to_owned(), 0.5, 50.0);
        let wanted = ThreadUsage {
            name,
            cpu_seconds,
            percent,
        };
        assert_eq!(told, [wanted]);
        let delay = threads(750, 104).waited_since(&threads(250, 90));
        assert_eq!(delay, Duration::from_millis(51));
    }

    #[test]
    fn own_threads_are_found_by_name() {
        let thread = std::thread::Builder::new().name("burner".to_owned());
        let before = Threads::of(std::process::id()).unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (burnt, ready) = std::sync::mpsc::channel();
        let burner = thread.spawn(move || {
            let began = std::time::Instant::now();
            while began.elapsed() < Duration::from_millis(20) {
                std::hint::spin_loop();
            }
            burnt.send(()).unwrap();
            stopped.recv().unwrap();
        });
        let burner = burner.unwrap();
        ready.recv().unwrap();
        let after = Threads::of(std::process::id()).unwrap();
        let told = after.since(&before, Duration::from_secs(1));
        stop.send(()).unwrap();
        burner.join().unwrap();
        assert!(
            told.iter().any(|thread| thread.name == "burner"),
            "{told:?}"
        );
    }
}
