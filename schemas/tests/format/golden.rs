//! Golden files: one record of each kind and version, as hex and as people read it. `MILLRACE_WRITE_GOLDEN=1 cargo test` adds
//! files that are missing; none is ever changed: a new version of a record gets a file of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use millrace_schemas::access::{Audit, Fact};
use millrace_schemas::codec::{DecodeError, Versioned};
use millrace_schemas::enriched::EnrichedRecord;
use millrace_schemas::raw::Raw;

use crate::samples;

/// The present versions, each encoded and as text.
fn present() -> Vec<(String, Bytes, String)> {
    fn all<T: Versioned + std::fmt::Debug>(samples: Vec<(&'static str, T)>) -> Vec<(String, Bytes, String)> {
        let one = |(name, sample): (&str, T)| {
            (format!("{name}.v{}", T::VERSION), sample.to_bytes(), format!("{sample:#?}\n"))
        };
        samples.into_iter().map(one).collect()
    }
    [all(samples::raw()), all(samples::enriched()), all(samples::facts()), all(samples::audit())].concat()
}

/// Reads old bytes with the present release.
fn read(name: &str, version: u32, bytes: Bytes) -> Result<String, DecodeError> {
    let kind = name.split('-').next().unwrap();
    Ok(match kind {
        "raw" => format!("{:#?}\n", Raw::from_versioned(version, bytes)?),
        "enriched" => format!("{:#?}\n", EnrichedRecord::from_versioned(version, bytes)?),
        "fact" => format!("{:#?}\n", Fact::from_versioned(version, bytes)?),
        "audit" => format!("{:#?}\n", Audit::from_versioned(version, bytes)?),
        other => panic!("{other} is no kind of record"),
    })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn hex_of(bytes: &[u8]) -> String {
    let digits = hex::encode(bytes);
    let lines: Vec<&str> = digits.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("{}\n", lines.join("\n"))
}

#[test]
fn what_is_written_today_is_what_was_written_when_the_version_began() {
    for (name, bytes, readable) in present() {
        let (hex, text) = (folder().join(format!("{name}.hex")), folder().join(format!("{name}.txt")));
        if std::env::var_os("MILLRACE_WRITE_GOLDEN").is_some() && !hex.exists() {
            std::fs::write(&hex, hex_of(&bytes)).unwrap();
            std::fs::write(&text, &readable).unwrap();
        }
        let golden = std::fs::read_to_string(&hex).unwrap_or_else(|error| panic!("{}: {error}", hex.display()));
        assert_eq!(hex_of(&bytes), golden, "{name}: the encoding changed");
    }
}

#[test]
fn every_version_ever_written_reads_as_it_did() {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(name) = file.strip_suffix(".hex") else { continue };
        let (kind, version) = name.rsplit_once(".v").unwrap();
        let digits: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
        let read = read(kind, version.parse().unwrap(), hex::decode(digits).unwrap().into()).unwrap();
        let text = std::fs::read_to_string(path.with_extension("txt")).unwrap();
        assert_eq!(read, text, "{name}");
        names.insert(name.to_owned());
    }
    let all: BTreeSet<String> = present().into_iter().map(|(name, ..)| name).collect();
    assert!(names.is_superset(&all), "of each kind there is a file");
}

#[test]
fn a_newer_version_stops_the_reader_and_broken_bytes_are_a_dead_letter() {
    let bytes = Bytes::from_static(b"\xff\xff\xff");
    let newer = Raw::from_versioned(Raw::VERSION + 1, bytes.clone());
    assert!(matches!(newer, Err(DecodeError::Newer { version, known }) if version == known + 1));
    assert!(matches!(Raw::from_versioned(Raw::VERSION, bytes.clone()), Err(DecodeError::Dead { .. })));
    assert!(matches!(Raw::from_versioned(0, bytes), Err(DecodeError::Dead { version: 0, .. })));
}
