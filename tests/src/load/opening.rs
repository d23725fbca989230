//! Many clients' dances at once.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout},
};

use super::{
    LoadError,
    dance::{Progress, Step},
    datagrams::Inbox,
    plan::{Plan, Transport},
    session::Session,
    timers::{Expired, Timers},
};

/// Pause after as many messages as may be unanswered at once, where none is answered.
const UNANSWERED: Duration = Duration::from_millis(1);
/// Sockets looked at by one system call.
const EVENTS: usize = 64;

/// All clients, while they ask the server for something.
#[derive(Debug)]
pub struct Opening<'a> {
    plan: &'a Plan,
    sessions: &'a mut [Session],
    epoll: Epoll,
    timers: Timers,
    inbox: Inbox,
    /// Clients that have begun the step, and that have done it.
    begun: usize,
    done: usize,
}

impl<'a> Opening<'a> {
    /// Prepares for the clients of a plan.
    ///
    /// # Errors
    /// When a socket cannot be watched.
    pub fn new(plan: &'a Plan, sessions: &'a mut [Session]) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (token, session) in (0..).zip(&*sessions) {
            epoll.add(&session.link, EpollEvent::new(session.link.events(), token))?;
        }
        let timers = Timers::new(sessions.len(), plan.transport != Transport::Udp);
        Ok(Self {
            plan,
            sessions,
            epoll,
            timers,
            inbox: Inbox::default(),
            begun: 0,
            done: 0,
        })
    }

    /// Takes a step with every client, as many at once as the plan says.
    ///
    /// # Errors
    /// When the server refuses one, answers one badly, or not at all.
    pub fn all(&mut self, step: Step) -> Result<(), LoadError> {
        (self.begun, self.done) = (0, 0);
        let mut messages = Vec::new();
        loop {
            let end = self.sessions.len().min(self.done + self.plan.opening);
            while self.begun < end {
                self.begin(self.begun, step)?;
                self.begun += 1;
            }
            if self.done == self.sessions.len() {
                return Ok(());
            }
            if self.begun < self.sessions.len().min(self.done + self.plan.opening) {
                // Nobody answers this step, so nothing else keeps it from being a flood.
                thread::sleep(UNANSWERED);
                continue;
            }
            let mut events = [EpollEvent::empty(); EVENTS];
            let ready = self.wait(&mut events)?;
            for event in &events[..ready] {
                let index = event.data() as usize;
                let link = &mut self.sessions[index].link;
                link.receive(&mut self.inbox, |message| messages.push(message.to_vec()))?;
                if self.inbox.was_refused() {
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
                }
                for message in messages.drain(..) {
                    self.answer(index, &message)?;
                }
            }
            self.repeat()?;
        }
    }

    fn wait(&self, events: &mut [EpollEvent]) -> io::Result<usize> {
        let now = Instant::now();
        let left = self
            .timers
            .next()
            .map(|at| at.saturating_duration_since(now));
        let left = left.unwrap_or(Duration::from_secs(1)).as_millis() + 1;
        let timeout = EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX);
        match self.epoll.wait(events, timeout) {
            Ok(ready) => Ok(ready),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn begin(&mut self, index: usize, step: Step) -> io::Result<()> {
        if self.sessions[index].dance.begin(step) {
            self.timers.sent(index, Instant::now());
        } else {
            self.done += 1;
        }
        self.send(index)
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let Session { link, dance } = &mut self.sessions[index];
        match dance.request() {
            // A bare forwarder is not asked for everything.
            [] => Ok(()),
            request => link.send(request),
        }
    }

    fn answer(&mut self, index: usize, message: &[u8]) -> Result<(), LoadError> {
        match self.sessions[index].dance.answer(message)? {
            Progress::Foreign => return Ok(()),
            Progress::Done => {
                self.timers.answered(index);
                self.done += 1;
                return Ok(());
            }
            Progress::Again => {}
            Progress::Elsewhere => {
                let session = &mut self.sessions[index];
                session.reopen(self.plan, index)?;
                let event = EpollEvent::new(session.link.events(), index as u64);
                self.epoll
                    .add(&session.link, event)
                    .map_err(io::Error::from)?;
            }
        }
        self.timers.sent(index, Instant::now());
        Ok(self.send(index)?)
    }

    /// Sends again what was not answered in time.
    fn repeat(&mut self) -> Result<(), LoadError> {
        while let Some(expired) = self.timers.expired(Instant::now()) {
            match expired {
                Expired::Repeat(index) => self.send(index)?,
                Expired::Silent => return Err(LoadError::Silent),
            }
        }
        Ok(())
    }
}
