//! How large a simulated world is.

use super::queue::Random;

/// How large a world is, drawn from its seed.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub relays: usize,
    pub nodes: usize,
    pub clients: usize,
}

impl Size {
    pub fn drawn(random: &mut Random) -> Self {
        let nodes = [1, 2, 3, 3, 3, 4, 5, 5, 7, 9][random.below(10) as usize];
        let (relays, clients) = match random.below(100) {
            0 => (100 + random.below(201), 3000),
            1..5 => (20 + random.below(41), 1000),
            _ => (4 + random.below(7), 200),
        };
        Self {
            relays: relays as usize,
            nodes,
            clients,
        }
    }

    /// Whether it is so large that its time is made shorter.
    pub fn is_large(self) -> bool {
        self.relays >= 100
    }
}
