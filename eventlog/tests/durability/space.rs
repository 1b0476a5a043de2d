use std::path::{Path, PathBuf};
use std::process::Command;

use millrace_eventlog::embedded::OpenError;
use millrace_eventlog::{AppendError, Log};

use super::{Acknowledged, DEADLINE, INPUT, all, open, record, skipped};

const MIB: usize = 1 << 20;
const NO_TMPFS: &str = "a small file system cannot be mounted here (that needs root)";

/// A small file system in memory, unmounted when it goes.
struct Small(PathBuf);

impl Small {
    /// `None`: not allowed here.
    fn mount(at: &Path, mib: usize) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(at)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    fn fill_to(&self, free: usize) -> PathBuf {
        let ballast = self.0.join("ballast");
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        let now = (stat.f_bavail * stat.f_frsize) as usize;
        std::fs::write(&ballast, vec![1; now - free]).unwrap();
        ballast
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut word = seed;
    let words = std::iter::repeat_with(|| {
        word = xxhash_rust::xxh3::xxh3_64(&word.to_le_bytes());
        word.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

async fn until_refused(log: &dyn Log, acknowledged: &mut Acknowledged, seed: u64) -> String {
    for n in 0..1000 {
        let value = noise(seed * 1000 + n, MIB / 2);
        let hash = xxhash_rust::xxh3::xxh3_64(&value);
        let appended = tokio::time::timeout(DEADLINE, log.append(INPUT, vec![record(0, value)])).await;
        match appended.expect("a full disk is answered") {
            Ok(appended) => acknowledged.0.insert((0, appended[0].offset), hash),
            Err(AppendError::Refused { reason }) => return reason,
            Err(other) => panic!("a full disk is refused: {other}"),
        };
    }
    panic!("the disk was never full");
}

async fn until_accepted(log: &dyn Log, acknowledged: &mut Acknowledged) {
    let accepted = async {
        loop {
            match log.append(INPUT, vec![record(0, "there is room again")]).await {
                Ok(appended) => return appended,
                Err(AppendError::Refused { .. }) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                Err(other) => panic!("refused or accepted, nothing else: {other}"),
            }
        }
    };
    let appended = tokio::time::timeout(DEADLINE, accepted).await.expect("it recovers when there is room again");
    acknowledged.0.insert((0, appended[0].offset), xxhash_rust::xxh3::xxh3_64(b"there is room again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_when_there_is_room_the_log_goes_on_by_itself() {
    // With less than one journal of the store on it, and with several.
    for (disk_mib, room) in [(96, 60 * MIB), (260, 200 * MIB)] {
        let folder = tempfile::tempdir().unwrap();
        let Some(small) = Small::mount(folder.path(), disk_mib) else {
            return skipped(NO_TMPFS);
        };
        let ballast = small.fill_to(room);
        let dir = small.0.join("log");
        let mut acknowledged = Acknowledged::default();
        let log = open(&dir).unwrap();
        until_refused(&*log, &mut acknowledged, 1).await;
        acknowledged.compare(&log).await;
        std::fs::remove_file(&ballast).unwrap();
        until_accepted(&*log, &mut acknowledged).await;
        acknowledged.compare(&log).await;
        log.close();
        let log = open(&dir).unwrap();
        acknowledged.compare(&log).await;
        log.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_does_not_fit_is_refused_whole_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(folder.path(), 48) else {
        return skipped(NO_TMPFS);
    };
    let dir = small.0.join("log");
    let log = open(&dir).unwrap();
    log.append(INPUT, vec![record(0, "before")]).await.unwrap();
    // Enough room to try, not enough to succeed: the write itself fails.
    let ballast = small.fill_to(6 * MIB);
    for round in 0..2 {
        let large = (0..14).map(|n| record(0, noise(n, MIB))).collect();
        let refused = log.append(INPUT, large).await;
        assert!(matches!(refused, Err(AppendError::Refused { .. })), "round {round}: {refused:?}");
        assert_eq!(log.read(INPUT, 0, 0, 1000).await.unwrap().records.len(), 1, "it stays readable");
    }
    std::fs::remove_file(&ballast).unwrap();
    let mut acknowledged = Acknowledged::default();
    until_accepted(&*log, &mut acknowledged).await;
    log.close();
    let log = open(&dir).unwrap();
    acknowledged.compare(&log).await;
    let texts: Vec<_> = all(&log, INPUT, 0, 0).await.into_iter().map(|record| record.value).collect();
    assert_eq!(texts, ["before", "there is room again"], "nothing of what was refused is in");
    log.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_not_made_on_a_full_disk_and_the_next_try_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(folder.path(), 16) else {
        return skipped(NO_TMPFS);
    };
    let ballast = small.fill_to(0);
    let dir = small.0.join("log");
    let error = open(&dir).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::NoSpace { .. }), "{error}");
    std::fs::remove_file(&ballast).unwrap();
    let log = open(&dir).unwrap();
    log.append(INPUT, vec![record(0, "works")]).await.unwrap();
    log.close();
}
