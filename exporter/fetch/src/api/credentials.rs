//! `GET /v2/export/credentials`: validate, authorise, mint, write down, hand out.

use axum::extract::State;
use axum::response::Response;
use http::request::Parts;
use millrace_directory::mint::{self, CREDENTIAL_ENTROPY_BYTES, Grant, Lifetime, ScopedCredential};
use millrace_directory::scope::Scope;
use millrace_directory::{Actor, ExposeSecret, Principal};
use serde::Serialize;

use super::error::ApiError;
use super::{caller, fresh_json, only_get};
use crate::Services;
use crate::metrics::MINTS;
use crate::query::{Query, QueryError};

/// The answer; field for field what existing clients read.
#[derive(Serialize)]
struct Answer<'a> {
    credentials: Credentials<'a>,
    #[serde(rename = "s3Path")]
    s3_path: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Credentials<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    /// Milliseconds since 1970.
    expiration: i64,
}

pub(super) async fn answer(State(services): State<Services>, parts: Parts) -> Response {
    match minted(&services, &parts).await {
        Ok(credential) => {
            metrics::counter!(MINTS, "outcome" => "ok").increment(1);
            fresh_json(&Answer {
                credentials: Credentials {
                    access_key_id: &credential.access_key_id,
                    secret_access_key: credential.secret_access_key.expose_secret(),
                    session_token: credential.session_token.expose_secret(),
                    expiration: credential.expiration_ms,
                },
                s3_path: format!("s3://{}/{}", services.config.bucket, credential.scope.prefix()),
            })
        }
        Err(error) => {
            metrics::counter!(MINTS, "outcome" => error.code()).increment(1);
            error.respond(&parts)
        }
    }
}

async fn minted(services: &Services, parts: &Parts) -> Result<ScopedCredential, ApiError> {
    only_get(parts)?;
    let principal = caller::authenticate(&services.node, parts).await?;
    let (scope, lifetime) = asked(parts, &principal)?;
    let actor = caller::actor(&principal, parts);
    // Whoever was revoked lately must not get credentials from a node that has not heard.
    services.node.fresh().map_err(ApiError::Unavailable)?;
    let prefix = scope.prefix();
    let grant = match Grant::authorise(scope, &principal) {
        Ok(grant) => grant,
        Err(denied) => {
            write_down(services, &actor, &principal, &prefix, "denied", denied.to_string()).await?;
            return Err(ApiError::Forbidden(denied.to_string()));
        }
    };
    let mut entropy = [0; CREDENTIAL_ENTROPY_BYTES];
    services.secrets.fill(&mut entropy).map_err(ApiError::Internal)?;
    let credential = mint::mint(grant, &services.keys, services.clock.now_ms(), lifetime, entropy)
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    let days = credential.scope.days().map(|days| format!(" date={days}")).unwrap_or_default();
    let detail = format!("access_key_id={} expires_ms={}{days}", credential.access_key_id, credential.expiration_ms);
    write_down(services, &actor, &principal, &prefix, "ok", detail).await?;
    Ok(credential)
}

/// The scope and the lifetime the query asks for, or everything that is wrong with it.
fn asked(parts: &Parts, principal: &Principal) -> Result<(Scope, Lifetime), ApiError> {
    let query = Query::parse(parts.uri.query().unwrap_or_default()).map_err(|error| {
        ApiError::BadRequest(vec![match error {
            QueryError::Twice(name) => format!("{name} stands twice"),
            QueryError::Encoding => "the query is not UTF-8".to_owned(),
        }])
    })?;
    let lifetime = query.get("duration").map_or(Ok(Lifetime::MAX), Lifetime::parse);
    let scope = Scope::validate(principal.account().clone(), query.get("type"), query.get("date"));
    match (scope, lifetime) {
        (Ok(scope), Ok(lifetime)) => Ok((scope, lifetime)),
        (scope, lifetime) => {
            let wrong = [lifetime.err().map(|error| error.to_string()), scope.err().map(|error| error.to_string())];
            Err(ApiError::BadRequest(wrong.into_iter().flatten().collect()))
        }
    }
}

/// Returns once the audit trail has it for good; else nothing is handed out.
async fn write_down(
    services: &Services,
    actor: &Actor,
    principal: &Principal,
    prefix: &str,
    outcome: &str,
    detail: String,
) -> Result<(), ApiError> {
    let mut entry = actor.entry("export.credentials", "prefix", prefix, outcome);
    entry.account_id = principal.account().as_str().to_owned();
    entry.detail = detail;
    let written = services.auditor.append(entry).await;
    written.map_err(|error| ApiError::Unavailable(format!("the audit trail: {error}")))
}
