//! Opening: who is this log, and is everything as its promises need it?

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_eventlog::Topic;

use crate::append::Appender;
use crate::cluster::Cluster;
use crate::identity::{Identity, OfTopic};
use crate::keeper::Keeper;
use crate::member::Members;
use crate::options::{OpenError, Options};
use crate::pool::Pool;
use crate::topics::{LOG_TOPIC, describe_found, identify, named, unusable};
use crate::trouble::Troubles;
use crate::{KafkaLog, OfLog, Shared};

impl KafkaLog {
    /// Opens the log on the cluster for work with these topics. Changes nothing there.
    ///
    /// # Errors
    /// [`OpenError`] by what an operator does next.
    pub async fn open(options: Options, topics: &[Topic]) -> Result<Arc<Self>, OpenError> {
        let cluster = Cluster::open(&options, &[]).await?;
        let (identity, found) = identify(&options, &cluster).await?;
        let used = used(&identity, topics)?;
        describe_found(&options, &used, &found).await?;
        if options.dev {
            tracing::warn!(
                "dev: fewer than three replicas are accepted. What was acknowledged is lost with the broker that has it, \
                 and with it every promise of this log"
            );
        }
        let topics = topics.iter().map(|topic| {
            let partitions = identity.topic(topic.0).map_or(0, |of| of.partitions);
            (*topic, OfLog { name: named(&options, *topic).into(), partitions })
        });
        let topics: BTreeMap<_, _> = topics.collect();
        let troubles = Arc::new(Troubles::default());
        let shared = Arc::new(Shared {
            appender: Appender::new(options.clone(), Arc::clone(&troubles)).map_err(unusable)?,
            readers: Arc::new(Pool::new(options.clone())),
            members: Members::default(),
            cluster,
            troubles,
            options,
        });
        let keeper = Keeper::start(&shared).map_err(|error| OpenError::Unreachable(error.to_string()))?;
        Ok(Arc::new(Self { id: identity.id, topics, shared, keeper }))
    }
}

/// What must be right for these topics to be used: they, and the topic that says which log this is.
fn used(identity: &Identity, topics: &[Topic]) -> Result<Vec<OfTopic>, OpenError> {
    let without: Vec<_> = topics.iter().filter(|topic| identity.topic(topic.0).is_none()).collect();
    if !without.is_empty() {
        let all = without.iter().map(|topic| format!("log {} was made without {topic}", identity.id));
        return Err(OpenError::NotWhole(all.collect::<Vec<_>>().join("; ")));
    }
    let is_used = |topic: &OfTopic| topic.name == LOG_TOPIC || topics.iter().any(|used| used.0 == topic.name);
    Ok(identity.all().into_iter().filter(is_used).collect())
}
