//! What a peer has got of a train, which it sends back only when it has all of it.

use super::{payload::Stamp, tally::COUNTS};

/// The packets of one allocation's train that its peer waits with.
#[derive(Debug, Clone, Default)]
pub struct Train {
    held: Vec<Stamp>,
}

impl Train {
    /// Takes in a packet where trains have `size`; `leave` gets each packet of a train that is
    /// complete, or overtaken by another one: then a packet of it was lost.
    pub fn push(&mut self, stamp: Stamp, size: u32, mut leave: impl FnMut(Stamp)) {
        let number = |stamp: &Stamp| (stamp.sequence & !COUNTS) / u64::from(size.max(1));
        if self
            .held
            .first()
            .is_some_and(|first| number(first) != number(&stamp))
        {
            self.release(&mut leave);
        }
        self.held.push(stamp);
        if self.held.len() >= size as usize {
            self.release(leave);
        }
    }

    /// Lets go what is held, complete or not.
    pub fn release(&mut self, leave: impl FnMut(Stamp)) {
        self.held.drain(..).for_each(leave);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What leaves, as (sequence numbers) at each of the packets that come.
    fn leaving(size: u32, came: &[u64]) -> Vec<Vec<u64>> {
        let mut train = Train::default();
        let steps = came.iter().map(|&sequence| {
            let (flow, sent) = (0, 0);
            let sequence = sequence | COUNTS;
            let stamp = Stamp {
                flow,
                sequence,
                sent,
            };
            let mut left = Vec::new();
            train.push(stamp, size, |stamp| left.push(stamp.sequence & !COUNTS));
            left
        });
        steps.collect()
    }

    #[test]
    fn a_train_leaves_with_its_last_packet_in_whatever_order_they_came() {
        let nothing = Vec::new;
        let wanted = vec![nothing(), nothing(), vec![4, 3, 5]];
        assert_eq!(leaving(3, &[4, 3, 5]), wanted);
        assert_eq!(leaving(1, &[0, 1]), vec![vec![0], vec![1]]);
    }

    #[test]
    fn what_is_left_of_a_train_leaves_before_the_next() {
        let nothing = Vec::new;
        assert_eq!(
            leaving(3, &[0, 2, 3]),
            vec![nothing(), nothing(), vec![0, 2]]
        );
        let (complete, rest) = (vec![3, 4, 5], vec![0]);
        assert_eq!(
            leaving(3, &[0, 3, 4, 5]),
            vec![nothing(), rest, nothing(), complete]
        );
    }
}
