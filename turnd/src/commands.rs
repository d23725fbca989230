//! The subcommands that answer and end.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use settings::Errors;

use crate::cli::{self, EXIT_CONFIGURATION, EXIT_FAILURE};
use crate::config::Config;
use crate::operator::{self, Order};
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

/// `turnd reload`: what has changed, or every reason why nothing has.
///
/// The file names the socket. One that is wrong is refused here already, as the relay would.
pub fn reload(ask: &cli::Ask) -> ExitCode {
    let answer = match answer(ask, Order::Reload) {
        Ok(answer) => answer,
        Err(Unasked::Wrong(errors)) => {
            let lines: Vec<_> = errors.to_string().lines().map(str::to_owned).collect();
            json!({ "ok": false, "problems": lines })
        }
        Err(unasked) => return unasked.tell(),
    };
    let lines = |key: &str| {
        let list = answer[key].as_array().into_iter().flatten();
        let texts: Vec<_> = list.filter_map(|line| line.as_str()).collect();
        texts.join("\n")
    };
    let ok = answer["ok"] == true;
    if ask.json {
        println!("{answer}");
    } else if ok {
        let changes = lines("changes");
        let none = changes.is_empty();
        println!(
            "{}",
            if none {
                "nothing has changed"
            } else {
                &changes
            }
        );
    } else {
        eprintln!("{}\nnot reloaded: nothing is changed", lines("problems"));
    }
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_CONFIGURATION)
    }
}

/// `turnd status`: how the running relay is.
pub fn status(ask: &cli::Ask) -> ExitCode {
    let answer = match answer(ask, Order::Status) {
        Ok(answer) => answer,
        Err(unasked) => return unasked.tell(),
    };
    if ask.json {
        println!("{answer}");
    } else {
        for (key, value) in answer.as_object().into_iter().flatten() {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            println!("{key}: {text}");
        }
    }
    ExitCode::SUCCESS
}

/// Why the running relay has not answered.
enum Unasked {
    /// The file that names the socket is wrong.
    Wrong(Errors),
    /// It names none, or nobody listens there.
    Nobody(String),
}

impl Unasked {
    fn tell(self) -> ExitCode {
        match self {
            Self::Wrong(errors) => {
                complain(&errors);
                ExitCode::from(EXIT_CONFIGURATION)
            }
            Self::Nobody(why) => {
                eprintln!("{why}");
                ExitCode::from(EXIT_FAILURE)
            }
        }
    }
}

/// The running relay's answer.
fn answer(ask: &cli::Ask, order: Order) -> Result<serde_json::Value, Unasked> {
    let file = &ask.file.config;
    let configured = || {
        let config = Config::read(file).map_err(Unasked::Wrong)?;
        config.socket.ok_or_else(|| {
            let file = file.display();
            Unasked::Nobody(format!(
                "{file}: `admin.socket` is not set: set it, or send SIGHUP"
            ))
        })
    };
    let socket = ask.socket.clone().map_or_else(configured, Ok)?;
    operator::ask(&socket, order).map_err(|error| {
        Unasked::Nobody(format!(
            "no turnd answers behind {}: {error}",
            socket.display()
        ))
    })
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
