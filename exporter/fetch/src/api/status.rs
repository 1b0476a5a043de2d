//! `GET /v2/export/status`: up to which instant everything of the caller's account is visible, and which days are closed.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, SecondsFormat};
use http::request::Parts;
use millrace_directory::mint::Grant;
use millrace_directory::scope::Scope;
use millrace_schemas::layout::ExportType;
use serde::Serialize;

use super::error::ApiError;
use super::{caller, fresh_json, only_get};
use crate::{Services, progress};

#[derive(Serialize)]
struct Answer {
    account_id: String,
    /// ISO-8601 UTC; null before anything was published.
    complete_through: Option<String>,
    /// Days that have `_SUCCESS`, by type, oldest first.
    closed: BTreeMap<&'static str, Vec<String>>,
}

pub(super) async fn answer(State(services): State<Services>, parts: Parts) -> Response {
    match status(&services, &parts).await {
        Ok(answer) => fresh_json(&answer),
        Err(error) => error.respond(&parts),
    }
}

async fn status(services: &Services, parts: &Parts) -> Result<Answer, ApiError> {
    only_get(parts)?;
    let principal = caller::authenticate(&services.node, parts).await?;
    let account = principal.account();
    // The same right as fetching: whoever may not read the export learns nothing about it.
    let everything =
        Scope::validate(account.clone(), None, None).map_err(|error| ApiError::Internal(error.to_string()))?;
    Grant::authorise(everything, &principal).map_err(|denied| ApiError::Forbidden(denied.to_string()))?;
    let store = services.store.as_ref();
    let unavailable = |error: progress::ProgressError| ApiError::Unavailable(error.to_string());
    let (log_id, now_ms) = (&services.log_id, services.clock.now_ms());
    let complete_ms =
        progress::complete_through(store, log_id, services.shards, account, now_ms).await.map_err(unavailable)?;
    let mut closed = BTreeMap::new();
    for export in [ExportType::Decisions, ExportType::Events, ExportType::Rejected] {
        let days = progress::closed_days(store, account, export).await.map_err(unavailable)?;
        closed.insert(export.name(), days.iter().map(ToString::to_string).collect());
    }
    let complete = complete_ms.and_then(DateTime::from_timestamp_millis);
    Ok(Answer {
        account_id: account.to_string(),
        complete_through: complete.map(|instant| instant.to_rfc3339_opts(SecondsFormat::Millis, true)),
        closed,
    })
}
