//! What is refused, and how: parameters, keys, sizes, rates, slowness, wrong configurations.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode};
use credentials::TtlPolicy;
use credentials::http::{
    ApiKey, Endpoint, InvalidIssuer, Issuer, Ports, Provider, RateLimit, limits, router,
};
use credentials::label::LabelKeys;
use http_body_util::channel::Channel;
use serde_json::json;
use tower::ServiceExt as _;

use crate::{KEY, World, ZONE, call, get, post, request, ring, secret, world};

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
async fn nobody_unknown_makes_us_wait_for_a_body() {
    let (_sender, never) = Channel::<Bytes>::new(1);
    let request = Request::post("/v1/credentials").header("authorization", "Bearer wrong");
    let request = request.body(Body::new(never)).expect("a request");
    let reply = call(&world(RateLimit::default()), request).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
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
    for _ in 0..limits::CONCURRENT {
        waiting.spawn(router.clone().oneshot(slow()));
    }
    // The runtime polls some tasks between two polls of this one; after as many yields, all.
    for _ in 0..limits::CONCURRENT {
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

#[test]
fn nothing_secret_is_printed() {
    let world = world(RateLimit::default());
    let ttl = TtlPolicy {
        min: 1,
        default: 1,
        max: 1,
    };
    let key = ApiKey {
        id: "demo".to_owned(),
        secret: secret(KEY),
        ttl,
        rate: RateLimit::default(),
    };
    let shown = format!("{key:#?} {:#?}", world.issuer);
    assert!(shown.contains("demo") && shown.contains(ZONE), "{shown}");
    for needle in [KEY, "shared secret", "107,"] {
        assert!(!shown.contains(needle), "{shown}");
    }
}

#[test]
fn issuers_that_cannot_be() {
    let ttl = TtlPolicy {
        min: 1,
        default: 1,
        max: 1,
    };
    let rate = RateLimit::default();
    let key = |id: &str, text: &str| ApiKey {
        id: id.to_owned(),
        secret: secret(text),
        ttl,
        rate,
    };
    let issuer = |keys: Vec<ApiKey>, zone: &str| {
        let endpoint = Endpoint {
            zone: zone.to_owned(),
            ports: Ports {
                udp: 3478,
                tcp: None,
                tls: None,
            },
            stun: false,
        };
        let labels = LabelKeys::derive(&ring());
        Issuer::new(ring(), labels, keys, endpoint, Box::new(|_| None), 600).map(drop)
    };
    assert_eq!(issuer(vec![key("a", KEY)], ZONE), Ok(()));
    let taken = Err(InvalidIssuer::DuplicateKey("a".to_owned()));
    assert_eq!(
        issuer(vec![key("a", KEY), key("a", "key-of-another-tenant")], ZONE),
        taken
    );
    let taken = Err(InvalidIssuer::DuplicateKey("b".to_owned()));
    assert_eq!(issuer(vec![key("a", KEY), key("b", KEY)], ZONE), taken);
    for id in ["", "a/b", "/", "a\n"] {
        let wrong = Err(InvalidIssuer::KeyId(id.to_owned()));
        assert_eq!(issuer(vec![key(id, KEY)], ZONE), wrong);
    }
    let long = format!(
        "{}.example",
        ["x".repeat(60), "y".repeat(60), "z".repeat(60)].join(".")
    );
    for zone in [
        "",
        ".",
        "turn.example.",
        "turn..example",
        "turn example",
        &long,
    ] {
        assert_eq!(
            issuer(Vec::new(), zone),
            Err(InvalidIssuer::Zone(zone.to_owned()))
        );
    }
    let many = (0..=limits::API_KEYS).map(|n| key(&n.to_string(), &format!("key number {n:08}")));
    assert_eq!(
        issuer(many.collect(), ZONE),
        Err(InvalidIssuer::TooManyKeys { keys: 1025 })
    );
}
