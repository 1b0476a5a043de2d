//! How many an account and a user may have: too many to make one by one through a node.

use millrace_eventlog::Record;
use millrace_schemas::codec::Versioned;

use super::*;
use crate::SystemSecrets;
use crate::fold::{Fold, Verdict};

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA";

/// Plans and folds a command, as a node alone on its log would.
fn carry_out(fold: &mut Fold, command: &Command) -> Result<String, CommandError> {
    let subject = Subject::of(command, &SystemSecrets).unwrap();
    let mut plan = plan(command, &subject, &fold.directory)?;
    plan.fact.id = crate::subject::unique_id(&SystemSecrets).unwrap();
    let record = Record {
        offset: fold.directory.position,
        append_time_ms: 0,
        version: Fact::VERSION,
        key: bytes::Bytes::new(),
        value: plan.fact.to_bytes(),
    };
    assert_eq!(fold.record(record).unwrap().verdict, Verdict::Applied);
    Ok(subject.into_parts().0)
}

fn account() -> AccountId {
    AccountId::parse("1").unwrap()
}

fn with_account() -> Fold {
    let mut fold = Fold::default();
    carry_out(&mut fold, &Command::CreateAccount { account_id: Some(account()), name: "Shop".into() }).unwrap();
    fold
}

fn user(number: usize) -> Command {
    Command::CreateUser {
        account_id: account(),
        username: format!("user{number}"),
        email: format!("user{number}@example.com"),
        role: Role::Viewer,
        password_hash: HASH.into(),
    }
}

fn key() -> Command {
    Command::CreateKey {
        account_id: account(),
        name: "web".into(),
        description: String::new(),
        profile: Profile::Platform,
        scopes: Scopes::ALL,
    }
}

#[test]
fn an_account_has_a_bounded_number_of_users() {
    let mut fold = with_account();
    for number in 0..USERS_PER_ACCOUNT_MAX {
        carry_out(&mut fold, &user(number)).unwrap();
    }
    let refused = carry_out(&mut fold, &user(USERS_PER_ACCOUNT_MAX)).unwrap_err();
    assert!(matches!(refused, CommandError::Conflict { .. }));
}

#[test]
fn an_account_has_a_bounded_number_of_keys_and_a_revoked_one_does_not_count() {
    let mut fold = with_account();
    let mut last = String::new();
    for _ in 0..KEYS_PER_ACCOUNT_MAX {
        last = carry_out(&mut fold, &key()).unwrap();
    }
    assert!(matches!(carry_out(&mut fold, &key()), Err(CommandError::Conflict { .. })));
    carry_out(&mut fold, &Command::RevokeKey { key_id: last }).unwrap();
    carry_out(&mut fold, &key()).unwrap();
}

#[test]
fn what_a_plan_writes_it_relies_on_at_the_present_version() {
    let mut fold = with_account();
    let user_id = carry_out(&mut fold, &user(1)).unwrap();
    let key_id = carry_out(&mut fold, &key()).unwrap();
    let token = Command::CreateToken { user_id: user_id.clone(), name: "laptop".into() };
    let token_id = carry_out(&mut fold, &token).unwrap();
    let commands = [
        Command::CloseAccount { account_id: account() },
        Command::ChangeAccount { account_id: account(), slot_ms: Some(0), origins: None },
        user(2),
        Command::ChangeUser { user_id, role: Some(Role::Admin), active: None, password_hash: None },
        key(),
        Command::RevokeKey { key_id },
        token,
        Command::RevokeToken { token_id },
    ];
    for command in commands {
        let subject = Subject::of(&command, &SystemSecrets).unwrap();
        let fact = plan(&command, &subject, &fold.directory).unwrap().fact;
        assert!(!fact.writes.is_empty());
        for entity in &fact.writes {
            assert!(fact.relied.iter().any(|relied| relied.entity == *entity), "{entity}");
        }
        for relied in &fact.relied {
            assert_eq!(relied.version, fold.directory.version(&relied.entity), "{}", relied.entity);
        }
        let makes_secret = matches!(command, Command::CreateKey { .. } | Command::CreateToken { .. });
        assert_eq!(subject.into_parts().1.is_some(), makes_secret);
    }
}
