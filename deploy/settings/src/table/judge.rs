//! Judging values and keys: what is read, what is recorded as wrong, which keys nobody knows.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::Table;
use crate::errors::Problem;
use crate::value::{Scalar, Spanned, Value, Wrong};

/// Alike enough to be a slip of the pen (normalised Damerau–Levenshtein similarity).
const ALIKE: f64 = 0.6;

impl Table<'_> {
    pub(super) fn read<T: Value>(
        &self,
        name: &str,
        key: Option<&str>,
        value: &toml_span::Value<'_>,
    ) -> Option<Spanned<T>> {
        let wanted = Wanted {
            expected: T::EXPECTED,
            example: T::EXAMPLE,
        };
        match T::read(Scalar::of(value)) {
            Ok(read) => Some(Spanned {
                value: read,
                span: value.span,
            }),
            Err(wrong) => {
                self.wrong(name, key, value, &wanted, wrong);
                None
            }
        }
    }

    pub(super) fn parse<T, E: Display>(
        &self,
        name: &str,
        key: Option<&str>,
        value: &toml_span::Value<'_>,
        wanted: &Wanted<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Spanned<T>> {
        let read = match value.as_str() {
            Some(text) => parse(text).map_err(|error| Wrong::because(error.to_string())),
            None => Err(Wrong::default()),
        };
        match read {
            Ok(read) => Some(Spanned {
                value: read,
                span: value.span,
            }),
            Err(wrong) => {
                self.wrong(name, key, value, wanted, wrong);
                None
            }
        }
    }

    /// Records a value that was not taken.
    fn wrong(
        &self,
        name: &str,
        key: Option<&str>,
        value: &toml_span::Value<'_>,
        wanted: &Wanted<'_>,
        wrong: Wrong,
    ) {
        let found = Scalar::of(value).describe();
        let reason = wrong
            .reason
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        let problem = Problem::new(value.span, format!("`{name}` is {found}{reason}"));
        let write = wrong.write.unwrap_or_else(|| wanted.example.to_owned());
        let write = key.map_or_else(|| write.clone(), |key| format!("{key} = {write}"));
        self.log
            .problem(problem.expected(wanted.expected).write(write));
    }

    pub(super) fn in_range<T: Value + PartialOrd>(
        &self,
        key: &str,
        read: Spanned<T>,
        range: &RangeInclusive<T>,
    ) -> Option<Spanned<T>> {
        if range.contains(&read.value) {
            return Some(read);
        }
        let (least, most) = (range.start().write(), range.end().write());
        let what = format!(
            "`{}` is {}: out of range",
            self.name(key),
            read.value.write()
        );
        let nearest = if read.value < *range.start() {
            &least
        } else {
            &most
        };
        let write = format!("{key} = {nearest}");
        let problem = Problem::new(read.span, what).expected(format!("{least} to {most}"));
        self.log.problem(problem.write(write));
        None
    }

    /// The known key that a wrong one was probably meant to be.
    fn nearest(&self, key: &str) -> Option<&str> {
        let unused = self.known.iter().filter(|known| !self.has(known));
        let rated = unused.map(|known| (strsim::normalized_damerau_levenshtein(known, key), known));
        let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b));
        best.filter(|(alike, _)| *alike >= ALIKE)
            .map(|(_, known)| known.as_str())
    }
}

/// What a value should have been.
pub(super) struct Wanted<'a> {
    pub(super) expected: &'a str,
    pub(super) example: &'a str,
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        for (key, value) in self.entries.into_iter().flatten() {
            if self.known.iter().any(|known| *known == *key.name) {
                continue;
            }
            // It may well be a secret under a misspelt key.
            self.log.hide(value.span);
            let problem = Problem::new(key.span, format!("unknown key `{}`", self.name(&key.name)));
            self.log.problem(match self.nearest(&key.name) {
                Some(nearest) => problem.help(format!("did you mean `{nearest}`?")),
                None if self.known.is_empty() => problem,
                None => {
                    let mut known = self.known.clone();
                    known.sort_unstable();
                    known.dedup();
                    problem.help(format!("known here: {}", known.join(", ")))
                }
            });
        }
    }
}
