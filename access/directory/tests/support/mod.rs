//! What the tests of the directory share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod memory_log;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millrace_clock::{ManualClock, SharedClock};
use millrace_directory::{
    AccountId, Actor, Command, CommandError, Done, ExposeSecret, Node, Presented, Profile, Role, Scopes, SecretSource,
};
use millrace_eventlog::Log;
use millrace_schemas::access::{Audit, Fact};
use millrace_schemas::codec::Versioned;
use tokio_util::sync::CancellationToken;

use memory_log::{ACCESS, AUDIT, MemoryLog};

/// 2026-03-01T00:00:00Z.
pub const START_MS: i64 = 1_772_323_200_000;
/// Longer than any test should wait for anything.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// A hash nobody needs to verify.
pub const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA";

/// Secrets that can be foretold: sources made with the same number give the same ones.
pub struct Counted(AtomicU64);

impl Counted {
    pub fn from(number: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(number << 32)))
    }
}

impl SecretSource for Counted {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), String> {
        for part in bytes.chunks_mut(8) {
            let number = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
            part.copy_from_slice(&number[8 - part.len()..]);
        }
        Ok(())
    }
}

/// A log, a clock, and nodes on them.
pub struct World {
    pub clock: Arc<ManualClock>,
    pub log: Arc<MemoryLog>,
    pub stop: CancellationToken,
}

impl World {
    pub fn new() -> Self {
        let clock = ManualClock::at(START_MS);
        let log = MemoryLog::new(clock.clone());
        Self { clock, log, stop: CancellationToken::new() }
    }

    pub fn shared_clock(&self) -> SharedClock {
        self.clock.clone()
    }

    pub async fn node(&self) -> Arc<Node> {
        Node::start(self.log.clone(), self.clock.clone(), self.stop.clone()).await.unwrap()
    }

    pub async fn node_on(&self, log: Arc<dyn Log>) -> Arc<Node> {
        Node::start(log, self.clock.clone(), self.stop.clone()).await.unwrap()
    }

    pub fn audit(&self) -> Vec<Audit> {
        self.log
            .all(AUDIT)
            .into_iter()
            .map(|record| Audit::from_versioned(record.version, record.value).unwrap())
            .collect()
    }

    pub fn facts(&self) -> Vec<Fact> {
        self.log
            .all(ACCESS)
            .into_iter()
            .map(|record| Fact::from_versioned(record.version, record.value).unwrap())
            .collect()
    }

    /// Waits until the audit trail is as wished.
    pub async fn audit_until(&self, wished: impl Fn(&[Audit]) -> bool) -> Vec<Audit> {
        eventually("the audit trail is as wished", || wished(&self.audit())).await;
        self.audit()
    }
}

/// Waits until something holds.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "did not happen in time: {what}");
}

pub fn account_id(text: &str) -> AccountId {
    AccountId::parse(text).unwrap()
}

pub fn create_account(id: &str) -> Command {
    Command::CreateAccount { account_id: Some(account_id(id)), name: format!("Account {id}") }
}

pub fn create_user(account: &str, username: &str, role: Role) -> Command {
    Command::CreateUser {
        account_id: account_id(account),
        username: username.into(),
        email: format!("{username}@example.com"),
        role,
        password_hash: HASH.into(),
    }
}

pub fn change_user(user_id: &str, role: Option<Role>, active: Option<bool>) -> Command {
    Command::ChangeUser { user_id: user_id.into(), role, active, password_hash: None }
}

pub fn create_key(account: &str, profile: Profile) -> Command {
    Command::CreateKey {
        account_id: account_id(account),
        name: "web".into(),
        description: String::new(),
        profile,
        scopes: Scopes { read: false, write: true },
    }
}

pub fn create_token(user_id: &str) -> Command {
    Command::CreateToken { user_id: user_id.into(), name: "laptop".into() }
}

pub async fn execute(node: &Node, command: Command) -> Result<Done, CommandError> {
    tokio::time::timeout(DEADLINE, node.execute(&Actor::local(), command)).await.expect("a command ends")
}

/// The credential of a command that made one.
pub fn presented(done: &Done) -> Presented {
    Presented::parse(done.secret.as_ref().unwrap().expose_secret())
}

/// An API key nobody made.
pub fn guess(number: u32) -> Presented {
    Presented::parse(&format!("sk-live-{number:032}"))
}
