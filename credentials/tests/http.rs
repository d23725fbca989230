//! The REST surface, request by request, through the router and without a socket.
#![cfg(feature = "http")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use credentials::http::{ApiKey, Endpoint, Issuer, Provider, RateLimit, router};
use credentials::label::{Label, LabelKeys, Lane, Tag};
use credentials::{Secret, SecretRing, TtlPolicy, UnixTime, password};
use http_body_util::channel::Channel;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const NOW: u64 = 1_800_000_000;
const KEY: &str = "key-of-the-demo-tenant";
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
        vec![key("other", "key-of-another-tenant"), key("demo", KEY)],
        Endpoint {
            zone: ZONE.to_owned(),
            udp_port: 3478,
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

#[tokio::test]
async fn ice_servers_for_a_browser() {
    let reply = get("/v1/credentials?user=alice:1@example.org&ttl=7200").await;
    assert_eq!(reply.status, StatusCode::OK);
    let hosts = ["a", "b"].map(|lane| reply.body["lanes"][lane].as_str().expect("a host"));
    let username = format!("{}:alice:1@example.org", NOW + 7200);
    assert_eq!(
        reply.body,
        json!({
            "iceServers": [
                {
                    "urls": hosts.map(|host| format!("turn:{host}:3478?transport=udp")),
                    "username": username,
                    "credential": *password(ring().current(), &username),
                },
                { "urls": hosts.map(|host| format!("stun:{host}:3478")) },
            ],
            "ttl": 7200,
            "expires": NOW + 7200,
            "lanes": { "a": hosts[0], "b": hosts[1] },
        })
    );
    let [a, b] = reply.labels();
    assert_eq!(a, b);
    let expires = UnixTime(NOW + 600);
    assert_eq!(
        a,
        Label {
            draw: 0x0101_0101_0101,
            region: None,
            avoid: [None; 2],
            expires
        }
    );
}

#[tokio::test]
async fn every_answer_has_fresh_labels() {
    let world = world(RateLimit::default());
    let first = call(&world, request(Method::GET, "/v1/credentials", "")).await;
    let second = call(&world, request(Method::GET, "/v1/credentials", "")).await;
    assert_ne!(first.body["lanes"], second.body["lanes"]);
    assert_ne!(first.labels()[0].draw, second.labels()[0].draw);
    assert_eq!(
        first.body["iceServers"][0]["username"],
        format!("{}", NOW + 3600)
    );
}

#[tokio::test]
async fn the_draft_as_its_clients_speak_it() {
    let query = format!("service=turn&username=bob&key={KEY}");
    // Janus sends the query in the URL and again as the body, and both `api` and `key`.
    let janus = format!("service=turn&api={KEY}&key={KEY}&username=bob");
    for (method, uri, body) in [
        (Method::GET, format!("/?{query}"), String::new()),
        (Method::POST, "/".to_owned(), query.clone()),
        (Method::POST, format!("/?{janus}"), janus),
    ] {
        let builder = Request::builder().method(method.clone()).uri(&uri);
        let form = "application/x-www-form-urlencoded";
        let asked = builder
            .header("content-type", form)
            .body(body.into())
            .expect("a request");
        let reply = call(&world(RateLimit::default()), asked).await;
        assert_eq!(reply.status, StatusCode::OK, "{method} {uri}");
        let username = format!("{}:bob", NOW + 3600);
        assert_eq!(reply.body["username"], username);
        assert_eq!(
            reply.body["password"],
            *password(ring().current(), &username)
        );
        assert_eq!(reply.body["ttl"], 3600);
        let uris = reply.body["uris"].as_array().expect("a list");
        assert_eq!(uris.len(), 2);
        for (uri, lane) in uris.iter().zip(["a", "b"]) {
            let uri = uri.as_str().expect("text");
            assert!(uri.starts_with("turn:"), "{uri}");
            assert!(
                uri.ends_with(&format!(".{lane}.{ZONE}:3478?transport=udp")),
                "{uri}"
            );
        }
    }
    let bearer = get("/?service=turn").await;
    assert_eq!(bearer.body["username"], format!("{}", NOW + 3600));
}

#[tokio::test]
async fn where_the_client_is_and_what_failed_it() {
    let eu = Some(Tag::of_name("eu"));
    let (v4, v6) = (
        IpAddr::from([192, 0, 2, 1]),
        "2001:db8::1".parse().expect("an address"),
    );
    let (v4, v6): (_, IpAddr) = (Some(Tag::of_addr(v4)), v6);
    let v6 = Some(Tag::of_addr(v6));
    for (query, region, avoid) in [
        ("client=198.51.100.7", eu, [None; 2]),
        ("client=::ffff:198.51.100.7", eu, [None; 2]),
        ("client=203.0.113.1", None, [None; 2]),
        ("region=EU&client=203.0.113.1", eu, [None; 2]),
        ("region=&failed=", None, [None; 2]),
        ("failed=192.0.2.1:3478", None, [v4, None]),
        ("failed=[2001:db8::1]:3478", None, [v6, None]),
        (
            "failed=%5B2001%3Adb8%3A%3A1%5D%3A3478&failed=::ffff:192.0.2.1",
            None,
            [v6, v4],
        ),
        (
            "failed=192.0.2.1&failed=192.0.2.1:1&failed=2001:db8::1&failed=::1",
            None,
            [v4, v6],
        ),
    ] {
        let reply = get(&format!("/v1/credentials?{query}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{query}: {}", reply.body);
        for label in reply.labels() {
            assert_eq!((label.region, label.avoid), (region, avoid), "{query}");
        }
    }
}

#[tokio::test]
async fn parameters_in_a_json_body() {
    let body = r#"{"user":"alice","ttl":60,"client":null,"region":"eu","failed":["192.0.2.1"]}"#;
    for content_type in ["application/json", "application/x-www-form-urlencoded"] {
        let reply = post("/v1/credentials", content_type, body).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        assert_eq!(
            reply.body["iceServers"][0]["username"],
            format!("{}:alice", NOW + 60)
        );
        assert_eq!(reply.labels()[0].region, Some(Tag::of_name("eu")));
        assert!(reply.labels()[1].avoid[0].is_some());
    }
    assert_eq!(
        post("/v1/credentials", "application/json", "").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_life_within_the_policy() {
    for (asked, given) in [
        ("1", 60),
        ("60", 60),
        ("86400", 86400),
        ("4294967295", 86400),
    ] {
        let reply = get(&format!("/v1/credentials?ttl={asked}")).await;
        assert_eq!(reply.body["ttl"], given);
    }
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let long = format!("/v1/credentials?user={}", "x".repeat(600));
    for (uri, parameter) in [
        ("/v1/credentials?ttl=1h", "ttl"),
        ("/v1/credentials?ttl=0", "ttl"),
        ("/v1/credentials?ttl=-5", "ttl"),
        ("/v1/credentials?ttl=4294967296", "ttl"),
        ("/v1/credentials?ttl=60&ttl=61", "ttl"),
        ("/v1/credentials?client=here", "client"),
        ("/v1/credentials?client=192.0.2.1:5", "client"),
        ("/v1/credentials?region=a_b", "region"),
        ("/v1/credentials?failed=192.0.2.1&failed=x", "failed"),
        ("/v1/credentials?user=a%00b", "user"),
        (long.as_str(), "user"),
        ("/?service=stun", "service"),
        ("/?username=bob", "service"),
        ("/?service=turn&username=a%0Ab", "username"),
    ] {
        let reply = get(uri).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{uri}");
        assert_eq!(reply.body["error"], "bad_parameter", "{uri}");
        assert_eq!(reply.body["parameter"], parameter, "{uri}");
        let detail = reply.body["detail"].as_str().expect("text");
        assert!(detail.starts_with(&format!("{parameter}: ")), "{detail}");
    }
    for body in [
        "{",
        "[]",
        "{\"user\":{}}",
        "{\"failed\":[[]]}",
        "{\"ttl\":true}",
    ] {
        let reply = post("/v1/credentials", "application/json", body).await;
        assert_eq!(
            (reply.status, &reply.body["parameter"]),
            (StatusCode::BAD_REQUEST, &json!("body"))
        );
    }
}

#[tokio::test]
async fn who_is_not_known_gets_nothing() {
    let anonymous = |uri: &str, header: &str| {
        let mut request = Request::builder().uri(uri);
        if !header.is_empty() {
            request = request.header("authorization", header);
        }
        request.body(Body::empty()).expect("a request")
    };
    let basic = format!("Basic {KEY}");
    for (uri, header, challenge) in [
        ("/v1/credentials", "", "Bearer"),
        ("/?service=turn", "", "Bearer"),
        // The key in a query ends up in logs; only the draft's clients cannot do better.
        ("/v1/credentials?key=key-of-the-demo-tenant", "", "Bearer"),
        (
            "/v1/credentials",
            "Bearer key-of-the-demo-tenan",
            "Bearer error=\"invalid_token\"",
        ),
        (
            "/v1/credentials",
            "Bearer ",
            "Bearer error=\"invalid_token\"",
        ),
        (
            "/v1/credentials",
            basic.as_str(),
            "Bearer error=\"invalid_token\"",
        ),
        (
            "/?service=turn&key=wrong",
            "",
            "Bearer error=\"invalid_token\"",
        ),
    ] {
        let reply = call(&world(RateLimit::default()), anonymous(uri, header)).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{uri} {header}");
        assert_eq!(
            reply.header("www-authenticate"),
            challenge,
            "{uri} {header}"
        );
        assert_eq!(reply.body["error"], "unauthorized");
    }
    let scheme = anonymous("/v1/credentials", &format!("bearer {KEY}"));
    assert_eq!(
        call(&world(RateLimit::default()), scheme).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn wrong_routes_methods_and_sizes() {
    let world = world(RateLimit::default());
    let reply = call(&world, request(Method::GET, "/v2/credentials", "")).await;
    assert_eq!(
        (reply.status, &reply.body["error"]),
        (StatusCode::NOT_FOUND, &json!("not_found"))
    );
    let reply = call(&world, request(Method::DELETE, "/v1/credentials", "")).await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(
        reply.header("allow").contains("POST"),
        "{:?}",
        reply.headers
    );
    let reply = call(
        &world,
        request(Method::POST, "/v1/credentials", "x".repeat(4097)),
    )
    .await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    let reply = call(
        &world,
        request(Method::POST, "/v1/credentials", "x".repeat(4096)),
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK);
    let uri = format!("/v1/credentials?x={}", "x".repeat(4096));
    let reply = call(&world, request(Method::GET, &uri, "")).await;
    assert_eq!(reply.status, StatusCode::URI_TOO_LONG);
}

#[tokio::test]
async fn a_key_that_asks_too_often_waits() {
    let world = world(RateLimit {
        per_second: 1,
        burst: 2,
    });
    let provider: Arc<dyn Provider> = Arc::<World>::clone(&world);
    let router = router(provider);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let request = request(Method::GET, "/v1/credentials", "");
        let response = router.clone().oneshot(request).await.expect("an answer");
        let retry = response.headers().get("retry-after").cloned();
        statuses.push((response.status().as_u16(), retry.is_some()));
        if let Some(seconds) = retry {
            let seconds: u8 = seconds.to_str().expect("text").parse().expect("seconds");
            assert!((1..=4).contains(&seconds), "{seconds}");
        }
    }
    assert_eq!(statuses, [(200, false), (200, false), (429, true)]);
}

#[tokio::test]
async fn not_ready_means_come_back() {
    let world = world(RateLimit::default());
    world.ready.store(false, Ordering::Relaxed);
    let reply = call(&world, request(Method::GET, "/v1/credentials", "")).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!reply.header("retry-after").is_empty());
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_end_and_take_only_so_many_places() {
    let world = world(RateLimit::default());
    let provider: Arc<dyn Provider> = Arc::<World>::clone(&world);
    let router = router(provider);
    let mut senders = Vec::new();
    let mut slow = || {
        let (sender, never) = Channel::<Bytes>::new(1);
        senders.push(sender);
        request(Method::POST, "/v1/credentials", Body::new(never))
    };
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..credentials::http::limits::CONCURRENT {
        waiting.spawn(router.clone().oneshot(slow()));
    }
    // The runtime polls some tasks between two polls of this one; after as many yields, all.
    for _ in 0..credentials::http::limits::CONCURRENT {
        tokio::task::yield_now().await;
    }
    let refused = router.clone().oneshot(slow()).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    while let Some(ended) = waiting.join_next().await {
        let ended = ended.expect("no panic").expect("an answer");
        assert_eq!(ended.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(ended.headers()["cache-control"], "no-store");
    }
    let served = router
        .oneshot(request(Method::GET, "/v1/credentials", ""))
        .await;
    assert_eq!(served.expect("an answer").status(), StatusCode::OK);
}
