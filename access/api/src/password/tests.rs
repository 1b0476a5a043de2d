use super::*;

const GOOD: &str = "correct horse battery";

fn secret(text: &str) -> SecretString {
    text.to_owned().into()
}

fn system() -> Arc<dyn SecretSource> {
    Arc::new(SystemSecrets)
}

#[tokio::test]
async fn a_password_verifies_against_its_own_hash_only() {
    let phc = hash(&secret(GOOD), system()).await.unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    assert!(phc.len() <= millrace_directory::limits::PASSWORD_HASH_BYTES_MAX);
    assert_eq!(verify(&secret(GOOD), &phc).await, Ok(true));
    assert_eq!(verify(&secret("correct horse batterY"), &phc).await, Ok(false));
    assert_eq!(verify(&secret(GOOD), "not a hash").await, Ok(false));
    assert_eq!(verify(&secret(&"x".repeat(PASSWORD_BYTES_MAX + 1)), &phc).await, Ok(false));
}

#[test]
fn two_hashes_of_one_password_differ_by_their_salt() {
    let [first, second] = [(); 2].map(|()| hash_password(&secret(GOOD)).unwrap());
    assert_ne!(first, second);
    assert!(!first.contains(GOOD));
}

#[test]
fn a_password_out_of_bounds_is_refused_one_beyond_them() {
    let unfit = |text: String| matches!(hash_password(&secret(&text)), Err(PasswordError::Unfit(_)));
    assert!(unfit("é".repeat(PASSWORD_CHARS_MIN - 1)));
    assert!(!unfit("é".repeat(PASSWORD_CHARS_MIN)));
    assert!(!unfit("x".repeat(PASSWORD_BYTES_MAX)));
    assert!(unfit("x".repeat(PASSWORD_BYTES_MAX + 1)));
}

#[test]
fn a_made_password_is_long_enough_and_never_the_same() {
    let [first, second] = [(); 2].map(|()| generate(&SystemSecrets).unwrap());
    assert_ne!(first.expose_secret(), second.expose_secret());
    assert_eq!(first.expose_secret().len(), PASSWORD_MADE_BYTES / 3 * 4);
    hash_password(&first).unwrap();
}

struct Broken;

impl SecretSource for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), String> {
        Err("no entropy".into())
    }
}

#[tokio::test]
async fn without_randomness_nothing_is_made() {
    let failed = PasswordError::Failed("no entropy".into());
    assert_eq!(hash(&secret(GOOD), Arc::new(Broken)).await, Err(failed.clone()));
    assert_eq!(generate(&Broken).unwrap_err(), failed);
}
