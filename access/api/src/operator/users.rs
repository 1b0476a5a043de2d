//! Making and deactivating users.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use millrace_directory::{Command, Role, SecretString};
use serde::Deserialize;

use super::{Body, Id, Operations, account_id, made};
use crate::authorise::LocalOperator;
use crate::error::ApiError;
use crate::password;
use crate::shown::{ShownUser, WithSecret};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    account_id: String,
    username: String,
    email: String,
    /// `viewer` if absent: the least there is.
    role: Option<String>,
    /// Made if absent.
    password: Option<String>,
}

/// The command, and the password if it was made here.
struct Valid {
    command: Command,
    made_password: Option<SecretString>,
}

impl NewUser {
    async fn validate(self, operations: &Operations) -> Result<Valid, ApiError> {
        let account_id = account_id(&self.account_id)?;
        let role = match self.role.as_deref() {
            None => Role::Viewer,
            Some(name) => Role::parse(name).ok_or_else(|| ApiError::Invalid {
                field: "role",
                reason: format!("must be one of {}", Role::ALL.map(Role::name).join(", ")),
            })?,
        };
        let (password, is_made) = match self.password {
            Some(chosen) => (SecretString::from(chosen), false),
            None => (password::generate(operations.secrets.as_ref())?, true),
        };
        let password_hash = password::hash(&password, operations.secrets.clone()).await?;
        let (username, email) = (self.username, self.email);
        let command = Command::CreateUser { account_id, username, email, role, password_hash };
        Ok(Valid { command, made_password: is_made.then_some(password) })
    }
}

pub(super) async fn create(
    State(operations): State<Operations>,
    operator: LocalOperator,
    Body(new): Body<NewUser>,
) -> Result<Response, ApiError> {
    let valid = new.validate(&operations).await;
    let valid = operations.validated(&operator, ("user.create", "user"), valid).await?;
    let done = operations.act(&operator, operator.authorise(valid.command)).await?;
    let user = ShownUser::from(made(done.directory.user(&done.id))?);
    let shown = WithSecret { password: valid.made_password, ..WithSecret::of(user) };
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

pub(super) async fn deactivate(
    State(operations): State<Operations>,
    operator: LocalOperator,
    Id(user_id): Id,
) -> Result<StatusCode, ApiError> {
    let command = Command::ChangeUser { user_id, role: None, active: Some(false), password_hash: None };
    operations.end(&operator, command).await
}
