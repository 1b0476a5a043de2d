//! From a request to a row that a data team reads through the gateway.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::time::Duration;

use millrace_harness::events::{batch, conversion, decision};
use millrace_harness::rows::Row;
use millrace_harness::wait::clock;
use millrace_harness::{Export, Launch, Server, until};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// What `millrace run` promises with its default durations, and 5 s for a busy machine.
const FRESH: Duration = Duration::from_secs(25);

async fn started(home: &tempfile::TempDir) -> Server {
    Launch::new(BINARY, &home.path().join("data")).fast().start().await
}

/// The rows of a type with this uuid, once there is one.
async fn rows_of(server: &Server, of_type: &str, uuid: &str, at_most: Duration) -> Vec<Row> {
    let export = Export::open(server.demo()).await.expect("credentials");
    until(&format!("a row of {uuid}"), at_most, async || {
        let mut rows = export.rows(of_type).await.map_err(|error| error.to_string())?;
        rows.retain(|row| row["uuid"] == uuid);
        if rows.is_empty() { Err("no such row".to_owned()) } else { Ok(rows) }
    })
    .await
}

#[tokio::test]
async fn a_conversion_carries_a_decision_that_came_in_a_later_request_within_25_seconds() {
    let home = tempfile::tempdir().unwrap();
    let server = Launch::new(BINARY, &home.path().join("data")).start().await;
    let (api, account) = (server.api(), server.demo().account().to_owned());
    let now = clock().now_ms();

    api.post_taken(&batch(&account, vec![conversion("ann", "bought", "purchase", now)])).await;
    api.post_taken(&batch(&account, vec![decision("ann", "decided", "9300", "9302", now)])).await;

    let rows = rows_of(&server, "events", "bought", FRESH).await;
    assert_eq!(rows.len(), 1);
    let expected = json!([{
        "campaign_id": "campaign-of-9300", "experiment_id": "9300", "variation_id": "9302", "is_holdback": false,
    }]);
    assert_eq!(rows[0]["experiments"], expected);
    let decisions = rows_of(&server, "decisions", "decided", Duration::from_secs(15)).await;
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0]["session_id"], rows[0]["session_id"], "both belong to one session");
}

#[tokio::test]
async fn every_column_holds_what_was_sent() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let (api, account) = (server.api(), server.demo().account().to_owned());
    let now = clock().now_ms();
    let sent_ms = now - 1_000;
    let mut body = batch(&account, vec![decision("ann", "u1", "9300", "9302", sent_ms)]);
    body["visitors"].as_array_mut().unwrap().push(conversion("ann", "u2", "add:to:cart", sent_ms));
    let headers = [("User-Agent", "a browser"), ("Referer", "https://shop.example/")];
    let answer = api.post_bytes("/v1/events", &headers, body.to_string().into()).await.unwrap();
    assert_eq!((answer.status, answer.header("X-Millrace-Accepted")), (204, "2"));

    let within = Duration::from_secs(15);
    let decided = rows_of(&server, "decisions", "u1", within).await.remove(0);
    let bought = rows_of(&server, "events", "u2", within).await.remove(0);

    let attributes = json!([{"id": "6001", "name": "plan", "type": "custom", "value": "gold"}]);
    let common = json!({
        "timestamp": sent_ms, "visitor_id": "ann", "account_id": account, "user_ip": "127.0.0.0",
        "user_agent": "a browser", "referer": "https://shop.example/", "revision": "42",
        "client_engine": "millrace-tests", "client_version": "1",
    });
    for row in [&decided, &bought] {
        for (column, value) in common.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column}");
        }
        let session: i64 = row["session_id"].as_str().unwrap().parse().expect("a number as text");
        assert!(i32::try_from(session).is_ok(), "a signed 32-bit number: {session}");
        let process_ms = row["process_timestamp"].as_i64().unwrap();
        assert!((now..now + 15_000).contains(&process_ms), "{process_ms} is the time of arrival, {now}");
    }
    let decision_columns = "uuid timestamp process_timestamp visitor_id session_id account_id campaign_id experiment_id \
        variation_id attributes user_ip user_agent referer is_holdback revision client_engine client_version _key";
    assert_eq!(columns(&decided), sorted(decision_columns));
    assert_eq!(decided["attributes"], attributes);
    assert_eq!((&decided["experiment_id"], &decided["variation_id"]), (&json!("9300"), &json!("9302")));
    assert_eq!((&decided["campaign_id"], &decided["is_holdback"]), (&json!("campaign-of-9300"), &json!(false)));

    let event_columns = "uuid timestamp process_timestamp visitor_id session_id account_id experiments entity_id \
        attributes user_ip user_agent referer event_type event_name revenue value quantity tags revision client_engine \
        client_version properties _key";
    assert_eq!(columns(&bought), sorted(event_columns));
    assert_eq!(bought["attributes"], json!([]), "none is an empty list");
    assert_eq!(bought["properties"], json!({}), "none is an empty map");
    assert_eq!(bought["tags"], json!({"revenue": "4200", "colour": "red"}));
    assert_eq!((&bought["entity_id"], &bought["event_name"]), (&json!("8001"), &json!("add:to:cart")));
    assert_eq!((&bought["revenue"], &bought["value"], &bought["quantity"]), (&json!(4200), &json!(null), &json!(null)));
    let key = bought["_key"].as_str().unwrap();
    assert!(key.contains("/event=add%3Ato%3Acart/part-"), "the folder is the escaped name: {key}");
    let date = key.split('/').find_map(|part| part.strip_prefix("date=")).expect("a date folder");
    assert_eq!(date, day_of(bought["process_timestamp"].as_i64().unwrap()));
}

#[tokio::test]
async fn a_resend_makes_no_second_row() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let (api, account) = (server.api(), server.demo().account().to_owned());
    let now = clock().now_ms();
    let body = batch(&account, vec![conversion("ann", "once", "purchase", now)]);
    api.post_taken(&body).await;
    api.post_taken(&body).await;
    rows_of(&server, "events", "once", Duration::from_secs(15)).await;
    api.post_taken(&body).await;
    // The same visitor's later event is in the same partition: once it is out, a second row of the first would be too.
    api.post_taken(&batch(&account, vec![conversion("ann", "later", "purchase", now)])).await;
    rows_of(&server, "events", "later", Duration::from_secs(15)).await;

    assert_eq!(rows_of(&server, "events", "once", Duration::from_secs(15)).await.len(), 1);
}

#[tokio::test]
async fn the_snippets_short_names_as_plain_text_make_the_same_rows() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let demo = server.demo();
    let now = clock().now_ms();
    let body = json!({
        "account_id": demo.account(),
        "visitors": [{
            "visitor_id": "bob",
            "attributes": [{"e": "6001", "k": "plan", "t": "custom", "v": "gold"}],
            "snapshots": [{
                "decisions": [{"c": "9200", "x": "9300", "v": "9301", "h": false}],
                "events": [
                    {"e": "9200", "y": "campaign_activated", "u": "short-decided", "t": now},
                    {"e": "8001", "y": "click_event", "k": "clicked", "u": "short-clicked", "t": now, "a": {"colour": "blue"}},
                ],
            }],
        }],
    });
    // As navigator.sendBeacon and the snippet do: no key header, no JSON content type.
    let path = format!("/v1/events?access_token_query={}", demo.api_key());
    let headers = [("Content-Type", "text/plain;charset=UTF-8")];
    let answer = server.api().with_key("").post_bytes(&path, &headers, body.to_string().into()).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());

    let within = Duration::from_secs(15);
    let decided = rows_of(&server, "decisions", "short-decided", within).await.remove(0);
    assert_eq!((&decided["experiment_id"], &decided["variation_id"]), (&json!("9300"), &json!("9301")));
    let clicked = rows_of(&server, "events", "short-clicked", within).await.remove(0);
    assert_eq!((&clicked["event_name"], &clicked["event_type"]), (&json!("clicked"), &json!("click_event")));
    assert_eq!(clicked["tags"], json!({"colour": "blue"}));
    assert_eq!(clicked["experiments"][0]["experiment_id"], "9300");
}

#[tokio::test]
async fn the_tracking_api_makes_rows_too() {
    let home = tempfile::tempdir().unwrap();
    let server = started(&home).await;
    let api = server.api();
    let track = json!({
        "user_id": "carl", "event_type": "purchase", "value": 9.5, "uuid": "tracked",
        "metadata": {"colour": "green"},
    });
    let answer = api.post_bytes("/api/v1/tracking/track", &[], track.to_string().into()).await.unwrap();
    assert_eq!((answer.status, answer.json()["id"].as_str()), (200, Some("tracked")), "{}", answer.text());
    let many = json!({"events": [
        {"user_id": "carl", "event_type": "click", "uuid": "tracked-2"},
        {"user_id": "carl"},
    ]});
    let answer = api.post_bytes("/api/v1/tracking/batch", &[], many.to_string().into()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((&answer.json()["success_count"], &answer.json()["failure_count"]), (&json!(1), &json!(1)));

    let row = rows_of(&server, "events", "tracked", Duration::from_secs(15)).await.remove(0);
    assert_eq!((&row["visitor_id"], &row["event_name"]), (&json!("carl"), &json!("purchase")));
    assert_eq!((&row["value"], &row["tags"]["colour"]), (&json!(9.5), &json!("green")));
    rows_of(&server, "events", "tracked-2", Duration::from_secs(15)).await;
}

fn columns(row: &Row) -> Vec<String> {
    let mut names: Vec<String> = row.keys().cloned().collect();
    names.sort();
    names
}

fn sorted(names: &str) -> Vec<String> {
    let mut names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
    names.sort();
    names
}

fn day_of(time_ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(time_ms).expect("a date").format("%Y-%m-%d").to_string()
}
