//! A settings file: its name for messages, its text, and the directory its relative paths start at.

use std::io::Read;
use std::path::{Path, PathBuf};

use toml_span::Span;

use crate::errors::{Errors, Problem};
use crate::limits;

/// The text of one settings file and the name it goes by in messages.
#[derive(Clone)]
pub struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The text may hold secrets, so only the name is shown.
impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl File {
    /// A file whose text is already at hand. Relative paths in it start at the directory of `name`.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// Reads a file of at most [`limits::FILE_BYTES`] bytes of UTF-8.
    ///
    /// # Errors
    /// One problem that names the file and what the system said about it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Errors> {
        let path = path.as_ref();
        let name = path.display().to_string();
        match read_capped(path, limits::FILE_BYTES) {
            Ok(text) => Ok(Self { name, text }),
            Err(what) => {
                let problem = Problem::new(Span::default(), format!("cannot be read: {what}"));
                Err(Errors::of_unread_file(name, problem))
            }
        }
    }

    /// The directory that relative paths in this file start at.
    pub(crate) fn directory(&self) -> PathBuf {
        Path::new(&self.name)
            .parent()
            .unwrap_or_else(|| Path::new(""))
            .to_path_buf()
    }
}

/// Reads UTF-8 text of at most `cap` bytes, or says what stood in the way.
pub(crate) fn read_capped(path: &Path, cap: u64) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    read_open(file, cap)
}

/// Like [`read_capped`], of a file that is open already.
pub(crate) fn read_open(file: std::fs::File, cap: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(cap + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > cap {
        return Err(format!("it is larger than {cap} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("it is not UTF-8 text (byte {at})")
    })
}
