//! One direction of a link: the bytes that wait, and whether more will come.

use std::io::{self, ErrorKind, Write};

use super::limits::WAITING;

/// Emptied buffers keep up to this much memory, in bytes.
const KEPT: usize = 4096;

/// Bytes on their way from one side to the other. None is ever dropped while both sides live.
#[derive(Debug, Default)]
pub struct Half {
    bytes: Vec<u8>,
    written: usize,
    /// Its source has said that nothing more comes.
    ended: bool,
    /// Its sink was told so, or takes nothing more.
    shut: bool,
}

impl Half {
    /// One that begins with `bytes`.
    pub fn new(bytes: Vec<u8>, ended: bool) -> Self {
        Self {
            bytes,
            written: 0,
            ended,
            shut: false,
        }
    }

    /// Whether its source is read from.
    pub fn wants(&self) -> bool {
        !self.ended && self.waiting() < WAITING
    }

    fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Nothing more comes; what waits is still to be written.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Its sink is gone, and with it what waits.
    pub fn fail(&mut self) {
        *self = Self {
            ended: true,
            shut: true,
            ..Self::default()
        };
    }

    /// Whether it is over.
    pub fn is_shut(&self) -> bool {
        self.shut
    }

    /// Whether its sink has to be told that nothing more comes.
    pub fn is_drained(&self) -> bool {
        self.ended && !self.shut && self.waiting() == 0
    }

    /// The sink was told.
    pub fn shut(&mut self) {
        self.shut = true;
    }

    /// Writes what waits, as much as `sink` takes. Says whether it took any.
    pub fn write(&mut self, sink: &mut impl Write) -> bool {
        if self.shut {
            return false;
        }
        let before = self.written;
        let result = self.try_write(sink);
        let moved = self.written > before;
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.fail(),
        }
        self.bytes.drain(..self.written);
        self.written = 0;
        self.bytes.shrink_to(KEPT);
        moved
    }

    fn try_write(&mut self, sink: &mut impl Write) -> io::Result<()> {
        while self.waiting() > 0 {
            match sink.write(self.bytes.get(self.written..).unwrap_or_default()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => self.written += taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        sink.flush()
    }
}
