//! Why connections ended, and what else happened to them, as plain numbers of one worker.

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client closed it.
    Client,
    /// The network or the kernel did.
    Failed,
    /// Its bytes are no messages.
    Garbage,
    /// A message is longer than is taken.
    TooLong,
    /// TLS failed: no common version, cipher or protocol, or a broken record.
    Tls,
    /// What a proxy sent first is no header of version 2.
    Proxy,
    /// No whole message within the time for it.
    Handshake,
    /// No allocation, and no message for too long.
    Idle,
    /// It made room: the oldest without an allocation, when there were too many.
    Evicted,
    /// The client does not read its replies.
    Overflow,
    /// Its five-tuple has come anew, over another connection.
    Replaced,
    /// Its proxy speaks for a client that has too many connections.
    Source,
    /// It carries no more messages: it is joined to a connection with a peer.
    Joined,
    /// It went to another worker.
    Moved,
}

/// How many [`End`]s there are.
const ENDS: usize = 14;

impl End {
    const ALL: [Self; ENDS] = [
        Self::Client,
        Self::Failed,
        Self::Garbage,
        Self::TooLong,
        Self::Tls,
        Self::Proxy,
        Self::Handshake,
        Self::Idle,
        Self::Evicted,
        Self::Overflow,
        Self::Replaced,
        Self::Source,
        Self::Joined,
        Self::Moved,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Failed => "failed",
            Self::Garbage => "garbage",
            Self::TooLong => "too_long",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Handshake => "handshake",
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::Overflow => "overflow",
            Self::Replaced => "replaced",
            Self::Source => "source",
            Self::Joined => "joined",
            Self::Moved => "moved",
        }
    }
}

/// Why a connection was closed when it had just been accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too many from its address.
    Source,
    /// Too many in total, or no descriptor.
    Total,
}

/// Counts since the worker began, and how many there are now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Open connections under TLS.
    pub tls: usize,
    /// All others that are open.
    pub tcp: usize,
    /// Open connections whose client has no allocation.
    pub strangers: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Refused for their source.
    pub refused_source: u64,
    /// Refused for their number.
    pub refused_total: u64,
    /// Accepts the kernel failed.
    pub accept_errors: u64,
    /// Messages of relayed data dropped, because the client does not keep up.
    pub late: u64,
    /// By [`End::ALL`].
    pub(super) ended: [u64; ENDS],
}

impl StreamCounters {
    pub(crate) fn refuse(&mut self, why: Refused) {
        match why {
            Refused::Source => self.refused_source += 1,
            Refused::Total => self.refused_total += 1,
        }
    }

    pub(crate) fn end(&mut self, why: End) {
        self.ended[why as usize] += 1;
    }

    /// Connections ended, by reason.
    pub fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.ended.iter().copied();
        End::ALL.iter().map(|end| end.name()).zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_counts_under_its_name() {
        for (index, end) in End::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, index);
            let mut counters = StreamCounters::default();
            counters.end(end);
            let counted: Vec<_> = counters.ended().filter(|(_, count)| *count == 1).collect();
            assert_eq!(counted, [(end.name(), 1)]);
        }
    }
}
