//! The directory: which accounts, users, keys and tokens exist, and who is calling.
//!
//! Every change is a *fact* in the topic `millrace.access`. Each node follows that topic and folds it into a
//! [`Directory`] in memory, so authenticating is a local look-up. A [`Command`] is validated against the directory,
//! appended as a fact that names the versions it relied on, and is done once this node has folded that fact.
//!
//! | file | does |
//! |---|---|
//! | `credential` | the kinds of credential: form, parsing, making, hashing |
//! | `entity` | what the directory knows of an account, a user, a key, a token |
//! | `directory` | the projection: look-ups and lists |
//! | `fold` | the one rule by which a fact is applied or void |
//! | `command`, `plan` | what can be changed, and its validation into a fact |
//! | `follower` | reads the topic and publishes the fold |
//! | `beginning` | the first fact: which log the topic belongs to |
//! | `node` | the three put together: authenticate, execute |
//! | `audit`, `validations` | the audit trail: single entries, and counted look-ups of credentials |
//!
//! No HTTP here, and nothing of the log but [`millrace_eventlog::Log`].

pub mod audit;
mod beginning;
mod change;
mod changes;
mod command;
mod credential;
mod directory;
mod end;
mod entity;
mod fold;
mod follower;
pub mod limits;
pub mod metrics;
pub mod mint;
mod node;
mod plan;
mod principal;
mod role;
pub mod scope;
mod shards;
mod subject;
mod texts;
mod unknown;
mod validations;

pub use audit::Actor;
pub use beginning::{Beginning, begin, beginning};
pub use command::{Command, CommandError, Done};
pub use credential::{Digest, Kind, Presented, SecretSource, SystemSecrets};
pub use directory::Directory;
pub use entity::{Account, ApiKey, Token, User};
pub use follower::StartError;
pub use node::Node;
pub use principal::{AuthError, Principal, Profile, Scopes};
pub use role::{Action, Role};

pub use millrace_schemas::layout::AccountId;
pub use secrecy::{ExposeSecret, SecretString};
