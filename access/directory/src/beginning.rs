//! The first fact of a log whose topics can be made anew one by one: which log the access topic belongs to.

use millrace_clock::Clock;
use millrace_eventlog::{AppendError, Log, NewRecord, ReadError, Record, first_record};
use millrace_schemas::access::{Fact, LogBegun, fact};
use millrace_schemas::codec::Versioned;

use crate::audit::Actor;
use crate::change::{self, Change};
use crate::follower::ACCESS;

/// What the access topic begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// The fact that names this log.
    ThisLog,
    /// It holds no fact at all.
    Nothing,
    /// Something else; what, in words.
    Other(String),
}

/// Looks at the first fact.
///
/// # Errors
/// The log cannot be read.
pub async fn beginning(log: &dyn Log) -> Result<Beginning, ReadError> {
    let extent = log.extent(ACCESS, 0).await?;
    if extent.start > 0 {
        return Ok(Beginning::Other(format!("it begins at offset {}", extent.start)));
    }
    let first = first_record(log, ACCESS, 0, extent).await?;
    Ok(first.map_or(Beginning::Nothing, |first| said_by(first, log.id())))
}

/// Makes the name of this log the first fact. Where two do so at once, the second fact is void.
///
/// # Errors
/// The log took nothing, or it is unknown whether it did. Trying again is safe.
pub async fn begin(log: &dyn Log, clock: &dyn Clock) -> Result<(), AppendError> {
    let fact = Fact {
        id: format!("log/{}", log.id()),
        made_ms: clock.now_ms(),
        actor: Actor::local().to_string(),
        change: Some(fact::Change::LogBegun(LogBegun { log_id: log.id().to_owned() })),
        ..Fact::default()
    };
    let (key, value) = (fact.id.clone().into_bytes().into(), fact.to_bytes());
    log.append(ACCESS, vec![NewRecord { partition: 0, version: Fact::VERSION, key, value }]).await?;
    Ok(())
}

fn said_by(first: Record, log_id: &str) -> Beginning {
    match change::decode(first.version, first.value) {
        Ok((_, Change::LogBegun { log_id: named })) if named == log_id => Beginning::ThisLog,
        Ok((_, Change::LogBegun { log_id: named })) => Beginning::Other(format!("it belongs to log {named}")),
        Ok(_) => Beginning::Other("its first fact names no log".to_owned()),
        Err(error) => Beginning::Other(format!("its first fact cannot be read: {error}")),
    }
}
