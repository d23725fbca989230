//! What happened to DTLS clients, as plain numbers of one worker.

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client closed it.
    Client,
    /// The client said that something is wrong.
    Alert,
    /// The handshake took too long.
    Handshake,
    /// It made room for a newer handshake.
    Evicted,
    /// No allocation, and nothing heard for too long.
    Idle,
    /// Its client began anew from the same address.
    Replaced,
    /// Its listener was closed.
    Listener,
    /// The library gave it up.
    Failed,
}

/// How many [`End`]s there are.
const ENDS: usize = 8;

impl End {
    const ALL: [Self; ENDS] = [
        Self::Client,
        Self::Alert,
        Self::Handshake,
        Self::Evicted,
        Self::Idle,
        Self::Replaced,
        Self::Listener,
        Self::Failed,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Alert => "alert",
            Self::Handshake => "handshake",
            Self::Evicted => "evicted",
            Self::Idle => "idle",
            Self::Replaced => "replaced",
            Self::Listener => "listener",
            Self::Failed => "failed",
        }
    }
}

/// Counts since the worker began, and how many there are now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DtlsCounters {
    /// Sessions now, with those in their handshake.
    pub sessions: usize,
    /// Handshakes under way now.
    pub handshakes: usize,
    /// First hellos answered with a cookie.
    pub hellos: u64,
    /// Hellos with a cookie that is not this client's, or no longer; answered like a first one.
    pub cookies_refused: u64,
    /// Hellos of DTLS 1.0, answered with an alert.
    pub outdated: u64,
    /// Sessions begun: a cookie came back.
    pub begun: u64,
    /// Handshakes completed.
    pub established: u64,
    /// Sessions refused for their number, in total or of their source.
    pub refused: u64,
    /// Datagrams of strangers that are no hello.
    pub strange: u64,
    /// Datagrams of sessions that the library did not take.
    pub invalid: u64,
    /// Messages to clients that were not sent: too long for a record, or no session any more.
    pub unsent: u64,
    /// By [`End::ALL`].
    pub(super) ended: [u64; ENDS],
}

impl DtlsCounters {
    pub(super) fn end(&mut self, why: End) {
        self.ended[why as usize] += 1;
    }

    /// Sessions ended, by reason.
    pub fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.ended.iter().copied();
        End::ALL.iter().map(|end| end.name()).zip(counts)
    }
}
