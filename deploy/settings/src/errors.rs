//! Problems found in one file, and how they are shown: plain `path:line:column` text, or snippets.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, LabeledSpan, NamedSource, SourceCode};
use toml_span::Span;

use crate::limits;

/// One thing that is wrong in a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file, in bytes.
    pub span: Span,
    /// What is wrong, in one line.
    pub what: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// A line that can be written into the file as it stands.
    pub write: Option<String>,
    /// Anything else worth knowing.
    pub help: Option<String>,
}

impl Problem {
    /// A problem with nothing but its place and what is wrong.
    pub fn new(span: Span, what: impl Into<String>) -> Self {
        Self {
            span,
            what: what.into(),
            expected: None,
            write: None,
            help: None,
        }
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn write(mut self, write: impl Into<String>) -> Self {
        self.write = Some(write.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The lines below the message, each with its word in front.
    fn notes(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("expected", &self.expected),
            ("write", &self.write),
            ("help", &self.help),
        ]
        .into_iter()
        .filter_map(|(word, text)| text.as_deref().map(|text| (word, text)))
    }
}

/// Everything that is wrong in one file; never empty.
///
/// `Display` is plain text, one `path:line:column: what is wrong` per problem with indented
/// `expected:`, `write:` and `help:` lines. [`Errors::render`] draws snippets for a terminal.
#[derive(Debug, Clone)]
pub struct Errors {
    name: String,
    /// The text with every secret blanked out, byte for byte, so that spans still fit.
    source: Option<Arc<NamedSource<String>>>,
    problems: Vec<Problem>,
    /// How many more there were beyond [`limits::PROBLEMS`].
    more: usize,
}

impl Errors {
    /// `masked` is the file's text without its secrets; problems come out in file order.
    pub(crate) fn new(name: &str, masked: String, mut problems: Vec<Problem>) -> Self {
        for problem in &mut problems {
            // The parser points one past the end when something is missing there.
            let Span { start, end } = &mut problem.span;
            *end = masked.floor_char_boundary(*end);
            *start = masked.floor_char_boundary(*start).min(*end);
        }
        problems.sort_by_key(|problem| problem.span.start);
        let more = problems.len().saturating_sub(limits::PROBLEMS);
        problems.truncate(limits::PROBLEMS);
        let source = NamedSource::new(name, masked).with_language("TOML");
        Self {
            name: name.to_owned(),
            source: Some(Arc::new(source)),
            problems,
            more,
        }
    }

    /// A file that could not be read at all has no lines to point at.
    pub(crate) fn of_unread_file(name: String, problem: Problem) -> Self {
        Self {
            name,
            source: None,
            problems: vec![problem],
            more: 0,
        }
    }

    /// The problems in file order, at most [`limits::PROBLEMS`].
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Line and column of a byte offset, both from 1; columns count characters. `None` for a file
    /// that could not be read.
    pub fn position(&self, offset: usize) -> Option<(usize, usize)> {
        let text = self.source.as_ref()?.inner();
        let before = text.get(..offset.min(text.len()))?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        Some((line, before[line_start..].chars().count() + 1))
    }

    /// The whole text for a person: with `snippets`, drawn with the lines in question (a
    /// terminal); without, the same as `Display` (a log or a pipe).
    pub fn render(&self, snippets: bool) -> String {
        let mut out = String::new();
        if snippets && self.source.is_some() {
            let drawing = Drawing::new(self);
            // Writing to a string does not fail; plain text is the right answer if it ever did.
            if GraphicalReportHandler::new()
                .render_report(&mut out, &drawing)
                .is_ok()
            {
                return out;
            }
            out.clear();
        }
        let _ = write!(out, "{self}");
        out
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match self.position(problem.span.start) {
                Some((line, column)) => write!(f, "{}:{line}:{column}: ", self.name)?,
                None => write!(f, "{}: ", self.name)?,
            }
            f.write_str(&problem.what)?;
            for (word, text) in problem.notes() {
                write!(f, "\n  {word}: {text}")?;
            }
        }
        if self.more > 0 {
            write!(f, "\n{}: and {} more problems", self.name, self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

impl Diagnostic for Errors {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        Some(Box::new(
            self.problems.iter().map(|problem| label(self, problem)),
        ))
    }
}

/// A label no longer than the line it starts on: a table's span covers all its keys.
fn label(errors: &Errors, problem: &Problem) -> LabeledSpan {
    let text = errors
        .source
        .as_ref()
        .map_or("", |source| source.inner().as_str());
    let start = problem.span.start.min(text.len());
    let end = problem.span.end.clamp(start, text.len());
    let line = text
        .get(start..end)
        .and_then(|span| span.lines().next())
        .unwrap_or("");
    let text = problem
        .expected
        .as_ref()
        .map_or_else(|| "here".to_owned(), |e| format!("expected {e}"));
    LabeledSpan::at(start..start + line.len(), text)
}

/// One problem with its own snippet.
#[derive(Debug)]
struct Drawn<'a> {
    errors: &'a Errors,
    problem: &'a Problem,
}

/// All problems of a file, drawn one below the other.
#[derive(Debug)]
struct Drawing<'a> {
    errors: &'a Errors,
    drawn: Vec<Drawn<'a>>,
}

impl<'a> Drawing<'a> {
    fn new(errors: &'a Errors) -> Self {
        let drawn = errors
            .problems
            .iter()
            .map(|problem| Drawn { errors, problem })
            .collect();
        Self { errors, drawn }
    }
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.what)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let notes = self.problem.notes().filter(|(word, _)| *word != "expected");
        let lines: Vec<String> = notes
            .map(|(word, text)| format!("{word}: {text}"))
            .collect();
        (!lines.is_empty()).then(|| Box::new(lines.join("\n")) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.errors.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(label(self.errors, self.problem))))
    }
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.drawn.len() + self.errors.more;
        let problems = if count == 1 { "problem" } else { "problems" };
        write!(f, "{}: {count} {problems}", self.errors.name)
    }
}

impl std::error::Error for Drawing<'_> {}

impl Diagnostic for Drawing<'_> {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(
            self.drawn.iter().map(|drawn| drawn as &dyn Diagnostic),
        ))
    }
}
