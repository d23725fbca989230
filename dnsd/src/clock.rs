//! The clocks, read here and nowhere else.

use std::time::{Instant, SystemTime};

use credentials::UnixTime;

/// The monotonic clock, on which every deadline is kept.
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, by which credentials and labels expire. 0 if the clock stands before 1970.
pub fn unix() -> UnixTime {
    UnixTime(since_1970().as_secs())
}

/// Milliseconds since 1970, for reports and acknowledgements.
pub fn unix_millis() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

fn since_1970() -> std::time::Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
