//! A relay's configuration: any text is a good one, or has problems with a place in it.

use settings::{Errors, File};
use turnd::config::Config;
use turnd::core_config;

/// Takes the input as the text of a file.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // Paths in it are relative to a directory that is not there.
    let file = File::new("/nonexistent/turnd.toml", text);
    match Config::load(&file) {
        // Enough for each worker, which is what a checked configuration promises.
        Ok(config) => assert!(core_config::per_worker(&config, &[]).is_some()),
        Err(errors) => check(text, &errors),
    }
}

fn check(text: &str, errors: &Errors) {
    assert!(!errors.problems().is_empty());
    for problem in errors.problems() {
        let span = problem.span;
        assert!(
            span.start <= span.end && span.end <= text.len(),
            "{problem:?}"
        );
        let (line, column) = errors.position(span.start).unwrap();
        let beyond = text
            .split('\n')
            .nth(line - 1)
            .map(|l| l.chars().count() + 1);
        assert!(beyond.is_some_and(|beyond| column <= beyond), "{problem:?}");
        assert!(!problem.what.is_empty());
    }
    let plain = errors.to_string();
    assert!(plain.starts_with("/nonexistent/turnd.toml:"));
    assert_eq!(plain, errors.render(false));
    assert!(!errors.render(true).is_empty());
}
