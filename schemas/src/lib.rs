//! What an event is at each stage, its bytes, the topics, and the layout of the export.
//!
//! No I/O, no clock, no async. Everybody meets here.
//!
//! | stage | type | bytes |
//! |---|---|---|
//! | accepted | [`raw::Event`] in [`raw::Raw`] | topic [`topics::RAW`] |
//! | enriched | [`enriched::Outcome`] in [`enriched::EnrichedRecord`] | topic [`topics::ENRICHED`] |
//! | exported | [`columns`] | Parquet under [`layout`] |
//! | fact, audit | [`access::Fact`], [`access::Audit`] | topics [`topics::ACCESS`], [`topics::AUDIT`] |

pub mod codec;
pub mod columns;
pub mod export;
pub mod layout;
pub mod limits;
pub mod partition;
pub mod raw_encode;
pub mod reasons;
pub mod rows;
pub mod settings;
pub mod topics;

/// Records of the raw topic (generated from `proto/raw.proto`).
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod raw {
    include!(concat!(env!("OUT_DIR"), "/millrace.raw.v1.rs"));
}

/// Records of the enriched topic (generated from `proto/enriched.proto`).
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod enriched {
    include!(concat!(env!("OUT_DIR"), "/millrace.enriched.v1.rs"));
}

/// Facts and audit entries (generated from `proto/access.proto`).
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod access {
    include!(concat!(env!("OUT_DIR"), "/millrace.access.v1.rs"));
}
