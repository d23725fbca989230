//! Every cap and fixed interval of the daemon, named in one place.

use std::time::Duration;

/// Largest datagram read from a DNS listener, in bytes: more than we say that we take
/// ([`UDP_PAYLOAD`]). Longer ones are cut by the kernel and then refused as malformed. An odd number
/// of cache lines: the queries of a batch would drive each other out of the cache if the same lines
/// of all of them fell into the same places.
pub const RECEIVE_BUFFER: usize = 21 * 64;
/// Datagrams taken from a listener with one system call.
pub const RECEIVE_BATCH: usize = 64;
/// So many at least, however few there were the last time.
pub const RECEIVE_FEW: usize = 8;
/// System calls' worth of work done for one listener before the next listener has its turn.
pub const BATCHES_PER_TURN: usize = 8;
/// Pause after a listener reported an error instead of a datagram.
pub const RECEIVE_PAUSE: Duration = Duration::from_millis(1);
/// Payload size offered in replies and the most that is ever sent over UDP, in bytes (RFC 9715).
pub const UDP_PAYLOAD: u16 = 1232;
/// What a requester without EDNS can take over UDP, in bytes (RFC 1035 section 4.2.1).
pub const PLAIN_PAYLOAD: u16 = 512;
/// Longest that a UDP worker may let queries gather before it reads them.
pub const GATHER_MAX: Duration = Duration::from_millis(1);
/// Datagrams that a UDP worker counts by itself before all may see its counts; fewer only where it
/// waits for more.
pub const TALLY_MOST: usize = 1024;
/// How often in a row a UDP worker may not have turned, asked once a second, before it counts as
/// stuck.
pub const TURNS_MISSED: u32 = 3;
/// Most UDP listener threads.
pub const UDP_WORKERS: usize = 16;

/// One part in so many of its time is what compiling answers may give away to other threads.
pub const COURTESY_PART: u32 = 10;
/// So much of it at once, before more is given.
pub const COURTESY_AT_ONCE: Duration = Duration::from_millis(5);

/// Complaints of clients that may wait for the control loop.
pub const COMPLAINTS_WAITING: usize = 4096;
/// Complaints of the control loop's one turn.
pub const COMPLAINTS_PER_TURN: usize = 256;
/// Rations of complaints; a tenant has the one that its tag picks.
pub const COMPLAINT_RATIONS: usize = 256;
/// Complaints that one ration holds each second: what says enough of any relay.
pub const COMPLAINTS_PER_SECOND: u64 = 64;

/// DNS connections over TCP and TLS that may be open at once, and as many over QUIC.
pub const TCP_CONNECTIONS: usize = 512;
/// DNS connections that one client network (/24 or /56) may hold of these.
pub const TCP_PER_NETWORK: usize = 32;
/// How long a connection keeps its place after its last answer, or its beginning, when others want
/// one: several round trips, even of slow clients.
pub const TCP_SPARED: Duration = Duration::from_secs(2);
/// How long a TCP connection may stay without a complete query (RFC 7766 section 6.2.3).
pub const TCP_IDLE: Duration = Duration::from_secs(10);
/// How long a reply may wait for a client that does not read.
pub const TCP_WRITE: Duration = Duration::from_secs(5);
/// How long a TCP connection may stay however busy it is.
pub const TCP_LIFETIME: Duration = Duration::from_mins(2);
/// Bytes of queries that are taken on one TCP connection; then it is answered and closed.
pub const TCP_BYTES: u64 = 1024 * 1024;
/// For so long a client that was told the end of a connection may go on sending; nothing of it, and at
/// most [`TCP_BYTES`], is more than read.
pub const TCP_LINGER: Duration = Duration::from_secs(2);
/// Bytes of replies that the kernel holds for one TCP connection; it counts double.
pub const TCP_SEND_BUFFER: usize = 64 * 1024;
/// Replies that may wait for one TCP connection. One query is answered at a time.
pub const TCP_REPLIES: usize = 8;
/// Descriptors that one TCP connection takes: the client's and both ends of the private one.
pub const TCP_DESCRIPTORS: usize = 3;
/// Pause after a TCP listener failed: out of descriptors, most likely, and connections must end.
pub const TCP_PAUSE: Duration = Duration::from_millis(100);

/// How long a handshake of TLS or QUIC may take, its turn included.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes of DNS over TLS, and of DNS over QUIC, that may be under way at once.
pub const TLS_HANDSHAKES: usize = 256;
/// Handshakes of DNS over QUIC from addresses that have not shown that they are their senders'.
/// Further ones have to show it first (RFC 9000 section 8.1.2).
pub const DOQ_UNPROVEN: usize = 32;
/// Handshakes of DNS over QUIC that wait for the task that admits.
pub const DOQ_INCOMING: usize = 256;
/// Bytes that are kept of each of them, and of all.
pub const DOQ_INCOMING_BYTES: u64 = 4096;
/// Queries under way on one connection of DNS over QUIC.
pub const DOQ_STREAMS: u32 = 32;
/// Longest query over QUIC, in bytes: many times what any has.
pub const DOQ_QUERY: usize = 4096;
/// Bytes of queries that a connection of DNS over QUIC may have sent and nobody has read.
pub const DOQ_RECEIVE_WINDOW: u32 = 64 * 1024;
/// Bytes of answers that a connection of DNS over QUIC may hold until they are acknowledged.
pub const DOQ_SEND_WINDOW: u64 = 128 * 1024;
/// How long a connection of DNS over QUIC stays whose client does not answer on any level.
pub const DOQ_SILENCE: Duration = Duration::from_secs(15);
/// How long a query over QUIC may take to arrive.
pub const DOQ_READ: Duration = Duration::from_secs(5);
/// Answers over encrypted transports are multiples of so many bytes for those who ask for padding
/// (RFC 8467 section 4.1).
pub const PADDING_BLOCK: usize = 468;
/// `dnsd` warns of its own certificate when it has less to live.
pub const CERTIFICATE_WARNING: Duration = Duration::from_hours(14 * 24);

/// Transfers of whole zones that may be under way at once.
pub const TRANSFERS: usize = 8;
/// Bytes of records, before names are compressed, after which a message of a transfer is full.
pub const TRANSFER_BYTES: usize = 16 * 1024;
/// How long a transfer waits before it looks whether the client has read something.
pub const TRANSFER_PAUSE: Duration = Duration::from_millis(5);
/// How long the last message of a transfer may wait for a client that reads slowly.
pub const TRANSFER_TIME: Duration = TCP_IDLE;
/// Secondaries that may be configured.
pub const SECONDARIES: usize = 32;
/// Longest name of a secondary, in bytes.
pub const SECONDARY_NAME: usize = 64;
/// Keys that secondaries may sign with.
pub const TRANSFER_KEYS: usize = 32;
/// Fewest bytes of such a key as it is written: 128 bits in base64.
pub const TRANSFER_KEY_MIN: usize = 24;
/// How long a secondary may take to acknowledge that it was told of a change.
pub const NOTIFY_PATIENCE: Duration = Duration::from_secs(2);
/// Pause before it is told again; twice as long each time.
pub const NOTIFY_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
pub const NOTIFY_PAUSE_MAX: Duration = Duration::from_mins(1);

/// Most responses a second that a network may be promised.
pub const RESPONSES_PER_SECOND: u32 = 65_536;
/// Networks that get all they ask for.
pub const UNLIMITED_NETWORKS: usize = 64;
/// Longest zone file, in bytes.
pub const ZONE_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Files in the directory of keys.
pub const KEY_FILES: usize = 4096;
/// Longest file of a key, in bytes.
pub const KEY_FILE_BYTES: usize = 4096;
/// Longest name that this server gives itself towards resolvers, in bytes (RFC 5001 leaves it open).
pub const NSID_BYTES: usize = 64;
/// Longest text of class CH, in bytes: one character string (RFC 1035 section 3.3.14).
pub const CHAOS_BYTES: usize = 255;

/// STUN probes that may be under way at once.
pub const STUN_CONCURRENCY: usize = 1024;
/// Echo probes that may be under way at once.
pub const ECHO_CONCURRENCY: usize = 256;
/// Probes of paths that may be under way at once.
pub const PATH_CONCURRENCY: usize = 128;
/// Bytes that a probe takes from one connection: several times what one needs.
pub const PROBE_STREAM_BYTES: u64 = 64 * 1024;
/// Largest file of trusted certificates, in bytes.
pub const ROOTS_BYTES: u64 = 4 * 1024 * 1024;
/// How long the end of the daemon waits for echo probes to free their allocations.
pub const PROBE_DRAIN: Duration = Duration::from_secs(1);
/// How long a datagram of an echo probe may be under way before it counts as lost and is sent again.
pub const ECHO_RESEND: Duration = Duration::from_millis(250);
/// How long an echo probe that ended may take to give its allocation back.
pub const ECHO_CLEANUP: Duration = Duration::from_secs(1);
/// Lifetime of a probe's credential. Longer than a probe, so that clocks need not agree closely.
pub const PROBE_CREDENTIAL: u32 = 600;

/// Largest database of places, in bytes.
pub const GEOIP_BYTES: u64 = 512 * 1024 * 1024;
/// Most networks in one, those included of which it knows nothing: ten times as many as a large one
/// has.
pub const GEOIP_NETWORKS: u64 = 50_000_000;

/// Inputs that may wait for the control loop.
pub const CONTROL_BACKLOG: usize = 4096;
/// Compilations of the answers that follow each other at once: single changes are in force at once.
pub const PUBLISH_BURST: u32 = 4;
/// Least time between two compilations beyond those: what goes together is taken together.
pub const PUBLISH_SPACING: Duration = Duration::from_millis(50);
/// Questions that may wait for the control loop. It answers them when no input waits.
pub const QUESTION_BACKLOG: usize = 16;
/// Operators' orders about the configuration that may wait.
pub const ORDER_BACKLOG: usize = 4;
/// How old the verdicts of all relays may be when they are shown: they are not put together again
/// for everyone who asks.
pub const STATUS_AGE: Duration = Duration::from_millis(250);
/// Least time between two reports of one relay under an old boot id that are looked at.
pub const STALE_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two reports of relays that may want to join with one key.
pub const JOIN_INTERVAL: Duration = Duration::from_millis(100);
/// Least time between two writes of the state file.
pub const STATE_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time that goes by without a new state file.
pub const STATE_REFRESH: Duration = Duration::from_secs(10);
/// Largest state file that is read back, in bytes.
pub const STATE_BYTES: u64 = 16 * 1024 * 1024;
/// Sockets that can be handed over to another daemon: what the kernel passes at once.
pub const HANDOVER_SOCKETS: usize = 253;
/// Longest text of a hand-over, in bytes: the state, and what the sockets are for.
pub const HANDOVER_BYTES: u64 = STATE_BYTES + 64 * 1024;
/// How long a daemon that has got the sockets may take until it serves.
pub const HANDOVER_BEGIN: Duration = Duration::from_mins(1);
/// How long each further step of a hand-over may take.
pub const HANDOVER_DONE: Duration = Duration::from_secs(10);
/// How long a daemon whose place was taken finishes its connections.
pub const HANDOVER_DRAIN: Duration = Duration::from_secs(15);
/// How long a request to the control socket, the HTTP API or the admin listener may take.
pub const HTTP_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests to the control socket, the HTTP API or the admin listener that may be under way at once.
pub const HTTP_CONCURRENCY: usize = 16;
/// Connections to the control socket, the HTTP API or the admin listener that may be open at once.
pub const HTTP_CONNECTIONS: usize = 64;
/// Tokens that open the HTTP API.
pub const API_TOKENS: usize = 16;
/// Shortest token, in bytes.
pub const API_TOKEN_MIN: usize = 16;
/// Wrong tokens after which no more are looked at.
pub const API_FAILURES: u32 = 10;
/// How long it takes for one of them to be forgiven.
pub const API_RECOVERY: Duration = Duration::from_secs(1);
/// Longest datagram between nameservers, in bytes: it passes every path unfragmented.
pub const SHARE_DATAGRAM: usize = 1200;
/// Datagrams that one message between nameservers may be cut into.
pub const SHARE_PARTS: usize = 64;
/// Other nameservers of which is remembered what was heard.
pub const SHARE_PEERS: usize = 64;
/// How long a nameserver that is not configured may be silent and is still sent ballots.
pub const SHARE_FORGET: Duration = Duration::from_mins(1);
/// Earlier starts of each other nameserver that are told from its present one.
pub const SHARE_ENDED: usize = 16;
/// Least time between two greetings of one peer, or of all that are not configured.
pub const SHARE_GREETING: Duration = Duration::from_millis(50);
/// Nameservers that may be configured as peers.
pub const SHARE_PEERS_CONFIGURED: usize = dnsd_core::limits::OBSERVERS_MAX;
/// How long nameservers may have configurations of different generations before that is told.
pub const CONFIGURATIONS_DIFFER: Duration = Duration::from_mins(1);
/// How often decisions are looked at that may have run out, and compared with the others'.
pub const OVERRIDES_LOOK: Duration = Duration::from_secs(1);
/// Largest body of a request to the control socket or the HTTP API, but for a configuration, in bytes.
pub const DECISION_BYTES: usize = 16 * 1024;
/// Datagrams of revocations that go to one nameserver at a time.
pub const REVOCATION_DATAGRAMS: usize = 32;
/// Relays of whose reports the other nameservers are asked at a time: so many are answered, once a
/// second.
pub const HEARSAY_RELAYS: usize = 64;
/// Reports that are passed on in one datagram.
pub const HEARSAY_REPORTS: usize = 5;
/// Least time between two log records of nodes that are refused for one reason.
pub const REFUSAL_NOTICE: Duration = Duration::from_secs(10);
/// Largest configuration that the control socket takes, in bytes.
pub const CONFIGURATION_BYTES: usize = settings::limits::FILE_BYTES as usize;
/// Largest body the client side reads from the control socket, in bytes.
pub const HTTP_BODY: usize = 8 * 1024 * 1024;
/// Events of the history.
pub const HISTORY_EVENTS: usize = 4096;
/// Bytes of all events of the history together, as JSON.
pub const HISTORY_BYTES: usize = 4 * 1024 * 1024;
/// Longest text of one event, in bytes.
pub const HISTORY_TEXT: usize = 1000;
/// Causes that the history names for other answers.
pub const HISTORY_CAUSES: usize = 16;
