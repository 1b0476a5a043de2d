//! What an operator can set.

use std::time::Duration;

use millrace_schemas::layout::Codec;

use crate::limits;

/// The exporter's configuration. What shapes a key is used for the days' plans only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Seal a segment once its rows take this many bytes.
    pub seal_bytes: usize,
    /// Seal a segment once its oldest row has waited this long.
    pub seal_age: Duration,
    /// Seal a segment without rows this long after the one before.
    pub seal_idle: Duration,
    /// What all buffers together may hold, bytes.
    pub memory_bytes: usize,
    /// The slot of every account, from the next plan on; `None`: each account's own.
    pub slot: Option<Duration>,
    /// The most files an account should make in a day.
    pub files_per_day: u64,
    /// The most rows in one file.
    pub rows_per_file: u64,
    /// The most bytes of encoded enriched records in one file.
    pub bytes_per_file: u64,
    /// The most folders of an account, type and slot.
    pub folders_per_slot: u32,
    /// How files are compressed.
    pub codec: Codec,
    /// How long segments are kept, log time.
    pub segments_retention: Duration,
    /// How long days of the export are kept, log time.
    pub export_retention: Duration,
    /// The log this one takes over the bucket from, if it holds another log's export.
    pub succeeds: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seal_bytes: limits::SEAL_BYTES_DEFAULT,
            seal_age: limits::SEAL_AGE_DEFAULT,
            seal_idle: limits::SEAL_IDLE_DEFAULT,
            memory_bytes: limits::MEMORY_BYTES_DEFAULT,
            slot: None,
            files_per_day: limits::FILES_PER_DAY_DEFAULT,
            rows_per_file: limits::ROWS_PER_FILE_DEFAULT,
            bytes_per_file: limits::BYTES_PER_FILE_DEFAULT,
            folders_per_slot: limits::FOLDERS_PER_SLOT_DEFAULT,
            codec: Codec::Snappy,
            segments_retention: limits::SEGMENTS_RETENTION_DEFAULT,
            export_retention: limits::EXPORT_RETENTION_DEFAULT,
            succeeds: None,
        }
    }
}

impl Config {
    /// Every mistake in it, for people; empty if there is none.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.slot.is_some() && !self.slot_ms().is_some_and(is_slot_length) {
            mistakes.push("the slot must be whole seconds that divide a day".to_owned());
        }
        if self.memory_bytes < limits::MEMORY_BYTES_MIN {
            mistakes.push(format!("export.memory must be at least {} bytes", limits::MEMORY_BYTES_MIN));
        }
        let positive = [
            ("export.files_per_day", self.files_per_day),
            ("export.rows_per_file", self.rows_per_file),
            ("export.bytes_per_file", self.bytes_per_file),
            ("export.folders_per_slot", u64::from(self.folders_per_slot)),
        ];
        for (name, _) in positive.iter().filter(|(_, value)| *value == 0) {
            mistakes.push(format!("{name} must be at least 1"));
        }
        let kept = [("segments.retention", self.segments_retention), ("export.retention", self.export_retention)];
        for (name, _) in kept.iter().filter(|(_, kept)| *kept < limits::RETENTION_MIN) {
            mistakes.push(format!("{name} must be at least a day (1d); who never wants to delete sets it to years"));
        }
        mistakes
    }

    pub(crate) fn segments_retention_ms(&self) -> i64 {
        i64::try_from(self.segments_retention.as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn export_retention_ms(&self) -> i64 {
        i64::try_from(self.export_retention.as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn slot_ms(&self) -> Option<i64> {
        self.slot.and_then(|slot| i64::try_from(slot.as_millis()).ok())
    }
}

/// Whether a slot can have this length: whole seconds that divide a day.
pub(crate) fn is_slot_length(ms: i64) -> bool {
    ms > 0 && ms % 1_000 == 0 && limits::DAY_MS % ms == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_at_once() {
        assert!(Config::default().mistakes().is_empty());
        let wrong = Config {
            slot: Some(Duration::from_secs(7)),
            memory_bytes: limits::MEMORY_BYTES_MIN - 1,
            files_per_day: 0,
            rows_per_file: 0,
            bytes_per_file: 0,
            folders_per_slot: 0,
            segments_retention: Duration::ZERO,
            export_retention: Duration::from_secs(3_600),
            ..Config::default()
        };
        assert_eq!(wrong.mistakes().len(), 8);
        assert_eq!(Config { slot: Some(Duration::from_millis(1_500)), ..Config::default() }.mistakes().len(), 1);
        assert!(Config { slot: Some(Duration::from_secs(2)), ..Config::default() }.mistakes().is_empty());
    }

    #[test]
    fn every_length_of_the_ladder_is_a_slot_length_and_they_rise() {
        assert!(limits::SLOT_LADDER_MS.iter().all(|ms| is_slot_length(*ms)));
        assert!(limits::SLOT_LADDER_MS.is_sorted());
        assert!(is_slot_length(limits::SLOT_UNKNOWN_MS));
    }
}
