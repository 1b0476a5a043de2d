//! Seen events: what is remembered of each is the hour.

/// An hour of log time in four bytes, without alignment: there is one per seen event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenHour([u8; 4]);

impl SeenHour {
    pub(crate) fn new(hour: i64) -> Self {
        Self(u32::try_from(hour.max(0)).unwrap_or(u32::MAX).to_le_bytes())
    }

    pub(crate) fn hour(self) -> i64 {
        i64::from(u32::from_le_bytes(self.0))
    }
}
