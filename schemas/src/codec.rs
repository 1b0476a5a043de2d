//! Versioned bytes of records. A decoder reads every version ever written; an encoder writes the present one.

use bytes::Bytes;
use prost::Message;

use crate::access::{Audit, Fact};
use crate::enriched::EnrichedRecord;
use crate::raw::Raw;

/// Why a record's bytes could not be read, by what the reader does next.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a later release: stop this partition; upgrade the reader.
    #[error("record version {version} is newer than this release knows ({known}): upgrade this process first")]
    Newer {
        /// The record's version.
        version: u32,
        /// The newest this release reads.
        known: u32,
    },
    /// A known version whose bytes do not decode: a dead letter.
    #[error("record of version {version} does not decode: {reason}")]
    Dead {
        /// The record's version.
        version: u32,
        /// What the decoder said.
        reason: String,
    },
}

/// A type with versioned bytes. The version travels in the record's header.
pub trait Versioned: Message + Default {
    /// The version this release writes, and the newest it reads.
    const VERSION: u32;

    /// Reads the bytes of a record that carries `version`.
    ///
    /// # Errors
    /// [`DecodeError::Newer`] stops the partition, [`DecodeError::Dead`] is a dead letter.
    fn from_versioned(version: u32, value: Bytes) -> Result<Self, DecodeError> {
        if version > Self::VERSION {
            return Err(DecodeError::Newer { version, known: Self::VERSION });
        }
        if version == 0 {
            return Err(DecodeError::Dead { version, reason: "the record has no schema version".into() });
        }
        Self::decode(value).map_err(|source| DecodeError::Dead { version, reason: source.to_string() })
    }

    /// The bytes of the present version.
    fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }
}

impl Versioned for Raw {
    const VERSION: u32 = 1;
}

impl Versioned for EnrichedRecord {
    const VERSION: u32 = 1;
}

impl Versioned for Fact {
    const VERSION: u32 = 1;
}

impl Versioned for Audit {
    const VERSION: u32 = 1;
}
