//! All allocations of a worker and every index of them: the only place that inserts and removes.

use std::cell::Cell;
use std::hash::BuildHasher;
use std::time::Instant;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::address::{AllocationId, FiveTuple};
use crate::allocation::{Allocation, Phase};
use crate::deadline::Deadlines;

/// Begins a cache line: looking for an allocation touches no other's.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Slot {
    generation: u32,
    allocation: Option<Allocation>,
}

// Five lines, the last of which packets do not need.
const _: () = assert!(size_of::<Slot>() == 320);

/// The allocations.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_tuple: HashTable<u32>,
    hasher: FixedState,
    deadlines: Deadlines,
    opening: usize,
    /// The slot found last: a train's datagrams all come from one five-tuple.
    latest: Cell<u32>,
}

impl Table {
    /// An empty table with room for `capacity`, so that it does not move while it serves.
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        Self {
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            by_tuple: HashTable::with_capacity(capacity),
            hasher: FixedState::with_seed(seed),
            deadlines: Deadlines::default(),
            opening: 0,
            latest: Cell::new(0),
        }
    }

    /// The allocation of a five-tuple: the one hash look-up of a relayed packet, or of a train.
    #[inline]
    pub(crate) fn find(&self, tuple: &FiveTuple) -> Option<AllocationId> {
        let serves = |slot: &u32| {
            let slot = self.slots.get(*slot as usize);
            let allocation = slot.and_then(|slot| slot.allocation.as_ref());
            allocation.is_some_and(|a| a.tuple == *tuple && a.phase != Phase::Away)
        };
        let latest = self.latest.get();
        if serves(&latest) {
            return Some(self.id(latest));
        }
        let slot = *self.by_tuple.find(self.hasher.hash_one(tuple), serves)?;
        self.latest.set(slot);
        Some(self.id(slot))
    }

    fn id(&self, slot: u32) -> AllocationId {
        AllocationId {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    /// The allocation that `id` names, unless it is gone.
    #[inline]
    pub(crate) fn get(&self, id: AllocationId) -> Option<&Allocation> {
        let slot = self.slots.get(id.slot())?;
        slot.allocation
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    /// The same, to change all but its five-tuple and its phase.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: AllocationId) -> Option<&mut Allocation> {
        let slot = self.slots.get_mut(id.slot())?;
        slot.allocation
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    /// Live allocations, with those being opened and those whose client is away.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Allocations being opened.
    pub(crate) fn opening(&self) -> usize {
        self.opening
    }

    /// Slots ever used.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Deadlines registered.
    pub(crate) fn deadlines(&self) -> usize {
        self.deadlines.len()
    }

    /// Adds an allocation that is being opened; its five-tuple must be free.
    pub(crate) fn insert(&mut self, allocation: Allocation) -> AllocationId {
        debug_assert!(self.find(&allocation.tuple).is_none());
        debug_assert!(allocation.phase != Phase::Open && allocation.armed.is_none());
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].allocation = Some(allocation);
        self.index(slot);
        self.opening += 1;
        let id = self.id(slot);
        self.arm(id);
        id
    }

    fn index(&mut self, slot: u32) {
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash_of = |slot: &u32| {
            let allocation = slots[*slot as usize].allocation.as_ref();
            allocation.map_or(0, |a| hasher.hash_one(a.tuple))
        };
        self.by_tuple.insert_unique(hash_of(&slot), slot, hash_of);
    }

    fn unindex(&mut self, tuple: FiveTuple, slot: u32) {
        let hash = self.hasher.hash_one(tuple);
        if let Ok(entry) = self.by_tuple.find_entry(hash, |other| *other == slot) {
            entry.remove();
        } else {
            debug_assert!(false, "slot {slot} was not indexed");
        }
    }

    /// Moves an open allocation to another five-tuple, which must be free. The old one is at once.
    pub(crate) fn relocate(&mut self, id: AllocationId, tuple: FiveTuple) {
        debug_assert!(self.find(&tuple).is_none());
        self.detach(id);
        if let Some(allocation) = self.get_mut(id)
            && allocation.phase == Phase::Away
        {
            allocation.tuple = tuple;
            allocation.phase = Phase::Open;
            self.index(id.slot);
        }
    }

    /// Frees the five-tuple of an open allocation, which is found by its id alone from then on.
    pub(crate) fn detach(&mut self, id: AllocationId) {
        if let Some(allocation) = self.get_mut(id)
            && allocation.phase == Phase::Open
        {
            allocation.phase = Phase::Away;
            let tuple = allocation.tuple;
            self.unindex(tuple, id.slot);
        }
    }

    /// Notes that the relay sockets are open.
    pub(crate) fn set_open(&mut self, id: AllocationId) {
        if let Some(allocation) = self.get_mut(id)
            && allocation.phase == Phase::Opening
        {
            allocation.phase = Phase::Open;
            self.opening -= 1;
        }
    }

    /// Takes an allocation out of every index; its slot gets a new generation.
    pub(crate) fn remove(&mut self, id: AllocationId) -> Option<Allocation> {
        self.get(id)?;
        let allocation = self.slots[id.slot()].allocation.take()?;
        if allocation.phase != Phase::Away {
            self.unindex(allocation.tuple, id.slot);
        }
        self.deadlines.replace(id.slot, allocation.armed, None);
        if allocation.phase == Phase::Opening {
            self.opening -= 1;
        }
        let slot = &mut self.slots[id.slot()];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(allocation)
    }

    /// Registers the allocation's deadline anew, after anything about its times has changed.
    pub(crate) fn arm(&mut self, id: AllocationId) {
        let Some(allocation) = self.get_mut(id) else {
            return;
        };
        let (old, new) = (allocation.armed, Some(allocation.deadline()));
        allocation.armed = new;
        self.deadlines.replace(id.slot, old, new);
    }

    /// The earliest deadline.
    pub(crate) fn first_due(&self) -> Option<(Instant, AllocationId)> {
        let (at, slot) = self.deadlines.first()?;
        Some((at, self.id(slot)))
    }

    /// The allocation in `slot`, if any.
    pub(crate) fn at_slot(&self, slot: usize) -> Option<AllocationId> {
        let taken = self.slots.get(slot)?.allocation.is_some();
        taken.then(|| self.id(slot as u32))
    }

    /// Panics if the indexes contradict each other.
    pub(crate) fn check_invariants(&self) {
        let mut live = 0;
        let mut away = 0;
        let mut opening = 0;
        for slot in 0..self.slots.len() {
            let Some(allocation) = &self.slots[slot].allocation else {
                assert!(self.free.contains(&(slot as u32)), "slot {slot} is lost");
                continue;
            };
            live += 1;
            let is_opening = allocation.phase == Phase::Opening;
            let is_away = allocation.phase == Phase::Away;
            opening += usize::from(is_opening);
            away += usize::from(is_away);
            let found = self.find(&allocation.tuple).map(AllocationId::slot);
            assert_eq!(found == Some(slot), !is_away, "five-tuple wrongly indexed");
            assert!(!is_away || allocation.terms.mobility.is_some());
            let armed = allocation.armed.expect("every allocation ends some day");
            assert!(self.deadlines.has(slot as u32, armed));
            assert!(armed <= allocation.deadline());
            assert!(allocation.leases().next().is_some(), "nothing is relayed");
            assert_eq!(allocation.opening().next().is_some(), is_opening);
            let first = allocation.leases().map(|lease| lease.expires).min();
            assert!(is_opening || first == Some(allocation.expires));
            allocation.peers.check_invariants();
        }
        assert_eq!(live - away, self.by_tuple.len());
        assert_eq!(live, self.deadlines.len());
        assert_eq!(opening, self.opening);
        assert_eq!(live + self.free.len(), self.slots.len());
    }

    /// The relayed addresses of all allocations, for invariants across modules.
    pub(crate) fn allocations(&self) -> impl Iterator<Item = &Allocation> {
        self.slots
            .iter()
            .filter_map(|slot| slot.allocation.as_ref())
    }
}
