//! Making and revoking personal access tokens.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use millrace_directory::{Command, Directory};
use serde::Deserialize;

use super::{Body, Id, Operations, made};
use crate::authorise::LocalOperator;
use crate::error::ApiError;
use crate::shown::{ShownToken, WithSecret};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// The owner: id, username or e-mail address.
    user: String,
    name: String,
}

impl NewToken {
    fn validate(self, directory: &Directory) -> Result<Command, ApiError> {
        let user = directory.user(&self.user).or_else(|| directory.user_named(&self.user));
        let user_id = user.ok_or(ApiError::NotFound { what: "User" })?.id.to_string();
        Ok(Command::CreateToken { user_id, name: self.name })
    }
}

pub(super) async fn create(
    State(operations): State<Operations>,
    operator: LocalOperator,
    Body(new): Body<NewToken>,
) -> Result<Response, ApiError> {
    let directory = operations.directory().await?;
    let command = operations.validated(&operator, ("token.create", "token"), new.validate(&directory)).await?;
    let done = operations.act(&operator, operator.authorise(command)).await?;
    let token = ShownToken::from(made(done.directory.token(&done.id))?);
    let shown = WithSecret { token: done.secret, ..WithSecret::of(token) };
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

pub(super) async fn revoke(
    State(operations): State<Operations>,
    operator: LocalOperator,
    Id(token_id): Id,
) -> Result<StatusCode, ApiError> {
    operations.end(&operator, Command::RevokeToken { token_id }).await
}
