//! STUN on the wire: numbers, reading, writing, integrity, and the data messages in place.
//!
//! Written here rather than taken from `stun-types`, which serves as the oracle in the tests: that
//! crate records the integrity key in a tracing span when it signs, cannot take a key that is not
//! kept as text, warns once per malformed datagram, and reads on past the length a header
//! declares. Under a relay these are a leak, a leak, a flooded log and a confusion.

pub(crate) mod data;
pub(crate) mod integrity;
pub(crate) mod message;
pub(crate) mod writer;

/// Length of the header of a STUN message (RFC 8489 section 5).
pub(crate) const HEADER: usize = 20;

/// Bytes 4 to 7 of every STUN message.
pub(crate) const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A transaction id (RFC 8489 section 5).
pub(crate) type TransactionId = [u8; 12];

/// Methods, RFC 8489 section 18.2 and RFC 8656 section 17.
pub(crate) mod method {
    pub(crate) const BINDING: u16 = 0x001;
    pub(crate) const ALLOCATE: u16 = 0x003;
    pub(crate) const REFRESH: u16 = 0x004;
    pub(crate) const SEND: u16 = 0x006;
    pub(crate) const DATA: u16 = 0x007;
    pub(crate) const CREATE_PERMISSION: u16 = 0x008;
    pub(crate) const CHANNEL_BIND: u16 = 0x009;
    // RFC 6062 section 6.1.
    pub(crate) const CONNECT: u16 = 0x00a;
    pub(crate) const CONNECTION_BIND: u16 = 0x00b;
    pub(crate) const CONNECTION_ATTEMPT: u16 = 0x00c;
}

/// The four classes of RFC 8489 section 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// The message type of `method` in `class`: the class sits in bits 4 and 8 of the method.
pub(crate) const fn message_type(method: u16, class: Class) -> u16 {
    let class = match class {
        Class::Request => 0x000,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    (method & 0x00f) | (method & 0x070) << 1 | (method & 0xf80) << 2 | class
}

/// Attribute types, RFC 8489 section 18.3 and RFC 8656 section 18.
pub(crate) mod attribute {
    pub(crate) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(crate) const USERNAME: u16 = 0x0006;
    pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(crate) const ERROR_CODE: u16 = 0x0009;
    pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(crate) const CHANNEL_NUMBER: u16 = 0x000c;
    pub(crate) const LIFETIME: u16 = 0x000d;
    pub(crate) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(crate) const DATA: u16 = 0x0013;
    pub(crate) const REALM: u16 = 0x0014;
    pub(crate) const NONCE: u16 = 0x0015;
    pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(crate) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub(crate) const EVEN_PORT: u16 = 0x0018;
    pub(crate) const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub(crate) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(crate) const PASSWORD_ALGORITHM: u16 = 0x001d;
    pub(crate) const USERHASH: u16 = 0x001e;
    pub(crate) const DONT_FRAGMENT: u16 = 0x001a;
    pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(crate) const RESERVATION_TOKEN: u16 = 0x0022;
    pub(crate) const CONNECTION_ID: u16 = 0x002a;
    pub(crate) const PASSWORD_ALGORITHMS: u16 = 0x8002;
    pub(crate) const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
    pub(crate) const ADDRESS_ERROR_CODE: u16 = 0x8001;
    pub(crate) const ICMP: u16 = 0x8004;
    pub(crate) const SOFTWARE: u16 = 0x8022;
    pub(crate) const ALTERNATE_SERVER: u16 = 0x8023;
    pub(crate) const FINGERPRINT: u16 = 0x8028;
    pub(crate) const MOBILITY_TICKET: u16 = 0x8030;

    /// Whether a message with an attribute of type `kind` may be processed: it is understood, or
    /// need not be (RFC 8489 section 14).
    pub(crate) const fn is_tolerable(kind: u16) -> bool {
        kind >= 0x8000
            || matches!(
                kind,
                MAPPED_ADDRESS
                    | USERNAME
                    | MESSAGE_INTEGRITY
                    | ERROR_CODE
                    | UNKNOWN_ATTRIBUTES
                    | CHANNEL_NUMBER
                    | LIFETIME
                    | XOR_PEER_ADDRESS
                    | DATA
                    | REALM
                    | NONCE
                    | XOR_RELAYED_ADDRESS
                    | REQUESTED_ADDRESS_FAMILY
                    | EVEN_PORT
                    | REQUESTED_TRANSPORT
                    | MESSAGE_INTEGRITY_SHA256
                    | PASSWORD_ALGORITHM
                    | USERHASH
                    | XOR_MAPPED_ADDRESS
                    | RESERVATION_TOKEN
                    | CONNECTION_ID
                    | DONT_FRAGMENT
            )
    }
}

/// REQUESTED-TRANSPORT for UDP (RFC 8656 section 18.7).
pub(crate) const TRANSPORT_UDP: u8 = 17;

/// REQUESTED-TRANSPORT for TCP (RFC 6062 section 5.1).
pub(crate) const TRANSPORT_TCP: u8 = 6;

/// `length` rounded up to a multiple of four (RFC 8489 section 14).
pub(crate) const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// CRC-32 of ITU V.42, as FINGERPRINT uses it (RFC 8489 section 14.7).
pub(crate) const CRC: crc::Crc<u32, crc::Table<16>> =
    crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISO_HDLC);

/// "STUN": what the CRC is xored with.
pub(crate) const FINGERPRINT_XOR: u32 = 0x5354_554e;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
