//! The subcommands that answer and end: `check` and `credential`.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use settings::Errors;

use crate::cli::{self, EXIT_CONFIGURATION, EXIT_FAILURE};
use crate::config::Config;
use crate::{clock, rest};

/// `turnd check`: everything that is wrong with the file, or what it amounts to.
pub fn check(path: &Path, json: bool) -> ExitCode {
    let read = Config::read(path);
    if json {
        println!("{}", as_json(path, &read));
    }
    match read {
        Ok(config) => {
            if !json {
                for warning in config.warnings(clock::unix()) {
                    eprintln!("{}: warning: {warning}", path.display());
                }
                println!("{}: good: {}", path.display(), summary(&config));
            }
            ExitCode::SUCCESS
        }
        Err(errors) => {
            if !json {
                complain(&errors);
            }
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

/// Tells everything that is wrong on stderr, with snippets of the file on a terminal.
pub fn complain(errors: &Errors) {
    eprintln!(
        "{}",
        errors.render(std::io::stderr().is_terminal()).trim_end()
    );
}

fn summary(config: &Config) -> String {
    let listen: Vec<String> = config
        .relay
        .listen
        .iter()
        .map(ToString::to_string)
        .collect();
    format!(
        "relay {} for {}, {} workers, listening on {}",
        config.relay.id,
        config.relay.zone,
        config.relay.worker_count(),
        listen.join(", ")
    )
}

fn as_json(path: &Path, read: &Result<Config, Errors>) -> serde_json::Value {
    let file = path.display().to_string();
    let errors = match read {
        Ok(config) => {
            let warnings = config.warnings(clock::unix());
            return json!({ "ok": true, "file": file, "problems": [], "warnings": warnings });
        }
        Err(errors) => errors,
    };
    let problems: Vec<_> = errors
        .problems()
        .iter()
        .map(|problem| {
            let (line, column) = errors.position(problem.span.start).unzip();
            json!({
                "line": line,
                "column": column,
                "what": problem.what,
                "expected": problem.expected,
                "write": problem.write,
                "help": problem.help,
            })
        })
        .collect();
    json!({ "ok": false, "file": file, "problems": problems })
}

/// `turnd credential`: a username and password that this relay and its fleet accept.
pub fn credential(asked: &cli::Credential) -> ExitCode {
    let config = match Config::read(&asked.file.config) {
        Ok(config) => config,
        Err(errors) => {
            complain(&errors);
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    let ttl = u32::try_from(asked.ttl.as_secs()).unwrap_or(u32::MAX);
    let user = asked.user.as_deref();
    match credentials::issue(&config.secrets.ring, user, ttl, clock::unix()) {
        Ok(credential) => {
            let servers = rest::ice_servers(&config, &credential);
            if asked.json {
                println!("{servers}");
            } else {
                println!("username: {}", credential.username);
                println!("password: {}", credential.password.as_str());
                println!("{servers:#}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("turnd credential: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}
