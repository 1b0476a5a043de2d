//! One of each record, every field set, so that a field that moves shows. No `..default()`: a new field must be thought of.

use millrace_schemas::access::{
    AccountChanged, AccountClosed, AccountCreated, Audit, Fact, KeyCreated, KeyRevoked, LogBegun, Profile, Role,
    TokenCreated, TokenRevoked, UserChanged, UserCreated, Version, fact::Change,
};
use millrace_schemas::enriched::{
    Attributed, Dead, Duplicate, Enriched, EnrichedRecord, Kind, Outcome, Rejected, Unattributed, Watermark,
    enriched_record, outcome::What,
};
use millrace_schemas::raw::{
    Attribute, AttributionMode, AttributionRule, Conversion, Decision, DecisionEvent, Event, Pair, Raw, Reject,
    Settings, Tick, event, raw,
};

const NOW_MS: i64 = 1_772_323_200_123;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn pair(key: &str, value: &str) -> Pair {
    Pair { key: key.into(), value: value.into() }
}

fn decision() -> Decision {
    Decision {
        campaign_id: some("9200"),
        experiment_id: some("9300"),
        variation_id: some("9301"),
        is_holdback: Some(false),
        flag_key: some("checkout"),
        rule_key: some("checkout_test"),
        rule_type: some("experiment"),
        variation_key: some("old"),
        enabled: Some(true),
    }
}

fn event(kind: event::Kind) -> Event {
    let attribute = Attribute { id: some("6001"), name: some("plan"), r#type: some("custom"), value: some("gold") };
    Event {
        account_id: "acme".into(),
        visitor_id: "ann".into(),
        uuid: "a68cf1ad-0393-4e18-af87-efe8f01a7c9c".into(),
        timestamp_ms: NOW_MS,
        session_id: some("s-1"),
        attributes: vec![attribute],
        user_ip: some("198.51.100.0"),
        user_agent: some("agent"),
        referer: some("https://shop.example/"),
        revision: some("42"),
        client_engine: some("python-sdk"),
        client_version: some("5.2.0"),
        project_id: some("5001"),
        enrich_decisions: true,
        source: "key:1".into(),
        request_id: "id-1".into(),
        unknown_fields: r#"{"event.n":"Name"}"#.into(),
        kind: Some(kind),
    }
}

fn conversion() -> Event {
    event(event::Kind::Conversion(Conversion {
        entity_id: some("8001"),
        key: some("purchase"),
        event_type: some("custom"),
        revenue: Some(-4200),
        value: Some(1.5),
        quantity: Some(3),
        tags: vec![pair("colour", "red"), pair("grün", "😀")],
        properties: vec![pair("a", "b")],
        snapshot_decisions: vec![decision()],
    }))
}

fn reject() -> Reject {
    Reject {
        account_id: "acme".into(),
        visitor_id: "ann".into(),
        uuid: some("u"),
        reason: "wrong_type".into(),
        field: "visitors[0].snapshots[0].events[0].timestamp".into(),
        rule: "whole milliseconds since 1970".into(),
        original: b"{\"timestamp\":\"\xff\"}".as_slice().into(),
        position: 7,
        source: "key:1".into(),
        request_id: "id-1".into(),
    }
}

fn settings() -> Settings {
    Settings {
        version: 2,
        dedupe_window_ms: 604_800_000,
        attribution_mode: AttributionMode::None.into(),
        attribution_rule: AttributionRule::First.into(),
        attribution_window_ms: 7_776_000_000,
        attribution_grace_ms: 60_000,
        session_gap_ms: 1_800_000,
        session_length_max_ms: 86_400_000,
        session_ahead_max_ms: 86_400_001,
        assignments_per_visitor_max: 512,
        variation_changes_max: 8,
        events_per_visitor_minute_max: 6_000,
        witness_tolerance_ms: 3_600_000,
    }
}

pub fn raw() -> Vec<(&'static str, Raw)> {
    let raw = |body| Raw { witness_ms: NOW_MS, body: Some(body) };
    let decided = event(event::Kind::DecisionEvent(DecisionEvent { decisions: vec![decision(), Decision::default()] }));
    vec![
        ("raw-decision", raw(raw::Body::Event(decided))),
        ("raw-conversion", raw(raw::Body::Event(conversion()))),
        ("raw-reject", raw(raw::Body::Reject(reject()))),
        ("raw-settings", raw(raw::Body::Settings(settings()))),
        ("raw-tick", raw(raw::Body::Tick(Tick {}))),
    ]
}

pub fn enriched() -> Vec<(&'static str, EnrichedRecord)> {
    let outcome = |what| {
        let outcome = Outcome { raw_offset: 17, process_timestamp_ms: NOW_MS, what: Some(what) };
        EnrichedRecord { body: Some(enriched_record::Body::Outcome(outcome)) }
    };
    let attributed = Attributed {
        campaign_id: some("9200"),
        experiment_id: some("9300"),
        variation_id: some("9301"),
        is_holdback: Some(true),
    };
    let enriched = Enriched {
        event: Some(conversion()),
        session_id: some("-1234567890"),
        experiments: vec![attributed],
        unattributed: Unattributed::OutsideWindow.into(),
    };
    let dead = Dead {
        account_id: "acme".into(),
        visitor_id: "ann".into(),
        reason: "does not decode".into(),
        original: b"\xff\x00".as_slice().into(),
    };
    let watermark = Watermark {
        log_time_ms: NOW_MS,
        watermark_ms: NOW_MS - 5,
        folded: 19,
        released: 18,
        settings_version: 2,
        settings: Some(settings()),
    };
    vec![
        ("enriched-enriched", outcome(What::Enriched(enriched))),
        (
            "enriched-duplicate",
            outcome(What::Duplicate(Duplicate { account_id: "acme".into(), kind: Kind::Reject.into() })),
        ),
        ("enriched-rejected", outcome(What::Rejected(Rejected { reject: Some(reject()) }))),
        ("enriched-dead", outcome(What::Dead(dead))),
        ("enriched-watermark", EnrichedRecord { body: Some(enriched_record::Body::Watermark(watermark)) }),
    ]
}

pub fn facts() -> Vec<(&'static str, Fact)> {
    let fact = |change| Fact {
        id: "fact-1".into(),
        made_ms: NOW_MS,
        actor: "cli:local".into(),
        relied: vec![Version { entity: "account/acme".into(), version: 3 }],
        writes: vec!["key/k1".into()],
        change: Some(change),
    };
    let account_id = || "acme".to_owned();
    let user = UserCreated {
        user_id: "u1".into(),
        account_id: account_id(),
        username: "ann".into(),
        email: "ann@example.com".into(),
        role: Role::Admin.into(),
        password_hash: "$argon2id$".into(),
    };
    let user_changed = UserChanged {
        user_id: "u1".into(),
        role: Some(Role::Analyst.into()),
        active: Some(false),
        password_hash: some("$argon2id$"),
    };
    let key = KeyCreated {
        key_id: "k1".into(),
        account_id: account_id(),
        name: "web".into(),
        description: "the shop".into(),
        profile: Profile::Transactional.into(),
        scopes: vec!["read".into(), "write".into()],
        secret_hash: vec![7; 32].into(),
        hint: "abcd".into(),
    };
    let token = TokenCreated {
        token_id: "t1".into(),
        account_id: account_id(),
        user_id: "u1".into(),
        name: "laptop".into(),
        secret_hash: vec![9; 32].into(),
        hint: "efgh".into(),
    };
    let changed =
        AccountChanged { account_id: account_id(), slot_ms: Some(60_000), origins: some("https://a.example") };
    vec![
        (
            "fact-account-created",
            Change::AccountCreated(AccountCreated { account_id: account_id(), name: "Acme".into() }),
        ),
        ("fact-account-closed", Change::AccountClosed(AccountClosed { account_id: account_id() })),
        ("fact-account-changed", Change::AccountChanged(changed)),
        ("fact-user-created", Change::UserCreated(user)),
        ("fact-user-changed", Change::UserChanged(user_changed)),
        ("fact-key-created", Change::KeyCreated(key)),
        ("fact-key-revoked", Change::KeyRevoked(KeyRevoked { key_id: "k1".into() })),
        ("fact-token-created", Change::TokenCreated(token)),
        ("fact-token-revoked", Change::TokenRevoked(TokenRevoked { token_id: "t1".into() })),
        ("fact-log-begun", Change::LogBegun(LogBegun { log_id: "log-1".into() })),
    ]
    .into_iter()
    .map(|(name, change)| (name, fact(change)))
    .collect()
}

pub fn audit() -> Vec<(&'static str, Audit)> {
    let entry = Audit {
        account_id: "acme".into(),
        timestamp_ms: NOW_MS,
        actor_kind: "user".into(),
        actor_id: "u1".into(),
        action: "key.create".into(),
        target_kind: "key".into(),
        target_id: "k1".into(),
        outcome: "ok".into(),
        source_ip: "198.51.100.7".into(),
        user_agent: "agent".into(),
        request_id: "id-1".into(),
        count: 3,
        detail: "why".into(),
    };
    vec![("audit-entry", entry)]
}
