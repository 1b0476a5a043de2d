//! Making and revoking API keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use millrace_directory::{Command, Profile, Scopes};
use serde::Deserialize;

use super::{Body, Id, Operations, account_id, made};
use crate::authorise::LocalOperator;
use crate::error::ApiError;
use crate::shown::{ShownKey, WithSecret};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    account_id: String,
    name: String,
    #[serde(default)]
    description: String,
    /// `platform` if absent.
    profile: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
}

impl NewKey {
    fn validate(self) -> Result<Command, ApiError> {
        let account_id = account_id(&self.account_id)?;
        let profile = match self.profile.as_deref() {
            None => Profile::Platform,
            Some(name) => Profile::parse(name).ok_or_else(|| ApiError::Invalid {
                field: "profile",
                reason: format!("must be one of {}", Profile::ALL.map(Profile::name).join(", ")),
            })?,
        };
        let scopes = Scopes::parse(&self.scopes).map_err(|unknown| ApiError::Invalid {
            field: "scopes",
            reason: format!("`{unknown}` is not one of {}", Scopes::ALL.names().join(", ")),
        })?;
        let (name, description) = (self.name, self.description);
        Ok(Command::CreateKey { account_id, name, description, profile, scopes })
    }
}

pub(super) async fn create(
    State(operations): State<Operations>,
    operator: LocalOperator,
    Body(new): Body<NewKey>,
) -> Result<Response, ApiError> {
    let command = operations.validated(&operator, ("key.create", "key"), new.validate()).await?;
    let done = operations.act(&operator, operator.authorise(command)).await?;
    let key = ShownKey::from(made(done.directory.key(&done.id))?);
    let shown = WithSecret { key: done.secret, ..WithSecret::of(key) };
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

pub(super) async fn revoke(
    State(operations): State<Operations>,
    operator: LocalOperator,
    Id(key_id): Id,
) -> Result<StatusCode, ApiError> {
    operations.end(&operator, Command::RevokeKey { key_id }).await
}
