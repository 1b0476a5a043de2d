//! Lists: of one account if named, else of all. Accounts by id, the rest oldest first within its account.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use millrace_directory::{Account, AccountId, Directory};
use serde::{Deserialize, Serialize};

use super::{Operations, account_id};
use crate::error::ApiError;
use crate::limits::LIST_ROWS_MAX;
use crate::shown::{ShownAccount, ShownKey, ShownToken, ShownUser};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    account: Option<String>,
}

type Asked = Result<Query<Which>, QueryRejection>;

pub(super) async fn accounts(State(operations): State<Operations>, asked: Asked) -> Result<Response, ApiError> {
    let directory = operations.directory().await?;
    let accounts = wanted(&directory, asked)?;
    Ok(list("accounts", accounts.into_iter().map(ShownAccount::from)))
}

pub(super) async fn users(State(operations): State<Operations>, asked: Asked) -> Result<Response, ApiError> {
    let directory = operations.directory().await?;
    let accounts = wanted(&directory, asked)?;
    Ok(list("users", accounts.iter().flat_map(|account| directory.users_of(&account.id)).map(ShownUser::from)))
}

pub(super) async fn keys(State(operations): State<Operations>, asked: Asked) -> Result<Response, ApiError> {
    let directory = operations.directory().await?;
    let accounts = wanted(&directory, asked)?;
    Ok(list("keys", accounts.iter().flat_map(|account| directory.keys_of(&account.id)).map(ShownKey::from)))
}

pub(super) async fn tokens(State(operations): State<Operations>, asked: Asked) -> Result<Response, ApiError> {
    let directory = operations.directory().await?;
    let accounts = wanted(&directory, asked)?;
    Ok(list("tokens", accounts.iter().flat_map(|account| directory.tokens_of(&account.id)).map(ShownToken::from)))
}

/// The accounts asked for, by id.
fn wanted(directory: &Directory, asked: Asked) -> Result<Vec<&Account>, ApiError> {
    let Query(which) = asked?;
    if let Some(text) = which.account {
        let id: AccountId = account_id(&text)?;
        return Ok(vec![directory.account(&id).ok_or(ApiError::NotFound { what: "Account" })?]);
    }
    let mut accounts: Vec<&Account> = directory.accounts().collect();
    accounts.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    Ok(accounts)
}

fn list<T: Serialize>(name: &'static str, rows: impl Iterator<Item = T>) -> Response {
    let (rows, more) = bounded(rows);
    Json(serde_json::json!({ name: rows, "more": more })).into_response()
}

/// The rows one answer shows, and whether there are more.
fn bounded<T>(mut rows: impl Iterator<Item = T>) -> (Vec<T>, bool) {
    let shown = rows.by_ref().take(LIST_ROWS_MAX).collect();
    (shown, rows.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_when_it_does_not_show_all() {
        for (rows, shown, more) in [(LIST_ROWS_MAX, LIST_ROWS_MAX, false), (LIST_ROWS_MAX + 1, LIST_ROWS_MAX, true)] {
            let (list, is_cut) = bounded(0..rows);
            assert_eq!((list.len(), is_cut), (shown, more));
        }
    }
}
