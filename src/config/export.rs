//! `[export]`: sealing and publishing.

use millrace_exporter_write::Config;
use millrace_schemas::layout::Codec;
use serde::Deserialize;

use super::defaults::Defaults;
use super::keys::Keys;
use super::{Size, Span, Text};

/// How files are compressed, as it is written in a configuration.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum CodecName {
    Snappy,
    Zstd,
}

pub(super) fn take(keys: &mut Keys, defaults: &Defaults) -> Config {
    let default = Config::default();
    let mut size = |key, default| keys.take(key, Size::of(default)).in_memory();
    let seal_bytes = size("export.seal_size", default.seal_bytes);
    let memory_bytes = size("export.memory", default.memory_bytes);
    let bytes_per_file = keys.take("export.bytes_per_file", Size { bytes: default.bytes_per_file }).bytes;
    let codec = match keys.take_if_set("export.codec") {
        Some(CodecName::Snappy) => Codec::Snappy,
        Some(CodecName::Zstd) => Codec::Zstd,
        None => default.codec,
    };
    let config = Config {
        seal_bytes,
        seal_age: keys.take("export.seal_age", defaults.seal_age).0,
        seal_idle: keys.take("export.seal_idle", Span(default.seal_idle)).0,
        memory_bytes,
        slot: keys.take_if_set("export.slot").or(defaults.slot).map(|Span(slot)| slot),
        // Only matters where slots are chosen by the day's plan; on one machine one length is for all.
        files_per_day: match defaults.slot {
            Some(_) => default.files_per_day,
            None => keys.take("export.files_per_day", default.files_per_day),
        },
        rows_per_file: keys.take("export.rows_per_file", default.rows_per_file),
        bytes_per_file,
        folders_per_slot: keys.take("export.folders_per_slot", default.folders_per_slot),
        codec,
        segments_retention: keys.take("segments.retention", Span(default.segments_retention)).0,
        export_retention: keys.take("export.retention", Span(default.export_retention)).0,
        succeeds: keys.take_if_set("export.succeeds").map(|Text(log_id)| log_id),
    };
    keys.also_wrong(config.mistakes());
    config
}
