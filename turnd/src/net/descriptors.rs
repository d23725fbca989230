//! How many relayed sockets the process may open, so that descriptors remain for everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors kept for listeners, event queues, reports and HTTP connections, where the limit is
/// high enough; else a quarter of the limit.
const KEPT: u64 = 1280;

/// Raises the process's limit on descriptors as far as it may, and returns how many of them relayed
/// sockets may take.
pub fn raise() -> u32 {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        // Not called in vain: a hardened service may be forbidden to.
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    let limit = raised.unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit on file descriptors was not raised");
        getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
    });
    let relayed = limit - KEPT.min(limit / 4);
    u32::try_from(relayed).unwrap_or(u32::MAX)
}

/// What is left, shared by all workers. Asked once per relayed socket.
#[derive(Debug, Clone)]
pub struct Descriptors(Arc<AtomicU32>);

/// The right to one descriptor; given back when dropped.
#[derive(Debug)]
pub struct Descriptor(Descriptors);

impl Descriptors {
    /// At most `most` at a time.
    pub fn new(most: u32) -> Self {
        Self(Arc::new(AtomicU32::new(most)))
    }

    /// Takes one, if any is left.
    pub fn take(&self) -> Option<Descriptor> {
        let less = |left: u32| left.checked_sub(1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok().then(|| Descriptor(self.clone()))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let descriptors = Descriptors::new(2);
        let first = descriptors.take().expect("two are left");
        let _second = descriptors.take().expect("one is left");
        assert!(descriptors.take().is_none());
        drop(first);
        assert!(descriptors.take().is_some());
    }
}
