//! The files of a shard's day at hand, which its manifests list. Few are held in memory; many are read again from the day's
//! published records when it closes, as many accounts at a time as the memory takes.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use millrace_schemas::export::PublishedFile;

use crate::bucket::Bucket;
use crate::error::Error;
use crate::records;

/// Files by account; of one account in any order, and one may be there twice.
pub(crate) type ByAccount = BTreeMap<String, Vec<PublishedFile>>;

pub(crate) enum DayFiles {
    /// All of them.
    Held { files: ByAccount, bytes: usize },
    /// In the published records of the day.
    Recorded,
}

impl DayFiles {
    /// Of a day with nothing out.
    pub(crate) fn none() -> Self {
        Self::Held { files: ByAccount::new(), bytes: 0 }
    }

    /// Adds files that are about to be recorded; beyond `bytes_max` none is held any more.
    pub(crate) fn add(&mut self, more: &[PublishedFile], bytes_max: usize) {
        let Self::Held { files, bytes } = self else { return };
        *bytes += more.iter().map(bytes_of).sum::<usize>();
        if *bytes > bytes_max {
            *self = Self::Recorded;
            return;
        }
        for file in more {
            files.entry(file.account_id.clone()).or_default().push(file.clone());
        }
    }
}

/// Some accounts' files of a day: all accounts from one on, up to but without `end`.
pub(crate) struct Part {
    pub(crate) files: ByAccount,
    /// None: up to the last.
    pub(crate) end: Option<String>,
}

/// The files of as many accounts, from `from` on, as `bytes_max` takes, but of one at least. `latest` are not recorded yet.
pub(crate) async fn part(
    bucket: &Bucket,
    (log_id, shard, date): (&str, u32, NaiveDate),
    from: &str,
    latest: &[PublishedFile],
    bytes_max: usize,
) -> Result<Part, Error> {
    let mut part = Part { files: ByAccount::new(), end: None };
    let mut bytes = 0;
    let mut take = |file: PublishedFile| {
        let account = file.account_id.as_str();
        if account < from || part.end.as_deref().is_some_and(|end| account >= end) {
            return;
        }
        bytes += bytes_of(&file);
        part.files.entry(file.account_id.clone()).or_default().push(file);
        while bytes > bytes_max && part.files.len() > 1 {
            let Some((account, files)) = part.files.pop_last() else { return };
            bytes -= files.iter().map(bytes_of).sum::<usize>();
            part.end = Some(account);
        }
    };
    records::each_file_of(bucket, log_id, shard, date, &mut take).await?;
    latest.iter().cloned().for_each(take);
    Ok(part)
}

/// What a file's entry takes in memory, about.
pub(crate) fn bytes_of(file: &PublishedFile) -> usize {
    let texts = [&file.account_id, &file.of_type, &file.folder, &file.key, &file.sha256, &file.rows_sha256];
    size_of::<PublishedFile>() + texts.iter().map(|text| text.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millrace_clock::ManualClock;
    use millrace_schemas::export::{Published, RECORD_VERSION};
    use millrace_schemas::layout::{self, start_of};
    use object_store::memory::InMemory;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::health::Health;

    const LOG: &str = "log";

    fn file(account: &str, number: u32) -> PublishedFile {
        PublishedFile {
            account_id: account.into(),
            of_type: "events".into(),
            folder: "event=purchase".into(),
            key: format!(
                "v1/account_id={account}/type=events/date=2026-01-02/event=purchase/part-000000-00060-{number:04}-g0.snappy.parquet"
            ),
            rows: 10,
            bytes: 4_000,
            sha256: "0".repeat(64),
            rows_sha256: "1".repeat(64),
            min_timestamp_ms: 1,
            max_timestamp_ms: 2,
        }
    }

    #[test]
    fn five_thousand_files_of_an_account_take_less_than_three_megabytes() {
        let bytes = 5_000 * bytes_of(&file("12345678", 1));
        assert!((1 << 20..3 << 20).contains(&bytes), "{bytes}");
    }

    #[test]
    fn beyond_the_bound_nothing_is_held() {
        let mut files = DayFiles::none();
        let bytes_max = 3 * bytes_of(&file("a", 1));
        files.add(&[file("a", 1), file("b", 1)], bytes_max);
        assert!(matches!(&files, DayFiles::Held { files, .. } if files.len() == 2));
        files.add(&[file("a", 2), file("b", 2)], bytes_max);
        assert!(matches!(files, DayFiles::Recorded));
    }

    #[tokio::test]
    async fn a_day_is_read_in_parts_that_hold_every_account_once_and_whole() {
        let bucket =
            Bucket::new(Arc::new(InMemory::new()), Health::new(None, ManualClock::at(0), CancellationToken::new()));
        let date = NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
        let accounts = ["a", "b", "c", "d", "e"];
        for slot in 1..=7_u32 {
            let through_ms = start_of(date) + i64::from(slot) * 60_000;
            let record = Published {
                version: RECORD_VERSION,
                log_id: LOG.into(),
                shard: 0,
                through_ms,
                previous_ms: 0,
                settings_version: 1,
                segments: Vec::new(),
                files: accounts.iter().rev().map(|account| file(account, slot)).collect(),
            };
            bucket.create(&layout::published_key(LOG, 0, through_ms), record.to_json().into()).await.unwrap();
        }
        let latest: Vec<_> = accounts.iter().map(|account| file(account, 8)).collect();
        let bytes_max = 20 * bytes_of(&latest[0]);
        let (mut from, mut sizes, mut seen) = (String::new(), Vec::new(), Vec::new());
        loop {
            let part = part(&bucket, (LOG, 0, date), &from, &latest, bytes_max).await.unwrap();
            assert!(part.files.values().all(|files| files.len() == 8));
            sizes.push(part.files.len());
            seen.extend(part.files.into_keys());
            match part.end {
                Some(end) => from = end,
                None => break,
            }
        }
        assert_eq!((seen, sizes), (accounts.map(str::to_owned).to_vec(), vec![2, 2, 1]));
    }
}
