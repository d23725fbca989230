//! Secrets: written into the file, or (`<key>_file`) in a file of their own that others cannot read.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use toml_span::Span;
use zeroize::Zeroizing;

use crate::errors::Problem;
use crate::file::read_open;
use crate::limits;
use crate::table::Table;
use crate::value::Spanned;

/// What a secret should look like, and how to make one.
const HELP: &str = "make one with: openssl rand -base64 48";

/// Permission bits that let everybody on the machine at the file.
const OTHERS: u32 = 0o007;

/// A secret as written; erased from memory when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl Table<'_> {
    /// A secret of at least `least` bytes that must be there, as `key` or as `<key>_file`.
    pub fn required_secret(
        &mut self,
        key: &'static str,
        least: usize,
    ) -> Option<Spanned<SecretText>> {
        let file_key = format!("{key}_file");
        if !self.has(key) && !self.has(&file_key) {
            let (name, span) = (self.name(key), self.span());
            let problem = Problem::new(span, format!("`{name}` is missing"));
            let problem = problem
                .expected(expected(least))
                .write(format!("{file_key} = \"path\""));
            self.log().problem(problem.help(HELP));
        }
        self.optional_secret(key, least)
    }

    /// A secret of at least `least` bytes, as `key` or as `<key>_file`.
    pub fn optional_secret(
        &mut self,
        key: &'static str,
        least: usize,
    ) -> Option<Spanned<SecretText>> {
        let file_key = format!("{key}_file");
        let (inline, file) = (self.get(key), self.get(&file_key));
        if let (Some(inline), Some(file)) = (inline, file) {
            self.log().hide(inline.span);
            let what = format!("both `{}` and `{file_key}` are here", self.name(key));
            self.error(file.span, what, "keep one of the two");
            return None;
        }
        if let Some(value) = inline {
            let name = self.name(key);
            return self.inline_secret(&name, value, least);
        }
        let (value, name) = (file?, self.name(&file_key));
        self.secret_file(&name, value, least)
    }

    /// Secrets of at least `least` bytes each, listed as `key` and as `<key>_files`.
    pub fn secrets(&mut self, key: &'static str, least: usize) -> Vec<Spanned<SecretText>> {
        let files_key = format!("{key}_files");
        let (name, files_name) = (self.name(key), self.name(&files_key));
        if let Some(value) = self.get(key) {
            self.log().hide(value.span);
        }
        let mut read = Vec::new();
        for (index, value) in self.items(key).iter().enumerate() {
            read.extend(self.inline_secret(&format!("{name}[{index}]"), value, least));
        }
        for (index, value) in self.items(&files_key).iter().enumerate() {
            read.extend(self.secret_file(&format!("{files_name}[{index}]"), value, least));
        }
        read
    }

    fn inline_secret(
        &self,
        name: &str,
        value: &toml_span::Value<'_>,
        least: usize,
    ) -> Option<Spanned<SecretText>> {
        self.log().hide(value.span);
        let Some(text) = value.as_str() else {
            // Neither the value nor its kind of number is shown.
            let problem = Problem::new(value.span, format!("`{name}` is not a text in quotes"));
            self.log().problem(problem.expected(expected(least)));
            return None;
        };
        self.long_enough(name, Zeroizing::new(text.to_owned()), value.span, least)
    }

    fn secret_file(
        &self,
        name: &str,
        value: &toml_span::Value<'_>,
        least: usize,
    ) -> Option<Spanned<SecretText>> {
        let file = self.file_at(name, value, read_secret_file)?;
        self.long_enough(name, file.value.text, file.span, least)
    }

    fn long_enough(
        &self,
        name: &str,
        text: Zeroizing<String>,
        span: Span,
        least: usize,
    ) -> Option<Spanned<SecretText>> {
        if text.len() >= least {
            return Some(Spanned {
                value: SecretText(text),
                span,
            });
        }
        let problem = Problem::new(span, format!("`{name}` has only {} bytes", text.len()));
        self.log()
            .problem(problem.expected(expected(least)).help(HELP));
        None
    }
}

fn expected(least: usize) -> String {
    format!("a secret of at least {least} bytes")
}

/// The content without the line end at its end, or (what is wrong, what to do).
fn read_secret_file(path: &Path) -> Result<Zeroizing<String>, (String, String)> {
    let text = read_guarded(path)?;
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

/// The content of a file that others cannot read, or (what is wrong, what to do).
pub(crate) fn read_guarded(path: &Path) -> Result<Zeroizing<String>, (String, String)> {
    let readable = "name a file that this daemon's user can read".to_owned();
    let unread = |what: String| (format!("cannot be read: {what}"), readable.clone());
    let file = File::open(path).map_err(|error| unread(error.to_string()))?;
    // Of the open file, so that it cannot be exchanged between the check and the reading.
    let metadata = file.metadata().map_err(|error| unread(error.to_string()))?;
    if !metadata.is_file() {
        return Err(("is not a regular file".to_owned(), readable));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        let what = format!("is open to every user of this machine (mode {mode:04o})");
        return Err((what, format!("run: chmod 0640 {}", path.display())));
    }
    read_open(file, limits::SECRET_FILE_BYTES)
        .map(Zeroizing::new)
        .map_err(unread)
}
