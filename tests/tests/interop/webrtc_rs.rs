//! The client of webrtc-rs: what Rust applications bring along.

use std::sync::Arc;

use cluster_tests::client::Echo;
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::subject::{DEADLINE, Login, client_address};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

pub(crate) const RULES: &[Rule] = rules![relays_over_udp];

/// Allocate, permission, channel and data, all by one `send_to`.
fn relays_over_udp(case: &Case<'_>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let relayed = async { timeout(DEADLINE, relay(case)).await.expect("in time") };
    runtime.unwrap().block_on(relayed);
}

async fn relay(case: &Case<'_>) {
    let echo = Echo::on(client_address());
    let socket = UdpSocket::bind((client_address(), 0)).await.unwrap();
    let login = Login::of("webrtc-rs");
    let client = Client::new(ClientConfig {
        stun_serv_addr: String::new(),
        turn_serv_addr: case.subject.v4().to_string(),
        username: login.username,
        password: login.password,
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    });
    let client = client.await.unwrap();
    client.listen().await.unwrap();
    let relayed = client.allocate().await.unwrap();
    for number in 0..100_u8 {
        let payload = vec![number; 1000];
        relayed.send_to(&payload, echo.address()).await.unwrap();
        let mut buffer = [0; 2000];
        let (length, from) = relayed.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&payload[..], echo.address()));
    }
    relayed.close().await.unwrap();
    client.close().await.unwrap();
}
