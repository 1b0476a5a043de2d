//! What a log is made with and never changes: its id and its topics. One small text file, written once per change, whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::OpenError;
use crate::{Topic, TopicSpec};

const FILE: &str = "log";
const FIRST_LINE: &str = "millrace log 1";

/// The id and the topics, in the order in which their partitions are numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: String,
    pub(super) topics: Vec<(String, u32)>,
}

impl Identity {
    /// Reads the file; `None` if there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, OpenError> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io(&path, error)),
        };
        Self::parse(&text).map(Some).ok_or_else(|| OpenError::Damaged {
            file: path,
            lost: None,
            reason: "it does not read as a log's identity".into(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == FIRST_LINE).then_some(())?;
        let id = lines.next()?.strip_prefix("id ")?.to_owned();
        let mut topics = Vec::new();
        for line in lines {
            let (name, partitions) = line.strip_prefix("topic ")?.rsplit_once(' ')?;
            topics.push((name.to_owned(), partitions.parse().ok()?));
        }
        (!topics.is_empty()).then_some(Self { id, topics })
    }

    /// Writes the file so that it is there whole or not at all.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut text = format!("{FIRST_LINE}\nid {}\n", self.id);
        for (name, partitions) in &self.topics {
            text.push_str(&format!("topic {name} {partitions}\n"));
        }
        let making = folder.join("log.new");
        let mut file = File::create(&making)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&making, folder.join(FILE))?;
        File::open(folder)?.sync_all()
    }

    /// The topics the caller wants, in the order of this log; those it did not have yet come last. The second value says
    /// whether there are such.
    pub(super) fn reconcile(
        &mut self,
        wanted: &[TopicSpec],
        folder: &Path,
    ) -> Result<(Vec<TopicSpec>, bool), OpenError> {
        let mut order = Vec::new();
        for (name, partitions) in &self.topics {
            let spec = wanted.iter().find(|spec| spec.topic.0 == name).ok_or_else(|| OpenError::Incompatible {
                folder: folder.to_owned(),
                reason: format!("it has a topic {name} that this release does not know"),
            })?;
            if spec.partitions != *partitions {
                return Err(OpenError::Incompatible {
                    folder: folder.to_owned(),
                    reason: format!(
                        "{name} has {partitions} partitions, not {}: a count never changes",
                        spec.partitions
                    ),
                });
            }
            order.push(*spec);
        }
        let known = order.len();
        for spec in wanted {
            if !order.iter().any(|have| have.topic == spec.topic) {
                order.push(*spec);
                self.topics.push((spec.topic.0.to_owned(), spec.partitions));
            }
        }
        let grown = order.len() > known;
        Ok((order, grown))
    }
}

/// Where each partition of each topic stands in the log's own numbering.
#[derive(Debug, Clone)]
pub(super) struct Topics {
    specs: Vec<TopicSpec>,
}

impl Topics {
    pub(super) fn new(specs: Vec<TopicSpec>) -> Self {
        Self { specs }
    }

    /// How many partitions the topic has; `None` for a topic the log was not made with.
    pub(super) fn partitions(&self, topic: Topic) -> Option<u32> {
        self.specs.iter().find(|spec| spec.topic == topic).map(|spec| spec.partitions)
    }

    /// The number of a partition among all; `None` if there is no such partition.
    pub(super) fn index(&self, topic: Topic, partition: u32) -> Option<usize> {
        let mut first = 0;
        for spec in &self.specs {
            if spec.topic == topic {
                return (partition < spec.partitions).then_some(first + partition as usize);
            }
            first += spec.partitions as usize;
        }
        None
    }

    /// All partitions in order.
    pub(super) fn all(&self) -> impl Iterator<Item = (Topic, u32)> + '_ {
        self.specs.iter().flat_map(|spec| (0..spec.partitions).map(|partition| (spec.topic, partition)))
    }

    /// The topic and partition of a number [`Topics::index`] gave.
    pub(super) fn at(&self, index: usize) -> (Topic, u32) {
        self.all().nth(index).unwrap_or((Topic("unknown"), 0))
    }

    /// The position of the topic in the log's order.
    pub(super) fn number(&self, topic: Topic) -> Option<usize> {
        self.specs.iter().position(|spec| spec.topic == topic)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.all().map(|(topic, partition)| format!("{topic}/{partition}")).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.all().count()
    }

    pub(super) fn topics(&self) -> usize {
        self.specs.len()
    }
}
