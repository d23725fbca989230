//! The beginning of a `ClientHello`, and the `HelloVerifyRequest` that answers it (RFC 6347, sections
//! 4.2.1 and 4.3.2).
//!
//! Only what stands before the cookie is read: a long hello may come in fragments, and nothing is
//! kept to put them together before the cookie is right.

use super::cookie::Cookie;

/// A record's header, and a handshake message's header.
const RECORD: usize = 13;
const HANDSHAKE: usize = 12;

const CONTENT_ALERT: u8 = 21;
const CONTENT_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
const DTLS_1_0: [u8; 2] = [0xfe, 0xff];
const DTLS_1_2: [u8; 2] = [0xfe, 0xfd];

/// Length of a `HelloVerifyRequest` in its record, in bytes.
const VERIFY: usize = RECORD + HANDSHAKE + 2 + 1 + size_of::<Cookie>();

/// A `ClientHello` up to its cookie, the first record of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Whether it is of DTLS 1.2 or later. DTLS 1.0 is not served (RFC 8996).
    pub is_current: bool,
    /// The record's sequence number, which the answer repeats.
    pub sequence: &'a [u8],
    /// The client's random.
    pub random: &'a [u8; 32],
    /// The session it would resume.
    pub session_id: &'a [u8],
    /// What an earlier answer has given it; empty in a first hello.
    pub cookie: &'a [u8],
}

impl<'a> Hello<'a> {
    /// Reads a datagram; `None` unless it begins with a `ClientHello`.
    pub fn read(datagram: &'a [u8]) -> Option<Self> {
        let (record, rest) = datagram.split_at_checked(RECORD)?;
        let (handshake, body) = rest.split_at_checked(HANDSHAKE)?;
        let plain = record[0] == CONTENT_HANDSHAKE && record[1] == 0xfe && record[3..5] == [0, 0];
        let length = usize::from(u16::from_be_bytes([record[11], record[12]]));
        let whole = length >= HANDSHAKE && length <= rest.len();
        // Its fragment offset is zero: the beginning of the message.
        let begins = handshake[0] == CLIENT_HELLO && handshake[6..9] == [0; 3];
        if !(plain && whole && begins) {
            return None;
        }
        let body = body.get(..length - HANDSHAKE)?;
        let (version, body) = body.split_at_checked(2)?;
        let (random, body) = body.split_first_chunk()?;
        let (session_id, body) = vector(body)?;
        let (cookie, _) = vector(body)?;
        Some(Self {
            is_current: version == DTLS_1_2,
            sequence: &record[5..11],
            random,
            session_id,
            cookie,
        })
    }

    /// The answer to a client that offers no version that is served: a fatal alert.
    pub fn version_alert(&self) -> Vec<u8> {
        const FATAL: u8 = 2;
        const PROTOCOL_VERSION: u8 = 70;
        let mut answer = vec![CONTENT_ALERT];
        answer.extend(DTLS_1_0);
        answer.extend([0, 0]);
        answer.extend(self.sequence);
        answer.extend([0, 2, FATAL, PROTOCOL_VERSION]);
        answer
    }

    /// The answer that gives the client its cookie. It is shorter than any `ClientHello`.
    pub fn verify_request(&self, cookie: &Cookie) -> Vec<u8> {
        let mut answer = Vec::with_capacity(VERIFY);
        answer.push(CONTENT_HANDSHAKE);
        answer.extend(DTLS_1_0);
        answer.extend([0, 0]);
        answer.extend(self.sequence);
        answer.extend(((VERIFY - RECORD) as u16).to_be_bytes());
        let body = VERIFY - RECORD - HANDSHAKE;
        handshake(&mut answer, HELLO_VERIFY_REQUEST, body);
        answer.extend(DTLS_1_0);
        answer.push(cookie.len() as u8);
        answer.extend(cookie);
        debug_assert_eq!(answer.len(), VERIFY);
        answer
    }
}

/// A whole message's header: number 0, one fragment.
fn handshake(bytes: &mut Vec<u8>, kind: u8, length: usize) {
    let length = &(length as u32).to_be_bytes()[1..];
    bytes.push(kind);
    bytes.extend(length);
    bytes.extend([0; 5]);
    bytes.extend(length);
}

/// A vector with a length of one byte (RFC 5246, section 4.3), and what follows it.
fn vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// The shortest first hello. A session takes it in place of the one that was answered without it, so
/// that both ends number what follows alike; it is no part of the transcript (RFC 6347, 4.2.1).
pub fn first_hello() -> Vec<u8> {
    const SUITE: [u8; 2] = [0xc0, 0x2b];
    let mut body = DTLS_1_2.to_vec();
    body.extend([0; 32]);
    // No session, no cookie, one suite, no compression.
    body.extend([0, 0, 0, 2]);
    body.extend(SUITE);
    body.extend([1, 0]);
    let mut bytes = vec![CONTENT_HANDSHAKE];
    bytes.extend(DTLS_1_2);
    bytes.extend([0; 8]);
    bytes.extend(((HANDSHAKE + body.len()) as u16).to_be_bytes());
    handshake(&mut bytes, CLIENT_HELLO, body.len());
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_hello_is_read_and_answered_with_less() {
        let mut bytes = first_hello();
        bytes[10] = 7;
        let hello = Hello::read(&bytes).expect("a hello");
        assert_eq!((hello.cookie, hello.session_id), (&[][..], &[][..]));
        let answer = hello.verify_request(&[9; 32]);
        assert!(answer.len() < bytes.len());
        // RFC 6347, section 4.3.2, written out.
        let mut expected = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 7, 0, 47];
        expected.extend([3, 0, 0, 35, 0, 0, 0, 0, 0, 0, 0, 35]);
        expected.extend([0xfe, 0xff, 32]);
        expected.extend([9; 32]);
        assert_eq!(answer, expected);
    }

    #[test]
    fn what_is_cut_or_something_else_is_no_hello() {
        let bytes = first_hello();
        let needed = RECORD + HANDSHAKE + 2 + 32 + 2;
        for end in 0..bytes.len() {
            assert_eq!(Hello::read(&bytes[..end]), None, "{end} bytes");
        }
        for (at, value) in [(0, 23), (1, 3), (4, 1), (13, 2), (21, 1)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert_eq!(Hello::read(&wrong), None, "byte {at}");
        }
        // An old version is told so, in fewer bytes.
        let mut old = bytes.clone();
        old[26] = 0xff;
        let hello = Hello::read(&old).expect("a hello");
        assert!(!hello.is_current);
        let alert = hello.version_alert();
        assert_eq!(alert, [21, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 70]);
        // A fragment is enough when the cookie is in it.
        let mut fragment = bytes[..needed].to_vec();
        fragment[12] = (needed - RECORD) as u8;
        assert!(Hello::read(&fragment).is_some());
    }
}
