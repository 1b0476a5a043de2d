//! Faults of a cluster under load, in an order that a seed decides.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use crate::deployment::Deployment;
use crate::events::{batch, decision};
use crate::export::Export;
use crate::follow::Follower;
use crate::load::{Load, Plan, Sent};
use crate::role::Kind;
use crate::wait::{clock, pause, until};

/// How long a cluster may take until events are taken again.
const TAKEN_WITHIN: Duration = Duration::from_secs(90);
/// How long a cluster may take until everything is visible.
const VISIBLE_WITHIN: Duration = Duration::from_secs(180);
/// Longer than a session or an open transaction lives: whoever wakes up after it is a zombie.
const PAST_EVERY_TIMEOUT: Duration = Duration::from_secs(20);
/// SDKs wait no longer for an answer.
const CLIENTS_GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of one process; it is started again.
    Kill(Kind),
    /// SIGSTOP of one process past every timeout, then SIGCONT: a zombie.
    Zombie(Kind),
    /// `kill -9` of one broker; it is started again.
    BrokerKilled,
    /// Two of three brokers at once: ingest must answer 503, and recover by itself.
    TwoBrokersKilled,
    /// One more processor comes, and leaves in good order: two rebalances.
    ProcessorComesAndGoes,
    /// Every connection to the brokers is cut, again and again, in the middle of whatever is under way.
    ConnectionsCut,
    /// `kill -9` of the store; it is started again.
    StoreKilled,
}

/// Every fault there is.
pub const FAULTS: [Fault; 11] = [
    Fault::Kill(Kind::Ingest),
    Fault::Kill(Kind::Process),
    Fault::Kill(Kind::Export),
    Fault::Kill(Kind::Serve),
    Fault::Zombie(Kind::Process),
    Fault::Zombie(Kind::Export),
    Fault::BrokerKilled,
    Fault::TwoBrokersKilled,
    Fault::ProcessorComesAndGoes,
    Fault::ConnectionsCut,
    Fault::StoreKilled,
];

/// A load on a deployment that is being broken.
pub struct Trial<'a> {
    deployment: &'a mut Deployment,
    random: StdRng,
    load: Load,
    follower: Follower,
    listings: u32,
}

impl<'a> Trial<'a> {
    /// Starts the load: `rate` events a second on every ingest.
    #[must_use]
    pub fn start(deployment: &'a mut Deployment, seed: u64, rate: u64) -> Self {
        let account = deployment.account().to_owned();
        let plan = Plan { account, name: format!("seed{seed}"), rate, per_request: 4, senders: 8, visitors: 300 };
        let load = Load::start_on(plan, deployment.apis());
        let random = StdRng::seed_from_u64(seed);
        Self { deployment, random, load, follower: Follower::default(), listings: 0 }
    }

    /// Every fault once, in the seed's order.
    ///
    /// # Panics
    /// A role ends by itself, events are not taken again in time, or law 4 is broken in a listing.
    pub async fn every_fault(&mut self) {
        let mut faults = FAULTS;
        faults.shuffle(&mut self.random);
        for fault in faults {
            self.go_through(fault).await;
        }
    }

    /// One fault: it comes, holds, goes; then events are taken again, and a listing is looked at.
    ///
    /// # Panics
    /// As [`Trial::every_fault`].
    pub async fn go_through(&mut self, fault: Fault) {
        self.settle().await;
        let began = clock().elapsed();
        println!("{fault:?}: {} events acknowledged before it", self.load.acknowledged());
        match fault {
            Fault::Kill(kind) => self.kill(kind).await,
            Fault::Zombie(kind) => self.zombie(kind).await,
            Fault::BrokerKilled => self.kill_brokers(1).await,
            Fault::TwoBrokersKilled => self.kill_brokers(2).await,
            Fault::ProcessorComesAndGoes => self.one_more_processor().await,
            Fault::ConnectionsCut => self.cut().await,
            Fault::StoreKilled => {
                self.deployment.s3.kill();
                self.hold(1..8).await;
                self.deployment.s3.start_again().await;
            }
        }
        let healed = clock().elapsed();
        self.taken_again().await;
        let (held, recovered) = (healed - began, clock().elapsed() - healed);
        println!("{fault:?}: held {held:.1?}, events taken {recovered:.1?} after it");
        self.look().await;
    }

    /// Stops the load, waits until everything is visible, and reads everything once more.
    ///
    /// # Panics
    /// An acknowledged event has no row, a row is twice, a conversion does not carry its visitor's experiment, or an answer came too late.
    pub async fn finish(mut self) -> Sent {
        self.deployment.wait_ready().await;
        let sent = self.load.stop().await;
        let export = Export::open(&self.deployment.team(0)).await.expect("credentials");
        sent.wait_until_visible(&mut self.follower, &export, VISIBLE_WITHIN).await;
        sent.assert_attributed(&self.follower);
        assert!(self.listings > 0, "no listing could be taken on the way");
        self.follower.take_all_again(&export).await.expect("the gateway answers");
        println!(
            "{} events acknowledged and visible once, {} requests sent again, {} listings on the way, slowest answer {:.1?}",
            sent.events().count(),
            sent.resent,
            self.listings,
            sent.slowest
        );
        assert!(sent.slowest < CLIENTS_GIVE_UP_AFTER, "an answer came after {:?}", sent.slowest);
        sent
    }

    /// A moment of the seed's choice between faults; sometimes none, so that faults follow each other closely.
    async fn settle(&mut self) {
        if self.random.random_bool(0.5) {
            self.hold(0..5).await;
        }
    }

    async fn hold(&mut self, seconds: std::ops::Range<u64>) {
        let ms = self.random.random_range(seconds.start * 1_000..seconds.end * 1_000);
        pause(Duration::from_millis(ms)).await;
    }

    fn victim(&mut self, kind: Kind) -> usize {
        let candidates = self.deployment.of(kind);
        *candidates.choose(&mut self.random).expect("a process of every kind")
    }

    async fn kill(&mut self, kind: Kind) {
        let victim = self.victim(kind);
        self.deployment.roles[victim].kill_9();
        self.hold(0..6).await;
        self.deployment.roles[victim].start();
        self.deployment.roles[victim].wait_ready().await;
    }

    async fn zombie(&mut self, kind: Kind) {
        let victim = self.victim(kind);
        self.deployment.roles[victim].pause();
        pause(PAST_EVERY_TIMEOUT).await;
        self.deployment.roles[victim].resume();
    }

    async fn kill_brokers(&mut self, count: usize) {
        let mut numbers: Vec<usize> = (1..=self.deployment.brokers.size()).collect();
        numbers.shuffle(&mut self.random);
        for number in &numbers[..count] {
            self.deployment.brokers.kill(*number);
        }
        if count > 1 {
            self.refused_in_time().await;
        }
        self.hold(2..14).await;
        for number in &numbers[..count] {
            self.deployment.brokers.start_again(*number).await;
        }
    }

    /// Without a majority of its brokers the log takes nothing: whoever sends is told so before a client gives up.
    async fn refused_in_time(&mut self) {
        let (account, api) = (self.deployment.account().to_owned(), self.deployment.apis().remove(0));
        until("an event to be refused", TAKEN_WITHIN, async || {
            let body = batch(&account, vec![decision("probe", "probe", "9300", "9302", clock().now_ms())]);
            let asked = clock().elapsed();
            let answer = api.post(&body).await.map_err(|error| error.to_string())?;
            let took = clock().elapsed() - asked;
            assert!(took < CLIENTS_GIVE_UP_AFTER, "answered {} after {took:?}", answer.status);
            if answer.status == 503 { Ok(()) } else { Err(format!("answered {}", answer.status)) }
        })
        .await;
    }

    async fn one_more_processor(&mut self) {
        let extra = self.deployment.add(Kind::Process);
        extra.start();
        extra.wait_ready().await;
        self.hold(2..6).await;
        let mut extra = self.deployment.roles.pop().expect("the extra processor");
        let status = extra.terminate().await;
        assert!(status.success(), "a processor that leaves in good order ends well: {status}");
    }

    async fn cut(&mut self) {
        for _ in 0..self.random.random_range(3..12) {
            for number in 1..=self.deployment.brokers.size() {
                self.deployment.brokers.proxy(number).cut();
            }
            pause(Duration::from_millis(self.random.random_range(20..900))).await;
        }
    }

    async fn taken_again(&mut self) {
        let before = self.load.acknowledged();
        let (load, roles) = (&self.load, &mut self.deployment.roles);
        until("events to be taken after a fault", TAKEN_WITHIN, async || {
            roles.iter_mut().for_each(crate::role::Role::assert_alive);
            let now = load.acknowledged();
            if now > before { Ok(()) } else { Err(format!("{now} acknowledged")) }
        })
        .await;
    }

    /// A data team's look on the way. A gateway that has just been killed gives no listing, and nothing is concluded.
    async fn look(&mut self) {
        let team = self.deployment.team(self.random.random_range(0..8));
        if let Ok(export) = Export::open(&team).await
            && self.follower.take(&export).await.is_ok()
        {
            self.listings += 1;
        }
    }
}
