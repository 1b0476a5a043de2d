//! Senders that keep a rate, behave as a careful client does, and remember what was acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::events::{batch, conversion, decision};
use crate::export::Export;
use crate::follow::Follower;
use crate::wait::{clock, pause, until};

/// What is sent.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The account.
    pub account: String,
    /// Part of every uuid and visitor, so that two loads never meet.
    pub name: String,
    /// Events a second, over all senders.
    pub rate: u64,
    /// Events in a request; even: decisions and conversions alternate.
    pub per_request: u64,
    /// How many send at once.
    pub senders: u64,
    /// How many visitors there are.
    pub visitors: u64,
}

impl Plan {
    /// The visitor of event `n`. An even event is a decision; the odd one after it is the same visitor's conversion.
    #[must_use]
    pub fn visitor(&self, n: u64) -> String {
        format!("{}-visitor-{}", self.name, (n / 2) % self.visitors)
    }

    /// The uuid of event `n`.
    #[must_use]
    pub fn uuid(&self, n: u64) -> String {
        format!("{}-{n:012}", self.name)
    }

    /// The type whose row event `n` becomes.
    #[must_use]
    pub fn row_type(n: u64) -> &'static str {
        if n.is_multiple_of(2) { "decisions" } else { "events" }
    }

    /// The one experiment and variation of a visitor, as [`Follower`] writes them.
    #[must_use]
    pub fn experiment(&self, n: u64) -> String {
        let (experiment, variation) = self.assignment(n);
        format!("{experiment}={variation}")
    }

    fn assignment(&self, n: u64) -> (String, String) {
        let visitor = (n / 2) % self.visitors;
        (format!("experiment-{}", visitor % 7), format!("variation-{}", visitor % 3))
    }

    fn body(&self, request: u64) -> Value {
        let now = clock().now_ms();
        let first = request * self.per_request;
        let visitors = (first..first + self.per_request).map(|n| {
            let (visitor, uuid, (experiment, variation)) = (self.visitor(n), self.uuid(n), self.assignment(n));
            if n.is_multiple_of(2) {
                decision(&visitor, &uuid, &experiment, &variation, now)
            } else {
                conversion(&visitor, &uuid, "purchase", now)
            }
        });
        batch(&self.account, visitors.collect())
    }
}

/// A load that runs until it is stopped.
pub struct Load {
    plan: Plan,
    shared: Arc<Shared>,
    senders: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    next_request: AtomicU64,
    stop: AtomicBool,
    acknowledged: Mutex<BTreeSet<u64>>,
    resent: AtomicU64,
    latencies_us: Mutex<Vec<u32>>,
    slowest_us: AtomicU64,
}

/// What a load did.
#[derive(Debug)]
pub struct Sent {
    /// What was sent.
    pub plan: Plan,
    /// The requests that were answered 204, by number.
    pub requests: BTreeSet<u64>,
    /// How often a request was sent again because it was unknown whether it had been taken.
    pub resent: u64,
    /// From request to answer, in microseconds, acknowledged requests only; sorted.
    pub latencies_us: Vec<u32>,
    /// The longest that any answer took, whatever it said.
    pub slowest: Duration,
}

impl Load {
    /// Starts to send to the API.
    #[must_use]
    pub fn start(plan: Plan, api: &Api) -> Self {
        Self::start_on(plan, vec![api.clone()])
    }

    /// Starts to send to several, as through a load balancer: a request that was not acknowledged goes to the next one.
    #[must_use]
    pub fn start_on(plan: Plan, apis: Vec<Api>) -> Self {
        let shared = Arc::new(Shared::default());
        let mut senders = JoinSet::new();
        for _ in 0..plan.senders {
            senders.spawn(send(plan.clone(), apis.clone(), Arc::clone(&shared)));
        }
        Self { plan, shared, senders }
    }

    /// How many events were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        lock(&self.shared.acknowledged).len() as u64 * self.plan.per_request
    }

    /// The request latencies since the last call, sorted, in microseconds.
    #[must_use]
    pub fn take_latencies_us(&self) -> Vec<u32> {
        let mut latencies = std::mem::take(&mut *lock(&self.shared.latencies_us));
        latencies.sort_unstable();
        latencies
    }

    /// Stops, after the requests on their way are acknowledged. The server must be up.
    ///
    /// # Panics
    /// A sender does not get its last request acknowledged within a minute, or got an answer that is neither 204 nor 503.
    pub async fn stop(mut self) -> Sent {
        self.shared.stop.store(true, Ordering::Relaxed);
        let all =
            async { while self.senders.join_next().await.transpose().expect("a sender does not panic").is_some() {} };
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("the last requests are acknowledged");
        let latencies_us = self.take_latencies_us();
        Sent {
            requests: std::mem::take(&mut *lock(&self.shared.acknowledged)),
            resent: self.shared.resent.load(Ordering::Relaxed),
            latencies_us,
            slowest: Duration::from_micros(self.shared.slowest_us.load(Ordering::Relaxed)),
            plan: self.plan,
        }
    }
}

impl Sent {
    /// The numbers of all acknowledged events.
    pub fn events(&self) -> impl Iterator<Item = u64> {
        let per_request = self.plan.per_request;
        self.requests.iter().flat_map(move |request| request * per_request..(request + 1) * per_request)
    }

    /// Whether the follower has a row of an event.
    fn is_visible(&self, follower: &Follower, n: u64) -> bool {
        follower.row(Plan::row_type(n), &self.plan.visitor(n), &self.plan.uuid(n)).is_some()
    }

    /// Takes listings until every acknowledged event has a row.
    ///
    /// # Panics
    /// Some have none after `at_most`.
    pub async fn wait_until_visible(&self, follower: &mut Follower, export: &Export, at_most: Duration) {
        // What was seen stays: after an hour it is millions, and looking for all of them again takes longer than there is.
        let mut unseen: Vec<u64> = self.events().collect();
        until("every acknowledged event to be visible", at_most, async || {
            follower.take(export).await.map_err(|error| error.to_string())?;
            unseen.retain(|n| !self.is_visible(follower, *n));
            match unseen.first() {
                None => Ok(()),
                Some(first) => Err(format!("{} missing, the first is {}", unseen.len(), self.plan.uuid(*first))),
            }
        })
        .await;
    }

    /// Asserts that every acknowledged conversion carries its visitor's experiment, and it alone.
    ///
    /// # Panics
    /// One does not.
    pub fn assert_attributed(&self, follower: &Follower) {
        for n in self.events().filter(|n| !n.is_multiple_of(2)) {
            let row = follower.row("events", &self.plan.visitor(n), &self.plan.uuid(n));
            let row = row.unwrap_or_else(|| panic!("{} has no row", self.plan.uuid(n)));
            assert_eq!(*row.experiments, *self.plan.experiment(n), "the experiments of {}", self.plan.uuid(n));
        }
    }
}

/// The value below which `percent` of sorted values lie.
#[must_use]
pub fn percentile(sorted: &[u32], percent: usize) -> u32 {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

async fn send(plan: Plan, apis: Vec<Api>, shared: Arc<Shared>) {
    let period = Duration::from_micros(1_000_000 * plan.per_request * plan.senders / plan.rate.max(1));
    let mut ticks = tokio::time::interval(period);
    while !shared.stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let request = shared.next_request.fetch_add(1, Ordering::Relaxed);
        let body = plan.body(request);
        let balanced = apis.iter().cycle().skip(usize::try_from(request).unwrap_or_default() % apis.len());
        for api in balanced {
            let began = clock().elapsed();
            let answer = api.post(&body).await;
            let took_us = u64::try_from((clock().elapsed() - began).as_micros()).unwrap_or(u64::MAX);
            if let Ok(answer) = &answer {
                shared.slowest_us.fetch_max(took_us, Ordering::Relaxed);
                assert!([204, 503].contains(&answer.status), "a good request got {}: {}", answer.status, answer.text());
            }
            if answer.is_ok_and(|answer| answer.status == 204) {
                lock(&shared.latencies_us).push(u32::try_from(took_us).unwrap_or(u32::MAX));
                lock(&shared.acknowledged).insert(request);
                break;
            }
            // No answer, or 503: unknown. A careful client sends the same uuids again.
            shared.resent.fetch_add(1, Ordering::Relaxed);
            pause(Duration::from_millis(50)).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
