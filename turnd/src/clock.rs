//! The only place of the daemon that reads the clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use credentials::UnixTime;
use turnd_core::Now;

/// The monotonic clock: for deadlines and for measuring progress.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the one reader of the clocks"
)]
pub fn instant() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970; 0 when the system clock stands before that.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the one reader of the clocks"
)]
pub fn unix_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970, what credentials are judged by.
pub fn unix() -> UnixTime {
    UnixTime(unix_millis() / 1000)
}

/// Both clocks at one moment, as the relay core takes them.
pub fn now() -> Now {
    Now {
        instant: instant(),
        unix: unix(),
    }
}

/// Processor time the calling thread has used.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
