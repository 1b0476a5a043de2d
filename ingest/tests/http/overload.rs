//! The log fails, is slow, or there is no room: every request is answered in time, and no 2xx lies.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use millrace_eventlog::faults::Appends;
use millrace_ingest::Config;
use serde_json::{Value, json};

use crate::world::{Answer, OTHER, RAW, World, batch, purchase, send, visitor};

fn good(uuid: &str) -> Value {
    batch(vec![visitor("ann", purchase(uuid))])
}

fn is_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.header("Retry-After")), (503, "1"));
    let expected = json!({"detail": "Not available now: send the same request again later", "request_id": "id-1"});
    assert_eq!(answer.json(), expected, "and nothing internal");
}

/// Sends a request while the clock runs; the answer, and after how much of that clock's time it came.
async fn while_time_passes(world: &World, request: http::Request<Body>) -> (Answer, Duration) {
    use millrace_clock::Clock;
    let (clock, began) = (Arc::clone(&world.clock), world.clock.elapsed());
    let answering = tokio::spawn(send(world.router.clone(), request));
    while !answering.is_finished() {
        clock.advance(Duration::from_millis(20));
        // Real time, so that what waits for the clock gets to run.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (answering.await.unwrap(), clock.elapsed() - began)
}

#[tokio::test]
async fn records_the_log_refuses_are_offered_again_until_it_takes_them() {
    let world = World::new().await;
    world.log.set_appends(RAW, Appends::Refused);
    let request = world.request("/v1/events", &[], good("u").to_string());
    let log = Arc::clone(&world.log);
    let recovers = async move {
        log.offered(RAW, 3).await;
        log.set_appends(RAW, Appends::Work);
    };
    let ((answer, waited), ()) = tokio::join!(while_time_passes(&world, request), recovers);
    assert_eq!((answer.status, answer.counts()), (204, ("1", "0")));
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    assert_eq!(world.raw().len(), 1);
}

#[tokio::test]
async fn a_log_that_keeps_refusing_is_503_within_four_seconds() {
    let world = World::new().await;
    world.log.set_appends(RAW, Appends::Refused);
    for path in ["/v1/events", "/api/v1/tracking/track"] {
        let body = if path == "/v1/events" { good("u") } else { json!({"user_id": "ann", "event_type": "x"}) };
        let (answer, waited) = while_time_passes(&world, world.request(path, &[], body.to_string())).await;
        is_unavailable(&answer);
        assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&waited), "first it waits: {waited:?}");
    }
    assert!(world.raw().is_empty());
}

#[tokio::test]
async fn what_is_unknown_is_never_a_success() {
    let world = World::new().await;
    world.log.set_appends(RAW, Appends::LostAnswer);
    is_unavailable(&world.events(&good("u")).await);
    assert_eq!(world.appends().len(), 1, "and is not offered again: the client resends");
}

#[tokio::test]
async fn a_silent_log_is_503_within_four_seconds() {
    let world = World::new().await;
    world.log.set_appends(RAW, Appends::Held);
    let (answer, waited) = while_time_passes(&world, world.request("/v1/events", &[], good("u").to_string())).await;
    is_unavailable(&answer);
    assert!(waited < Duration::from_secs(4), "{waited:?}");
}

#[tokio::test]
async fn room_is_held_for_as_long_as_the_log_holds_the_records_and_shared_by_account() {
    let body = good("u").to_string();
    // A request holds twice its body, later its body and its records. The room is for one of an account, not for two.
    let world = World::with(Config { in_flight_bytes: 9 * body.len() / 2, ..Config::default() }).await;
    let request = |key: &str, body: &str| {
        let request = http::Request::post("/v1/events").header("X-API-Key", key).header("X-Request-ID", "id-1");
        request.header("Content-Length", body.len()).body(Body::from(body.to_owned())).unwrap()
    };
    world.log.set_appends(RAW, Appends::Held);
    let (first, _) = while_time_passes(&world, request(&world.keys.write, &body)).await;
    is_unavailable(&first);
    // The log has not let go of the first one's records: the account has had its share.
    let (second, waited) = while_time_passes(&world, request(&world.keys.write, &body)).await;
    is_unavailable(&second);
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    assert_eq!(world.log.offers(RAW), 1, "it never came to the log");

    // Another account finds room.
    let foreign = body.replace("acme", OTHER);
    let other = tokio::spawn(send(world.router.clone(), request(&world.keys.other, &foreign)));
    world.log.offered(RAW, 2).await;
    world.log.set_appends(RAW, Appends::Work);
    assert_eq!(other.await.unwrap().status, 204);
    // And so does the first, now that its records are let go of.
    let (third, _) = while_time_passes(&world, request(&world.keys.write, &body)).await;
    assert_eq!(third.status, 204);
}

#[tokio::test]
async fn while_the_log_is_away_for_ten_minutes_under_load_what_is_held_is_bounded_and_nothing_is_acknowledged() {
    let body = good("u").to_string();
    let world = World::with(Config { in_flight_bytes: 40 * body.len(), ..Config::default() }).await;
    world.log.set_appends(RAW, Appends::Held);
    for _ in 0..10 {
        let length = body.len().to_string();
        let request = || world.request("/v1/events", &[("Content-Length", &length)], body.clone());
        let began = std::sync::Arc::clone(&world.clock);
        let answering: Vec<_> = (0..20).map(|_| tokio::spawn(send(world.router.clone(), request()))).collect();
        let mut waited = Duration::ZERO;
        while !answering.iter().all(tokio::task::JoinHandle::is_finished) {
            began.advance(Duration::from_millis(20));
            waited += Duration::from_millis(20);
            // Real time, so that what waits for the clock gets to run.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(waited < Duration::from_secs(5), "answered after {waited:?}, and the steps of this clock");
        for answer in answering {
            is_unavailable(&answer.await.unwrap());
        }
        world.clock.advance(Duration::from_secs(60));
    }
    // What the log holds, we hold; of two hundred requests no more came to it than there was room for.
    let offered = world.log.offers(RAW);
    assert!((1..=20).contains(&offered), "{offered} requests were offered");
    world.log.set_appends(RAW, Appends::Work);
    assert_eq!(world.events(&good("v")).await.status, 204, "and it goes on by itself");
}

#[tokio::test]
async fn a_client_that_hangs_up_takes_nothing_back_that_was_offered() {
    let world = World::new().await;
    world.log.set_appends(RAW, Appends::Held);
    let sending = tokio::spawn(send(world.router.clone(), world.request("/v1/events", &[], good("u").to_string())));
    world.log.offered(RAW, 1).await;
    sending.abort();
    let _ = sending.await;
    world.log.set_appends(RAW, Appends::Work);
    assert_eq!(world.events(&good("v")).await.status, 204);
    let in_time = tokio::time::timeout(Duration::from_secs(10), async {
        while world.appends().len() < 2 {
            tokio::task::yield_now().await;
        }
    });
    in_time.await.expect("the first one's records went in as well");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up_with_408() {
    let world = World::new().await;
    let parts = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
    let body = Body::from_stream(parts.chain(futures::stream::pending()));
    let (answer, _) = while_time_passes(&world, world.request("/v1/events", &[], body)).await;
    assert_eq!((answer.status, answer.header("Connection")), (408, "close"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400() {
    let world = World::new().await;
    let parts = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))];
    let body = Body::from_stream(futures::stream::iter(parts));
    assert_eq!(world.send(world.request("/v1/events", &[], body)).await.status, 400);
}
