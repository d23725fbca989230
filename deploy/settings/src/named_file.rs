//! Keys that name another file whose text is wanted: certificates, keys, lists.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::errors::Problem;
use crate::file::read_capped;
use crate::secret::read_guarded;
use crate::table::Table;
use crate::value::{Scalar, Spanned};

/// What is wrong with a file, and what to do about it.
type Unread = (String, String);

/// The text of a file that a key names; erased from memory when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Where it is; relative paths start at the settings file.
    pub path: PathBuf,
    pub(crate) text: Zeroizing<String>,
}

impl NamedFile {
    /// All of its text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The text may be a secret, so only the path is shown.
impl std::fmt::Debug for NamedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamedFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Table<'_> {
    /// The path of a file of at most `cap` bytes of UTF-8, which must be there.
    pub fn required_file(&mut self, key: &'static str, cap: u64) -> Option<Spanned<NamedFile>> {
        self.must_have(key, "the path of a file in quotes", "\"path\"")?;
        self.optional_file(key, cap)
    }

    /// Like [`Table::required_file`], of a key that may be missing.
    pub fn optional_file(&mut self, key: &'static str, cap: u64) -> Option<Spanned<NamedFile>> {
        self.named_file(key, |path| {
            let read = read_capped(path, cap).map(Zeroizing::new);
            read.map_err(|what| {
                let help = "name a file that this daemon's user can read".to_owned();
                (format!("cannot be read: {what}"), help)
            })
        })
    }

    /// A path that must be there, of a file that is not looked at; a relative one starts at the
    /// settings file.
    pub fn required_path(&mut self, key: &'static str) -> Option<Spanned<PathBuf>> {
        let expected = "the path of a file in quotes";
        let read = self.required_parsed(key, expected, "\"path\"", |text| match text {
            "" => Err("it names no file"),
            _ => Ok(PathBuf::from(text)),
        })?;
        Some(Spanned {
            value: self.log().directory.join(read.value),
            span: read.span,
        })
    }

    /// The path of a file that other users of the machine cannot read, which must be there.
    pub fn required_secret_file(&mut self, key: &'static str) -> Option<Spanned<NamedFile>> {
        self.must_have(key, "the path of a file in quotes", "\"path\"")?;
        self.named_file(key, read_guarded)
    }

    fn named_file(
        &mut self,
        key: &'static str,
        read: impl Fn(&Path) -> Result<Zeroizing<String>, Unread>,
    ) -> Option<Spanned<NamedFile>> {
        let value = self.get(key)?;
        self.file_at(&self.name(key), value, read)
    }

    /// Reads the file that `value` names; what is wrong is recorded there.
    pub(crate) fn file_at(
        &self,
        name: &str,
        value: &toml_span::Value<'_>,
        read: impl Fn(&Path) -> Result<Zeroizing<String>, Unread>,
    ) -> Option<Spanned<NamedFile>> {
        let Some(path) = value.as_str() else {
            let found = Scalar::of(value).describe();
            let problem = Problem::new(value.span, format!("`{name}` is {found}"));
            self.log()
                .problem(problem.expected("the path of a file in quotes"));
            return None;
        };
        let path = self.log().directory.join(path);
        match read(&path) {
            Ok(text) => Some(Spanned {
                value: NamedFile { path, text },
                span: value.span,
            }),
            Err((what, help)) => {
                let what = format!("`{name}`: {} {what}", path.display());
                self.error(value.span, what, help);
                None
            }
        }
    }
}
