//! Making and closing accounts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use millrace_directory::Command;
use serde::Deserialize;

use super::{Body, Id, Operations, account_id, made};
use crate::authorise::LocalOperator;
use crate::error::ApiError;
use crate::shown::ShownAccount;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    id: Option<String>,
    name: String,
}

impl NewAccount {
    fn validate(self) -> Result<Command, ApiError> {
        let account_id = self.id.as_deref().map(account_id).transpose()?;
        Ok(Command::CreateAccount { account_id, name: self.name })
    }
}

pub(super) async fn create(
    State(operations): State<Operations>,
    operator: LocalOperator,
    Body(new): Body<NewAccount>,
) -> Result<Response, ApiError> {
    let command = operations.validated(&operator, ("account.create", "account"), new.validate()).await?;
    let done = operations.act(&operator, operator.authorise(command)).await?;
    let account = made(done.directory.account(&account_id(&done.id)?))?;
    Ok((StatusCode::CREATED, Json(ShownAccount::from(account))).into_response())
}

pub(super) async fn close(
    State(operations): State<Operations>,
    operator: LocalOperator,
    Id(id): Id,
) -> Result<StatusCode, ApiError> {
    // What is no account id is the id of no account.
    let account_id = account_id(&id).map_err(|_| ApiError::NotFound { what: "Account" })?;
    operations.end(&operator, Command::CloseAccount { account_id }).await
}
