//! The operator's routes, below `/local`. They are served on the control socket only.
//!
//! | route | does |
//! |---|---|
//! | `POST /local/accounts` `{"id"?, "name"}` | 201 with the account |
//! | `POST /local/users` `{"account_id", "username", "email", "role"?, "password"?}` | 201; `password` if it was made |
//! | `POST /local/keys` `{"account_id", "name", "description"?, "profile"?, "scopes"?}` | 201 with the secret as `key`, once |
//! | `POST /local/tokens` `{"user", "name"}` (id, username or e-mail address) | 201 with the secret as `token`, once |
//! | `GET /local/accounts` | `{"accounts": […], "more": false}` |
//! | `GET /local/users`, `/keys`, `/tokens` `?account=ID` | the same with `users`, `keys`, `tokens` |
//! | `PATCH /local/accounts/{id}` `{"origins"?, "slot_ms"?}` | 200 with the account; `origins` are all there are, `slot_ms` 0 is the plan's choice |
//! | `DELETE /local/accounts/{id}` | 204: closed |
//! | `DELETE /local/users/{id}` | 204: deactivated |
//! | `DELETE /local/keys/{id}`, `/tokens/{id}` | 204: revoked |
//!
//! Errors: `{"detail": …}` with 400 or 422 (mend the request), 404, 409, 413, 415, 503.

mod accounts;
mod keys;
mod lists;
mod tokens;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{delete, post};
use millrace_directory::audit::Auditor;
use millrace_directory::{AccountId, Command, Directory, Done, Node, SecretSource, SystemSecrets};
use serde::de::DeserializeOwned;

use crate::authorise::{Authorised, LocalOperator};
use crate::error::ApiError;
use crate::limits::BODY_BYTES_MAX;

/// What the routes work with.
#[derive(Clone)]
struct Operations {
    node: Arc<Node>,
    auditor: Arc<Auditor>,
    secrets: Arc<dyn SecretSource>,
}

/// The operator's routes. Whoever reaches them may do everything: serve them on a socket only the operator can open.
pub fn local_router(node: Arc<Node>, auditor: Arc<Auditor>) -> Router {
    let operations = Operations { node, auditor, secrets: Arc::new(SystemSecrets) };
    Router::new()
        .route("/local/accounts", post(accounts::create).get(lists::accounts))
        .route("/local/accounts/{id}", delete(accounts::close).patch(accounts::change))
        .route("/local/users", post(users::create).get(lists::users))
        .route("/local/users/{id}", delete(users::deactivate))
        .route("/local/keys", post(keys::create).get(lists::keys))
        .route("/local/keys/{id}", delete(keys::revoke))
        .route("/local/tokens", post(tokens::create).get(lists::tokens))
        .route("/local/tokens/{id}", delete(tokens::revoke))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(operations)
}

impl Operations {
    /// The command of a valid request. One that is not valid is audited here: it never reaches the directory.
    async fn validated<C>(
        &self,
        operator: &LocalOperator,
        (action, kind): (&str, &str),
        command: Result<C, ApiError>,
    ) -> Result<C, ApiError> {
        if let Err(error) = &command {
            let mut entry = operator.actor().entry(action, kind, "", error.outcome());
            entry.detail = error.to_string();
            if let Err(audit) = self.auditor.append(entry).await {
                tracing::error!(error = %audit, "a request that was refused has no audit entry");
            }
        }
        command
    }

    /// Carries out what was authorised.
    async fn act(&self, operator: &LocalOperator, authorised: Authorised) -> Result<Done, ApiError> {
        Ok(self.node.execute(operator.actor(), authorised.into_command()).await?)
    }

    /// Authorises and carries out a command that answers with nothing.
    async fn end(&self, operator: &LocalOperator, command: Command) -> Result<StatusCode, ApiError> {
        self.act(operator, operator.authorise(command)).await?;
        Ok(StatusCode::NO_CONTENT)
    }

    /// The directory with everything that was done before this request.
    async fn directory(&self) -> Result<Arc<Directory>, ApiError> {
        self.node.caught_up().await.map_err(|error| ApiError::Unavailable(error.to_string()))
    }
}

fn account_id(text: &str) -> Result<AccountId, ApiError> {
    AccountId::parse(text).ok_or_else(|| ApiError::Invalid {
        field: "account_id",
        reason: "1 to 64 letters, digits, `_` and `-`".to_owned(),
    })
}

/// A command's own effect, looked up in the directory it answered with.
fn made<T>(found: Option<T>) -> Result<T, ApiError> {
    found.ok_or_else(|| ApiError::Unavailable("what was made is not in the directory".to_owned()))
}

/// The id in a path; what is wrong with one is told as every other error is.
struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(id) = Path::from_request_parts(parts, state).await?;
        Ok(Self(id))
    }
}

/// A JSON body; what is wrong with one is told as every other error is.
struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body: Result<axum::Json<T>, JsonRejection> = axum::Json::from_request(request, state).await;
        Ok(Self(body?.0))
    }
}
