//! Random scripts: what happens to a partition, record by record.

use millrace_eventlog::Record;
use millrace_schemas::raw::{AttributionRule, Settings, raw};
use proptest::prelude::*;

use super::*;

/// One thing that happens, before it has an offset.
#[derive(Debug, Clone)]
pub struct Happening {
    /// Log time that passes before it.
    pub after_ms: i64,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    /// Which of the visitor's events; timestamp relative to log time; experiment and variation.
    Decision {
        visitor: u8,
        uuid: u8,
        skew_ms: i64,
        experiment: u8,
        variation: u8,
    },
    Conversion {
        visitor: u8,
        uuid: u8,
        skew_ms: i64,
        own: Option<(u8, u8)>,
        enrich: bool,
    },
    Reject {
        visitor: u8,
        original: u8,
    },
    Tick,
    Settings {
        grace_ms: i64,
        first: bool,
    },
    Garbage,
}

fn skew() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), -3 * MINUTE..MINUTE, -2 * DAY..2 * DAY]
}

fn what() -> impl Strategy<Value = What> {
    let decision =
        (0..5u8, 0..40u8, skew(), 0..4u8, 0..3u8).prop_map(|(visitor, uuid, skew_ms, experiment, variation)| {
            What::Decision { visitor, uuid, skew_ms, experiment, variation }
        });
    let own = proptest::option::weighted(0.2, (0..4u8, 0..3u8));
    let conversion = (0..5u8, 0..40u8, skew(), own, proptest::bool::weighted(0.9))
        .prop_map(|(visitor, uuid, skew_ms, own, enrich)| What::Conversion { visitor, uuid, skew_ms, own, enrich });
    let reject = (0..5u8, 0..3u8).prop_map(|(visitor, original)| What::Reject { visitor, original });
    let settings = (prop_oneof![Just(2 * SECOND), Just(10 * SECOND), Just(MINUTE)], any::<bool>())
        .prop_map(|(grace_ms, first)| What::Settings { grace_ms, first });
    prop_oneof![
        8 => decision,
        8 => conversion,
        1 => reject,
        2 => Just(What::Tick),
        1 => settings,
        1 => Just(What::Garbage),
    ]
}

/// What happens to one partition. Now and then much time passes.
pub fn script() -> impl Strategy<Value = Vec<Happening>> {
    let after = prop_oneof![4 => Just(0), 8 => 0..5 * SECOND, 2 => 0..HOUR, 1 => 0..8 * DAY];
    let happening = (after, what()).prop_map(|(after_ms, what)| Happening { after_ms, what });
    proptest::collection::vec(happening, 1..120)
}

/// The records of a script: settings first, offsets with gaps.
pub fn records(script: &[Happening]) -> Vec<Record> {
    let mut at = T0;
    let few = Settings {
        events_per_visitor_minute_max: 12,
        assignments_per_visitor_max: 3,
        attribution_window_ms: 2 * MINUTE,
        ..settings()
    };
    let mut version = few.version;
    let mut records = vec![record(0, at, raw::Body::Settings(few))];
    for (place, happening) in (1..).zip(script) {
        at += happening.after_ms;
        let offset = place * 3 + place % 3;
        let body = match &happening.what {
            What::Decision { visitor, uuid, skew_ms, experiment, variation } => {
                let (visitor, uuid) = (format!("v{visitor}"), format!("u{uuid}"));
                let event = decides(&visitor, &uuid, at + skew_ms, &format!("e{experiment}"), &format!("x{variation}"));
                raw::Body::Event(event)
            }
            What::Conversion { visitor, uuid, skew_ms, own, enrich } => {
                let own = own.iter().map(|(e, x)| decision(&format!("e{e}"), &format!("x{x}"))).collect();
                let mut event = converts_with(&format!("v{visitor}"), &format!("u{uuid}"), at + skew_ms, own);
                event.enrich_decisions = *enrich;
                raw::Body::Event(event)
            }
            What::Reject { visitor, original } => {
                raw::Body::Reject(reject(&format!("v{visitor}"), [&b"a"[..], b"b", b"c"][usize::from(*original)], 0))
            }
            What::Tick => tick(),
            What::Settings { grace_ms, first } => {
                version += 1;
                let rule = if *first { AttributionRule::First } else { AttributionRule::Last };
                let changed =
                    Settings { version, attribution_grace_ms: *grace_ms, attribution_rule: rule.into(), ..few };
                raw::Body::Settings(changed)
            }
            What::Garbage => {
                let garbage = Record { value: Bytes::from_static(b"\xff"), ..record(offset, at, tick()) };
                records.push(garbage);
                continue;
            }
        };
        records.push(record(offset, at, body));
    }
    records
}
