//! What is answered, field by field, and what the labels in it carry.

use std::net::IpAddr;

use axum::http::{Method, Request, StatusCode};
use credentials::http::RateLimit;
use credentials::label::{Label, LabelKeys, Lane, Tag, TenantTag, Transport};
use credentials::{UnixTime, password};
use serde_json::json;

use crate::{KEY, NOW, OTHER_KEY, ZONE, call, get, post, request, ring, world};

#[tokio::test]
async fn ice_servers_for_a_browser() {
    let reply = get("/v1/credentials?user=alice:1@example.org&ttl=7200").await;
    assert_eq!(reply.status, StatusCode::OK);
    let username = format!("{}:demo/alice:1@example.org", NOW + 7200);
    assert_eq!(
        reply.body,
        json!({
            "iceServers": [
                {
                    "urls": TURN.map(|(scheme, transport, end)| {
                        Lane::ALL.map(|lane| format!("{scheme}:{}{end}", host(lane, Some(transport))))
                    }).concat(),
                    "username": username,
                    "credential": *password(ring().current(), &username),
                },
                {
                    "urls": Lane::ALL.map(|lane| format!("stun:{}:3478", host(lane, Some(Transport::Udp))))
                },
            ],
            "ttl": 7200,
            "expires": NOW + 7200,
            "lanes": { "a": host(Lane::A, None), "b": host(Lane::B, None) },
        })
    );
}

/// Every URI of TURN, without its host.
const TURN: [(&str, Transport, &str); 3] = [
    ("turn", Transport::Udp, ":3478?transport=udp"),
    ("turn", Transport::Tcp, ":3479?transport=tcp"),
    ("turns", Transport::Tls, ":443?transport=tcp"),
];

/// The host that the first answer to Alice names, without region and failures.
fn host(lane: Lane, transport: Option<Transport>) -> String {
    let label = Label {
        draw: 0x0101_0101,
        region: None,
        avoid: [None; 2],
        tenant: Some(TenantTag::of_key("demo")),
        transport,
        expires: UnixTime(NOW + 600),
    };
    let sealed = LabelKeys::derive(&ring()).seal(&label, lane);
    format!("{sealed}.{}.{ZONE}", lane.as_str())
}

#[tokio::test]
async fn labels_say_whose_client_comes_by_what() {
    let reply = get("/v1/credentials?user=alice").await;
    let [a, b] = reply.labels();
    assert_eq!(a, b);
    assert_eq!(
        (a.tenant, a.transport),
        (Some(TenantTag::of_key("demo")), None)
    );
    // Every URL has a name of its own; all of one draw.
    let urls = reply.body["iceServers"][0]["urls"]
        .as_array()
        .expect("a list");
    let keys = LabelKeys::derive(&ring());
    let told: Vec<Label> = urls
        .iter()
        .enumerate()
        .map(|(index, url)| {
            let text = url
                .as_str()
                .and_then(|url| url.split([':', '.']).nth(1))
                .expect("a label");
            keys.open(text.as_bytes(), Lane::ALL[index % 2], UnixTime(NOW))
                .expect("our own label")
        })
        .collect();
    let of = |transport| Label {
        transport: Some(transport),
        ..a
    };
    let expected =
        [Transport::Udp, Transport::Tcp, Transport::Tls].map(|transport| [of(transport); 2]);
    assert_eq!(told, expected.concat());
    let mut theirs = request(Method::GET, "/v1/credentials", "");
    let other = format!("Bearer {OTHER_KEY}").parse().expect("a header");
    theirs.headers_mut().insert("authorization", other);
    let theirs = call(&world(RateLimit::default()), theirs).await;
    assert_eq!(theirs.labels()[0].tenant, Some(TenantTag::of_key("other")));
}

#[tokio::test]
async fn every_answer_has_fresh_labels() {
    let world = world(RateLimit::default());
    let first = call(&world, request(Method::GET, "/v1/credentials", "")).await;
    let second = call(&world, request(Method::GET, "/v1/credentials", "")).await;
    assert_ne!(first.body["lanes"], second.body["lanes"]);
    assert_ne!(first.labels()[0].draw, second.labels()[0].draw);
}

#[tokio::test]
async fn callers_without_a_user_are_different_users() {
    let world = world(RateLimit::default());
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let reply = call(&world, request(Method::GET, "/v1/credentials?user=", "")).await;
        let username = reply.body["iceServers"][0]["username"].clone();
        let username = username.as_str().expect("text");
        let prefix = format!("{}:demo/", NOW + 3600);
        let id = username.strip_prefix(&prefix).expect("the tenant's id");
        assert!(id.len() == 13 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        ids.insert(id.to_owned());
    }
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn one_name_at_two_tenants_is_two_users() {
    for (user, id) in [
        ("alice", "alice"),
        ("other/alice", "other/alice"),
        ("/", "/"),
    ] {
        let mut request = request(Method::GET, &format!("/v1/credentials?user={user}"), "");
        let ours = get(&format!("/v1/credentials?user={user}")).await;
        let other = format!("Bearer {OTHER_KEY}").parse().expect("a header");
        request.headers_mut().insert("authorization", other);
        let theirs = call(&world(RateLimit::default()), request).await;
        for (reply, tenant) in [(ours, "demo"), (theirs, "other")] {
            let username = format!("{}:{tenant}/{id}", NOW + 3600);
            assert_eq!(reply.body["iceServers"][0]["username"], username);
        }
    }
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
        let username = format!("{}:demo/bob", NOW + 3600);
        assert_eq!(reply.body["username"], username);
        assert_eq!(
            reply.body["password"],
            *password(ring().current(), &username)
        );
        assert_eq!(reply.body["ttl"], 3600);
        let uris = reply.body["uris"].as_array().expect("a list");
        assert_eq!(uris.len(), 6);
        let transports = [
            ("turn:", "3478?transport=udp"),
            ("turn:", "3479?transport=tcp"),
            ("turns:", "443?transport=tcp"),
        ];
        for (pair, (scheme, end)) in uris.chunks(2).zip(transports) {
            for (uri, lane) in pair.iter().zip(["a", "b"]) {
                let uri = uri.as_str().expect("text");
                assert!(uri.starts_with(scheme), "{uri}");
                assert!(uri.ends_with(&format!(".{lane}.{ZONE}:{end}")), "{uri}");
            }
        }
    }
    let bearer = get("/?service=turn").await;
    let username = bearer.body["username"].as_str().expect("text");
    assert!(username.starts_with(&format!("{}:demo/", NOW + 3600)));
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
        // The caller may know better than our table.
        (
            "region=us&client=198.51.100.7",
            Some(Tag::of_name("us")),
            [None; 2],
        ),
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
            format!("{}:demo/alice", NOW + 60)
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
