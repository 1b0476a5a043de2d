//! What the exporter asks the directory.

use async_trait::async_trait;
use millrace_directory::Node;
use millrace_eventlog::ReadError;

/// An account, as far as the exporter is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Log time of its creation, ms.
    pub created_ms: i64,
    /// Log time of its closing, ms.
    pub closed_ms: Option<i64>,
    /// The slot length it asked for, ms.
    pub slot_ms: Option<i64>,
}

/// The accounts, as of the end of the access topic.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Every account the access topic knew at the time of the call, closed ones included, in any order.
    async fn all(&self) -> Result<Vec<Account>, ReadError>;
}

#[async_trait]
impl Accounts for Node {
    async fn all(&self) -> Result<Vec<Account>, ReadError> {
        let directory = self.caught_up().await?;
        let account = |account: &millrace_directory::Account| Account {
            id: account.id.as_str().to_owned(),
            created_ms: account.created_ms,
            closed_ms: account.closed_ms,
            slot_ms: account.slot_ms,
        };
        Ok(directory.accounts().map(account).collect())
    }
}
