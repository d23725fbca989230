//! Waiting for conditions with deadlines, and how long each name server took to answer as hoped.

use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use local_cluster::dns::{self, Reply};

use crate::process::Cluster;

/// Pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one question to a name server may take before it counts as unanswered.
const PATIENCE: Duration = Duration::from_millis(400);

/// Looks at `condition` until it gives something.
///
/// # Panics
/// When it has not after `limit`; the message says `what` was waited for.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        thread::sleep(PAUSE);
    }
}

/// Asks `server` for the addresses of `name` as a client of the default region.
pub fn ask(server: SocketAddrV4, name: &str) -> std::io::Result<Reply> {
    dns::ask(server, *server.ip(), name, PATIENCE)
}

/// How long after `start` every one of `names` was answered as `good` wants, for each name
/// server; and that it stayed so for another `hold`. Printed as `measured <label> <server> <s>`.
///
/// # Panics
/// When a name server takes longer than `limit`, or goes back to a bad answer.
pub fn measure(
    cluster: &Cluster,
    label: &str,
    names: &[String],
    start: Instant,
    (limit, hold): (Duration, Duration),
    good: impl Fn(&Reply) -> bool + Sync,
) -> Vec<Duration> {
    let one = |server: SocketAddrV4| -> Result<Duration, String> {
        let mut since: Option<Instant> = None;
        loop {
            let asked = Instant::now();
            let bad = names.iter().find_map(|name| match ask(server, name) {
                Ok(reply) if good(&reply) => None,
                other => Some(format!("{name}: {other:?}")),
            });
            match (bad, since) {
                (None, None) => since = Some(Instant::now()),
                (None, Some(since)) if since.elapsed() >= hold => return Ok(since - start),
                (None, Some(_)) => {}
                (Some(bad), Some(since)) => {
                    return Err(format!("good at {:?}, then {bad}", since - start));
                }
                (Some(bad), None) if start.elapsed() > limit => return Err(bad),
                (Some(_), None) => {}
            }
            thread::sleep(PAUSE.saturating_sub(asked.elapsed()));
        }
    };
    let taken: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = cluster
            .ready
            .dns_servers
            .iter()
            .map(|server| (server, scope.spawn(|| one(server.address))))
            .collect();
        let joined = asking
            .into_iter()
            .map(|(server, thread)| (&server.id, thread.join()));
        joined
            .map(|(id, taken)| (id, taken.expect("asking panicked")))
            .collect()
    });
    for (id, taken) in &taken {
        match taken {
            Ok(taken) => println!("measured {label} {id} {:.2} s", taken.as_secs_f64()),
            Err(bad) => println!("measured {label} {id} never: {bad}"),
        }
    }
    let taken = taken.into_iter().map(|(id, taken)| {
        let taken = taken.unwrap_or_else(|bad| panic!("{label}: {id} within {limit:?}: {bad}"));
        assert!(
            taken <= limit,
            "{label}: {id} took {taken:?}, more than {limit:?}"
        );
        taken
    });
    taken.collect()
}
