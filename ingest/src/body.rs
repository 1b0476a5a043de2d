//! The body of a request: read within bounds of size and time, expanded within the same bounds.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use millrace_clock::Clock;

use crate::caller::only;
use crate::limits::{BODY_BYTES_MAX, BODY_PAUSE_MAX, BODY_WAIT_MAX, DRAIN_BYTES_MAX, DRAIN_WAIT, ZSTD_WINDOW_LOG_MAX};
use crate::metrics::BODY_BYTES;
use crate::refusal::Refusal;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// What a request's head says of its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced {
    pub(crate) encoding: Encoding,
    /// `Content-Length`; absent for chunked bodies.
    length: Option<usize>,
}

impl Announced {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let encoding = match only(headers, CONTENT_ENCODING, "Content-Encoding")? {
            None => Encoding::Identity,
            Some(name) if name.eq_ignore_ascii_case("identity") => Encoding::Identity,
            Some(name) if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => Encoding::Gzip,
            Some(name) if name.eq_ignore_ascii_case("zstd") => Encoding::Zstd,
            Some(_) => return Err(Refusal::UnknownEncoding),
        };
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(Self { encoding, length })
    }

    /// The most it can hold in memory.
    pub(crate) fn bytes_max(&self) -> usize {
        match (self.encoding, self.length) {
            (Encoding::Identity, Some(length)) => length.min(BODY_BYTES_MAX),
            _ => BODY_BYTES_MAX,
        }
    }
}

/// Reads a body to its end, and expands it.
pub(crate) async fn read(body: Body, announced: Announced, clock: &dyn Clock) -> Result<Bytes, Refusal> {
    let sent = match collect(body, announced.length, clock).await? {
        Collected::Whole(sent) => sent,
        Collected::TooLarge(rest) => {
            drain(rest, clock).await;
            return Err(Refusal::BodyTooLarge);
        }
    };
    metrics::counter!(BODY_BYTES, "form" => "sent").increment(sent.len() as u64);
    let expanded = expand(sent, announced.encoding)?;
    metrics::counter!(BODY_BYTES, "form" => "expanded").increment(expanded.len() as u64);
    Ok(expanded)
}

enum Collected {
    Whole(Bytes),
    /// More than allowed; the rest is still on its way.
    TooLarge(Body),
}

async fn collect(mut body: Body, length: Option<usize>, clock: &dyn Clock) -> Result<Collected, Refusal> {
    if length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Ok(Collected::TooLarge(body));
    }
    let until = clock.elapsed() + BODY_WAIT_MAX;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(part) = next(&mut body, until, clock).await? {
        if first.len() + all.len() + part.len() > BODY_BYTES_MAX {
            return Ok(Collected::TooLarge(body));
        }
        // Most bodies come in one part, which is taken as it is.
        if first.is_empty() && all.is_empty() {
            first = part;
            continue;
        }
        if all.is_empty() {
            all.reserve(length.unwrap_or_default().max(first.len() + part.len()));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&part);
    }
    Ok(Collected::Whole(if all.is_empty() { first } else { all.freeze() }))
}

/// The next part with bytes in it.
async fn next(body: &mut Body, until: Duration, clock: &dyn Clock) -> Result<Option<Bytes>, Refusal> {
    loop {
        let patience = BODY_PAUSE_MAX.min(until.saturating_sub(clock.elapsed()));
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = clock.sleep(patience) => return Err(Refusal::SlowBody),
        };
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(Refusal::BrokenBody(format!("The body broke off: {error}"))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(part) if !part.is_empty() => return Ok(Some(part)),
                _ => {}
            },
        }
    }
}

/// Reads on for a while and keeps nothing: who is still sending does not look for an answer. Whether the end was reached.
pub(crate) async fn drain(mut body: Body, clock: &dyn Clock) -> bool {
    let mut bytes = 0;
    let rest = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAIN_BYTES_MAX {
                return false;
            }
        }
        true
    };
    tokio::select! {
        ended = rest => ended,
        () = clock.sleep(DRAIN_WAIT) => false,
    }
}

/// Unpacks a body; stops as soon as it is larger than a body may be.
pub(crate) fn expand(sent: Bytes, encoding: Encoding) -> Result<Bytes, Refusal> {
    match encoding {
        Encoding::Identity => Ok(sent),
        Encoding::Gzip => bounded(flate2::read::MultiGzDecoder::new(&*sent), sent.len(), "gzip"),
        Encoding::Zstd => {
            let internal = |error: std::io::Error| Refusal::Internal(format!("zstd: {error}"));
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&*sent).map_err(internal)?;
            // A frame may ask for a window of 128 MiB; a body needs no more than its own size.
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(internal)?;
            bounded(decoder, sent.len(), "zstd")
        }
    }
}

fn bounded(from: impl Read, sent: usize, name: &'static str) -> Result<Bytes, Refusal> {
    let mut expanded = Vec::with_capacity((sent * 4).min(BODY_BYTES_MAX));
    match from.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut expanded) {
        Ok(_) if expanded.len() > BODY_BYTES_MAX => Err(Refusal::BodyTooLarge),
        Ok(_) => Ok(expanded.into()),
        Err(_) => Err(Refusal::BrokenBody(format!("The body is not the {name} that Content-Encoding says"))),
    }
}

#[cfg(test)]
mod tests;
