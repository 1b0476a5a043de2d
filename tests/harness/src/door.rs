//! A broker's listener that wants TLS and a password, with a certificate that only its own authority vouches for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child::free_port;
use crate::process::printed;

const USER: &str = "millrace";
const MECHANISM: &str = "SCRAM-SHA-512";
/// Of the key store, which only the broker reads.
const STORE_PASSWORD: &str = "keystore";

/// Where the listener is, and what opens it.
pub struct Door {
    port: u16,
    store: PathBuf,
    authority: PathBuf,
    password: String,
}

impl Door {
    /// Makes a key and its certificate, with Java's own tool.
    ///
    /// # Panics
    /// They cannot be made.
    pub(crate) fn make(home: &Path) -> Self {
        let (store, authority) = (home.join("door.p12"), home.join("door.pem"));
        let password = format!("{:032x}", rand::random::<u128>());
        keytool(
            &store,
            &[
                "-genkeypair",
                "-keyalg",
                "EC",
                "-dname",
                "CN=millrace-tests",
                "-ext",
                "san=ip:127.0.0.1",
                "-validity",
                "2",
            ],
        );
        let authority_file = authority.display().to_string();
        keytool(&store, &["-exportcert", "-rfc", "-file", &authority_file]);
        Self { port: free_port(), store, authority, password }
    }

    /// Where clients begin, as `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What opens it.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// What a client sets to come in.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<String, String> {
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        [
            set("security.protocol", "sasl_ssl"),
            set("ssl.ca.location", &self.authority.display().to_string()),
            set("sasl.mechanism", MECHANISM),
            set("sasl.username", USER),
            set("sasl.password", &self.password),
        ]
        .into()
    }

    /// The listener, for `listeners` and `advertised.listeners`.
    pub(crate) fn listener(&self) -> String {
        format!("DOOR://127.0.0.1:{}", self.port)
    }

    /// What the broker is told of it.
    pub(crate) fn properties(&self) -> String {
        format!(
            "listener.name.door.ssl.keystore.type=PKCS12
listener.name.door.ssl.keystore.location={store}
listener.name.door.ssl.keystore.password={STORE_PASSWORD}
listener.name.door.ssl.key.password={STORE_PASSWORD}
listener.name.door.sasl.enabled.mechanisms={MECHANISM}
listener.name.door.{mechanism}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
",
            store = self.store.display(),
            mechanism = MECHANISM.to_lowercase(),
        )
    }

    /// The user, as the broker's folder is formatted with.
    pub(crate) fn user(&self) -> String {
        format!("{MECHANISM}=[name={USER},password={}]", self.password)
    }
}

fn keytool(store: &Path, args: &[&str]) {
    let mut command = Command::new("keytool");
    command.args(args).args(["-alias", "door", "-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-keystore"]);
    let output = command.arg(store).stdin(Stdio::null()).output().expect("keytool comes with java");
    assert!(output.status.success(), "keytool {args:?}: {}", printed(&output));
}
