//! From text to tables: syntax errors with their place, and the log that the tables write into.

use std::cell::RefCell;
use std::path::PathBuf;

use toml_span::{ErrorKind, Span};

use crate::errors::{Errors, Problem};
use crate::file::File;
use crate::table::Table;

/// What the tables of one file record while they are read.
#[derive(Debug, Default)]
pub(crate) struct Log {
    problems: RefCell<Vec<Problem>>,
    /// Values that must not be shown: secrets, and values of keys nobody knows.
    hidden: RefCell<Vec<Span>>,
    /// Where relative paths start.
    pub(crate) directory: PathBuf,
}

impl Log {
    pub(crate) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn hide(&self, span: Span) {
        self.hidden.borrow_mut().push(span);
    }

    pub(crate) fn hides(&self, span: Span) -> bool {
        self.hidden.borrow().contains(&span)
    }
}

/// Reads a file: parses it, hands the root table to `build`, and collects every problem.
///
/// `build` returns `None` when something it needs was missing; the reason is in the log by then.
///
/// # Errors
/// All problems of the file: of its syntax (then only the first), of its values, unknown keys.
pub fn load<T>(file: &File, build: impl FnOnce(&mut Table<'_>) -> Option<T>) -> Result<T, Errors> {
    let root = toml_span::parse(&file.text)
        .map_err(|error| Errors::new(&file.name, mask_strings(&file.text), vec![syntax(&error)]))?;
    let log = Log {
        directory: file.directory(),
        ..Log::default()
    };
    let result = {
        let mut table = Table::root(root.as_table(), &log);
        build(&mut table)
    };
    let mut problems = log.problems.into_inner();
    match result {
        Some(value) if problems.is_empty() => Ok(value),
        _ => {
            if problems.is_empty() {
                problems.push(Problem::new(Span::new(0, 0), "the settings are incomplete"));
            }
            Err(Errors::new(
                &file.name,
                mask(&file.text, &log.hidden.into_inner()),
                problems,
            ))
        }
    }
}

/// A parser's error in this crate's words.
fn syntax(error: &toml_span::Error) -> Problem {
    let problem = Problem::new(error.span, format!("not valid TOML: {error}"));
    match &error.kind {
        ErrorKind::DuplicateKey { key, .. } => Problem {
            what: format!("the key `{key}` is here for the second time"),
            ..problem.help("keep one of the two")
        },
        ErrorKind::DuplicateTable { name, .. } => Problem {
            what: format!("the table `{name}` is here for the second time"),
            ..problem.help("put all its keys below one header")
        },
        ErrorKind::UnquotedString => Problem {
            what: "not valid TOML: a text without quotes".to_owned(),
            ..problem.expected("a value: \"text\" in quotes, a number, true or false, [list]")
        },
        _ => problem,
    }
}

/// What stands for a hidden character: as many bytes, so that lines, columns and spans still fit.
fn blank(character: char) -> char {
    match character.len_utf8() {
        _ if matches!(character, '\n' | '\r' | '"' | '\'') => character,
        1 => '*',
        2 => '·',
        3 => '•',
        _ => '🞄',
    }
}

/// Blanks the given spans, leaving line ends and quotes.
fn mask(text: &str, spans: &[Span]) -> String {
    let hidden = |at: usize| {
        spans
            .iter()
            .any(|span| (span.start..span.end).contains(&at))
    };
    let shown = |(at, character)| {
        if hidden(at) {
            blank(character)
        } else {
            character
        }
    };
    text.char_indices().map(shown).collect()
}

/// Blanks everything between quotes: of a file that does not parse nobody knows what is secret.
fn mask_strings(text: &str) -> String {
    let mut quote = None;
    let mut shown = |character| {
        match (character, quote) {
            ('\n', _) => quote = None,
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            (_, Some(_)) => return blank(character),
            _ => {}
        }
        character
    };
    text.chars().map(&mut shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_keeps_every_offset() {
        let text = "a = \"gehéim\"\nb = 'x' # \"\nc = \"open\n";
        let masked = mask_strings(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(masked, "a = \"***·**\"\nb = '*' # \"\nc = \"****\n");
        assert_eq!(mask("k = \"sé\"\n", &[Span::new(5, 8)]), "k = \"*·\"\n");
    }
}
