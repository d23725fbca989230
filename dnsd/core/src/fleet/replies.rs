//! What a relay is told in answer to its report.

use liveness::{NEIGHBOURS_MAX, Neighbour, Order, Seen};

use super::{Fleet, Reply};
use crate::health::{Override, State};
use crate::steer::Standing;

impl Fleet {
    /// How the relay is seen, what is wanted of it, and where else to send its clients.
    pub(super) fn reply(&self, index: usize, boot_floor: u64) -> Reply {
        let member = &self.members[index];
        let seen = match member.health.verdict().state {
            State::Up => Seen::Up,
            State::Suspect => Seen::Suspect,
            State::Down | State::Unknown => Seen::Down,
            State::Draining => Seen::Draining,
            State::ForcedUp | State::ForcedDown => Seen::Forced,
        };
        let order = match member.health.decision() {
            Some(Override::Drain) => Order::Drain,
            _ if member.undrain => Order::Undrain,
            _ => Order::None,
        };
        Reply {
            boot_floor,
            order,
            seen,
            neighbours: self.neighbours(index),
        }
    }

    /// Healthy relays to send this one's clients to: those of its region first, and each relay's
    /// list begins elsewhere, so that one relay's drain does not land on one neighbour.
    fn neighbours(&self, index: usize) -> [Neighbour; NEIGHBOURS_MAX] {
        let home = self.inventory.home(index);
        let count = self.members.len();
        let others = (1..count).map(|step| (index + step) % count);
        let healthy = others.filter(|other| self.members[*other].standing() == Standing::Up);
        let (near, far): (Vec<usize>, Vec<usize>) =
            healthy.partition(|other| self.inventory.home(*other) == home);
        let mut neighbours = [Neighbour::default(); NEIGHBOURS_MAX];
        for (place, other) in neighbours.iter_mut().zip(near.into_iter().chain(far)) {
            let entry = &self.inventory.relays()[other];
            *place = Neighbour {
                ipv4: entry.ipv4,
                ipv6: entry.ipv6,
            };
        }
        neighbours
    }
}
