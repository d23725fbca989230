//! Messages found in a byte stream: the same however it is cut, and those a slow reader finds.

use turnd::net::stream::frame::Assembler;

/// Longest messages that are taken, with their padding: a stranger's, a client's, any.
const LONGEST: [usize; 4] = [64, 1500, 4096, 1 << 17];

/// What was found, and whether the stream ended in something that is no message.
type Found = (Vec<Vec<u8>>, bool);

/// The first byte chooses what is too long, the second how many of the next are sizes of pieces,
/// used in turn; the rest is the stream.
pub fn stream_framing(input: &[u8]) {
    let Some((&[longest, count], rest)) = input.split_first_chunk() else {
        return;
    };
    let longest = LONGEST[usize::from(longest) % LONGEST.len()];
    let (sizes, stream) = rest.split_at(rest.len().min(usize::from(count) % 16));
    let expected = slowly(stream, longest);
    assert_eq!(found([stream], longest), expected, "in one piece");
    assert_eq!(found(stream.chunks(1), longest), expected, "byte by byte");
    assert_eq!(
        found(pieces(stream, sizes), longest),
        expected,
        "in pieces of {sizes:?}"
    );
}

/// `stream` in pieces of `sizes`, again and again; nothing is a piece, too.
pub(crate) fn pieces<'a>(stream: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), stream);
    let longest = sizes.iter().any(|size| *size > 0);
    for size in sizes.iter().cycle().take_while(|_| longest) {
        if rest.is_empty() {
            return pieces;
        }
        let (piece, later) = rest.split_at(rest.len().min((*size).into()));
        pieces.push(piece);
        rest = later;
    }
    pieces.push(rest);
    pieces
}

fn found<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, longest: usize) -> Found {
    let (mut assembler, mut messages) = (Assembler::default(), Vec::new());
    for mut piece in pieces {
        loop {
            match assembler.next(&mut piece, longest) {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
        assert!(piece.is_empty(), "bytes were left behind");
    }
    (messages, false)
}

/// The same with the whole stream at hand.
fn slowly(stream: &[u8], longest: usize) -> Found {
    let (mut messages, mut rest) = (Vec::new(), stream);
    while let Some(first) = rest.first() {
        if *first >= 0x80 {
            return (messages, true);
        }
        if rest.len() < 4 {
            break;
        }
        let length = usize::from(rest[2]) * 256 + usize::from(rest[3]);
        let is_stun = *first < 0x40;
        let message = if is_stun { 20 + length } else { 4 + length };
        let whole = message.div_ceil(4) * 4;
        let cookie = rest[4..].iter().zip([0x21, 0x12, 0xa4, 0x42]);
        let is_wrong = is_stun && (length % 4 != 0 || cookie.into_iter().any(|(a, b)| *a != b));
        if is_wrong || whole > longest {
            return (messages, true);
        }
        if rest.len() < whole {
            break;
        }
        messages.push(rest[..message].to_vec());
        rest = &rest[whole..];
    }
    (messages, false)
}
