//! Commands: what they make, what they refuse, and what happens when nodes race.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use millrace_clock::Clock;
use millrace_directory::{
    AccountId, AuthError, Command, CommandError, ExposeSecret, Kind, Presented, Principal, Profile, Role, Scopes,
};
use millrace_eventlog::{AppendError, Appended, Chunk, Consumer, Extent, Log, NewRecord, ReadError, Topic};
use millrace_schemas::access::{AccountChanged, Fact, Version, fact};
use millrace_schemas::codec::Versioned;
use support::memory_log::{ACCESS, AUDIT, Fault, Late, MemoryLog};
use support::*;

fn conflict(result: Result<millrace_directory::Done, CommandError>) -> String {
    match result {
        Err(CommandError::Conflict { reason }) => reason,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

#[tokio::test]
async fn what_is_made_can_be_looked_up_at_once() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("123")).await.unwrap();
    let user = execute(&node, create_user("123", "Ada", Role::Developer)).await.unwrap();
    let key = execute(&node, create_key("123", Profile::Platform)).await.unwrap();
    let token = execute(&node, create_token(&user.id)).await.unwrap();

    let account = account_id("123");
    let Principal::ApiKey { key_id, account: of, profile, scopes } = node.authenticate(&presented(&key)).await.unwrap()
    else {
        panic!("an API key is an API key");
    };
    assert_eq!((&*key_id, of, profile), (key.id.as_str(), account.clone(), Profile::Platform));
    assert!(scopes.is_write_only());
    let principal = node.authenticate(&presented(&token)).await.unwrap();
    assert_eq!(principal.source(), format!("pat:{}", token.id));
    let Principal::Pat { user_id, role, .. } = principal else { panic!("a token is a token") };
    assert_eq!((&*user_id, role), (user.id.as_str(), Role::Developer));

    let directory = node.directory();
    assert_eq!(directory.account(&account).unwrap().created_ms, START_MS);
    assert_eq!(directory.user_named("ADA").unwrap().username, "ada", "letter case does not count");
    assert_eq!(directory.user_named("ada@example.com").unwrap().id, user.id.into());
    assert_eq!(directory.keys_of(&account).count(), 1);
    assert_eq!(directory.tokens_of(&account).count(), 1);
}

#[tokio::test]
async fn an_account_is_as_old_as_its_fact_in_the_log() {
    let world = World::new();
    let node = world.node().await;
    world.clock.advance(std::time::Duration::from_millis(1234));
    let made = execute(&node, Command::CreateAccount { account_id: None, name: "Shop".into() }).await.unwrap();
    let account = AccountId::parse(&made.id).expect("a made id is an account id");
    assert_eq!(made.id.len(), 11);
    assert!(made.id.bytes().all(|byte| byte.is_ascii_digit()), "as the SDKs' data files carry it");
    assert_eq!(made.directory.account(&account).unwrap().created_ms, world.clock.now_ms());
}

#[tokio::test]
async fn secrets_have_the_form_of_their_kind_and_are_kept_as_digests_only() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let user = execute(&node, create_user("1", "ada", Role::Analyst)).await.unwrap();
    let key = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    let token = execute(&node, create_token(&user.id)).await.unwrap();
    for (done, kind, chars) in [(&key, Kind::ApiKey, 8 + 32), (&token, Kind::Pat, 2 + 52)] {
        let secret = done.secret.as_ref().unwrap().expose_secret();
        assert_eq!((Presented::parse(secret).kind(), secret.len()), (Some(kind), chars));
        let random = &secret[kind.prefix().len() + 4..];
        for topic in [ACCESS, AUDIT] {
            for record in world.log.all(topic) {
                assert!(!String::from_utf8_lossy(&record.value).contains(random), "a secret in {topic}");
            }
        }
        assert!(!format!("{done:?} {:?}", node.directory().key(&done.id)).contains(random));
    }
}

#[tokio::test]
async fn of_the_profiles_only_platform_works_without_activation() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    for profile in Profile::ALL {
        let key = execute(&node, create_key("1", profile)).await.unwrap();
        let outcome = node.authenticate(&presented(&key)).await;
        match profile {
            Profile::Platform => assert!(outcome.is_ok()),
            _ => assert!(matches!(outcome, Err(AuthError::Inactive { reason: "not activated", .. })), "{profile:?}"),
        }
    }
}

#[tokio::test]
async fn revoking_works_once_and_leaves_the_others() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let user = execute(&node, create_user("1", "ada", Role::Analyst)).await.unwrap();
    let key = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    let other = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    let token = execute(&node, create_token(&user.id)).await.unwrap();

    let revoke_key = || Command::RevokeKey { key_id: key.id.clone() };
    let revoke_token = || Command::RevokeToken { token_id: token.id.clone() };
    execute(&node, revoke_key()).await.unwrap();
    execute(&node, revoke_token()).await.unwrap();
    for done in [&key, &token] {
        let outcome = node.authenticate(&presented(done)).await;
        assert!(matches!(outcome, Err(AuthError::Inactive { reason: "revoked", .. })));
    }
    assert!(node.authenticate(&presented(&other)).await.is_ok());
    assert_eq!(execute(&node, revoke_key()).await.unwrap_err(), CommandError::NotFound { what: "API key" });
    assert_eq!(execute(&node, revoke_token()).await.unwrap_err(), CommandError::NotFound { what: "Token" });
}

#[tokio::test]
async fn a_token_has_its_owners_permissions_at_the_moment_of_use() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let user = execute(&node, create_user("1", "ada", Role::Analyst)).await.unwrap();
    let token = execute(&node, create_token(&user.id)).await.unwrap();
    execute(&node, change_user(&user.id, Some(Role::Viewer), None)).await.unwrap();
    let principal = node.authenticate(&presented(&token)).await.unwrap();
    assert!(matches!(principal, Principal::Pat { role: Role::Viewer, .. }));
    execute(&node, change_user(&user.id, None, Some(false))).await.unwrap();
    let outcome = node.authenticate(&presented(&token)).await;
    assert!(matches!(outcome, Err(AuthError::Inactive { reason: "user deactivated", .. })));
    assert!(conflict(execute(&node, create_token(&user.id)).await).contains("deactivated"));
    execute(&node, change_user(&user.id, None, Some(true))).await.unwrap();
    assert!(node.authenticate(&presented(&token)).await.is_ok());
}

#[tokio::test]
async fn a_closed_accounts_credentials_are_refused() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let user = execute(&node, create_user("1", "ada", Role::Admin)).await.unwrap();
    let key = execute(&node, create_key("1", Profile::Platform)).await.unwrap();
    let token = execute(&node, create_token(&user.id)).await.unwrap();
    let close = || Command::CloseAccount { account_id: account_id("1") };
    let closed = execute(&node, close()).await.unwrap();
    assert_eq!(closed.directory.account(&account_id("1")).unwrap().closed_ms, Some(START_MS));
    for done in [&key, &token] {
        let outcome = node.authenticate(&presented(done)).await;
        assert!(matches!(outcome, Err(AuthError::Inactive { reason: "account closed", .. })));
    }
    for command in [close(), create_key("1", Profile::Platform), create_user("1", "bob", Role::Viewer)] {
        assert!(conflict(execute(&node, command).await).contains("closed"));
    }
}

#[tokio::test]
async fn an_accounts_settings_change_one_by_one_and_back() {
    let world = World::new();
    let node = world.node().await;
    let id = account_id("1");
    execute(&node, create_account("1")).await.unwrap();
    let change = |slot_ms, origins: Option<&[&str]>| Command::ChangeAccount {
        account_id: account_id("1"),
        slot_ms,
        origins: origins.map(|origins| origins.iter().map(ToString::to_string).collect()),
    };
    let origins = ["https://shop.example", "http://localhost:3000"];
    execute(&node, change(Some(60_000), None)).await.unwrap();
    let done = execute(&node, change(None, Some(&origins))).await.unwrap();
    let account = done.directory.account(&id).unwrap();
    assert_eq!((account.slot_ms, account.origins.as_slice()), (Some(60_000), origins.map(String::from).as_slice()));
    let done = execute(&node, change(Some(0), Some(&[]))).await.unwrap();
    let account = done.directory.account(&id).unwrap();
    assert_eq!((account.slot_ms, account.origins.len()), (None, 0));
    for bad in [change(Some(61_000), None), change(None, Some(&["https://a b"])), change(None, None)] {
        assert!(matches!(execute(&node, bad).await, Err(CommandError::Invalid { .. })));
    }
}

#[tokio::test]
async fn names_and_ids_are_unique_over_all_accounts() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    execute(&node, create_account("2")).await.unwrap();
    execute(&node, create_user("1", "ada", Role::Admin)).await.unwrap();
    assert!(conflict(execute(&node, create_account("1")).await).contains("exists already"));
    assert!(conflict(execute(&node, create_user("2", "ADA", Role::Admin)).await).contains("username ada is taken"));
    let same_address = Command::CreateUser {
        account_id: account_id("2"),
        username: "bob".into(),
        email: "Ada@Example.com".into(),
        role: Role::Viewer,
        password_hash: HASH.into(),
    };
    assert!(conflict(execute(&node, same_address).await).contains("e-mail address"));
    assert_eq!(node.directory().users_of(&account_id("2")).count(), 0);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let world = World::new();
    let node = world.node().await;
    for (command, what) in [
        (create_key("1", Profile::Platform), "Account"),
        (create_user("1", "ada", Role::Viewer), "Account"),
        (Command::CloseAccount { account_id: account_id("1") }, "Account"),
        (change_user("u", Some(Role::Viewer), None), "User"),
        (create_token("u"), "User"),
        (Command::RevokeKey { key_id: "k".into() }, "API key"),
        (Command::RevokeToken { token_id: "t".into() }, "Token"),
    ] {
        assert_eq!(execute(&node, command).await.unwrap_err(), CommandError::NotFound { what });
    }
    assert!(world.facts().is_empty(), "what is refused leaves no fact");
}

#[tokio::test]
async fn the_last_active_admin_stays() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let ada = execute(&node, create_user("1", "ada", Role::Admin)).await.unwrap();
    let bob = execute(&node, create_user("1", "bob", Role::Admin)).await.unwrap();
    execute(&node, change_user(&bob.id, None, Some(false))).await.unwrap();
    for (role, active) in [(Some(Role::Developer), None), (None, Some(false))] {
        assert!(conflict(execute(&node, change_user(&ada.id, role, active)).await).contains("must remain"));
    }
    execute(&node, change_user(&bob.id, None, Some(true))).await.unwrap();
    execute(&node, change_user(&ada.id, Some(Role::Developer), None)).await.unwrap();
}

#[tokio::test]
async fn two_nodes_that_each_demote_another_admin_leave_one() {
    let world = World::new();
    let first = world.node().await;
    execute(&first, create_account("1")).await.unwrap();
    let ada = execute(&first, create_user("1", "ada", Role::Admin)).await.unwrap();
    let bob = execute(&first, create_user("1", "bob", Role::Admin)).await.unwrap();
    let late = Late::new(&world.log);
    let second = world.node_on(late.clone()).await;

    execute(&first, change_user(&ada.id, Some(Role::Viewer), None)).await.unwrap();
    // The second node still sees two ADMINs: its fact is void, and validating again it sees one.
    assert_eq!(second.directory().user(&ada.id).unwrap().role, Role::Admin);
    assert!(conflict(execute(&second, change_user(&bob.id, Some(Role::Viewer), None)).await).contains("must remain"));
    assert_eq!(first.caught_up().await.unwrap().user(&bob.id).unwrap().role, Role::Admin);
}

#[tokio::test]
async fn a_void_fact_is_validated_again_and_succeeds() {
    let world = World::new();
    let first = world.node().await;
    execute(&first, create_account("1")).await.unwrap();
    let second = world.node_on(Late::new(&world.log)).await;
    let slot = |slot_ms| Command::ChangeAccount { account_id: account_id("1"), slot_ms: Some(slot_ms), origins: None };
    execute(&first, slot(60_000)).await.unwrap();
    execute(&second, slot(300_000)).await.unwrap();
    assert_eq!(world.facts().len(), 4, "the second node's first fact is there, and void");
    let directory = first.caught_up().await.unwrap();
    assert_eq!(directory.account(&account_id("1")).unwrap().slot_ms, Some(300_000));
    assert!(directory == second.directory());
}

#[tokio::test]
async fn an_append_that_is_refused_changes_nothing() {
    let world = World::new();
    let node = world.node().await;
    world.log.fail_next(ACCESS, [Fault::Refused]);
    let refused = execute(&node, create_account("1")).await;
    assert!(matches!(refused, Err(CommandError::Unavailable { .. })));
    execute(&node, create_account("1")).await.unwrap();
}

#[tokio::test]
async fn an_append_of_unknown_outcome_is_done_if_the_fact_turns_up() {
    let world = World::new();
    let node = world.node().await;
    world.log.fail_next(ACCESS, [Fault::UnknownButIn]);
    execute(&node, create_account("1")).await.unwrap();
}

#[tokio::test]
async fn an_append_of_unknown_outcome_stays_unknown_if_the_fact_does_not_turn_up() {
    for fault in [Fault::UnknownAndOut, Fault::Hangs] {
        let world = World::new();
        let node = world.node().await;
        world.log.fail_next(ACCESS, [fault]);
        let waiting = tokio::spawn({
            let node = node.clone();
            async move { execute(&node, create_account("1")).await }
        });
        eventually("the command gives up", || {
            world.clock.advance(std::time::Duration::from_secs(1));
            waiting.is_finished()
        })
        .await;
        assert!(matches!(waiting.await.unwrap(), Err(CommandError::Unknown { .. })), "{fault:?}");
        execute(&node, create_account("2")).await.expect("the next command is not held up");
    }
}

/// Before each of the next facts somebody else changes account 1.
struct Meddled {
    log: Arc<MemoryLog>,
    left: AtomicU64,
    version: AtomicU64,
}

impl Meddled {
    async fn meddle(&self) {
        if self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err() {
            return;
        }
        let version = self.version.fetch_add(1, SeqCst);
        let entity = "account/1".to_owned();
        let change = AccountChanged { account_id: "1".into(), slot_ms: Some(60_000), origins: None };
        let fact = Fact {
            id: format!("meddling {version}"),
            relied: vec![Version { entity: entity.clone(), version }],
            writes: vec![entity],
            change: Some(fact::Change::AccountChanged(change)),
            ..Fact::default()
        };
        let value = fact.to_bytes();
        let record = NewRecord { partition: 0, version: Fact::VERSION, key: "k".into(), value };
        self.log.append(ACCESS, vec![record]).await.unwrap();
    }
}

#[async_trait::async_trait]
impl Log for Meddled {
    fn id(&self) -> &str {
        self.log.id()
    }
    fn partitions(&self, topic: Topic) -> u32 {
        self.log.partitions(topic)
    }
    async fn append(&self, topic: Topic, records: Vec<NewRecord>) -> Result<Vec<Appended>, AppendError> {
        if topic == ACCESS {
            self.meddle().await;
        }
        self.log.append(topic, records).await
    }
    async fn read(&self, topic: Topic, partition: u32, from: u64, max_bytes: usize) -> Result<Chunk, ReadError> {
        self.log.read(topic, partition, from, max_bytes).await
    }
    async fn extent(&self, topic: Topic, partition: u32) -> Result<Extent, ReadError> {
        self.log.extent(topic, partition).await
    }
    async fn position_at(&self, topic: Topic, partition: u32, time_ms: i64) -> Result<Option<u64>, ReadError> {
        self.log.position_at(topic, partition, time_ms).await
    }
    async fn grown(&self, topic: Topic, partition: u32, end: u64, at_most: std::time::Duration) {
        self.log.grown(topic, partition, end, at_most).await;
    }
    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Box<dyn Consumer>, ReadError> {
        self.log.subscribe(group, topic).await
    }
}

#[tokio::test]
async fn a_command_is_validated_again_three_times_and_then_is_a_conflict() {
    use millrace_directory::limits::COMMAND_RETRIES;
    for (meddlings, succeeds) in [(COMMAND_RETRIES, true), (COMMAND_RETRIES + 1, false)] {
        let world = World::new();
        execute(&*world.node().await, create_account("1")).await.unwrap();
        let left = AtomicU64::new(meddlings as u64);
        let meddled = Meddled { log: world.log.clone(), left, version: AtomicU64::new(1) };
        let node = world.node_on(Arc::new(meddled)).await;
        let outcome = execute(&node, create_user("1", "ada", Role::Admin)).await;
        assert_eq!(outcome.is_ok(), succeeds, "{outcome:?}");
        let own = world.facts().iter().filter(|fact| matches!(fact.change, Some(fact::Change::UserCreated(_)))).count();
        assert_eq!(own, COMMAND_RETRIES + 1);
        assert_eq!(node.directory().user_named("ada").is_some(), succeeds);
    }
}

#[tokio::test]
async fn origins_are_bounded_in_number_and_length() {
    use millrace_directory::limits::{ORIGIN_BYTES_MAX, ORIGINS_MAX};
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let set = |origins: Vec<String>| Command::ChangeAccount {
        account_id: account_id("1"),
        slot_ms: None,
        origins: Some(origins),
    };
    let long = |bytes: usize| format!("https://{}", "a".repeat(bytes - "https://".len()));
    execute(&node, set(vec![long(ORIGIN_BYTES_MAX); ORIGINS_MAX])).await.unwrap();
    for bad in [
        vec![long(20); ORIGINS_MAX + 1],
        vec![long(ORIGIN_BYTES_MAX + 1)],
        vec!["https://".into()],
        vec!["ftp://a.example".into()],
        vec!["https://a.example/path".into()],
        vec!["*".into()],
    ] {
        let outcome = execute(&node, set(bad.clone())).await;
        assert!(matches!(outcome, Err(CommandError::Invalid { field: "origins", .. })), "{bad:?}");
    }
}

#[tokio::test]
async fn every_limit_of_a_text_is_refused_one_beyond_it() {
    use millrace_directory::limits::*;
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let key = |name: String, description: String| Command::CreateKey {
        account_id: account_id("1"),
        name,
        description,
        profile: Profile::Platform,
        scopes: Scopes::ALL,
    };
    let user = |username: String, email: String, hash: String| Command::CreateUser {
        account_id: account_id("1"),
        username,
        email,
        role: Role::Viewer,
        password_hash: hash,
    };
    let long = |chars: usize| "é".repeat(chars);
    let ascii = |chars: usize| "a".repeat(chars);
    let address = |bytes: usize| format!("{}@b.example", ascii(bytes - "@b.example".len()));
    let hash = |bytes: usize| format!("{HASH}{}", ascii(bytes - HASH.len()));
    let at_the_limit = [
        key(long(NAME_CHARS_MAX), long(DESCRIPTION_CHARS_MAX)),
        user(ascii(USERNAME_CHARS_MAX), address(EMAIL_BYTES_MAX), hash(PASSWORD_HASH_BYTES_MAX)),
        user(ascii(USERNAME_CHARS_MIN), "a@b".into(), HASH.into()),
    ];
    for command in at_the_limit {
        execute(&node, command).await.unwrap();
    }
    let beyond = [
        ("name", key(long(NAME_CHARS_MAX + 1), String::new())),
        ("name", key(" ".into(), String::new())),
        ("name", key("a\nb".into(), String::new())),
        ("description", key("a".into(), long(DESCRIPTION_CHARS_MAX + 1))),
        ("username", user(ascii(USERNAME_CHARS_MAX + 1), "c@b".into(), HASH.into())),
        ("username", user(ascii(USERNAME_CHARS_MIN - 1), "c@b".into(), HASH.into())),
        ("username", user("a@b".into(), "c@b".into(), HASH.into())),
        ("email", user("carol".into(), address(EMAIL_BYTES_MAX + 1), HASH.into())),
        ("email", user("carol".into(), "c@b@d".into(), HASH.into())),
        ("email", user("carol".into(), "carol".into(), HASH.into())),
        ("email", user("carol".into(), "c d@b".into(), HASH.into())),
        ("password_hash", user("carol".into(), "c@b".into(), hash(PASSWORD_HASH_BYTES_MAX + 1))),
        ("password_hash", user("carol".into(), "c@b".into(), "secret".into())),
    ];
    for (expected, command) in beyond {
        match execute(&node, command).await {
            Err(CommandError::Invalid { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected} beyond its limit: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_key_needs_a_scope() {
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let without = Command::CreateKey {
        account_id: account_id("1"),
        name: "web".into(),
        description: String::new(),
        profile: Profile::Platform,
        scopes: Scopes::default(),
    };
    assert!(matches!(execute(&node, without).await, Err(CommandError::Invalid { field: "scopes", .. })));
}

#[tokio::test]
async fn a_user_has_a_bounded_number_of_tokens_and_a_revoked_one_does_not_count() {
    use millrace_directory::limits::TOKENS_PER_USER_MAX;
    let world = World::new();
    let node = world.node().await;
    execute(&node, create_account("1")).await.unwrap();
    let user = execute(&node, create_user("1", "ada", Role::Analyst)).await.unwrap();
    let mut last = None;
    for _ in 0..TOKENS_PER_USER_MAX {
        last = Some(execute(&node, create_token(&user.id)).await.unwrap());
    }
    assert!(conflict(execute(&node, create_token(&user.id)).await).contains("at most"));
    execute(&node, Command::RevokeToken { token_id: last.unwrap().id }).await.unwrap();
    execute(&node, create_token(&user.id)).await.unwrap();
}
