//! The command line of local-cluster.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;

/// Largest port offset: every shifted service port stays below the relay ports (49152 and up).
const MAX_PORT_OFFSET: u16 = 39_000;
/// Most relays one loopback cluster starts; each is a process of its own.
const MAX_RELAYS: u8 = 24;

/// A whole Turnfleet cluster on this machine: relays of three vendors in two regions and two
/// name servers, each a process of its own on its own loopback address.
#[derive(Debug, Clone, Parser)]
#[command(name = "local-cluster", version)]
pub struct Options {
    /// Directory for configuration files, logs and state [default: `target/local-cluster`]
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,

    /// How many relays to start, spread over two regions and three vendors
    #[arg(long, value_name = "N", default_value_t = 6,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_RELAYS)))]
    pub relays: u8,

    /// First two numbers of every address used, so that clusters can run side by side
    #[arg(long, value_name = "127.N", default_value = "127.0")]
    pub net: Net,

    /// Added to every service port (3478, 8080, 9641, 5300, 5301, 5302, 9653)
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u16).range(0..=i64::from(MAX_PORT_OFFSET)))]
    pub port_offset: u16,

    /// Stop by itself after this long, counted from the moment all is up: 30s, 5m, 1h
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub run_for: Option<Duration>,

    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub json: bool,

    /// Take turnd and dnsd from this directory instead of building them
    #[arg(long, value_name = "PATH")]
    pub daemons: Option<PathBuf>,
}

/// The first two numbers of a loopback address: `127.77` stands for 127.77.0.0/16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net(u8);

impl Net {
    /// The network 127.`n`.0.0/16.
    pub const fn new(n: u8) -> Self {
        Self(n)
    }

    /// The address 127.n.`third`.`fourth`.
    pub const fn address(self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, third, fourth)
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "127.{}", self.0)
    }
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_prefix("127.")
            .and_then(|n| n.parse().ok())
            .map(Self)
            .ok_or_else(|| "expected 127.N with N from 0 to 255, such as 127.77".to_owned())
    }
}

/// Reads `500ms`, `30s`, `5m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and a unit: 500ms, 30s, 5m, 1h".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let one = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        _ => return Err(wrong()),
    };
    Ok(one * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_networks_are_read_strictly() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "30", "s", "-1s", "1.5s", "99999999999s", "3 s"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!("127.77".parse(), Ok(Net(77)));
        for wrong in ["127", "127.", "127.256", "127.1.2", "10.0", "127.-1"] {
            assert!(wrong.parse::<Net>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn limits_are_usage_errors() {
        let parse = |args: &[&str]| Options::try_parse_from([&["local-cluster"], args].concat());
        assert!(parse(&[]).is_ok());
        assert!(parse(&["--relays", "0"]).is_err());
        assert!(parse(&["--relays", "25"]).is_err());
        assert!(parse(&["--port-offset", "39001"]).is_err());
    }
}
