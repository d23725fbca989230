//! Opens everything a relay listens on, and says clearly what cannot be opened.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use axum::Router;
use tokio::sync::mpsc;
use turnd_core::{Admission, Relay};

use crate::admission::Gate;
use crate::config::{self, Config};
use crate::http::Exchange;
use crate::metrics::Metrics;
use crate::net::dtls::cookie::Cookies;
use crate::net::dtls::table::Sessions;
use crate::net::stream::Entrance;
use crate::net::stream::listener::Tcp;
use crate::net::udp::{Sharing, Udp};
use crate::rest::Credentials;
use crate::status::Status;
use crate::tls::Served;
use crate::worker::{Handle, Listener, Listening, Order, Worker};
use crate::{admin, clock, core_config, http, operator, rest, tls};

/// Why the relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be used.
    #[error("`{key}`: {address}: {}", why(.source))]
    Address {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The admin socket cannot be used.
    #[error("`admin.socket`: {path}: {}", why(.source))]
    Socket {
        /// The socket.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The state file cannot be used.
    #[error("`liveness.state_file`: {path}: {source}")]
    StateFile {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl StartError {
    fn address(key: &'static str, address: SocketAddr, source: io::Error) -> Self {
        Self::Address {
            key,
            address,
            source,
        }
    }

    /// For `map_err`: `what` was tried.
    pub fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process has this port already".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied (a port below 1024 needs CAP_NET_BIND_SERVICE)".to_owned()
        }
        _ => error.to_string(),
    }
}

/// All sockets that are open before the relay serves.
#[derive(Debug)]
pub struct Opened {
    /// One per worker thread.
    pub workers: Vec<Worker>,
    /// The REST listener.
    pub rest: Option<TcpListener>,
    /// The admin listener.
    pub admin: Option<TcpListener>,
    /// The socket that operators give orders on.
    pub socket: Option<UnixListener>,
}

/// Opens the sockets of `config`; what is opened later is bounded by `entrance`.
///
/// # Errors
/// The first that cannot be opened, with its configuration key.
pub fn open(config: &Config, entrance: &Entrance) -> Result<Opened, StartError> {
    let relay = &config.relay;
    // Before anything is opened for good: every address that somebody else has.
    for at in listening(config) {
        free(at, relay)?;
    }
    for ip in relay.relay_ips() {
        let address = SocketAddr::new(ip, 0);
        let any_port = Udp::bind(address, Sharing::Exclusive, relay.buffers);
        any_port.map_err(|error| StartError::address("relay.relay_addresses", address, error))?;
    }
    let cookies = Cookies::new(random()?, clock::instant());
    let worker = || {
        let (certificates, caps) = (Arc::clone(&entrance.certificates), entrance.caps.clone());
        let dtls = Sessions::new(cookies.clone(), certificates, caps);
        let mut worker = Worker::new(relay.buffers, entrance.clone(), dtls)
            .map_err(StartError::system("no event queue for a worker"))?;
        for at in listening(config) {
            Listener::open(at, relay.buffers)
                .and_then(|listener| worker.listen(listener))
                .map_err(|error| StartError::address(at.key(), at.address(), error))?;
        }
        Ok(worker)
    };
    let workers: Result<Vec<_>, _> = (0..relay.worker_count()).map(|_| worker()).collect();
    Ok(Opened {
        workers: workers?,
        rest: tcp("rest.listen", config.rest.as_ref().map(|rest| rest.listen))?,
        admin: tcp("admin.listen", config.admin)?,
        socket: config.socket.as_deref().map(operator::bind).transpose()?,
    })
}

/// What clients come to by a configuration.
pub fn listening(config: &Config) -> Vec<Listening> {
    let udp = config.relay.listen.iter().copied().map(Listening::Udp);
    let tcp = config.relay.listen_tcp.iter().copied().map(Listening::Tcp);
    udp.chain(tcp).collect()
}

/// Opens one more listener for each worker.
///
/// # Errors
/// When somebody has the address, or it cannot be used.
pub fn listeners(at: Listening, relay: &config::Relay) -> Result<Vec<Listener>, StartError> {
    free(at, relay)?;
    let open = |_| Listener::open(at, relay.buffers);
    let opened: Result<_, _> = (0..relay.worker_count()).map(open).collect();
    opened.map_err(|error| StartError::address(at.key(), at.address(), error))
}

/// Whether nobody has an address. The workers' own listeners share their port, also with a second
/// relay of the same user: only an exclusive socket finds out.
fn free(at: Listening, relay: &config::Relay) -> Result<(), StartError> {
    let alone = match at {
        Listening::Udp(address) => Udp::bind(address, Sharing::Exclusive, relay.buffers).map(drop),
        Listening::Tcp(address) => Tcp::bind(address, Sharing::Exclusive).map(drop),
    };
    alone.map_err(|error| StartError::address(at.key(), at.address(), error))
}

/// Opens a listener for HTTP.
///
/// # Errors
/// When the address cannot be used.
pub fn tcp(
    key: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<TcpListener>, StartError> {
    let bind = |address| {
        TcpListener::bind(address).map_err(|error| StartError::address(key, address, error))
    };
    address.map(bind).transpose()
}

/// What TLS and DTLS are served with; `None` when neither is.
///
/// # Errors
/// When it cannot be made of the certificate.
pub fn tls(config: &Config) -> Result<Option<Served>, StartError> {
    let made = config.tls.as_ref().map(tls::served).transpose();
    made.map_err(StartError::system("`tls.certificate` cannot be served"))
}

fn random() -> Result<[u8; 32], StartError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| StartError::system("no randomness")(io::Error::other(error)))?;
    Ok(bytes)
}

/// Starts the worker threads on their open sockets.
///
/// # Errors
/// When the system has no randomness or no thread for them.
pub fn workers(
    opened: Vec<Worker>,
    config: &Config,
    gate: &Arc<Gate>,
) -> Result<Vec<Handle>, StartError> {
    let cores = core_config::per_worker(config, &[]).unwrap_or_default();
    let letterboxes: Arc<[_]> = opened.iter().map(Worker::letterbox).collect();
    let start = |(index, (worker, core)): (usize, (Worker, _))| {
        let relay = Relay::new(core, Arc::clone(gate) as Arc<dyn Admission>, random()?);
        let handle = worker
            .start(relay, index, Arc::clone(&letterboxes))
            .map_err(StartError::system("a worker was not started"))?;
        handle.tell(Order::Gather(config.relay.gather));
        Ok(handle)
    };
    opened
        .into_iter()
        .zip(cores)
        .enumerate()
        .map(start)
        .collect()
}

/// The thread that answers HTTP, seen from the control thread.
#[derive(Debug)]
pub struct Http {
    /// What REST answers are made of.
    pub credentials: Option<Arc<Credentials>>,
    /// Exchanges the REST listener.
    pub rest: Exchange,
    /// Exchanges the admin listener.
    pub admin: Exchange,
}

/// Starts the thread that answers HTTP, apart from the control thread so that a flood of requests
/// delays no report.
///
/// # Errors
/// When the system has no thread for it.
pub fn http(
    rest: Option<TcpListener>,
    admin: Option<TcpListener>,
    config: &Config,
    workers: &[Handle],
    status: &Arc<Status>,
) -> Result<Http, StartError> {
    let credentials = match &config.rest {
        Some(section) => {
            let issuer = rest::issuer(config, section).map_err(io::Error::other);
            let issuer = issuer.map_err(StartError::system("the REST endpoint"))?;
            Some(Arc::new(Credentials::new(issuer, Arc::clone(status))))
        }
        None => None,
    };
    let shared = workers
        .iter()
        .map(|worker| Arc::clone(&worker.shared))
        .collect();
    let admin_routes = admin::router(Arc::clone(status), Metrics::new(shared, Arc::clone(status)));
    let rest_routes = credentials
        .clone()
        .map_or_else(Router::new, |provider| credentials::http::router(provider));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::system("the HTTP runtime was not started"))?;
    let (rest_exchange, rest_listeners) = mpsc::unbounded_channel();
    let (admin_exchange, admin_listeners) = mpsc::unbounded_channel();
    // The receivers are right here.
    let _ = rest_exchange.send(rest);
    let _ = admin_exchange.send(admin);
    let serve = move || {
        let rest = http::serve(rest_listeners, rest_routes);
        let admin = http::serve(admin_listeners, admin_routes);
        runtime.block_on(async { tokio::join!(rest, admin) });
    };
    std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(serve)
        .map_err(StartError::system("the HTTP thread was not started"))?;
    Ok(Http {
        credentials,
        rest: rest_exchange,
        admin: admin_exchange,
    })
}
