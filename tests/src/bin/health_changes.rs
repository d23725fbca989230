//! `health_changes`: the reports of a whole fleet, in which relays leave and come back as fast as it is
//! told.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use liveness::{Key, KeyId, Load, Report, State, Transports};
use signal_hook::consts::{SIGUSR1, SIGUSR2};
use signal_hook::flag;

/// Reports for `relay-1`, `relay-2` and so on, in a changing order, at a steady rate: all of them serve.
/// From SIGUSR1 to SIGUSR2 each report says something else than the relay's last one did: that it
/// drains or is full, or that it serves again, half of them the one and half the other at any time.
#[derive(Debug, Parser)]
struct Options {
    /// Where dnsd takes reports.
    dnsd: SocketAddr,
    /// The key that all relays sign with; its id is 1.
    key: String,
    /// Relays: the first stands at this address, each further one at the next.
    first: SocketAddrV4,
    /// How many.
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u8).range(2..=200))]
    relays: u8,
    /// Reports a second.
    #[arg(long, default_value_t = 167, value_parser = clap::value_parser!(u32).range(1..=5000))]
    rate: u32,
    /// Seconds after which it ends.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

fn main() -> ExitCode {
    let Err(error) = run(&Options::parse()) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let changing = Arc::new(AtomicBool::new(false));
    let quiet = Arc::new(AtomicBool::new(false));
    flag::register(SIGUSR1, Arc::clone(&changing))?;
    flag::register(SIGUSR2, Arc::clone(&quiet))?;
    let key = Key::new(options.key.clone().into_bytes())?;
    let socket = UdpSocket::bind((*options.first.ip(), 0))?;
    // Acknowledgements are not read: those that the kernel has no room for it drops.
    socket.connect(options.dnsd)?;
    let boot = unix_millis()?;
    let gap = Duration::from_secs(1) / options.rate;
    let begun = Instant::now();
    let mut due = begun;
    let mut order: Vec<u8> = (0..options.relays).collect();
    let mut state = 1_usize;
    for sequence in 1.. {
        // Another set of relays is out each time.
        shuffle(&mut order, &mut state);
        for relay in order.iter().copied() {
            if begun.elapsed().as_secs() >= options.seconds {
                return Ok(());
            }
            if quiet.swap(false, Ordering::Relaxed) {
                changing.store(false, Ordering::Relaxed);
            }
            let out = changing.load(Ordering::Relaxed) && (sequence + u64::from(relay)) % 2 == 1;
            let said = match (out, relay % 4 < 2) {
                (false, _) => State::Serving,
                (true, true) => State::Draining,
                (true, false) => State::Full,
            };
            let report = report(options, relay, said, (boot, sequence))?;
            // Where nobody listens yet, or any more.
            let _ = socket.send(&report.encode(KeyId(1), &key));
            due += gap;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}

/// Puts relays into another order (xorshift, Marsaglia 2003).
fn shuffle(order: &mut [u8], state: &mut usize) {
    for last in (1..order.len()).rev() {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        order.swap(last, *state % (last + 1));
    }
}

/// What a relay with little load says.
fn report(
    options: &Options,
    relay: u8,
    state: State,
    (boot, sequence): (u64, u64),
) -> Result<Report, Box<dyn std::error::Error>> {
    let ip = u32::from(*options.first.ip()) + u32::from(relay);
    Ok(Report {
        relay: format!("relay-{}", relay + 1).parse()?,
        boot,
        sequence,
        sent_at_ms: unix_millis()?,
        state,
        load: Load {
            sessions: 1,
            sessions_max: 1000,
            bits_per_second: 0,
            bits_per_second_max: 1_000_000_000,
            cpu_permille: 10,
        },
        ipv4: Some(SocketAddrV4::new(ip.into(), options.first.port())),
        ipv6: None,
        transports: Transports::UDP,
        workers: 1,
        configuration: 1,
        revocations: 0,
    })
}

fn unix_millis() -> Result<u64, Box<dyn std::error::Error>> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_millis())?)
}
