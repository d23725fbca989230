//! Which relayed ports a worker may use, and the unpredictable choice among the free ones.

use std::ops::RangeInclusive;

use rand::{Rng, RngExt};

/// One worker's share of the relayed ports.
///
/// Ports are dealt out in pairs of an even port and the odd one above it, because EVEN-PORT
/// reserves both on one host (RFC 8656 section 7.2): the owner of port `p` is worker
/// `(p / 2) mod workers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSlice {
    first: u16,
    last: u16,
    worker: u16,
    workers: u16,
    first_pair: u16,
    pairs: u16,
    count: usize,
}

/// Why ports cannot be shared so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortSliceError {
    /// The range has no ports, or begins below 1024.
    #[error("the range must not be empty and must begin at 1024 or above")]
    Range,
    /// The worker is not one of the workers.
    #[error("the worker index must be below the number of workers")]
    Worker,
    /// The range is so small that this worker gets no port.
    #[error("the range has no port for worker {worker} of {workers}")]
    Empty {
        /// The worker.
        worker: u16,
        /// Of how many.
        workers: u16,
    },
}

impl PortSlice {
    /// The share of worker `worker` (from 0) of `workers` in `range`.
    pub fn new(
        range: RangeInclusive<u16>,
        worker: u16,
        workers: u16,
    ) -> Result<Self, PortSliceError> {
        let (first, last) = range.into_inner();
        if first < 1024 || first > last {
            return Err(PortSliceError::Range);
        }
        if worker >= workers {
            return Err(PortSliceError::Worker);
        }
        let lead = (workers + worker - first / 2 % workers) % workers;
        let first_pair = first / 2 + lead;
        let mut slice = Self {
            first,
            last,
            worker,
            workers,
            first_pair,
            pairs: (last / 2 + workers).saturating_sub(first_pair) / workers,
            count: 0,
        };
        slice.count = slice.iter().count();
        if slice.count == 0 {
            return Err(PortSliceError::Empty { worker, workers });
        }
        Ok(slice)
    }

    /// Which of `workers` owns `port`.
    pub const fn owner(port: u16, workers: u16) -> u16 {
        port / 2 % workers
    }

    /// The worker whose share this is.
    pub(crate) const fn worker(&self) -> u16 {
        self.worker
    }

    /// Among how many workers the range is shared.
    pub(crate) const fn workers(&self) -> u16 {
        self.workers
    }

    /// Whether `port` is in the whole range, whichever worker owns it.
    pub const fn range_has(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether this worker owns `port`.
    pub const fn owns(&self, port: u16) -> bool {
        self.range_has(port) && Self::owner(port, self.workers) == self.worker
    }

    /// How many ports this worker owns.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The worker's ports in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (self.first..=self.last).filter(|port| self.owns(*port))
    }
}

/// What a relayed port must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parity {
    Any,
    /// EVEN-PORT without the R bit.
    Even,
    /// EVEN-PORT with the R bit: the next higher port is taken as well.
    Pair,
}

/// The ports in use on one relay address by one worker.
#[derive(Debug)]
pub(crate) struct Ports {
    /// One bit per port number.
    used: Box<[u64; Self::WORDS]>,
    count: usize,
}

impl Ports {
    const WORDS: usize = (u16::MAX as usize + 1) / 64;

    /// Random draws before the range is walked instead. With half of the ports free, one in 2^16
    /// choices gets that far.
    const DRAWS: usize = 16;

    pub(crate) fn new() -> Self {
        Self {
            used: Box::new([0; Self::WORDS]),
            count: 0,
        }
    }

    /// How many are in use.
    pub(crate) fn in_use(&self) -> usize {
        self.count
    }

    pub(crate) fn is_used(&self, port: u16) -> bool {
        self.used[usize::from(port) / 64] >> (port % 64) & 1 == 1
    }

    /// Takes a free port of `slice`, chosen so that nobody can guess it (RFC 8656 section 7.2,
    /// RFC 6056). `None` when all are in use.
    pub(crate) fn take(
        &mut self,
        slice: &PortSlice,
        parity: Parity,
        rng: &mut impl Rng,
    ) -> Option<u16> {
        let is_free = |ports: &Self, port: u16| slice.owns(port) && !ports.is_used(port);
        let fits = |ports: &Self, port: u16| {
            is_free(ports, port)
                && (parity == Parity::Any || port.is_multiple_of(2))
                && (parity != Parity::Pair || is_free(ports, port | 1))
        };
        if self.count >= slice.count {
            return None;
        }
        let mut port = slice.first;
        for _ in 0..Self::DRAWS {
            // Among the worker's own pairs, so that the number of workers costs no draws.
            let pair = slice.first_pair + rng.random_range(0..slice.pairs) * slice.workers;
            port = pair * 2 + rng.random_range(0..=1);
            if fits(self, port) {
                return Some(self.mark(port, parity));
            }
        }
        // From the last draw on, so that even a nearly full range is not walked from its start.
        let start = port.clamp(slice.first, slice.last);
        let found = (start..=slice.last)
            .chain(slice.first..start)
            .find(|port| fits(self, *port))?;
        Some(self.mark(found, parity))
    }

    fn mark(&mut self, port: u16, parity: Parity) -> u16 {
        self.set(port);
        if parity == Parity::Pair {
            self.set(port | 1);
        }
        port
    }

    fn set(&mut self, port: u16) {
        self.used[usize::from(port) / 64] |= 1 << (port % 64);
        self.count += 1;
    }

    /// Gives a port back.
    pub(crate) fn free(&mut self, port: u16) {
        debug_assert!(self.is_used(port), "port {port} freed twice");
        if self.is_used(port) {
            self.used[usize::from(port) / 64] &= !(1 << (port % 64));
            self.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;
    use std::collections::BTreeSet;

    #[test]
    fn workers_share_the_range_without_overlap_and_pairs_stay_together() {
        for workers in 1..=5 {
            let mut all = Vec::new();
            for worker in 0..workers {
                let slice = PortSlice::new(50_001..=50_100, worker, workers).unwrap();
                for port in slice.iter() {
                    assert_eq!(PortSlice::owner(port, workers), worker);
                    assert_eq!(PortSlice::owner(port ^ 1, workers), worker);
                    all.push(port);
                }
            }
            all.sort_unstable();
            assert_eq!(all, (50_001..=50_100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_port_is_given_once_and_again_after_it_is_freed() {
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        for (range, worker, workers) in [
            (65_500..=65_535, 0, 1),
            (1024..=1061, 2, 3),
            (49_153..=49_170, 1, 2),
        ] {
            let slice = PortSlice::new(range, worker, workers).unwrap();
            let mut ports = Ports::new();
            let mut given = BTreeSet::new();
            while let Some(port) = ports.take(&slice, Parity::Any, &mut rng) {
                assert!(given.insert(port), "{port} twice");
            }
            assert_eq!(given, slice.iter().collect());
            assert_eq!(ports.in_use(), given.len());
            let back = *given.first().unwrap();
            ports.free(back);
            assert_eq!(ports.take(&slice, Parity::Any, &mut rng), Some(back));
        }
    }

    #[test]
    fn even_means_even() {
        let mut rng = ChaCha12Rng::from_seed([2; 32]);
        let slice = PortSlice::new(50_000..=50_020, 0, 1).unwrap();
        let mut ports = Ports::new();
        let mut count = 0;
        while let Some(port) = ports.take(&slice, Parity::Even, &mut rng) {
            assert_eq!(port % 2, 0);
            count += 1;
        }
        assert_eq!(count, 11);
    }

    #[test]
    fn a_pair_is_two_ports_of_one_host_and_an_odd_neighbour_in_use_is_none() {
        let mut rng = ChaCha12Rng::from_seed([4; 32]);
        // 50,001 and 50,020 have no sibling in the range.
        let slice = PortSlice::new(50_001..=50_020, 0, 1).unwrap();
        let mut ports = Ports::new();
        let mut pairs = 0;
        while let Some(port) = ports.take(&slice, Parity::Pair, &mut rng) {
            assert!(port.is_multiple_of(2) && ports.is_used(port) && ports.is_used(port + 1));
            pairs += 1;
        }
        assert_eq!((pairs, ports.in_use()), (9, 18));
        ports.free(50_010);
        assert_eq!(ports.take(&slice, Parity::Pair, &mut rng), None);
        ports.free(50_011);
        assert_eq!(ports.take(&slice, Parity::Pair, &mut rng), Some(50_010));
    }

    #[test]
    fn the_choice_is_spread_over_the_whole_slice() {
        let mut rng = ChaCha12Rng::from_seed([3; 32]);
        let slice = PortSlice::new(49_152..=65_535, 1, 4).unwrap();
        let mut quarters = [0_u32; 4];
        for _ in 0..4000 {
            let port = Ports::new().take(&slice, Parity::Any, &mut rng).unwrap();
            assert!(slice.owns(port));
            quarters[usize::from((port - 49_152) / 4096)] += 1;
        }
        // A fair draw has a standard deviation of 27 here.
        assert!(
            quarters.iter().all(|n| (850..1150).contains(n)),
            "{quarters:?}"
        );
    }

    #[test]
    fn impossible_shares_are_refused() {
        assert_eq!(PortSlice::new(80..=90, 0, 1), Err(PortSliceError::Range));
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        let reversed = PortSlice::new(60_000..=50_000, 0, 1);
        assert_eq!(reversed, Err(PortSliceError::Range));
        assert_eq!(
            PortSlice::new(50_000..=50_010, 2, 2),
            Err(PortSliceError::Worker)
        );
        assert_eq!(
            PortSlice::new(50_000..=50_003, 3, 4),
            Err(PortSliceError::Empty {
                worker: 3,
                workers: 4
            })
        );
    }
}
