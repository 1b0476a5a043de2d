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
/// addresses and the bucket in `demo.env` up to date. Answers with the credentials if this start made them.
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
            refresh(&path, &text, urls, bucket)?;
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

fn refresh(path: &Path, text: &str, urls: &Urls, bucket: &str) -> Result<(), StartError> {
    let refreshed = env_file::with_places(text, urls, bucket);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use millrace_clock::{SharedClock, SystemClock};
    use millrace_directory::{Presented, Principal, SystemSecrets};
    use millrace_eventlog::embedded::EmbeddedLog;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::LogOptions;
    use crate::ground::{close_log, open_log};

    struct Rig {
        _home: tempfile::TempDir,
        folder: Folder,
        log: Arc<EmbeddedLog>,
        node: Arc<Node>,
        stop: CancellationToken,
    }

    impl Rig {
        async fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let folder = Folder::at(home.path().join("data"));
            let clock: SharedClock = SystemClock::shared();
            let log = open_log(&folder, &LogOptions::default(), &clock).await.unwrap();
            let stop = CancellationToken::new();
            let node = Node::start(log.clone(), clock, stop.clone()).await.unwrap();
            Self { _home: home, folder, log, node, stop }
        }

        async fn prepare(&self, port: u16) -> Option<Demo> {
            let urls = Urls::of(([127, 0, 0, 1], port).into(), ([127, 0, 0, 1], port + 1).into());
            let secrets: Arc<dyn SecretSource> = Arc::new(SystemSecrets);
            prepare(&self.folder, &self.node, &secrets, "bucket", &urls).await.unwrap()
        }

        fn env(&self) -> BTreeMap<String, String> {
            let text = std::fs::read_to_string(self.folder.demo_env()).unwrap();
            let pair = |line: &str| {
                let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
                (name.to_owned(), value.trim_matches('\'').to_owned())
            };
            text.lines().map(pair).collect()
        }

        /// One account, one working key and token, and they are the file's.
        async fn assert_whole(&self) {
            let (env, directory) = (self.env(), self.node.directory());
            assert_eq!(directory.account_count(), 1);
            let account = AccountId::parse(&env["MILLRACE_ACCOUNT"]).unwrap();
            assert_eq!(directory.keys_of(&account).filter(|key| key.revoked_ms.is_none()).count(), 1);
            assert_eq!(directory.tokens_of(&account).filter(|token| token.revoked_ms.is_none()).count(), 1);
            let key = self.node.authenticate(&Presented::parse(&env["MILLRACE_API_KEY"])).await.unwrap();
            assert!(matches!(key, Principal::ApiKey { scopes, .. } if scopes.is_write_only()));
            let pat = self.node.authenticate(&Presented::parse(&env["MILLRACE_PAT"])).await.unwrap();
            assert!(matches!(pat, Principal::Pat { role: Role::Admin, .. }));
            let user = directory.user_named(&env["MILLRACE_USER"]).unwrap();
            let password = env["MILLRACE_PASSWORD"].clone().into();
            assert!(password::verify(&password, &user.password_hash).await.unwrap());
            assert!(!self.folder.demo_unfinished().exists());
        }

        async fn close(self) {
            self.stop.cancel();
            self.node.finished().await;
            close_log(self.log).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_first_start_makes_it_and_later_ones_only_bring_the_addresses_up_to_date() {
        let rig = Rig::new().await;
        assert!(rig.prepare(7_000).await.is_some());
        rig.assert_whole().await;
        let first = rig.env();
        assert!(rig.prepare(8_000).await.is_none());
        rig.assert_whole().await;
        let mut expected = first;
        expected.insert("MILLRACE_API".into(), "http://127.0.0.1:8000".into());
        expected.insert("MILLRACE_S3".into(), "http://127.0.0.1:8001".into());
        assert_eq!(rig.env(), expected);
        rig.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_first_start_cut_off_anywhere_is_finished_by_the_next() {
        let rig = Rig::new().await;
        // Cut off before the first change of the directory.
        write_private(&rig.folder.demo_unfinished(), b"").unwrap();
        assert!(rig.prepare(7_000).await.is_some());
        rig.assert_whole().await;
        // Cut off when all was made, before the file was written: nobody knows those secrets.
        let lost = rig.env();
        std::fs::remove_file(rig.folder.demo_env()).unwrap();
        write_private(&rig.folder.demo_unfinished(), b"").unwrap();
        assert!(rig.prepare(7_000).await.is_some());
        rig.assert_whole().await;
        let lost = rig.node.authenticate(&Presented::parse(&lost["MILLRACE_API_KEY"])).await;
        assert!(lost.is_err(), "what nobody knows is revoked");
        // Cut off when the file was written.
        write_private(&rig.folder.demo_unfinished(), b"").unwrap();
        assert!(rig.prepare(7_000).await.is_none());
        rig.assert_whole().await;
        rig.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_whose_owner_removed_the_file_gets_no_second_one() {
        let rig = Rig::new().await;
        assert!(rig.prepare(7_000).await.is_some());
        std::fs::remove_file(rig.folder.demo_env()).unwrap();
        assert!(rig.prepare(7_000).await.is_none());
        assert!(!rig.folder.demo_env().exists());
        rig.close().await;
    }
}
