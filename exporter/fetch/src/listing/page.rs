//! One page of a listing: keys and groups, together at most so many.

use object_store::{ObjectMeta, ObjectStore};

use super::walk::Step;
use super::{After, Walk};
use millrace_directory::scope::{AllowedPrefix, Scope};

/// What one answer lists. Keys and groups are each in order.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<ObjectMeta>,
    /// What S3 calls common prefixes: ends in the delimiter.
    pub(crate) groups: Vec<String>,
    /// Where the next page begins; `None`: this was the last.
    pub(crate) next: Option<After>,
}

/// The page of at most `most` keys and groups after `after`.
///
/// # Errors
/// The store's.
pub(crate) async fn page(
    store: &dyn ObjectStore,
    scope: &Scope,
    prefix: &AllowedPrefix,
    delimiter: Option<&str>,
    after: After,
    most: usize,
) -> Result<Page, object_store::Error> {
    let mut page = Page::default();
    if most == 0 {
        return Ok(page);
    }
    let mut walk = Walk::start(store, scope, prefix, after.clone(), delimiter == Some("/")).await?;
    let mut last = after;
    while let Some(step) = walk.next().await? {
        let step = match step {
            Step::Object(meta) => match group_of(meta.location.as_ref(), prefix.as_str(), delimiter) {
                Some(group) if last.names(group) => continue,
                Some(group) => Step::Folder(group.to_owned()),
                None => Step::Object(meta),
            },
            folder @ Step::Folder(_) => folder,
        };
        if page.objects.len() + page.groups.len() == most {
            page.next = Some(last);
            break;
        }
        match step {
            Step::Object(meta) => {
                last = After::Key(meta.location.to_string());
                page.objects.push(meta);
            }
            Step::Folder(group) => {
                last = After::Group(group.clone());
                page.groups.push(group);
            }
        }
    }
    Ok(page)
}

/// The key up to the first delimiter after the prefix.
fn group_of<'k>(key: &'k str, prefix: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let delimiter = delimiter?;
    let at = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}
