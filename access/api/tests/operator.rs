//! The operator's routes, from outside: status, body, and what stands in the log afterwards.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../directory/tests/support/memory_log.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the directory's tests, which use more of it")]
mod memory_log;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use memory_log::{ACCESS, AUDIT, Fault, MemoryLog};
use millrace_access_api::{limits, local_router, password};
use millrace_clock::ManualClock;
use millrace_directory::audit::Auditor;
use millrace_directory::{Node, Presented, Principal, Role};
use millrace_schemas::access::Audit;
use millrace_schemas::codec::Versioned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

struct Operator {
    routes: Router,
    node: Arc<Node>,
    log: Arc<MemoryLog>,
}

impl Operator {
    async fn new() -> Self {
        let clock = ManualClock::at(1_772_323_200_000);
        let log = MemoryLog::new(clock.clone());
        let node = Node::start(log.clone(), clock.clone(), CancellationToken::new()).await.unwrap();
        let auditor = Arc::new(Auditor::new(log.clone(), clock));
        Self { routes: local_router(node.clone(), auditor), node, log }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("Content-Type", "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let answer = self.routes.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Posts and expects 201.
    async fn made(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call("POST", path, Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn delete(&self, path: &str) -> StatusCode {
        self.call("DELETE", path, None).await.0
    }

    fn audit(&self) -> Vec<Audit> {
        let decode = |record: millrace_eventlog::Record| Audit::from_versioned(record.version, record.value).unwrap();
        self.log.all(AUDIT).into_iter().map(decode).collect()
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is no text in {value}"))
}

fn ada(password: Option<&str>) -> Value {
    let mut user = json!({"account_id": "shop", "username": "Ada", "email": "Ada@shop.example", "role": "analyst"});
    if let Some(password) = password {
        user["password"] = password.into();
    }
    user
}

#[tokio::test]
async fn an_account_a_user_a_key_and_a_token_are_made_and_work() {
    let operator = Operator::new().await;
    let account = operator.made("/local/accounts", json!({"id": "shop", "name": "Shop"})).await;
    assert_eq!(
        account,
        json!({"id": "shop", "name": "Shop", "created_at": "2026-03-01T00:00:00.000Z", "closed_at": null,
               "slot_ms": null, "origins": []})
    );
    let user = operator.made("/local/users", ada(Some("correct horse battery"))).await;
    assert_eq!(
        (text(&user, "username"), text(&user, "email"), text(&user, "role")),
        ("ada", "ada@shop.example", "analyst")
    );
    assert!(user.get("password").is_none(), "a chosen password is not repeated");

    let key = json!({"account_id": "shop", "name": "web", "description": "the shop", "scopes": ["write"]});
    let key = operator.made("/local/keys", key).await;
    assert_eq!(
        (text(&key, "profile"), &key["scopes"], &key["is_active"]),
        ("platform", &json!(["write"]), &json!(true))
    );
    let presented = Presented::parse(text(&key, "key"));
    let principal = operator.node.authenticate(&presented).await.unwrap();
    assert_eq!(principal.source(), format!("key:{}", text(&key, "id")));

    let token = operator.made("/local/tokens", json!({"user": "ADA", "name": "laptop"})).await;
    let presented = Presented::parse(text(&token, "token"));
    let principal = operator.node.authenticate(&presented).await.unwrap();
    assert!(matches!(principal, Principal::Pat { role: Role::Analyst, .. }));
    assert!(text(&token, "token")["2:".len()..].starts_with(text(&token, "hint")));
}

#[tokio::test]
async fn a_password_is_kept_as_a_hash_and_made_if_none_is_chosen() {
    let operator = Operator::new().await;
    operator.made("/local/accounts", json!({"id": "shop", "name": "Shop"})).await;
    let user = operator.made("/local/users", ada(None)).await;
    let made = text(&user, "password").to_owned();
    let directory = operator.node.directory();
    let kept = &directory.user_named("ada").unwrap().password_hash;
    assert_eq!(password::verify(&made.clone().into(), kept).await, Ok(true));
    for topic in [ACCESS, AUDIT] {
        for record in operator.log.all(topic) {
            assert!(!String::from_utf8_lossy(&record.value).contains(&made), "a password in {topic}");
        }
    }
}

#[tokio::test]
async fn lists_show_everything_but_secrets() {
    let operator = Operator::new().await;
    for id in ["zoo", "shop"] {
        operator.made("/local/accounts", json!({"id": id, "name": id})).await;
    }
    operator.made("/local/users", ada(None)).await;
    let key = operator.made("/local/keys", json!({"account_id": "shop", "name": "web", "scopes": ["write"]})).await;
    let other = operator.made("/local/keys", json!({"account_id": "zoo", "name": "app", "scopes": ["read"]})).await;
    let token = operator.made("/local/tokens", json!({"user": "ada@shop.example", "name": "laptop"})).await;

    let ids = |list: &Value, name: &str| -> Vec<String> {
        list[name].as_array().unwrap().iter().map(|row| text(row, "id").to_owned()).collect()
    };
    let accounts = operator.get("/local/accounts").await;
    assert_eq!((ids(&accounts, "accounts"), &accounts["more"]), (vec!["shop".into(), "zoo".into()], &json!(false)));
    let keys = operator.get("/local/keys").await;
    assert_eq!(ids(&keys, "keys"), [text(&key, "id"), text(&other, "id")]);
    assert_eq!(ids(&operator.get("/local/keys?account=zoo").await, "keys"), [text(&other, "id")]);
    assert_eq!(ids(&operator.get("/local/tokens?account=shop").await, "tokens"), [text(&token, "id")]);
    assert_eq!(ids(&operator.get("/local/users?account=zoo").await, "users"), Vec::<String>::new());
    for (list, secret) in [("keys", &key["key"]), ("tokens", &token["token"]), ("users", &json!("$argon2id"))] {
        let shown = operator.get(&format!("/local/{list}")).await.to_string();
        let random = &secret.as_str().unwrap()[4..];
        assert!(!shown.contains(random) && !shown.contains("hash"), "{shown}");
    }
}

#[tokio::test]
async fn revoking_answers_204_once_and_404_after() {
    let operator = Operator::new().await;
    operator.made("/local/accounts", json!({"id": "shop", "name": "Shop"})).await;
    let user = operator.made("/local/users", ada(None)).await;
    let key = operator.made("/local/keys", json!({"account_id": "shop", "name": "web", "scopes": ["write"]})).await;
    let token = operator.made("/local/tokens", json!({"user": text(&user, "id"), "name": "laptop"})).await;
    for (path, secret) in [("keys", text(&key, "key")), ("tokens", text(&token, "token"))] {
        let id = text(if path == "keys" { &key } else { &token }, "id");
        let path = format!("/local/{path}/{id}");
        assert_eq!(operator.delete(&path).await, StatusCode::NO_CONTENT);
        assert!(operator.node.authenticate(&Presented::parse(secret)).await.is_err());
        assert_eq!(operator.delete(&path).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(operator.delete(&format!("/local/users/{}", text(&user, "id"))).await, StatusCode::NO_CONTENT);
    assert_eq!(operator.get("/local/users").await["users"][0]["is_active"], json!(false));
    assert_eq!(operator.delete("/local/accounts/shop").await, StatusCode::NO_CONTENT);
    assert_eq!(operator.delete("/local/accounts/shop").await, StatusCode::CONFLICT);
    let keys = operator.get("/local/keys").await;
    assert_eq!(
        (text(&keys["keys"][0], "revoked_at"), &keys["keys"][0]["is_active"]),
        ("2026-03-01T00:00:00.000Z", &json!(false))
    );
}

#[tokio::test]
async fn an_account_is_changed_in_what_is_named_and_stays_as_it_is_otherwise() {
    let operator = Operator::new().await;
    operator.made("/local/accounts", json!({"id": "shop", "name": "Shop"})).await;
    let change = async |body: Value| operator.call("PATCH", "/local/accounts/shop", Some(body)).await;

    let (status, changed) = change(json!({"origins": ["https://shop.example"]})).await;
    assert_eq!((status, &changed["origins"]), (StatusCode::OK, &json!(["https://shop.example"])));
    let (_, changed) = change(json!({"slot_ms": 60_000})).await;
    assert_eq!((&changed["slot_ms"], &changed["origins"]), (&json!(60_000), &json!(["https://shop.example"])));
    assert_eq!(operator.get("/local/accounts").await["accounts"][0], changed);
    let (_, changed) = change(json!({"origins": []})).await;
    assert_eq!(changed["origins"], json!([]));

    for (body, field) in [
        (json!({"origins": ["no origin"]}), "origins"),
        (json!({"slot_ms": -1}), "slot_ms"),
        (json!({}), "nothing to change"),
    ] {
        let (status, answer) = change(body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert!(text(&answer, "detail").contains(field), "{answer}");
    }
    let (status, _) = operator.call("PATCH", "/local/accounts/none", Some(json!({"slot_ms": 0}))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_detail() {
    let operator = Operator::new().await;
    operator.made("/local/accounts", json!({"id": "shop", "name": "Shop"})).await;
    let key = |field: &str, value: Value| {
        let mut key = json!({"account_id": "shop", "name": "web", "scopes": ["write"]});
        key[field] = value;
        key
    };
    let user = |field: &str, value: Value| {
        let mut user = ada(None);
        user[field] = value;
        user
    };
    let cases = [
        ("/local/accounts", json!({"id": "a/b", "name": "x"}), 422, "account_id"),
        ("/local/accounts", json!({"id": "shop", "name": "x"}), 409, "exists already"),
        ("/local/accounts", json!({"name": " "}), 422, "name: must not be blank"),
        ("/local/accounts", json!({"name": "x", "nmae": "y"}), 422, "nmae"),
        ("/local/accounts", json!({}), 422, "missing field `name`"),
        ("/local/users", user("role", json!("root")), 422, "viewer, analyst, developer, admin"),
        ("/local/users", user("password", json!("short")), 422, "password: must have at least 12 characters"),
        ("/local/users", user("email", json!("ada")), 422, "email"),
        ("/local/users", user("account_id", json!("zoo")), 404, "Account not found"),
        ("/local/keys", key("profile", json!("root")), 422, "platform, admin, integrations, transactional"),
        ("/local/keys", key("scopes", json!(["write", "fly"])), 422, "`fly`"),
        ("/local/keys", key("scopes", json!([])), 422, "scopes"),
        ("/local/keys", key("account_id", json!("zoo")), 404, "Account not found"),
        ("/local/tokens", json!({"user": "nobody", "name": "x"}), 404, "User not found"),
    ];
    for (path, body, status, says) in cases {
        let (got, answer) = operator.call("POST", path, Some(body.clone())).await;
        assert_eq!(got.as_u16(), status, "{body}: {answer}");
        assert!(text(&answer, "detail").contains(says), "{body}: {answer}");
    }
    for path in ["/local/users?account=zoo", "/local/keys?account=a%2Fb", "/local/keys?acount=shop"] {
        let (status, answer) = operator.call("GET", path, None).await;
        assert!(status.is_client_error() && answer["detail"].is_string(), "{path}: {status} {answer}");
    }
    assert_eq!(operator.delete("/local/accounts/a%2Fb").await, StatusCode::NOT_FOUND);
    let (status, answer) = operator.call("DELETE", "/local/keys/%FF", None).await;
    assert_eq!((status, answer["detail"].is_string()), (StatusCode::BAD_REQUEST, true));
}

#[tokio::test]
async fn a_body_beyond_its_limit_is_413_and_no_json_is_told_apart() {
    let operator = Operator::new().await;
    let body = json!({"name": "x".repeat(limits::BODY_BYTES_MAX)});
    let (status, answer) = operator.call("POST", "/local/accounts", Some(body)).await;
    assert_eq!((status, answer["detail"].is_string()), (StatusCode::PAYLOAD_TOO_LARGE, true));
    let request =
        Request::post("/local/accounts").header("Content-Type", "application/json").body(Body::from("{")).unwrap();
    let answer = operator.routes.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_attempt_is_in_the_audit_trail() {
    let operator = Operator::new().await;
    let account = json!({"id": "shop", "name": "Shop"});
    operator.made("/local/accounts", account.clone()).await;
    operator.call("POST", "/local/accounts", Some(account)).await;
    operator
        .call(
            "POST",
            "/local/users",
            Some(json!({"account_id": "shop", "username": "a", "email": "b", "role": "root"})),
        )
        .await;
    operator.delete("/local/keys/nothing").await;
    operator.call("POST", "/local/tokens", Some(json!({"user": "nobody", "name": "x"}))).await;
    let mut told: Vec<(String, String)> =
        operator.audit().into_iter().map(|entry| (entry.action, entry.outcome)).collect();
    told.sort();
    let expected = [
        ("account.create", "conflict"),
        ("account.create", "ok"),
        ("key.revoke", "not_found"),
        ("token.create", "not_found"),
        ("user.create", "invalid"),
    ];
    assert_eq!(told, expected.map(|(action, outcome)| (action.to_owned(), outcome.to_owned())));
    assert!(operator.audit().iter().all(|entry| entry.actor_kind == "cli" && entry.actor_id == "local"));
}

#[tokio::test]
async fn a_log_that_takes_nothing_is_503_and_nothing_changes() {
    let operator = Operator::new().await;
    operator.log.fail_next(ACCESS, [Fault::Refused]);
    let (status, answer) = operator.call("POST", "/local/accounts", Some(json!({"id": "shop", "name": "Shop"}))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(&answer, "detail").contains("cannot be changed now"));
    assert_eq!(operator.get("/local/accounts").await["accounts"], json!([]));
    operator.log.set_unreadable(true);
    assert_eq!(operator.call("GET", "/local/accounts", None).await.0, StatusCode::SERVICE_UNAVAILABLE);
}
