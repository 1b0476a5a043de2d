use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use millrace_eventlog::Topic;
use millrace_eventlog::embedded::EmbeddedLog;

use super::{Acknowledged, INPUT, OUTPUT, PARTITIONS, all, open};

/// How often the writer is killed; a longer run sets `MILLRACE_KILLS`.
fn kills() -> u32 {
    std::env::var("MILLRACE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20)
}

/// From when on a life is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Since {
    Spawn,
    FirstAnswer,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_at_random_moments_loses_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    let mut transactions = 0;
    let mut silent = 0;
    let mut random = u64::from(std::process::id());
    for kill in 0..kills() {
        random = xxhash_rust::xxh3::xxh3_64(&random.to_le_bytes());
        // Every other life is so short that its kill meets the making of the log, its opening or its recovery. The others
        // are measured from the first answer, so that each says something, however slow the machine is.
        let (since, life_ms_max) = if kill.is_multiple_of(2) { (Since::Spawn, 150) } else { (Since::FirstAnswer, 700) };
        let life = Duration::from_millis(random % life_ms_max);
        let lines = tokio::task::spawn_blocking({
            let folder = folder.path().to_owned();
            move || write_and_kill(&folder, since, life)
        });
        let lines = lines.await.unwrap();
        silent += u32::from(lines.is_empty());
        for line in lines {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["record", partition, offset, hash] => {
                    let place = (partition.parse().unwrap(), offset.parse().unwrap());
                    let hash = u64::from_str_radix(hash, 16).unwrap();
                    assert!(acknowledged.0.insert(place, hash).is_none(), "kill {kill}: {place:?} was given twice");
                }
                ["transaction", number] => transactions = number.parse::<u64>().unwrap() + 1,
                _ => panic!("not a line of the writer: {line}"),
            }
        }
        let log = open(folder.path()).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        acknowledged.compare(&log).await;
        compare_transactions(&log, transactions).await;
        log.close();
    }
    assert!(acknowledged.0.len() > 100 && transactions > 10, "the writer lived long enough to say something");
    let (records, kills) = (acknowledged.0.len(), kills());
    println!(
        "{records} records and {transactions} transactions over {kills} kills, {silent} of them before any answer"
    );
}

/// Lets the writer live for a while; gives all whole lines it said.
fn write_and_kill(folder: &Path, since: Since, life: Duration) -> Vec<String> {
    let mut writer =
        Command::new(env!("CARGO_BIN_EXE_millrace-log-writer")).arg(folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(writer.stdout.take().unwrap());
    let mut text = String::new();
    if since == Since::FirstAnswer {
        said.read_line(&mut text).unwrap();
    }
    let killer = std::thread::spawn(move || {
        // Not a wait for something: the length of this life.
        std::thread::park_timeout(life);
        writer.kill().unwrap();
        let ended = writer.wait().unwrap();
        assert_eq!(ended.signal(), Some(9), "the writer ended by itself: {ended}");
    });
    said.read_to_string(&mut text).unwrap();
    killer.join().unwrap();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole].lines().map(str::to_owned).collect()
}

/// Every transaction is in all partitions or in none, in order, and the committed position says how many there are.
async fn compare_transactions(log: &EmbeddedLog, acknowledged: u64) {
    let committed = log.committed("writer", INPUT, 0).map_or(0, |committed| committed.next);
    assert!(committed >= acknowledged, "{acknowledged} transactions were acknowledged, the position says {committed}");
    let expected: Vec<_> = (0..committed).collect();
    for partition in 0..PARTITIONS {
        assert_eq!(numbers(log, OUTPUT, partition).await, expected, "partition {partition}");
    }
}

async fn numbers(log: &EmbeddedLog, topic: Topic, partition: u32) -> Vec<u64> {
    let records = all(log, topic, partition, 0).await;
    records.iter().map(|record| std::str::from_utf8(&record.value).unwrap().parse().unwrap()).collect()
}
