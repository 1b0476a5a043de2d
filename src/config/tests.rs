//! What a configuration may say, and what is said when it is wrong.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use figment::value::Value;
use tempfile::NamedTempFile;

use super::*;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/millrace.toml");

pub(super) fn flag(name: &'static str, key: &'static str, value: &str) -> Flag {
    Flag { name, key, value: value.to_owned() }
}

pub(super) fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".toml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn the_example_holds_every_key_with_its_default() {
    let (defaults, keys) = Config::read(Figment::new()).unwrap();
    let example = Config::load(Some(Path::new(EXAMPLE)), [], &[]).unwrap();
    assert_eq!(example, defaults);

    let root = Figment::from(Toml::file_exact(EXAMPLE)).find_value("").unwrap();
    let mut written = BTreeSet::new();
    leaves(String::new(), &root, &mut written);
    // They are off unless set, so the example shows them in comments.
    written.extend(["export.succeeds".to_owned(), "fetch.encryption".to_owned()]);
    assert_eq!(written, keys.iter().map(|key| (*key).to_owned()).collect());
}

#[test]
fn nothing_is_kept_for_ever_by_mistake_and_raw_outlasts_what_state_remembers() {
    let file = file("[raw]\nretention = '30d'\n[export]\nretention = '0s'\n[segments]\nretention = 'never'");
    let ConfigError(wrong) = Config::load(Some(file.path()), [], &[]).unwrap_err();
    for said in [
        "raw.retention: 30d is shorter than attribution.window (90d)",
        "export.retention must be at least a day",
        "segments.retention: \"never\" is no duration",
    ] {
        assert!(wrong.iter().any(|mistake| mistake.contains(said)), "{said:?} in {wrong:?}");
    }
}

pub(super) fn leaves(path: String, value: &Value, found: &mut BTreeSet<String>) {
    match value.as_dict() {
        Some(dict) => {
            for (name, value) in dict {
                let inside = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(inside, value, found);
            }
        }
        None => {
            found.insert(path);
        }
    }
}

#[test]
fn the_environment_goes_over_the_file_and_flags_over_both() {
    let file = file("data = 'file'\n[export]\nslot = '1m'\nseal_age = '7s'\n[fetch]\nbucket = 'a-b'");
    let environment = variables(&[
        ("MILLRACE__EXPORT__SLOT", "5m"),
        ("MILLRACE__DATA", "environment"),
        ("MILLRACE__FETCH__BUCKET", "123"),
        ("MILLRACE__INGEST__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
    ]);
    let config = Config::load(Some(file.path()), environment, &[flag("--data", "data", "flag")]).unwrap();
    assert_eq!(config.data, Path::new("flag"));
    assert_eq!(config.export.slot, Some(Duration::from_secs(300)));
    assert_eq!(config.export.seal_age, Duration::from_secs(7));
    assert_eq!(config.fetch.bucket, "123", "text that looks like a number is text");
    assert_eq!(config.ingest.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);
}

#[test]
fn client_variables_are_no_configuration() {
    let environment = variables(&[("MILLRACE_API", "http://127.0.0.1:1"), ("MILLRACE_PAT", "2:secret")]);
    assert!(Config::load(None, environment, &[]).is_ok());
}

#[test]
fn a_filter_of_logs_that_is_none_is_a_mistake_like_others() {
    let file = file("[logs]\nfilter = 'millrace=loud'\n[export]\nslot = '7s'");
    let told = Config::load(Some(file.path()), [], &[]).unwrap_err().0;
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told.iter().any(|mistake| mistake.starts_with("logs.filter: ") && mistake.contains("loud")), "{told:#?}");
}

#[test]
fn every_mistake_is_told_at_once_with_where_it_stands() {
    let file = file(
        "slots = '10s'\nlogs = 3\n[export]\nslot = '7s'\nseal_age = 10\nsealage = '1s'\nmemory = '1KiB'\n[listen]\napi = 'here'",
    );
    let environment = variables(&[
        ("MILLRACE__INGEST__NO_SUCH_KEY", "1"),
        ("MILLRACE__NO_SUCH_SECTION__KEY", "1"),
        ("MILLRACE__EXPORT__CODEC", "lzma"),
    ]);
    let flags = [flag("--grace", "attribution.grace", "2h")];
    let told = Config::load(Some(file.path()), environment, &flags).unwrap_err().0;
    let expected = [
        ("slots: unknown key", ".toml"),
        ("logs: is a section", ".toml"),
        ("the slot must be whole seconds that divide a day", ""),
        ("export.seal_age: \"10\" is no duration", ".toml"),
        ("export.sealage: unknown key", "in [export] there are"),
        ("export.memory must be at least", ""),
        ("listen.api: \"here\" is not an address and port", ".toml"),
        ("ingest.no_such_key: unknown key", "MILLRACE__INGEST__NO_SUCH_KEY"),
        ("no_such_section.key: unknown key", "MILLRACE__NO_SUCH_SECTION__KEY"),
        ("export.codec: ", "MILLRACE__EXPORT__CODEC"),
        ("attribution.grace is 7200000", ""),
    ];
    for (what, place) in expected {
        let found = told.iter().any(|mistake| mistake.contains(what) && mistake.contains(place));
        assert!(found, "{what} ({place}) is not among {told:#?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn a_file_that_is_not_there_or_is_no_toml_is_told_by_name() {
    let told = Config::load(Some(Path::new("absent.toml")), [], &[]).unwrap_err().0;
    assert!(told[0].contains("absent.toml"), "{told:?}");
    let broken = file("[export\nslot = ");
    let told = Config::load(Some(broken.path()), [], &[]).unwrap_err().to_string();
    assert!(told.contains(&broken.path().display().to_string()), "{told}");
}

#[test]
fn only_a_flag_asks_for_another_grace_in_a_log_that_is_there() {
    let rules = |environment: &[(&str, &str)], flags: &[Flag]| {
        let rules = Config::load(None, variables(environment), flags).unwrap().rules;
        (rules.settings.attribution_grace_ms, rules.grace_is_flag)
    };
    assert_eq!(rules(&[("MILLRACE__ATTRIBUTION__GRACE", "9s")], &[]), (9_000, false));
    assert_eq!(rules(&[], &[flag("--grace", "attribution.grace", "3s")]), (3_000, true));
}
