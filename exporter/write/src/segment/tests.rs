use millrace_schemas::codec::Versioned;
use millrace_schemas::enriched::enriched_record::Body;
use millrace_schemas::enriched::outcome::What;
use millrace_schemas::enriched::{EnrichedRecord, Outcome};
use proptest::prelude::*;

use super::*;
use crate::measured::golden::{DAY_1, SHARDS, dead, head, small};

fn footer(segment: &[u8]) -> Footer {
    match footer_of(segment).unwrap() {
        FromTail::Footer(footer) => *footer,
        FromTail::Longer(_) => panic!("the whole segment is given"),
    }
}

fn all_rows(segment: &[u8], footer: &Footer) -> Vec<StoredRow> {
    let of = |block: &Block| {
        let at = block.offset as usize;
        rows_of(block, &segment[at..at + block.bytes as usize]).unwrap()
    };
    footer.blocks.iter().flat_map(of).collect()
}

/// Every format ever written is read. The file was written by the first release, with `examples/golden_segment.rs`.
#[test]
fn the_first_formats_golden_segment_is_read() {
    let golden = include_bytes!("../../tests/golden/segment-v1");
    let (written, _) = encode(head(), small().unwrap(), SHARDS).unwrap();
    let footer = footer(golden);
    assert_eq!((footer.start, footer.end, footer.watermark_ms, footer.rows), (10, 20, DAY_1 + 5, 3));
    assert_eq!((&footer.shards, &footer.settings, &footer.nonce), (&written.shards, &written.settings, &written.nonce));
    let visitor = |row: &StoredRow| match EnrichedRecord::from_versioned(row.version, row.payload.clone()).unwrap().body
    {
        Some(Body::Outcome(Outcome { what: Some(What::Dead(dead)), .. })) => {
            format!("{}/{}", dead.account_id, dead.visitor_id)
        }
        other => panic!("{other:?}"),
    };
    let mut visitors: Vec<String> = all_rows(golden, &footer).iter().map(visitor).collect();
    let in_order = visitors.clone();
    visitors.sort_by_key(|name| millrace_schemas::partition::of_account(&name[..1], 4));
    assert_eq!(in_order, visitors, "shard by shard");
    assert!(in_order.iter().position(|name| name == "b/ann") < in_order.iter().position(|name| name == "b/zoe"));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let (_, bytes) = encode(head(), small().unwrap(), SHARDS).unwrap();
    for at in MAGIC.len()..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x10;
        let noticed = match footer_of(&damaged) {
            Err(_) => true,
            // A longer footer than there are bytes: the reader of the object refuses that.
            Ok(FromTail::Longer(bytes)) => bytes > damaged.len() as u64,
            Ok(FromTail::Footer(footer)) => footer.blocks.iter().any(|block| {
                let start = block.offset as usize;
                rows_of(block, &damaged[start..start + block.bytes as usize]).is_err()
            }),
        };
        assert!(noticed, "byte {at} of {}", bytes.len());
    }
}

#[test]
fn the_end_of_a_segment_says_how_much_of_it_the_footer_is() {
    let (written, bytes) = encode(head(), small().unwrap(), SHARDS).unwrap();
    let FromTail::Longer(needed) = footer_of(&bytes[bytes.len() - TRAILER_BYTES..]).unwrap() else {
        panic!("too short")
    };
    let tail = &bytes[bytes.len() - needed as usize..];
    assert_eq!(footer(tail), written);
    assert!(footer_of(b"short").is_err());
}

proptest! {
    #[test]
    fn every_row_is_found_in_the_blocks_the_index_names(
        rows in proptest::collection::vec((0..5_usize, 0..9_u8, 0..60_000_usize), 0..40),
    ) {
        let mut made = Rows::default();
        for (number, (account, visitor, bytes)) in rows.iter().enumerate() {
            let account = ["a", "ab", "b", "c", "d"][*account];
            dead(&mut made, number as i64, account, &format!("v{visitor}"), vec![*visitor; *bytes]).unwrap();
        }
        let (footer, bytes) = encode(head(), made, 4).unwrap();
        let found = all_rows(&bytes, &footer);
        prop_assert_eq!((found.len(), footer.rows as usize), (rows.len(), rows.len()));
        prop_assert!(found.is_sorted_by(|one, other| one.key < other.key));
        for part in footer.shards.iter().flat_map(|shard| shard.accounts.iter().map(move |account| (shard.shard, account))) {
            let (shard, account) = part;
            let mut prefix = Vec::new();
            crate::sort_key::write_account(&mut prefix, shard, &account.account);
            let mut seen = Vec::new();
            for block in &footer.blocks[account.first_block as usize..=account.last_block as usize] {
                let at = block.offset as usize;
                let rows = rows_of(block, &bytes[at..at + block.bytes as usize]).unwrap();
                seen.extend(rows.into_iter().filter(|row| row.key.starts_with(&prefix)).map(|row| row.process_ms));
            }
            prop_assert_eq!(seen.len() as u64, account.rows);
            prop_assert_eq!(seen.iter().min().copied(), Some(account.min_ms));
            prop_assert_eq!(seen.iter().max().copied(), Some(account.max_ms));
            let counted: u64 = account.days.values().map(|day| day.dead).sum();
            prop_assert_eq!(counted, account.rows);
        }
    }
}
