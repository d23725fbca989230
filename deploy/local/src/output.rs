//! Where events go: to people on a [`Screen`], or to programs as one JSON object per line.

use std::io::{self, Write as _, stdout};

use crate::event::{Event, RelayFacts, Stamped};
use crate::failure::Failure;
use crate::guide::guide;
use crate::screen::Screen;

/// The one way out of this program.
#[derive(Debug)]
pub enum Output {
    /// Text for people.
    Screen(Box<Screen>),
    /// JSON lines for programs.
    Json,
}

impl Output {
    /// JSON lines if `json`, else text.
    pub fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else {
            Self::Screen(Box::default())
        }
    }

    /// Tells how far the start is; programs learn when it is done.
    pub fn progress(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Screen(screen) => screen.progress(text).map_err(|error| closed(&error)),
            Self::Json => Ok(()),
        }
    }

    /// Tells one event. `first` is the relay that the guide proposes to kill.
    pub fn tell(&mut self, event: Event, first: Option<&RelayFacts>) -> Result<(), Failure> {
        let told = match self {
            Self::Screen(screen) => {
                let text = match &event {
                    Event::Ready(ready) => Some(guide(ready, first)),
                    _ => None,
                };
                screen.show(&event, text.as_deref())
            }
            Self::Json => json(event),
        };
        told.map_err(|error| closed(&error))
    }
}

fn json(event: Event) -> io::Result<()> {
    let mut line = serde_json::to_string(&Stamped::now(event))?;
    line.push('\n');
    let mut out = stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

fn closed(error: &io::Error) -> Failure {
    Failure::new(
        format!("cannot write to standard output: {error}"),
        "whatever reads it must stay; redirect it to a file to run unattended",
    )
}
