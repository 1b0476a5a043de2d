//! The first start's account: something to send to, something to read with.
//!
//! The secrets exist in clear text only in `demo.env`, and only once that file is written. A crash before leaves entities
//! whose secrets nobody knows: the next start revokes those and makes new ones, for the same account. The file
//! `demo.unfinished` stands from before the first of them until after `demo.env`, so that a folder whose owner removed
//! `demo.env` on purpose never gets demo credentials again.

mod env_file;

use std::path::Path;
use std::sync::Arc;

use millrace_access_api::password;
use millrace_directory::{
    AccountId, Actor, Command, CommandError, Directory, Done, ExposeSecret, Node, Profile, Role, Scopes, SecretSource,
    SecretString,
};

use crate::error::StartError;
use crate::folder::{Folder, remove, write_private};

pub use env_file::Urls;

/// The demo account's id.
const ACCOUNT: &str = "demo";
/// What its key and token are called.
const NAME: &str = "demo";
/// Its administrator.
const USERNAME: &str = "admin";
const EMAIL: &str = "admin@demo.invalid";

/// The demo account's credentials, as they stand in `demo.env`.
pub struct Demo {
    /// The account.
    pub account: String,
    /// An API key whose single scope is `write`.
    pub api_key: SecretString,
    /// A personal access token.
    pub pat: SecretString,
    /// The administrator.
    pub user: String,
    /// The administrator's password.
    pub password: SecretString,
}

/// Makes the demo account at the first start, or finishes it where that start was cut off; at later starts brings the
/// addresses in `demo.env` up to date. Answers with the credentials if this start made them.
///
/// # Errors
/// The folder's files cannot be written, or the directory takes no changes.
pub(crate) async fn prepare(
    folder: &Folder,
    node: &Node,
    secrets: &Arc<dyn SecretSource>,
    bucket: &str,
    urls: &Urls,
) -> Result<Option<Demo>, StartError> {
    let path = folder.demo_env();
    match std::fs::read_to_string(&path) {
        Ok(text) if env_file::is_complete(&text) => {
            refresh(&path, &text, urls)?;
            clear(folder)?;
            return Ok(None);
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(StartError::other(&path, error)),
    }
    let unfinished = folder.demo_unfinished();
    if node.directory().account_count() > 0 && !unfinished.exists() {
        return Ok(None);
    }
    write_private(&unfinished, b"").map_err(|error| StartError::other(&unfinished, error))?;
    let demo = make(node, secrets).await?;
    let text = env_file::text(&[
        &urls.api,
        &urls.s3,
        bucket,
        &demo.account,
        demo.api_key.expose_secret(),
        demo.pat.expose_secret(),
        &demo.user,
        demo.password.expose_secret(),
    ]);
    env_file::write(&path, &text).map_err(|error| StartError::other(&path, error))?;
    clear(folder)?;
    Ok(Some(demo))
}

fn refresh(path: &Path, text: &str, urls: &Urls) -> Result<(), StartError> {
    let refreshed = env_file::with_urls(text, urls);
    if refreshed != text {
        env_file::write(path, &refreshed).map_err(|error| StartError::other(path, error))?;
    }
    Ok(())
}

fn clear(folder: &Folder) -> Result<(), StartError> {
    let unfinished = folder.demo_unfinished();
    remove(&unfinished).map_err(|error| StartError::other(&unfinished, error))
}

async fn make(node: &Node, secrets: &Arc<dyn SecretSource>) -> Result<Demo, StartError> {
    let account = AccountId::parse(ACCOUNT).ok_or_else(|| StartError::Other(format!("{ACCOUNT} is no account id")))?;
    if node.directory().account(&account).is_none() {
        let name = "Demo".to_owned();
        execute(node, Command::CreateAccount { account_id: Some(account.clone()), name }).await?;
    }
    let failed = |error: password::PasswordError| StartError::Other(error.to_string());
    let password = password::generate(secrets.as_ref()).map_err(failed)?;
    let password_hash = password::hash(&password, Arc::clone(secrets)).await.map_err(failed)?;
    let user_id = make_user(node, &account, password_hash).await?;
    for stale in stale_credentials(&node.directory(), &account) {
        execute(node, stale).await?;
    }
    let key = Command::CreateKey {
        account_id: account.clone(),
        name: NAME.to_owned(),
        description: "made at the first start".to_owned(),
        profile: Profile::Platform,
        scopes: Scopes { read: false, write: true },
    };
    let api_key = secret_of(execute(node, key).await?)?;
    let pat = secret_of(execute(node, Command::CreateToken { user_id, name: NAME.to_owned() }).await?)?;
    Ok(Demo { account: account.to_string(), api_key, pat, user: USERNAME.to_owned(), password })
}

async fn make_user(node: &Node, account: &AccountId, password_hash: String) -> Result<String, StartError> {
    if let Some(user) = node.directory().user_named(USERNAME) {
        let user_id = user.id.to_string();
        let password_hash = Some(password_hash);
        execute(node, Command::ChangeUser { user_id: user_id.clone(), role: None, active: None, password_hash })
            .await?;
        return Ok(user_id);
    }
    let user = Command::CreateUser {
        account_id: account.clone(),
        username: USERNAME.to_owned(),
        email: EMAIL.to_owned(),
        role: Role::Admin,
        password_hash,
    };
    Ok(execute(node, user).await?.id)
}

/// Revokes what an unfinished start made: nobody knows its secrets.
fn stale_credentials(directory: &Directory, account: &AccountId) -> Vec<Command> {
    let keys = directory.keys_of(account).filter(|key| key.name == NAME && key.revoked_ms.is_none());
    let tokens = directory.tokens_of(account).filter(|token| token.name == NAME && token.revoked_ms.is_none());
    keys.map(|key| Command::RevokeKey { key_id: key.id.to_string() })
        .chain(tokens.map(|token| Command::RevokeToken { token_id: token.id.to_string() }))
        .collect()
}

async fn execute(node: &Node, command: Command) -> Result<Done, StartError> {
    node.execute(&Actor::local(), command).await.map_err(|error: CommandError| {
        StartError::Other(format!("the demo account could not be made: {error}; the next start finishes it"))
    })
}

fn secret_of(done: Done) -> Result<SecretString, StartError> {
    done.secret.ok_or_else(|| StartError::Other(format!("{} was made without a secret", done.id)))
}
