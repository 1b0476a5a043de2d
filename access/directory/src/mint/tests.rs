use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use millrace_schemas::layout::AccountId;
use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::limits::{CLOCK_SKEW_MS_MAX, SERVER_KEYS_MAX, SESSION_TOKEN_BYTES_MAX};
use crate::{Principal, Profile, Role, Scopes};

const NOW: i64 = 1_591_022_807_394;
const HOUR: i64 = 3_600_000;

/// Bytes that differ from each other, as random ones would.
fn entropy<const N: usize>(seed: u8) -> [u8; N] {
    std::array::from_fn(|at| (at as u8).wrapping_mul(37) ^ seed)
}

fn keys(seed: u8) -> ServerKeys {
    ServerKeys::generate(entropy(seed)).unwrap()
}

fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

fn person(role: Role) -> Principal {
    Principal::Pat { token_id: "t".into(), user_id: "u".into(), account: account("12"), role }
}

fn key(profile: Profile, scopes: Scopes) -> Principal {
    Principal::ApiKey { key_id: "k".into(), account: account("12"), profile, scopes }
}

fn scope(export: Option<&str>, date: Option<&str>) -> Scope {
    Scope::validate(account("12"), export, date).unwrap()
}

fn minted(keys: &ServerKeys, scope: Scope, seed: u8) -> ScopedCredential {
    let grant = Grant::authorise(scope, &person(Role::Analyst)).unwrap();
    mint(grant, keys, NOW, Lifetime::MAX, entropy(seed)).unwrap()
}

fn verified(credential: &ScopedCredential, keys: &ServerKeys, now_ms: i64) -> Result<Verified, TokenError> {
    verify(credential.session_token.expose_secret(), &credential.access_key_id, keys, now_ms)
}

fn secret(keys: &ServerKeys, credential: &ScopedCredential, now_ms: i64) -> Option<String> {
    secret_of(&credential.access_key_id, keys, now_ms).map(|secret| secret.expose_secret().to_owned())
}

#[test]
fn a_credential_opens_its_scope_until_its_end_and_no_longer() {
    let keys = keys(1);
    for scope in
        [scope(None, None), scope(Some("events"), None), scope(Some("rejected"), Some("2026-01-01..2026-01-09"))]
    {
        let credential = minted(&keys, scope.clone(), 7);
        assert_eq!(credential.expiration_ms, (NOW + HOUR) / 1_000 * 1_000);
        let answer = verified(&credential, &keys, credential.expiration_ms - 1).unwrap();
        assert_eq!((answer.scope, answer.expiration_ms), (scope, credential.expiration_ms));
        assert_eq!(verified(&credential, &keys, credential.expiration_ms), Err(TokenError::Expired));
        let earliest_ms = credential.expiration_ms - HOUR - CLOCK_SKEW_MS_MAX;
        assert!(verified(&credential, &keys, earliest_ms).is_ok(), "clocks differ");
        assert_eq!(
            verified(&credential, &keys, earliest_ms - 1),
            Err(TokenError::Invalid),
            "it would outlive its hour"
        );
        assert_eq!(secret(&keys, &credential, NOW).as_deref(), Some(credential.secret_access_key.expose_secret()));
    }
}

#[test]
fn a_token_belongs_to_its_access_key_id() {
    let keys = keys(1);
    let wide = minted(&keys, scope(None, None), 7);
    let narrow = minted(&keys, scope(Some("events"), None), 9);
    let mixed = verify(wide.session_token.expose_secret(), &narrow.access_key_id, &keys, NOW);
    assert_eq!(mixed, Err(TokenError::Invalid));
}

#[test]
fn the_secret_stands_in_no_token_and_in_no_debug_text() {
    use base64::Engine;
    let keys = keys(1);
    let credential = minted(&keys, scope(None, None), 7);
    let secret = credential.secret_access_key.expose_secret();
    let token = credential.session_token.expose_secret();
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    assert!(!String::from_utf8(claims).unwrap().contains(secret));
    let shown = format!("{credential:?} {keys:?}");
    assert!(!shown.contains(secret) && !shown.contains(token), "{shown}");
    let stored = keys.to_secret_text();
    for word in stored.expose_secret().split_whitespace().filter(|word| word.len() == 64) {
        assert!(!shown.contains(word) && !token.contains(word) && secret != word);
    }
}

proptest! {
    #[test]
    fn an_altered_token_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
        let keys = keys(1);
        let credential = minted(&keys, scope(None, None), 7);
        let mut token = credential.session_token.expose_secret().to_owned();
        let at = at.index(token.len());
        prop_assume!(token[at..=at] != to);
        token.replace_range(at..=at, &to);
        // The last character of a base64 text carries spare bits: either refused or the very same token.
        let answer = verify(&token, &credential.access_key_id, &keys, NOW);
        prop_assert!(answer == Err(TokenError::Invalid), "{answer:?} for a change at {at}");
    }

    #[test]
    fn any_text_is_refused_without_a_panic(token in "\\PC{0,200}", id in "\\PC{0,40}") {
        prop_assert_eq!(verify(&token, &id, &keys(1), NOW), Err(TokenError::Invalid));
        prop_assert!(secret_of(&id, &keys(1), NOW).is_none());
        prop_assert!(!keys(1).is_tag(&token, "p", b"x", NOW));
    }
}

#[test]
fn another_algorithm_issuer_audience_or_key_is_refused() {
    let keys = keys(1);
    let credential = minted(&keys, scope(None, None), 7);
    let id = &credential.access_key_id;
    let claims = |iss: &str, aud: &str| serde_json::json!({"iss": iss, "aud": aud, "iat": NOW / 1000, "exp": NOW / 1000 + 60, "jti": "x", "key": id, "account": "12"});
    let signing = keys.signing().token_key();
    let signed = |algorithm, claims: &serde_json::Value, secret: &[u8]| {
        let header = Header { kid: Some(keys.signing().id().to_owned()), ..Header::new(algorithm) };
        encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let good = claims("millrace", "millrace-gateway");
    let right = signed(Algorithm::HS256, &good, signing.expose_secret());
    assert!(verify(&right, id, &keys, NOW).is_ok(), "the test's own token is good");
    for (algorithm, claims, secret) in [
        (Algorithm::HS512, good.clone(), &signing.expose_secret()[..]),
        (Algorithm::HS256, claims("somebody", "millrace-gateway"), signing.expose_secret()),
        (Algorithm::HS256, claims("millrace", "millrace-api"), signing.expose_secret()),
        (Algorithm::HS256, good.clone(), b"another secret another secret an"),
    ] {
        assert_eq!(verify(&signed(algorithm, &claims, secret), id, &keys, NOW), Err(TokenError::Invalid));
    }
    let mut endless = good.clone();
    endless.as_object_mut().unwrap().remove("exp");
    let endless = signed(Algorithm::HS256, &endless, signing.expose_secret());
    assert_eq!(verify(&endless, id, &keys, NOW), Err(TokenError::Invalid));
    let parts: Vec<&str> = right.split('.').collect();
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    assert_eq!(verify(&none, id, &keys, NOW), Err(TokenError::Invalid));
}

#[test]
fn keys_rotate_with_an_overlap() {
    let first = keys(1);
    let credential = minted(&first, scope(None, None), 7);
    let rotated = first.announce(entropy(99)).unwrap().rotate(NOW, NOW).unwrap();
    let rotated = ServerKeys::parse(rotated.to_secret_text().expose_secret()).unwrap();
    assert!(verified(&credential, &rotated, NOW + 1).is_ok());
    assert!(secret(&rotated, &credential, NOW + 1).is_some());
    assert_ne!(minted(&rotated, scope(None, None), 7).access_key_id, credential.access_key_id);
    let over = NOW + HOUR;
    assert_eq!(verified(&credential, &rotated, over), Err(TokenError::Invalid));
    assert!(secret(&rotated, &credential, over).is_none(), "a key that leaked opens nothing once it is over");
    let twice = rotated.announce(entropy(50)).unwrap().rotate(over, over).unwrap();
    let lines = twice.to_secret_text().expose_secret().lines().count();
    assert_eq!(lines, 1 + 2, "the first key is dropped: {lines}");
}

#[test]
fn a_key_signs_only_once_every_server_may_know_it() {
    let file = |keys: ServerKeys| ServerKeys::parse(keys.to_secret_text().expose_secret()).unwrap();
    assert_eq!(keys(1).rotate(NOW, NOW).map(|_| ()), Err(KeysError::NotAnnounced));
    let announced = || file(keys(1).announce(entropy(99)).unwrap());
    assert_eq!(announced().announce(entropy(50)).map(|_| ()), Err(KeysError::Announced));
    let rotated = file(announced().rotate(NOW, NOW + HOUR).unwrap());
    // While servers are restarted one by one, each takes what any other makes.
    let (before, after) = (minted(&announced(), scope(None, None), 7), minted(&rotated, scope(None, None), 8));
    assert!(verified(&before, &keys(1), NOW + 1).is_ok(), "the announced key does not sign");
    for servers in [announced(), rotated] {
        assert!(verified(&before, &servers, NOW + 1).is_ok() && verified(&after, &servers, NOW + 1).is_ok());
    }
}

#[test]
fn keys_that_are_weak_or_malformed_are_refused() {
    let good = "0badcafe 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let parse = |text: &str| ServerKeys::parse(text).map(|_| ());
    assert_eq!(parse(&format!("# comment\n\n{good} -\n")), Ok(()));
    assert_eq!(parse(""), Err(KeysError::None));
    assert_eq!(parse(good), Err(KeysError::Form(1)));
    assert_eq!(parse(&format!("{good} soon")), Err(KeysError::Form(1)));
    assert_eq!(parse(&format!("{good} 5")), Err(KeysError::Order(1)));
    assert_eq!(parse(&format!("{good} -\n{good} 5")), Err(KeysError::Twice(2)));
    assert_eq!(parse(&format!("{good} -\n1{} -", &good[1..])), Err(KeysError::Order(2)));
    assert_eq!(parse(&format!("0badcafe {} -", "ab".repeat(31))), Err(KeysError::Form(1)));
    assert_eq!(parse(&format!("0badcafe {} -", "00".repeat(32))), Err(KeysError::Weak(1)));
    assert_eq!(ServerKeys::generate([7; KEY_ENTROPY_BYTES]).map(|_| ()), Err(KeysError::Weak(1)));
}

#[test]
fn at_most_so_many_keys_are_accepted_at_once() {
    let mut keys = keys(1);
    for seed in 2..40 {
        keys = keys.announce(entropy(seed)).unwrap().rotate(NOW, NOW).unwrap();
    }
    let text = keys.to_secret_text();
    assert_eq!(text.expose_secret().lines().count(), 1 + SERVER_KEYS_MAX, "a comment, and the newest keys");
    assert!(ServerKeys::parse(text.expose_secret()).is_ok());
    let one_more = format!("{}ffffffff {} 5\n", text.expose_secret(), hex::encode(entropy::<32>(200)));
    assert_eq!(ServerKeys::parse(&one_more).map(|_| ()), Err(KeysError::TooMany));
}

#[test]
fn a_token_that_is_too_long_is_not_looked_at() {
    let keys = keys(1);
    let credential = minted(&keys, scope(None, None), 7);
    let token = credential.session_token.expose_secret();
    assert!(token.len() < SESSION_TOKEN_BYTES_MAX / 2, "{} bytes", token.len());
    let long = format!("{token}{}", "A".repeat(SESSION_TOKEN_BYTES_MAX));
    assert_eq!(verify(&long, &credential.access_key_id, &keys, NOW), Err(TokenError::Invalid));
}

#[test]
fn a_tag_is_for_one_purpose_and_one_text() {
    let keys = keys(1);
    let tag = keys.tag("listing", b"a");
    assert!(keys.is_tag(&tag, "listing", b"a", NOW));
    assert!(!keys.is_tag(&tag, "listing", b"b", NOW));
    assert!(!keys.is_tag(&tag, "session-token", b"a", NOW));
    assert!(!keys.is_tag(&tag[..20], "listing", b"a", NOW));
}

#[test]
fn who_may_read_what() {
    let all = [Some("rejected"), Some("decisions"), None];
    for role in Role::ALL {
        for export in all.into_iter().chain([Some("audit")]) {
            let allowed = Grant::authorise(scope(export, None), &person(role)).is_ok();
            assert_eq!(allowed, role != Role::Viewer, "{role} {export:?}");
        }
    }
    let write = Scopes { read: false, write: true };
    let read = Scopes { read: true, write: false };
    for export in all {
        assert!(Grant::authorise(scope(export, None), &key(Profile::Platform, read)).is_ok());
        let denied = Grant::authorise(scope(export, None), &key(Profile::Platform, write)).unwrap_err();
        assert_eq!(denied, Denied::KeyWithoutRead);
    }
    let audit = |profile| Grant::authorise(scope(Some("audit"), None), &key(profile, Scopes::ALL)).map(|_| ());
    assert_eq!(audit(Profile::Platform), Err(Denied::Type));
    assert_eq!(audit(Profile::Admin), Ok(()));
}

#[test]
fn an_admin_of_one_account_can_touch_nothing_of_another() {
    let other = Scope::validate(account("123"), None, None).unwrap();
    assert_eq!(Grant::authorise(other, &person(Role::Admin)).map(|_| ()), Err(Denied::OtherAccount));
}
