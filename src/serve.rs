//! The API's listener: accepts until told to stop, then lets what is under way finish.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_WAIT};

/// Serves `router` on `listener` until `stop`, then returns once every request under way is answered. Requests carry
/// their peer's address as [`ConnectInfo`].
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    // The semaphore is never closed: without a permit there is no connection.
    while let Some(Ok(permit)) = stop.run_until_cancelled(Arc::clone(&room).acquire_owned()).await {
        match stop.run_until_cancelled(listener.accept()).await {
            None => break,
            Some(Ok((stream, peer))) => {
                let connection = connection(stream, peer, router.clone(), stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Real time: the system must close a file handle first, whatever the injected clock shows.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "answers may wait for more");
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            // An idle connection ends now, one with a request under way after its answer.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::routing::get;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_stop_lets_the_request_under_way_finish_and_takes_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (says_begun, waits) = (Arc::clone(&begun), Arc::clone(&finish));
        let slow = async move |ConnectInfo(peer): ConnectInfo<SocketAddr>| {
            says_begun.notify_one();
            waits.notified().await;
            peer.ip().to_string()
        };
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, Router::new().route("/", get(slow)), stop.clone()));
        let url = format!("http://{address}/");
        let client = reqwest::Client::new();
        let answer = tokio::spawn(client.get(&url).send());
        begun.notified().await;

        stop.cancel();
        let refused = tokio::time::timeout(Duration::from_secs(10), async {
            while reqwest::Client::new().get(&url).timeout(Duration::from_millis(200)).send().await.is_ok() {}
        });
        refused.await.expect("no further connection is taken");
        assert!(!served.is_finished(), "it waits for the request under way");
        finish.notify_one();

        assert_eq!(answer.await.unwrap().unwrap().text().await.unwrap(), "127.0.0.1");
        tokio::time::timeout(Duration::from_secs(10), served).await.expect("it ends").unwrap();
    }
}
