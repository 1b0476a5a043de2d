//! `/v2` from outside: who gets credentials, for what, and how the others are told.

#![allow(clippy::unwrap_used, reason = "a test stops where its ground gives way")]

mod support;

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use millrace_directory::mint::{self, ServerKeys};
use millrace_directory::{Command, Done, ExposeSecret, Profile, Role, Scopes};
use millrace_exporter_fetch::api_router;
use millrace_schemas::layout::{self, AccountId};
use serde_json::{Value, json};
use support::House;
use support::directory::memory_log::{AUDIT, Fault};
use support::directory::*;
use tower::ServiceExt;

const PATH: &str = "/v2/export/credentials";

/// A house with account 12, a user of each role with a token, and what answers.
struct Desk {
    house: House,
}

impl Desk {
    async fn new() -> Self {
        let desk = Self { house: House::new().await };
        desk.done(create_account("12")).await;
        desk
    }

    async fn done(&self, command: Command) -> Done {
        execute(&self.house.services.node, command).await.unwrap()
    }

    /// A user of this role, and a token of theirs: user id, token id, token.
    async fn person(&self, role: Role) -> (String, String, String) {
        let account_id = AccountId::parse("12").unwrap();
        let (username, email) = (format!("user-{role}"), format!("{role}@example.com"));
        let user =
            self.done(Command::CreateUser { account_id, username, email, role, password_hash: HASH.into() }).await;
        let token = self.done(Command::CreateToken { user_id: user.id.clone(), name: "t".into() }).await;
        (user.id, token.id.clone(), secret(&token))
    }

    async fn key(&self, profile: Profile, scopes: Scopes) -> String {
        let account_id = AccountId::parse("12").unwrap();
        let (name, description) = ("k".to_owned(), String::new());
        secret(&self.done(Command::CreateKey { account_id, name, description, profile, scopes }).await)
    }

    async fn ask(&self, method: Method, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask_from("127.0.0.1", method, target, headers).await
    }

    async fn ask_from(&self, peer: &str, method: Method, target: &str, headers: &[(&str, &str)]) -> Answer {
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        let mut request = Request::builder().method(method).uri(target).extension(ConnectInfo(peer));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        Answer::of(api_router(self.house.services.clone()).oneshot(request).await.unwrap()).await
    }

    async fn get(&self, target: &str, token: &str) -> Answer {
        self.ask(Method::GET, target, &[("authorization", &format!("Bearer {token}"))]).await
    }
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Value,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Self { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    /// Asserts the envelope.
    fn refused(&self, status: u16, message: &str) {
        assert_eq!((self.status.as_u16(), self.body["message"].as_str()), (status, Some(message)), "{}", self.body);
        let names: Vec<&String> = self.body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["code", "message", "messages", "uuid"]);
        assert!(self.body["messages"].as_array().unwrap().iter().any(|text| text == message), "{}", self.body);
        assert!(uuid::Uuid::parse_str(self.body["uuid"].as_str().unwrap()).is_ok());
    }
}

fn secret(done: &Done) -> String {
    done.secret.as_ref().unwrap().expose_secret().to_owned()
}

/// What the credentials of an answer open.
fn opened(answer: &Answer, keys: &ServerKeys, now_ms: i64) -> mint::Verified {
    let text = |name: &str| answer.body["credentials"][name].as_str().unwrap().to_owned();
    let id = text("accessKeyId");
    let secret = mint::secret_of(&id, keys, now_ms).unwrap();
    assert_eq!(secret.expose_secret(), text("secretAccessKey"));
    mint::verify(&text("sessionToken"), &id, keys, now_ms).unwrap()
}

#[tokio::test]
async fn a_token_gets_fresh_credentials_each_time_in_exactly_this_form() {
    let desk = Desk::new().await;
    let (_, _, token) = desk.person(Role::Analyst).await;
    let first = desk.get(PATH, &token).await;
    assert_eq!(first.status, StatusCode::OK);
    let now_ms = desk.house.now_ms();
    let credentials = &first.body["credentials"];
    let expected = json!({
        "credentials": {
            "accessKeyId": credentials["accessKeyId"].as_str().unwrap(),
            "secretAccessKey": credentials["secretAccessKey"].as_str().unwrap(),
            "sessionToken": credentials["sessionToken"].as_str().unwrap(),
            "expiration": (now_ms + 3_600_000) / 1_000 * 1_000,
        },
        "s3Path": "s3://millrace-events/v1/account_id=12/",
    });
    assert_eq!(first.body, expected);
    assert_eq!(first.headers["cache-control"], "no-store");
    let second = desk.get(PATH, &token).await;
    assert_ne!(second.body["credentials"]["accessKeyId"], first.body["credentials"]["accessKeyId"]);
    let keys = &desk.house.services.keys;
    for answer in [&first, &second] {
        assert_eq!(opened(answer, keys, now_ms).scope.prefix(), "v1/account_id=12/");
    }
}

#[tokio::test]
async fn durations_and_narrowings() {
    let desk = Desk::new().await;
    let (_, _, token) = desk.person(Role::Analyst).await;
    let now_ms = desk.house.now_ms();
    for (query, minutes, prefix) in [
        ("", 60, "v1/account_id=12/"),
        ("?duration=1h", 60, "v1/account_id=12/"),
        ("?duration=15m", 15, "v1/account_id=12/"),
        ("?duration=45M&type=events", 45, "v1/account_id=12/type=events/"),
        ("?type=decisions&date=2026-03-01", 60, "v1/account_id=12/type=decisions/date=2026-03-01/"),
        ("?type=decisions&date=2026-03-01..2026-03-07", 60, "v1/account_id=12/type=decisions/"),
        ("?type=rejected", 60, "rejected/v1/account_id=12/"),
        ("?type=audit&date=2026-03-01", 60, "audit/v1/account_id=12/date=2026-03-01/"),
    ] {
        let answer = desk.get(&format!("{PATH}{query}"), &token).await;
        assert_eq!(answer.body["s3Path"], format!("s3://millrace-events/{prefix}"), "{query}");
        let verified = opened(&answer, &desk.house.services.keys, now_ms);
        assert_eq!(verified.scope.prefix(), prefix);
        assert_eq!(verified.expiration_ms, (now_ms + minutes * 60_000) / 1_000 * 1_000, "{query}");
        assert_eq!(answer.body["credentials"]["expiration"], verified.expiration_ms);
    }
    let duration = "duration must be between 15m and 1h, as [H,h] or [M,m]";
    for (query, message) in [
        ("duration=2h", duration),
        ("duration=14m", duration),
        ("duration=0.5h", duration),
        ("duration=1h30m", duration),
        ("duration=1", duration),
        ("duration=", duration),
        ("duration", duration),
        ("duration=99999999999999999999h", duration),
        ("duration=-1h", duration),
        ("duration=%D9%A1h", duration),
        ("duration=1h%20", duration),
        ("duration=1h&duration=1h", "duration stands twice"),
        ("duration=1h&Duration=15m", "Duration stands twice"),
        ("type=events&%74ype=audit", "type stands twice"),
        ("type=visitors", "type must be decisions, events, rejected or audit"),
        ("type=events/../..", "type must be decisions, events, rejected or audit"),
        ("date=2026-03-01", "date needs a type"),
        ("type=events&date=2026-3-1", "date must be YYYY-MM-DD or YYYY-MM-DD..YYYY-MM-DD"),
        ("duration=%ff", "the query is not UTF-8"),
    ] {
        desk.get(&format!("{PATH}?{query}"), &token).await.refused(400, message);
    }
    let two = desk.get(&format!("{PATH}?duration=2h&type=x"), &token).await;
    assert_eq!(two.body["messages"].as_array().unwrap().len(), 2, "every mistake is told: {}", two.body);
}

#[tokio::test]
async fn b6_to_b9_a_token_in_the_wrong_place_is_401_and_a_wrong_one_403() {
    let desk = Desk::new().await;
    let (_, _, token) = desk.person(Role::Admin).await;
    let ask = |target: &str, name: &'static str, value: String| {
        let target = target.to_owned();
        let desk = &desk;
        async move { desk.ask(Method::GET, &target, &[(name, &value)]).await }
    };
    for (target, name, value) in [
        (PATH.to_owned(), "x-nothing", String::new()),
        (PATH.to_owned(), "x-auth-token", token.clone()),
        (PATH.to_owned(), "authorization", token.clone()),
        (PATH.to_owned(), "authorization", "Bearer".to_owned()),
        (PATH.to_owned(), "authorization", "Bearer  ".to_owned()),
        (PATH.to_owned(), "authorization", format!("Basic {token}")),
        (PATH.to_owned(), "authorization", format!("Token {token}")),
        (format!("{PATH}?access_token={token}"), "x-nothing", String::new()),
        (format!("{PATH}?token={token}&duration=9h"), "x-nothing", String::new()),
    ] {
        ask(&target, name, value.clone()).await.refused(401, "Unauthorized");
    }
    let key = desk.key(Profile::Platform, Scopes::ALL).await;
    let other = format!("2:{}", "x".repeat(52));
    for wrong in [other.as_str(), "2:short", "nonsense", &key, &format!("{token}x")] {
        ask(PATH, "authorization", format!("Bearer {wrong}")).await.refused(403, "Authentication Failed");
    }
    ask(PATH, "authorization", format!("bearer {token}")).await.body["credentials"]
        .as_object()
        .expect("any case of bearer");
    ask(PATH, "x-api-key", token.clone()).await.refused(401, "Invalid API key");
    let twice = [("authorization", format!("Bearer {token}")), ("authorization", format!("Bearer {token}"))];
    let twice: Vec<(&str, &str)> = twice.iter().map(|(name, value)| (*name, value.as_str())).collect();
    desk.ask(Method::GET, PATH, &twice).await.refused(400, "the header authorization stands twice");
    let both = [("authorization", format!("Bearer {token}")), ("x-api-key", key)];
    let both: Vec<(&str, &str)> = both.iter().map(|(name, value)| (*name, value.as_str())).collect();
    desk.ask(Method::GET, PATH, &both).await.refused(400, "send one credential, not two");
}

#[tokio::test]
async fn an_api_key_needs_the_scope_read() {
    let desk = Desk::new().await;
    let read = desk.key(Profile::Platform, Scopes { read: true, write: false }).await;
    let write = desk.key(Profile::Platform, Scopes { read: false, write: true }).await;
    assert_eq!(desk.ask(Method::GET, PATH, &[("x-api-key", &read)]).await.status, StatusCode::OK);
    let denied = desk.ask(Method::GET, PATH, &[("x-api-key", &write)]).await;
    denied.refused(403, "the API key does not have the scope read");
    let audit = desk.ask(Method::GET, &format!("{PATH}?type=audit"), &[("x-api-key", &read)]).await;
    audit.refused(403, "the credential may not read this type");
    let unknown = format!("sk-live-{}", "x".repeat(32));
    desk.ask(Method::GET, PATH, &[("x-api-key", &unknown)]).await.refused(401, "Invalid API key");
    desk.ask(Method::GET, PATH, &[("x-api-key", "")]).await.refused(401, "Unauthorized");
}

#[tokio::test]
async fn b5_a_revoked_token_and_a_deactivated_owner_mint_nothing_more() {
    let desk = Desk::new().await;
    let (_, token_id, token) = desk.person(Role::Developer).await;
    let before = desk.get(PATH, &token).await;
    assert_eq!(before.status, StatusCode::OK);
    desk.done(Command::RevokeToken { token_id }).await;
    desk.get(PATH, &token).await.refused(403, "Authentication Failed");
    opened(&before, &desk.house.services.keys, desk.house.now_ms()); // lives on until its own end
    let (user_id, _, token) = desk.person(Role::Analyst).await;
    assert_eq!(desk.get(PATH, &token).await.status, StatusCode::OK);
    desk.done(Command::ChangeUser { user_id, role: None, active: Some(false), password_hash: None }).await;
    desk.get(PATH, &token).await.refused(403, "Authentication Failed");
}

#[tokio::test]
async fn a_token_has_its_owners_role_at_the_moment_of_use() {
    let desk = Desk::new().await;
    let (user_id, _, token) = desk.person(Role::Viewer).await;
    desk.get(PATH, &token).await.refused(403, "the user's role may not fetch exports");
    let change =
        |role| Command::ChangeUser { user_id: user_id.clone(), role: Some(role), active: None, password_hash: None };
    desk.done(change(Role::Analyst)).await;
    assert_eq!(desk.get(PATH, &token).await.status, StatusCode::OK);
    desk.done(change(Role::Viewer)).await;
    desk.get("/v2/export/status", &token).await.refused(403, "the user's role may not fetch exports");
}

#[tokio::test]
async fn every_minting_is_written_down_first_and_without_a_secret() {
    let desk = Desk::new().await;
    let (_, token_id, token) = desk.person(Role::Analyst).await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("user-agent", "boto3/1")];
    let answer = desk.ask(Method::GET, &format!("{PATH}?type=events"), &headers).await;
    let entries = desk.house.world.audit();
    let entry = entries.iter().find(|entry| entry.action == "export.credentials").expect("an audit entry");
    assert_eq!((entry.actor_kind.as_str(), entry.actor_id.as_str()), ("pat", token_id.as_str()));
    assert_eq!((entry.account_id.as_str(), entry.outcome.as_str(), entry.user_agent.as_str()), ("12", "ok", "boto3/1"));
    assert_eq!(entry.target_id, "v1/account_id=12/type=events/");
    assert!(entry.detail.contains(answer.body["credentials"]["accessKeyId"].as_str().unwrap()));
    for secret in ["secretAccessKey", "sessionToken"] {
        assert!(!format!("{entries:?}").contains(answer.body["credentials"][secret].as_str().unwrap()));
    }
    assert!(!format!("{entries:?}").contains(&token));
    for fault in [Fault::Refused, Fault::UnknownAndOut, Fault::UnknownButIn] {
        desk.house.world.log.fail_next(AUDIT, [fault]);
        let answer = desk.get(PATH, &token).await;
        answer.refused(503, "Please try again");
        assert!(answer.headers.contains_key("retry-after"), "{fault:?}");
    }
    assert_eq!(desk.get(PATH, &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_long_user_agent_is_cut_in_the_audit_trail() {
    let desk = Desk::new().await;
    let (_, _, token) = desk.person(Role::Analyst).await;
    let (bearer, bound) = (format!("Bearer {token}"), millrace_exporter_fetch::limits::USER_AGENT_BYTES_MAX);
    let headers = [("authorization", bearer.as_str()), ("user-agent", &"x".repeat(bound + 1))];
    assert_eq!(desk.ask(Method::GET, PATH, &headers).await.status, StatusCode::OK);
    let entries = desk.house.world.audit();
    assert!(entries.iter().any(|entry| entry.user_agent == "x".repeat(bound)));
}

#[tokio::test]
async fn a_status_lists_the_newest_days_only() {
    let desk = Desk::new().await;
    let (_, _, token) = desk.person(Role::Analyst).await;
    let bound = millrace_exporter_fetch::limits::STATUS_DAYS_MAX;
    let first = chrono::NaiveDate::from_ymd_opt(2024, 1, 1).unwrap();
    for day in first.iter_days().take(bound + 3) {
        desk.house.put(&format!("v1/account_id=12/type=events/date={day}/_SUCCESS"), "").await;
    }
    let answer = desk.get("/v2/export/status", &token).await;
    let days = answer.body["closed"]["events"].as_array().unwrap().clone();
    assert_eq!((days.len(), &days[0]), (bound, &json!("2024-01-04")));
}

#[tokio::test]
async fn a_denial_is_written_down_too() {
    let desk = Desk::new().await;
    let (_, _, token) = desk.person(Role::Viewer).await;
    desk.get(PATH, &token).await.refused(403, "the user's role may not fetch exports");
    let entries = desk.house.world.audit();
    assert!(entries.iter().any(|entry| entry.action == "export.credentials" && entry.outcome == "denied"));
}

#[tokio::test]
async fn a_guess_of_any_form_and_a_credential_under_the_wrong_header_are_written_down_as_failures() {
    let desk = Desk::new().await;
    let (_, _, token) = desk.person(Role::Analyst).await;
    let key = desk.key(Profile::Platform, Scopes { read: true, write: false }).await;
    let cases = [
        ("192.0.2.1", "authorization", "Bearer nonsense".to_owned(), 403),
        ("192.0.2.2", "authorization", format!("Bearer {key}"), 403),
        ("192.0.2.3", "x-api-key", "nonsense".to_owned(), 401),
        ("192.0.2.4", "x-api-key", token, 401),
    ];
    for (peer, header, credential, status) in cases {
        let answer = desk.ask_from(peer, Method::GET, PATH, &[(header, &credential)]).await;
        assert_eq!(answer.status.as_u16(), status, "{header}: {credential}");
        let written = async {
            while !desk.house.world.audit().iter().any(|entry| entry.source_ip == peer && entry.outcome == "refused") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, written).await.expect("the failure is written down");
    }
}

#[tokio::test]
async fn a_node_that_has_not_heard_lately_mints_nothing() {
    let desk = Desk::new().await;
    let (_, _, token) = desk.person(Role::Analyst).await;
    desk.house.world.log.set_unreadable(true);
    desk.house.world.clock.advance(millrace_directory::limits::STALE_AFTER + std::time::Duration::from_secs(1));
    let refused = async {
        while desk.get(PATH, &token).await.status == StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("a stale node refuses");
    desk.get(PATH, &token).await.refused(503, "Please try again");
}

#[tokio::test]
async fn other_methods_are_405_and_other_paths_404() {
    let desk = Desk::new().await;
    let (_, _, token) = desk.person(Role::Admin).await;
    let bearer = format!("Bearer {token}");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in [PATH, "/v2/export/status"] {
            let answer = desk.ask(method.clone(), path, &[("authorization", &bearer)]).await;
            answer.refused(405, "Method Not Allowed");
            assert_eq!(answer.headers["allow"], "GET");
        }
    }
    let head = desk.ask(Method::HEAD, PATH, &[("authorization", &bearer)]).await;
    assert_eq!(head.status, StatusCode::METHOD_NOT_ALLOWED);
    for path in ["/v2", "/v2/", "/v2/export", "/v2/export/credentials/", "/v2/export/credential", "/v2/x/y"] {
        desk.ask(Method::GET, path, &[("authorization", &bearer)]).await.refused(404, "Not Found");
    }
    assert!(desk.house.world.audit().iter().all(|entry| entry.action != "export.credentials"));
}

#[tokio::test]
async fn the_status_says_what_is_complete_and_which_days_are_closed() {
    let desk = Desk::new().await;
    let (_, _, token) = desk.person(Role::Analyst).await;
    let empty = desk.get("/v2/export/status", &token).await;
    let nothing = json!({"decisions": [], "events": [], "rejected": []});
    assert_eq!(empty.body, json!({"account_id": "12", "complete_through": null, "closed": nothing}));
    let house = &desk.house;
    house.put("v1/account_id=12/type=decisions/date=2026-03-01/_SUCCESS", "").await;
    house.put("v1/account_id=12/type=decisions/date=2026-02-28/_SUCCESS", "").await;
    house.put("v1/account_id=12/type=decisions/date=2026-03-02/_manifest.json", "{}").await;
    house.put("v1/account_id=123/type=events/date=2026-03-01/_SUCCESS", "").await;
    let shard = millrace_schemas::partition::of_account("12", 4);
    let midnight = START_MS;
    for through_ms in [midnight - 10_000, midnight] {
        house.put(&layout::published_key("log-1", shard, through_ms), "{}").await;
    }
    house.put(&layout::published_key("log-1", (shard + 1) % 4, midnight + 900_000), "{}").await;
    let answer = desk.get("/v2/export/status", &token).await;
    assert_eq!(answer.body["complete_through"], "2026-03-01T00:00:00.000Z");
    assert_eq!(answer.body["closed"]["decisions"], json!(["2026-02-28", "2026-03-01"]));
    assert_eq!(answer.body["closed"]["events"], json!([]));
    // Within a day the account's own slot decides: 00:10:40 is within its second slot of ten minutes.
    let plan = millrace_schemas::export::Plan {
        version: 1,
        log_id: "log-1".into(),
        shard,
        date: layout::date_of(midnight),
        default_slot_ms: 10_000,
        slots_ms: [("12".to_owned(), 600_000)].into(),
        rows_per_file: 1,
        bytes_per_file: 1,
        folders_per_slot: 1,
        codec: "snappy".into(),
        generation: 0,
    };
    let key = layout::plan_key("log-1", layout::date_of(midnight), shard);
    house.put(&key, &String::from_utf8(plan.to_json()).unwrap()).await;
    house.put(&layout::published_key("log-1", shard, midnight + 640_000), "{}").await;
    let answer = desk.get("/v2/export/status", &token).await;
    assert_eq!(answer.body["complete_through"], "2026-03-01T00:10:00.000Z");
}
