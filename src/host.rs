//! The machine this process runs on.

/// Its host name; empty where the system does not tell.
pub(crate) fn name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
