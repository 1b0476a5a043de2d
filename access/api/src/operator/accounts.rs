//! Making, changing and closing accounts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use millrace_directory::{AccountId, Command};
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

/// What is to be changed; what is not named stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedAccount {
    /// All origins browsers may send from.
    origins: Option<Vec<String>>,
    /// 0: the day's plan decides.
    slot_ms: Option<i64>,
}

pub(super) async fn change(
    State(operations): State<Operations>,
    operator: LocalOperator,
    Id(id): Id,
    Body(changed): Body<ChangedAccount>,
) -> Result<Response, ApiError> {
    let account_id = existing(&id)?;
    let ChangedAccount { origins, slot_ms } = changed;
    let command = Command::ChangeAccount { account_id: account_id.clone(), slot_ms, origins };
    let done = operations.act(&operator, operator.authorise(command)).await?;
    let account = made(done.directory.account(&account_id))?;
    Ok(Json(ShownAccount::from(account)).into_response())
}

pub(super) async fn close(
    State(operations): State<Operations>,
    operator: LocalOperator,
    Id(id): Id,
) -> Result<StatusCode, ApiError> {
    operations.end(&operator, Command::CloseAccount { account_id: existing(&id)? }).await
}

/// What is no account id is the id of no account.
fn existing(id: &str) -> Result<AccountId, ApiError> {
    account_id(id).map_err(|_| ApiError::NotFound { what: "Account" })
}
