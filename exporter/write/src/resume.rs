//! Where publishing goes on: what the store says of our shards, and from where segments have to be read.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use millrace_eventlog::Offset;
use millrace_schemas::layout::{self, date_of};
use tokio::sync::OnceCell;

use crate::error::Error;
use crate::follow::Follower;
use crate::publishing::Publishing;
use crate::retention;
use crate::shard::Shard;
use crate::{limits, plan, records};

/// Reads how far our shards are, and finds where to begin to read segments.
pub(crate) async fn begin(of: &Publishing, ours: &BTreeSet<u32>) -> Result<(Vec<Shard>, Follower), Error> {
    let first = OnceCell::new();
    let begun =
        stream::iter(ours.iter().copied()).map(|number| shard(of, &first, number)).buffered(limits::READS_AT_ONCE);
    let begun: Vec<(Shard, Vec<Offset>)> = begun.try_collect().await?;
    let (shards, starts): (Vec<Shard>, Vec<Vec<Offset>>) = begun.into_iter().unzip();
    let earliest =
        |one: Vec<Offset>, other: Vec<Offset>| one.iter().zip(&other).map(|(one, other)| *one.min(other)).collect();
    let from = starts.into_iter().reduce(earliest).unwrap_or_default();
    Ok((shards, Follower::new(of.bucket.clone(), &of.log_id, &from)))
}

async fn shard(of: &Publishing, first: &OnceCell<Vec<Offset>>, number: u32) -> Result<(Shard, Vec<Offset>), Error> {
    let (bucket, log_id) = (&of.bucket, of.log_id.as_str());
    let Some(through_ms) = records::newest(bucket, log_id, number).await? else {
        // What is from before the first day counts as out.
        let starts = first.get_or_try_init(|| first_segments(of)).await?.clone();
        return Ok((Shard::new(number, of.first.ms, None, 0), starts));
    };
    let mut starts = vec![0; of.shard_count as usize];
    let record = records::read(bucket, &layout::published_key(log_id, number, through_ms)).await?;
    for reached in &record.segments {
        if let Some(start) = starts.get_mut(reached.partition as usize) {
            *start = reached.from;
        }
    }
    let date = date_of(through_ms);
    let plan = plan::read(bucket, log_id, date, number).await?;
    Ok((Shard::new(number, through_ms, plan, record.settings_version), starts))
}

/// The first segment of each partition that retention has not taken.
async fn first_segments(of: &Publishing) -> Result<Vec<Offset>, Error> {
    let look = |partition: u32| retention::retained_from(&of.bucket, &of.log_id, partition);
    stream::iter(0..of.shard_count).map(look).buffered(limits::READS_AT_ONCE).try_collect().await
}
