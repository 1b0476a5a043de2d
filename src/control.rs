//! The control socket: how commands talk to the running process. A Unix socket in the data folder, for its owner only.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use millrace_access_api::local_router;
use millrace_directory::audit::Auditor;
use millrace_telemetry::{Requests, request_layer};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::error::StartError;
use crate::folder::{Folder, remove};
use crate::limits::CONTROL_PATH_BYTES_MAX;
use crate::status::{Sources, Status};

/// Binds the socket. The caller holds the folder's log, so a socket that is there already belongs to nobody.
///
/// # Errors
/// The path is too long for a socket, or the file system's.
pub(crate) fn bind(folder: &Folder) -> Result<UnixListener, StartError> {
    let path = folder.control();
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > CONTROL_PATH_BYTES_MAX {
        return Err(StartError::Other(format!(
            "{}: the path of a socket takes at most {CONTROL_PATH_BYTES_MAX} bytes, this one is {bytes}: choose a shorter --data",
            path.display()
        )));
    }
    let failed = |error: std::io::Error| StartError::other(&path, error);
    remove(&path).map_err(failed)?;
    let listener = UnixListener::bind(&path).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// The routes below `/local`: the operator's routes of the directory, and `/local/status`. Whoever reaches them may do everything:
/// they are served on the socket, or called within a command's own process.
pub(crate) fn router(sources: Sources) -> Router {
    let (log, clock) = (Arc::clone(&sources.ground.log), Arc::clone(&sources.ground.clock));
    let local = local_router(Arc::clone(&sources.node), Arc::new(Auditor::new(log, Arc::clone(&clock))));
    Router::new()
        .route("/local/status", get(status))
        .with_state(sources)
        .merge(local)
        .layer(from_fn_with_state(Requests::new(clock, "control"), request_layer))
}

async fn status(State(sources): State<Sources>) -> axum::Json<Status> {
    axum::Json(sources.status().await)
}

/// Serves the socket until `stop`, then removes it.
///
/// # Errors
/// The listener's.
pub(crate) async fn serve(
    listener: UnixListener,
    router: Router,
    folder: Folder,
    stop: CancellationToken,
) -> Result<(), String> {
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = remove(&folder.control()) {
        tracing::debug!(%error, "the control socket stays; the next start removes it");
    }
    served.map_err(|error| error.to_string())
}
