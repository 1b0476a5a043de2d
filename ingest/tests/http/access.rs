//! Who may send: keys, where they stand, accounts, origins of browsers.

use http::{Method, Request};
use millrace_directory::{Actor, Command};
use millrace_ingest::limits::BODY_BYTES_MAX;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{ACCOUNT, ORIGIN, OTHER, World, batch, purchase, visitor};

fn good() -> String {
    batch(vec![visitor("ann", purchase("u"))]).to_string()
}

const TRACK: &str = "/api/v1/tracking/track";
const BATCH: &str = "/api/v1/tracking/batch";
const ROUTES: [&str; 3] = ["/v1/events", TRACK, BATCH];

/// Sends a good batch with these headers and this query, and no other key.
async fn status(world: &World, headers: &[(&str, &str)], query: &str) -> u16 {
    let mut request = Request::post(format!("/v1/events{query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.send(request.body(good().into()).unwrap()).await.status
}

#[tokio::test]
async fn a_key_may_stand_in_either_header_and_a_public_one_in_the_query() {
    let world = World::new().await;
    let keys = &world.keys;
    for key in [&keys.write, &keys.full] {
        assert_eq!(status(&world, &[("X-API-Key", key)], "").await, 204);
        assert_eq!(status(&world, &[("x-api-KEY", key)], "").await, 204);
        assert_eq!(status(&world, &[("Authorization", &format!("Bearer {key}"))], "").await, 204);
        assert_eq!(status(&world, &[("Authorization", &format!("bearer  {key}"))], "").await, 204);
    }
    let query = |key: &str| format!("?a=b&access_token_query={key}");
    assert_eq!(status(&world, &[], &query(&keys.write)).await, 204);
    assert_eq!(status(&world, &[], &query(&keys.full)).await, 401, "more than public");
    assert_eq!(status(&world, &[], &query(&keys.read)).await, 401);
    assert_eq!(status(&world, &[], &query(&keys.pat)).await, 401);
}

#[tokio::test]
async fn the_header_wins_over_the_query() {
    let world = World::new().await;
    let wrong = format!("sk-live-{}", "0".repeat(32));
    let query = format!("?access_token_query={}", world.keys.write);
    assert_eq!(status(&world, &[("X-API-Key", &wrong)], &query).await, 401);
    assert_eq!(status(&world, &[("Authorization", &format!("Bearer {wrong}"))], &query).await, 401);
    let wrong_query = format!("?access_token_query={wrong}");
    assert_eq!(status(&world, &[("X-API-Key", &world.keys.write)], &wrong_query).await, 204);
}

#[tokio::test]
async fn refused_keys_say_why_on_every_route_and_leave_no_record() {
    let world = World::new().await;
    let wrong = format!("sk-live-{}", "0".repeat(32));
    let cases = [
        ("", 401, "Not authenticated"),
        (wrong.as_str(), 401, "Invalid API key"),
        ("nonsense", 401, "Invalid API key"),
        (&world.keys.pat, 401, "Invalid API key"),
        (&world.keys.read, 403, "Not enough permissions. Required scope: write"),
    ];
    for route in ROUTES {
        for (key, status, detail) in cases {
            let answer = world.send(Request::post(route).header("X-API-Key", key).body("{".into()).unwrap()).await;
            assert_eq!((answer.status, answer.json()), (status, json!({"detail": detail})), "{route} {key}");
            assert_eq!(answer.header("WWW-Authenticate"), if status == 401 { "Bearer" } else { "" });
        }
    }
    assert!(world.raw().is_empty());
}

#[tokio::test]
async fn a_revoked_key_sends_no_more() {
    let world = World::new().await;
    world.events(&batch(vec![visitor("ann", purchase("u"))])).await;
    let key_id = world.accepted()[0].source.strip_prefix("key:").unwrap().to_owned();
    world.node.execute(&Actor::local(), Command::RevokeKey { key_id }).await.unwrap();
    let answer = world.events(&batch(vec![visitor("ann", purchase("u"))])).await;
    assert_eq!((answer.status, answer.json()), (401, json!({"detail": "Invalid API key"})));
}

#[tokio::test]
async fn a_key_sends_for_its_own_account_only() {
    let world = World::new().await;
    for foreign in [OTHER, "nobody", ""] {
        let mut body = batch(vec![visitor("ann", purchase("u"))]);
        body["account_id"] = json!(foreign);
        assert_eq!(world.events(&body).await.status, 403, "{foreign}");
        let track = json!({"user_id": "ann", "event_type": "x", "account_id": foreign});
        assert_eq!(world.post(TRACK, &[], track.to_string()).await.status, 403, "{foreign}");
        for batch in [
            json!({"events": [{"user_id": "bob", "event_type": "x"}, track]}),
            json!({"events": [{"user_id": "bob", "event_type": "x"}], "account_id": foreign}),
        ] {
            assert_eq!(world.post(BATCH, &[], batch.to_string()).await.status, 403, "{batch}");
        }
    }
    assert!(world.raw().is_empty());
    let own = json!({"user_id": "ann", "event_type": "x", "account_id": ACCOUNT});
    assert_eq!(world.post(TRACK, &[], own.to_string()).await.status, 200);
}

#[tokio::test]
async fn what_decides_may_stand_once() {
    let world = World::new().await;
    let key = world.keys.write.as_str();
    let bearer = format!("Bearer {key}");
    assert_eq!(status(&world, &[("X-API-Key", key), ("X-API-Key", key)], "").await, 400);
    assert_eq!(status(&world, &[("Authorization", &bearer), ("Authorization", &bearer)], "").await, 400);
    let twice = format!("?access_token_query={key}&access_token_query={key}");
    assert_eq!(status(&world, &[], &twice).await, 400);
    let strict = [("X-API-Key", key), ("X-Optimizely-Strict", "true"), ("X-Optimizely-Strict", "false")];
    assert_eq!(status(&world, &strict, "").await, 400);
    let encoded = [("X-API-Key", key), ("Content-Encoding", "gzip"), ("Content-Encoding", "identity")];
    assert_eq!(status(&world, &encoded, "").await, 400);
}

#[tokio::test]
async fn a_preflight_from_a_listed_origin_is_answered_without_a_key() {
    let world = World::new().await;
    for route in ROUTES {
        for origin in [ORIGIN, "https://other.example", "https://stranger.example"] {
            let preflight = Request::builder()
                .method(Method::OPTIONS)
                .uri(route)
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "POST");
            let answer = world.send(preflight.body("".into()).unwrap()).await;
            let listed = origin != "https://stranger.example";
            assert_eq!((answer.status, answer.header("Vary")), (200, "Origin"));
            let or_none = |text| if listed { text } else { "" };
            assert_eq!(answer.header("Access-Control-Allow-Origin"), or_none(origin));
            assert_eq!(answer.header("Access-Control-Allow-Methods"), or_none("POST, OPTIONS"));
            assert_eq!(answer.header("Access-Control-Max-Age"), or_none("600"));
            let headers = or_none("Content-Type, Authorization, X-API-Key");
            assert_eq!(answer.header("Access-Control-Allow-Headers"), headers);
            assert_eq!(answer.header("Access-Control-Allow-Credentials"), or_none("true"));
        }
    }
}

#[tokio::test]
async fn answers_are_open_to_the_origins_of_the_account_alone() {
    let world = World::new().await;
    for (origin, open) in [(ORIGIN, true), ("https://other.example", false), ("https://stranger.example", false)] {
        let answer = world.post("/v1/events", &[("Origin", origin)], good()).await;
        assert_eq!((answer.status, answer.header("Vary")), (204, "Origin"), "it is taken all the same");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), if open { origin } else { "" });
        let refused = world.post("/v1/events", &[("Origin", origin)], "{").await;
        assert_eq!(refused.header("Access-Control-Allow-Origin"), if open { origin } else { "" });
    }
    // Who is unknown may be of any account.
    let unknown = Request::post("/v1/events").header("Origin", "https://other.example").body("{".into()).unwrap();
    let answer = world.send(unknown).await;
    assert_eq!((answer.status, answer.header("Access-Control-Allow-Origin")), (401, "https://other.example"));
}

#[tokio::test]
async fn an_origin_listed_later_is_let_in_at_once() {
    let world = World::new().await;
    let later = "https://later.example";
    let preflight = || {
        let preflight = Request::builder().method(Method::OPTIONS).uri("/v1/events").header("Origin", later);
        preflight.header("Access-Control-Request-Method", "POST").body("".into()).unwrap()
    };
    assert_eq!(world.send(preflight()).await.header("Access-Control-Allow-Origin"), "");
    let account_id = millrace_directory::AccountId::parse(OTHER).unwrap();
    let change = Command::ChangeAccount { account_id, slot_ms: None, origins: Some(vec![later.to_owned()]) };
    world.node.execute(&Actor::local(), change).await.unwrap();
    assert_eq!(world.send(preflight()).await.header("Access-Control-Allow-Origin"), later);
}

#[tokio::test]
async fn other_methods_are_not_for_these_routes() {
    let world = World::new().await;
    for route in ROUTES {
        for method in [Method::GET, Method::PUT, Method::OPTIONS] {
            let request = Request::builder().method(method).uri(route).body("".into()).unwrap();
            let answer = world.send(request).await;
            assert_eq!((answer.status, answer.json()), (405, json!({"detail": "Method Not Allowed"})));
            assert_eq!(answer.header("Allow"), "POST, OPTIONS");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_gets_to_read_why_with_a_large_body_still_on_its_way() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, world.router.clone()).into_future());
    let ask = async |method: &str, headers: &str, body: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = BODY_BYTES_MAX;
        let head = format!(
            "{method} /v1/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // More than what lies between two sockets: it is read, or this fails.
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let body = " ".repeat(BODY_BYTES_MAX);
    let unknown = ask("POST", "X-API-Key: unknown\r\n", &body).await;
    assert!(unknown.starts_with("HTTP/1.1 401 ") && unknown.ends_with(r#"{"detail":"Invalid API key"}"#), "{unknown}");
    let reads = ask("POST", &format!("X-API-Key: {}\r\n", world.keys.read), &body).await;
    assert!(reads.starts_with("HTTP/1.1 403 "), "{reads}");
    let packed = ask("POST", &format!("X-API-Key: {}\r\nContent-Encoding: br\r\n", world.keys.write), &body).await;
    assert!(packed.starts_with("HTTP/1.1 415 "), "{packed}");
    let put = ask("PUT", "", &body).await;
    assert!(put.starts_with("HTTP/1.1 405 "), "{put}");
    let waits = ask("POST", "X-API-Key: unknown\r\nExpect: 100-continue\r\n", "").await;
    assert!(waits.starts_with("HTTP/1.1 401 "), "the body is not asked for: {waits}");
}
