//! The names of this crate's metrics.

/// Facts folded, by `verdict` (`applied`, `void`, `undecodable`).
pub const FACTS: &str = "millrace_access_facts_total";
/// The position up to which this node has folded the access topic.
pub const POSITION: &str = "millrace_access_position";
/// Credentials looked up, by `kind` and `outcome` (`ok`, `unknown`, `inactive`, `unavailable`).
pub const AUTHENTICATIONS: &str = "millrace_authentications_total";
/// Commands, by `outcome`.
pub const COMMANDS: &str = "millrace_access_commands_total";
/// Entries of the audit trail, by `outcome` (`ok`, `failed`).
pub const AUDIT_ENTRIES: &str = "millrace_audit_entries_total";
