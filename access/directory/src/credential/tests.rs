use secrecy::ExposeSecret;

use super::*;

/// Gives the same byte for ever.
struct Constant(u8);

impl SecretSource for Constant {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), String> {
        bytes.fill(self.0);
        Ok(())
    }
}

struct Broken;

impl SecretSource for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), String> {
        Err("no entropy".into())
    }
}

#[test]
fn the_form_tells_the_kind() {
    let chars = |count: usize| "aB3".repeat(count)[..count].to_owned();
    let cases = [
        (format!("2:{}", chars(52)), Some(Kind::Pat)),
        (format!("2:{}-_", chars(50)), Some(Kind::Pat)),
        (format!("sk-live-{}", chars(32)), Some(Kind::ApiKey)),
        (format!("sk-live-{}-_", chars(30)), Some(Kind::ApiKey)),
        (format!("agt_{}", chars(32)), Some(Kind::AgentToken)),
        (format!("agt_{}-", chars(31)), None),
        (format!("agt_{}", chars(31)), None),
        (format!("2:{}", chars(51)), None),
        (format!("2:{}", chars(53)), None),
        (format!("2:{}=", chars(51)), None),
        (format!("1:{}", chars(52)), None),
        (format!("sk-live-{}", chars(31)), None),
        (format!("sk-live-{}", chars(33)), None),
        (format!("sk-live-{} ", chars(31)), None),
        (format!("sk-test-{}", chars(32)), None),
        (format!("SK-LIVE-{}", chars(32)), None),
        (format!("sk-live-{}é", chars(30)), None),
        (String::new(), None),
    ];
    for (text, kind) in cases {
        assert_eq!(Presented::parse(&text).kind(), kind, "{text}");
    }
}

#[test]
fn what_is_made_is_recognised_and_has_bits_enough_beside_its_hint() {
    for kind in [Kind::Pat, Kind::ApiKey] {
        let made = make(kind, &SystemSecrets).unwrap();
        let secret = made.secret.expose_secret();
        let presented = Presented::parse(secret);
        assert_eq!((presented.kind(), presented.digest()), (Some(kind), Some(&made.digest)));
        let random = secret.strip_prefix(kind.prefix()).unwrap();
        assert!(random.starts_with(&made.hint));
        // A url-safe base64 character carries six bits.
        assert!((random.len() - made.hint.len()) * 6 >= crate::limits::SECRET_BITS_MIN);
    }
}

#[test]
fn the_source_decides_the_secret_and_its_failure_is_told() {
    let secret = |byte| make(Kind::ApiKey, &Constant(byte)).unwrap().secret.expose_secret().to_owned();
    assert_eq!(secret(0), format!("sk-live-{}", "A".repeat(32)));
    assert_ne!(secret(1), secret(2));
    assert_eq!(make(Kind::Pat, &Broken).err().unwrap(), "no entropy");
    let [first, second] = [(); 2].map(|()| make(Kind::Pat, &SystemSecrets).unwrap().digest);
    assert_ne!(first, second, "the system's generator does not repeat itself");
}

#[test]
fn debug_shows_no_digest_and_no_secret() {
    let made = make(Kind::Pat, &SystemSecrets).unwrap();
    let presented = Presented::parse(made.secret.expose_secret());
    assert_eq!(format!("{presented:?}"), "Pat(Digest(hidden))");
    assert!(!format!("{:?}", made.secret).contains(made.secret.expose_secret()));
}

#[test]
fn a_digest_is_sha256_of_the_whole_secret() {
    let digest = Digest::of("abc");
    let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex::encode(digest.as_bytes()), known);
    assert_eq!(Digest::from_bytes(digest.as_bytes()), Some(digest));
    assert_eq!(Digest::from_bytes(&[0; 31]), None);
}
