//! Values with a unit or a shape of their own: durations, bit rates, port ranges, networks.

use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use crate::value::{Scalar, Value, Wrong};

/// Units of a duration with their microseconds, largest first.
const DURATIONS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1000),
    ("us", 1),
];

/// Units of a bit rate with their bits per second, largest first.
const BIT_RATES: [(&str, u64); 4] = [
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1000),
    ("bit/s", 1),
];

/// `"<whole number><unit>"`, with or without a space between them, as a multiple of the least unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, Wrong> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let Some(factor) = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| factor)
    else {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        let close = names.iter().find(|name| name.eq_ignore_ascii_case(unit));
        return Err(match close {
            Some(name) if digits > 0 => Wrong::because("units are written with care for case")
                .write(format!("\"{number} {name}\"")),
            _ => Wrong::because(format!("the unit is one of {}", names.join(", "))),
        });
    };
    let number: u64 = number
        .parse()
        .map_err(|_| Wrong::because("the number is missing or too large"))?;
    number
        .checked_mul(*factor)
        .ok_or_else(|| Wrong::because("too large"))
}

/// The shortest way to write `amount`: in the largest unit that divides it.
fn in_units(amount: u64, units: &[(&'static str, u64)]) -> (u64, &'static str) {
    let unit = units
        .iter()
        .find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    unit.map_or_else(
        || (amount, units[units.len() - 1].0),
        |(name, factor)| (amount / factor, name),
    )
}

impl Value for Duration {
    const EXPECTED: &'static str = "a duration in quotes: a whole number with us, ms, s, m, h or d";
    const EXAMPLE: &'static str = "\"30s\"";

    fn read(scalar: Scalar<'_>) -> Result<Self, Wrong> {
        match scalar {
            Scalar::String(text) => quantity(text, &DURATIONS).map(Self::from_micros),
            Scalar::Integer(number @ 0..) => {
                Err(Wrong::because("the unit is missing").write(format!("\"{number}s\"")))
            }
            _ => Err(Wrong::default()),
        }
    }

    fn write(&self) -> String {
        let micros = u64::try_from(self.as_micros()).unwrap_or(u64::MAX);
        let (number, unit) = in_units(micros, &DURATIONS);
        format!("\"{number}{unit}\"")
    }
}

/// A bit rate, in bits per second (not bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(pub u64);

impl Value for BitRate {
    const EXPECTED: &'static str =
        "a bit rate in quotes: a whole number with bit/s, kbit/s, Mbit/s or Gbit/s";
    const EXAMPLE: &'static str = "\"100 Mbit/s\"";

    fn read(scalar: Scalar<'_>) -> Result<Self, Wrong> {
        match scalar {
            Scalar::String(text) => quantity(text, &BIT_RATES).map(Self),
            Scalar::Integer(number @ 0..) => {
                Err(Wrong::because("the unit is missing").write(format!("\"{number} Mbit/s\"")))
            }
            _ => Err(Wrong::default()),
        }
    }

    fn write(&self) -> String {
        let (number, unit) = in_units(self.0, &BIT_RATES);
        format!("\"{number} {unit}\"")
    }
}

/// Ports from `first` to `last`, both included; never empty, never port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// A range, unless it is empty or holds port 0.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first > 0 && first <= last).then_some(Self { first, last })
    }

    /// The ports as a range.
    pub fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl Value for PortRange {
    const EXPECTED: &'static str = "a port range in quotes: first-last";
    const EXAMPLE: &'static str = "\"49152-65535\"";

    fn read(scalar: Scalar<'_>) -> Result<Self, Wrong> {
        let Scalar::String(text) = scalar else {
            return Err(Wrong::default());
        };
        let (first, last) = text.split_once('-').ok_or_else(Wrong::default)?;
        let port = |text: &str| {
            let text = text.trim();
            text.parse::<u16>()
                .map_err(|_| Wrong::because(format!("{text:?} is not a port")))
        };
        let (first, last) = (port(first)?, port(last)?);
        Self::new(first, last).ok_or_else(|| match Self::new(last, first) {
            Some(turned) => Wrong::because("it ends before it begins").write(turned.write()),
            None => Wrong::because("port 0 cannot be used"),
        })
    }

    fn write(&self) -> String {
        format!("\"{}-{}\"", self.first, self.last)
    }
}

impl Value for IpNet {
    const EXPECTED: &'static str = "a network in quotes: address/prefix length";
    const EXAMPLE: &'static str = "\"192.0.2.0/24\"";

    fn read(scalar: Scalar<'_>) -> Result<Self, Wrong> {
        let Scalar::String(text) = scalar else {
            return Err(Wrong::default());
        };
        let net: Self = text
            .parse()
            .map_err(|_| match text.parse::<std::net::IpAddr>() {
                Ok(ip) => {
                    Wrong::because("the prefix length is missing").write(Self::from(ip).write())
                }
                Err(_) => Wrong::default(),
            })?;
        if net.trunc() == net {
            Ok(net)
        } else {
            // Either the address or the prefix length is not what was meant: never guess in a filter.
            Err(Wrong::because("it has bits set beyond its prefix").write(net.trunc().write()))
        }
    }

    fn write(&self) -> String {
        format!("\"{self}\"")
    }
}
