//! Whatever two nodes do at the same time, in whatever order: the rules hold, and everybody sees the same.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::HashSet;

use millrace_directory::{Command, CommandError, Directory, Profile, Role};
use proptest::prelude::*;
use support::memory_log::Late;
use support::*;

/// A command by small numbers, so that random ones meet.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Account(u8),
    Close(u8),
    User {
        account: u8,
        name: u8,
        admin: bool,
    },
    /// Changes the n-th user there is.
    ChangeUser {
        user: usize,
        admin: Option<bool>,
        active: Option<bool>,
    },
    Key(u8),
    RevokeKey(usize),
    Token(usize),
    RevokeToken(usize),
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Node 0 or 1 carries out a wish.
    Do(usize, Wish),
    /// Node 0 or 1 hears of everything there is.
    Look(usize),
}

fn wish() -> impl Strategy<Value = Wish> {
    let flag = proptest::option::of(any::<bool>());
    prop_oneof![
        2 => (0..3u8).prop_map(Wish::Account),
        1 => (0..3u8).prop_map(Wish::Close),
        6 => (0..3u8, 0..4u8, any::<bool>()).prop_map(|(account, name, admin)| Wish::User { account, name, admin }),
        6 => (0..6usize, flag.clone(), flag).prop_map(|(user, admin, active)| Wish::ChangeUser { user, admin, active }),
        2 => (0..3u8).prop_map(Wish::Key),
        2 => (0..4usize).prop_map(Wish::RevokeKey),
        2 => (0..6usize).prop_map(Wish::Token),
        2 => (0..4usize).prop_map(Wish::RevokeToken),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2usize, wish()).prop_map(|(node, wish)| Step::Do(node, wish)),
        1 => (0..2usize).prop_map(Step::Look),
    ];
    proptest::collection::vec(step, 1..60)
}

fn role(admin: bool) -> Role {
    if admin { Role::Admin } else { Role::Viewer }
}

/// The wish as a command; what it names by number is taken from what has been made so far.
fn command(wish: Wish, made: &Made) -> Option<Command> {
    let pick = |ids: &Vec<String>, number: usize| (!ids.is_empty()).then(|| ids[number % ids.len()].clone());
    Some(match wish {
        Wish::Account(account) => create_account(&account.to_string()),
        Wish::Close(account) => Command::CloseAccount { account_id: account_id(&account.to_string()) },
        Wish::User { account, name, admin } => create_user(&account.to_string(), &format!("user{name}"), role(admin)),
        Wish::ChangeUser { user, admin, active } => change_user(&pick(&made.users, user)?, admin.map(role), active),
        Wish::Key(account) => create_key(&account.to_string(), Profile::Platform),
        Wish::RevokeKey(key) => Command::RevokeKey { key_id: pick(&made.keys, key)? },
        Wish::Token(user) => create_token(&pick(&made.users, user)?),
        Wish::RevokeToken(token) => Command::RevokeToken { token_id: pick(&made.tokens, token)? },
    })
}

#[derive(Default)]
struct Made {
    users: Vec<String>,
    keys: Vec<String>,
    tokens: Vec<String>,
    had_admin: HashSet<String>,
}

impl Made {
    fn note(&mut self, wish: Wish, id: String) {
        match wish {
            Wish::User { account, admin, .. } => {
                self.users.push(id);
                if admin {
                    self.had_admin.insert(account.to_string());
                }
            }
            Wish::Key(_) => self.keys.push(id),
            Wish::Token(_) => self.tokens.push(id),
            _ => {}
        }
    }
}

fn check_rules(directory: &Directory, made: &Made) {
    let mut names = HashSet::new();
    for account in directory.accounts() {
        for user in directory.users_of(&account.id) {
            assert!(names.insert(user.username.clone()), "two users are called {}", user.username);
            assert!(names.insert(user.email.clone()), "two users have the address {}", user.email);
        }
    }
    for account in &made.had_admin {
        let mut users = directory.users_of(&account_id(account));
        assert!(users.any(|user| user.active && user.role == Role::Admin), "account {account} lost its last ADMIN");
    }
    for id in &made.users {
        assert!(directory.user(id).is_some(), "a user that was reported as made is there");
    }
}

async fn play(steps: Vec<Step>) {
    let world = World::new();
    let views = [Late::new(&world.log), Late::new(&world.log)];
    let nodes = [world.node_on(views[0].clone()).await, world.node_on(views[1].clone()).await];
    let mut made = Made::default();
    for step in steps {
        match step {
            Step::Look(node) => views[node].look(),
            Step::Do(node, wish) => {
                let Some(command) = command(wish, &made) else { continue };
                match execute(&nodes[node], command).await {
                    Ok(done) => made.note(wish, done.id),
                    Err(
                        CommandError::Conflict { .. } | CommandError::NotFound { .. } | CommandError::Invalid { .. },
                    ) => {}
                    Err(other) => panic!("{wish:?}: {other}"),
                }
            }
        }
    }
    views.iter().for_each(|view| view.look());
    let [first, second] = [nodes[0].caught_up().await.unwrap(), nodes[1].caught_up().await.unwrap()];
    check_rules(&first, &made);
    assert!(*first == *second, "two nodes that folded the same facts agree");
    let replayed = world.node().await.directory();
    assert!(*first == *replayed, "a replay gives the same directory");
    world.stop.cancel();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_nodes_keep_the_rules_and_agree(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(play(steps));
    }
}
