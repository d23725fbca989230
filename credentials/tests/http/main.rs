//! The REST surface, request by request, through the router and without a socket.
#![cfg(feature = "http")]

mod answers;
mod refusals;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use credentials::http::{ApiKey, Endpoint, Issuer, Ports, Provider, RateLimit, router};
use credentials::label::{Label, LabelKeys, Lane};
use credentials::{Secret, SecretRing, TtlPolicy, UnixTime};
use serde_json::Value;
use tower::ServiceExt as _;

const NOW: u64 = 1_800_000_000;
const KEY: &str = "key-of-the-demo-tenant";
const OTHER_KEY: &str = "key-of-another-tenant";
const ZONE: &str = "turn.example";

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).expect("long enough")
}

fn ring() -> SecretRing {
    SecretRing::new(
        secret("the current shared secret"),
        vec![secret("the previous one")],
    )
    .expect("a short ring")
}

struct World {
    issuer: Arc<Issuer>,
    draws: AtomicU8,
    ready: AtomicBool,
}

impl Provider for World {
    fn issuer(&self) -> Arc<Issuer> {
        Arc::clone(&self.issuer)
    }

    fn now(&self) -> UnixTime {
        UnixTime(NOW)
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.draws.fetch_add(1, Ordering::Relaxed) + 1);
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

fn world(rate: RateLimit) -> Arc<World> {
    let ttl = TtlPolicy {
        min: 60,
        default: 3600,
        max: 86400,
    };
    let key = |id: &str, text: &str| ApiKey {
        id: id.to_owned(),
        secret: secret(text),
        ttl,
        rate,
    };
    let issuer = Issuer::new(
        ring(),
        LabelKeys::derive(&ring()),
        vec![key("other", OTHER_KEY), key("demo", KEY)],
        Endpoint {
            zone: ZONE.to_owned(),
            ports: Ports {
                udp: 3478,
                tcp: Some(3479),
                tls: Some(443),
            },
            stun: true,
        },
        Box::new(|client| (client == IpAddr::from([198, 51, 100, 7])).then(|| "eu".to_owned())),
        600,
    );
    let issuer = Arc::new(issuer.expect("a right issuer"));
    Arc::new(World {
        issuer,
        draws: AtomicU8::new(0),
        ready: AtomicBool::new(true),
    })
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// The labels of both lanes, opened at `NOW`.
    fn labels(&self) -> [Label; 2] {
        let keys = LabelKeys::derive(&ring());
        Lane::ALL.map(|lane| {
            let host = self.body["lanes"][lane.as_str()].as_str().expect("a host");
            let (label, rest) = host.split_once('.').expect("a label");
            assert_eq!(rest, format!("{}.{ZONE}", lane.as_str()));
            keys.open(label.as_bytes(), lane, UnixTime(NOW))
                .expect("our own label")
        })
    }
}

async fn call(world: &Arc<World>, request: Request<Body>) -> Reply {
    let provider: Arc<dyn Provider> = Arc::<World>::clone(world);
    let response = router(provider)
        .oneshot(request)
        .await
        .expect("the router never fails");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 16).await.expect("a short body");
    let reply = Reply {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).expect("JSON, whatever happens"),
    };
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(reply.header("content-type").starts_with("application/json"));
    reply
}

fn request(method: Method, uri: &str, body: impl Into<Body>) -> Request<Body> {
    let builder = Request::builder().method(method).uri(uri);
    builder
        .header("authorization", format!("Bearer {KEY}"))
        .body(body.into())
        .expect("a request")
}

async fn get(uri: &str) -> Reply {
    call(&world(RateLimit::default()), request(Method::GET, uri, "")).await
}

async fn post(uri: &str, content_type: &str, body: &'static str) -> Reply {
    let mut request = request(Method::POST, uri, body);
    request
        .headers_mut()
        .insert("content-type", content_type.parse().expect("a header"));
    call(&world(RateLimit::default()), request).await
}
