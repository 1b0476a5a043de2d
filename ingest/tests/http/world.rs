//! A node with two accounts and their keys, and ingest in front of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use millrace_clock::ManualClock;
use millrace_directory::{AccountId, Actor, Command, ExposeSecret, Node, Profile, Role, Scopes};
use millrace_eventlog::embedded::{EmbeddedLog, Options};
use millrace_eventlog::faults::FaultyLog;
use millrace_eventlog::{Log, NewRecord, Topic, TopicSpec};
use millrace_ingest::{Config, Services, router};
use millrace_schemas::codec::Versioned;
use millrace_schemas::raw::{Conversion, Event, Raw, Reject, event, raw};
use millrace_schemas::topics;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// 2026-03-01T00:00:00Z.
pub const NOW_MS: i64 = 1_772_323_200_000;
pub const RAW: Topic = Topic(topics::RAW);
/// Partitions of the raw topic.
pub const PARTITIONS: u32 = 4;
pub const ACCOUNT: &str = "acme";
pub const OTHER: &str = "other";
pub const ORIGIN: &str = "https://shop.example";
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA";

pub struct World {
    pub clock: Arc<ManualClock>,
    /// A log in a folder of its own, that fails on demand.
    pub log: Arc<FaultyLog>,
    pub node: Arc<Node>,
    pub router: Router,
    pub keys: Keys,
    _stop: tokio_util::sync::DropGuard,
    _home: tempfile::TempDir,
}

pub struct Keys {
    /// Of [`ACCOUNT`], single scope `write`.
    pub write: String,
    /// Of [`ACCOUNT`], scopes `read` and `write`.
    pub full: String,
    /// Of [`ACCOUNT`], scope `read`.
    pub read: String,
    /// Of [`OTHER`], single scope `write`.
    pub other: String,
    /// A personal access token of [`ACCOUNT`].
    pub pat: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Accepted and rejected, as the headers say.
    pub fn counts(&self) -> (&str, &str) {
        (self.header("x-millrace-accepted"), self.header("x-millrace-rejected"))
    }
}

async fn done(node: &Node, command: Command) -> (String, String) {
    let done = node.execute(&Actor::local(), command).await.unwrap();
    (done.id, done.secret.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default())
}

async fn key(node: &Node, account: &str, read: bool, write: bool) -> String {
    let command = Command::CreateKey {
        account_id: AccountId::parse(account).unwrap(),
        name: "web".into(),
        description: String::new(),
        profile: Profile::Platform,
        scopes: Scopes { read, write },
    };
    done(node, command).await.1
}

/// Makes two accounts and all keys.
pub async fn populate(node: &Node) -> Keys {
    for (account, origin) in [(ACCOUNT, ORIGIN), (OTHER, "https://other.example")] {
        let account_id = AccountId::parse(account).unwrap();
        done(node, Command::CreateAccount { account_id: Some(account_id.clone()), name: account.into() }).await;
        let origins = Some(vec![origin.to_owned()]);
        done(node, Command::ChangeAccount { account_id, slot_ms: None, origins }).await;
    }
    let user = Command::CreateUser {
        account_id: AccountId::parse(ACCOUNT).unwrap(),
        username: "ann".into(),
        email: "ann@example.com".into(),
        role: Role::Admin,
        password_hash: HASH.into(),
    };
    let (user_id, _) = done(node, user).await;
    Keys {
        write: key(node, ACCOUNT, false, true).await,
        full: key(node, ACCOUNT, true, true).await,
        read: key(node, ACCOUNT, true, false).await,
        other: key(node, OTHER, false, true).await,
        pat: done(node, Command::CreateToken { user_id, name: "laptop".into() }).await.1,
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let clock = ManualClock::at(NOW_MS);
        let home = tempfile::tempdir().unwrap();
        let specs = [(topics::RAW, PARTITIONS), (topics::ACCESS, 1), (topics::AUDIT, PARTITIONS)]
            .map(|(name, partitions)| TopicSpec { topic: Topic(name), partitions });
        let log = EmbeddedLog::open(home.path(), &specs, clock.clone(), Options::default()).unwrap();
        let log = FaultyLog::over(log);
        let stop = CancellationToken::new();
        let node = Node::start(log.clone(), clock.clone(), stop.clone()).await.unwrap();
        let keys = populate(&node).await;
        let services = Services { log: log.clone() as Arc<dyn Log>, node: node.clone(), clock: clock.clone(), config };
        Self { clock, log, node, router: router(services), keys, _stop: stop.drop_guard(), _home: home }
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        send(self.router.clone(), request).await
    }

    /// Posts a body with the write key.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.send(self.request(path, headers, body)).await
    }

    pub fn request(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
        let mut request = Request::post(path).header("X-API-Key", &self.keys.write).header("X-Request-ID", "id-1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer: SocketAddr = "198.51.100.77:4711".parse().unwrap();
        request.extension(ConnectInfo(peer)).body(body.into()).unwrap()
    }

    /// Posts a batch to the Event API.
    pub async fn events(&self, body: &Value) -> Answer {
        self.post("/v1/events", &[], body.to_string()).await
    }

    /// What went into the raw topic, append by append.
    pub fn appends(&self) -> Vec<Vec<NewRecord>> {
        self.log.taken(RAW)
    }

    /// The raw records, in the order they were sent in.
    pub fn raw(&self) -> Vec<Raw> {
        let records = self.appends().into_iter().flatten();
        records.map(|record| Raw::from_versioned(record.version, record.value).unwrap()).collect()
    }

    pub fn accepted(&self) -> Vec<Event> {
        let events = self.raw().into_iter().filter_map(|raw| match raw.body {
            Some(raw::Body::Event(event)) => Some(event),
            _ => None,
        });
        events.collect()
    }

    pub fn rejects(&self) -> Vec<Reject> {
        let rejects = self.raw().into_iter().filter_map(|raw| match raw.body {
            Some(raw::Body::Reject(reject)) => Some(reject),
            _ => None,
        });
        rejects.collect()
    }
}

pub async fn send(router: Router, request: Request<Body>) -> Answer {
    let answering = async {
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    };
    tokio::time::timeout(Duration::from_secs(30), answering).await.expect("an answer")
}

/// A batch of [`ACCOUNT`].
pub fn batch(visitors: impl Into<Value>) -> Value {
    json!({"account_id": ACCOUNT, "visitors": visitors.into()})
}

/// A visitor with one event.
pub fn visitor(id: &str, event: Value) -> Value {
    json!({"visitor_id": id, "snapshots": [{"events": [event]}]})
}

/// A good event.
pub fn purchase(uuid: &str) -> Value {
    json!({"uuid": uuid, "timestamp": NOW_MS, "key": "purchase", "entity_id": "8001"})
}

pub fn conversion(event: &Event) -> &Conversion {
    match event.kind.as_ref().unwrap() {
        event::Kind::Conversion(conversion) => conversion,
        event::Kind::DecisionEvent(_) => panic!("a decision: {event:?}"),
    }
}

pub fn decisions(event: &Event) -> &[millrace_schemas::raw::Decision] {
    match event.kind.as_ref().unwrap() {
        event::Kind::DecisionEvent(event) => &event.decisions,
        event::Kind::Conversion(_) => panic!("a conversion: {event:?}"),
    }
}
