//! The data folder: what lies where, and writing its small files so that a crash leaves the old one or the new one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The data folder of one Millrace.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder at this path, which need not exist.
    #[must_use]
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it, for its owner only, if it is not there.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// The log.
    #[must_use]
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The processor's state; may be deleted while nothing runs.
    #[must_use]
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// The object store: segments and exported files.
    #[must_use]
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The socket that commands talk to.
    #[must_use]
    pub(crate) fn control(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// The keys that sign scoped credentials.
    #[must_use]
    pub(crate) fn server_keys(&self) -> PathBuf {
        self.0.join("server-keys")
    }

    /// Account, key, token and user of the first start.
    #[must_use]
    pub(crate) fn demo_env(&self) -> PathBuf {
        self.0.join("demo.env")
    }

    /// There while the first start is unfinished.
    #[must_use]
    pub(crate) fn demo_unfinished(&self) -> PathBuf {
        self.0.join("demo.unfinished")
    }
}

/// Writes a file only its owner may read: whole and durable, or not at all.
///
/// # Errors
/// The file system's.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
    // One left behind by a crash keeps its mode.
    file.set_permissions(PermissionsExt::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    sync_folder_of(path)
}

/// Removes a file durably; one that is not there is fine.
///
/// # Errors
/// The file system's.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder_of(path),
    }
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    // A bare name's folder is the empty path, which cannot be opened.
    let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_replaced_whole_and_only_its_owner_reads_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secret");
        std::fs::write(home.path().join("secret.new"), "left behind by a crash, and longer than the new one").unwrap();
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside it");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }
}
