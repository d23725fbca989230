//! `forwarder`: what moving datagrams costs when nothing else is done.
#![forbid(unsafe_code)]

use std::{io, net::SocketAddrV4, process::ExitCode};

use clap::Parser;
use cluster_tests::forwarder::{Forwarder, Mode};
use nix::sys::{
    epoll::EpollTimeout,
    resource::{Resource, getrlimit, setrlimit},
};

/// Forwards datagrams between clients and peers on this machine, in one thread.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where clients send to, on loopback.
    #[arg(long)]
    listen: SocketAddrV4,
    /// How datagrams are received and sent.
    #[arg(long, value_enum)]
    mode: Mode,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("forwarder: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<std::convert::Infallible> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let mut forwarder = Forwarder::bind(arguments.listen, arguments.mode)?;
    loop {
        forwarder.turn(EpollTimeout::NONE)?;
    }
}
