//! One object: fetched, checked, and moved into place whole.

use std::io;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::day::Object;
use crate::cli::with_causes;

/// What fetching came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It was there, complete.
    AlreadyThere,
    /// It was fetched.
    Now,
}

/// Fetches an object to `target`, unless it is there. `on_bytes` hears how far it is.
///
/// # Errors
/// What went wrong, for people; nothing half is left under `target`.
pub(super) async fn fetch(
    store: &dyn ObjectStore,
    object: &Object,
    target: &Path,
    on_bytes: impl Fn(u64),
) -> Result<Fetched, String> {
    let local = |error: io::Error| format!("{}: {error}", target.display());
    if is_complete(target, object).await.map_err(local)? {
        on_bytes(object.bytes);
        return Ok(Fetched::AlreadyThere);
    }
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).await.map_err(local)?;
    }
    let part = part_of(target);
    let outcome = fetch_to(store, object, &part, on_bytes).await;
    if let Err(error) = outcome {
        // Better begun anew than damaged; what cannot be removed is overwritten next time.
        let _ = fs::remove_file(&part).await;
        return Err(error);
    }
    fs::rename(&part, target).await.map_err(local)?;
    Ok(Fetched::Now)
}

/// Beside the target, by a name no reader of Parquet folders picks up.
fn part_of(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.part"))
}

async fn is_complete(target: &Path, object: &Object) -> io::Result<bool> {
    let mut file = match File::open(target).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    if file.metadata().await?.len() != object.bytes {
        return Ok(false);
    }
    let Some(expected) = &object.sha256 else { return Ok(true) };
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(hex(sha256) == *expected),
            read => sha256.update(&buffer[..read]),
        }
    }
}

async fn fetch_to(store: &dyn ObjectStore, object: &Object, part: &Path, on_bytes: impl Fn(u64)) -> Result<(), String> {
    let remote = |error: object_store::Error| with_causes(&error);
    let local = |error: io::Error| format!("{}: {error}", part.display());
    let mut body = store.get(&object.key).await.map_err(remote)?.into_stream();
    let mut file = File::create(part).await.map_err(local)?;
    let (mut sha256, mut bytes) = (Sha256::new(), 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(remote)?;
        file.write_all(&chunk).await.map_err(local)?;
        sha256.update(&chunk);
        bytes += chunk.len() as u64;
        on_bytes(chunk.len() as u64);
    }
    // A later run takes a file of the right size for complete: its bytes must be on disk before its name is.
    file.sync_all().await.map_err(local)?;
    if bytes != object.bytes {
        return Err(format!("{bytes} bytes came, {} were announced", object.bytes));
    }
    match &object.sha256 {
        Some(expected) if hex(sha256) != *expected => Err("its SHA-256 is not the manifest's".to_owned()),
        _ => Ok(()),
    }
}

fn hex(sha256: Sha256) -> String {
    sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::path::Path as Key;

    use super::*;

    struct Rig {
        store: InMemory,
        object: Object,
        home: tempfile::TempDir,
    }

    impl Rig {
        async fn new(content: &'static str) -> Self {
            let key = Key::from("v1/account_id=a/type=events/date=2026-11-24/event=x/part.parquet");
            let store = InMemory::new();
            store.put(&key, content.into()).await.unwrap();
            let sha256 = hex(Sha256::new_with_prefix("right"));
            let object = Object { key, relative: "part.parquet".into(), bytes: 5, sha256: Some(sha256) };
            Self { store, object, home: tempfile::tempdir().unwrap() }
        }

        fn target(&self) -> PathBuf {
            self.home.path().join("new/folders/part.parquet")
        }

        async fn fetch(&self) -> Result<Fetched, String> {
            fetch(&self.store, &self.object, &self.target(), |_| {}).await
        }
    }

    #[tokio::test]
    async fn a_file_is_fetched_once_and_again_only_if_its_bytes_are_not_the_manifests() {
        let rig = Rig::new("right").await;
        assert_eq!(rig.fetch().await, Ok(Fetched::Now));
        assert_eq!(rig.fetch().await, Ok(Fetched::AlreadyThere));
        std::fs::write(rig.target(), "wrong").unwrap();
        assert_eq!(rig.fetch().await, Ok(Fetched::Now));
        assert_eq!(std::fs::read_to_string(rig.target()).unwrap(), "right");
    }

    #[tokio::test]
    async fn bytes_that_are_not_the_manifests_are_refused_and_leave_nothing() {
        let rig = Rig::new("wrong").await;
        let said = rig.fetch().await.unwrap_err();
        assert!(said.contains("SHA-256"), "{said}");
        assert_eq!(std::fs::read_dir(rig.target().parent().unwrap()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_of_an_open_day_is_complete_when_its_size_is_right() {
        let mut rig = Rig::new("right").await;
        rig.object.sha256 = None;
        std::fs::create_dir_all(rig.target().parent().unwrap()).unwrap();
        std::fs::write(rig.target(), "rig").unwrap();
        assert_eq!(rig.fetch().await, Ok(Fetched::Now), "cut short by a crash");
        assert_eq!(rig.fetch().await, Ok(Fetched::AlreadyThere));
    }
}
