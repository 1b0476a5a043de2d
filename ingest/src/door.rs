//! What every ingest request goes through: who sends, room, the body, and at the end the append.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use bytes::Bytes;
use http::HeaderMap;
use millrace_eventlog::{AppendError, NewRecord};

use millrace_telemetry::RequestId;
use tokio::time::Instant;

use crate::caller::{Caller, authenticate};
use crate::limits::{ANSWER_WAIT, NESTING_MAX};
use crate::metrics::{APPEND_SECONDS, BODY_BYTES};
use crate::refusal::Refusal;
use crate::room::Place;
use crate::{RAW, Services, body, nesting, origin};

/// A request that is let in: its sender, its whole body, its room.
pub(crate) struct Entered {
    pub(crate) caller: Caller,
    pub(crate) headers: HeaderMap,
    pub(crate) client: IpAddr,
    pub(crate) body: Bytes,
    answer_by: Instant,
    _room: Vec<Place>,
}

/// The id the request's layer gave it.
pub(crate) fn request_id(request: &Request) -> Arc<str> {
    request.extensions().get::<RequestId>().cloned().unwrap_or_else(|| RequestId::of(request.headers())).0
}

/// Authenticates, waits for room, reads the body.
pub(crate) async fn enter(services: &Services, request: Request) -> Result<Entered, Refusal> {
    let (parts, incoming) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let peer = peer.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let client = origin::client_ip(peer, &parts.headers, &services.config.trusted_proxies);
    let caller = authenticate(&services.node, &parts, client).await?;
    let announced = body::announced(&parts.headers);
    let mut room = vec![take_room(services, &caller, announced, ANSWER_WAIT).await?];
    let body = body::read(&parts.headers, incoming).await?;
    let answer_by = Instant::now() + ANSWER_WAIT;
    if body.len() > announced {
        room.push(take_room(services, &caller, body.len() - announced, ANSWER_WAIT).await?);
    }
    metrics::counter!(BODY_BYTES).increment(body.len() as u64);
    let depth = nesting::depth(&body);
    if depth > NESTING_MAX {
        return Err(Refusal::Malformed(format!("The body is nested {depth} deep: at most {NESTING_MAX} is allowed")));
    }
    Ok(Entered { caller, headers: parts.headers, client, body, answer_by, _room: room })
}

async fn take_room(services: &Services, caller: &Caller, bytes: usize, at_most: Duration) -> Result<Place, Refusal> {
    let place = services.room.take(&caller.account, bytes, at_most).await;
    place.ok_or_else(|| Refusal::Busy("no room for further requests".into()))
}

/// Appends all records of a request, and answers once they are durable.
pub(crate) async fn append(services: &Services, entered: &Entered, records: Vec<NewRecord>) -> Result<(), Refusal> {
    if records.is_empty() {
        return Ok(());
    }
    let begun = Instant::now();
    let appended = tokio::time::timeout_at(entered.answer_by, services.log.append(RAW, records)).await;
    metrics::histogram!(APPEND_SECONDS).record(begun.elapsed().as_secs_f64());
    match appended {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error @ (AppendError::Refused { .. } | AppendError::TooLarge { .. }))) => {
            Err(Refusal::Busy(error.to_string()))
        }
        Ok(Err(error @ AppendError::Unknown { .. })) => Err(Refusal::Unknown(error.to_string())),
        Err(_) => Err(Refusal::Unknown("the log did not answer in time".into())),
    }
}
