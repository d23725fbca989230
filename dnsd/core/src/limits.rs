//! The caps: no collection here grows past one of these.

/// Most relays in an inventory.
pub const RELAYS_MAX: usize = 1024;
/// Most regions in an inventory.
pub const REGIONS_MAX: usize = 64;
/// Most client networks over all regions.
pub const CLIENT_NETWORKS_MAX: usize = 65_536;
/// Most ranges of different regions that a database of places may be compiled to: 64 MiB at the most.
pub const GEOGRAPHY_RANGES_MAX: usize = 2_000_000;
/// Most nameservers of the zone: more would not fit a referral (RFC 1035 section 4.2.1).
pub const NAMESERVERS_MAX: usize = 13;
/// Most zones besides the first.
pub const OTHER_ZONES_MAX: usize = 64;
/// Most records in the file of one zone.
pub const RECORDS_MAX: usize = 20_000;
/// Most records of one owner name and type in a file: what fits one message easily.
pub const RRSET_MAX: usize = 64;
/// Longest TTL of a record in a file, in seconds: a week (RFC 8767 section 4 has resolvers cut more).
pub const RECORD_TTL_MAX: u32 = 604_800;
/// Most keys of one zone: those of a roll, and of one that was broken off.
pub const ZONE_KEYS_MAX: usize = 8;
/// Signatures that are remembered from one compilation to the next; a quarter of a kilobyte each.
pub const SIGNATURES_MAX: usize = 524_288;
/// Most aliases that are followed for one question.
pub const ALIASES_MAX: usize = 8;
/// Most keys one relay may sign with.
pub const RELAY_KEYS_MAX: usize = 8;
/// Most addresses of one family in an answer.
pub const ANSWERS_MAX: usize = 8;
/// Most addresses of one family that a steered name has in a zone that is transferred: enough to
/// spread over vendors, few enough that a client which tries them all is not lost for long.
pub const REPRESENTATIVES_MAX: usize = 4;
/// Most steps by which a spill rises from nothing to all of a region's clients.
pub const SPILL_STEPS: u32 = 10;
/// Fewest answer variants per region: enough to spread a herd.
pub const VARIANTS_MIN: usize = 64;
/// Most answer variants per region.
pub const VARIANTS_MAX: usize = 1024;
/// Highest weight of a relay.
pub const WEIGHT_MAX: u32 = 1000;
/// Longest vendor or availability zone name, in bytes.
pub const PLACE_MAX: usize = 64;
/// Longest zone name on the wire: a label of 63 below a lane must still fit into 255 bytes.
pub const ZONE_NAME_MAX: usize = 255 - 64 - 2;
/// Probes of one kind that may be under way to one relay.
pub const PROBES_IN_FLIGHT_MAX: usize = 16;
/// Other observers whose votes are kept.
pub const OBSERVERS_MAX: usize = 32;
/// Scopes that people's decisions are kept of.
pub const OVERRIDES_MAX: usize = 256;
/// Decisions of people that are remembered after newer ones.
pub const JOURNAL_MAX: usize = 256;
/// Users and tenants whose revocations are kept, with those that were lifted.
pub const REVOCATIONS_MAX: usize = liveness::REVOKED_MAX;
/// Longest user id or tenant, in bytes: no username holds a longer one.
pub const SUBJECT_MAX: usize = 508;
/// Longest reason of a decision, in bytes.
pub const WHY_MAX: usize = 200;
/// Longest name of whoever decides, in bytes.
pub const WHO_MAX: usize = 64;
/// Tenants that are told apart among those who complain about one relay.
pub const COMPLAINING_TENANTS_MAX: usize = 16;
/// Changes of verdict remembered per relay.
pub const HISTORY_MAX: usize = 16;
/// Longest failure text of a probe that is kept, in bytes.
pub const FAILURE_TEXT_MAX: usize = 200;
/// Highest time to live of a negative answer, in seconds (RFC 2308 section 5).
pub const NEGATIVE_TTL_MAX: u32 = 10;
