//! A value for every address of a family: sorted ranges, merged where neighbours have the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// What a range stands for; what it means is the owner's affair.
pub(super) type Value = u8;

/// Where each value begins, in rising order; addresses are numbers.
pub(super) type Steps = Vec<(u128, Value)>;

/// The ranges of both families.
#[derive(Clone, Debug)]
pub(super) struct Ranges {
    v4: Family<u32>,
    v6: Family<u128>,
}

/// What is found for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) value: Value,
    /// The length of the shortest prefix of the address all of whose addresses have this value.
    pub(super) bits: u8,
}

impl Ranges {
    /// Ranges by where each value begins, for IPv4 and for IPv6. What lies before has `first`.
    pub(super) fn new([v4, v6]: [Steps; 2], first: Value) -> Self {
        Self {
            v4: Family::new(
                v4.into_iter().map(|(start, value)| (start as u32, value)),
                first,
            ),
            v6: Family::new(v6.into_iter(), first),
        }
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.v4.starts.len() + self.v6.starts.len()
    }

    pub(super) fn find(&self, address: IpAddr) -> Found {
        match address {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits(), 32),
            IpAddr::V6(v6) => self.v6.find(v6.to_bits(), 128),
        }
    }
}

/// Numbers and values apart, so that a look-up touches little memory.
#[derive(Clone, Debug)]
struct Family<K> {
    /// Begins with 0.
    starts: Box<[K]>,
    values: Box<[Value]>,
}

impl<K: Copy + Ord + Default + Into<u128>> Family<K> {
    fn new(steps: impl Iterator<Item = (K, Value)>, first: Value) -> Self {
        let (mut starts, mut values) = (vec![K::default()], vec![first]);
        for (start, value) in steps {
            let last = starts.len() - 1;
            if starts[last] == start {
                values[last] = value;
                // It may now be what its neighbour is.
                if last > 0 && values[last - 1] == value {
                    starts.pop();
                    values.pop();
                }
            } else if values[last] != value {
                starts.push(start);
                values.push(value);
            }
        }
        Self {
            starts: starts.into(),
            values: values.into(),
        }
    }

    fn find(&self, address: K, width: u8) -> Found {
        // The first range begins with the lowest address.
        let next = self.starts.partition_point(|start| *start <= address);
        let index = next.saturating_sub(1);
        let begins: u128 = self.starts[index].into();
        let address = address.into();
        // A prefix must be longer than what it has in common with an address outside.
        let beyond = |outside: u128| {
            let same = (address ^ outside).leading_zeros() as u8 - (128 - width);
            same + 1
        };
        let before = begins.checked_sub(1).map_or(0, beyond);
        let after = self
            .starts
            .get(next)
            .map_or(0, |start| beyond((*start).into()));
        Found {
            value: self.values[index],
            bits: before.max(after),
        }
    }
}

/// Lays networks over one another, each over those before it, in steps of each family; `None`
/// where there are none. Networks either hold one another or have nothing in common.
pub(super) fn paint(
    networks: impl Iterator<Item = (IpNet, Value)>,
) -> [Vec<(u128, Option<Value>)>; 2] {
    let mut families = [(); 2].map(|()| BTreeMap::from([(0, None)]));
    for (network, value) in networks {
        let (first, last) = bounds(network);
        let steps = &mut families[usize::from(network.addr().is_ipv6())];
        let behind = last.checked_add(1);
        let beyond = behind.and_then(|behind| {
            let (_, value) = steps.range(..=behind).next_back()?;
            Some((behind, *value))
        });
        let inside: Vec<u128> = steps.range(first..=last).map(|(start, _)| *start).collect();
        for start in inside {
            steps.remove(&start);
        }
        steps.insert(first, Some(value));
        steps.extend(beyond);
    }
    // What lies behind the last IPv4 address is none.
    families[0].remove(&(1 << 32));
    families.map(|steps| steps.into_iter().collect())
}

/// `over` where it has something, else `base`.
pub(super) fn overlay(base: &Steps, over: &[(u128, Option<Value>)], none: Value) -> Steps {
    let (mut below, mut above) = (none, None);
    let (mut base, mut over) = (base.iter().peekable(), over.iter().peekable());
    let mut steps = Steps::new();
    loop {
        let next = [
            base.peek().map(|step| step.0),
            over.peek().map(|step| step.0),
        ];
        let Some(start) = next.into_iter().flatten().min() else {
            return steps;
        };
        if let Some((_, value)) = base.next_if(|step| step.0 == start) {
            below = *value;
        }
        if let Some((_, value)) = over.next_if(|step| step.0 == start) {
            above = *value;
        }
        steps.push((start, above.unwrap_or(below)));
    }
}

/// A network's first and last address, as numbers.
pub(super) fn bounds(network: IpNet) -> (u128, u128) {
    match network {
        IpNet::V4(v4) => (
            v4.network().to_bits().into(),
            v4.broadcast().to_bits().into(),
        ),
        IpNet::V6(v6) => (v6.network().to_bits(), v6.broadcast().to_bits()),
    }
}
