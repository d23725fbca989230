//! From text to records, one entry at a time, so that whatever is wrong is told with its line.

use hickory_proto::rr::{Name, Record};
use hickory_proto::serialize::txt::Parser;

use super::RecordProblem;
use crate::limits::RECORDS_MAX;

/// An entry as one line, or what is wrong with it.
type Entry = Result<String, String>;
/// A record and the line on which it begins.
pub(super) type Line = (u32, Record);

/// What an entry takes over from those before it.
struct Context {
    origin: Name,
    /// What `$TTL` says.
    default_ttl: Option<u32>,
    /// The TTL of the last record; counts where no `$TTL` is given.
    last_ttl: Option<u32>,
    /// The owner as it was written, and the origin that it was written under.
    owner: Option<(String, Name)>,
}

/// Reads all entries. What cannot be read becomes a problem, and the others are read all the same.
pub(super) fn read(text: &str, zone: &Name, problems: &mut Vec<RecordProblem>) -> Vec<Line> {
    let mut context = Context {
        origin: zone.clone(),
        default_ttl: None,
        last_ttl: None,
        owner: None,
    };
    let mut lines = Vec::new();
    for (line, entry) in entries(text) {
        match entry.and_then(|entry| context.entry(&entry)) {
            Ok(records) => lines.extend(records.into_iter().map(|record| (line, record))),
            Err(message) => problems.push(RecordProblem { line, message }),
        }
        if lines.len() > RECORDS_MAX {
            let message = format!("more than {RECORDS_MAX} records");
            problems.push(RecordProblem { line, message });
            break;
        }
    }
    lines
}

impl Context {
    /// The records of one entry: one, or none of a directive.
    fn entry(&mut self, entry: &str) -> Result<Vec<Record>, String> {
        let mut words = entry.split_whitespace();
        let first = words.next().unwrap_or_default();
        let argument = words.next();
        match first.to_ascii_uppercase().as_str() {
            "$ORIGIN" => {
                let text = argument.ok_or("$ORIGIN needs a domain name")?;
                let name = Name::parse(text, Some(&self.origin));
                self.origin = name.map_err(|error| format!("$ORIGIN {text}: {error}"))?;
                self.origin.set_fqdn(true);
                return Ok(Vec::new());
            }
            "$TTL" => {
                let text = argument.filter(|text| text.starts_with(|c: char| c.is_ascii_digit()));
                let text = text.ok_or("$TTL needs a number of seconds")?;
                let probe = self.parse(&format!("@ {text} IN A 0.0.0.0"))?;
                self.default_ttl = probe.first().map(|record| record.ttl);
                return Ok(Vec::new());
            }
            word if word.starts_with('$') => {
                return Err(format!("{first} is not supported here"));
            }
            _ => {}
        }
        // An entry that begins with a blank is the last owner's (RFC 1035 section 5.1).
        let (owner, origin) = if entry.starts_with([' ', '\t']) {
            self.owner.clone().ok_or("the first record has no owner")?
        } else {
            (first.to_owned(), self.origin.clone())
        };
        let rest = entry.strip_prefix(&owner).unwrap_or(entry);
        self.owner = Some((owner.clone(), origin.clone()));
        let mut name = if owner == "@" {
            origin
        } else {
            Name::parse(&owner, Some(&origin)).map_err(|error| format!("{owner}: {error}"))?
        };
        name.set_fqdn(true);
        let records = self.parse(&format!("@ {rest}"))?;
        self.last_ttl = records.first().map(|record| record.ttl).or(self.last_ttl);
        let named = |mut record: Record| {
            record.name = name.clone();
            record
        };
        Ok(records.into_iter().map(named).collect())
    }

    /// What the library makes of an entry.
    fn parse(&self, entry: &str) -> Result<Vec<Record>, String> {
        let ttl = self
            .default_ttl
            .or(self.last_ttl)
            .map(|ttl| format!("$TTL {ttl}\n"));
        let text = format!("{}{entry}\n", ttl.unwrap_or_default());
        let parsed = Parser::new(text, None, Some(self.origin.clone())).parse();
        let (_, sets) = parsed.map_err(|error| error.to_string())?;
        let records = sets.into_values();
        Ok(records
            .flat_map(|set| set.records_without_rrsigs().cloned().collect::<Vec<_>>())
            .collect())
    }
}

/// The entries of a text, each with the line on which it begins: one line, or several where
/// parentheses or quotes hold them together. Empty lines and comments are left out.
fn entries(text: &str) -> impl Iterator<Item = (u32, Entry)> {
    let mut rest = text;
    let mut line = 1_u32;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let begins = line;
            let (entry, end) = first(rest);
            let (taken, left) = rest.split_at(end);
            let lines = u32::try_from(taken.matches('\n').count());
            line = lines.map_or(line, |lines| line.saturating_add(lines));
            rest = left;
            if entry
                .as_ref()
                .map_or(true, |entry| !entry.trim().is_empty())
            {
                return Some((begins, entry));
            }
        }
        None
    })
}

/// The first entry of a text as one line, without parentheses and comments, and where it ends. (The
/// library knows no quotes inside of parentheses.)
fn first(text: &str) -> (Entry, usize) {
    let (mut depth, mut quoted, mut comment, mut escaped) = (0_u32, false, false, false);
    let (mut entry, mut odd) = (String::new(), None);
    for (at, char) in text.char_indices() {
        match char {
            '\n' if depth == 0 && !quoted => return (checked(entry, odd), at + 1),
            '\n' => {
                (comment, escaped) = (false, false);
                entry.push(' ');
                continue;
            }
            _ if comment => continue,
            // The library would end the word here.
            ';' | '(' | ')' | '"' if escaped && !quoted => odd = Some(char),
            _ if escaped => {}
            ';' if !quoted => {
                comment = true;
                continue;
            }
            '(' if !quoted => {
                depth += 1;
                continue;
            }
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                continue;
            }
            '"' => quoted = !quoted,
            _ => {}
        }
        escaped = !escaped && char == '\\';
        entry.push(char);
    }
    (checked(entry, odd), text.len())
}

fn checked(entry: String, odd: Option<char>) -> Entry {
    let wrong = |char| format!("write text with {char} in quotes");
    odd.map_or(Ok(entry), |char| Err(wrong(char)))
}
