//! The closed sets of values that the metrics' labels take.

use std::fmt::Write as _;

use dnsd_core::health::{Outcome, ProbeKind, State};
use dnsd_core::paths;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// A closed set of label values; what is not listed counts as the last one.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The value as it stands in the metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                encoder.write_str(self.as_str())
            }
        }
    };
}

label! {
    /// How a query came.
    Transport {
        /// One datagram.
        Udp = "udp",
        /// A connection (RFC 7766).
        Tcp = "tcp",
        /// A connection over TLS (RFC 7858).
        Tls = "tls",
        /// A stream of a QUIC connection (RFC 9250).
        Quic = "quic",
    }
}

impl Transport {
    /// Whether nobody on the way reads along.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Quic)
    }

    /// Whether many queries follow each other on one connection of TCP.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }
}

label! {
    /// What became of a request for a zone.
    Ended {
        /// The zone was sent.
        Sent = "sent",
        /// The client has it as it is.
        Current = "current",
        /// It may not have it.
        Refused = "refused",
        /// So many were sent that there was no room.
        Busy = "busy",
        /// The client went away, or read too slowly.
        Aborted = "aborted",
    }
}

label! {
    /// What became of a message to a secondary that a zone has changed.
    Told {
        /// It was acknowledged.
        Acknowledged = "acknowledged",
        /// It was answered otherwise.
        Refused = "refused",
        /// It was not answered.
        Unanswered = "unanswered",
    }
}

label! {
    /// Question types that are told apart.
    Kind {
        /// IPv4 address.
        A = "A",
        /// IPv6 address.
        Aaaa = "AAAA",
        /// Zone authority.
        Soa = "SOA",
        /// Name servers.
        Ns = "NS",
        /// Services.
        Srv = "SRV",
        /// Service discovery.
        Naptr = "NAPTR",
        /// Text.
        Txt = "TXT",
        /// Service binding.
        Https = "HTTPS",
        /// All types (RFC 8482).
        Any = "ANY",
        /// Any other type.
        Other = "other",
        /// No question could be read.
        None = "none",
    }
}

impl From<RecordType> for Kind {
    fn from(kind: RecordType) -> Self {
        match kind {
            RecordType::A => Self::A,
            RecordType::AAAA => Self::Aaaa,
            RecordType::SOA => Self::Soa,
            RecordType::NS => Self::Ns,
            RecordType::SRV => Self::Srv,
            RecordType::NAPTR => Self::Naptr,
            RecordType::TXT => Self::Txt,
            RecordType::HTTPS => Self::Https,
            RecordType::ANY => Self::Any,
            _ => Self::Other,
        }
    }
}

label! {
    /// Response codes that are told apart.
    Code {
        /// Answered, be it without records.
        NoError = "NOERROR",
        /// The query was malformed.
        FormErr = "FORMERR",
        /// The name does not exist.
        NxDomain = "NXDOMAIN",
        /// The operation is not offered.
        NotImp = "NOTIMP",
        /// Another zone's name.
        Refused = "REFUSED",
        /// An EDNS version above 0.
        BadVers = "BADVERS",
        /// The ration is used up: come again with the cookie that goes along (RFC 7873).
        BadCookie = "BADCOOKIE",
        /// Any other code.
        Other = "other",
    }
}

impl From<ResponseCode> for Code {
    fn from(code: ResponseCode) -> Self {
        match code {
            ResponseCode::NoError => Self::NoError,
            ResponseCode::FormErr => Self::FormErr,
            ResponseCode::NXDomain => Self::NxDomain,
            ResponseCode::NotImp => Self::NotImp,
            ResponseCode::Refused => Self::Refused,
            ResponseCode::BADVERS => Self::BadVers,
            ResponseCode::BADCOOKIE => Self::BadCookie,
            _ => Self::Other,
        }
    }
}

label! {
    /// The DNS cookies that queries come with (RFC 7873).
    Cookie {
        /// None.
        None = "none",
        /// The client's own, or one that is old, foreign or forged.
        Client = "client",
        /// One that a nameserver of the fleet gave to this address lately.
        Good = "good",
    }
}

label! {
    /// Why nothing was answered.
    Drop {
        /// Shorter than a DNS header.
        Short = "short",
        /// A response, not a query: answering would make loops.
        Response = "response",
        /// From where nothing is answered: port 0, or past the front of the TCP listeners.
        Source = "source",
        /// The reply could not be encoded.
        Encode = "encode",
        /// The kernel did not take the reply, or the client of a connection did not read it.
        Send = "send",
        /// The kernel reported an error instead of a datagram.
        Receive = "receive",
        /// Too many connections, all of them in use.
        Connections = "connections",
        /// A connection that was idle for longest, and had to make room for another.
        Evicted = "evicted",
        /// No handshake, a wrong one, or one that took too long.
        Handshake = "handshake",
        /// A client of DNS over QUIC broke its rules (RFC 9250 section 4.3.3).
        Protocol = "protocol",
        /// The client's network has used up its ration.
        Ration = "ration",
        /// The same, and the client was sent to TCP or given a cookie instead of an answer.
        Truncated = "truncated",
        /// With a cookie that nobody gave, where more such queries wait than are read at once.
        Cookie = "cookie",
    }
}

label! {
    /// What happened to a liveness report.
    ReportOutcome {
        /// Taken.
        Ok = "ok",
        /// Not a report: length, magic, version or kind.
        Format = "format",
        /// Signed with a key that is not configured.
        UnknownKey = "unknown_key",
        /// The MAC is wrong.
        Mac = "mac",
        /// Authentic, but with a field out of range.
        Malformed = "malformed",
        /// Authentic, but old.
        Replay = "replay",
        /// Authentic, but from a relay that is not configured or with a key it may not use.
        Relay = "relay",
        /// Authentic, but of one of two machines with one name.
        Twin = "twin",
        /// Authentic, but more than the control loop takes.
        Overload = "overload",
        /// Passed on by another nameserver, and news.
        Hearsay = "hearsay",
    }
}

label! {
    /// What happened to a datagram between nameservers.
    Shared {
        /// Taken.
        Ok = "ok",
        /// Not of this protocol.
        Format = "format",
        /// Sealed with a key that is not configured.
        UnknownKey = "unknown_key",
        /// Not sealed with the key it names.
        Forged = "forged",
        /// Authentic, but not readable.
        Malformed = "malformed",
        /// Authentic, but made for an earlier start of this node, or before it was known.
        Stranger = "stranger",
        /// Authentic, but seen before.
        Replay = "replay",
        /// This process's own.
        Echo = "echo",
        /// Of another node with this node's id.
        Twin = "twin",
        /// There are too many nameservers.
        Crowded = "crowded",
        /// Authentic, but more than is taken.
        Overload = "overload",
        /// Could not be sent.
        Unsent = "unsent",
    }
}

label! {
    /// Kinds of probes.
    Probed {
        /// STUN Binding.
        Stun = "stun",
        /// Full allocate and echo.
        Echo = "echo",
        /// The same over UDP and one family.
        Udp = "udp",
        /// Over TCP.
        Tcp = "tcp",
        /// Over TLS.
        Tls = "tls",
    }
}

label! {
    /// How probes end.
    ProbeOutcome {
        /// Answered.
        Ok = "ok",
        /// Not answered in time.
        Timeout = "timeout",
        /// Refused by ICMP.
        Refused = "refused",
        /// Failed otherwise.
        Failed = "failed",
        /// Could not be sent; says nothing about the relay.
        Unsent = "unsent",
    }
}

/// Every verdict, in the order of the metric's values.
pub(super) const STATES: [State; 7] = [
    State::Unknown,
    State::Up,
    State::Suspect,
    State::Down,
    State::Draining,
    State::ForcedUp,
    State::ForcedDown,
];

/// A verdict as it stands in the metrics and the log.
pub fn name(state: State) -> &'static str {
    match state {
        State::Unknown => "unknown",
        State::Up => "up",
        State::Suspect => "suspect",
        State::Down => "down",
        State::Draining => "draining",
        State::ForcedUp => "forced_up",
        State::ForcedDown => "forced_down",
    }
}

impl From<ProbeKind> for Probed {
    fn from(kind: ProbeKind) -> Self {
        match kind {
            ProbeKind::Stun => Self::Stun,
            ProbeKind::Echo => Self::Echo,
            ProbeKind::Path(path) => match path.transport {
                paths::Transport::Udp => Self::Udp,
                paths::Transport::Tcp => Self::Tcp,
                paths::Transport::Tls => Self::Tls,
            },
        }
    }
}

impl From<&Outcome> for ProbeOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Ok { .. } => Self::Ok,
            Outcome::Timeout => Self::Timeout,
            Outcome::Refused => Self::Refused,
            Outcome::Failed(_) => Self::Failed,
            Outcome::Unsent(_) => Self::Unsent,
        }
    }
}
