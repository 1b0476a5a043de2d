//! The gateway's listener: accepts until told to stop, then lets what is under way finish.

use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use s3s::{S3, S3Request, S3Response, S3Result, dto};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{Gateway, edge, service};
use crate::Services;
use crate::limits::{CONNECTIONS_MAX, DRAIN_WAIT, HEAD_BYTES_MAX, HEAD_WAIT};
use crate::metrics::GATEWAY_CONNECTIONS;

/// Serves the gateway on `listener` until `stop`; then takes no more and gives answers under way
/// [`DRAIN_WAIT`](crate::limits::DRAIN_WAIT).
pub async fn serve_gateway(listener: TcpListener, services: Services, stop: CancellationToken) {
    let inner = service(&services);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => serve(stream, permit, &services, &inner, &graceful),
            Err(error) => {
                // Out of file handles, mostly: others must close first.
                tracing::warn!(%error, "the S3 gateway could not accept a connection");
                services.clock.sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = services.clock.sleep(DRAIN_WAIT) => tracing::warn!("the S3 gateway stopped with answers under way"),
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

fn serve(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    services: &Services,
    inner: &s3s::service::S3Service,
    graceful: &GracefulShutdown,
) {
    let (services, inner) = (services.clone(), inner.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| edge::answer(services.clone(), inner.clone(), request)),
        );
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        metrics::gauge!(GATEWAY_CONNECTIONS).increment(1.0);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the S3 gateway ended early");
        }
        metrics::gauge!(GATEWAY_CONNECTIONS).decrement(1.0);
        drop(permit);
    });
}

#[async_trait::async_trait]
impl S3 for Gateway {
    async fn get_object(&self, request: S3Request<dto::GetObjectInput>) -> S3Result<S3Response<dto::GetObjectOutput>> {
        self.get(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        self.head(request).await
    }

    async fn list_objects(
        &self,
        request: S3Request<dto::ListObjectsInput>,
    ) -> S3Result<S3Response<dto::ListObjectsOutput>> {
        self.list_v1(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        self.list_v2(request).await
    }

    /// The bucket is ours (the signature's check said so), so it is there.
    async fn head_bucket(
        &self,
        _request: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        Ok(S3Response::new(dto::HeadBucketOutput::default()))
    }

    /// Empty: what S3 says of us-east-1, the region of clients that have none.
    async fn get_bucket_location(
        &self,
        _request: S3Request<dto::GetBucketLocationInput>,
    ) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
        Ok(S3Response::new(dto::GetBucketLocationOutput::default()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_connection_too_many_waits_until_another_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let room = Arc::new(Semaphore::new(1));
        let _clients = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let (_first, permit) = accept(&listener, &room).await.unwrap();
        let second = accept(&listener, &room);
        tokio::pin!(second);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut second).await.is_err(), "no room");
        drop(permit);
        assert!(tokio::time::timeout(Duration::from_secs(5), second).await.is_ok(), "room again");
    }
}
