//! What the tests of the fetch side share: a gateway on a port of its own, and a client that says exactly what a test
//! wants said.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

#[path = "../../../../access/directory/tests/support/mod.rs"]
pub mod directory;
pub mod sign;
pub mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use directory::World;
use millrace_clock::SystemClock;
use millrace_directory::audit::Auditor;
use millrace_directory::mint::{Grant, KEY_ENTROPY_BYTES, Lifetime, ScopedCredential, ServerKeys, mint};
use millrace_directory::scope::Scope;
use millrace_directory::{AccountId, Principal, Role, SystemSecrets};
use millrace_exporter_fetch::{Config, Services, serve_gateway};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const BUCKET: &str = "millrace-events";

/// The house around the fetch side: a directory on a log in memory, a store in a folder that goes with it.
pub struct House {
    pub world: World,
    pub services: Services,
    pub folder: tempfile::TempDir,
}

impl House {
    /// With a clock that shows the present: real clients sign with theirs.
    pub async fn new() -> Self {
        let world = World::new();
        world.clock.set_wall(SystemClock::shared().now_ms());
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        let services = Services {
            node: world.node().await,
            auditor: Arc::new(Auditor::new(world.log.clone(), world.clock.clone())),
            store,
            keys: Arc::new(keys(1)),
            secrets: Arc::new(SystemSecrets),
            clock: world.clock.clone(),
            log_id: "log-1".into(),
            shards: 4,
            config: Config::default(),
        };
        Self { world, services, folder }
    }

    pub async fn put(&self, key: &str, bytes: &str) {
        let bytes = bytes.as_bytes().to_vec();
        self.services.store.put(&Path::parse(key).unwrap(), bytes.into()).await.unwrap();
    }

    pub fn now_ms(&self) -> i64 {
        self.services.clock.now_ms()
    }

    /// A credential of account 12, or of a narrower scope.
    pub fn credential(&self, export: Option<&str>, date: Option<&str>) -> ScopedCredential {
        self.credential_of("12", export, date)
    }

    pub fn credential_of(&self, account: &str, export: Option<&str>, date: Option<&str>) -> ScopedCredential {
        let account = AccountId::parse(account).unwrap();
        let owner =
            Principal::Pat { token_id: "t".into(), user_id: "u".into(), account: account.clone(), role: Role::Analyst };
        let scope = Scope::validate(account, export, date).unwrap();
        let grant = Grant::authorise(scope, &owner).unwrap();
        let mut entropy = [0; 26];
        self.services.secrets.fill(&mut entropy).unwrap();
        mint(grant, &self.services.keys, self.now_ms(), Lifetime::MAX, entropy).unwrap()
    }

    pub async fn gateway(&self) -> Gateway {
        Gateway::start(self.services.clone(), &self.world).await
    }
}

/// Server keys that differ by `seed`.
pub fn keys(seed: u8) -> ServerKeys {
    ServerKeys::generate(key_entropy(seed)).unwrap()
}

pub fn key_entropy(seed: u8) -> [u8; KEY_ENTROPY_BYTES] {
    std::array::from_fn(|at| (at as u8).wrapping_mul(37) ^ seed)
}

/// A gateway that serves.
pub struct Gateway {
    pub address: SocketAddr,
    pub running: JoinHandle<()>,
}

impl Gateway {
    pub async fn start(services: Services, world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, running: tokio::spawn(serve_gateway(listener, services, world.stop.clone())) }
    }
}
