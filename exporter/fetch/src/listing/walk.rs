//! Walks a tree of folders in the byte order of whole keys, reading one folder at a time.
//!
//! S3 orders keys by their bytes, so the files of `a/` come after `a-b` (`-` is before `/`) and before `a0`. Sorting
//! each level with the folders' closing slash included gives exactly that order, and only the folders on the way to the
//! next key are read. In-progress files and empty folders of a local store never show.

use std::collections::VecDeque;

use futures::stream::{StreamExt, TryStreamExt};
use millrace_directory::scope::{AllowedPrefix, Scope};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::After;
use crate::limits::FOLDER_LOOKS;
use crate::shelf::is_absent;

/// The next thing in order.
#[derive(Debug)]
pub(crate) enum Step {
    Object(ObjectMeta),
    /// A folder that holds at least one key; ends in `/`.
    Folder(String),
}

/// A walk over the keys that begin with a prefix and that the scope opens.
pub(crate) struct Walk<'a> {
    store: &'a dyn ObjectStore,
    scope: &'a Scope,
    prefix: String,
    after: After,
    /// Folders below the prefix are steps of their own instead of being walked through.
    folders_whole: bool,
    /// From the top folder down to the present one: what is left of each, in order.
    levels: Vec<VecDeque<Entry>>,
}

#[derive(Debug)]
enum Entry {
    Object(ObjectMeta),
    Folder(String),
    /// A folder already known to hold a key.
    Seen(String),
}

impl Entry {
    fn sort_key(&self) -> &str {
        match self {
            Self::Object(meta) => meta.location.as_ref(),
            Self::Folder(folder) | Self::Seen(folder) => folder,
        }
    }
}

impl<'a> Walk<'a> {
    /// A walk from the first key after `after`. Reads the folder the prefix stands in.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn start(
        store: &'a dyn ObjectStore,
        scope: &'a Scope,
        prefix: &AllowedPrefix,
        after: After,
        folders_whole: bool,
    ) -> Result<Self, object_store::Error> {
        Self::at(store, scope, prefix.as_str().to_owned(), after, folders_whole).await
    }

    async fn at(
        store: &'a dyn ObjectStore,
        scope: &'a Scope,
        prefix: String,
        after: After,
        folders_whole: bool,
    ) -> Result<Self, object_store::Error> {
        let mut walk = Self { store, scope, prefix, after, folders_whole, levels: Vec::new() };
        let folder = walk.prefix.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        walk.enter(&folder).await?;
        Ok(walk)
    }

    /// The next step; `None` at the end.
    ///
    /// # Errors
    /// The store's. The walk is over then.
    pub(crate) async fn next(&mut self) -> Result<Option<Step>, object_store::Error> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            match level.pop_front() {
                None => {
                    self.levels.pop();
                }
                // Checked here and not for whole folders: most of a large one belongs to other pages.
                Some(Entry::Object(meta)) if self.scope.allows_key(meta.location.as_ref()) => {
                    return Ok(Some(Step::Object(meta)));
                }
                Some(Entry::Object(_)) => {}
                Some(Entry::Seen(folder)) => return Ok(Some(Step::Folder(folder))),
                Some(Entry::Folder(folder)) if self.folders_whole => self.look_into(folder).await?,
                Some(Entry::Folder(folder)) => self.enter(&folder).await?,
            }
        }
    }

    /// Reads one folder and puts what is wanted of it on top.
    async fn enter(&mut self, folder: &str) -> Result<(), object_store::Error> {
        let Ok(path) = Path::parse(folder) else { return Ok(()) };
        let listed = match self.store.list_with_delimiter(Some(&path)).await {
            Err(error) if is_absent(&error) => return Ok(()),
            listed => listed?,
        };
        let folders = listed.common_prefixes.into_iter().map(|folder| format!("{folder}/"));
        let mut entries: Vec<Entry> = folders.filter(|folder| self.wants_folder(folder)).map(Entry::Folder).collect();
        entries.extend(listed.objects.into_iter().filter(|meta| self.wants(meta.location.as_ref())).map(Entry::Object));
        entries.sort_unstable_by(|a, b| a.sort_key().cmp(b.sort_key()));
        self.levels.push(entries.into());
        Ok(())
    }

    fn wants(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && self.after.is_before(key)
    }

    fn wants_folder(&self, folder: &str) -> bool {
        // A position that is the folder's own name was a folder of the page before.
        let was_given = self.folders_whole && self.after.names(folder);
        folder.starts_with(&self.prefix)
            && self.after.leaves_some_of(folder)
            && !was_given
            && self.scope.may_hold(folder)
    }

    /// Looks into this folder and the next few of its level, and puts back those that hold a key.
    async fn look_into(&mut self, first: String) -> Result<(), object_store::Error> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let mut folders = vec![first];
        let mut beyond = Vec::new();
        while folders.len() < FOLDER_LOOKS {
            match level.pop_front() {
                Some(Entry::Folder(folder)) => folders.push(folder),
                other => {
                    beyond.extend(other);
                    break;
                }
            }
        }
        let (store, scope, after) = (self.store, self.scope, &self.after);
        let looks = folders.into_iter().map(|folder| async move {
            let held = holds_a_key(store, scope, &folder, after).await?;
            Ok::<_, object_store::Error>(held.then_some(folder))
        });
        let seen: Vec<Option<String>> = futures::stream::iter(looks).buffered(FOLDER_LOOKS).try_collect().await?;
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let back: Vec<Entry> = seen.into_iter().flatten().map(Entry::Seen).chain(beyond).collect();
        for entry in back.into_iter().rev() {
            level.push_front(entry);
        }
        Ok(())
    }
}

async fn holds_a_key(
    store: &dyn ObjectStore,
    scope: &Scope,
    folder: &str,
    after: &After,
) -> Result<bool, object_store::Error> {
    if after.is_within(folder) {
        let mut walk = Walk::at(store, scope, folder.to_owned(), after.clone(), false).await?;
        return Ok(Box::pin(walk.next()).await?.is_some());
    }
    let Ok(path) = Path::parse(folder) else { return Ok(false) };
    let mut keys = store.list(Some(&path));
    while let Some(meta) = keys.next().await {
        match meta {
            Ok(meta) if scope.allows_key(meta.location.as_ref()) => return Ok(true),
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
