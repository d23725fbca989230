//! `[revocations]`: whose credentials no longer count.

use settings::{NamedFile, Spanned, Table};
use turnd_core::Revocations;

use super::{limits, names};

/// What a line of the file looks like.
const LINES: &str = "write lines of: user ID, tenant ID, or # and a comment";

/// User ids and tenants as they are gathered.
#[derive(Default)]
struct Lists {
    users: Vec<String>,
    tenants: Vec<String>,
}

/// The `[revocations]` table and the file it names.
pub(super) fn build(table: &mut Table<'_>) -> Option<Revocations> {
    let users = table.list_parsed("users", "a user id", "\"webapp/ann\"", user);
    let tenants = table.list_parsed("tenants", "the id of an API key", "\"webapp\"", names::id);
    let file = table.optional_file("file", limits::REVOCATIONS_FILE_BYTES);
    let values = |list: Vec<Spanned<String>>| list.into_iter().map(|one| one.value).collect();
    let mut lists = Lists {
        users: values(users),
        tenants: values(tenants),
    };
    if let Some(file) = &file {
        lists.read(table, file)?;
    } else if table.has("file") {
        return None;
    }
    let revocations = Revocations::new(lists.users, lists.tenants);
    revocations
        .map_err(|error| {
            let help = "leave out those whose credentials have expired";
            table.error(table.span(), error.to_string(), help);
        })
        .ok()
}

impl Lists {
    /// Adds what is in the file; the first line that is wrong is told.
    fn read(&mut self, table: &Table<'_>, file: &Spanned<NamedFile>) -> Option<()> {
        for (index, line) in file.value.text().lines().enumerate() {
            if let Err(why) = self.line(line.trim()) {
                let (path, line) = (file.value.path.display(), index + 1);
                let what = format!("`revocations.file`: {path}:{line}: {why}");
                table.error(file.span, what, LINES);
                return None;
            }
        }
        Some(())
    }

    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        match line.split_once(char::is_whitespace) {
            Some(("user", id)) => self.users.push(user(id.trim_start())?),
            Some(("tenant", id)) => self.tenants.push(names::id(id.trim_start())?),
            _ => return Err("neither a user nor a tenant"),
        }
        Ok(())
    }
}

/// A user id: what stands behind the first colon of a username.
fn user(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > limits::USER_ID_BYTES {
        return Err("it is longer than 508 bytes, which no username holds");
    }
    Ok(text.to_owned())
}
