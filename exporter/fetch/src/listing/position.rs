//! Where a listing goes on.

/// The place in a listing after which the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum After {
    /// From the beginning.
    Start,
    /// After this key.
    Key(String),
    /// After all keys that begin with this.
    Group(String),
}

impl After {
    /// Whether the key comes later.
    pub(crate) fn is_before(&self, key: &str) -> bool {
        match self {
            Self::Start => true,
            Self::Key(last) => key > last.as_str(),
            Self::Group(group) => key > group.as_str() && !key.starts_with(group.as_str()),
        }
    }

    /// Whether some key that begins with `folder` comes later.
    pub(crate) fn leaves_some_of(&self, folder: &str) -> bool {
        match self {
            Self::Start => true,
            Self::Key(last) => folder > last.as_str() || last.starts_with(folder),
            Self::Group(group) => {
                !folder.starts_with(group.as_str()) && (folder > group.as_str() || group.starts_with(folder))
            }
        }
    }

    /// Whether it is this very text: a group given on the page before, be it as a group or as a plain marker.
    pub(crate) fn names(&self, group: &str) -> bool {
        matches!(self, Self::Key(text) | Self::Group(text) if text == group)
    }

    /// Whether it stands among the keys that begin with `folder`, so that only some of them come later.
    pub(crate) fn is_within(&self, folder: &str) -> bool {
        match self {
            Self::Start => false,
            Self::Key(text) | Self::Group(text) => text.starts_with(folder),
        }
    }
}
