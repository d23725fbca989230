//! Finds messages in a byte stream (RFC 8489 section 6.2.2, RFC 8656 section 12.5).
//!
//! STUN says how long it is; ChannelData does too and is padded to four bytes. Anything else cannot
//! be skipped, because nobody knows where it ends.

/// The STUN header.
const STUN_HEADER: usize = 20;
/// The header of ChannelData.
const CHANNEL_HEADER: usize = 4;
/// The magic cookie (RFC 8489 section 5).
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// What ends a connection: its bytes are no messages, or one is longer than is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Neither STUN nor ChannelData.
    Garbage,
    /// Longer than is taken from this client.
    TooLong,
}

/// The bytes of a message, and with its padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    message: usize,
    whole: usize,
}

impl Frame {
    /// Reads how long the message is that `bytes` begin with; `None` when they are too few to know.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        let Some(first) = bytes.first() else {
            return Ok(None);
        };
        let stun = match first {
            0x00..=0x3f => true,
            0x40..=0x7f => false,
            _ => return Err(Broken::Garbage),
        };
        let Some(&[_, _, high, low]) = bytes.first_chunk() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !stun {
            let message = CHANNEL_HEADER + length;
            let whole = message.next_multiple_of(4);
            return Ok(Some(Self { message, whole }));
        }
        // Told as soon as it can be: nobody waits for the rest of what is no STUN.
        let cookie = bytes.get(4..bytes.len().min(8)).unwrap_or_default();
        if !length.is_multiple_of(4) || !COOKIE.starts_with(cookie) {
            return Err(Broken::Garbage);
        }
        let message = STUN_HEADER + length;
        Ok(Some(Self {
            message,
            whole: message,
        }))
    }
}

/// The messages, with their padding, of bytes that are whole ones.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let frame = Frame::read(rest).ok().flatten();
        let whole = frame.map_or(rest.len(), |frame| frame.whole);
        let (message, later) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
        rest = later;
        (!message.is_empty()).then_some(message)
    })
}

/// How many of `bytes`, which are whole messages, are those at their front that fit into `most`; the
/// first always does.
pub fn fitting(bytes: &[u8], most: usize) -> usize {
    let mut fitting = 0;
    for message in messages(bytes) {
        if fitting > 0 && fitting + message.len() > most {
            break;
        }
        fitting += message.len();
    }
    fitting
}

/// Puts messages together from what was received. Holds nothing between whole messages.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The beginning of a message.
    begun: Vec<u8>,
    /// Its bytes, without padding, once it is whole and was given out.
    given: bool,
}

impl Assembler {
    /// The next whole message, without its padding. Takes what it needs from the front of `input`;
    /// `None` when that is used up and more has to be received. `longest` bounds a message with its
    /// padding.
    pub fn next<'a, 'input: 'a>(
        &'a mut self,
        input: &mut &'input [u8],
        longest: usize,
    ) -> Result<Option<&'a [u8]>, Broken> {
        if self.given {
            *self = Self::default();
        }
        if self.begun.is_empty() {
            return self.straight(input, longest);
        }
        // The header first, then the rest.
        loop {
            let wanted = match Frame::read(&self.begun)? {
                Some(frame) if frame.whole > longest => return Err(Broken::TooLong),
                Some(frame) if frame.whole <= self.begun.len() => {
                    self.given = true;
                    return Ok(self.begun.get(..frame.message));
                }
                Some(frame) => frame.whole - self.begun.len(),
                None => CHANNEL_HEADER - self.begun.len(),
            };
            if input.is_empty() {
                return Ok(None);
            }
            let (now, later) = input.split_at(wanted.min(input.len()));
            self.begun.extend_from_slice(now);
            *input = later;
        }
    }

    /// A message that lies in `input` as a whole; what is less is kept.
    fn straight<'input>(
        &mut self,
        input: &mut &'input [u8],
        longest: usize,
    ) -> Result<Option<&'input [u8]>, Broken> {
        let frame = Frame::read(input)?;
        if frame.is_some_and(|frame| frame.whole > longest) {
            return Err(Broken::TooLong);
        }
        if let Some(frame) = frame
            && let Some((whole, later)) = input.split_at_checked(frame.whole)
        {
            *input = later;
            return Ok(whole.get(..frame.message));
        }
        self.begun.extend_from_slice(input);
        *input = &[];
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: usize = 1 << 17;

    fn stun(length: u16) -> Vec<u8> {
        let mut bytes = vec![0x00, 0x01];
        bytes.extend(length.to_be_bytes());
        bytes.extend(COOKIE);
        bytes.extend((0..12 + u32::from(length)).map(|at| at as u8));
        bytes
    }

    fn channel(length: u16) -> Vec<u8> {
        let mut bytes = vec![0x40, 0x07];
        bytes.extend(length.to_be_bytes());
        bytes.extend((0..length).map(|at| at as u8));
        bytes
    }

    /// The messages found when the stream arrives in these pieces.
    fn found<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, Broken> {
        let (mut assembler, mut messages) = (Assembler::default(), Vec::new());
        for mut piece in pieces {
            while let Some(message) = assembler.next(&mut piece, LONGEST)? {
                messages.push(message.to_vec());
            }
            assert!(piece.is_empty());
        }
        assert!(assembler.begun.is_empty() || assembler.given);
        Ok(messages)
    }

    fn stream(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend(message);
            bytes.resize(bytes.len().next_multiple_of(4), 0xff);
        }
        bytes
    }

    #[test]
    fn a_message_may_be_cut_anywhere_and_followed_by_others() {
        let messages = [stun(0), channel(5), stun(24), channel(0), channel(8)];
        let bytes = stream(&messages);
        for at in 0..=bytes.len() {
            let (one, two) = bytes.split_at(at);
            assert_eq!(found([one, two]).expect("good"), messages, "cut at {at}");
        }
        assert_eq!(found(bytes.chunks(1)).expect("good"), messages);
    }

    #[test]
    fn messages_are_told_apart_again() {
        let whole = [stun(0), channel(5), stun(24), channel(0), channel(8)];
        let bytes = stream(&whole);
        let padded = whole.map(|message| stream(&[message]));
        assert_eq!(messages(&bytes).collect::<Vec<_>>(), padded);
        assert_eq!(messages(&bytes[..3]).collect::<Vec<_>>(), [&bytes[..3]]);
        assert_eq!(messages(&[]).next(), None);
    }

    #[test]
    fn whole_messages_fit_or_not() {
        let bytes = stream(&[channel(96), channel(95), channel(100), channel(1)]);
        let fit = [0, 100, 199, 200, 303, 304, 311, 312, 1000].map(|most| fitting(&bytes, most));
        assert_eq!(fit, [100, 100, 100, 200, 200, 304, 304, 312, 312]);
        assert_eq!(fitting(&[], 1000), 0);
    }

    #[test]
    fn the_longest_messages_are_taken() {
        let messages = [stun(65532), channel(65535)];
        assert_eq!(
            found(stream(&messages).chunks(1000)).expect("good"),
            messages
        );
    }

    #[test]
    fn what_is_no_message_is_known_by_its_first_wrong_byte() {
        for wrong in [
            &b"GET / HTTP/1.1"[..1],
            &[0x80],
            &[0x16, 3, 1, 1],
            &[0x00, 0x01, 0x00, 0x02],
            &[0x00, 0x01, 0x00, 0x00, 0x21, 0x13],
        ] {
            // The first of them looks like ChannelData, as any ASCII letter does.
            let expected = if wrong == b"G" {
                Ok(None)
            } else {
                Err(Broken::Garbage)
            };
            let mut input = wrong;
            assert_eq!(Assembler::default().next(&mut input, LONGEST), expected);
        }
    }

    #[test]
    fn a_message_longer_than_is_taken_is_known_by_its_length() {
        for at in 1..4 {
            let header = [0x40, 0x00, 0x10, 0x00];
            let (mut one, mut two) = header.split_at(at);
            let mut assembler = Assembler::default();
            assert_eq!(assembler.next(&mut one, 4096), Ok(None));
            assert_eq!(assembler.next(&mut two, 4096), Err(Broken::TooLong));
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            lengths in prop::collection::vec((any::<bool>(), 0u16..600), 1..12),
            cuts in prop::collection::vec(1usize..200, 1..60),
        ) {
            let message = |(is_stun, length): &(bool, u16)| {
                if *is_stun { stun(length & !3) } else { channel(*length) }
            };
            let messages: Vec<_> = lengths.iter().map(message).collect();
            let bytes = stream(&messages);
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, later) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = later;
            }
            prop_assert_eq!(found(pieces).expect("good"), messages);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..2000), cut in 1usize..64) {
            let mut assembler = Assembler::default();
            'pieces: for mut piece in bytes.chunks(cut) {
                loop {
                    match assembler.next(&mut piece, 4096) {
                        Ok(Some(message)) => prop_assert!(message.len() <= 4096),
                        Ok(None) => break,
                        Err(_) => break 'pieces,
                    }
                }
                prop_assert!(assembler.begun.len() <= 4096);
            }
        }
    }
}
