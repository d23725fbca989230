//! Sockets that have something to read, in the order they are served.
//!
//! `epoll` tells of a socket once (edge-triggered): one that is left before it is drained has to be
//! remembered here, or its datagrams would wait for the next one to arrive.

use std::collections::VecDeque;

use mio::Token;

/// A queue in which each socket stands at most once.
#[derive(Debug, Default)]
pub(super) struct Ready {
    queue: VecDeque<Token>,
    queued: Vec<bool>,
}

impl Ready {
    /// Adds a socket at the end, unless it waits already.
    pub(super) fn push(&mut self, token: Token) {
        if self.queued.len() <= token.0 {
            self.queued.resize(token.0 + 1, false);
        }
        if !std::mem::replace(&mut self.queued[token.0], true) {
            self.queue.push_back(token);
        }
    }

    /// The socket that waits longest.
    pub(super) fn pop(&mut self) -> Option<Token> {
        let token = self.queue.pop_front()?;
        self.queued[token.0] = false;
        Some(token)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_waits_once_and_in_order() {
        let mut ready = Ready::default();
        for token in [3, 1, 3, 2, 1] {
            ready.push(Token(token));
        }
        assert_eq!(ready.len(), 3);
        assert_eq!(ready.pop(), Some(Token(3)));
        ready.push(Token(3));
        let rest: Vec<_> = std::iter::from_fn(|| ready.pop()).collect();
        assert_eq!(rest, [Token(1), Token(2), Token(3)]);
        assert!(ready.is_empty());
    }
}
