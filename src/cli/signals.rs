//! How a process is stopped.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGTERM and SIGINT. Taken hold of before anything is started.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The first signal stops in good order, the second at once.
    pub(super) async fn stop(mut self, stop: CancellationToken) {
        let first = self.next().await;
        tracing::info!(signal = first, "stopping: finishing what was taken");
        stop.cancel();
        let second = self.next().await;
        tracing::warn!(signal = second, "stopping at once");
        std::process::exit(1);
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
