//! The terminal: a table kept in place with the happenings scrolling above it, or plain lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _, stdout};
use std::time::Instant;

use crossterm::cursor::MoveToPreviousLine;
use crossterm::terminal::{self, Clear, ClearType};
use crossterm::{QueueableCommand as _, style};

use crate::event::{Event, Ready};

/// Lines kept free above the table, so that it never scrolls itself.
const SPARE_LINES: usize = 3;
/// Width taken when the terminal does not tell.
const DEFAULT_WIDTH: u16 = 100;

/// What a name server last said of a relay.
type Verdicts = BTreeMap<(String, String), String>;

/// Prints events for people.
#[derive(Debug)]
pub struct Screen {
    ready: Option<Ready>,
    verdicts: Verdicts,
    started: Instant,
    terminal: bool,
    /// Lines of the table now standing at the bottom of the terminal.
    standing: usize,
}

impl Screen {
    /// A screen on this process's stdout.
    pub fn new() -> Self {
        Self {
            ready: None,
            verdicts: Verdicts::new(),
            started: Instant::now(),
            terminal: stdout().is_terminal(),
            standing: 0,
        }
    }

    /// Shows how far the start is, on one line.
    pub fn progress(&mut self, text: &str) -> io::Result<()> {
        if self.terminal {
            self.wipe()?;
            self.stand(&[text.to_owned()])
        } else {
            line(text)
        }
    }

    /// Shows one event; `text` is what the guide says when everything is ready.
    pub fn show(&mut self, event: &Event, text: Option<&str>) -> io::Result<()> {
        self.wipe()?;
        let news = self.take(event);
        if let Some(text) = text {
            line(text)?;
        }
        if let Some(news) = news {
            line(&format!(
                "{:>7.2} s  {news}",
                self.started.elapsed().as_secs_f64()
            ))?;
        }
        if matches!(
            event,
            Event::Stopping { .. } | Event::Stopped | Event::Error { .. }
        ) {
            self.ready = None;
        }
        let table = self.table();
        let fits = terminal::size().is_ok_and(|(_, rows)| table.len() + SPARE_LINES < rows.into());
        if self.terminal && fits {
            self.stand(&table)
        } else {
            stdout().flush()
        }
    }

    /// Remembers what `event` says and words it, unless the table alone tells it.
    fn take(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Starting { dir, relays, dnsds } => {
                self.started = Instant::now();
                let dir = dir.display();
                Some(format!(
                    "starting {relays} relays and {dnsds} name servers in {dir}"
                ))
            }
            Event::Ready(ready) => {
                self.ready = Some(ready.as_ref().clone());
                self.started = Instant::now();
                None
            }
            Event::Verdict {
                dnsd,
                relay,
                state,
                reason,
            } => {
                self.verdicts
                    .insert((relay.clone(), dnsd.clone()), state.clone());
                self.ready.as_ref()?;
                Some(format!("{dnsd}: {relay} is {state} ({reason})"))
            }
            Event::Watching {
                dnsd,
                answers: true,
            } => {
                self.ready.as_ref()?;
                Some(format!("{dnsd} answers again"))
            }
            Event::Watching {
                dnsd,
                answers: false,
            } => {
                for ((_, of), state) in &mut self.verdicts {
                    if of == dnsd {
                        "?".clone_into(state);
                    }
                }
                Some(format!("{dnsd} does not answer"))
            }
            Event::Exited {
                process,
                pid,
                code,
                signal,
            } => {
                let how = match (code, signal) {
                    (_, Some(signal)) => format!("was ended by signal {signal}"),
                    (Some(code), None) => format!("exited with code {code}"),
                    (None, None) => "ended".to_owned(),
                };
                Some(format!(
                    "{process} (pid {pid}) {how}; it is not started again"
                ))
            }
            Event::Stopping { reason } => Some(format!("stopping: {reason}")),
            Event::Stopped => Some("stopped".to_owned()),
            Event::Error { .. } => None,
        }
    }

    fn table(&self) -> Vec<String> {
        let Some(ready) = &self.ready else {
            return Vec::new();
        };
        let servers: Vec<&str> = ready
            .dns_servers
            .iter()
            .map(|server| server.id.as_str())
            .collect();
        let mut lines = vec![String::new(), {
            let head = row(["relay", "address", "zone", "vendor", "pid"]);
            servers
                .iter()
                .fold(head, |line, server| line + &format!("{server:<12}"))
        }];
        for relay in &ready.relays {
            let mut line = row([
                &relay.id,
                &relay.address.to_string(),
                &relay.zone,
                &relay.vendor,
                &relay.pid.to_string(),
            ]);
            for server in &servers {
                let key = (relay.id.clone(), (*server).to_owned());
                let state = self.verdicts.get(&key).map_or("?", String::as_str);
                let _ = write!(line, "{state:<12}");
            }
            lines.push(line);
        }
        lines.push("Ctrl-C stops everything".to_owned());
        lines
    }

    /// Takes the standing lines away.
    fn wipe(&mut self) -> io::Result<()> {
        if self.standing > 0 {
            let up = u16::try_from(self.standing).unwrap_or(u16::MAX);
            stdout()
                .queue(MoveToPreviousLine(up))?
                .queue(Clear(ClearType::FromCursorDown))?;
            self.standing = 0;
        }
        Ok(())
    }

    /// Prints lines that [`Self::wipe`] can take away again: each exactly one terminal line.
    fn stand(&mut self, lines: &[String]) -> io::Result<()> {
        let width = terminal::size().map_or(DEFAULT_WIDTH, |(columns, _)| columns);
        for line in lines {
            let line: String = line.chars().take(width.saturating_sub(1).into()).collect();
            stdout()
                .queue(style::Print(line))?
                .queue(style::Print("\n"))?;
        }
        self.standing = lines.len();
        stdout().flush()
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

fn row([relay, address, zone, vendor, pid]: [&str; 5]) -> String {
    format!("{relay:<9}{address:<20}{zone:<7}{vendor:<8}{pid:<9}")
}

fn line(text: &str) -> io::Result<()> {
    writeln!(stdout(), "{text}")
}
