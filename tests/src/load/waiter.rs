//! Waits for sockets, and for a time told in less than milliseconds.

use std::{
    io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};

/// Sockets told of at once.
const EVENTS: usize = 64;
/// What is due sooner is waited for awake: to go to sleep and come back takes as long.
const AWAKE: Duration = Duration::from_micros(15);
/// The timer's token.
const TIMER: u64 = u64::MAX;

/// Many sockets and a timer.
#[derive(Debug)]
pub struct Waiter {
    epoll: Epoll,
    timer: TimerFd,
    /// What the timer was last set to.
    wakes: Option<Instant>,
    events: [EpollEvent; EVENTS],
    spin: bool,
    /// Time spent awake without anything to do.
    pub idled: Duration,
}

impl Waiter {
    /// One that watches nothing yet. It never sleeps where it is to `spin`: then nobody who sends to
    /// this program has to wake it.
    ///
    /// # Errors
    /// When the system gives no more files.
    pub fn new(spin: bool) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        // Each expiry is one edge, so that nobody has to read it.
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&timer, EpollEvent::new(edge, TIMER))?;
        Ok(Self {
            epoll,
            timer,
            wakes: None,
            events: [EpollEvent::empty(); EVENTS],
            spin,
            idled: Duration::ZERO,
        })
    }

    /// Watches a socket.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn watch(&self, socket: impl AsFd, events: EpollFlags, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(events, token))?)
    }

    /// Waits for sockets until `next`; returns how many have something.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn wait(&mut self, next: Instant) -> io::Result<usize> {
        let began = Instant::now();
        let left = next.saturating_duration_since(began);
        let awake = self.spin || left < AWAKE;
        let timeout = if awake {
            EpollTimeout::ZERO
        } else {
            if self.wakes != Some(next) {
                self.wakes = Some(next);
                let once = Expiration::OneShot(left.into());
                self.timer.set(once, TimerSetTimeFlags::empty())?;
            }
            EpollTimeout::NONE
        };
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(0) if awake && !left.is_zero() => {
                self.idled += began.elapsed();
                Ok(0)
            }
            Ok(ready) => Ok(ready),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// The token of a socket that has something, by its place among those of the last wait; `None`
    /// for the timer.
    pub fn token(&self, place: usize) -> Option<u64> {
        let token = self.events[place].data();
        (token != TIMER).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_time_comes_and_so_does_a_datagram() {
        for spin in [false, true] {
            let mut waiter = Waiter::new(spin).unwrap();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            waiter.watch(&socket, EpollFlags::EPOLLIN, 7).unwrap();
            let next = Instant::now() + Duration::from_millis(3);
            while Instant::now() < next {
                for place in 0..waiter.wait(next).unwrap() {
                    assert_eq!(waiter.token(place), None);
                }
            }
            assert!(!spin || !waiter.idled.is_zero());
            let address = socket.local_addr().unwrap();
            socket.send_to(b"?", address).unwrap();
            let next = Instant::now() + Duration::from_mins(1);
            while waiter.wait(next).unwrap() == 0 {}
            assert_eq!(waiter.token(0), Some(7));
        }
    }
}
