//! The reader of one table: typed keys, every problem recorded, unknown keys told at the end.

mod judge;

use std::fmt::Display;
use std::ops::RangeInclusive;

use toml_span::Span;
use toml_span::value::ValueInner;

use crate::errors::Problem;
use crate::limits;
use crate::read::Log;
use crate::value::{Scalar, Spanned, Value};
use judge::Wanted;

/// One table of the file while it is read.
///
/// Methods that return `Option` have recorded a problem when they return `None` for a key that is
/// there (or, where it is required, missing). Dropping the table reports the keys nobody asked for.
#[derive(Debug)]
pub struct Table<'a> {
    /// Absent for a table that stands only for its defaults.
    entries: Option<&'a toml_span::value::Table<'a>>,
    span: Span,
    /// What the table is called in messages: `""` (the file), `relay`, `relays[2]`.
    path: String,
    /// Keys asked for.
    known: Vec<String>,
    log: &'a Log,
}

impl<'a> Table<'a> {
    pub(crate) fn root(entries: Option<&'a toml_span::value::Table<'a>>, log: &'a Log) -> Self {
        Self {
            entries,
            span: Span::new(0, 0),
            path: String::new(),
            known: Vec::new(),
            log,
        }
    }

    /// Where this table stands: its header and keys.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Whether the key is there, whatever its value. Does not count as asking for it.
    pub fn has(&self, key: &str) -> bool {
        self.entries
            .is_some_and(|entries| entries.contains_key(key))
    }

    /// Where the value of `key` stands; the table's place when it is missing.
    pub fn key_span(&self, key: &str) -> Span {
        let value = self.entries.and_then(|entries| entries.get(key));
        value.map_or(self.span, |value| value.span)
    }

    /// Records something the caller found wrong.
    pub fn error(&self, span: Span, what: impl Into<String>, help: impl Into<String>) {
        self.log.problem(Problem::new(span, what).help(help));
    }

    /// A key that must be there.
    pub fn required<T: Value>(&mut self, key: &'static str) -> Option<Spanned<T>> {
        self.must_have(key, T::EXPECTED, T::EXAMPLE)?;
        self.optional(key)
    }

    /// A key that may be missing.
    pub fn optional<T: Value>(&mut self, key: &'static str) -> Option<Spanned<T>> {
        let value = self.get(key)?;
        self.read(&self.name(key), Some(key), value)
    }

    /// A key with a default, which also stands in for a wrong value so that reading can go on.
    pub fn with_default<T: Value>(&mut self, key: &'static str, default: T) -> Spanned<T> {
        let span = self.key_span(key);
        self.optional(key).unwrap_or(Spanned {
            value: default,
            span,
        })
    }

    /// A key that must be there, with a value in `range`.
    pub fn required_in<T: Value + PartialOrd>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<Spanned<T>> {
        let read = self.required(key)?;
        self.in_range(key, read, &range)
    }

    /// A key that may be missing, with a value in `range`.
    pub fn optional_in<T: Value + PartialOrd>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<Spanned<T>> {
        let read = self.optional(key)?;
        self.in_range(key, read, &range)
    }

    /// A key with a value in `range` and a default.
    pub fn with_default_in<T: Value + PartialOrd>(
        &mut self,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> Spanned<T> {
        let span = self.key_span(key);
        self.optional_in(key, range).unwrap_or(Spanned {
            value: default,
            span,
        })
    }

    /// A text that must be there and that `parse` understands; `expected` and `example` (as
    /// written in the file, quotes included) tell the operator what it should be.
    pub fn required_parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        expected: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Spanned<T>> {
        self.must_have(key, expected, example)?;
        self.optional_parsed(key, expected, example, parse)
    }

    /// Like [`Table::required_parsed`], of a key that may be missing.
    pub fn optional_parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        expected: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Spanned<T>> {
        let value = self.get(key)?;
        self.parse(
            &self.name(key),
            Some(key),
            value,
            &Wanted { expected, example },
            parse,
        )
    }

    /// One of a few words, with a default.
    pub fn one_of<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        default: T,
    ) -> Spanned<T> {
        let words: Vec<String> = choices
            .iter()
            .map(|(word, _)| format!("{word:?}"))
            .collect();
        let expected = format!("one of {}", words.join(", "));
        let span = self.key_span(key);
        let example = words.first().map_or("\"\"", String::as_str);
        let read = self.optional_parsed(key, &expected, example, |text| {
            let choice = choices.iter().find(|(word, _)| *word == text);
            choice.map(|(_, choice)| *choice).ok_or("not one of them")
        });
        read.unwrap_or(Spanned {
            value: default,
            span,
        })
    }

    /// A list; empty when the key is missing. Wrong entries are recorded and left out.
    pub fn list<T: Value>(&mut self, key: &'static str) -> Vec<Spanned<T>> {
        let items = self.items(key);
        let name = self.name(key);
        let read = |(index, value)| self.read(&format!("{name}[{index}]"), None, value);
        items.iter().enumerate().filter_map(read).collect()
    }

    /// A list that must have at least one entry.
    pub fn required_list<T: Value>(&mut self, key: &'static str) -> Option<Vec<Spanned<T>>> {
        let example = format!("[{}]", T::EXAMPLE);
        self.must_have(key, "a list with at least one entry", &example)?;
        if let Some(value) = self
            .get(key)
            .filter(|v| v.as_array().is_some_and(Vec::is_empty))
        {
            let problem = Problem::new(value.span, format!("`{}` is empty", self.name(key)));
            let problem = problem.expected("a list with at least one entry");
            self.log
                .problem(problem.write(format!("{key} = {example}")));
        }
        let read = self.list(key);
        (!read.is_empty()).then_some(read)
    }

    /// A list of texts that `parse` understands; see [`Table::required_parsed`].
    pub fn list_parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        expected: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<Spanned<T>> {
        let items = self.items(key);
        let name = self.name(key);
        let wanted = Wanted { expected, example };
        let read =
            |(index, value)| self.parse(&format!("{name}[{index}]"), None, value, &wanted, &parse);
        items.iter().enumerate().filter_map(read).collect()
    }

    /// A table that may be missing.
    pub fn table(&mut self, key: &'static str) -> Option<Self> {
        let value = self.get(key)?;
        self.subtable(self.name(key), value)
    }

    /// A table that must be there.
    pub fn required_table(&mut self, key: &'static str) -> Option<Self> {
        if !self.has(key) {
            self.known.push(key.to_owned());
            let name = self.name(key);
            let problem = Problem::new(self.span, format!("the table `{name}` is missing"));
            self.log.problem(problem.write(format!("[{name}]")));
        }
        self.table(key)
    }

    /// A table that may be missing, and is then read as an empty one: its defaults apply.
    #[must_use]
    pub fn table_or_default(&mut self, key: &'static str) -> Self {
        let span = self.key_span(key);
        self.table(key).unwrap_or_else(|| Table {
            entries: None,
            span,
            path: self.name(key),
            known: Vec::new(),
            log: self.log,
        })
    }

    /// An array of tables (`[[key]]`); empty when the key is missing.
    pub fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let items = self.items(key);
        let name = self.name(key);
        let read = |(index, value)| self.subtable(format!("{name}[{index}]"), value);
        items.iter().enumerate().filter_map(read).collect()
    }

    /// The name of a key in messages, from the file's root.
    pub(crate) fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(crate) fn log(&self) -> &'a Log {
        self.log
    }

    /// Looks a key up and remembers that it is known.
    pub(crate) fn get(&mut self, key: &str) -> Option<&'a toml_span::Value<'a>> {
        self.known.push(key.to_owned());
        self.entries?.get(key)
    }

    /// Records a missing key.
    pub(crate) fn must_have(&mut self, key: &str, expected: &str, example: &str) -> Option<()> {
        if self.has(key) {
            return Some(());
        }
        self.known.push(key.to_owned());
        let problem = Problem::new(self.span, format!("`{}` is missing", self.name(key)));
        self.log.problem(
            problem
                .expected(expected)
                .write(format!("{key} = {example}")),
        );
        None
    }

    /// The entries of a list, capped; records a value that is no list.
    pub(crate) fn items(&mut self, key: &str) -> &'a [toml_span::Value<'a>] {
        let Some(value) = self.get(key) else {
            return &[];
        };
        let name = self.name(key);
        let Some(items) = value.as_array() else {
            if self.log.hides(value.span) {
                // What stands there may be the secret itself.
                let problem = Problem::new(value.span, format!("`{name}` is not a list"));
                self.log
                    .problem(problem.expected("a list of texts in quotes"));
                return &[];
            }
            let found = Scalar::of(value).describe();
            let problem = Problem::new(value.span, format!("`{name}` is {found}"));
            let problem = match value.as_table() {
                Some(_) => problem
                    .expected("several tables")
                    .write(format!("[[{name}]]")),
                None => problem
                    .expected("a list")
                    .write(format!("{key} = [{found}]")),
            };
            self.log.problem(problem);
            return &[];
        };
        if items.len() > limits::LIST_ENTRIES {
            let what = format!("`{name}` has {} entries", items.len());
            let most = format!("at most {}", limits::LIST_ENTRIES);
            self.log
                .problem(Problem::new(value.span, what).expected(most));
            return &[];
        }
        items
    }

    fn subtable(&self, path: String, value: &'a toml_span::Value<'a>) -> Option<Self> {
        let ValueInner::Table(entries) = value.as_ref() else {
            let found = Scalar::of(value).describe();
            let problem = Problem::new(value.span, format!("`{path}` is {found}"));
            self.log
                .problem(problem.expected("a table").write(format!("[{path}]")));
            return None;
        };
        let log = self.log;
        Some(Table {
            entries: Some(entries),
            span: value.span,
            path,
            known: Vec::new(),
            log,
        })
    }
}
