//! How exports are fetched: scoped credentials by HTTP, and an S3-compatible gateway that only reads.
//!
//! ```text
//! GET /v2/export/credentials ──validate──> Scope ──authorise──> Grant ──mint──> access key, secret, session token
//! S3 request ──door──> one signature, one token ──s3s: SigV4──> access ──> AllowedKey ──> shelf ──> object store
//! ```
//! | file | does |
//! |---|---|
//! | [`api_router`] (`api`) | `/v2/export/credentials`, `/v2/export/status`, and the envelope of every `/v2` error |
//! | [`serve_gateway`] (`gateway`) | the listener, and what stands before and behind the `s3s` crate |
//! | `gateway/door` | refuses what needs no look at the store: writes, doubled parameters, wrong clocks |
//! | `gateway/access` | secrets for signatures; the session token; which operations there are |
//! | `gateway/objects`, `gateway/lists` | the operations |
//! | `shelf` | the only way to the store: takes [`AllowedKey`](millrace_directory::scope::AllowedKey)s, never text |
//! | `progress` | what the write side says is visible |
//! | `listing` | ordered, paged listings over a store whose own are not ordered |

mod api;
mod config;
mod gateway;
pub mod limits;
mod listing;
pub mod metrics;
mod progress;
mod query;
mod shelf;

use std::sync::Arc;

use millrace_clock::SharedClock;
use millrace_directory::audit::Auditor;
use millrace_directory::mint::ServerKeys;
use millrace_directory::{Node, SecretSource};
use object_store::ObjectStore;

pub use api::{api_router, starting};
pub use config::{Config, ConfigError, Encryption};
pub use gateway::serve_gateway;

/// What fetching needs from the house.
#[derive(Clone)]
pub struct Services {
    /// Who may do what.
    pub node: Arc<Node>,
    /// Where every minting is written down first.
    pub auditor: Arc<Auditor>,
    /// Where the export is. Only read.
    pub store: Arc<dyn ObjectStore>,
    /// What makes and checks credentials.
    pub keys: Arc<ServerKeys>,
    /// Where access key ids and token ids come from.
    pub secrets: Arc<dyn SecretSource>,
    /// The time.
    pub clock: SharedClock,
    /// The id of the log whose export this is.
    pub log_id: Arc<str>,
    /// How many shards the export has: the partitions of the enriched topic.
    pub shards: u32,
    /// Settings.
    pub config: Config,
}
