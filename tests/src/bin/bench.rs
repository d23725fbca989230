//! `bench`: what relaying costs, of everybody, as one table.
#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use cluster_tests::{
    bench::{
        Schedule, cases,
        kinds::Kind,
        record::Records,
        run,
        server::Bench,
        subjects::{Common, Subject},
        table,
    },
    subject::Certificate,
};
use local_cluster::children;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Measures turnd beside coturn, webrtc-rs and bare forwarders, one server at a time on core 0, the
/// generator on core 1, in rounds; then prints medians, ratios and what was to be reached.
#[derive(Debug, Parser)]
struct Arguments {
    /// Cases by name or a part of it; all unless told.
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// Print the cases' names and who takes part, run nothing.
    #[arg(long)]
    list: bool,
    /// Subjects by name: turnd, coturn, plain, mmsg, gso, webrtc-rs, and those of --also; all but
    /// plain unless told. Each takes part in the cases that --list names it for.
    #[arg(long, num_args = 1..)]
    subjects: Vec<String>,
    /// Two rounds of half a second each: a look, not a measurement.
    #[arg(long)]
    quick: bool,
    /// How often everything is run [default: 5].
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of each measurement [default: 1].
    #[arg(long)]
    seconds: Option<f64>,
    /// Write every run's numbers to this file, as they come.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Take in the runs of such files, too; with --rounds 0 they are all there is.
    #[arg(long, num_args = 1..)]
    read: Vec<PathBuf>,
    /// Let the generator never sleep: servers do not have to wake it then.
    #[arg(long)]
    spin: bool,
    /// Another turnd than the one built with this.
    #[arg(long)]
    turnd: Option<PathBuf>,
    /// Another coturn than the one installed.
    #[arg(long, default_value = "turnserver")]
    coturn: PathBuf,
    /// Further builds of turnd, each with a name for its column.
    #[arg(long, value_name = "NAME=PATH", value_parser = named)]
    also: Vec<(String, PathBuf)>,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}

impl Arguments {
    /// Everybody, in the order of the columns, with the names that are taken only when asked for.
    fn everybody(&self, directory: &Path) -> Vec<(String, Kind, PathBuf)> {
        let ours = |name: &str| directory.join(name);
        let turnd = self.turnd.clone().unwrap_or_else(|| ours("turnd"));
        let listed = [
            (Kind::Turnd, turnd),
            (Kind::Coturn, self.coturn.clone()),
            (Kind::Plain, ours("forwarder")),
            (Kind::Mmsg, ours("forwarder")),
            (Kind::Gso, ours("forwarder")),
            (Kind::WebrtcRs, ours("webrtc_turn_server")),
        ];
        let mut everybody: Vec<_> = listed
            .map(|(kind, path)| (kind.name().to_owned(), kind, path))
            .into();
        let also = self.also.iter().cloned();
        everybody.splice(1..1, also.map(|(name, path)| (name, Kind::Turnd, path)));
        everybody
    }

    /// Those that are asked for and can be started; says who cannot.
    fn subjects(&self, directory: &Path) -> Result<Vec<Subject>, String> {
        let everybody = self.everybody(directory);
        for name in &self.subjects {
            if !everybody.iter().any(|(known, ..)| known == name) {
                return Err(format!("{name:?} is no subject"));
            }
        }
        let mut subjects = Vec::new();
        for (number, (name, kind, program)) in (1..).zip(everybody) {
            let asked = if self.subjects.is_empty() {
                kind != Kind::Plain
            } else {
                self.subjects.contains(&name)
            };
            if !asked {
                continue;
            }
            let Some(program) = find(&program) else {
                eprintln!("{name} is skipped: {} is not there", program.display());
                continue;
            };
            subjects.push(Subject {
                name,
                kind,
                program,
                ip: [127, 0, 83, number].into(),
            });
        }
        Ok(subjects)
    }
}

/// The executable `program`, which is looked for on the path when it is a mere name.
fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).map(|directory| directory.join(program));
    places.find(|place| place.is_file())
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    if arguments
        .get(1)
        .is_some_and(|first| first == children::UNDER)
    {
        // This executable is the starter of what it measures, too.
        eprintln!("cannot start: {}", children::run_under(&arguments[2..]));
        return ExitCode::FAILURE;
    }
    match measure(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: interrupted; the tables show what was measured until then");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints; false when it was told to stop.
fn measure(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let cases = cases::select(&arguments.only)?;
    if arguments.list {
        for case in &cases {
            let who: Vec<_> = case.who.iter().map(|kind| kind.name()).collect();
            println!("{:<22} {}", case.name, who.join(" "));
        }
        return Ok(true);
    }
    let exe = env::current_exe()?;
    let directory = exe.parent().ok_or("this executable is nowhere")?;
    let names = arguments.everybody(directory).into_iter();
    let names: Vec<String> = names.map(|(name, ..)| name).collect();
    let mut records = Records::default();
    for file in &arguments.read {
        records
            .read(file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let (rounds, warmup, seconds) = if arguments.quick {
        (2, 0.2, 0.5)
    } else {
        (5, 0.3, 1.0)
    };
    let schedule = Schedule {
        cases,
        subjects: arguments.subjects(directory)?,
        rounds: arguments.rounds.unwrap_or(rounds),
        json: arguments.json.clone(),
    };
    let files = tempfile::tempdir()?;
    let bench = Bench {
        common: Common {
            directory: files.path().to_owned(),
            secret: format!("a secret for {}", files.path().display()),
            certificate: certificate(files.path(), &schedule.subjects),
        },
        load: directory.join("load"),
        spin: arguments.spin,
        times: [
            Duration::from_secs_f64(warmup),
            Duration::try_from_secs_f64(arguments.seconds.unwrap_or(seconds))?,
        ],
        stop: Arc::new(AtomicBool::new(false)),
    };
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, bench.stop.clone())?;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    run(&bench, &schedule, &mut records)?;
    println!("{}", table::all(&records, &names));
    Ok(!bench.stop.load(Ordering::Relaxed))
}

fn certificate(directory: &Path, subjects: &[Subject]) -> Certificate {
    let addresses: Vec<_> = subjects.iter().map(|subject| subject.ip.into()).collect();
    Certificate::make(directory, &addresses)
}
