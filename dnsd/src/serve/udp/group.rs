//! Which socket of an address a datagram waits in: one that shows a cookie as we make them does not
//! wait with all the others, so that whoever floods without one crowds nobody out who has one.
//!
//! The UDP sockets of an address are one `SO_REUSEPORT` group. The kernel numbers them in the order
//! in which they were bound, and a program in its packet filter's language picks the number: worker
//! `n` has the sockets `2 n`, for most, and `2 n + 1`, for those. What the numbers need, hand-overs
//! included:
//!
//! * The first socket is bound before others may share the address, so no stranger has number 0; all
//!   that a predecessor had are taken in their order, and only then more are bound. None is closed,
//!   however few workers there are now (the kernel would move the last one to its number), but
//!   further ones are dealt nothing.
//! * So the sockets of a daemon that has begun to take over, and fails, are the last ones: when they
//!   are gone, the others have the numbers that they had.
//! * Whoever answers alone sets the program anew. Until then that of another number of workers may be
//!   in force, or none: then the kernel deals by hash, as it does where a number is none. That is
//!   worse, but every socket has a reader at all times.

use std::io;
use std::net::UdpSocket;

use nix::libc::{
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_IND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_LEN,
    BPF_MISC, BPF_MOD, BPF_MUL, BPF_RET, BPF_SUB, BPF_TAX, BPF_W, SKF_AD_OFF, SKF_AD_RANDOM,
    sock_filter, sock_fprog,
};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::AttachReusePortCbpf;

use crate::serve::cookie;

/// Sockets of a worker for each address.
pub const SOCKETS: usize = 2;

/// Length of the shortest query that can end with such a cookie: header, question for the root, OPT
/// record.
const SHORTEST: usize = 12 + 5 + 11 + cookie::OPTION;

/// The UDP sockets of one address.
#[derive(Debug)]
pub struct Group {
    /// Any of them.
    socket: UdpSocket,
    workers: usize,
}

impl Group {
    /// The group that a socket belongs to, for so many workers.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn of(socket: &UdpSocket, workers: usize) -> io::Result<Self> {
        let socket = socket.try_clone()?;
        Ok(Self { socket, workers })
    }

    /// Whether the socket with this number is for those who show a cookie, with so many workers.
    #[must_use]
    pub fn is_preferred(number: usize, workers: usize) -> bool {
        number < SOCKETS * workers && number % SOCKETS == 1
    }

    /// Has the kernel deal datagrams so from now on.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn deal(&self) -> io::Result<()> {
        let mut program = program(self.workers as u32);
        let program = sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        Ok(setsockopt(&self.socket, AttachReusePortCbpf, &program)?)
    }
}

/// Returns a socket's number for a datagram, whose payload it is run on. The worker is drawn: neither
/// a client's address nor its port says which. Reading past the end returns 0.
fn program(workers: u32) -> [sock_filter; 16] {
    let say = |code, k| sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    // Goes on where it holds, else to the draw for all others, which is the eleventh.
    let only_if = |at: u8, code, k| sock_filter {
        jf: 10 - at,
        ..say(BPF_JMP | code | BPF_K, k)
    };
    let draw = |preferred| {
        let random = SKF_AD_OFF + SKF_AD_RANDOM;
        [
            say(BPF_LD | BPF_W | BPF_ABS, random.cast_unsigned()),
            say(BPF_ALU | BPF_MOD | BPF_K, workers),
            say(BPF_ALU | BPF_MUL | BPF_K, SOCKETS as u32),
            say(BPF_ALU | BPF_ADD | BPF_K, preferred),
            say(BPF_RET | BPF_A, 0),
        ]
    };
    let [p0, p1, p2, p3, p4] = draw(1);
    let [o0, o1, o2, o3, o4] = draw(0);
    [
        say(BPF_LD | BPF_W | BPF_LEN, 0),
        only_if(1, BPF_JGE, SHORTEST as u32),
        say(BPF_ALU | BPF_SUB | BPF_K, cookie::OPTION as u32),
        say(BPF_MISC | BPF_TAX, 0),
        say(BPF_LD | BPF_W | BPF_IND, 0),
        only_if(5, BPF_JEQ, u32::from_be_bytes(cookie::HEAD)),
        p0,
        p1,
        p2,
        p3,
        p4,
        o0,
        o1,
        o2,
        o3,
        o4,
    ]
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::super::Listener;
    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 31, 1);
    /// Neither is a query: the program looks at where a cookie would be, and at the length.
    const PLAIN: &[u8] = &[7; 80];
    const ROUNDS: usize = 400;

    fn shown() -> Vec<u8> {
        [&[7; 52][..], &[0, 10, 0, 24], &[8; 24]].concat()
    }

    fn more(sockets: &mut Vec<UdpSocket>, to: usize) {
        while sockets.len() < to {
            let address = match sockets.first() {
                None => SocketAddr::from((HOST, 0)),
                Some(first) => first.local_addr().expect("an address"),
            };
            let bound = Listener::bind(address, sockets.is_empty());
            sockets.push(bound.expect("a socket"));
        }
    }

    fn group(sockets: usize) -> Vec<UdpSocket> {
        let mut all = Vec::new();
        more(&mut all, sockets);
        all
    }

    fn deal(sockets: &[UdpSocket], workers: usize) {
        let group = Group::of(&sockets[0], workers).expect("a descriptor");
        group.deal().expect("a program");
    }

    /// How many of a number of datagrams come to each socket.
    fn dealt(sockets: &[UdpSocket], datagram: &[u8], from: Ipv4Addr) -> Vec<usize> {
        let sender = UdpSocket::bind((from, 0)).expect("a socket");
        let to = sockets[0].local_addr().expect("an address");
        let mut counts = vec![0; sockets.len()];
        for _ in 0..ROUNDS {
            sender.send_to(datagram, to).expect("sent");
            // On this machine's own network it is there when it is sent.
            for (socket, count) in sockets.iter().zip(&mut counts) {
                while socket.recv(&mut [0; 128]).is_ok() {
                    *count += 1;
                }
            }
        }
        assert_eq!(counts.iter().sum::<usize>(), ROUNDS, "{counts:?}");
        counts
    }

    /// That each worker has about its share, whoever sends, and nothing comes elsewhere.
    fn dealt_among(sockets: &[UdpSocket], workers: usize) {
        for last in 1..=3 {
            let from = Ipv4Addr::new(127, 0, 31, last);
            for (datagram, preferred) in [(PLAIN, false), (&shown()[..], true)] {
                let counts = dealt(sockets, datagram, from);
                for (number, count) in counts.iter().enumerate() {
                    let its = number < SOCKETS * workers
                        && Group::is_preferred(number, workers) == preferred;
                    let share = ROUNDS / workers;
                    let fits = if its {
                        // Far beyond what chance does.
                        (share / 2..=share * 2).contains(count)
                    } else {
                        *count == 0
                    };
                    assert!(fits, "{preferred}: {counts:?} of {workers} workers");
                }
            }
        }
    }

    #[test]
    fn who_shows_a_cookie_waits_apart_and_every_worker_has_its_share() {
        for workers in 1..=4 {
            let sockets = group(SOCKETS * workers);
            deal(&sockets, workers);
            dealt_among(&sockets, workers);
        }
    }

    #[test]
    fn only_a_cookie_as_we_make_them_at_the_very_end_counts() {
        let sockets = group(SOCKETS);
        deal(&sockets, 1);
        let preferred = |datagram: &[u8]| dealt(&sockets, datagram, HOST)[1] == ROUNDS;
        let shown = shown();
        assert!(preferred(&shown));
        assert!(preferred(&shown[shown.len() - SHORTEST..]));
        assert!(!preferred(&shown[shown.len() - SHORTEST + 1..]));
        assert!(!preferred(&[&shown[..], &[0]].concat()));
        assert!(!preferred(&shown[..shown.len() - 1]));
        for at in shown.len() - cookie::OPTION..shown.len() - cookie::OPTION + 4 {
            let mut other = shown.clone();
            other[at] ^= 1;
            assert!(!preferred(&other), "{at}");
        }
        // Nothing that a query has is shorter; here it must not go astray either.
        assert!(!preferred(&[]) && !preferred(&[0; 4]) && !preferred(&[0; 27]));
    }

    #[test]
    fn numbers_stay_through_every_change_of_workers() {
        let mut sockets = group(SOCKETS);
        deal(&sockets, 1);
        // More join, and are dealt nothing before it is said.
        more(&mut sockets, 3 * SOCKETS);
        dealt_among(&sockets, 1);
        deal(&sockets, 3);
        dealt_among(&sockets, 3);
        // Who had joined last fails, and its sockets go, in whatever order: what it had said leads
        // nowhere and nothing is lost; then what is said again holds.
        more(&mut sockets, 5 * SOCKETS);
        deal(&sockets, 5);
        for leaving in [6, 7, 7, 6] {
            sockets.remove(leaving);
            dealt(&sockets, PLAIN, HOST);
            dealt(&sockets, &shown(), HOST);
        }
        deal(&sockets, 3);
        dealt_among(&sockets, 3);
        // Fewer workers keep them all.
        deal(&sockets, 2);
        dealt_among(&sockets, 2);
    }

    #[test]
    fn nobody_else_is_number_0() {
        let sockets = group(SOCKETS);
        let address = sockets[0].local_addr().expect("an address");
        let other = Listener::bind(address, true).expect_err("taken");
        assert_eq!(other.kind(), io::ErrorKind::AddrInUse);
    }
}
