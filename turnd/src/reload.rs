//! What may change while the relay runs, and what needs a restart.

use crate::config::Config;

/// The keys whose change needs a restart: sockets and threads hang on them, or live sessions do.
pub fn needs_restart(now: &Config, new: &Config) -> Vec<&'static str> {
    let (a, b) = (&now.relay, &new.relay);
    let rest = |config: &Config| config.rest.as_ref().map(|rest| rest.listen);
    let state = |config: &Config| config.liveness.as_ref().map(|l| l.state_file.clone());
    let changed = [
        ("relay.id", a.id != b.id),
        ("relay.realm", a.realm != b.realm),
        ("relay.listen", a.listen != b.listen),
        (
            "relay.relay_addresses",
            (a.ipv4, a.ipv6) != (b.ipv4, b.ipv6),
        ),
        ("relay.relay_ports", a.ports != b.ports),
        ("relay.workers", a.worker_count() != b.worker_count()),
        (
            "relay.receive_buffer",
            a.buffers.receive != b.buffers.receive,
        ),
        ("relay.send_buffer", a.buffers.send != b.buffers.send),
        ("rest.listen", rest(now) != rest(new)),
        ("admin.listen", now.admin != new.admin),
        ("liveness", now.liveness.is_some() != new.liveness.is_some()),
        (
            "liveness.state_file",
            state(now).flatten() != state(new).flatten(),
        ),
        ("log.format", now.log.format != new.log.format),
    ];
    changed
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect()
}
