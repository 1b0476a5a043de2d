//! Partitions are part of the format: these numbers were computed by another implementation of xxh3 (Python's).

use millrace_schemas::partition::{of_account, of_visitor, record_key, split_key};
use proptest::prelude::*;

/// Account, visitor, xxh3-64 of account, 0x00, visitor.
const HASHES: &[(&str, &str, u64)] = &[
    ("acme", "ann", 1_684_537_674_009_628_595),
    ("acme", "", 11_081_651_504_715_387_575),
    ("12001", "oeu1772323200000r0.4711", 10_091_456_732_160_689_518),
    ("a", "b", 15_393_423_168_975_819_601),
    ("acme", "ünïcödé 😀", 3_271_351_354_092_528_696),
];

#[test]
fn a_visitor_goes_to_the_partition_its_hash_says() {
    for (account, visitor, hash) in HASHES {
        for partitions in [1, 4, 7, 64] {
            let expected = u32::try_from(hash % u64::from(partitions)).unwrap();
            assert_eq!(of_visitor(account, visitor, partitions), expected, "{account} {visitor} of {partitions}");
        }
    }
    let (account, visitor) = ("x".repeat(64), "y".repeat(300));
    assert_eq!(u64::from(of_visitor(&account, &visitor, 64)), 2_880_306_008_572_834_370 % 64);
}

#[test]
fn an_account_has_the_shard_its_hash_says() {
    for (account, of_4, of_64) in [("acme", 1, 33), ("12001", 3, 11), ("a", 3, 31)] {
        assert_eq!((of_account(account, 4), of_account(account, 64)), (of_4, of_64), "{account}");
    }
}

proptest! {
    #[test]
    fn a_key_gives_back_what_it_was_made_of(account in "[0-9A-Za-z_-]{1,64}", visitor: String) {
        let key = record_key(&account, &visitor);
        prop_assert_eq!(split_key(&key), Some((account.as_str(), visitor.as_str())));
    }

    #[test]
    fn every_partition_is_one_of_those_there_are(account in "[0-9A-Za-z_-]{1,64}", visitor: String, partitions in 1..200_u32) {
        prop_assert!(of_visitor(&account, &visitor, partitions) < partitions);
        prop_assert!(of_account(&account, partitions) < partitions);
    }
}
