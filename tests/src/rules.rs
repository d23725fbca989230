//! Runs each rule of an RFC against our relay and against coturn, and prints what both did.
//!
//! Our relay has to keep every rule. Where coturn does not, the rule says so itself, with what is
//! seen instead and why; a deviation that is gone fails, so that none outlives its cause.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::client::Client;
use crate::link::Link;
use crate::subject::{Kind, Setup, Subject};

/// Tests that run at once: they wait most of their time.
const THREADS: usize = 8;

/// One rule: a name that says it, and its check.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The check's own name.
    pub name: &'static str,
    /// Panics where the rule does not hold.
    pub check: fn(&Case<'_>),
}

/// Rules from the names of their functions.
#[macro_export]
macro_rules! rules {
    ($($check:ident),* $(,)?) => {
        &[$($crate::rules::Rule { name: stringify!($check), check: $check }),*]
    };
}

/// One rule under test on one server.
#[derive(Debug)]
pub struct Case<'a> {
    /// The server.
    pub subject: &'a Subject,
    deviation: RefCell<Option<Deviation>>,
    not_run: RefCell<Option<String>>,
}

#[derive(Debug, Clone, Copy)]
struct Deviation {
    seen: &'static str,
    why: &'static str,
    /// Whether it is a matter of timing, so that the rule may hold.
    sometimes: bool,
}

impl Case<'_> {
    /// A client over each family the server listens on.
    pub fn clients(&self) -> Vec<Client> {
        let listen = self.subject.listen();
        listen
            .into_iter()
            .map(Link::udp)
            .map(Client::over)
            .collect()
    }

    /// A client over each kind of stream the server serves.
    pub fn streams(&self) -> Vec<Client> {
        let listen = self.subject.listen();
        let tcp = listen.iter().map(|server| Link::tcp(*server));
        let trusted = &self.subject.certificate.chain;
        let tls = listen.iter().map(|server| Link::tls(*server, trusted));
        tcp.chain(tls).map(Client::over).collect()
    }

    /// Says that both servers break this rule, as [`Self::coturn_deviates`] does.
    pub fn deviates(&self, seen: &'static str, why: &'static str) {
        self.expect(Deviation {
            seen,
            why,
            sometimes: false,
        });
    }

    fn expect(&self, deviation: Deviation) {
        QUIET.set(true);
        self.deviation.replace(Some(deviation));
    }

    /// The same where coturn keeps the rule if the moment is right.
    pub fn coturn_may_deviate(&self, seen: &'static str, why: &'static str) {
        if self.subject.kind == Kind::Coturn {
            self.expect(Deviation {
                seen,
                why,
                sometimes: true,
            });
        }
    }

    /// Says that coturn breaks this rule: its check fails with a message that has `seen` in it.
    pub fn coturn_deviates(&self, seen: &'static str, why: &'static str) {
        if self.subject.kind == Kind::Coturn {
            self.deviates(seen, why);
        }
    }

    /// Says that the check is not run here, and why.
    pub fn not_run(&self, why: &str) {
        self.not_run.replace(Some(why.to_owned()));
    }
}

thread_local! {
    /// A panic in this thread is expected.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

type Table = Arc<Mutex<BTreeMap<(usize, String), BTreeMap<Kind, String>>>>;

/// Runs `rules` on both servers, started as `setup` says, and prints the table. For a `main`.
///
/// # Panics
/// When a server does not start.
pub fn run(title: &'static str, setup: &Setup, rules: &[(&str, &'static [Rule])]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let table = Table::default();
    let (mut trials, mut subjects) = (Vec::new(), Vec::new());
    for kind in [Kind::Turnd, Kind::Coturn] {
        // Started here, in the thread that lives longest.
        let start = !arguments.list && Subject::available(kind, title);
        let subject = start.then(|| Arc::new(Subject::start(kind, setup.clone())));
        subjects.extend(subject.clone());
        let all = rules.iter().flat_map(|(section, rules)| {
            rules
                .iter()
                .map(move |rule| (rule, format!("{section}::{}", rule.name)))
        });
        for (place, (rule, name)) in all.enumerate() {
            let (subject, table) = (subject.clone(), table.clone());
            let row = (place, name.clone());
            let judged = move || {
                let Some(subject) = subject else {
                    return Ok(());
                };
                let (said, result) = judge(&subject, rule);
                let mut table = table.lock().expect("nobody panics with it");
                table.entry(row).or_default().insert(kind, said);
                result
            };
            trials.push(Trial::test(format!("{name}::{}", kind.name()), judged));
        }
    }
    silence_expected_panics();
    let conclusion = libtest_mimic::run(&arguments, trials);
    print(title, &table.lock().expect("nobody panics with it"));
    if conclusion.has_failed() {
        for subject in subjects {
            println!("\nlog of {}:\n{}", subject.kind.name(), subject.log());
        }
    }
    conclusion.exit_code()
}

/// Checks one rule: what to print, and whether the test passes.
fn judge(subject: &Subject, rule: &Rule) -> (String, Result<(), Failed>) {
    let case = Case {
        subject,
        deviation: RefCell::default(),
        not_run: RefCell::default(),
    };
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (rule.check)(&case)));
    QUIET.set(false);
    let failure = outcome.err().map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    });
    let failed = |text: String| (format!("FAILS: {text}"), Err(Failed::from(text)));
    match (failure, *case.deviation.borrow(), case.not_run.take()) {
        (None, None, None) => ("holds".to_owned(), Ok(())),
        (None, None, Some(why)) => (format!("not run: {why}"), Ok(())),
        (None, Some(known), _) if known.sometimes => ("holds".to_owned(), Ok(())),
        (None, Some(gone), _) => failed(format!("no longer deviates: {}", gone.why)),
        (Some(text), Some(known), _) if text.contains(known.seen) => {
            (format!("deviates: {} ({})", known.seen, known.why), Ok(()))
        }
        (Some(text), _, _) => failed(text),
    }
}

fn silence_expected_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !QUIET.get() {
            usual(info);
        }
    }));
}

fn print(title: &str, table: &BTreeMap<(usize, String), BTreeMap<Kind, String>>) {
    let text = |row: &BTreeMap<Kind, String>, kind| {
        let said = row.get(&kind).map_or("-", String::as_str);
        said.lines().next().unwrap_or_default().to_owned()
    };
    if !table.is_empty() {
        println!("\n{title}: rule | turnd | coturn");
    }
    for ((_, name), row) in table {
        println!(
            "{name} | {} | {}",
            text(row, Kind::Turnd),
            text(row, Kind::Coturn)
        );
    }
}
