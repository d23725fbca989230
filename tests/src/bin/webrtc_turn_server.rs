//! `webrtc_turn_server`: the TURN server of webrtc-rs, to be measured beside ours.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Parser;
use cluster_tests::stun::{long_term_key, rest_password_bytes};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use turn::{
    auth::AuthHandler,
    relay::relay_range::RelayAddressGeneratorRanges,
    server::{
        Server,
        config::{ConnConfig, ServerConfig},
    },
};
use webrtc_util::vnet::net::Net;

/// Relays on this machine as the server of webrtc-rs does, in one thread.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where clients send to, on loopback; its address is the relay's, too.
    #[arg(long)]
    listen: SocketAddr,
    /// The shared secret of time-limited credentials.
    #[arg(long)]
    secret: String,
    /// The first port of relayed addresses.
    #[arg(long, default_value_t = 49_152)]
    min_port: u16,
    /// The last port of relayed addresses.
    #[arg(long, default_value_t = 65_535)]
    max_port: u16,
    /// The realm.
    #[arg(long, default_value = "bench.test")]
    realm: String,
}

/// Passwords of time-limited user names; their time is not looked at.
struct Passwords {
    secret: String,
}

impl AuthHandler for Passwords {
    fn auth_handle(
        &self,
        username: &str,
        realm: &str,
        _: SocketAddr,
    ) -> Result<Vec<u8>, turn::Error> {
        let password = STANDARD.encode(rest_password_bytes(self.secret.as_bytes(), username));
        Ok(long_term_key(username, realm, &password).to_vec())
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("webrtc_turn_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let ip: IpAddr = arguments.listen.ip();
    if !ip.is_loopback() {
        return Err(format!("{ip} is not a loopback address").into());
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let conn = Arc::new(tokio::net::UdpSocket::bind(arguments.listen).await?);
        let relays = RelayAddressGeneratorRanges {
            relay_address: ip,
            min_port: arguments.min_port,
            max_port: arguments.max_port,
            // The library's own choice.
            max_retries: 0,
            address: ip.to_string(),
            net: Arc::new(Net::new(None)),
        };
        let server = Server::new(ServerConfig {
            conn_configs: vec![ConnConfig {
                conn,
                relay_addr_generator: Box::new(relays),
            }],
            realm: arguments.realm,
            auth_handler: Arc::new(Passwords {
                secret: arguments.secret,
            }),
            // The library's own choice.
            channel_bind_timeout: Duration::ZERO,
            alloc_close_notify: None,
        })
        .await?;
        tokio::signal::ctrl_c().await?;
        server.close().await?;
        Ok(())
    })
}
