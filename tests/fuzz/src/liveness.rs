//! Reports, acknowledgements, requests for revocations and their pages: any bytes, any signed bytes, and any damage to good ones.

use std::fmt::Debug;

use hmac::{Hmac, KeyInit, Mac};
use liveness::{
    ACK_LEN, ASK_LEN, Ack, Key, KeyId, KeyRing, REPORT_LEN, Refused, Report, RevocationsAsk,
    RevocationsPage,
};
use sha2::Sha256;

const KEY: &[u8] = b"a key of thirty-two bytes or more";
const KEY_ID: KeyId = KeyId(7);

/// The first byte tells report from acknowledgement, raw from signed, and both from what is about
/// revocations; the second and third choose a bit to damage.
pub fn liveness(input: &[u8]) {
    let Some((&[mode, high, low], rest)) = input.split_first_chunk() else {
        return;
    };
    let damage = usize::from(u16::from_be_bytes([high, low]));
    let signed = mode & 2 != 0;
    if mode & 4 != 0 {
        let bytes = if signed {
            seal::<ASK_LEN>(3, rest)
        } else {
            rest.to_vec()
        };
        check(&bytes, damage, signed, RevocationsAsk::decode, |ask| {
            ask.encode(KEY_ID, &key()).to_vec()
        });
        // Without the key nobody seals one.
        let mut ring = KeyRing::new();
        ring.insert(KEY_ID, key()).unwrap();
        assert!(RevocationsPage::open(rest, &ring).is_err());
    } else if mode & 1 == 0 {
        let bytes = if signed {
            seal::<REPORT_LEN>(1, rest)
        } else {
            rest.to_vec()
        };
        check(&bytes, damage, signed, Report::decode, |report| {
            report.encode(KEY_ID, &key()).to_vec()
        });
    } else {
        let bytes = if signed {
            seal::<ACK_LEN>(2, rest)
        } else {
            rest.to_vec()
        };
        check(&bytes, damage, signed, Ack::decode, |ack| {
            ack.encode(KEY_ID, &key()).to_vec()
        });
    }
}

fn key() -> Key {
    Key::new(KEY.to_vec()).unwrap()
}

/// A datagram with the fields of `rest`, zeros where there are none, and the right MAC.
fn seal<const N: usize>(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; N - 32];
    bytes[..4].copy_from_slice(b"TFLV");
    bytes[4..6].copy_from_slice(&[1, kind]);
    bytes[8..12].copy_from_slice(&KEY_ID.0.to_be_bytes());
    for (place, byte) in (6..8).chain(12..N - 32).zip(rest) {
        bytes[place] = *byte;
    }
    let mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    let tag = mac.chain_update(&bytes).finalize().into_bytes();
    bytes.extend_from_slice(&tag);
    bytes
}

fn check<T: Debug + PartialEq>(
    bytes: &[u8],
    damage: usize,
    signed: bool,
    decode: impl Fn(&[u8], &KeyRing) -> Result<(T, KeyId), Refused>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    let mut ring = KeyRing::new();
    ring.insert(KEY_ID, key()).unwrap();
    let value = match decode(bytes, &ring) {
        Ok((value, id)) => {
            assert_eq!(id, KEY_ID);
            value
        }
        Err(refused) => {
            let signature = !matches!(refused, Refused::Malformed(_));
            assert!(
                !(signed && signature),
                "well signed, and refused: {refused}"
            );
            return;
        }
    };
    let again = encode(&value);
    assert_eq!(decode(&again, &ring), Ok((value, KEY_ID)));
    let mut damaged = again;
    let bit = damage % (8 * damaged.len());
    damaged[bit / 8] ^= 1 << (bit % 8);
    assert!(decode(&damaged, &ring).is_err(), "bit {bit} is not covered");
}
