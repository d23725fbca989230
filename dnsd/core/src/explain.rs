//! What `dnsd explain` and `dnsd answer` print: plain data, ready for serde.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::health::{Evidence, Override, PathReason, Reason, Spared, State, Unwithdrawn};
use crate::paths::{Family, Transport};
use crate::steer::Absence;
use crate::votes::{Cause, Tally, Vote};

/// Everything known about one relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Its id.
    pub relay: String,
    /// Its region, as configured.
    pub region: String,
    /// Its availability zone, as configured.
    pub zone: String,
    /// Its vendor, as configured.
    pub vendor: String,
    /// Its addresses, as configured.
    pub addresses: Vec<SocketAddr>,
    /// Its weight, as configured.
    pub weight: u32,
    /// How it stands.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// For how long, milliseconds.
    pub for_ms: u64,
    /// What that rested on when it was decided.
    pub evidence: Option<Evidence>,
    /// This node's own vote now.
    pub finding: Vote,
    /// What this node's own evidence accuses it of now.
    pub accused: Option<Reason>,
    /// Why it is not taken out although something speaks against it.
    pub spared: Option<Spared>,
    /// Its share of clients of its configured weight, in thousandths: rises slowly after it was
    /// down.
    pub share_permille: u32,
    /// How much of its capacity is free, in thousandths, in steps: clients go where there is room.
    pub free_permille: u32,
    /// The votes on it now.
    pub votes: Tally,
    /// What each observer heard lately says of it.
    pub ballots: Vec<BallotFacts>,
    /// Why this node distrusts itself, if it does: it then keeps what was known before.
    pub isolated: Option<Cause>,
    /// Whether it is not listed and has joined by a rule.
    pub joined: bool,
    /// Whether two machines report under its name: then neither is believed, and it is judged by
    /// probes alone.
    pub twins: bool,
    /// A person's decision, if there is one.
    pub decision: Option<Override>,
    /// How often it has been condemned lately.
    pub flaps: u32,
    /// How long it must do well before it is up again after a condemnation, milliseconds.
    pub hold_ms: u64,
    /// What it last said of itself.
    pub report: Option<ReportFacts>,
    /// What STUN probes found.
    pub stun: ProbeFacts,
    /// What echo probes found.
    pub echo: ProbeFacts,
    /// What clients say of it by the labels they ask with.
    pub complaints: ComplaintFacts,
    /// The paths that are judged apart from the relay.
    pub paths: Vec<PathFacts>,
    /// Earlier verdicts, oldest first.
    pub history: Vec<PastVerdict>,
}

/// What another observer says of a relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BallotFacts {
    /// Who.
    pub observer: String,
    /// Who runs its machine.
    pub vendor: String,
    /// Where it stands.
    pub region: String,
    /// What it says.
    pub vote: Vote,
    /// How long ago, milliseconds.
    pub ago_ms: u64,
    /// The number of the ballot.
    pub generation: u64,
    /// Whether it distrusts itself; then it does not count.
    pub isolated: bool,
}

/// Another observer, as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObserverFacts {
    /// Who.
    pub observer: String,
    /// Who runs its machine.
    pub vendor: String,
    /// Where it stands.
    pub region: String,
    /// How long ago its last ballot came, milliseconds.
    pub ago_ms: u64,
    /// The number of that ballot.
    pub generation: u64,
    /// The number of the configuration in force there.
    pub configuration: u64,
    /// Whether that is fresh; else its votes do not count.
    pub fresh: bool,
    /// Whether it distrusts itself; then its votes do not count.
    pub isolated: bool,
    /// How many relays it calls up.
    pub up: usize,
    /// How many relays it calls down.
    pub down: usize,
}

/// A relay's last report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportFacts {
    /// How long ago it came, milliseconds.
    pub ago_ms: u64,
    /// What the relay says of itself.
    pub state: String,
    /// Its boot id.
    pub boot: u64,
    /// Its place within the boot.
    pub sequence: u64,
    /// Live allocations.
    pub sessions: u32,
    /// Most allocations it takes.
    pub sessions_max: u32,
    /// Relayed bits per second.
    pub bits_per_second: u64,
    /// Busiest worker's processor time, 0 to 1000.
    pub cpu_permille: u16,
    /// Worker threads that turn their loop.
    pub workers: u16,
    /// The configuration it runs.
    pub configuration: u64,
    /// Whether it claims addresses other than the configured ones.
    pub claims_other_addresses: bool,
}

/// What one kind of probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeFacts {
    /// How long ago one succeeded, milliseconds.
    pub last_ok_ms: Option<u64>,
    /// Failures in a row, weighed: a timeout 1, a refusal or wrong answer 3.
    pub points: u32,
    /// Smoothed round-trip time, microseconds.
    pub rtt_us: Option<u64>,
    /// How the last failure looked.
    pub last_failure: Option<String>,
}

/// What clients have said of a relay within a minute, as far as it can be told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ComplaintFacts {
    /// How many tenants' clients complain; all labels without a tenant are one.
    pub tenants: usize,
    /// From how many networks.
    pub networks: u32,
    /// The same without the tenant without whom there are fewest: one tenant alone has none.
    pub networks_apart: u32,
    /// How much longer it stays in doubt for that at least, milliseconds.
    pub doubted_ms: Option<u64>,
    /// How often it has been in doubt for that lately.
    pub times: u32,
}

/// What is known of one path to a relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathFacts {
    /// What is spoken there.
    pub transport: Transport,
    /// Over which address.
    pub family: Family,
    /// Whether clients are kept off it.
    pub withdrawn: bool,
    /// Why it stands so.
    pub reason: PathReason,
    /// For how long, milliseconds.
    pub for_ms: u64,
    /// When the certificate seen there expires, seconds from now; 0 if it has.
    pub certificate_expires_in_s: Option<u64>,
    /// Why it is not withdrawn although something speaks against it.
    pub unwithdrawn: Option<Unwithdrawn>,
    /// How often it has been withdrawn lately.
    pub flaps: u32,
    /// What probes found.
    pub probe: ProbeFacts,
}

/// A verdict that has been replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PastVerdict {
    /// How the relay stood.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// When that began: so long ago, milliseconds.
    pub began_ms_ago: u64,
    /// What it rested on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// Why a client counts to its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionBy {
    /// The name asked for is that region's.
    Name,
    /// The label names it.
    Label,
    /// The place of the client's network, given by the resolver (RFC 7871), is known.
    Subnet,
    /// That of the address that asks is.
    Resolver,
    /// Nothing else is known.
    Default,
}

/// What became of the label in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelUse {
    /// The name has none.
    None,
    /// Sealed by this fleet and not expired.
    Opened,
    /// Forged, foreign or expired: answered like its lane's plain name.
    Ignored,
}

/// How an answer came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerTrace {
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    pub record_type: String,
    /// The response code.
    pub rcode: String,
    /// What the name is: `lane a`, `apex`, `relay`, … .
    pub owner: String,
    /// What became of the label in the name.
    pub label: LabelUse,
    /// How the answer was steered, for names that are.
    pub steering: Option<SteeringTrace>,
    /// The answer section, one record a line.
    pub answers: Vec<String>,
    /// The zone's serial.
    pub serial: u32,
}

/// How a steered answer was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SteeringTrace {
    /// The client's region.
    pub region: String,
    /// Why that one.
    pub region_by: RegionBy,
    /// Whether a database of places says so, for want of a configured network.
    pub geoip: bool,
    /// What the client speaks, where the name or the label says.
    pub transport: Option<Transport>,
    /// The region whose relays serve.
    pub served_by: String,
    /// The region that takes this client because the first in order lacks headroom.
    pub spilled_to: Option<String>,
    /// What kind of relays had to do.
    pub tier: crate::steer::Tier,
    /// Seconds the answer may be cached.
    pub ttl: u32,
    /// The answer variant.
    pub variant: usize,
    /// The relays to avoid, as the label says.
    pub avoid: Vec<String>,
    /// The relays of both lanes under this variant, and of the apex, best first.
    pub lanes: [Vec<String>; 2],
    /// As `lanes`, for the apex.
    pub apex: Vec<String>,
    /// The addresses answered.
    pub addresses: Vec<IpAddr>,
    /// Every relay, in the inventory's order, and why those are not answered that are not; empty
    /// where no addresses are asked for.
    pub relays: Vec<RelayTrace>,
}

/// What became of one relay in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelayTrace {
    /// Its id.
    pub relay: String,
    /// Its region.
    pub region: String,
    /// Its availability zone.
    pub zone: String,
    /// Its vendor.
    pub vendor: String,
    /// Its place in the answer, from 1.
    pub place: Option<usize>,
    /// Why it has none.
    pub absence: Option<Absence>,
    /// The same in words.
    pub why: Option<String>,
}
