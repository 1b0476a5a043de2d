//! Days of the export: all of an account's day goes, or nothing of it.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use millrace_schemas::layout::{self, AccountId, GenerationKey, date_of};
use millrace_schemas::partition;

use super::{Published, Retention, day_before};
use crate::error::Error;
use crate::limits;

/// Where accounts have folders.
const ROOTS: [&str; 3] = ["v1/", "rejected/v1/", "audit/v1/"];

impl Retention {
    /// Removes the days before `first_kept` of the accounts of these shards, whichever log they came from.
    pub(super) async fn days(
        &self,
        shards: &BTreeSet<u32>,
        published: &Published,
        first_kept: NaiveDate,
    ) -> Result<(), Error> {
        let closed = shards.iter().filter_map(|shard| published.through_ms.get(shard)).map(|ms| date_of(*ms)).min();
        let Some(first_kept) = closed.map(|closed| closed.min(first_kept)) else { return Ok(()) };
        let mut folders = Vec::new();
        for root in ROOTS {
            for name in self.bucket.folders(root).await? {
                let account = name.strip_prefix("account_id=").and_then(AccountId::parse);
                if account.is_some_and(|account| self.is_of(shards, account.as_str())) {
                    folders.push((root == ROOTS[0], format!("{root}{name}/")));
                }
            }
        }
        let of_account = |(typed, folder): (bool, String)| async move {
            let types = if typed { self.bucket.folders(&folder).await? } else { vec![String::new()] };
            for of_type in types {
                let slash = if of_type.is_empty() { "" } else { "/" };
                self.days_under(&format!("{folder}{of_type}{slash}"), first_kept).await?;
            }
            Ok::<_, Error>(())
        };
        stream::iter(folders).map(Ok).try_for_each_concurrent(limits::SWEEPS_AT_ONCE, of_account).await?;
        self.generations(shards, first_kept).await
    }

    async fn days_under(&self, prefix: &str, first_kept: NaiveDate) -> Result<(), Error> {
        for name in self.bucket.folders(prefix).await? {
            let date: Option<NaiveDate> = name.strip_prefix("date=").and_then(|date| date.parse().ok());
            if date.is_some_and(|date| date <= day_before(first_kept)) {
                self.day(&format!("{prefix}{name}/")).await?;
            }
        }
        Ok(())
    }

    /// `_SUCCESS` goes first and the manifest next, so that nobody takes a day for complete that is not.
    async fn day(&self, prefix: &str) -> Result<(), Error> {
        let success = format!("{prefix}{}", layout::SUCCESS);
        let manifest = format!("{prefix}{}", layout::MANIFEST);
        let mut keys = self.bucket.list(prefix, None).await?;
        for first in [&success, &manifest] {
            if keys.contains(first) {
                self.remove("days", vec![first.clone()]).await?;
            }
        }
        keys.retain(|key| *key != success && *key != manifest);
        self.remove("files", keys).await
    }

    async fn generations(&self, shards: &BTreeSet<u32>, first_kept: NaiveDate) -> Result<(), Error> {
        let mut keys = self.bucket.list(layout::GENERATIONS, None).await?;
        keys.retain(|key| {
            GenerationKey::parse(key).is_some_and(|key| key.date < first_kept && self.is_of(shards, key.account))
        });
        self.remove("generations", keys).await
    }

    fn is_of(&self, shards: &BTreeSet<u32>, account: &str) -> bool {
        shards.contains(&partition::of_account(account, self.shard_count))
    }
}
