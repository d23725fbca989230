//! Message and attribute types as they stand on the wire.

/// Message types: method and class together, as they stand in the first two bytes.
pub mod kind {
    /// Binding request (RFC 8489 section 18.2).
    pub const BINDING: u16 = 0x0001;
    /// Allocate request (RFC 8656 section 7.1).
    pub const ALLOCATE: u16 = 0x0003;
    /// Refresh request (RFC 8656 section 8.1).
    pub const REFRESH: u16 = 0x0004;
    /// `CreatePermission` request (RFC 8656 section 10.1).
    pub const CREATE_PERMISSION: u16 = 0x0008;
    /// `ChannelBind` request (RFC 8656 section 12.1).
    pub const CHANNEL_BIND: u16 = 0x0009;
    /// Connect request (RFC 6062 section 4.3).
    pub const CONNECT: u16 = 0x000A;
    /// Send indication (RFC 8656 section 11.1).
    pub const SEND: u16 = 0x0016;
    /// Data indication (RFC 8656 section 11.5).
    pub const DATA: u16 = 0x0017;
    /// Added to a request's type for an indication of the same method (RFC 8489 section 5).
    pub const INDICATION: u16 = 0x0010;
    /// Added to a request's type for its success response (RFC 8489 section 5).
    pub const SUCCESS: u16 = 0x0100;
    /// Added to a request's type for its error response (RFC 8489 section 5).
    pub const ERROR: u16 = 0x0110;
}

/// Attribute types (RFC 8489 section 18.3, RFC 8656 section 18).
pub mod attribute {
    /// USERNAME.
    pub const USERNAME: u16 = 0x0006;
    /// MESSAGE-INTEGRITY.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// ERROR-CODE.
    pub const ERROR_CODE: u16 = 0x0009;
    /// UNKNOWN-ATTRIBUTES.
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    /// CHANNEL-NUMBER.
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    /// LIFETIME.
    pub const LIFETIME: u16 = 0x000D;
    /// XOR-PEER-ADDRESS.
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    /// DATA.
    pub const DATA: u16 = 0x0013;
    /// REALM.
    pub const REALM: u16 = 0x0014;
    /// NONCE.
    pub const NONCE: u16 = 0x0015;
    /// XOR-RELAYED-ADDRESS.
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    /// REQUESTED-ADDRESS-FAMILY.
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    /// EVEN-PORT.
    pub const EVEN_PORT: u16 = 0x0018;
    /// REQUESTED-TRANSPORT.
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    /// DONT-FRAGMENT.
    pub const DONT_FRAGMENT: u16 = 0x001A;
    /// MESSAGE-INTEGRITY-SHA256.
    pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
    /// PASSWORD-ALGORITHM.
    pub const PASSWORD_ALGORITHM: u16 = 0x001D;
    /// XOR-MAPPED-ADDRESS.
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    /// RESERVATION-TOKEN.
    pub const RESERVATION_TOKEN: u16 = 0x0022;
    /// ADDITIONAL-ADDRESS-FAMILY.
    pub const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
    /// ADDRESS-ERROR-CODE.
    pub const ADDRESS_ERROR_CODE: u16 = 0x8001;
    /// PASSWORD-ALGORITHMS.
    pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
    /// ICMP.
    pub const ICMP: u16 = 0x8004;
    /// ALTERNATE-SERVER.
    pub const ALTERNATE_SERVER: u16 = 0x8023;
    /// FINGERPRINT.
    pub const FINGERPRINT: u16 = 0x8028;
}
