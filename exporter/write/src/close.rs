//! Closes a day of a shard: of each account and type the manifest, then `_SUCCESS`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use millrace_schemas::export::{
    EventCounts, Manifest, ManifestFile, PublishedFile, SCHEMA_VERSION, UnattributedCounts, instant_text, manifest_key,
    success_key,
};
use millrace_schemas::layout::{AccountId, ExportType};

use crate::accounts::Account;
use crate::bucket::{Bucket, Created};
use crate::day_files::ByAccount;
use crate::error::Error;
use crate::rows::day_number;
use crate::segment::DayCounts;
use crate::{limits, metrics};

/// The types whose days close here.
pub(crate) const TYPES: [ExportType; 3] = [ExportType::Decisions, ExportType::Events, ExportType::Rejected];

/// A day whose every slot is out.
pub(crate) struct Day<'a> {
    pub(crate) date: NaiveDate,
    pub(crate) log_id: &'a str,
    pub(crate) generation: u32,
    pub(crate) settings_version: u64,
    /// The shard's accounts, folded after the watermark passed the day's end.
    pub(crate) accounts: &'a [Account],
    pub(crate) counts: BTreeMap<&'a str, &'a DayCounts>,
    /// Accounts and types that a rebuild has taken over.
    pub(crate) taken_over: &'a HashSet<(String, ExportType)>,
}

impl Day<'_> {
    /// Closes it for every account from `from` on, up to but without `end`, that existed on it, with or without rows. `files`
    /// are all of these accounts' files.
    pub(crate) async fn close(
        &self,
        bucket: &Bucket,
        from: &str,
        end: Option<&str>,
        files: &ByAccount,
    ) -> Result<(), Error> {
        let manifests = self.manifests(from, end, files)?;
        let close = |(account, of_type, manifest): (AccountId, ExportType, Manifest)| async move {
            let json = Bytes::from(manifest.to_json());
            bucket.create(&manifest_key(&account, of_type, self.date), json).await?;
            let created = bucket.create(&success_key(&account, of_type, self.date), Bytes::new()).await?;
            if created == Created::New {
                ::metrics::counter!(metrics::CLOSED_DAYS).increment(1);
            }
            Ok::<_, Error>(())
        };
        stream::iter(manifests).map(close).buffer_unordered(limits::PUTS_AT_ONCE).try_collect::<()>().await
    }

    fn manifests(
        &self,
        from: &str,
        end: Option<&str>,
        files: &ByAccount,
    ) -> Result<Vec<(AccountId, ExportType, Manifest)>, Error> {
        let mut manifests = Vec::new();
        let within = |account: &AccountId| account.as_str() >= from && end.is_none_or(|end| account.as_str() < end);
        for account in self.account_ids().into_iter().filter(within) {
            let of_account = files.get(account.as_str()).map_or(&[][..], Vec::as_slice);
            for of_type in TYPES {
                if self.taken_over.contains(&(account.as_str().to_owned(), of_type)) {
                    continue;
                }
                let mut files: Vec<&PublishedFile> =
                    of_account.iter().filter(|file| file.of_type == of_type.name()).collect();
                files.sort_unstable_by(|one, other| one.key.cmp(&other.key));
                files.dedup_by(|one, other| one.key == other.key);
                let counts = self.counts.get(account.as_str()).copied();
                let manifest = self.manifest(&account, of_type, counts.unwrap_or(&DayCounts::default()), &files)?;
                manifests.push((account.clone(), of_type, manifest));
            }
        }
        Ok(manifests)
    }

    /// The accounts that existed on the day, from that of their creation to that of their closing, and any that has rows.
    fn account_ids(&self) -> BTreeSet<AccountId> {
        let day = day_number(millrace_schemas::layout::start_of(self.date));
        let existed = |account: &&Account| {
            day_number(account.created_ms) <= day
                && account.closed_ms.is_none_or(|closed_ms| day_number(closed_ms) >= day)
        };
        let existing = self.accounts.iter().filter(existed).map(|account| account.id.as_str());
        existing.chain(self.counts.keys().copied()).filter_map(AccountId::parse).collect()
    }

    fn manifest(
        &self,
        account: &AccountId,
        of_type: ExportType,
        counts: &DayCounts,
        files: &[&PublishedFile],
    ) -> Result<Manifest, Error> {
        let rows = files.iter().map(|file| file.rows).sum();
        let segments = rows_counted(of_type, counts);
        if rows != segments {
            let (account, of_type) = (account.as_str().to_owned(), of_type.name());
            return Err(Error::Miscounted { account, of_type, date: self.date, files: rows, segments });
        }
        let events = |accepted, duplicate| Some(EventCounts { accepted, duplicate });
        let rejects = of_type == ExportType::Rejected;
        Ok(Manifest {
            account_id: account.as_str().to_owned(),
            of_type: of_type.name().to_owned(),
            date: self.date,
            schema_version: SCHEMA_VERSION,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            log_id: self.log_id.to_owned(),
            generation: self.generation,
            settings: self.settings_version,
            rows,
            files: files.iter().copied().map(manifest_file).collect(),
            events: match of_type {
                ExportType::Decisions => events(counts.decision_events, counts.decision_duplicates),
                ExportType::Events => events(counts.conversions, counts.conversion_duplicates),
                ExportType::Rejected | ExportType::Audit => None,
            },
            unattributed: (of_type == ExportType::Events).then_some(UnattributedCounts {
                no_decision: counts.no_decision,
                decision_later: counts.decision_later,
                outside_window: counts.outside_window,
            }),
            rejected: rejects.then(|| counts.rejected.clone()),
            dead: rejects.then_some(counts.dead),
            duplicate: rejects.then_some(counts.reject_duplicates),
        })
    }
}

fn rows_counted(of_type: ExportType, counts: &DayCounts) -> u64 {
    match of_type {
        ExportType::Decisions => counts.decision_rows,
        ExportType::Events => counts.conversions,
        ExportType::Rejected => counts.rejected.values().sum::<u64>() + counts.dead,
        ExportType::Audit => 0,
    }
}

fn manifest_file(file: &PublishedFile) -> ManifestFile {
    ManifestFile {
        key: file.key.clone(),
        rows: file.rows,
        bytes: file.bytes,
        sha256: file.sha256.clone(),
        rows_sha256: file.rows_sha256.clone(),
        min_timestamp: instant_text(file.min_timestamp_ms),
        max_timestamp: instant_text(file.max_timestamp_ms),
    }
}
