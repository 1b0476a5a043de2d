//! The fold: one rule by which a fact is applied or void.
//!
//! A fact lists the versions it relied on. If each is the present one, the fact is applied and every entity it writes
//! goes up by one; else it is void. A fact whose id was seen before is void. The fold knows nothing else, so that every
//! node and every release, given the same facts in the same order, comes to the same directory.

use std::collections::HashSet;
use std::sync::Arc;

use millrace_eventlog::{Offset, Record};
use millrace_schemas::access::Fact;
use millrace_schemas::codec::DecodeError;
use sha2::Digest as _;

use crate::change::{self, Change, NewKey, NewToken, NewUser};
use crate::directory::{Credential, Directory, Holdings};
use crate::metrics::FACTS;
use crate::{Account, AccountId, ApiKey, Token, User};

/// What became of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Applied,
    Void,
}

/// A fact that was folded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folded {
    /// Its id; `None` if the record could not be read.
    pub(crate) fact_id: Option<String>,
    pub(crate) verdict: Verdict,
}

/// A record of a version this release does not know. The fold stops before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the fact at offset {offset} has version {version}, this release knows up to {known}: upgrade this process")]
pub(crate) struct Newer {
    pub(crate) offset: Offset,
    pub(crate) version: u32,
    pub(crate) known: u32,
}

/// The directory being folded.
#[derive(Default)]
pub(crate) struct Fold {
    pub(crate) directory: Directory,
    /// The ids of all facts so far, as the first half of their SHA-256: 16 bytes each, whatever the ids are.
    seen: HashSet<[u8; 16]>,
}

impl Fold {
    /// Folds one record of the access topic.
    ///
    /// # Errors
    /// [`Newer`]: nothing was folded, and nothing after it may be.
    pub(crate) fn record(&mut self, record: Record) -> Result<Folded, Newer> {
        let (offset, at_ms) = (record.offset, record.append_time_ms);
        let folded = match change::decode(record.version, record.value) {
            Ok((fact, change)) => self.fact(fact, change, at_ms),
            Err(DecodeError::Newer { version, known }) => return Err(Newer { offset, version, known }),
            Err(error @ DecodeError::Dead { .. }) => {
                // The error names the version and the place, never what the record holds.
                tracing::warn!(offset, %error, "a fact that cannot be read is void");
                metrics::counter!(FACTS, "verdict" => "undecodable").increment(1);
                Folded { fact_id: None, verdict: Verdict::Void }
            }
        };
        self.directory.position = offset + 1;
        Ok(folded)
    }

    fn fact(&mut self, fact: Fact, change: Change, at_ms: i64) -> Folded {
        let first_time = self.seen.insert(half_digest(&fact.id));
        let verdict = if first_time && self.expects_the_present(&fact) {
            for entity in &fact.writes {
                *self.directory.versions.or_default(entity.as_str().into()) = self.directory.version(entity) + 1;
            }
            self.directory.apply(change, at_ms);
            Verdict::Applied
        } else {
            Verdict::Void
        };
        let label = if verdict == Verdict::Applied { "applied" } else { "void" };
        metrics::counter!(FACTS, "verdict" => label).increment(1);
        Folded { fact_id: Some(fact.id), verdict }
    }

    /// The rule. What is written must be among what was relied on, once each.
    fn expects_the_present(&self, fact: &Fact) -> bool {
        let relied = fact.relied.iter().all(|relied| self.directory.version(&relied.entity) == relied.version);
        let mut writes = HashSet::new();
        let written = fact
            .writes
            .iter()
            .all(|entity| writes.insert(entity.as_str()) && fact.relied.iter().any(|relied| relied.entity == *entity));
        relied && written
    }
}

fn half_digest(id: &str) -> [u8; 16] {
    let digest: [u8; 32] = sha2::Sha256::digest(id.as_bytes()).into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

impl Directory {
    /// Does what an applied fact says. A change of something that does not exist changes nothing: the rule has let it
    /// through, and here is no second rule.
    fn apply(&mut self, change: Change, at_ms: i64) {
        match change {
            Change::AccountCreated { id, name } => {
                let account = Account {
                    id: id.clone(),
                    name,
                    created_ms: at_ms,
                    closed_ms: None,
                    slot_ms: None,
                    origins: Vec::new(),
                };
                self.accounts.insert(id, Arc::new(account));
            }
            Change::AccountClosed { id } => self.change_account(&id, |account| account.closed_ms = Some(at_ms)),
            Change::AccountChanged { id, slot_ms, origins } => self.change_account(&id, |account| {
                if let Some(slot_ms) = slot_ms {
                    account.slot_ms = (slot_ms > 0).then_some(slot_ms);
                }
                if let Some(origins) = origins {
                    account.origins = origins;
                }
            }),
            Change::UserCreated(user) => self.add_user(user, at_ms),
            Change::UserChanged { id, role, active, password_hash } => {
                if let Some(user) = self.users.get_mut(&*id) {
                    let user = Arc::make_mut(user);
                    user.role = role.unwrap_or(user.role);
                    user.active = active.unwrap_or(user.active);
                    if let Some(password_hash) = password_hash {
                        user.password_hash = password_hash;
                    }
                }
            }
            Change::KeyCreated(key) => self.add_key(key, at_ms),
            Change::KeyRevoked { id } => {
                if let Some(key) = self.keys.get_mut(&*id) {
                    Arc::make_mut(key).revoked_ms.get_or_insert(at_ms);
                }
            }
            Change::TokenCreated(token) => self.add_token(token, at_ms),
            Change::TokenRevoked { id } => {
                if let Some(token) = self.tokens.get_mut(&*id) {
                    Arc::make_mut(token).revoked_ms.get_or_insert(at_ms);
                }
            }
            // Says whose topic this is, and changes nothing in it.
            Change::LogBegun { .. } => {}
        }
    }

    fn change_account(&mut self, id: &AccountId, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.accounts.get_mut(id) {
            change(Arc::make_mut(account));
        }
    }

    fn add_user(&mut self, new: NewUser, at_ms: i64) {
        for name in [&new.username, &new.email] {
            self.names.insert(name.to_lowercase().into(), new.id.clone());
        }
        self.hold(&new.account, &new.id, |holdings| &mut holdings.users);
        let user = User {
            id: new.id.clone(),
            account: new.account,
            username: new.username,
            email: new.email,
            role: new.role,
            active: true,
            password_hash: new.password_hash,
            created_ms: at_ms,
        };
        self.users.insert(new.id, Arc::new(user));
    }

    fn add_key(&mut self, new: NewKey, at_ms: i64) {
        self.credentials.insert(*new.digest.as_bytes(), Credential::Key(new.id.clone()));
        self.hold(&new.account, &new.id, |holdings| &mut holdings.keys);
        let key = ApiKey {
            id: new.id.clone(),
            account: new.account,
            name: new.name,
            description: new.description,
            profile: new.profile,
            scopes: new.scopes,
            active: new.profile.active_at_once(),
            hint: new.hint,
            created_ms: at_ms,
            revoked_ms: None,
            digest: new.digest,
        };
        self.keys.insert(new.id, Arc::new(key));
    }

    fn add_token(&mut self, new: NewToken, at_ms: i64) {
        self.credentials.insert(*new.digest.as_bytes(), Credential::Token(new.id.clone()));
        self.hold(&new.account, &new.id, |holdings| &mut holdings.tokens);
        let token = Token {
            id: new.id.clone(),
            account: new.account,
            user_id: new.user_id,
            name: new.name,
            hint: new.hint,
            created_ms: at_ms,
            revoked_ms: None,
            digest: new.digest,
        };
        self.tokens.insert(new.id, Arc::new(token));
    }

    fn hold(&mut self, account: &AccountId, id: &Arc<str>, which: impl Fn(&mut Holdings) -> &mut Arc<Vec<Arc<str>>>) {
        let holdings = self.holdings.or_default(account.clone());
        Arc::make_mut(which(holdings)).push(id.clone());
    }
}

#[cfg(test)]
mod tests;
