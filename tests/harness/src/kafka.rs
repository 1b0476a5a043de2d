//! A real Kafka cluster on this machine, from the jars that `tests/services/install` puts into `tests/.cache`.
//!
//! Each broker is a process with a folder of its own. It listens twice: clients of [`Cluster::bootstrap`] reach it directly,
//! clients of [`Cluster::bootstrap_through_proxies`] through a [`Proxy`] whose connections a test can cut. One that is started
//! with a [`Door`] listens there as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::child::{Killed, free_port};
use crate::clients::installed;
use crate::door::Door;
use crate::proxy::Proxy;
use crate::wait::until;

/// How long a broker may take to start; three on two busy cores are slow.
const UP_WITHIN: Duration = Duration::from_secs(90);

/// Small brokers that notice a dead one soon: the defaults are 50 partitions, 128 MiB, and 9 s.
const SMALL_AND_QUICK: &str = "\
auto.create.topics.enable=false
unclean.leader.election.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.dedupe.buffer.size=4194304
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.coordinator.threads=1
num.network.threads=2
num.io.threads=4
";

const HEAP: [&str; 3] = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// A cluster of brokers. Dropped, they are killed.
pub struct Cluster {
    jars: PathBuf,
    brokers: Vec<Broker>,
    door: Option<Door>,
}

struct Broker {
    home: PathBuf,
    port: u16,
    proxy: Proxy,
    process: Option<Killed>,
}

struct Ports {
    direct: u16,
    proxied: u16,
    controller: u16,
}

impl Cluster {
    /// Starts `brokers` brokers that keep everything below `home`. `None`: Kafka is not installed under `tests` (the
    /// repository's folder of that name), which is said in one line.
    ///
    /// # Panics
    /// A broker does not start; or Kafka is not installed and `CI` is `true`.
    pub async fn start(tests: &Path, home: &Path, brokers: usize) -> Option<Self> {
        Self::start_behind(|| None, tests, home, brokers).await
    }

    /// Starts one broker that has a [`Door`] too. `None` as in [`Cluster::start`].
    ///
    /// # Panics
    /// As [`Cluster::start`]; or the door's certificate cannot be made.
    pub async fn start_with_door(tests: &Path, home: &Path) -> Option<Self> {
        Self::start_behind(|| Some(Door::make(home)), tests, home, 1).await
    }

    async fn start_behind(
        door: impl FnOnce() -> Option<Door>,
        tests: &Path,
        home: &Path,
        brokers: usize,
    ) -> Option<Self> {
        let jars = installed(tests, "kafka", "tests/services/install")?;
        let ports: Vec<Ports> =
            std::iter::repeat_with(|| Ports { direct: free_port(), proxied: free_port(), controller: free_port() })
                .take(brokers)
                .collect();
        let mut cluster = Self { jars, brokers: Vec::new(), door: door() };
        for number in 1..=brokers {
            let broker = cluster.prepare(&home.join(format!("broker-{number}")), number, &ports).await;
            cluster.brokers.push(broker);
        }
        for broker in &mut cluster.brokers {
            broker.process = Some(spawn(&cluster.jars, &broker.home));
        }
        for number in 1..=brokers {
            cluster.wait_up(number).await;
        }
        Some(cluster)
    }

    /// Where clients begin, as `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.addresses(|broker| broker.port)
    }

    /// The same, through the proxies.
    #[must_use]
    pub fn bootstrap_through_proxies(&self) -> String {
        self.addresses(|broker| broker.proxy.port())
    }

    /// The door, if it was started with one.
    #[must_use]
    pub fn door(&self) -> Option<&Door> {
        self.door.as_ref()
    }

    /// How many brokers there are, dead ones included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.brokers.len()
    }

    /// The proxy of broker `number`, from 1.
    #[must_use]
    pub fn proxy(&self, number: usize) -> &Proxy {
        &self.brokers[number - 1].proxy
    }

    /// `kill -9` of broker `number`, from 1; nothing if it is dead.
    pub fn kill(&mut self, number: usize) {
        self.brokers[number - 1].process = None;
    }

    /// Whether broker `number` runs, paused or not.
    #[must_use]
    pub fn runs(&self, number: usize) -> bool {
        self.brokers[number - 1].process.is_some()
    }

    /// Starts a dead broker again and waits until it serves.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_again(&mut self, number: usize) {
        let broker = &mut self.brokers[number - 1];
        if broker.process.is_none() {
            broker.process = Some(spawn(&self.jars, &broker.home));
            self.wait_up(number).await;
        }
    }

    /// SIGSTOP of broker `number`, from 1.
    pub fn pause(&self, number: usize) {
        self.signal(number, Signal::STOP);
    }

    /// SIGCONT of broker `number`, from 1.
    pub fn resume(&self, number: usize) {
        self.signal(number, Signal::CONT);
    }

    /// Runs one of Kafka's own command line tools, such as `org.apache.kafka.tools.ConfigCommand`; gives what it printed.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn tool(&self, class: &str, args: &[&str]) -> String {
        let bootstrap = self.bootstrap();
        self.tool_as_told(class, &[&["--bootstrap-server", bootstrap.as_str()], args].concat())
    }

    /// The same with these arguments and no others: a command as somebody was told to run it.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn tool_as_told(&self, class: &str, args: &[&str]) -> String {
        let mut command = java(&self.jars);
        let output = command.arg(class).args(args).stdin(Stdio::null()).output().expect("java can be started");
        let printed = crate::process::printed(&output);
        assert!(output.status.success(), "{class} {args:?}: {printed}");
        printed
    }

    fn signal(&self, number: usize, signal: Signal) {
        self.brokers[number - 1].process.as_ref().expect("a broker that runs").signal(signal);
    }

    fn addresses(&self, port: impl Fn(&Broker) -> u16) -> String {
        let address = |broker: &Broker| format!("127.0.0.1:{}", port(broker));
        self.brokers.iter().map(address).collect::<Vec<_>>().join(",")
    }

    async fn prepare(&self, home: &Path, number: usize, ports: &[Ports]) -> Broker {
        fs::create_dir_all(home).expect("a folder for a broker");
        let own = &ports[number - 1];
        let proxy = Proxy::to(own.proxied).await;
        let config = home.join("server.properties");
        let door = self.door.as_ref();
        fs::write(&config, properties(home, number, ports, proxy.port(), door)).expect("a broker's configuration");
        let mut format = java(&self.jars);
        format.args(["kafka.tools.StorageTool", "format", "--cluster-id", "millrace-tests", "-c"]).arg(&config);
        if let Some(door) = door {
            format.arg("--add-scram").arg(door.user());
        }
        let output = format.stdin(Stdio::null()).output().expect("java can be started");
        assert!(output.status.success(), "formatting broker {number}: {}", crate::process::printed(&output));
        Broker { home: home.to_owned(), port: own.direct, proxy, process: None }
    }

    /// A port that is open proves nothing: the broker says when it serves.
    async fn wait_up(&mut self, number: usize) {
        let broker = &mut self.brokers[number - 1];
        let log = broker.home.join("log");
        let process = broker.process.as_mut().expect("a broker that was started");
        until(&format!("broker {number} to serve"), UP_WITHIN, async || {
            let printed = fs::read_to_string(&log).unwrap_or_default();
            let last = || printed.lines().last().unwrap_or_default().to_owned();
            assert!(process.ended().is_none(), "broker {number} ended: {}", last());
            if printed.contains("Kafka Server started") { Ok(()) } else { Err(last()) }
        })
        .await;
    }
}

fn java(jars: &Path) -> Command {
    let mut command = Command::new("java");
    command.args(HEAP).arg("-cp").arg(jars.join("*"));
    command
}

fn spawn(jars: &Path, home: &Path) -> Killed {
    // What an earlier life said would look like this one's.
    let log = home.join("log");
    let _ = fs::rename(&log, home.join("log.before"));
    let mut command = java(jars);
    command.arg("-Dlog4j2.level=INFO").arg("kafka.Kafka").arg(home.join("server.properties"));
    Killed::spawn_into(&mut command, &log)
}

fn properties(home: &Path, number: usize, ports: &[Ports], proxy: u16, door: Option<&Door>) -> String {
    let own = &ports[number - 1];
    let voter = |(index, ports): (usize, &Ports)| format!("{}@127.0.0.1:{}", index + 1, ports.controller);
    let voters = ports.iter().enumerate().map(voter).collect::<Vec<_>>().join(",");
    let copies = ports.len().min(3);
    let in_sync = if copies < 2 { 1 } else { copies - 1 };
    let listener = door.map(|door| format!(",{}", door.listener())).unwrap_or_default();
    format!(
        "process.roles=broker,controller
node.id={number}
listeners=DIRECT://127.0.0.1:{direct},PROXIED://127.0.0.1:{proxied},CONTROLLER://127.0.0.1:{controller}{listener}
advertised.listeners=DIRECT://127.0.0.1:{direct},PROXIED://127.0.0.1:{proxy}{listener}
listener.security.protocol.map=DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,DOOR:SASL_SSL
inter.broker.listener.name=DIRECT
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
log.dirs={data}
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
{SMALL_AND_QUICK}{door}",
        door = door.map(Door::properties).unwrap_or_default(),
        direct = own.direct,
        proxied = own.proxied,
        controller = own.controller,
        data = home.join("data").display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broker_comes_back_with_what_it_held() {
        let home = tempfile::tempdir().unwrap();
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let Some(mut cluster) = Cluster::start(tests, home.path(), 1).await else { return };
        let _ = cluster.tool("org.apache.kafka.tools.TopicCommand", &["--create", "--topic", "kept"]);
        cluster.kill(1);
        assert!(!cluster.runs(1));
        cluster.start_again(1).await;
        let topics = cluster.tool("org.apache.kafka.tools.TopicCommand", &["--list"]);
        assert!(topics.lines().any(|topic| topic == "kept"), "{topics}");
    }
}
