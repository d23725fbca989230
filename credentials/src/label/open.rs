//! Opens what AES-SIV has sealed (RFC 5297), with all that depends on the key alone worked out before.
//!
//! A nameserver opens a label for each query, and the library that seals them expands both keys each
//! time: 0.6 us, where the whole query costs three. Whatever that library seals must open here, and
//! nothing else; tests hold the two against each other.

use aes::Aes256Enc;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use cmac::{Cmac, Mac as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use super::Lane;
use super::keys::{CONTENT_LEN, KEY_LEN, SIV_LEN};

/// Bytes of a block.
const BLOCK: usize = 16;
/// Bits of the content in its second block, which begins with them, and of that block besides.
const REST: usize = 8 * (CONTENT_LEN - BLOCK);
const UNUSED: usize = 8 * BLOCK - REST;

/// A key, prepared.
#[derive(Clone)]
pub(super) struct Opener {
    /// Authenticates.
    mac: Aes256Enc,
    /// Encrypts.
    cipher: Aes256Enc,
    /// By lane: what S2V has come to when it has read what is authenticated besides the content
    /// (section 2.4).
    read: [u128; 2],
    /// What CMAC adds to a last block that is not full (RFC 4493 section 2.3).
    tail: u128,
}

impl Opener {
    /// `key` is the one to authenticate with and the one to encrypt with (section 2.2); `associated`
    /// is what is authenticated besides the content, for each lane.
    pub(super) fn new(key: &[u8; KEY_LEN], associated: impl Fn(Lane) -> [u8; 19]) -> Self {
        let (first, second) = key.split_at(KEY_LEN / 2);
        let half = |bytes: &[u8]| Aes256Enc::new_from_slice(bytes).expect("an AES-256 key");
        let code = |message: &[u8]| {
            let mac = Cmac::<aes::Aes256>::new_from_slice(first).expect("an AES-256 key");
            u128::from_be_bytes(mac.chain_update(message).finalize().into_bytes().into())
        };
        let mac = half(first);
        let read = [Lane::A, Lane::B];
        Self {
            read: read.map(|lane| double(code(&[0; BLOCK])) ^ code(&associated(lane))),
            tail: double(double(encrypt(&mac, 0))),
            mac,
            cipher: half(second),
        }
    }

    /// What was sealed, if it is genuine.
    pub(super) fn open(
        &self,
        lane: Lane,
        siv: [u8; SIV_LEN],
        sealed: &[u8; CONTENT_LEN],
    ) -> Option<[u8; CONTENT_LEN]> {
        // Section 2.6: two bits of the counter are cleared, so that it does not carry far.
        let siv = u128::from_be_bytes(siv);
        let counter = siv & !(1 << 63 | 1 << 31);
        let mut stream = [counter, counter + 1].map(|counter| counter.to_be_bytes().into());
        self.cipher.encrypt_blocks(&mut stream);
        let stream = stream.map(|block| u128::from_be_bytes(block.into()));
        let (first, rest) = sealed.split_at(BLOCK);
        let first = number(first) ^ stream[0];
        let rest = (number(rest) ^ stream[1]) >> UNUSED << UNUSED;
        // Section 2.4: the last block of the content, which overlaps the first, takes what was read
        // before.
        let read = self.read[lane as usize];
        let (taken, padding) = (read << UNUSED, 0x80 << (UNUSED - 8));
        let last = rest ^ taken ^ padding ^ self.tail;
        let code = encrypt(&self.mac, encrypt(&self.mac, first ^ read >> REST) ^ last);
        let mut content = [0; CONTENT_LEN];
        content[..BLOCK].copy_from_slice(&first.to_be_bytes());
        content[BLOCK..].copy_from_slice(&rest.to_be_bytes()[..CONTENT_LEN - BLOCK]);
        bool::from(code.ct_eq(&siv)).then_some(content)
    }
}

/// The ciphers erase themselves.
impl Drop for Opener {
    fn drop(&mut self) {
        self.read.zeroize();
        self.tail.zeroize();
    }
}

fn encrypt(cipher: &Aes256Enc, block: u128) -> u128 {
    let mut block = block.to_be_bytes().into();
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

/// A block, or the beginning of one that zeros fill up.
fn number(bytes: &[u8]) -> u128 {
    let mut block = [0; BLOCK];
    block[..bytes.len()].copy_from_slice(bytes);
    u128::from_be_bytes(block)
}

/// Multiplies by x in the field of section 2.3.
fn double(block: u128) -> u128 {
    (block << 1) ^ ((block >> 127) * 0x87)
}
