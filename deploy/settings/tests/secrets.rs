//! Secrets: inline and in files of their own, and never to be seen in any message.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use settings::{Errors, File, SecretText, Spanned, load};

const SECRET: &str = "correct horse battery staple";

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("a temporary file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its permissions");
}

fn read(directory: &Path, text: &str) -> Result<Spanned<SecretText>, Errors> {
    let file = File::new(directory.join("turnd.toml").display().to_string(), text);
    load(&file, |root| root.required_secret("current", 16))
}

#[test]
fn inline_or_in_a_file_beside() {
    let directory = tempfile::tempdir().expect("a directory");
    write(
        &directory.path().join("secret"),
        &format!("{SECRET}\n"),
        0o640,
    );
    for text in [
        format!("current = \"{SECRET}\""),
        "current_file = \"secret\"".to_owned(),
    ] {
        let secret = read(directory.path(), &text).expect("a right file");
        assert_eq!(secret.value.expose(), SECRET);
        assert_eq!(format!("{secret:?}").find(SECRET), None);
    }
}

#[test]
fn wrong_secrets_are_told_without_showing_them() {
    let directory = tempfile::tempdir().expect("a directory");
    write(&directory.path().join("open"), SECRET, 0o644);
    write(&directory.path().join("short"), "hunter22", 0o600);
    write(&directory.path().join("large"), &"x".repeat(70_000), 0o600);
    fs::create_dir(directory.path().join("directory")).expect("a directory");
    for (text, what) in [
        (
            "current_file = \"open\"",
            "is open to every user of this machine (mode 0644)",
        ),
        (
            "current_file = \"short\"",
            "`current_file` has only 8 bytes",
        ),
        ("current_file = \"large\"", "it is larger than 65536 bytes"),
        ("current_file = \"none\"", "No such file"),
        ("current_file = \"directory\"", "is not a regular file"),
        ("current_file = 3", "`current_file` is 3"),
        ("current = \"hunter22\"", "`current` has only 8 bytes"),
        ("current = 12345678", "`current` is not a text in quotes"),
        (
            "current = [\"hunter22\"]",
            "`current` is not a text in quotes",
        ),
        ("curent = \"hunter22\"", "`current` is missing"),
        ("curent = { a = \"hunter22\" }", "unknown key `curent`"),
        (
            "current = \"hunter22\"\ncurrent_file = \"open\"",
            "both `current` and `current_file`",
        ),
        ("current = \"hunter22", "not valid TOML"),
        ("current = \"hunter22\"\ncurrent = 1", "second time"),
    ] {
        let errors = read(directory.path(), text).expect_err(text);
        assert!(errors.to_string().contains(what), "{text:?} gives {errors}");
        for shown in [
            errors.to_string(),
            errors.render(true),
            format!("{errors:?}"),
        ] {
            for secret in ["hunter22", SECRET, "12345678"] {
                assert!(
                    !shown.contains(secret),
                    "{text:?} shows its secret: {shown}"
                );
            }
        }
    }
}

#[test]
fn lists_of_both_kinds() {
    let directory = tempfile::tempdir().expect("a directory");
    write(&directory.path().join("old"), SECRET, 0o600);
    let text = "previous = [\"0123456789abcdef\"]\nprevious_files = [\"old\"]";
    let file = File::new(
        directory.path().join("turnd.toml").display().to_string(),
        text,
    );
    let read = load(&file, |root| Some(root.secrets("previous", 16))).expect("a right file");
    let read: Vec<&str> = read.iter().map(|secret| secret.value.expose()).collect();
    assert_eq!(read, ["0123456789abcdef", SECRET]);
    assert!(!format!("{file:?}").contains("0123456789abcdef"));

    let file = File::new("turnd.toml", "previous = [\"hunter22\", 5]");
    let errors = load(&file, |root| Some(root.secrets("previous", 16))).expect_err("both wrong");
    assert_eq!(errors.problems().len(), 2);
    assert!(!format!("{errors:?}{}", errors.render(true)).contains("hunter22"));
}

#[test]
fn a_secret_where_a_list_of_them_belongs_is_not_shown() {
    let text = format!("previous = \"{SECRET}\"");
    let file = File::new("turnd.toml".to_owned(), &text);
    let read = load(&file, |root| Some(root.secrets("previous", 16)));
    let errors = read.expect_err("it is no list");
    assert!(
        errors.to_string().contains("`previous` is not a list"),
        "{errors}"
    );
    for shown in [
        errors.to_string(),
        errors.render(true),
        format!("{errors:?}"),
    ] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
}
