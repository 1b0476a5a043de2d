use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use futures::StreamExt;
use millrace_clock::{ManualClock, SystemClock};
use proptest::prelude::*;

use super::*;

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

fn zstd(bytes: &[u8]) -> Bytes {
    zstd::encode_all(bytes, 1).unwrap().into()
}

fn announced(encoding: Encoding, length: Option<usize>) -> Announced {
    Announced { encoding, length }
}

async fn read_all(body: Body, announced: Announced) -> Result<Bytes, Refusal> {
    read(body, announced, &*SystemClock::shared()).await
}

/// Parts that come one by one, and then nothing more, but no end.
fn unfinished(parts: Vec<&'static str>) -> Body {
    let parts = futures::stream::iter(parts.into_iter().map(|part| Ok::<_, std::io::Error>(Bytes::from(part))));
    Body::from_stream(parts.chain(futures::stream::pending()))
}

#[tokio::test]
async fn the_largest_body_is_read_and_one_byte_more_is_not() {
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
        for (size, fits) in [(BODY_BYTES_MAX, true), (BODY_BYTES_MAX + 1, false)] {
            let plain = vec![b'x'; size];
            let sent = match encoding {
                Encoding::Identity => plain.clone().into(),
                Encoding::Gzip => gzip(&plain),
                Encoding::Zstd => zstd(&plain),
            };
            let length = (encoding == Encoding::Identity).then_some(size);
            match read_all(Body::from(sent), announced(encoding, length)).await {
                Ok(read) => assert!(fits && read == plain, "{encoding:?} {size}"),
                Err(Refusal::BodyTooLarge) => assert!(!fits, "{encoding:?} {size}"),
                Err(other) => panic!("{encoding:?} {size}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_as_it_comes() {
    let part = "x".repeat(1 << 20);
    let parts = futures::stream::iter((0..4).map(move |_| Ok::<_, std::io::Error>(part.clone())));
    let read = read_all(Body::from_stream(parts), announced(Encoding::Identity, None)).await;
    assert!(matches!(read, Err(Refusal::BodyTooLarge)), "{read:?}");
}

#[tokio::test]
async fn parts_are_put_together() {
    let parts = ["{", "", "\"a\"", ":1}"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part)));
    let body = Body::from_stream(futures::stream::iter(parts));
    assert_eq!(read_all(body, announced(Encoding::Identity, None)).await.unwrap(), "{\"a\":1}");
}

#[tokio::test]
async fn a_body_that_is_not_what_its_encoding_says_is_broken() {
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let whole = if encoding == Encoding::Gzip { gzip(&[7; 10_000]) } else { zstd(&[7; 10_000]) };
        for sent in [Bytes::from_static(b"{}"), whole.slice(..whole.len() - 3)] {
            let read = expand(sent, encoding);
            assert!(matches!(read, Err(Refusal::BrokenBody(_))), "{encoding:?}: {read:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_pauses_too_long_is_given_up() {
    let clock = ManualClock::at(0);
    let moving = Arc::clone(&clock);
    let reading =
        tokio::spawn(
            async move { read(unfinished(vec!["{"]), announced(Encoding::Identity, Some(10)), &*clock).await },
        );
    let moved = tokio::spawn(async move {
        loop {
            moving.advance(BODY_PAUSE_MAX / 10);
            tokio::task::yield_now().await;
        }
    });
    let read = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("it is given up").unwrap();
    moved.abort();
    assert!(matches!(read, Err(Refusal::SlowBody)), "{read:?}");
}

#[tokio::test]
async fn a_body_that_drips_for_ever_is_given_up() {
    let clock = ManualClock::at(0);
    let moving = Arc::clone(&clock);
    let drip = futures::stream::repeat_with(move || {
        moving.advance(BODY_PAUSE_MAX / 2);
        Ok::<_, std::io::Error>(Bytes::from_static(b" "))
    });
    // Every part is there at once; between two of them the clock moves.
    let drip = drip.then(|part| async {
        tokio::task::yield_now().await;
        part
    });
    let reading = read(Body::from_stream(drip), announced(Encoding::Identity, None), &*clock);
    let read = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("it is given up");
    assert!(matches!(read, Err(Refusal::SlowBody)), "{read:?}");
}

#[test]
fn a_zstd_body_may_ask_for_a_window_of_8_mib_and_no_more() {
    let with_window = |log: u32| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        // Two writes: of one the encoder would know the size, and ask for no more than that.
        encoder.write_all(b"{").unwrap();
        encoder.flush().unwrap();
        encoder.write_all(b"}").unwrap();
        Bytes::from(encoder.finish().unwrap())
    };
    assert_eq!(expand(with_window(ZSTD_WINDOW_LOG_MAX), Encoding::Zstd).unwrap(), "{}");
    let wider = expand(with_window(ZSTD_WINDOW_LOG_MAX + 1), Encoding::Zstd);
    assert!(matches!(wider, Err(Refusal::BrokenBody(_))), "{wider:?}");
}

#[tokio::test]
async fn of_a_refused_body_8_mib_are_read_and_no_more() {
    let part = Bytes::from(vec![b' '; 1 << 20]);
    let of = |parts: usize| {
        let part = part.clone();
        Body::from_stream(futures::stream::iter((0..parts).map(move |_| Ok::<_, std::io::Error>(part.clone()))))
    };
    let clock = SystemClock::shared();
    assert!(drain(of(DRAIN_BYTES_MAX >> 20), &*clock).await);
    assert!(!drain(of((DRAIN_BYTES_MAX >> 20) + 1), &*clock).await);
    let broken = Body::from_stream(futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("reset"))]));
    assert!(!drain(broken, &*clock).await);
}

#[tokio::test]
async fn a_refused_body_is_waited_for_for_a_second() {
    let clock = ManualClock::at(0);
    let draining = drain(unfinished(vec!["{"]), &*clock);
    tokio::pin!(draining);
    assert!(futures::poll!(&mut draining).is_pending());
    clock.advance(DRAIN_WAIT - Duration::from_millis(1));
    assert!(futures::poll!(&mut draining).is_pending());
    clock.advance(Duration::from_millis(1));
    assert!(!draining.await);
}

#[test]
fn encodings_are_known_by_name_and_may_stand_once() {
    let of = |values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, http::HeaderValue::from_static(value));
        }
        Announced::of(&headers).map(|announced| announced.encoding)
    };
    assert_eq!(of(&[]).unwrap(), Encoding::Identity);
    assert_eq!(of(&["GZIP"]).unwrap(), Encoding::Gzip);
    assert_eq!(of(&["zstd"]).unwrap(), Encoding::Zstd);
    assert!(matches!(of(&["br"]), Err(Refusal::UnknownEncoding)));
    assert!(matches!(of(&["gzip, gzip"]), Err(Refusal::UnknownEncoding)));
    assert!(matches!(of(&["gzip", "gzip"]), Err(Refusal::Twice(_))));
}

proptest! {
    #[test]
    fn any_bytes_expand_or_are_refused(bytes: Vec<u8>) {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let _ = expand(bytes.clone().into(), encoding);
        }
        prop_assert_eq!(expand(gzip(&bytes), Encoding::Gzip).unwrap(), bytes.clone());
        prop_assert_eq!(expand(zstd(&bytes), Encoding::Zstd).unwrap(), bytes);
    }
}
