//! The floor under a nameserver: reads datagrams and sends as many bytes as an answer has, with as few
//! system calls as there can be, and does nothing else.
//!
//! What it sends is an answer to nobody's question: the query's header and question, marked as a
//! response, with two records that are always the same.

use std::array;
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use nix::errno::Errno;
use nix::sys::prctl::set_timerslack;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg,
};

/// Datagrams of one system call: as many as dnsd takes.
const BATCH: usize = 64;
/// Room for one: an odd number of cache lines, so that those of a batch lie in different places of
/// the cache.
const SLOT: usize = 17 * 64;
/// Two A records whose owner is the question's name, and an OPT record.
const TAIL: [u8; 43] = [
    0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 203, 0, 113, 1, //
    0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 203, 0, 113, 2, //
    0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0,
];

/// A bare responder, for benchmarks.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    listen: SocketAddr,
    /// For so many microseconds it lets queries gather before it reads again, where several came.
    #[arg(long, default_value_t = 0)]
    gather: u64,
}

fn main() -> ExitCode {
    let Options { listen, gather } = Options::parse();
    let gather = Duration::from_micros(gather);
    let served =
        UdpSocket::bind(listen).and_then(|socket| serve(&socket, gather).map_err(Into::into));
    let Err(error) = served else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{listen}: {error}");
    ExitCode::FAILURE
}

/// Answers until it is killed.
fn serve(socket: &UdpSocket, gather: Duration) -> Result<(), Errno> {
    // So long may the kernel oversleep.
    set_timerslack(1)?;
    let mut incoming = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut outgoing = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut bytes = vec![0; BATCH * SLOT];
    let mut lengths = [0; BATCH];
    let mut to = [None; BATCH];
    let mut flags = MsgFlags::MSG_WAITFORONE;
    loop {
        let mut rooms = bytes.chunks_exact_mut(SLOT);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let socket = socket.as_raw_fd();
        let mut count = 0;
        match recvmmsg(socket, &mut incoming, slices.iter_mut(), flags, None) {
            Ok(datagrams) => {
                for got in datagrams {
                    (lengths[count], to[count]) = (got.bytes, got.address);
                    count += 1;
                }
            }
            Err(Errno::EAGAIN) => {}
            Err(error) => return Err(error),
        }
        let slots = bytes.chunks_exact_mut(SLOT).zip(&mut lengths);
        slots
            .take(count)
            .for_each(|(slot, length)| fill(slot, length));
        let mut slots = bytes.chunks_exact(SLOT).zip(&lengths);
        let slices: [[IoSlice<'_>; 1]; BATCH] = array::from_fn(|_| {
            let slot = slots.next().and_then(|(slot, length)| slot.get(..*length));
            [IoSlice::new(slot.unwrap_or_default())]
        });
        let (slices, to) = (&slices[..count], &to[..count]);
        let nothing: [ControlMessage<'_>; 0] = [];
        // What the kernel does not take is lost, as it would be in a network.
        let _ = sendmmsg(
            socket,
            &mut outgoing,
            slices,
            to,
            nothing,
            MsgFlags::MSG_DONTWAIT,
        );
        flags = if gather.is_zero() || count < 2 {
            MsgFlags::MSG_WAITFORONE
        } else {
            // A full batch is not the last one.
            if count < BATCH {
                thread::sleep(gather);
            }
            MsgFlags::MSG_DONTWAIT
        };
    }
}

/// Makes a query its own answer. One that has no OPT record gets one all the same.
fn fill(slot: &mut [u8], length: &mut usize) {
    const HEADER: usize = 12;
    let labels = slot.get(HEADER..*length).unwrap_or_default();
    let name = labels
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or_default();
    let question = HEADER + name + 5;
    slot[2] |= 0x84;
    slot[7] = 2;
    slot[11] = 1;
    *length = question + TAIL.len();
    if let Some(tail) = slot.get_mut(question..*length) {
        tail.copy_from_slice(&TAIL);
    }
}
