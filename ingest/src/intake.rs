//! The walk every request takes: who sends it, room for it, its bytes, its records, the log.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use millrace_clock::{Clock, SharedClock};
use millrace_directory::Node;
use millrace_eventlog::{AppendError, Log, NewRecord, Topic};
use millrace_schemas::topics;
use millrace_telemetry::RequestId;

use crate::address::client_address;
use crate::body::{self, Announced};
use crate::caller::{Caller, caller};
use crate::config::Config;
use crate::cors::OfAccount;
use crate::limits::{APPEND_PAUSE, HEADER_TEXT_BYTES_MAX, PATIENCE};
use crate::metrics::{ACCEPTED, APPEND_SECONDS, REJECTED};
use crate::records::{Prepared, Shared};
use crate::refusal::Refusal;
use crate::room::{Held, Room};

const RAW: Topic = Topic(topics::RAW);

/// Takes requests in.
pub(crate) struct Intake {
    log: Arc<dyn Log>,
    node: Arc<Node>,
    clock: SharedClock,
    room: Arc<Room>,
    config: Config,
    partitions: u32,
}

/// A request whose sender is known and whose body has been read.
pub(crate) struct Taken {
    pub(crate) caller: Caller,
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
    pub(crate) request_id: RequestId,
    /// The client's address, whole.
    pub(crate) client: Option<IpAddr>,
    /// Our clock when the body was there, ms since 1970.
    pub(crate) now_ms: i64,
    partitions: u32,
}

impl Taken {
    /// What all its records share.
    pub(crate) fn shared(&self) -> Shared<'_> {
        Shared {
            account_id: self.caller.account.as_str(),
            source: &self.caller.source,
            request_id: self.request_id.as_str(),
            witness_ms: self.now_ms,
            partitions: self.partitions,
        }
    }

    /// The `User-Agent` header.
    pub(crate) fn user_agent(&self) -> Option<&str> {
        header_text(&self.headers, &USER_AGENT)
    }

    /// The `Referer` header.
    pub(crate) fn referer(&self) -> Option<&str> {
        header_text(&self.headers, &REFERER)
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    let text = std::str::from_utf8(headers.get(name)?.as_bytes()).ok()?;
    (1..=HEADER_TEXT_BYTES_MAX).contains(&text.len()).then_some(text)
}

/// What a route makes of a request.
pub(crate) struct Made {
    pub(crate) prepared: Prepared,
    /// Sent once the records are in the log.
    pub(crate) answer: Response,
}

/// A request whose sender is known.
struct Sent {
    caller: Caller,
    headers: HeaderMap,
    body: Body,
    client: Option<IpAddr>,
    request_id: RequestId,
}

/// A request there is room for.
struct Admitted {
    announced: Announced,
    held: Held,
}

/// How long we may still keep a request waiting. Only our own waiting counts, not that for the client's bytes.
struct Patience {
    left: Duration,
}

impl Patience {
    /// Waits for something, as long as there is patience left. `None`: there is none.
    async fn spend<T>(&mut self, clock: &dyn Clock, on: impl Future<Output = T>) -> Option<T> {
        let began = clock.elapsed();
        let outcome = tokio::select! {
            biased;
            outcome = on => Some(outcome),
            () = clock.sleep(self.left) => None,
        };
        self.left = self.left.saturating_sub(clock.elapsed().saturating_sub(began));
        outcome
    }
}

impl Intake {
    pub(crate) fn new(log: Arc<dyn Log>, node: Arc<Node>, clock: SharedClock, config: Config) -> Self {
        let partitions = log.partitions(RAW);
        Self { log, node, clock, room: Room::new(config.in_flight_bytes), config, partitions }
    }

    /// Takes one request in. `make` turns its body into records and an answer; the answer is sent only once every record is
    /// durable. `api` names the API in metrics.
    pub(crate) async fn take(
        &self,
        request: Request,
        api: &'static str,
        make: impl FnOnce(&Taken) -> Result<Made, Refusal>,
    ) -> Response {
        let began = self.clock.elapsed();
        let (parts, body) = request.into_parts();
        let request_id = parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId::of(&parts.headers));
        let client = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(peer)| client_address(peer.ip(), &parts.headers, &self.config.trusted_proxies));
        let caller = match caller(&self.node, &parts, client).await {
            Ok(caller) => caller,
            Err(refusal) => return self.turn_away(&refusal, &parts.headers, body, &request_id).await,
        };
        let account = OfAccount(caller.account.clone());
        let mut patience = Patience { left: PATIENCE.saturating_sub(self.clock.elapsed().saturating_sub(began)) };
        let mut response = match self.admit(&mut patience, &parts.headers, &caller).await {
            Ok(admitted) => {
                let sent = Sent { caller, headers: parts.headers, body, client, request_id: request_id.clone() };
                let walked = self.walk(patience, admitted, sent, api, make).await;
                walked.unwrap_or_else(|refusal| refusal.answer(&request_id))
            }
            Err(refusal) => self.turn_away(&refusal, &parts.headers, body, &request_id).await,
        };
        response.extensions_mut().insert(account);
        response
    }

    /// Refuses a request whose body was not read, so that its sender gets to read why: a connection that is closed on bytes
    /// nobody took is reset, and the answer with it.
    pub(crate) async fn turn_away(
        &self,
        refusal: &Refusal,
        headers: &HeaderMap,
        body: Body,
        request_id: &RequestId,
    ) -> Response {
        // Who waits to be asked for the body is not asked.
        let taken = headers.contains_key(EXPECT) || body::drain(body, &*self.clock).await;
        let mut response = refusal.answer(request_id);
        if !taken {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Room for a request.
    async fn admit(&self, patience: &mut Patience, headers: &HeaderMap, caller: &Caller) -> Result<Admitted, Refusal> {
        let announced = Announced::of(headers)?;
        // The body, and about as much again for its records.
        let hold = self.room.hold(&caller.account, 2 * announced.bytes_max());
        let held = patience.spend(&*self.clock, hold).await.flatten().ok_or(Refusal::Busy)?;
        Ok(Admitted { announced, held })
    }

    async fn walk(
        &self,
        mut patience: Patience,
        Admitted { announced, mut held }: Admitted,
        Sent { caller, headers, body, client, request_id }: Sent,
        api: &'static str,
        make: impl FnOnce(&Taken) -> Result<Made, Refusal>,
    ) -> Result<Response, Refusal> {
        let body = body::read(body, announced, &*self.clock).await?;
        let now_ms = self.clock.now_ms();
        let taken = Taken { caller, body, headers, request_id, client, now_ms, partitions: self.partitions };
        let Made { prepared, answer } = make(&taken)?;
        held.resize(taken.body.len() + prepared.bytes);
        self.append(&mut patience, prepared, held, api).await?;
        Ok(answer)
    }

    async fn append(
        &self,
        patience: &mut Patience,
        prepared: Prepared,
        held: Held,
        api: &'static str,
    ) -> Result<(), Refusal> {
        let Prepared { records, accepted, bad, .. } = prepared;
        if records.is_empty() {
            return Ok(());
        }
        let until = self.clock.elapsed() + patience.left;
        let appending = offer(Arc::clone(&self.log), Arc::clone(&self.clock), records, until);
        // A task of its own: if the client hangs up or our patience ends, the log still holds the records, and so must we.
        let task = tokio::spawn(async move {
            let outcome = appending.await;
            drop(held);
            outcome
        });
        match patience.spend(&*self.clock, task).await {
            Some(Ok(Ok(()))) => {
                metrics::counter!(ACCEPTED, "api" => api).increment(accepted.into());
                for event in &bad {
                    metrics::counter!(REJECTED, "reason" => event.reason).increment(1);
                }
                Ok(())
            }
            Some(Ok(Err(AppendError::Refused { reason }))) => Err(Refusal::LogRefused(reason)),
            Some(Ok(Err(AppendError::Unknown { reason }))) => Err(Refusal::LogUnknown(reason)),
            Some(Ok(Err(error @ AppendError::TooLarge { .. }))) => Err(Refusal::Internal(error.to_string())),
            Some(Err(error)) => Err(Refusal::LogUnknown(format!("the append broke: {error}"))),
            None => Err(Refusal::LogUnknown("the log did not answer in time".into())),
        }
    }
}

/// Offers records to the log, again where it refuses and there is time: clients that are refused often give up at once.
async fn offer(
    log: Arc<dyn Log>,
    clock: SharedClock,
    records: Vec<NewRecord>,
    until: Duration,
) -> Result<(), AppendError> {
    loop {
        let began = clock.elapsed();
        let outcome = log.append(RAW, records.clone()).await.map(|_| ());
        let name = match &outcome {
            Ok(()) => "ok",
            Err(AppendError::Refused { .. }) => "refused",
            Err(AppendError::Unknown { .. }) => "unknown",
            Err(AppendError::TooLarge { .. }) => "too_large",
        };
        let seconds = clock.elapsed().saturating_sub(began).as_secs_f64();
        metrics::histogram!(APPEND_SECONDS, "outcome" => name).record(seconds);
        let again = matches!(outcome, Err(AppendError::Refused { .. })) && clock.elapsed() + APPEND_PAUSE < until;
        if !again {
            return outcome;
        }
        clock.sleep(APPEND_PAUSE).await;
    }
}
