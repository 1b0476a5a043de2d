//! The columns of the export, written out once more: order, names and types are what data teams' queries rest on.

use millrace_schemas::columns::{AUDIT, Column, DECISIONS, EVENTS, Kind, REJECTED};

fn shown(columns: &[Column]) -> String {
    let one = |column: &Column| match column.kind {
        Kind::Text => column.name.to_owned(),
        Kind::Timestamp => format!("{} TIMESTAMP", column.name),
        Kind::Bool => format!("{} BOOLEAN", column.name),
        Kind::Int => format!("{} INT64", column.name),
        Kind::Double => format!("{} DOUBLE", column.name),
        Kind::Binary => format!("{} BINARY", column.name),
        Kind::List(of) => format!("{} LIST<{}>", column.name, shown(of)),
        Kind::TextMap => format!("{} MAP", column.name),
    };
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn decisions_have_these_columns() {
    assert_eq!(
        shown(DECISIONS),
        "uuid, timestamp TIMESTAMP, process_timestamp TIMESTAMP, visitor_id, session_id, account_id, campaign_id, \
         experiment_id, variation_id, attributes LIST<id, name, type, value>, user_ip, user_agent, referer, \
         is_holdback BOOLEAN, revision, client_engine, client_version"
    );
}

#[test]
fn events_have_these_columns() {
    assert_eq!(
        shown(EVENTS),
        "uuid, timestamp TIMESTAMP, process_timestamp TIMESTAMP, visitor_id, session_id, account_id, \
         experiments LIST<campaign_id, experiment_id, variation_id, is_holdback BOOLEAN>, entity_id, \
         attributes LIST<id, name, type, value>, user_ip, user_agent, referer, event_type, event_name, revenue INT64, \
         value DOUBLE, quantity INT64, tags MAP, revision, client_engine, client_version, properties MAP"
    );
}

#[test]
fn rejected_and_audit_have_these_columns() {
    assert_eq!(
        shown(REJECTED),
        "uuid, process_timestamp TIMESTAMP, account_id, visitor_id, outcome, reason, field, request_id, source, \
         position INT64, original BINARY"
    );
    assert_eq!(
        shown(AUDIT),
        "timestamp TIMESTAMP, account_id, actor_kind, actor_id, action, target_kind, target_id, outcome, source_ip, \
         user_agent, request_id, count INT64, detail"
    );
}
