//! A thread that looks after a log: are the brokers there, and do its clients have something to report?

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::Shared;
use crate::limits::PROBE_EVERY;
use crate::topics::log_topic;

const TROUBLE: &str = "brokers";

/// Stops its thread when told, or when dropped.
pub(crate) struct Keeper {
    stop: Mutex<Option<mpsc::Sender<()>>>,
}

impl Keeper {
    pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::downgrade(shared);
        std::thread::Builder::new().name("kafka-keeper".into()).spawn(move || keep(&shared, &stopped))?;
        Ok(Self { stop: Mutex::new(Some(stop)) })
    }

    pub(crate) fn stop(&self) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn keep(shared: &Weak<Shared>, stopped: &mpsc::Receiver<()>) {
    while stopped.recv_timeout(PROBE_EVERY) == Err(RecvTimeoutError::Timeout) {
        let Some(shared) = shared.upgrade() else { return };
        let heard = shared.cluster.serve();
        shared.readers.shrink(false);
        match shared.cluster.partitions(&log_topic(&shared.options)) {
            Ok(1) => {
                shared.troubles.end(TROUBLE);
                shared.appender.forgive();
            }
            Ok(_) => shared.troubles.begin(TROUBLE, format!("{} is gone", log_topic(&shared.options))),
            Err(error) => {
                let heard = heard.map(|heard| format!(": {heard}")).unwrap_or_default();
                shared.troubles.begin(TROUBLE, format!("no broker answers: {error}{heard}"));
            }
        }
    }
}
