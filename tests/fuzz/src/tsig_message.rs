//! A message with a transaction signature: whatever it is it is judged; only the key proves it, and
//! what is answered is signed as RFC 8945 says.

use credentials::UnixTime;
use dnsd::serve::transfer::tsig::{FUDGE, Key, Session};
use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const SECRET: &[u8] = b"a secret of this target";
/// On the wire.
const NAME: &[u8] = b"\x03key\x07example\0";
const ALGORITHM: &[u8] = b"\x0bhmac-sha256\0";
const NOW: UnixTime = UnixTime(1_800_000_000);

/// Takes two bytes as the place of a bit to flip, and the rest as a message: as it is, and signed.
pub fn tsig_message(input: &[u8]) {
    let Some((place, bytes)) = input.split_first_chunk::<2>() else {
        return;
    };
    let keys = [key()];
    let Ok(mut message) = Message::from_vec(bytes) else {
        return;
    };
    if message.signature().is_some() {
        judge(bytes, &message, &keys);
        message.take_signature();
    }
    let Ok(bare) = message.to_vec() else {
        return;
    };
    let Some(mac) = keys[0].sign(&mut message, NOW) else {
        return;
    };
    let Ok(mut signed) = message.to_vec() else {
        return;
    };
    // What cannot be encoded in one message was left out.
    if signed.len() <= bare.len() || signed[12..bare.len()] != bare[12..] {
        return;
    }
    if let Ok(parsed) = Message::from_vec(&signed) {
        answered(&signed, &parsed, &keys, &mac, &bare);
    }
    // Of the header the id is not covered, and the library keeps no reserved bits.
    let bits = (bare.len() - 12) * 8;
    if bits == 0 {
        return;
    }
    let bit = usize::from(u16::from_be_bytes(*place)) % bits;
    signed[12 + bit / 8] ^= 1 << (bit % 8);
    if let Ok(parsed) = Message::from_vec(&signed) {
        let judged = Session::check(&signed, &parsed, &keys, NOW);
        let proved = matches!(&judged, Ok(Some(session)) if session.key().is_some());
        assert!(!proved, "bit {bit} of {signed:02x?}");
    }
}

fn key() -> Key {
    let name = Name::from_ascii("key.example.").unwrap();
    Key::new(&name, TsigAlgorithm::HmacSha256, SECRET.to_vec()).unwrap()
}

/// Any message is judged, and what is wrong with it can be told.
fn judge(bytes: &[u8], message: &Message, keys: &[Key]) {
    match Session::check(bytes, message, keys, NOW) {
        Ok(session) => assert!(session.is_some_and(|session| session.key().is_some())),
        Err(session) => {
            assert!(session.key().is_none());
            let mut response = bytes[..12].to_vec();
            response[4..].fill(0);
            assert!(session.append(&mut response) && Message::from_vec(&response).is_ok());
            // What is no message gets none.
            assert!(!session.append(&mut vec![0]));
        }
    }
}

/// One that we signed is proved, and the answers' signatures are those of another HMAC over what the
/// RFC lists (sections 4.3.1 to 4.3.3 and 5.3.1).
fn answered(signed: &[u8], parsed: &Message, keys: &[Key], mac: &[u8], response: &[u8]) {
    let judged = Session::check(signed, parsed, keys, NOW);
    let Ok(Some(mut session)) = judged else {
        panic!("not proved: {signed:02x?}");
    };
    assert_eq!(session.key(), Some(keys[0].name()));
    told(&session, &keys[0], mac, response);
    let times = [&NOW.0.to_be_bytes()[2..], &FUDGE.to_be_bytes()].concat();
    let variables = [NAME, &[0, 255, 0, 0, 0, 0], ALGORITHM, &times, &[0; 4]].concat();
    let first = session.sign(response, NOW).unwrap().data.mac;
    assert_eq!(first, hmac(&[&length(mac), mac, response, &variables]));
    let second = session.sign(response, NOW).unwrap().data.mac;
    assert_eq!(second, hmac(&[&length(&first), &first, response, &times]));
}

/// Whoever signed the request believes the answer to it, for as long as clocks may differ.
fn told(session: &Session, key: &Key, mac: &[u8], response: &[u8]) {
    let mut response = response.to_vec();
    assert!(session.append(&mut response));
    let at = |seconds| key.verifies(&response, mac, UnixTime(NOW.0 + seconds));
    assert!(at(0) && at(FUDGE.into()) && !at(u64::from(FUDGE) + 1));
    assert!(!key.verifies(&response, &mac[1..], NOW) && !key.verifies(&response[1..], mac, NOW));
}

fn length(mac: &[u8]) -> [u8; 2] {
    u16::try_from(mac.len()).unwrap().to_be_bytes()
}

fn hmac(parts: &[&[u8]]) -> Vec<u8> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    for part in parts {
        hmac.update(part);
    }
    hmac.finalize().into_bytes().to_vec()
}
