//! Facts written by version 1 fold to the same directory for ever. The bytes were put together by hand, field by field,
//! not by the encoder of any release; the file is never changed, a new version gets a file of its own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use millrace_directory::{AuthError, Presented, Principal, Profile, Role, Scopes};
use millrace_eventlog::{Log, NewRecord};
use support::memory_log::ACCESS;
use support::*;

const FACTS_V1: &str = include_str!("golden/facts-v1.txt");

#[tokio::test]
async fn facts_of_version_1_fold_to_this_directory() {
    let world = World::new();
    for line in FACTS_V1.lines() {
        let (_name, bytes) = line.split_once(' ').unwrap();
        let value = hex::decode(bytes).unwrap().into();
        world.log.append(ACCESS, vec![NewRecord { partition: 0, version: 1, key: "k".into(), value }]).await.unwrap();
    }
    let node = world.node().await;
    let directory = node.directory();
    let account = account_id("123");

    let shop = directory.account(&account).unwrap();
    assert_eq!((shop.name.as_str(), shop.slot_ms, shop.closed_ms), ("Shop", Some(60_000), None));
    assert_eq!(shop.origins, ["https://a.example", "https://b.example"]);
    assert_eq!(directory.account(&account_id("old")).unwrap().closed_ms, Some(START_MS));

    let ada = directory.user_named("ada@example.com").unwrap();
    assert_eq!((&*ada.id, ada.role, ada.active, ada.password_hash.as_str()), ("u1", Role::Developer, true, HASH));

    let keys: Vec<_> = directory.keys_of(&account).collect();
    assert_eq!(
        (keys[0].name.as_str(), keys[0].description.as_str(), keys[0].hint.as_str()),
        ("web", "the shop", "KKKK")
    );
    assert_eq!((keys[0].profile, keys[0].active, keys[0].revoked_ms), (Profile::Platform, true, None));
    assert_eq!((keys[1].profile, keys[1].active, keys[1].scopes), (Profile::Integrations, false, Scopes::ALL));
    assert_eq!(keys[1].revoked_ms, Some(START_MS));
    let tokens: Vec<_> = directory.tokens_of(&account).collect();
    assert_eq!((tokens[0].name.as_str(), tokens[0].revoked_ms), ("laptop", None));
    assert_eq!((tokens[1].name.as_str(), tokens[1].revoked_ms), ("lost", Some(START_MS)));

    let key = Presented::parse(&format!("sk-live-{}", "K".repeat(32)));
    let principal = node.authenticate(&key).await.unwrap();
    assert!(matches!(principal, Principal::ApiKey { scopes, .. } if scopes.is_write_only()));
    let token = Presented::parse(&format!("2:{}", "T".repeat(52)));
    assert!(matches!(node.authenticate(&token).await, Ok(Principal::Pat { role: Role::Developer, .. })));
    let other = Presented::parse(&format!("2:{}", "X".repeat(52)));
    assert!(matches!(node.authenticate(&other).await, Err(AuthError::Unknown { .. })));
}
