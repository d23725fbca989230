//! The beginning of a DTLS `ClientHello` against a second reading of RFC 6347, and the cookies that
//! answer it.

use std::time::{Duration, Instant};

use turnd::net::dtls::cookie::Cookies;
use turnd::net::dtls::hello::Hello;
use turnd_core::{FiveTuple, Transport};

use crate::world::addr;

/// The first bytes choose how the rest becomes a datagram: the lowest bit of the first puts right
/// what has one right value; the second is a bit of the cookie to damage.
pub fn dtls_hello(input: &[u8]) {
    let Some((&[mode, damage], rest)) = input.split_first_chunk() else {
        return;
    };
    let mut datagram = rest.to_vec();
    if mode & 1 == 1 {
        frame(&mut datagram);
    }
    let hello = Hello::read(&datagram);
    assert_eq!(hello, read(&datagram));
    if let Some(hello) = hello {
        assert!(hello.version_alert().len() < datagram.len());
        cookies(&hello, datagram.len(), damage.into());
    }
}

/// Makes `bytes` a record with the beginning of a `ClientHello`.
fn frame(bytes: &mut [u8]) {
    let length = bytes.len().saturating_sub(13) as u16;
    let right = [
        (0, 22),
        (1, 0xfe),
        (3, 0),
        (4, 0),
        (13, 1),
        (19, 0),
        (20, 0),
        (21, 0),
    ];
    let lengths = [11, 12].into_iter().zip(length.to_be_bytes());
    for (at, value) in right.into_iter().chain(lengths) {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    }
}

/// Sections 4.1 and 4.2.2: places counted from the beginning of the datagram.
fn read(d: &[u8]) -> Option<Hello<'_>> {
    let number = |at: usize| Some(usize::from(*d.get(at)?) << 8 | usize::from(*d.get(at + 1)?));
    let end = 13 + number(11)?;
    let plain = d[0] == 22 && d[1] == 0xfe && number(3)? == 0;
    let begins = *d.get(13)? == 1 && d.get(19..22)? == [0, 0, 0];
    if !plain || !begins || end > d.len() || end < 25 {
        return None;
    }
    let body = &d[..end];
    let session_end = 60 + usize::from(*body.get(59)?);
    let cookie_end = session_end + 1 + usize::from(*body.get(session_end)?);
    Some(Hello {
        is_current: body[25..27] == [0xfe, 0xfd],
        sequence: &d[5..11],
        random: body[27..].first_chunk()?,
        session_id: body.get(60..session_end)?,
        cookie: body.get(session_end + 1..cookie_end)?,
    })
}

/// The answer is no longer than the question, and its cookie is good for this client alone, for
/// this hello alone, and not for ever.
fn cookies(hello: &Hello<'_>, received: usize, damage: usize) {
    let start = Instant::now();
    let cookies = Cookies::new([7; 32], start);
    let tuple = |client: &str| FiveTuple {
        client: addr(client),
        server: addr("8.8.4.4:3478"),
        transport: Transport::Dtls,
    };
    let (client, other) = (tuple("192.0.2.1:5000"), tuple("192.0.2.1:5001"));
    let later = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(cookies.verify(start, &client, hello), None, "guessed");
    let cookie = cookies.make(start, &client, hello);
    assert!(hello.verify_request(&cookie).len() < received);
    let second = Hello {
        cookie: &cookie,
        ..*hello
    };
    for seconds in [0, 29, 59] {
        let known = cookies.verify(later(seconds), &client, &second);
        assert_eq!(known, Some(cookie));
    }
    assert_eq!(cookies.verify(later(60), &client, &second), None, "too old");
    assert_eq!(cookies.verify(start, &other, &second), None);
    let mut damaged = cookie;
    damaged[damage / 8 % 32] ^= 1 << (damage % 8);
    let damaged = Hello {
        cookie: &damaged,
        ..*hello
    };
    assert_eq!(cookies.verify(start, &client, &damaged), None);
    let mut random = *hello.random;
    random[damage % 32] ^= 1;
    let another = Hello {
        random: &random,
        ..second
    };
    assert_eq!(cookies.verify(start, &client, &another), None);
}
