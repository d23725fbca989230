//! Who can be measured, and in which company.

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The relay of this workspace.
    Turnd,
    /// coturn's `turnserver`.
    Coturn,
    /// The bare forwarder, one datagram per call.
    Plain,
    /// The bare forwarder, many datagrams per call.
    Mmsg,
    /// The bare forwarder, segmented.
    Gso,
    /// webrtc-rs' server.
    WebrtcRs,
}

impl Kind {
    /// The name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turnd => "turnd",
            Self::Coturn => "coturn",
            Self::Plain => "plain",
            Self::Mmsg => "mmsg",
            Self::Gso => "gso",
            Self::WebrtcRs => "webrtc-rs",
        }
    }
}

/// The two servers between which most targets decide.
pub const SERVERS: &[Kind] = &[Kind::Turnd, Kind::Coturn];
/// Those that speak TURN.
pub const TURN: &[Kind] = &[Kind::Turnd, Kind::Coturn, Kind::WebrtcRs];
/// The servers and what datagrams that come one by one cost at least.
pub const SINGLE: &[Kind] = &[Kind::Turnd, Kind::Coturn, Kind::Plain, Kind::Mmsg];
/// The same with webrtc-rs' server.
pub const USUAL: &[Kind] = &[
    Kind::Turnd,
    Kind::Coturn,
    Kind::Plain,
    Kind::Mmsg,
    Kind::WebrtcRs,
];
/// The servers and what trains cost at least.
pub const TRAINS: &[Kind] = &[Kind::Turnd, Kind::Coturn, Kind::Gso];
/// Everything.
pub const ALL: &[Kind] = &[
    Kind::Turnd,
    Kind::Coturn,
    Kind::Plain,
    Kind::Mmsg,
    Kind::Gso,
    Kind::WebrtcRs,
];
/// Our relay alone.
pub const TURND: &[Kind] = &[Kind::Turnd];
/// webrtc-rs' server alone.
pub const WEBRTC_RS: &[Kind] = &[Kind::WebrtcRs];
