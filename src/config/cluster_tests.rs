//! What a cluster's configuration may say, and what is said when it is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Toml};

use super::tests::{file, flag, leaves, variables};
use super::{Cluster, Config};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cluster.toml");
/// What must be set has no default; the example shows values.
const SET: &str = "[kafka]\nbootstrap_servers = '127.0.0.1:9092'\n[store]\nbucket = 'millrace'";
/// They are off, or follow from others, unless set: the example shows them in comments.
const COMMENTED: [&str; 6] =
    ["fetch.bucket", "fetch.encryption", "kafka.properties", "export.slot", "export.succeeds", "store.path_style"];

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Cluster, Vec<String>> {
    let file = file(text);
    Cluster::load(Some(file.path()), variables(environment), &[], &[]).map_err(|error| error.0)
}

#[test]
fn the_example_holds_every_key_with_its_default() {
    let (defaults, keys) = Cluster::read(Figment::from(Toml::string(SET)), BTreeMap::new(), &[]).unwrap();
    let example = Cluster::load(Some(Path::new(EXAMPLE)), [], &[], &["kafka.bootstrap_servers"]).unwrap();
    assert_eq!(example, defaults);

    let root = Figment::from(Toml::file_exact(EXAMPLE)).find_value("").unwrap();
    let mut written = BTreeSet::new();
    leaves(String::new(), &root, &mut written);
    written.extend(COMMENTED.map(str::to_owned));
    assert_eq!(written, keys.iter().map(|key| (*key).to_owned()).collect());
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    for key in COMMENTED {
        let name = key.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("# {name} = ")) || text.contains(&format!("[{key}]")), "{key}");
    }
}

#[test]
fn a_cluster_takes_its_time_where_one_machine_does_not() {
    let (cluster, one) = (load(SET, &[]).unwrap(), Config::load(None, [], &[]).unwrap());
    assert!(cluster.rules.settings.attribution_grace_ms > one.rules.settings.attribution_grace_ms);
    assert!(cluster.processor.tick_interval > one.processor.tick_interval);
    assert!(cluster.export.seal_age > one.export.seal_age);
    assert_eq!((cluster.export.slot, one.export.slot), (None, Some(Duration::from_secs(10))));
}

#[test]
fn properties_are_handed_on_under_the_names_they_have_elsewhere() {
    let text = "[kafka.properties]\nsecurity.protocol = 'sasl_ssl'\n'ssl.ca.location' = '/ca.pem'\n\
                enable.ssl.certificate.verification = true\nsocket.timeout.ms = 9000";
    let config = load(text, &[("MILLRACE__KAFKA__PROPERTIES__SASL__PASSWORD", "hush")]).unwrap();
    let properties: Vec<(&str, &str)> =
        config.kafka.properties.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(
        properties,
        [
            ("enable.ssl.certificate.verification", "true"),
            ("sasl.password", "hush"),
            ("security.protocol", "sasl_ssl"),
            ("socket.timeout.ms", "9000"),
            ("ssl.ca.location", "/ca.pem"),
        ]
    );
}

#[test]
fn secrets_do_not_show_when_a_configuration_is_printed() {
    let environment = [
        ("MILLRACE__KAFKA__PROPERTIES__SASL__PASSWORD", "hush-1"),
        ("MILLRACE__STORE__ACCESS_KEY_ID", "id"),
        ("MILLRACE__STORE__SECRET_ACCESS_KEY", "hush-2"),
        ("AWS_SESSION_TOKEN", "hush-3"),
        ("MILLRACE__STORE__BUCKETS", "x"),
    ];
    let printed = format!("{:?}", load("", &environment[..4]).unwrap());
    assert!(!printed.contains("hush"), "{printed}");
    let told = load("", &environment).unwrap_err();
    assert!(!told.iter().any(|mistake| mistake.contains("hush")), "{told:?}");
}

#[test]
fn a_secret_in_a_line_that_is_no_toml_is_not_told() {
    for text in ["[store]\nsecret_access_key = \"hush", "[kafka.properties]\nsasl.password = hush#1"] {
        let told = load(text, &[]).unwrap_err();
        assert!(!told.iter().any(|mistake| mistake.contains("hush")), "{told:?}");
        assert!(told[0].contains("line 2, column "), "{told:?}");
    }
}

#[test]
fn a_secret_in_the_environment_is_taken_as_it_stands() {
    for secret in ["0042", "+7", "1.50", " hush ", "\"hush\"", "true", "[hush]", "{hush}", "1e9"] {
        let environment = [
            ("MILLRACE__KAFKA__PROPERTIES__SASL__PASSWORD", secret),
            ("MILLRACE__STORE__ACCESS_KEY_ID", "id"),
            ("MILLRACE__STORE__SECRET_ACCESS_KEY", secret),
        ];
        let config = load("", &environment).unwrap();
        let (_, key) = config.store.credential.as_ref().unwrap();
        assert_eq!((key.expose(), config.kafka.properties["sasl.password"].expose()), (secret, secret));
    }
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "data = './x'\n[kafka]\ninstance = 'a b'\nproperties = 'none'\n[topics]\npartitions = 0\nreplication = 0\n\
                raw_retention = '1h'\nenriched_retention = '1h'\n[store]\nendpoint = 'here'\naccess_key_id = 'id'\n[export]\nslot = '7s'";
    let file = file(text);
    let flags = [flag("--listen", "listen.api", "everywhere")];
    let needed = ["kafka.bootstrap_servers", "store.bucket", "serve.server_keys"];
    let told = Cluster::load(Some(file.path()), [], &flags, &needed).unwrap_err().0;
    let expected = [
        "data: unknown key",
        "kafka: instance \"a b\"",
        "kafka.properties: is a section",
        "topics.partitions: must be",
        "topics.replication: must be",
        "topics.raw_retention: 1h is shorter than dedupe.window",
        "topics.raw_retention: 1h is shorter than attribution.window",
        "topics.enriched_retention: must be",
        "store.endpoint: is not an address",
        "store.access_key_id: is set, so",
        "the slot must be whole seconds",
        "listen.api: \"everywhere\" is not an address and port, like",
        "kafka.bootstrap_servers: must be set",
        "store.bucket: must be set",
        "serve.server_keys: must be set",
    ];
    for what in expected {
        assert!(told.iter().any(|mistake| mistake.contains(what)), "{what} is not among {told:#?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn a_topic_has_1_to_1024_partitions() {
    let fits = |partitions: u32| load(&format!("[topics]\npartitions = {partitions}"), &[]).is_ok();
    assert_eq!([0, 1, 1024, 1025].map(fits), [false, true, true, false]);
}

#[test]
fn the_bucket_stands_in_the_path_where_the_store_is_not_amazons() {
    let style = |text: &str| load(text, &[]).unwrap().store.path_style;
    assert!(!style("[store]\nbucket = 'exports'"));
    assert!(style("[store]\nendpoint = 'https://s3.example.com'"));
    assert!(!style("[store]\nendpoint = 'https://s3.example.com'\npath_style = false"));
}

/// What each line `MILLRACE__…: value` of the compose file sets.
fn composed() -> Vec<(String, String)> {
    let compose = include_str!("../../docker-compose.yml");
    let set = compose.lines().filter_map(|line| line.trim().split_once(": "));
    let ours = set.filter(|(name, _)| name.starts_with("MILLRACE_"));
    ours.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

#[test]
fn what_the_compose_file_sets_are_settings_there_are() {
    let needed = ["kafka.bootstrap_servers", "store.bucket", "serve.server_keys"];
    let config = Cluster::load(None, composed(), &[], &needed).unwrap();
    assert_eq!(config.topics.partitions, 8);
    assert_eq!(config.export.slot, Some(Duration::from_secs(10)));
}

#[test]
fn what_the_compose_file_starts_are_commands_there_are() {
    use clap::Parser;
    let compose = include_str!("../../docker-compose.yml");
    let mut commands = 0;
    for words in compose.lines().filter_map(|line| line.trim().strip_prefix("command: ")) {
        let words: Vec<String> = serde_json::from_str(words).unwrap();
        let line = std::iter::once("millrace".to_owned()).chain(words);
        crate::cli::Cli::try_parse_from(line).unwrap();
        commands += 1;
    }
    assert_eq!(commands, 6, "every role");
}
